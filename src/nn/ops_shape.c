/* ops_shape.c: moving rows and columns: embedding, gathering, concatenation, pooling. Index
 * lists are copied to the tape, so that the caller's may go. */
#include "nn/ops.h"
#include "nn/vec.h"

#include <assert.h>
#include <string.h>

struct tensor *op_table(struct tape *t, param_id id)
{
    struct tensor *y = t->failed ? NULL : tape_alloc(t, 1, sizeof *y);
    if (!y)
        return NULL;
    const struct param *item = &t->params->items[id];
    *y = (struct tensor){.value = params_value(t->params, id),
                         .grad = tape_param_grad(t, id),
                         .rows = item->rows,
                         .cols = item->cols};
    return y;
}

struct gather {
    float *into;           /* gradient of the rows' source, [*, cols] */
    const uint32_t *index; /* [y.rows] */
    struct tensor *y;
};

static void gather_back(struct tape *t, void *context)
{
    (void)t;
    struct gather *op = context;
    size_t d = op->y->cols;
    for (size_t i = 0; i < op->y->rows; i++) {
        float *row = op->into + op->index[i] * d;
        vec()->add_scaled(row, row, 1, op->y->grad + i * d, d);
    }
}

/* Rows index[n] of source[*, cols]; `into` is the gradient of source or NULL. index is the
 * tape's. */
static struct tensor *gather_rows(struct tape *t, const float *source, size_t cols, float *into,
                                  const uint32_t *index, size_t n)
{
    struct tensor *y = tape_tensor(t, n, cols, into != NULL);
    struct gather *op = y && into ? tape_alloc(t, 1, sizeof *op) : NULL;
    if (t->failed)
        return NULL;
    for (size_t i = 0; i < n; i++)
        memcpy(y->value + i * cols, source + index[i] * cols, cols * sizeof *source);
    if (into) {
        *op = (struct gather){into, index, y};
        tape_record(t, gather_back, op);
    }
    return t->failed ? NULL : y;
}

struct tensor *op_embed(struct tape *t, param_id table, const int32_t *ids, size_t n)
{
    uint32_t *index = tape_alloc(t, n, sizeof *index);
    if (!index)
        return NULL;
    const struct param *p = &t->params->items[table];
    for (size_t i = 0; i < n; i++) {
        assert(ids[i] >= 0 && (size_t)ids[i] < p->rows);
        index[i] = (uint32_t)ids[i];
    }
    return gather_rows(t, tape_param(t, table), p->cols, tape_param_grad(t, table), index, n);
}

struct tensor *op_rows(struct tape *t, struct tensor *x, const uint32_t *index, size_t n)
{
    uint32_t *own = x ? tape_alloc(t, n, sizeof *own) : NULL;
    if (!own)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        assert(index[i] < x->rows);
        own[i] = index[i];
    }
    return gather_rows(t, x->value, x->cols, t->training ? x->grad : NULL, own, n);
}

struct concat {
    struct tensor **parts, *y;
    size_t n;
};

static void concat_back(struct tape *t, void *context)
{
    (void)t;
    struct concat *op = context;
    size_t column = 0;
    for (size_t p = 0; p < op->n; p++) {
        struct tensor *x = op->parts[p];
        for (size_t r = 0; x->grad && r < x->rows; r++)
            vec()->add_scaled(x->grad + r * x->cols, x->grad + r * x->cols, 1,
                              op->y->grad + r * op->y->cols + column, x->cols);
        column += x->cols;
    }
}

static void copy_parts(const struct concat *op)
{
    size_t column = 0;
    for (size_t p = 0; p < op->n; p++) {
        const struct tensor *x = op->parts[p];
        for (size_t r = 0; r < x->rows; r++)
            memcpy(op->y->value + r * op->y->cols + column, x->value + r * x->cols,
                   x->cols * sizeof *x->value);
        column += x->cols;
    }
}

struct tensor *op_concat(struct tape *t, struct tensor *const *parts, size_t n)
{
    size_t cols = 0;
    bool needs = false;
    for (size_t i = 0; i < n; i++) {
        if (!parts[i] || t->failed)
            return NULL;
        assert(parts[i]->rows == parts[0]->rows);
        cols += parts[i]->cols;
        needs = needs || tape_needs(t, parts[i], NULL);
    }
    struct tensor *y = tape_tensor(t, n ? parts[0]->rows : 0, cols, needs);
    struct concat *op = tape_alloc(t, 1, sizeof *op);
    struct tensor **own = tape_alloc(t, n, sizeof *own);
    if (!y || !op || !own)
        return NULL;
    if (n)
        memcpy(own, parts, n * sizeof *own);
    *op = (struct concat){own, y, n};
    copy_parts(op);
    if (needs)
        tape_record(t, concat_back, op);
    return t->failed ? NULL : y;
}

struct columns {
    struct tensor *x, *y;
    size_t first;
};

static void columns_back(struct tape *t, void *context)
{
    (void)t;
    struct columns *op = context;
    for (size_t r = 0; r < op->y->rows; r++) {
        float *into = op->x->grad + r * op->x->cols + op->first;
        vec()->add_scaled(into, into, 1, op->y->grad + r * op->y->cols, op->y->cols);
    }
}

struct tensor *op_columns(struct tape *t, struct tensor *x, size_t first, size_t n)
{
    if (!x || t->failed)
        return NULL;
    assert(first + n <= x->cols);
    bool needs = tape_needs(t, x, NULL);
    struct tensor *y = tape_tensor(t, x->rows, n, needs);
    struct columns *op = y && needs ? tape_alloc(t, 1, sizeof *op) : NULL;
    if (t->failed)
        return NULL;
    for (size_t r = 0; r < x->rows; r++)
        memcpy(y->value + r * n, x->value + r * x->cols + first, n * sizeof *y->value);
    if (needs) {
        *op = (struct columns){x, y, first};
        tape_record(t, columns_back, op);
    }
    return t->failed ? NULL : y;
}

struct pool {
    struct tensor *x, *y;
    struct ragged sequences;
};

static void pool_back(struct tape *t, void *context)
{
    (void)t;
    struct pool *op = context;
    size_t d = op->x->cols;
    for (size_t s = 0; s < op->sequences.n; s++) {
        size_t begin = op->sequences.offsets[s], end = op->sequences.offsets[s + 1];
        for (size_t r = begin; r < end; r++)
            vec()->add_scaled(op->x->grad + r * d, op->x->grad + r * d,
                              1 / (float)(end - begin), op->y->grad + s * d, d);
    }
}

struct tensor *op_mean_pool(struct tape *t, struct tensor *x, struct ragged sequences)
{
    if (!x || t->failed)
        return NULL;
    bool needs = tape_needs(t, x, NULL);
    size_t d = x->cols;
    struct tensor *y = tape_tensor(t, sequences.n, d, needs);
    struct pool *op = y ? tape_alloc(t, 1, sizeof *op) : NULL;
    uint32_t *offsets = y ? tape_alloc(t, sequences.n + 1, sizeof *offsets) : NULL;
    if (!op || !offsets)
        return NULL;
    memcpy(offsets, sequences.offsets, (sequences.n + 1) * sizeof *offsets);
    *op = (struct pool){x, y, {offsets, sequences.n}};
    memset(y->value, 0, sequences.n * d * sizeof *y->value); /* what an empty sequence keeps */
    for (size_t s = 0; s < sequences.n; s++) {
        size_t begin = offsets[s], end = offsets[s + 1];
        assert(begin <= end && end <= x->rows);
        for (size_t r = begin; r < end; r++)
            vec()->add_scaled(y->value + s * d, y->value + s * d, 1 / (float)(end - begin),
                              x->value + r * d, d);
    }
    if (needs)
        tape_record(t, pool_back, op);
    return t->failed ? NULL : y;
}
