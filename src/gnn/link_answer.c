/* link_answer.c: answers to requests, whose query or products may be new: a stored query's
 * pairs from the store where it has them, the rest over whole neighbourhoods. */
#include "gnn/link_model.h"
#include "gnn/link_store.h"

#include "base/arena.h"
#include "base/error.h"
#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

/* The rows that a new query changes: its own (all candidates), and those of its candidates
 * (plus the query). Weight 1, as one listing. */
struct patch {
    struct arena arena;
    struct graph_view view;
};

static int by_id(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

struct patch_arrays {
    uint32_t *node, *target, *relations;
    uint64_t *offsets;
    float *weight, *degree;
    uint32_t listing; /* the bit of the relation that a new query's edges belong to */
};

/* A listing: the first relation between queries and products. */
uint32_t link_listing_relation(const struct graph *g)
{
    for (size_t r = 0; r < g->n_relations && r < GRAPH_TYPED_RELATIONS; r++)
        if (g->relations[r].offsets[g->n_queries] > 0)
            return UINT32_C(1) << r;
    return 1;
}

/* Appends row i: the stored neighbours of `node`, then those in extra[n]. */
static void patch_row(struct patch_arrays *a, const struct csr *base, size_t i, uint32_t node,
                      const uint32_t *extra, size_t n)
{
    struct graph_view stored = {.base = base};
    struct graph_row row = view_row(&stored, node);
    uint64_t at = a->offsets[i];
    double degree = 0;
    for (size_t e = 0; e < row.n + n; e++, at++) {
        a->target[at] = e < row.n ? row.target[e] : extra[e - row.n];
        a->weight[at] = e < row.n ? row.weight[e] : 1.0f;
        a->relations[at] = e < row.n && row.relations ? row.relations[e] : a->listing;
        degree += (double)a->weight[at];
    }
    a->node[i] = node;
    a->degree[i] = (float)degree;
    a->offsets[i + 1] = at;
}

/* candidates[n]: node ids of the request's products. Ids: stored nodes, the query, new
 * products; ascending in that order, so rows stay sorted. */
static bool patch_build(struct patch *p, const struct graph *g, const uint32_t *candidates,
                        size_t n)
{
    const struct csr *base = &g->all;
    uint32_t query = (uint32_t)g->n_nodes;
    uint32_t *unique = arena_alloc(&p->arena, n, sizeof *unique);
    if (!unique)
        return false;
    memcpy(unique, candidates, n * sizeof *unique);
    qsort(unique, n, sizeof *unique, by_id);
    size_t count = 0, stored = 0, edges = 0;
    for (size_t i = 0; i < n; i++)
        if (i == 0 || unique[i] != unique[i - 1])
            unique[count++] = unique[i];
    while (stored < count && unique[stored] < g->n_nodes)
        stored++;
    for (size_t i = 0; i < stored; i++)
        edges += (size_t)(base->offsets[unique[i] + 1] - base->offsets[unique[i]]);
    edges += 2 * count;
    struct patch_arrays a = {
        .node = arena_alloc(&p->arena, count + 1, sizeof *a.node),
        .target = arena_alloc(&p->arena, edges, sizeof *a.target),
        .relations = arena_alloc(&p->arena, edges, sizeof *a.relations),
        .listing = link_listing_relation(g),
        .offsets = arena_alloc(&p->arena, count + 2, sizeof *a.offsets),
        .weight = arena_alloc(&p->arena, edges, sizeof *a.weight),
        .degree = arena_alloc(&p->arena, count + 1, sizeof *a.degree),
    };
    if (!a.node || !a.target || !a.relations || !a.offsets || !a.weight || !a.degree)
        return false;
    a.offsets[0] = 0;
    for (size_t i = 0; i < stored; i++)
        patch_row(&a, base, i, unique[i], &query, 1);
    patch_row(&a, base, stored, query, unique, count);
    for (size_t i = stored; i < count; i++)
        patch_row(&a, base, i + 1, unique[i], &query, 1);
    p->view.n_patched = count + 1;
    p->view.patched = a.node;
    p->view.patch =
        (struct csr){count + 1, a.offsets, a.target, a.weight, a.degree, a.relations};
    return true;
}

static medley_status request_check(const struct link_request *r, medley_error *err)
{
    const struct graph *g = r->graph;
    if (r->query != UINT32_MAX && r->query >= g->n_queries)
        return fail(err, MEDLEY_EINVAL, "query %u is not in the graph (%zu queries)", r->query,
                    g->n_queries);
    if (r->query == UINT32_MAX && !r->query_features)
        return fail(err, MEDLEY_EINVAL, "a new query needs features");
    if (r->n > UINT32_MAX / 4)
        return fail(err, MEDLEY_EINVAL, "a request of %zu candidates is too large", r->n);
    for (size_t i = 0; i < r->n; i++) {
        if (r->product[i] != UINT32_MAX && r->product[i] >= g->n_products)
            return fail(err, MEDLEY_EINVAL,
                        "candidate %zu: product %u is not in the graph (%zu)", i, r->product[i],
                        g->n_products);
        if (r->product[i] == UINT32_MAX && !r->product_features)
            return fail(err, MEDLEY_EINVAL, "candidate %zu is new and needs features", i);
    }
    return MEDLEY_OK;
}

/* A graph of product-product relations alone gives no query a neighbour; a new one gets none
 * either. */
static bool has_query_edges(const struct graph *g)
{
    return g->all.offsets[g->n_queries] > 0;
}

/* The pairs of a request as node ids: those that no store has answered. */
struct rest {
    uint32_t *query, *product; /* [n] */
    uint32_t *place;           /* [n] which pair of the request */
    size_t n;
};

static bool rest_gather(struct rest *rest, struct arena *a, const struct link_request *r,
                        const uint8_t *stored)
{
    const struct graph *g = r->graph;
    rest->query = arena_alloc(a, r->n, sizeof *rest->query);
    rest->product = arena_alloc(a, r->n, sizeof *rest->product);
    rest->place = arena_alloc(a, r->n, sizeof *rest->place);
    if (!rest->query || !rest->product || !rest->place)
        return false;
    for (size_t i = 0; i < r->n; i++) {
        if (stored[i])
            continue;
        rest->query[rest->n] = r->query == UINT32_MAX ? (uint32_t)g->n_nodes : r->query;
        rest->product[rest->n] = r->product[i] == UINT32_MAX
                                     ? (uint32_t)(g->n_nodes + 1 + i)
                                     : (uint32_t)(g->n_queries + r->product[i]);
        rest->place[rest->n++] = (uint32_t)i;
    }
    return true;
}

/* The live path. Pairs of a stored query do not depend on each other, so that any of them may
 * have been answered from a store; those of a new query do, and none has. */
static medley_status answer_live(const struct link_classifier *m, const struct link_request *r,
                                 const uint8_t *stored, float *probabilities, medley_error *err)
{
    const struct graph *g = r->graph;
    struct rest rest = {0};
    struct patch patch = {.view.base = &g->all};
    float *rows = NULL;
    size_t k = m->n_classes;
    medley_status st = MEDLEY_OK;
    arena_init(&patch.arena, 0);
    if (!rest_gather(&rest, &patch.arena, r, stored) ||
        !(rows = arena_alloc(&patch.arena, rest.n + 1, k * sizeof *rows)) ||
        (r->query == UINT32_MAX && has_query_edges(g) &&
         !patch_build(&patch, g, rest.product, rest.n))) {
        st = fail_memory(err, "a request");
        goto done;
    }
    struct feature_source features = {
        .stored = r->features,
        .n_stored = g->n_nodes,
        .n_queries = g->n_queries,
        .width = m->width,
        .query = r->query_features,
        .products = r->product_features,
    };
    struct predict_job job = {&patch.view, &features, rest.query, rest.product, rest.n, NULL};
    if (rest.n)
        st = link_predict_nodes(m, &job, rows, err);
    for (size_t i = 0; i < rest.n && st == MEDLEY_OK; i++)
        memcpy(probabilities + rest.place[i] * k, rows + i * k, k * sizeof *rows);
done:
    arena_deinit(&patch.arena);
    return st;
}

medley_status link_classifier_answer(const struct link_classifier *m,
                                     const struct link_request *request, float *probabilities,
                                     medley_error *err)
{
    medley_status st = request_check(request, err);
    if (st == MEDLEY_OK)
        st = link_graph_check(m, request->graph, err);
    if (st != MEDLEY_OK || request->n == 0)
        return st;
    uint8_t *stored = mem_zalloc(request->n, 1);
    if (!stored)
        return fail_memory(err, "a request");
    if (request->store)
        st = link_store_answer(request->store, m, request, stored, probabilities, err);
    if (st == MEDLEY_OK)
        st = answer_live(m, request, stored, probabilities, err);
    if (st == MEDLEY_OK && request->stored)
        memcpy(request->stored, stored, request->n);
    mem_free(stored);
    return st;
}
