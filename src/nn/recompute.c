/* recompute.c: see recompute.h. */
#include "nn/recompute.h"

#include "base/memory.h"
#include "nn/vec.h"

#include <string.h>

struct part {
    struct tensor *x, *y;
    recompute_body *body;
    const void *context;
    uint64_t first_op; /* op_count when the part began */
};

/* The part on the inner tape, which records it. */
static struct tensor *run(struct tape *t, const struct part *p, struct tensor **x)
{
    struct tape *inner = t->inner;
    tape_reset(inner, true, t->seed);
    inner->op_count = p->first_op;
    *x = tape_input(inner, p->x->value, p->x->rows, p->x->cols, p->x->grad != NULL);
    return p->body(p->context, inner, *x);
}

static void part_back(struct tape *t, void *context)
{
    const struct part *p = context;
    struct tensor *x, *y = run(t, p, &x);
    if (!y) {
        t->failed = true;
        return;
    }
    memcpy(y->grad, p->y->grad, y->rows * y->cols * sizeof *y->grad);
    tape_replay(t->inner);
    if (x->grad)
        vec()->add_scaled(p->x->grad, p->x->grad, 1, x->grad, x->rows * x->cols);
    t->failed |= t->inner->failed;
}

static bool make_inner(struct tape *t)
{
    if (t->inner)
        return true;
    t->inner = mem_alloc(1, sizeof *t->inner);
    if (t->inner)
        tape_init(t->inner, t->params, t->grads);
    return t->inner != NULL;
}

struct tensor *op_recompute(struct tape *t, struct tensor *x, recompute_body *body,
                            const void *context, size_t size)
{
    if (!x || t->failed)
        return NULL;
    if (!t->training)
        return body(context, t, x);
    struct part *p = tape_alloc(t, 1, sizeof *p);
    void *copy = tape_alloc(t, 1, size);
    if (t->failed || !make_inner(t)) {
        t->failed = true;
        return NULL;
    }
    memcpy(copy, context, size);
    *p = (struct part){x, NULL, body, copy, t->op_count};
    struct tensor *inner_x, *y = run(t, p, &inner_x);
    t->op_count = t->inner->op_count;
    p->y = y ? tape_tensor(t, y->rows, y->cols, y->grad != NULL) : NULL;
    if (!p->y) {
        t->failed = true;
        return NULL;
    }
    memcpy(p->y->value, y->value, y->rows * y->cols * sizeof *y->value);
    if (p->y->grad)
        tape_record(t, part_back, p);
    return t->failed ? NULL : p->y;
}
