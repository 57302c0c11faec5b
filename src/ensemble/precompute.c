/* precompute.c: see precompute.h. */
#include "ensemble/precompute.h"

#include "base/error.h"
#include "base/memory.h"
#include "ensemble/crossfit.h"

#include <stdlib.h>
#include <string.h>

struct ranked {
    double frequency;
    uint32_t id;
};

static int by_frequency(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->frequency != y->frequency)
        return x->frequency < y->frequency ? 1 : -1;
    return (x->id > y->id) - (x->id < y->id);
}

static int by_id(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void count(const struct dataset *d, const struct relations *r, bool products,
                  struct ranked *nodes)
{
    bool listed = false;
    for (size_t i = 0; i < r->count; i++) {
        const struct relation *e = &r->items[i];
        if (e->kind != RELATION_QUERY_PRODUCT)
            continue;
        listed |= strcmp(e->name, "listing") == 0;
        for (size_t k = 0; k < e->n; k++)
            nodes[products ? e->target[k] : e->source[k]].frequency += (double)e->weight[k];
    }
    for (size_t i = 0; i < d->n_examples && !listed; i++)
        nodes[products ? d->example_product[i] : d->example_query[i]].frequency += 1;
}

/* The ids of the `want` most frequent of n nodes; false when out of memory. */
static bool most_frequent(const struct dataset *d, const struct relations *r, bool products,
                          size_t want, uint32_t *ids)
{
    size_t n = products ? d->n_products : d->n_queries;
    struct ranked *nodes = mem_zalloc(n + 1, sizeof *nodes);
    if (!nodes)
        return false;
    for (size_t i = 0; i < n; i++)
        nodes[i].id = (uint32_t)i;
    count(d, r, products, nodes);
    if (n)
        qsort(nodes, n, sizeof *nodes, by_frequency);
    for (size_t i = 0; i < want; i++)
        ids[i] = nodes[i].id;
    if (want)
        qsort(ids, want, sizeof *ids, by_id);
    mem_free(nodes);
    return true;
}

medley_status precompute_choose(const struct dataset *d, const struct relations *r,
                                const struct precompute_config *how, struct precompute *out,
                                medley_error *err)
{
    size_t queries = how->queries < d->n_queries ? (size_t)how->queries : d->n_queries,
           products = how->products < d->n_products ? (size_t)how->products : d->n_products;
    if (queries == 0 || products == 0)
        queries = products = 0; /* one without the other answers no pair */
    uint32_t *ids = mem_alloc(queries + products + 1, sizeof *ids);
    if (!ids || !most_frequent(d, r, false, queries, ids) ||
        !most_frequent(d, r, true, products, ids + queries)) {
        mem_free(ids);
        return fail_memory(err, "the most frequent queries and products");
    }
    *out = (struct precompute){{ids, ids + queries, queries, products}, ids};
    return MEDLEY_OK;
}

void precompute_free(struct precompute *p)
{
    mem_free(p->ids);
    memset(p, 0, sizeof *p);
}

medley_status precompute_write(const struct workspace *w, const struct model_config *m,
                               const char *folder, const struct link_store_plan *plan,
                               const char *path, medley_error *err)
{
    struct graph_inputs inputs;
    struct link_classifier *model = NULL;
    medley_status st = graph_inputs_open(&w->data, &w->relations, m,
                                         features_path(w, m->features).s, &inputs, err);
    if (st)
        return st;
    st = link_classifier_load(folder, &model, err);
    if (!st)
        st = link_store_write(model, &inputs.graph, inputs.rows, plan, path, err);
    link_classifier_free(model);
    graph_inputs_close(&inputs);
    return st;
}
