/* base_model.c: the table of kinds, and the inputs that graph models share. */
#include "ensemble/base_model.h"

#include "base/error.h"
#include "base/memory.h"
#include "ensemble/text_relations.h"

#include <string.h>

const struct base_model_ops *const base_model_kinds[KIND_COUNT] = {
    [KIND_LM] = &lm_kind,         [KIND_GNN] = &gnn_kind,       [KIND_TABLE] = &table_kind,
    [KIND_PLUGIN] = &plugin_kind, [KIND_REMOTE] = &remote_kind,
};

/* Relations of the dataset, and those of texts beside the features where the model names any.
 */
static medley_status build_graph(const struct dataset *d, const struct relations *r,
                                 const struct model_config *m, const char *features_path,
                                 struct graph *out, medley_error *err)
{
    struct relations text = {0}, all = {0};
    if (!names_text_relation(m->relations))
        return graph_build(d, r, m->relations, out, err);
    medley_status st = relations_open_beside(text_relations_path(features_path).s, d->n_queries,
                                             d->n_products, &text, err);
    if (!st && !(all.items = mem_alloc(r->count + text.count, sizeof *all.items)))
        st = fail_memory(err, "relations");
    for (size_t i = 0; !st && i < r->count; i++)
        all.items[all.count++] = r->items[i];
    for (size_t i = 0; !st && i < text.count; i++)
        all.items[all.count++] = text.items[i];
    if (!st)
        st = graph_build(d, &all, m->relations, out, err);
    mem_free(all.items);
    relations_close(&text);
    return st;
}

medley_status graph_inputs_open(const struct dataset *d, const struct relations *r,
                                const struct model_config *m, const char *features_path,
                                struct graph_inputs *out, medley_error *err)
{
    struct graph_inputs g = {0};
    medley_status st = npy_open(features_path, &g.features, err);
    if (st)
        return st;
    if (g.features.type != NPY_F32 || g.features.rows != d->n_queries + d->n_products) {
        st =
            fail(err, MEDLEY_EFORMAT, "%s: expected float32 rows for %zu nodes, found %zu rows",
                 features_path, d->n_queries + d->n_products, g.features.rows);
        goto done;
    }
    /* npy_write and numpy align the data; a file that is not aligned is copied by nobody we
     * know */
    if ((uintptr_t)g.features.data % sizeof(float)) {
        st = fail(err, MEDLEY_EUNSUPPORTED, "%s: its data is not aligned", features_path);
        goto done;
    }
    g.rows = g.features.data;
    g.width = g.features.cols;
    st = build_graph(d, r, m, features_path, &g.graph, err);
done:
    if (st)
        npy_close(&g.features);
    else
        *out = g;
    return st;
}

void graph_inputs_close(struct graph_inputs *g)
{
    graph_free(&g->graph);
    npy_close(&g->features);
    memset(g, 0, sizeof *g);
}
