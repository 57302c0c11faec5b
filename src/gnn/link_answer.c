/* link_answer.c: answers to requests, whose query or products may be new: a stored query's
 * pairs from the store where it has them, the rest over whole neighbourhoods. */
#include "gnn/link_patch.h"
#include "gnn/link_store.h"

#include "base/error.h"
#include "base/memory.h"

#include <string.h>

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

/* Whether anything joins the graph for this request. A graph of product-product relations alone
 * gives no query a neighbour; without text neighbours a new one gets none either. */
static bool needs_patch(const struct link_request *r)
{
    bool fresh = r->query == UINT32_MAX;
    for (size_t i = 0; r->neighbours && i < r->n && !fresh; i++)
        fresh = r->product[i] == UINT32_MAX;
    return fresh && (r->neighbours || r->graph->all.offsets[r->graph->n_queries] > 0);
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
    struct link_request joined = *r;
    struct link_patch patch;
    float *rows = NULL;
    size_t k = m->n_classes;
    medley_status st = MEDLEY_OK;
    link_patch_init(&patch, g);
    joined.width = m->width;
    if (!rest_gather(&rest, &patch.arena, r, stored) ||
        !(rows = arena_alloc(&patch.arena, rest.n + 1, k * sizeof *rows)))
        st = fail_memory(err, "a request");
    else if (needs_patch(r))
        st = link_patch_build(&patch, &joined, rest.product, rest.place, rest.n, err);
    struct feature_source features = {
        .stored = r->features,
        .n_stored = g->n_nodes,
        .n_queries = g->n_queries,
        .width = m->width,
        .query = r->query_features,
        .products = r->product_features,
    };
    struct predict_job job = {&patch.view, &features, rest.query, rest.product, rest.n, NULL};
    if (rest.n && st == MEDLEY_OK)
        st = link_predict_nodes(m, &job, rows, err);
    for (size_t i = 0; i < rest.n && st == MEDLEY_OK; i++)
        memcpy(probabilities + rest.place[i] * k, rows + i * k, k * sizeof *rows);
    link_patch_deinit(&patch);
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
