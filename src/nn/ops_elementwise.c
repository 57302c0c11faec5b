/* ops_elementwise.c: sums, products, scaling and dropout. */
#include "nn/ops.h"
#include "nn/vec.h"

#include <assert.h>
#include <string.h>

struct binary {
    struct tensor *a, *b, *y;
    float sign; /* of b in a sum */
};

static void sum_back(struct tape *t, void *context)
{
    (void)t;
    struct binary *op = context;
    size_t n = op->y->rows * op->y->cols;
    if (op->a->grad)
        vec()->add_scaled(op->a->grad, op->a->grad, 1, op->y->grad, n);
    if (op->b->grad)
        vec()->add_scaled(op->b->grad, op->b->grad, op->sign, op->y->grad, n);
}

static void product_back(struct tape *t, void *context)
{
    (void)t;
    struct binary *op = context;
    size_t n = op->y->rows * op->y->cols;
    if (op->a->grad)
        vec()->multiply_add(op->a->grad, op->y->grad, op->b->value, n);
    if (op->b->grad)
        vec()->multiply_add(op->b->grad, op->y->grad, op->a->value, n);
}

/* The output of an op on a and b of equal shape, recorded; NULL when the tape has failed. */
static struct tensor *binary_output(struct tape *t, struct tensor *a, struct tensor *b,
                                    float sign, tape_backward_fn *backward)
{
    if (!a || !b || t->failed)
        return NULL;
    assert(a->rows == b->rows && a->cols == b->cols);
    bool needs = tape_needs(t, a, b);
    struct tensor *y = tape_tensor(t, a->rows, a->cols, needs);
    if (y && needs) {
        struct binary *op = tape_alloc(t, 1, sizeof *op);
        if (op) {
            *op = (struct binary){a, b, y, sign};
            tape_record(t, backward, op);
        }
    }
    return t->failed ? NULL : y;
}

struct tensor *op_add(struct tape *t, struct tensor *a, struct tensor *b)
{
    struct tensor *y = binary_output(t, a, b, 1, sum_back);
    if (y)
        vec()->add_scaled(y->value, a->value, 1, b->value, y->rows * y->cols);
    return y;
}

struct tensor *op_sub(struct tape *t, struct tensor *a, struct tensor *b)
{
    struct tensor *y = binary_output(t, a, b, -1, sum_back);
    if (y)
        vec()->add_scaled(y->value, a->value, -1, b->value, y->rows * y->cols);
    return y;
}

struct tensor *op_mul(struct tape *t, struct tensor *a, struct tensor *b)
{
    struct tensor *y = binary_output(t, a, b, 1, product_back);
    if (y)
        vec()->multiply(y->value, a->value, b->value, y->rows * y->cols);
    return y;
}

struct unary {
    struct tensor *x, *y;
    float factor;
    struct drop_mask mask;
};

static void scale_back(struct tape *t, void *context)
{
    (void)t;
    struct unary *op = context;
    vec()->add_scaled(op->x->grad, op->x->grad, op->factor, op->y->grad,
                      op->x->rows * op->x->cols);
}

struct tensor *op_scale(struct tape *t, struct tensor *a, float factor)
{
    if (!a || t->failed)
        return NULL;
    bool needs = tape_needs(t, a, NULL);
    struct tensor *y = tape_tensor(t, a->rows, a->cols, needs);
    struct unary *op = y && needs ? tape_alloc(t, 1, sizeof *op) : NULL;
    if (t->failed)
        return NULL;
    size_t n = a->rows * a->cols;
    memset(y->value, 0, n * sizeof *y->value);
    vec()->add_scaled(y->value, y->value, factor, a->value, n);
    if (needs) {
        *op = (struct unary){.x = a, .y = y, .factor = factor};
        tape_record(t, scale_back, op);
    }
    return t->failed ? NULL : y;
}

static void dropout_back(struct tape *t, void *context)
{
    (void)t;
    struct unary *op = context;
    vec()->drop(op->x->grad, op->y->grad, op->x->rows * op->x->cols, &op->mask, 0, true);
}

struct tensor *op_dropout(struct tape *t, struct tensor *x, float rate)
{
    if (!x || t->failed)
        return NULL;
    uint64_t stream = t->op_count++;
    if (!t->training || rate <= 0)
        return x;
    assert(rate < 1);
    bool needs = tape_needs(t, x, NULL);
    struct tensor *y = tape_tensor(t, x->rows, x->cols, needs);
    struct unary *op = y ? tape_alloc(t, 1, sizeof *op) : NULL;
    if (t->failed)
        return NULL;
    *op = (struct unary){.x = x, .y = y, .mask = drop_mask_of(t->seed, stream, rate)};
    vec()->drop(y->value, x->value, x->rows * x->cols, &op->mask, 0, false);
    if (needs)
        tape_record(t, dropout_back, op);
    return t->failed ? NULL : y;
}
