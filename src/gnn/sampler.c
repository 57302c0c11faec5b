/* sampler.c: see sampler.h. Works from the roots down: the rows of one level are the targets of
 * a block, their neighbours become the rows of the level below, each (node, pair) once. */
#include "gnn/sampler.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/rng.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct u32s {
    uint32_t *v;
    size_t n, capacity;
};
struct floats {
    float *v;
    size_t n, capacity;
};

static bool push_u32(struct u32s *a, uint32_t value)
{
    if (a->n == a->capacity && !mem_reserve(&a->v, &a->capacity, a->n + 1, sizeof *a->v))
        return false;
    a->v[a->n++] = value;
    return true;
}

static bool push_float(struct floats *a, float value)
{
    if (a->n == a->capacity && !mem_reserve(&a->v, &a->capacity, a->n + 1, sizeof *a->v))
        return false;
    a->v[a->n++] = value;
    return true;
}

/* (node, pair) -> row of a level. Emptied in O(1) by a new stamp. */
struct row_map {
    uint64_t *key;
    uint32_t *row, *stamp;
    size_t capacity; /* a power of two, or 0 */
    size_t used;
    uint32_t now;
};

struct level {
    struct u32s node, pair;            /* rows */
    struct u32s self, offsets, source; /* the block whose targets these rows are */
    struct u32s relations;
    struct floats weight, target_degree, source_degree;
};

struct chosen {
    uint64_t hash;
    uint32_t at;      /* position in the row */
    float scale;      /* of its weight, for those that are not taken */
    uint8_t relation; /* whose limit it counts for; GRAPH_TYPED_RELATIONS: none's */
};

struct sampler {
    struct level levels[GNN_MAX_HOPS + 1]; /* [hops] holds the roots, [0] the leaves */
    struct row_map rows;
    struct chosen *chosen; /* [capacity] */
    size_t chosen_capacity;
    /* Degrees of a pair's own nodes without the edge between them. */
    struct floats query_degree, product_degree;
};

struct sampler *sampler_new(void)
{
    return mem_zalloc(1, sizeof(struct sampler));
}

void sampler_free(struct sampler *s)
{
    if (!s)
        return;
    for (size_t l = 0; l <= GNN_MAX_HOPS; l++) {
        struct level *v = &s->levels[l];
        mem_free(v->node.v);
        mem_free(v->pair.v);
        mem_free(v->self.v);
        mem_free(v->offsets.v);
        mem_free(v->source.v);
        mem_free(v->relations.v);
        mem_free(v->weight.v);
        mem_free(v->target_degree.v);
        mem_free(v->source_degree.v);
    }
    mem_free(s->rows.key);
    mem_free(s->rows.row);
    mem_free(s->rows.stamp);
    mem_free(s->chosen);
    mem_free(s->query_degree.v);
    mem_free(s->product_degree.v);
    mem_free(s);
}

struct graph_row view_row(const struct graph_view *v, uint32_t node)
{
    const struct csr *c = v->base;
    size_t i = node;
    if (v->n_patched) {
        size_t low = 0, high = v->n_patched;
        while (low < high) {
            size_t middle = low + (high - low) / 2;
            if (v->patched[middle] < node)
                low = middle + 1;
            else
                high = middle;
        }
        if (low < v->n_patched && v->patched[low] == node) {
            c = &v->patch;
            i = low;
        }
    }
    if (i >= c->n)
        return (struct graph_row){0};
    return (struct graph_row){.target = c->target + c->offsets[i],
                              .weight = c->weight + c->offsets[i],
                              .relations = c->relations ? c->relations + c->offsets[i] : NULL,
                              .n = c->offsets[i + 1] - c->offsets[i],
                              .degree = c->degree[i]};
}

/* The position of `node` in a row; row->n when it is not there. */
static size_t row_find(const struct graph_row *row, uint32_t node)
{
    size_t low = 0, high = row->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (row->target[middle] < node)
            low = middle + 1;
        else
            high = middle;
    }
    return low < row->n && row->target[low] == node ? low : row->n;
}

/* Summed anew rather than subtracted: the result must have the same bits as if the edge at
 * `skip` were not in the graph. */
static float degree_without(const struct graph_row *row, size_t skip)
{
    double sum = 0;
    for (size_t e = 0; e < row->n; e++)
        if (e != skip)
            sum += (double)row->weight[e];
    return (float)sum;
}

static void map_clear(struct row_map *m)
{
    m->used = 0;
    if (++m->now == 0) { /* stamps wrapped: every old one must go */
        if (m->capacity)
            memset(m->stamp, 0, m->capacity * sizeof *m->stamp);
        m->now = 1;
    }
}

static size_t map_slot(const struct row_map *m, uint64_t key)
{
    size_t at = (size_t)((key * UINT64_C(0x9E3779B97F4A7C15)) >> 20) & (m->capacity - 1);
    while (m->stamp[at] == m->now && m->key[at] != key)
        at = (at + 1) & (m->capacity - 1);
    return at;
}

static bool map_grow(struct row_map *m)
{
    struct row_map wider = {.capacity = m->capacity ? 2 * m->capacity : 1024, .now = 1};
    wider.key = mem_alloc(wider.capacity, sizeof *wider.key);
    wider.row = mem_alloc(wider.capacity, sizeof *wider.row);
    wider.stamp = mem_zalloc(wider.capacity, sizeof *wider.stamp);
    if (!wider.key || !wider.row || !wider.stamp) {
        mem_free(wider.key);
        mem_free(wider.row);
        mem_free(wider.stamp);
        return false;
    }
    for (size_t i = 0; i < m->capacity; i++)
        if (m->stamp[i] == m->now) {
            size_t at = map_slot(&wider, m->key[i]);
            wider.key[at] = m->key[i];
            wider.row[at] = m->row[i];
            wider.stamp[at] = wider.now;
            wider.used++;
        }
    mem_free(m->key);
    mem_free(m->row);
    mem_free(m->stamp);
    *m = wider;
    return true;
}

/* The row of (node, pair) in a level, added when new; UINT32_MAX when out of memory. */
static uint32_t row_of(struct sampler *s, struct level *below, uint32_t node, uint32_t pair)
{
    struct row_map *m = &s->rows;
    if (2 * (m->used + 1) > m->capacity && !map_grow(m))
        return UINT32_MAX;
    uint64_t key = (uint64_t)pair << 32 | node;
    size_t at = map_slot(m, key);
    if (m->stamp[at] == m->now)
        return m->row[at];
    uint32_t row = (uint32_t)below->node.n;
    if (!push_u32(&below->node, node) || !push_u32(&below->pair, pair))
        return UINT32_MAX;
    m->key[at] = key;
    m->row[at] = row;
    m->stamp[at] = m->now;
    m->used++;
    return row;
}

/* Does what `node` computes with `hops` hops left depend on the pair's own edge? Exact up to a
 * distance of one, and on the safe side beyond. */
static bool affected(const struct sample_request *r, uint32_t node, uint32_t pair,
                     unsigned hops)
{
    if (hops == 0)
        return false;
    uint32_t q = r->query[pair], p = r->product[pair];
    if (node == q || node == p)
        return true;
    unsigned reach = hops - 1 + r->degrees; /* distance from q or p that is seen */
    if (reach == 0)
        return false;
    if (reach > 1)
        return true;
    struct graph_row row = view_row(r->view, node);
    return row_find(&row, q) < row.n || row_find(&row, p) < row.n;
}

static int later(const struct chosen *a, const struct chosen *b)
{
    return a->hash != b->hash ? a->hash > b->hash : a->at > b->at;
}

/* Restores the max-heap on hash below `at`. */
static void sift_down(struct chosen *heap, size_t n, size_t at)
{
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= n)
            return;
        if (child + 1 < n && later(&heap[child + 1], &heap[child]))
            child++;
        if (!later(&heap[child], &heap[at]))
            return;
        struct chosen swap = heap[at];
        heap[at] = heap[child];
        heap[child] = swap;
        at = child;
    }
}

static int by_position(const void *a, const void *b)
{
    uint32_t x = ((const struct chosen *)a)->at, y = ((const struct chosen *)b)->at;
    return (x > y) - (x < y);
}

/* The `take` smallest by hash of a row's edges, unordered. */
static size_t choose_smallest(struct sampler *s, const struct sample_request *r, uint32_t node,
                              const struct graph_row *row, size_t skip, size_t take)
{
    size_t n = 0;
    for (size_t e = 0; e < row->n; e++) {
        if (e == skip)
            continue;
        struct chosen c = {.at = (uint32_t)e, .hash = mix64(r->seed, node, row->target[e])};
        if (n < take) {
            s->chosen[n++] = c;
            if (n == take)
                for (size_t i = n / 2; i-- > 0;)
                    sift_down(s->chosen, n, i);
        } else if (take && later(&s->chosen[0], &c)) {
            s->chosen[0] = c;
            sift_down(s->chosen, n, 0);
        }
    }
    return n;
}

static int by_hash(const void *a, const void *b)
{
    const struct chosen *x = a, *y = b;
    return later(x, y) - later(y, x);
}

static int by_relation(const void *a, const void *b)
{
    const struct chosen *x = a, *y = b;
    return x->relation != y->relation
               ? (x->relation > y->relation) - (x->relation < y->relation)
               : by_hash(a, b);
}

static uint8_t limited_relation(const struct sample_request *r, uint32_t relations)
{
    uint8_t i = 0;
    while (i < GRAPH_TYPED_RELATIONS && !(relations >> i & 1 && r->relation_fanout[i]))
        i++;
    return i;
}

/* All allowed edges, those of relations with a limit cut down to it. */
static size_t choose_by_relation(struct sampler *s, const struct sample_request *r,
                                 uint32_t node, const struct graph_row *row, size_t skip)
{
    size_t n = 0, kept = 0;
    for (size_t e = 0; e < row->n; e++)
        if (e != skip)
            s->chosen[n++] =
                (struct chosen){.at = (uint32_t)e,
                                .hash = mix64(r->seed, node, row->target[e]),
                                .relation = limited_relation(r, row->relations[e])};
    qsort(s->chosen, n, sizeof *s->chosen, by_relation);
    for (size_t begin = 0, end; begin < n; begin = end) {
        uint8_t relation = s->chosen[begin].relation;
        for (end = begin; end < n && s->chosen[end].relation == relation;)
            end++;
        size_t take = end - begin;
        if (relation < GRAPH_TYPED_RELATIONS && take > r->relation_fanout[relation])
            take = r->relation_fanout[relation];
        float scale = (float)(end - begin) / (float)take;
        for (size_t i = begin; i < begin + take; i++) {
            s->chosen[i].scale = scale;
            s->chosen[kept++] = s->chosen[i];
        }
    }
    return kept;
}

/* The neighbours taken, by ascending position, in s->chosen; their number, or SIZE_MAX when out
 * of memory. The position `skip` is not allowed. */
static size_t choose(struct sampler *s, const struct sample_request *r, uint32_t node,
                     const struct graph_row *row, size_t skip, size_t limit)
{
    bool typed = r->relation_fanout && row->relations;
    size_t allowed = row->n - (skip < row->n), n = 0;
    if (!mem_reserve(&s->chosen, &s->chosen_capacity,
                     (allowed < limit || typed ? allowed : limit) + 1, sizeof *s->chosen))
        return SIZE_MAX;
    if (typed) {
        n = choose_by_relation(s, r, node, row, skip);
        if (n > limit)
            qsort(s->chosen, n, sizeof *s->chosen, by_hash);
    } else if (allowed > limit) {
        n = choose_smallest(s, r, node, row, skip, limit);
    } else {
        for (size_t e = 0; e < row->n; e++)
            if (e != skip)
                s->chosen[n++] = (struct chosen){.at = (uint32_t)e};
    }
    size_t taken = n < limit ? n : limit;
    float rest = taken ? (float)(typed ? n : allowed) / (float)taken : 1;
    for (size_t i = 0; i < taken; i++)
        s->chosen[i].scale = typed ? s->chosen[i].scale * rest : rest;
    if (typed || allowed > limit)
        qsort(s->chosen, taken, sizeof *s->chosen, by_position);
    return taken;
}

/* What one target adds to its block and to the level below. */
static bool add_target(struct sampler *s, const struct sample_request *r, unsigned hops,
                       size_t i)
{
    struct level *here = &s->levels[hops], *below = &s->levels[hops - 1];
    uint32_t node = here->node.v[i], pair = here->pair.v[i];
    struct graph_row row = view_row(r->view, node);
    uint32_t q = NOBODY, p = NOBODY;
    size_t skip = row.n;
    float degree = row.degree;
    if (pair != NOBODY) {
        q = r->query[pair], p = r->product[pair];
        if (node == q || node == p) {
            skip = row_find(&row, node == q ? p : q);
            if (r->degrees)
                degree = node == q ? s->query_degree.v[pair] : s->product_degree.v[pair];
        }
    }
    size_t limit = r->hop_fanout ? r->hop_fanout[r->hops - hops] : r->fanout;
    size_t n = choose(s, r, node, &row, skip, limit);
    uint32_t self = row_of(s, below, node,
                           pair != NOBODY && affected(r, node, pair, hops - 1) ? pair : NOBODY);
    if (n == SIZE_MAX || self == UINT32_MAX || !push_u32(&here->self, self) ||
        (r->degrees && !push_float(&here->target_degree, degree)))
        return false;
    for (size_t k = 0; k < n; k++) {
        size_t e = s->chosen[k].at;
        uint32_t other = row.target[e];
        bool mine = pair != NOBODY && affected(r, other, pair, hops - 1);
        uint32_t source = row_of(s, below, other, mine ? pair : NOBODY);
        if (source == UINT32_MAX || !push_u32(&here->source, source) ||
            !push_float(&here->weight, row.weight[e] * s->chosen[k].scale) ||
            (r->relations && !push_u32(&here->relations, row.relations ? row.relations[e] : 1)))
            return false;
        if (!r->degrees)
            continue;
        float d = pair != NOBODY && other == q   ? s->query_degree.v[pair]
                  : pair != NOBODY && other == p ? s->product_degree.v[pair]
                                                 : view_row(r->view, other).degree;
        if (!push_float(&here->source_degree, d))
            return false;
    }
    return push_u32(&here->offsets, (uint32_t)here->source.n);
}

static bool start(struct sampler *s, const struct sample_request *r)
{
    for (unsigned l = 0; l <= r->hops; l++) {
        struct level *v = &s->levels[l];
        v->node.n = v->pair.n = v->self.n = v->offsets.n = v->source.n = 0;
        v->relations.n = 0;
        v->weight.n = v->target_degree.n = v->source_degree.n = 0;
        if (!push_u32(&v->offsets, 0))
            return false;
    }
    for (size_t i = 0; i < r->n; i++)
        if (!push_u32(&s->levels[r->hops].node, r->root[i]) ||
            !push_u32(&s->levels[r->hops].pair, r->pair ? r->pair[i] : NOBODY))
            return false;
    s->query_degree.n = s->product_degree.n = 0;
    for (size_t i = 0; r->degrees && r->pair && i < r->n_pairs; i++) {
        struct graph_row q = view_row(r->view, r->query[i]);
        struct graph_row p = view_row(r->view, r->product[i]);
        if (!push_float(&s->query_degree, degree_without(&q, row_find(&q, r->product[i]))) ||
            !push_float(&s->product_degree, degree_without(&p, row_find(&p, r->query[i]))))
            return false;
    }
    return true;
}

static struct block block_of(const struct level *here, const struct level *below,
                             const struct sample_request *r)
{
    return (struct block){
        .n_targets = here->node.n,
        .n_sources = below->node.n,
        .n_edges = here->source.n,
        .self = here->self.v,
        .offsets = here->offsets.v,
        .source = here->source.v,
        .weight = here->weight.v,
        .target_degree = r->degrees ? here->target_degree.v : NULL,
        .source_degree = r->degrees ? here->source_degree.v : NULL,
        .relations = r->relations ? here->relations.v : NULL,
    };
}

medley_status sampler_run(struct sampler *s, const struct sample_request *r, struct sample *out,
                          medley_error *err)
{
    assert(r->hops >= 1 && r->hops <= GNN_MAX_HOPS);
    if (!start(s, r))
        return fail_memory(err, "a sampled neighbourhood");
    for (unsigned hops = r->hops; hops > 0; hops--) {
        map_clear(&s->rows);
        for (size_t i = 0; i < s->levels[hops].node.n; i++)
            if (!add_target(s, r, hops, i))
                return fail_memory(err, "a sampled neighbourhood");
        if (s->levels[hops].source.n >= UINT32_MAX)
            return fail(err, MEDLEY_EINVAL, "a batch of %zu nodes has too many neighbours",
                        r->n);
    }
    struct sample result = {
        .hops = r->hops, .leaves = s->levels[0].node.v, .n_leaves = s->levels[0].node.n};
    for (unsigned h = 0; h < r->hops; h++)
        result.blocks[h] = block_of(&s->levels[h + 1], &s->levels[h], r);
    *out = result;
    return MEDLEY_OK;
}
