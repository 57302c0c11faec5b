/* ops_linear.c: the linear layer with its activation, and activations alone. Both keep act'(z),
 * computed while z is at hand, instead of z. */
#include "nn/gemm.h"
#include "nn/gemm8.h"
#include "nn/ops.h"
#include "nn/vec.h"

#include <assert.h>

struct linear {
    bool spread; /* over the pool, back as forth */
    struct tensor *x, *y;
    const float *w;
    float *dw, *db; /* NULL: frozen or absent */
    float *slope;   /* [N,O] act'(z); NULL: 1 */
};

static void product(bool spread, const struct gemm *g)
{
    spread ? gemm_parallel(g) : gemm(g);
}

/* y.grad turns into the gradient of z in place: nothing reads it after this op. */
static void linear_back(struct tape *t, void *context)
{
    (void)t;
    struct linear *op = context;
    struct tensor *x = op->x, *y = op->y;
    if (op->slope || op->db)
        vec()->slope_columns(y->grad, op->slope, op->db, y->rows, y->cols);
    if (op->dw)
        product(op->spread, &(struct gemm){.m = y->cols,
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
        product(op->spread, &(struct gemm){.m = x->rows,
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

/* x rounded to 8 bits, once for all layers that read it. */
static const struct gemm8_rows *rounded(struct tape *t, struct tensor *x)
{
    if (x->int8)
        return x->int8;
    size_t stride = gemm8_stride(x->cols), bytes = 0;
    if (__builtin_mul_overflow(x->rows, stride, &bytes))
        t->failed = true;
    struct gemm8_rows *rows = tape_alloc(t, 1, sizeof *rows);
    uint8_t *q = rows ? tape_alloc(t, bytes, 1) : NULL;
    size_t blocks = x->rows * gemm8_blocks(x->cols);
    float *scale = q ? tape_alloc(t, blocks, sizeof *scale) : NULL;
    int32_t *zero = scale ? tape_alloc(t, blocks, sizeof *zero) : NULL;
    if (t->failed)
        return NULL;
    *rows = (struct gemm8_rows){x->rows, x->cols, stride, q, scale, zero};
    gemm8_quantise(x->value, x->cols, rows);
    return x->int8 = rows;
}

/* y = act(x w^T + b) with the weight as inference has it; false: not packed. */
static bool apply_pack(struct tape *t, struct tensor *x, param_id w, param_id b,
                       enum activation act, struct tensor *y)
{
    const struct pack *pack = packs_get(t->packs, w);
    if (!pack)
        return false;
    if (pack->int8) {
        const struct gemm8_rows *rows = rounded(t, x);
        struct gemm8 g = {.x = rows,
                          .w = pack->int8,
                          .bias = tape_param(t, b),
                          .act = act,
                          .y = y->value,
                          .ldy = y->cols,
                          .last = y->cols};
        if (rows)
            t->spread ? gemm8_parallel(&g) : gemm8(&g);
        return true;
    }
    struct gemm g = {.m = x->rows,
                     .n = y->cols,
                     .k = x->cols,
                     .a = x->value,
                     .c = y->value,
                     .lda = x->cols,
                     .ldc = y->cols,
                     .bias = tape_param(t, b),
                     .packed = pack->full,
                     .packed_half = pack->half,
                     .act = act};
    t->spread ? gemm_parallel(&g) : gemm(&g);
    return true;
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
    if (t->packs && !t->training && apply_pack(t, x, w, b, act, y))
        return t->failed ? NULL : y;
    product(t->spread, &(struct gemm){.m = x->rows,
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
        *op = (struct linear){t->spread, x, y, tape_param(t, w), dw, db, slope};
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
