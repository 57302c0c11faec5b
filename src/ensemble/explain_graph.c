/* explain_graph.c: the neighbours that graph models saw of the query and of the product; see
 * explain.h. Those come first that are most like the other side of the pair, because message
 * passing compares the two neighbourhoods. The pair's own edge is hidden, as it is from the
 * models. */
#include "ensemble/explain_private.h"

#include "base/error.h"
#include "base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct neighbour {
    uint32_t node;
    size_t edge; /* in graph->all */
    double alike;
};

static double cosine(const float *a, const float *b, size_t width)
{
    double ab = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < width; i++) {
        ab += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : 0;
}

static int by_likeness(const void *a, const void *b)
{
    const struct neighbour *x = a, *y = b;
    if (x->alike != y->alike)
        return x->alike > y->alike ? -1 : 1;
    return (x->node > y->node) - (x->node < y->node);
}

static void write_relations(struct json_writer *w, const struct graph *g, uint32_t node,
                            const struct neighbour *n)
{
    jw_key(w, "relations"), jw_array(w);
    for (size_t r = 0; r < g->n_relations; r++)
        if (csr_find(&g->relations[r], node, n->node) != SIZE_MAX)
            jw_textz(w, g->relation_names[r]);
    jw_array_end(w);
    jw_key(w, "weight"), jw_double(w, g->all.weight ? (double)g->all.weight[n->edge] : 1);
}

static void write_neighbour(struct json_writer *w, const struct explaining *x,
                            const struct graph *g, uint32_t node, const struct neighbour *n)
{
    const struct dataset *d = &x->b->data;
    bool query = n->node < g->n_queries;
    size_t i = query ? n->node : n->node - g->n_queries;
    jw_object(w);
    jw_key(w, "kind"), jw_textz(w, query ? "query" : "product");
    jw_key(w, "id"), jw_text(w, column_at(query ? &d->query_id : &d->product_id, i));
    jw_key(w, "text"), jw_text(w, column_at(query ? &d->query_text : &d->title, i));
    write_relations(w, g, node, n);
    jw_key(w, "likeness"), jw_double(w, round(n->alike * 1e6) / 1e6);
    jw_object_end(w);
}

/* Neighbours of `node` but `other`, the other side of the pair, whose features are `like`. */
static medley_status write_side(struct json_writer *w, const struct explaining *x,
                                const struct shared_graph *shared, uint32_t node,
                                uint32_t other, medley_error *err)
{
    const struct graph *g = &shared->inputs.graph;
    const float *rows = shared->inputs.rows;
    size_t width = shared->inputs.width, n = 0;
    size_t begin = node == UINT32_MAX ? 0 : g->all.offsets[node];
    size_t end = node == UINT32_MAX ? 0 : g->all.offsets[node + 1];
    struct neighbour *list = mem_alloc(end - begin + 1, sizeof *list);
    if (!list)
        return fail_memory(err, "neighbours");
    for (size_t e = begin; e < end; e++) {
        uint32_t to = g->all.target[e];
        if (to == other)
            continue;
        list[n++] = (struct neighbour){
            to, e,
            other == UINT32_MAX ? 0 : cosine(rows + to * width, rows + other * width, width)};
    }
    qsort(list, n, sizeof *list, by_likeness);
    jw_object(w);
    jw_key(w, "known"), jw_bool(w, node != UINT32_MAX);
    jw_key(w, "count"), jw_i64(w, (int64_t)n);
    jw_key(w, "nearest"), jw_array(w);
    for (size_t i = 0; i < n && i < x->ask->neighbours; i++)
        write_neighbour(w, x, g, node, &list[i]);
    jw_array_end(w);
    jw_object_end(w);
    mem_free(list);
    return MEDLEY_OK;
}

static medley_status write_graph(struct json_writer *w, const struct explaining *x, size_t g,
                                 medley_error *err)
{
    const medley_bundle *b = x->b;
    const struct shared_graph *shared = &b->graphs[g];
    const struct graph *graph = &shared->inputs.graph;
    bool text = x->ask->products[x->ask->which].has_text;
    uint32_t query = x->query;
    uint32_t product =
        text || x->product == UINT32_MAX ? UINT32_MAX : (uint32_t)graph->n_queries + x->product;
    jw_object(w);
    jw_key(w, "models"), jw_array(w);
    for (size_t m = 0; m < b->n_models; m++)
        if (b->models[m].graph == g)
            jw_textz(w, b->models[m].config.name);
    jw_array_end(w);
    jw_key(w, "linked"), /* the hidden edge */
        jw_bool(w, query != UINT32_MAX && product != UINT32_MAX &&
                       csr_find(&graph->all, query, product) != SIZE_MAX);
    jw_key(w, "query");
    medley_status st = write_side(w, x, shared, query, product, err);
    if (!st) {
        jw_key(w, "product");
        st = write_side(w, x, shared, product, query, err);
    }
    jw_object_end(w);
    return st;
}

medley_status explain_neighbours(struct json_writer *w, const struct explaining *x,
                                 medley_error *err)
{
    medley_status st = MEDLEY_OK;
    jw_key(w, "neighbours"), jw_array(w);
    for (size_t g = 0; g < x->b->n_graphs && !st; g++)
        st = write_graph(w, x, g, err);
    jw_array_end(w);
    return st;
}
