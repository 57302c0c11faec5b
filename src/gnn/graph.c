/* graph.c: relations (sorted edge lists) to symmetric CSR, and their union. */
#include "gnn/graph.h"

#include "base/error.h"
#include "base/memory.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* The arrays of one csr, writable while it is built. */
struct csr_arrays {
    uint64_t *offsets;
    uint32_t *target;
    float *weight;
    float *degree;
    uint32_t *relations; /* of the union alone */
};

struct graph_storage {
    size_t n;                  /* relations */
    struct csr_arrays *arrays; /* [n+1]; the last is the union */
    char **names;              /* [n] */
};

size_t csr_find(const struct csr *c, uint32_t i, uint32_t j)
{
    size_t low = c->offsets[i], high = c->offsets[i + 1];
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (c->target[middle] < j)
            low = middle + 1;
        else
            high = middle;
    }
    return low < c->offsets[i + 1] && c->target[low] == j ? low : SIZE_MAX;
}

static void csr_arrays_free(struct csr_arrays *a)
{
    mem_free(a->offsets);
    mem_free(a->target);
    mem_free(a->weight);
    mem_free(a->degree);
    mem_free(a->relations);
}

static bool csr_arrays_edges(struct csr_arrays *a, size_t edges)
{
    a->target = mem_alloc(edges ? edges : 1, sizeof *a->target);
    a->weight = mem_alloc(edges ? edges : 1, sizeof *a->weight);
    return a->target && a->weight;
}

static void csr_publish(struct csr *c, const struct csr_arrays *a, size_t n_nodes)
{
    *c = (struct csr){n_nodes, a->offsets, a->target, a->weight, a->degree, a->relations};
    for (size_t i = 0; i < n_nodes; i++) {
        double sum = 0;
        for (uint64_t e = a->offsets[i]; e < a->offsets[i + 1]; e++)
            sum += (double)a->weight[e];
        a->degree[i] = (float)sum;
    }
}

static medley_status check_relation(const struct relation *r, const struct graph *g,
                                    medley_error *err)
{
    bool query_product = r->kind == RELATION_QUERY_PRODUCT;
    size_t sources = r->kind == RELATION_PRODUCT_PRODUCT ? g->n_products : g->n_queries,
           targets = r->kind == RELATION_QUERY_QUERY ? g->n_queries : g->n_products;
    for (size_t e = 0; e < r->n; e++) {
        uint32_t s = r->source[e], t = r->target[e];
        if (s >= sources || t >= targets)
            return fail(err, MEDLEY_EFORMAT,
                        "relation '%s': edge %zu (%u, %u) is out of range (%zu, %zu)", r->name,
                        e, s, t, sources, targets);
        if (!query_product && s >= t)
            return fail(
                err, MEDLEY_EFORMAT,
                "relation '%s': edge %zu (%u, %u) must have its source before its target",
                r->name, e, s, t);
        if (e && (r->source[e - 1] > s || (r->source[e - 1] == s && r->target[e - 1] >= t)))
            return fail(err, MEDLEY_EFORMAT, "relation '%s': edge %zu (%u, %u) is not in order",
                        r->name, e, s, t);
        if (r->weight && !(r->weight[e] > 0 && isfinite(r->weight[e])))
            return fail(err, MEDLEY_EFORMAT,
                        "relation '%s': edge %zu has weight %g (must be positive)", r->name, e,
                        (double)r->weight[e]);
    }
    return MEDLEY_OK;
}

/* Rows come out sorted without a sort: in a list ordered by (source, target) in which every
 * source is a smaller node id than its target, all smaller neighbours of a node are met, in
 * order, by the first pass and all larger ones by the second. */
static medley_status fill_relation(const struct relation *r, const struct graph *g,
                                   struct csr_arrays *a, medley_error *err)
{
    size_t from = r->kind == RELATION_PRODUCT_PRODUCT ? g->n_queries : 0,
           to = r->kind == RELATION_QUERY_QUERY ? 0 : g->n_queries;
    uint64_t *cursor = mem_alloc(g->n_nodes + 1, sizeof *cursor);
    a->offsets = mem_zalloc(g->n_nodes + 1, sizeof *a->offsets);
    a->degree = mem_alloc(g->n_nodes + 1, sizeof *a->degree);
    if (r->n > SIZE_MAX / 2 || !cursor || !a->offsets || !a->degree ||
        !csr_arrays_edges(a, 2 * r->n)) {
        mem_free(cursor);
        return fail_memory(err, "the edges of a relation");
    }
    for (size_t e = 0; e < r->n; e++) {
        a->offsets[from + r->source[e] + 1]++;
        a->offsets[to + r->target[e] + 1]++;
    }
    for (size_t i = 0; i < g->n_nodes; i++)
        a->offsets[i + 1] += a->offsets[i];
    memcpy(cursor, a->offsets, (g->n_nodes + 1) * sizeof *cursor);
    for (int pass = 0; pass < 2; pass++)
        for (size_t e = 0; e < r->n; e++) {
            size_t s = from + r->source[e], t = to + r->target[e];
            size_t row = pass ? s : t, other = pass ? t : s;
            a->target[cursor[row]] = (uint32_t)other;
            a->weight[cursor[row]++] = r->weight ? r->weight[e] : 1.0f;
        }
    mem_free(cursor);
    return MEDLEY_OK;
}

/* Merges row i of all relations. Writes when `a` has edges allocated; returns the merged
 * length. cursor[n_relations] is scratch. */
static size_t merge_row(const struct graph *g, size_t i, uint64_t *cursor, struct csr_arrays *a)
{
    for (size_t r = 0; r < g->n_relations; r++)
        cursor[r] = g->relations[r].offsets[i];
    for (size_t n = 0;; n++) {
        uint32_t next = UINT32_MAX;
        for (size_t r = 0; r < g->n_relations; r++) {
            const struct csr *c = &g->relations[r];
            if (cursor[r] < c->offsets[i + 1] && c->target[cursor[r]] < next)
                next = c->target[cursor[r]];
        }
        if (next == UINT32_MAX)
            return n;
        double weight = 0;
        uint32_t found = 0;
        for (size_t r = 0; r < g->n_relations; r++) {
            const struct csr *c = &g->relations[r];
            if (cursor[r] < c->offsets[i + 1] && c->target[cursor[r]] == next) {
                weight += (double)c->weight[cursor[r]++];
                found |= r < GRAPH_TYPED_RELATIONS ? UINT32_C(1) << r : 0;
            }
        }
        if (a->target) {
            a->target[a->offsets[i] + n] = next;
            a->weight[a->offsets[i] + n] = (float)weight;
            a->relations[a->offsets[i] + n] = found;
        }
    }
}

static medley_status fill_union(const struct graph *g, struct csr_arrays *a, medley_error *err)
{
    uint64_t *cursor = mem_alloc(g->n_relations + 1, sizeof *cursor);
    a->offsets = mem_zalloc(g->n_nodes + 1, sizeof *a->offsets);
    a->degree = mem_alloc(g->n_nodes + 1, sizeof *a->degree);
    medley_status st = MEDLEY_OK;
    if (!cursor || !a->offsets || !a->degree) {
        st = fail_memory(err, "the union of the relations");
        goto done;
    }
    for (size_t i = 0; i < g->n_nodes; i++)
        a->offsets[i + 1] = a->offsets[i] + merge_row(g, i, cursor, a);
    a->relations = mem_alloc(a->offsets[g->n_nodes] + 1, sizeof *a->relations);
    if (!a->relations || !csr_arrays_edges(a, a->offsets[g->n_nodes])) {
        st = fail_memory(err, "the union of the relations");
        goto done;
    }
    for (size_t i = 0; i < g->n_nodes; i++)
        merge_row(g, i, cursor, a);
done:
    mem_free(cursor);
    return st;
}

static medley_status add_relation(struct graph *g, const struct relation *r, medley_error *err)
{
    size_t at = g->n_relations;
    for (size_t i = 0; i < at; i++)
        if (strcmp(g->relation_names[i], r->name) == 0)
            return fail(err, MEDLEY_EINVAL, "relation '%s' is named twice", r->name);
    medley_status st = check_relation(r, g, err);
    if (st != MEDLEY_OK)
        return st;
    struct graph_storage *s = g->storage;
    s->names[at] = mem_strdup(r->name);
    if (!s->names[at])
        return fail_memory(err, "a relation name");
    g->relation_names[at] = s->names[at];
    st = fill_relation(r, g, &s->arrays[at], err);
    if (st != MEDLEY_OK)
        return st;
    csr_publish(&g->relations[at], &s->arrays[at], g->n_nodes);
    g->n_relations++;
    return MEDLEY_OK;
}

static medley_status allocate(struct graph *g, size_t n, medley_error *err)
{
    struct graph_storage *s = mem_zalloc(1, sizeof *s);
    if (!s)
        return fail_memory(err, "a graph");
    g->storage = s;
    s->n = n;
    s->arrays = mem_zalloc(n + 1, sizeof *s->arrays);
    s->names = mem_zalloc(n + 1, sizeof *s->names);
    g->relation_names = mem_zalloc(n + 1, sizeof *g->relation_names);
    g->relations = mem_zalloc(n + 1, sizeof *g->relations);
    if (!s->arrays || !s->names || !g->relation_names || !g->relations)
        return fail_memory(err, "a graph");
    return MEDLEY_OK;
}

medley_status graph_build(const struct dataset *d, const struct relations *r,
                          const char *const *names, struct graph *out, medley_error *err)
{
    struct graph g = {.n_queries = d->n_queries, .n_products = d->n_products};
    /* Ids past the stored nodes are given to the new nodes of a request, hence the margin. */
    if (d->n_queries >= UINT32_MAX / 4 || d->n_products >= UINT32_MAX / 4)
        return fail(err, MEDLEY_EINVAL, "a graph of %zu queries and %zu products is too large",
                    d->n_queries, d->n_products);
    g.n_nodes = g.n_queries + g.n_products;
    size_t n = 0;
    if (names)
        while (names[n])
            n++;
    else
        n = r->count;
    medley_status st = allocate(&g, n, err);
    for (size_t i = 0; st == MEDLEY_OK && i < n; i++) {
        const struct relation *one = names ? relations_find(r, names[i]) : &r->items[i];
        if (!one)
            st = fail(err, MEDLEY_EINVAL, "the dataset has no relation '%s'", names[i]);
        else
            st = add_relation(&g, one, err);
    }
    if (st == MEDLEY_OK)
        st = fill_union(&g, &g.storage->arrays[n], err);
    if (st == MEDLEY_OK) {
        csr_publish(&g.all, &g.storage->arrays[n], g.n_nodes);
        *out = g;
    } else {
        graph_free(&g);
    }
    return st;
}

void graph_free(struct graph *g)
{
    struct graph_storage *s = g->storage;
    if (s) {
        for (size_t i = 0; s->arrays && i <= s->n; i++)
            csr_arrays_free(&s->arrays[i]);
        for (size_t i = 0; s->names && i < s->n; i++)
            mem_free(s->names[i]);
        mem_free(s->arrays);
        mem_free(s->names);
        mem_free(s);
    }
    mem_free(g->relation_names);
    mem_free(g->relations);
    *g = (struct graph){0};
}
