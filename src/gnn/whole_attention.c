/* whole_attention.c: GATv2's edges over a whole graph as one op. Nothing is kept per edge: the
 * way back makes scores anew, once from the side of the targets (gradients of right and att)
 * and once from the side of the sources (gradient of left), so that every thread writes to rows
 * of its own. */
#include "gnn/whole.h"

#include "base/pool.h"

#include <string.h>

enum { GRAD_PARTS = 64 };

struct attend_entry {
    struct attend a; /* forward */
    struct tensor *left, *right, *y;
    const struct reverse *reverse;
    const struct whole_impl *impl;
    struct parts parts;
    float *datt, *dbias;
    float *inner, *spare;
    float *part_grads; /* [parts][2 * heads*c]: datt, dbias */
};

static void forward_parts(void *context, size_t begin, size_t end, unsigned worker)
{
    (void)worker;
    const struct attend_entry *e = context;
    size_t first = parts_begin(&e->parts, begin), last = parts_begin(&e->parts, end);
    e->impl->attend(&e->a, first, last - first);
}

/* inner = dy . (y - bias), which is the sum over a row's edges of alpha (dy . left). Where a
 * relu in place has made y 0, dy is 0, too. */
static void inner_products(const struct attend_entry *e, size_t first, size_t last,
                           float *dbias)
{
    size_t c = e->a.c, heads = e->a.heads;
    for (size_t i = first; i < last; i++)
        for (size_t h = 0; h < heads; h++) {
            const float *dy = e->y->grad + (i * heads + h) * c;
            const float *y = e->y->value + (i * heads + h) * c;
            float sum = 0;
            for (size_t k = 0; k < c; k++) {
                sum += dy[k] * (y[k] - e->a.bias[h * c + k]);
                dbias[h * c + k] += dy[k];
            }
            e->inner[i * heads + h] = sum;
        }
}

static void right_parts(void *context, size_t begin, size_t end, unsigned worker)
{
    (void)worker;
    const struct attend_entry *e = context;
    size_t width = e->y->cols;
    for (size_t p = begin; p < end; p++) {
        size_t first = parts_begin(&e->parts, p), last = parts_begin(&e->parts, p + 1);
        struct attend a = e->a;
        a.datt = e->part_grads + p * 2 * width;
        memset(a.datt, 0, 2 * width * sizeof *a.datt);
        inner_products(e, first, last, a.datt + width);
        e->impl->back_right(&a, first, last - first);
    }
}

static void left_parts(void *context, size_t begin, size_t end, unsigned worker)
{
    (void)worker;
    const struct attend_entry *e = context;
    size_t first = parts_begin(&e->parts, begin), last = parts_begin(&e->parts, end);
    e->impl->back_left(&e->a, first, last - first);
}

static void back(struct tape *t, void *context)
{
    (void)t;
    struct attend_entry *e = context;
    size_t width = e->y->cols;
    e->a.dy = e->y->grad;
    e->a.inner = e->inner;
    e->a.dright = e->right->grad ? e->right->grad : e->spare;
    e->parts = parts_of(e->a.offsets, e->y->rows, GRAD_PARTS);
    parallel_for(e->parts.count, 1, right_parts, e);
    for (size_t p = 0; p < e->parts.count; p++)
        for (size_t k = 0; k < width; k++) {
            const float *part = e->part_grads + p * 2 * width;
            if (e->datt)
                e->datt[k] += part[k];
            if (e->dbias)
                e->dbias[k] += part[width + k];
        }
    if (!e->left->grad)
        return;
    e->a.dleft = e->left->grad;
    e->a.offsets = e->reverse->offsets;
    e->a.source = e->reverse->target;
    e->parts = parts_of(e->a.offsets, e->y->rows, SIZE_MAX);
    parallel_for(e->parts.count, 1, left_parts, e);
}

struct tensor *op_whole_gatv2(struct tape *t, struct tensor *left, struct tensor *right,
                              param_id att, param_id bias, const struct block *b,
                              unsigned heads)
{
    if (!left || !right || t->failed)
        return NULL;
    float *datt = tape_param_grad(t, att), *dbias = tape_param_grad(t, bias);
    bool needs = tape_needs(t, left, right) || datt || dbias;
    size_t n = left->rows, width = left->cols;
    struct tensor *y = tape_tensor(t, n, width, needs);
    struct attend_entry *e = tape_alloc(t, 1, sizeof *e);
    float *sums = tape_alloc(t, n * heads + 1, sizeof *sums);
    float *inner = needs ? tape_alloc(t, n * heads + 1, sizeof *inner) : NULL;
    float *grads = needs ? tape_alloc(t, GRAD_PARTS * 2 * width, sizeof *grads) : NULL;
    float *spare = needs && !right->grad ? tape_alloc(t, n * width, sizeof *spare) : NULL;
    if (t->failed)
        return NULL;
    *e = (struct attend_entry){.a = {.offsets = b->offsets,
                                     .source = b->source,
                                     .edges = b->n_edges,
                                     .heads = heads,
                                     .c = width / heads,
                                     .att = tape_param(t, att),
                                     .left = left->value,
                                     .right = right->value,
                                     .bias = tape_param(t, bias),
                                     .y = y->value,
                                     .log_sum = sums},
                               .left = left,
                               .right = right,
                               .y = y,
                               .reverse = b->reverse,
                               .impl = whole(width / heads),
                               .parts = parts_of(b->offsets, n, SIZE_MAX),
                               .datt = datt,
                               .dbias = dbias,
                               .inner = inner,
                               .spare = spare,
                               .part_grads = grads};
    if (spare)
        memset(spare, 0, n * width * sizeof *spare);
    parallel_for(e->parts.count, 1, forward_parts, e);
    if (needs)
        tape_record(t, back, e);
    return t->failed ? NULL : y;
}
