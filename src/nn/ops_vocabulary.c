/* ops_vocabulary.c: cross-entropy over a whole vocabulary. A row of 8,192 float32 logits is
 * 32 KiB: its softmax runs in the first-level cache, and what is kept for the way back is the
 * probabilities, so that the gradient is one pass. */
#include "nn/ops.h"
#include "nn/vec.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <string.h>

struct vocabulary_loss {
    struct tensor *logits, *y;
    const float *p; /* [N,K] */
    const int32_t *targets;
};

static void vocabulary_loss_back(struct tape *t, void *context)
{
    (void)t;
    struct vocabulary_loss *op = context;
    size_t n = op->logits->rows, k = op->logits->cols;
    float share = op->y->grad[0] / (float)n;
    float *dz = op->logits->grad;
    vec()->add_scaled(dz, dz, share, op->p, n * k);
    for (size_t i = 0; i < n; i++)
        dz[i * k + (size_t)op->targets[i]] -= share;
}

struct tensor *op_vocabulary_loss(struct tape *t, struct tensor *logits, const int32_t *targets)
{
    if (!logits || t->failed)
        return NULL;
    bool needs = tape_needs(t, logits, NULL);
    size_t n = logits->rows, k = logits->cols;
    struct tensor *y = tape_tensor(t, 1, 1, needs);
    float *p = y ? tape_alloc(t, needs ? n * k : k, sizeof *p) : NULL;
    int32_t *copy = y && needs ? tape_alloc(t, n, sizeof *copy) : NULL;
    struct vocabulary_loss *op = y && needs ? tape_alloc(t, 1, sizeof *op) : NULL;
    if (t->failed)
        return NULL;
    double loss = 0;
    for (size_t i = 0; i < n; i++) {
        float *row = needs ? p + i * k : p;
        assert(targets[i] >= 0 && (size_t)targets[i] < k);
        memcpy(row, logits->value + i * k, k * sizeof *row);
        vec()->softmax(row, k, 1);
        double chance = row[targets[i]]; /* not by fmax: what is not a number must show */
        loss -= log(chance < FLT_MIN ? FLT_MIN : chance);
    }
    y->value[0] = n ? (float)(loss / (double)n) : 0;
    if (needs) {
        memcpy(copy, targets, n * sizeof *copy);
        *op = (struct vocabulary_loss){logits, y, p, copy};
        tape_record(t, vocabulary_loss_back, op);
    }
    return y;
}
