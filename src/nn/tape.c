/* tape.c: memory and order of reverse-mode differentiation; the ops are in ops_*.c. */
#include "nn/tape.h"

#include "base/error.h"
#include "base/memory.h"

#include <string.h>

struct tape_entry {
    struct tape_entry *older;
    tape_backward_fn *backward;
    void *context;
};

void tape_init(struct tape *t, const struct params *p, float *grads)
{
    *t = (struct tape){
        .params = p, .grads = grads, .grads_begin = p ? params_trainable(p).begin : 0};
    arena_init(&t->arena, 0);
}

void tape_deinit(struct tape *t)
{
    if (t->inner)
        tape_deinit(t->inner);
    mem_free(t->inner);
    t->inner = NULL;
    arena_deinit(&t->arena);
    t->entries = NULL;
}

void tape_reset(struct tape *t, bool training, uint64_t seed)
{
    arena_reset(&t->arena);
    t->training = training && t->grads;
    t->seed = seed;
    t->op_count = 0;
    t->failed = false;
    t->entries = NULL;
}

void *tape_alloc(struct tape *t, size_t count, size_t size)
{
    void *p = t->failed ? NULL : arena_alloc(&t->arena, count, size);
    if (!p)
        t->failed = true;
    return p;
}

struct tensor *tape_tensor(struct tape *t, size_t rows, size_t cols, bool needs_grad)
{
    size_t n;
    if (__builtin_mul_overflow(rows, cols, &n))
        t->failed = true;
    struct tensor *x = tape_alloc(t, 1, sizeof *x);
    float *value = x ? tape_alloc(t, n, sizeof *value) : NULL;
    float *grad = value && needs_grad && t->training ? tape_alloc(t, n, sizeof *grad) : NULL;
    if (t->failed)
        return NULL;
    if (grad)
        mem_zero(grad, n * sizeof *grad);
    *x = (struct tensor){.value = value, .grad = grad, .rows = rows, .cols = cols};
    return x;
}

void tape_drop(struct tensor *x)
{
    if (x)
        mem_give_back(x->value, x->rows * x->cols * sizeof *x->value);
}

void tape_record(struct tape *t, tape_backward_fn *backward, void *context)
{
    if (!t->training)
        return;
    struct tape_entry *e = tape_alloc(t, 1, sizeof *e);
    if (!e)
        return;
    *e = (struct tape_entry){t->entries, backward, context};
    t->entries = e;
}

const float *tape_param(const struct tape *t, param_id id)
{
    return params_value(t->params, id);
}

float *tape_param_grad(const struct tape *t, param_id id)
{
    if (id == PARAM_NONE || !t->training || t->params->items[id].frozen)
        return NULL;
    return t->grads + (t->params->items[id].offset - t->grads_begin);
}

bool tape_needs(const struct tape *t, const struct tensor *a, const struct tensor *b)
{
    return t->training && ((a && a->grad) || (b && b->grad));
}

struct tensor *tape_input(struct tape *t, const float *data, size_t rows, size_t cols,
                          bool with_grad)
{
    struct tensor *x = tape_alloc(t, 1, sizeof *x);
    float *grad = NULL;
    if (x && with_grad && t->training) {
        grad = tape_alloc(t, rows * cols, sizeof *grad);
        if (grad)
            memset(grad, 0, rows * cols * sizeof *grad);
    }
    if (t->failed)
        return NULL;
    /* No op writes to the value of an input; the field serves outputs too, hence the cast. */
    *x = (struct tensor){.value = (float *)(uintptr_t)data, .grad = grad};
    x->rows = rows;
    x->cols = cols;
    return x;
}

void tape_replay(struct tape *t)
{
    for (struct tape_entry *e = t->entries; e; e = e->older)
        e->backward(t, e->context);
}

medley_status tape_backward(struct tape *t, struct tensor *loss, float scale, medley_error *err)
{
    if (t->failed || !loss)
        return fail_memory(err, "activations of a training step");
    if (loss->rows != 1 || loss->cols != 1)
        return fail(err, MEDLEY_EINVAL, "the loss is %zu x %zu, not one number", loss->rows,
                    loss->cols);
    if (!loss->grad) /* nothing here can be trained */
        return MEDLEY_OK;
    loss->grad[0] = scale;
    tape_replay(t);
    return t->failed ? fail_memory(err, "activations of a training step") : MEDLEY_OK;
}
