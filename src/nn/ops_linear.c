/* ops_linear.c: the linear layer with its activation, and activations alone. Both keep act'(z),
 * computed while z is at hand, instead of z. */
#include "nn/gemm.h"
#include "nn/ops.h"
#include "nn/vec.h"

#include <assert.h>

struct linear {
    struct tensor *x, *y;
    const float *w;
    float *dw, *db; /* NULL: frozen or absent */
    float *slope;   /* [N,O] act'(z); NULL: 1 */
};

/* y.grad turns into the gradient of z in place: nothing reads it after this op. */
static void linear_back(struct tape *t, void *context)
{
    (void)t;
    struct linear *op = context;
    struct tensor *x = op->x, *y = op->y;
    if (op->slope || op->db)
        vec()->slope_columns(y->grad, op->slope, op->db, y->rows, y->cols);
    if (op->dw)
        gemm(&(struct gemm){.m = y->cols,
                            .n = x->cols,
                            .k = x->rows,
                            .a = y->grad,
                            .b = x->value,
                            .c = op->dw,
                            .lda = y->cols,
                            .ldb = x->cols,
                            .ldc = x->cols,
                            .transpose_a = true,
                            .accumulate = true});
    if (x->grad)
        gemm(&(struct gemm){.m = x->rows,
                            .n = x->cols,
                            .k = y->cols,
                            .a = y->grad,
                            .b = op->w,
                            .c = x->grad,
                            .lda = y->cols,
                            .ldb = x->cols,
                            .ldc = x->cols,
                            .accumulate = true});
}

struct tensor *op_linear(struct tape *t, struct tensor *x, param_id w, param_id b,
                         enum activation act)
{
    if (!x || t->failed)
        return NULL;
    const struct param *weight = &t->params->items[w];
    assert(weight->cols == x->cols);
    float *dw = tape_param_grad(t, w), *db = tape_param_grad(t, b);
    bool needs = tape_needs(t, x, NULL) || dw || db;
    struct tensor *y = tape_tensor(t, x->rows, weight->rows, needs);
    size_t n = y ? y->rows * y->cols : 0;
    float *slope = y && needs && act != ACT_NONE ? tape_alloc(t, n, sizeof *slope) : NULL;
    struct linear *op = y && needs ? tape_alloc(t, 1, sizeof *op) : NULL;
    if (t->failed)
        return NULL;
    gemm(&(struct gemm){.m = x->rows,
                        .n = y->cols,
                        .k = x->cols,
                        .a = x->value,
                        .b = tape_param(t, w),
                        .c = y->value,
                        .lda = x->cols,
                        .ldb = x->cols,
                        .ldc = y->cols,
                        .transpose_b = true,
                        .bias = tape_param(t, b)});
    if (act != ACT_NONE)
        vec()->activate(act, y->value, y->value, slope, n);
    if (needs) {
        *op = (struct linear){x, y, tape_param(t, w), dw, db, slope};
        tape_record(t, linear_back, op);
    }
    return t->failed ? NULL : y;
}

struct activated {
    struct tensor *x, *y;
    const float *slope; /* [N,D] */
};

static void activation_back(struct tape *t, void *context)
{
    (void)t;
    struct activated *op = context;
    vec()->multiply_add(op->x->grad, op->y->grad, op->slope, op->x->rows * op->x->cols);
}

struct tensor *op_activation(struct tape *t, struct tensor *x, enum activation act)
{
    if (!x || t->failed)
        return NULL;
    bool needs = tape_needs(t, x, NULL);
    struct tensor *y = tape_tensor(t, x->rows, x->cols, needs);
    size_t n = x->rows * x->cols;
    float *slope = y && needs ? tape_alloc(t, n, sizeof *slope) : NULL;
    struct activated *op = y && needs ? tape_alloc(t, 1, sizeof *op) : NULL;
    if (t->failed)
        return NULL;
    vec()->activate(act, x->value, y->value, slope, n);
    if (needs) {
        *op = (struct activated){x, y, slope};
        tape_record(t, activation_back, op);
    }
    return t->failed ? NULL : y;
}
