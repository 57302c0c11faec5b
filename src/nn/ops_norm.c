/* ops_norm.c: layer normalisation fused with its residual, and rows of length 1. */
#include "nn/ops.h"
#include "nn/vec.h"

#include <assert.h>
#include <math.h>
#include <string.h>

struct norm {
    struct norm_grads grads;
    struct tensor *x, *residual, *y;
};

static void norm_back(struct tape *t, void *context)
{
    (void)t;
    struct norm *op = context;
    vec()->norm_back(&op->grads);
}

struct tensor *op_norm(struct tape *t, struct tensor *x, struct tensor *residual,
                       param_id gamma, param_id beta, float eps)
{
    if (!x || t->failed)
        return NULL;
    assert(!residual || (residual->rows == x->rows && residual->cols == x->cols));
    float *dgamma = tape_param_grad(t, gamma), *dbeta = tape_param_grad(t, beta);
    bool needs = tape_needs(t, x, residual) || dgamma || dbeta;
    struct tensor *y = tape_tensor(t, x->rows, x->cols, needs);
    size_t n = x->rows * x->cols;
    float *normal = y && needs ? tape_alloc(t, n, sizeof *normal) : NULL;
    float *rdev = y && needs ? tape_alloc(t, x->rows, sizeof *rdev) : NULL;
    struct norm *op = y && needs ? tape_alloc(t, 1, sizeof *op) : NULL;
    const float *shift = tape_param(t, beta);
    if (y && !shift) { /* a normalisation without shift (ModernBERT) */
        float *zeros = tape_alloc(t, x->cols, sizeof *zeros);
        if (zeros)
            memset(zeros, 0, x->cols * sizeof *zeros);
        shift = zeros;
    }
    if (t->failed)
        return NULL;
    vec()->norm(&(struct norm_rows){.rows = x->rows,
                                    .cols = x->cols,
                                    .eps = eps,
                                    .x = x->value,
                                    .residual = residual ? residual->value : NULL,
                                    .gamma = tape_param(t, gamma),
                                    .beta = shift,
                                    .y = y->value,
                                    .normal = normal,
                                    .rdev = rdev});
    if (needs) {
        *op = (struct norm){.grads = {.rows = x->rows,
                                      .cols = x->cols,
                                      .dy = y->grad,
                                      .normal = normal,
                                      .rdev = rdev,
                                      .gamma = tape_param(t, gamma),
                                      .dx = x->grad,
                                      .dresidual = residual ? residual->grad : NULL,
                                      .dgamma = dgamma,
                                      .dbeta = dbeta}};
        tape_record(t, norm_back, op);
    }
    return t->failed ? NULL : y;
}

struct unit {
    struct tensor *x, *y;
    float *inverse; /* [rows] 1 / max(|x|, eps) */
};

/* dx = (dy - y (y.dy)) / |x| */
static void unit_back(struct tape *t, void *context)
{
    (void)t;
    struct unit *op = context;
    size_t d = op->x->cols;
    for (size_t r = 0; r < op->x->rows; r++) {
        const float *y = op->y->value + r * d, *dy = op->y->grad + r * d;
        float *dx = op->x->grad + r * d;
        float along = vec()->dot(y, dy, d);
        vec()->add_scaled(dx, dx, op->inverse[r], dy, d);
        vec()->add_scaled(dx, dx, -along * op->inverse[r], y, d);
    }
}

struct tensor *op_l2_normalize(struct tape *t, struct tensor *x)
{
    if (!x || t->failed)
        return NULL;
    bool needs = tape_needs(t, x, NULL);
    struct tensor *y = tape_tensor(t, x->rows, x->cols, needs);
    float *inverse = y ? tape_alloc(t, x->rows, sizeof *inverse) : NULL;
    struct unit *op = y && needs ? tape_alloc(t, 1, sizeof *op) : NULL;
    if (t->failed)
        return NULL;
    memset(y->value, 0, x->rows * x->cols * sizeof *y->value);
    for (size_t r = 0; r < x->rows; r++) {
        const float *row = x->value + r * x->cols;
        inverse[r] = (float)(1 / fmax(sqrt(vec()->sum_squares(row, x->cols)), 1e-12));
        vec()->add_scaled(y->value + r * x->cols, y->value + r * x->cols, inverse[r], row,
                          x->cols);
    }
    if (needs) {
        *op = (struct unit){x, y, inverse};
        tape_record(t, unit_back, op);
    }
    return t->failed ? NULL : y;
}
