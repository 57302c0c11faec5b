/* ops_rotary.c: rotary position embedding. A rotation's transpose is its inverse, so the way
 * back turns the gradient the other way. */
#include "nn/ops.h"

#include <assert.h>
#include <math.h>
#include <string.h>

struct rotary {
    struct tensor *x, *y;
    const float *turn; /* [N, d] per token: d/2 cosines, then d/2 sines */
    size_t heads, d;
};

/* to (+)= from, turned; sign -1 turns back. */
static void turn(const struct rotary *op, const float *from, float *to, float sign, bool add)
{
    size_t half = op->d / 2, width = op->heads * op->d;
    for (size_t n = 0; n < op->x->rows; n++) {
        const float *cosine = op->turn + n * op->d, *sine = cosine + half;
        for (size_t h = 0; h < op->heads; h++) {
            const float *a = from + n * width + h * op->d, *b = a + half;
            float *u = to + n * width + h * op->d, *v = u + half;
            for (size_t c = 0; c < half; c++) {
                float s = sign * sine[c];
                u[c] = (add ? u[c] : 0) + a[c] * cosine[c] - b[c] * s;
                v[c] = (add ? v[c] : 0) + b[c] * cosine[c] + a[c] * s;
            }
        }
    }
}

static void rotary_back(struct tape *t, void *context)
{
    (void)t;
    struct rotary *op = context;
    turn(op, op->y->grad, op->x->grad, -1, true);
}

struct tensor *op_rotary(struct tape *t, struct tensor *x, const int32_t *positions,
                         unsigned heads, float theta)
{
    if (!x || t->failed)
        return NULL;
    size_t d = x->cols / heads;
    assert(x->cols % heads == 0 && d % 2 == 0);
    bool needs = tape_needs(t, x, NULL);
    struct tensor *y = tape_tensor(t, x->rows, x->cols, needs);
    struct rotary *op = y ? tape_alloc(t, 1, sizeof *op) : NULL;
    float *turns = y ? tape_alloc(t, x->rows * d, sizeof *turns) : NULL;
    float *rates = y ? tape_alloc(t, d / 2, sizeof *rates) : NULL;
    if (t->failed)
        return NULL;
    for (size_t c = 0; c < d / 2; c++)
        rates[c] = 1 / powf(theta, (float)(2 * c) / (float)d);
    for (size_t n = 0; n < x->rows; n++)
        for (size_t c = 0; c < d / 2; c++) {
            float angle = (float)positions[n] * rates[c];
            turns[n * d + c] = cosf(angle);
            turns[n * d + d / 2 + c] = sinf(angle);
        }
    *op = (struct rotary){x, y, turns, heads, d};
    turn(op, x->value, y->value, 1, false);
    if (needs)
        tape_record(t, rotary_back, op);
    return t->failed ? NULL : y;
}
