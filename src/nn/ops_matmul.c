/* ops_matmul.c: the product of two tensors, and a tensor seen in another shape. */
#include "nn/gemm.h"
#include "nn/ops.h"

#include <assert.h>

struct product {
    struct tensor *a, *b, *y;
};

/* da += dy b^T, db += a^T dy */
static void product_back(struct tape *t, void *context)
{
    (void)t;
    const struct product *p = context;
    size_t m = p->a->rows, k = p->a->cols, n = p->b->cols;
    if (p->a->grad)
        gemm(&(struct gemm){.m = m,
                            .n = k,
                            .k = n,
                            .a = p->y->grad,
                            .b = p->b->value,
                            .c = p->a->grad,
                            .lda = n,
                            .ldb = n,
                            .ldc = k,
                            .transpose_b = true,
                            .accumulate = true});
    if (p->b->grad)
        gemm(&(struct gemm){.m = k,
                            .n = n,
                            .k = m,
                            .a = p->a->value,
                            .b = p->y->grad,
                            .c = p->b->grad,
                            .lda = k,
                            .ldb = n,
                            .ldc = n,
                            .transpose_a = true,
                            .accumulate = true});
}

struct tensor *op_matmul(struct tape *t, struct tensor *a, struct tensor *b)
{
    if (!a || !b || t->failed)
        return NULL;
    assert(a->cols == b->rows);
    bool needs = tape_needs(t, a, b);
    struct tensor *y = tape_tensor(t, a->rows, b->cols, needs);
    struct product *p = y && needs ? tape_alloc(t, 1, sizeof *p) : NULL;
    if (t->failed)
        return NULL;
    gemm(&(struct gemm){.m = a->rows,
                        .n = b->cols,
                        .k = a->cols,
                        .a = a->value,
                        .b = b->value,
                        .c = y->value,
                        .lda = a->cols,
                        .ldb = b->cols,
                        .ldc = b->cols});
    if (needs) {
        *p = (struct product){a, b, y};
        tape_record(t, product_back, p);
    }
    return t->failed ? NULL : y;
}

struct tensor *op_reshape(struct tape *t, struct tensor *x, size_t rows, size_t cols)
{
    struct tensor *y = x ? tape_alloc(t, 1, sizeof *y) : NULL;
    if (!y)
        return NULL;
    assert(rows * cols == x->rows * x->cols);
    *y = (struct tensor){.value = x->value, .grad = x->grad, .rows = rows, .cols = cols};
    return y;
}
