/* ops_attention_first.c: softmax attention of each sequence's first token alone: what the last
 * layer needs when a head reads that token. Inference only. Proof: tests/test_ops.c against
 * op_attention. */
#include "nn/ops.h"
#include "nn/vec.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* y[d] = softmax(scale q k^T) v over t tokens, rows `stride` floats apart. */
static void attend(const float *q, const float *k, const float *v, size_t t, size_t d,
                   size_t stride, float *weights, float *y)
{
    for (size_t j = 0; j < t; j++)
        weights[j] = vec()->dot(q, k + j * stride, d);
    vec()->softmax(weights, t, 1 / sqrtf((float)d));
    memset(y, 0, d * sizeof *y);
    for (size_t j = 0; j < t; j++)
        vec()->add_scaled(y, y, weights[j], v + j * stride, d);
}

struct tensor *op_attention_first(struct tape *t, struct tensor *q, struct tensor *k,
                                  struct tensor *v, struct ragged sequences, unsigned heads)
{
    if (!q || !k || !v || t->failed)
        return NULL;
    assert(!t->training && q->rows == sequences.n && q->cols == k->cols && v->cols == k->cols);
    size_t d = q->cols / heads, longest = 0;
    for (size_t s = 0; s < sequences.n; s++) {
        size_t rows = sequences.offsets[s + 1] - sequences.offsets[s];
        longest = rows > longest ? rows : longest;
    }
    struct tensor *y = tape_tensor(t, q->rows, q->cols, false);
    float *weights = tape_alloc(t, longest, sizeof *weights);
    if (!y || !weights)
        return NULL;
    for (size_t s = 0; s < sequences.n; s++) {
        size_t first = sequences.offsets[s] * q->cols;
        for (size_t h = 0; h < heads; h++) {
            size_t at = s * q->cols + h * d, column = h * d;
            attend(q->value + at, k->value + first + column, v->value + first + column,
                   sequences.offsets[s + 1] - sequences.offsets[s], d, q->cols, weights,
                   y->value + at);
        }
    }
    return y;
}
