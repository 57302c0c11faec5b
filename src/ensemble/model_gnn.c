/* model_gnn.c: graph models as base models: a link classifier over the workspace's graph. */
#include "base/error.h"
#include "base/memory.h"
#include "ensemble/base_model.h"
#include "gnn/neighbours.h"

#include <string.h>

/* Query, product and label of the listed examples, in three arrays of one allocation. */
static medley_status gather(const struct model_context *c, const uint32_t *rows, size_t n,
                            struct link_data *out, void **storage, medley_error *err)
{
    uint32_t *pairs = mem_alloc(n, 2 * sizeof *pairs + 1);
    if (!pairs)
        return fail_memory(err, "pairs of a graph model");
    uint8_t *label = (uint8_t *)(pairs + 2 * n);
    for (size_t i = 0; i < n; i++) {
        pairs[i] = c->data->example_query[rows[i]];
        pairs[n + i] = c->data->example_product[rows[i]];
        label[i] = c->data->example_label[rows[i]];
    }
    *out = (struct link_data){c->graph, c->features, pairs, pairs + n, label, n};
    *storage = pairs;
    return MEDLEY_OK;
}

/* Limits of relations by their place in the graph. */
static medley_status relation_fanouts(const struct model_context *c,
                                      unsigned out[GRAPH_TYPED_RELATIONS], medley_error *err)
{
    const struct yaml_node *limits = c->config->relation_fanout;
    for (size_t i = 0; limits && i < limits->count; i++) {
        uint64_t limit = 0;
        size_t r = 0;
        while (r < c->graph->n_relations && r < GRAPH_TYPED_RELATIONS &&
               strcmp(c->graph->relation_names[r], limits->keys[i]) != 0)
            r++;
        if (r == c->graph->n_relations || r == GRAPH_TYPED_RELATIONS)
            return fail(err, MEDLEY_EINVAL, "relation_fanout: the model reads no relation '%s'",
                        limits->keys[i]);
        if (str_to_u64(str_of(limits->items[i]->text), &limit))
            out[r] = (unsigned)limit; /* checked when medley.yaml was read */
    }
    return MEDLEY_OK;
}

static medley_status gnn_fit(const struct model_context *c, const uint32_t *rows, size_t n,
                             const char *checkpoint, const char *log_path, void **model,
                             medley_error *err)
{
    struct link_classifier *m = NULL;
    struct link_data data;
    void *storage = NULL;
    medley_status st = gather(c, rows, n, &data, &storage, err);
    struct gnn_options options = c->config->gnn;
    options.relations = (unsigned)c->graph->n_relations;
    if (!st)
        st = relation_fanouts(c, options.relation_fanout, err);
    if (!st)
        st = link_classifier_new(&options, c->width, c->data->n_classes, &m, err);
    if (!st)
        st = link_classifier_train(m, &data, checkpoint, log_path, err);
    mem_free(storage);
    if (st)
        link_classifier_free(m);
    else
        *model = m;
    return st;
}

static medley_status gnn_save(const void *model, const char *folder, medley_error *err)
{
    return link_classifier_save(model, folder, err);
}

static medley_status gnn_load(const struct model_context *c, const char *folder, void **model,
                              medley_error *err)
{
    struct link_classifier *m = NULL;
    (void)c;
    medley_status st = link_classifier_load(folder, &m, err);
    if (!st)
        *model = m;
    return st;
}

static void gnn_free(void *model)
{
    link_classifier_free(model);
}

static size_t gnn_memory(const void *model)
{
    return link_classifier_memory(model);
}

static medley_status gnn_predict(const struct model_context *c, const void *model,
                                 const uint32_t *rows, size_t n, const char *task,
                                 float *probabilities, medley_error *err)
{
    struct link_data data;
    void *storage = NULL;
    medley_status st = gather(c, rows, n, &data, &storage, err);
    if (st)
        return st;
    data.label = NULL;
    st = link_classifier_predict(model, &data, task, probabilities, err);
    mem_free(storage);
    return st;
}

/* New nodes join through stored ones of their locale; through any where it is a new one. */
static void set_locale(const struct dataset *d, const struct model_request *r,
                       struct link_request *request)
{
    for (size_t l = 0; r->n && l < d->n_locales; l++)
        if (str_eq(r->texts[0].locale, str_of(d->locale_names[l]))) {
            request->query_group = d->query_locale;
            request->product_group = d->product_locale;
            request->group = (uint8_t)l;
        }
}

static medley_status gnn_answer(const struct model_context *c, const void *model,
                                const struct model_request *r, float *probabilities,
                                medley_error *err)
{
    struct link_request request = {
        .neighbours = TEXT_NEIGHBOURS,
        .graph = c->graph,
        .features = c->features,
        .query = r->query,
        .query_features = r->query_features,
        .product = r->product,
        .product_features = r->product_features,
        .n = r->n,
        .store = c->store,
        .stored = r->stored,
    };
    set_locale(c->data, r, &request);
    return link_classifier_answer(model, &request, probabilities, err);
}

const struct base_model_ops gnn_kind = {
    .kind = "gnn",
    .needs_graph = true,
    .fit = gnn_fit,
    .save = gnn_save,
    .load = gnn_load,
    .free = gnn_free,
    .memory = gnn_memory,
    .predict = gnn_predict,
    .answer = gnn_answer,
};
