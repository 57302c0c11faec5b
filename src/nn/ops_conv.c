/* ops_conv.c: convolution along the tokens of each sequence, as one product per tap and group.
 */
#include "nn/gemm.h"
#include "nn/ops.h"

#include <assert.h>
#include <string.h>

struct conv {
    struct tensor *x, *y;
    struct ragged sequences;
    size_t width, groups, in, out; /* in, out: channels of a group */
    const float *w;                /* [width, groups, out, in] */
    float *dw;                     /* the same; NULL: frozen */
    float *grad_w, *grad_b;        /* in the parameter's layout */
};

/* Moves weights between the parameter's order [groups*out, in, width] and ours by taps. */
static void reorder(const struct conv *op, const float *from, float *to, bool back)
{
    for (size_t o = 0; o < op->groups * op->out; o++)
        for (size_t c = 0; c < op->in; c++)
            for (size_t k = 0; k < op->width; k++) {
                size_t theirs = (o * op->in + c) * op->width + k;
                size_t ours = (k * op->groups * op->out + o) * op->in + c;
                if (back)
                    to[theirs] += from[ours];
                else
                    to[ours] = from[theirs];
            }
}

/* Rows y_row.. of y meet rows x_row.. of x under one tap. */
struct overlap {
    size_t y_row, x_row, n;
};

static struct overlap overlap_of(const struct conv *op, size_t s, size_t k)
{
    size_t begin = op->sequences.offsets[s], t = op->sequences.offsets[s + 1] - begin;
    size_t left = (op->width - 1) / 2, before = k < left ? left - k : 0;
    size_t after = k > left ? k - left : 0;
    if (before + after >= t)
        return (struct overlap){0};
    return (struct overlap){begin + before, begin + after, t - before - after};
}

static void forward(const struct conv *op, const struct overlap *o, size_t k, size_t g)
{
    size_t dx = op->x->cols, dy = op->y->cols;
    gemm(&(struct gemm){.m = o->n,
                        .n = op->out,
                        .k = op->in,
                        .a = op->x->value + o->x_row * dx + g * op->in,
                        .b = op->w + (k * op->groups + g) * op->out * op->in,
                        .c = op->y->value + o->y_row * dy + g * op->out,
                        .lda = dx,
                        .ldb = op->in,
                        .ldc = dy,
                        .transpose_b = true,
                        .accumulate = true});
}

static void backward(const struct conv *op, const struct overlap *o, size_t k, size_t g)
{
    size_t dx = op->x->cols, dy = op->y->cols, at = (k * op->groups + g) * op->out * op->in;
    const float *up = op->y->grad + o->y_row * dy + g * op->out;
    if (op->x->grad)
        gemm(&(struct gemm){.m = o->n,
                            .n = op->in,
                            .k = op->out,
                            .a = up,
                            .b = op->w + at,
                            .c = op->x->grad + o->x_row * dx + g * op->in,
                            .lda = dy,
                            .ldb = op->in,
                            .ldc = dx,
                            .accumulate = true});
    if (op->dw)
        gemm(&(struct gemm){.m = op->out,
                            .n = op->in,
                            .k = o->n,
                            .a = up,
                            .b = op->x->value + o->x_row * dx + g * op->in,
                            .c = op->dw + at,
                            .lda = dy,
                            .ldb = dx,
                            .ldc = op->in,
                            .transpose_a = true,
                            .accumulate = true});
}

static void each_part(const struct conv *op,
                      void (*run)(const struct conv *, const struct overlap *, size_t, size_t))
{
    for (size_t s = 0; s < op->sequences.n; s++)
        for (size_t k = 0; k < op->width; k++) {
            struct overlap o = overlap_of(op, s, k);
            for (size_t g = 0; o.n && g < op->groups; g++)
                run(op, &o, k, g);
        }
}

static void conv_back(struct tape *t, void *context)
{
    (void)t;
    struct conv *op = context;
    size_t cols = op->y->cols;
    for (size_t r = 0; op->grad_b && r < op->y->rows; r++)
        for (size_t c = 0; c < cols; c++)
            op->grad_b[c] += op->y->grad[r * cols + c];
    each_part(op, backward);
    if (op->dw)
        reorder(op, op->dw, op->grad_w, true);
}

struct tensor *op_conv(struct tape *t, struct tensor *x, param_id w, param_id b,
                       struct ragged sequences, unsigned width, unsigned groups)
{
    if (!x || t->failed)
        return NULL;
    const struct param *weight = &t->params->items[w];
    size_t n = weight->rows * weight->cols, outputs = weight->rows;
    assert(weight->cols * groups == x->cols * width && outputs % groups == 0);
    float *grad_w = tape_param_grad(t, w), *grad_b = tape_param_grad(t, b);
    bool needs = tape_needs(t, x, NULL) || grad_w || grad_b;
    struct tensor *y = tape_tensor(t, x->rows, outputs, needs);
    struct conv *op = tape_alloc(t, 1, sizeof *op);
    uint32_t *offsets = tape_alloc(t, sequences.n + 1, sizeof *offsets);
    float *own = tape_alloc(t, n, sizeof *own), *dw = NULL;
    if (grad_w && (dw = tape_alloc(t, n, sizeof *dw)))
        memset(dw, 0, n * sizeof *dw);
    if (t->failed)
        return NULL;
    memcpy(offsets, sequences.offsets, (sequences.n + 1) * sizeof *offsets);
    *op = (struct conv){.x = x,
                        .y = y,
                        .sequences = {offsets, sequences.n},
                        .width = width,
                        .groups = groups,
                        .in = x->cols / groups,
                        .out = outputs / groups,
                        .w = own,
                        .dw = dw,
                        .grad_w = grad_w,
                        .grad_b = grad_b};
    reorder(op, tape_param(t, w), own, false);
    const float *bias = tape_param(t, b);
    for (size_t r = 0; r < y->rows; r++)
        for (size_t c = 0; c < outputs; c++)
            y->value[r * outputs + c] = bias ? bias[c] : 0;
    each_part(op, forward);
    if (needs)
        tape_record(t, conv_back, op);
    return t->failed ? NULL : y;
}
