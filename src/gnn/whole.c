/* whole.c: the edges of a whole graph seen from their sources, how rows are cut into parts of
 * equal work, and the sparse product over the pool. */
#include "gnn/whole.h"

#include "base/memory.h"
#include "base/pool.h"

#include <math.h>
#include <string.h>

static bool square(const struct block *b)
{
    if (b->n_targets != b->n_sources)
        return false;
    for (size_t i = 0; i < b->n_targets; i++)
        if (b->self[i] != i)
            return false;
    for (size_t e = 0; e < b->n_edges; e++)
        if (b->source[e] >= b->n_sources)
            return false;
    return true;
}

struct reverse_arrays {
    uint32_t *offsets, *target;
    float *weight;
};

/* A counting sort by source: targets come out ascending, as they were met. */
static void turn_round(const struct block *b, const struct reverse_arrays *r, uint32_t *next)
{
    for (size_t e = 0; e < b->n_edges; e++)
        r->offsets[b->source[e] + 1]++;
    for (size_t i = 0; i < b->n_targets; i++) {
        r->offsets[i + 1] += r->offsets[i];
        next[i] = r->offsets[i];
    }
    for (size_t i = 0; i < b->n_targets; i++)
        for (size_t e = b->offsets[i]; e < b->offsets[i + 1]; e++) {
            uint32_t at = next[b->source[e]]++;
            r->target[at] = (uint32_t)i;
            if (r->weight)
                r->weight[at] = b->weight[e];
        }
}

static bool all_ones(const struct block *b)
{
    for (size_t e = 0; b->weight && e < b->n_edges; e++)
        if (b->weight[e] < 1 || b->weight[e] > 1)
            return false;
    return true;
}

static void arrays_free(struct reverse *r)
{
    mem_free((void *)(uintptr_t)r->offsets);
    mem_free((void *)(uintptr_t)r->target);
    mem_free((void *)(uintptr_t)r->weight);
}

/* An undirected graph looks the same from both ends: then one copy will do. */
static bool share(const struct block *b, struct reverse *r)
{
    size_t n = r->n;
    if (memcmp(r->offsets, b->offsets, (n + 1) * sizeof *r->offsets) != 0 ||
        memcmp(r->target, b->source, b->n_edges * sizeof *r->target) != 0 ||
        (r->weight && memcmp(r->weight, b->weight, b->n_edges * sizeof *r->weight) != 0))
        return false;
    const float *weight = r->weight ? b->weight : NULL;
    arrays_free(r);
    r->offsets = b->offsets;
    r->target = b->source;
    r->weight = weight;
    return true;
}

static void fill_degrees(const struct block *b, struct reverse *r)
{
    for (size_t i = 0; i < b->n_targets; i++) {
        size_t n = b->offsets[i + 1] - b->offsets[i];
        double sum = 1;
        for (size_t e = b->offsets[i]; e < b->offsets[i + 1]; e++)
            sum += b->weight ? (double)b->weight[e] : 1;
        r->inverse_degree[i] = n ? 1 / (float)n : 0;
        r->inverse_root[i] = (float)(1 / sqrt(sum));
    }
}

medley_status reverse_new(const struct block *b, struct reverse **out, medley_error *err)
{
    if (!square(b))
        return fail(err, MEDLEY_EINVAL, "a graph of %zu sources and %zu targets is not whole",
                    b->n_sources, b->n_targets);
    size_t n = b->n_targets;
    bool ones = all_ones(b);
    struct reverse *r = mem_zalloc(1, sizeof *r);
    uint32_t *next = mem_alloc(n + 1, sizeof *next);
    struct reverse_arrays a = {.offsets = mem_zalloc(n + 1, sizeof *a.offsets),
                               .target = mem_alloc(b->n_edges + 1, sizeof *a.target),
                               .weight =
                                   ones ? NULL : mem_alloc(b->n_edges + 1, sizeof *a.weight)};
    if (r) {
        *r = (struct reverse){.n = n,
                              .offsets = a.offsets,
                              .target = a.target,
                              .weight = a.weight,
                              .inverse_degree = mem_alloc(n + 1, sizeof(float)),
                              .inverse_root = mem_alloc(n + 1, sizeof(float))};
    } else {
        mem_free(a.offsets), mem_free(a.target), mem_free(a.weight);
        a = (struct reverse_arrays){0};
    }
    if (!r || !next || !a.offsets || !a.target || !(a.weight || ones) || !r->inverse_degree ||
        !r->inverse_root) {
        reverse_free(r);
        mem_free(next);
        return fail_memory(err, "a graph seen from its sources");
    }
    turn_round(b, &a, next);
    r->borrowed = share(b, r);
    fill_degrees(b, r);
    mem_free(next);
    *out = r;
    return MEDLEY_OK;
}

void reverse_free(struct reverse *r)
{
    if (!r)
        return;
    if (!r->borrowed)
        arrays_free(r);
    mem_free(r->inverse_degree);
    mem_free(r->inverse_root);
    mem_free(r);
}

/* ---- parts ---- */

struct parts parts_of(const uint32_t *offsets, size_t rows, size_t most)
{
    /* A part of 8000 edges is half a millisecond of work; a row counts as an edge, too. */
    size_t count = rows ? (offsets[rows] + rows) / 8192 + 1 : 0;
    return (struct parts){offsets, rows, count < most ? count : most};
}

size_t parts_begin(const struct parts *p, size_t part)
{
    size_t work = p->offsets[p->rows] + p->rows;
    size_t wanted = (size_t)((double)work * (double)part / (double)p->count);
    if (part >= p->count)
        return p->rows;
    size_t low = 0, high = p->rows; /* the first row that starts at or after `wanted` */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (p->offsets[middle] + middle < wanted)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct gather_job {
    const struct gather *g;
    const struct whole_impl *impl;
    struct parts parts;
    const float *x;
    float *out;
};

static void gather_parts(void *context, size_t begin, size_t end, unsigned worker)
{
    (void)worker;
    const struct gather_job *j = context;
    size_t first = parts_begin(&j->parts, begin), last = parts_begin(&j->parts, end);
    j->impl->gather(j->g, j->x, first, last - first, j->out + first * j->g->columns);
}

void whole_gather(const struct gather *g, const float *x, size_t rows, float *out)
{
    struct gather_job j = {g, whole(0), parts_of(g->offsets, rows, SIZE_MAX), x, out};
    parallel_for(j.parts.count, 1, gather_parts, &j);
}

/* ---- relu ---- */

enum { SPAN = 1 << 16 };

static void relu_span(void *context, size_t begin, size_t end, unsigned worker)
{
    (void)worker;
    float *value = ((struct tensor *)context)->value;
    whole(0)->relu(value + begin, end - begin);
}

static void relu_back_span(void *context, size_t begin, size_t end, unsigned worker)
{
    (void)worker;
    const struct tensor *x = context;
    whole(0)->relu_back(x->value + begin, x->grad + begin, end - begin);
}

static void relu_back(struct tape *t, void *context)
{
    (void)t;
    const struct tensor *x = context;
    parallel_for(x->rows * x->cols, SPAN, relu_back_span, context);
}

struct tensor *op_whole_relu(struct tape *t, struct tensor *x)
{
    if (!x || t->failed)
        return NULL;
    parallel_for(x->rows * x->cols, SPAN, relu_span, x);
    if (x->grad)
        tape_record(t, relu_back, x);
    return t->failed ? NULL : x;
}
