/* verify_model.c: what config.json and model.safetensors of a recording say: which layers, of
 * which shapes and options. */
#include "gnn/verify_private.h"

#include "base/error.h"
#include "gnn/graph.h"

#include <string.h>

bool verify_says(const struct verified *v, const char *key, bool otherwise)
{
    bool value = otherwise;
    json_as_bool(json_get(v->config, key), &value);
    return value;
}

static const char *text_of(const struct verified *v, const char *key, const char *otherwise)
{
    const char *value = otherwise;
    json_as_text(json_get(v->config, key), &value);
    return value;
}

static medley_status unsupported(const struct verified *v, const char *key, const char *value,
                                 medley_error *err)
{
    return fail(err, MEDLEY_EUNSUPPORTED, "%s/config.json: %s '%s' is not supported", v->folder,
                key, value);
}

/* Of edge weights: 1 read, 0 not, -1 not a word. */
int verify_said_of_weights(const struct verified *v)
{
    static const char *const keys[] = {"edge_weight",  "use_edge_weight",  "uses_edge_weight",
                                       "edge_weights", "use_edge_weights", "weighted"};
    bool value = false;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (json_as_bool(json_get(v->config, keys[i]), &value))
            return value;
    return -1;
}

medley_status verify_read_config(struct verified *v, medley_error *err)
{
    static const struct {
        const char *conv;
        const struct layer_ops *ops;
    } convs[] = {{"GCNConv", &layer_gcn},
                 {"SAGEConv", &layer_sage},
                 {"GATv2Conv", &layer_gatv2},
                 {"RGCNConv", &layer_rgcn},
                 {"FastRGCNConv", &layer_rgcn}};
    static const struct {
        const char *name;
        enum activation act;
    } acts[] = {{"relu", ACT_RELU},    {"elu", ACT_ELU},   {"gelu", ACT_GELU},
                {"tanh", ACT_TANH},    {"silu", ACT_SILU}, {"none", ACT_NONE},
                {"identity", ACT_NONE}};
    const char *conv = text_of(v, "conv", "(none)"), *act = text_of(v, "activation", "relu");
    for (size_t i = 0; i < sizeof convs / sizeof *convs; i++)
        if (strcmp(conv, convs[i].conv) == 0)
            v->ops = convs[i].ops;
    if (!v->ops)
        return unsupported(v, "conv", conv, err);
    v->weights |= v->ops == &layer_gcn && verify_said_of_weights(v) == 1;
    if ((v->leaky = strcmp(act, "leaky_relu") == 0))
        return MEDLEY_OK;
    for (size_t i = 0; i < sizeof acts / sizeof *acts; i++)
        if (strcmp(act, acts[i].name) == 0) {
            v->activation = acts[i].act;
            return MEDLEY_OK;
        }
    return unsupported(v, "activation", act, err);
}

/* ---- the layers ---- */

static const struct st_entry *part(const struct verified *v, unsigned layer, const char *name)
{
    char full[64];
    snprintf(full, sizeof full, "conv%u.%s", layer + 1, name);
    return st_find(v->model, full);
}

/* A matrix of the checkpoint; false: absent or no matrix. */
static bool matrix(const struct verified *v, unsigned layer, const char *name, size_t *rows,
                   size_t *cols)
{
    const struct st_entry *e = part(v, layer, name);
    if (!e || e->dims != 2 || e->shape[0] > 1 << 20 || e->shape[1] > 1 << 20)
        return false;
    *rows = (size_t)e->shape[0];
    *cols = (size_t)e->shape[1];
    return true;
}

/* Without a bias, what follows tells: the next layer's width, or that of the logits. */
static bool lays_side_by_side(const struct verified *v, unsigned i, size_t width)
{
    size_t rows, cols = 0;
    if (matrix(v, i + 1, "lin_l.weight", &rows, &cols))
        return cols == width;
    return v->logits == width;
}

static bool shape_gatv2(const struct verified *v, unsigned i, struct layer_shape *s)
{
    const struct st_entry *att = part(v, i, "att"), *bias = part(v, i, "bias");
    size_t width, ignored;
    if (!att || att->dims != 3 || att->shape[1] < 1 || att->shape[1] > 1024 ||
        !matrix(v, i, "lin_l.weight", &width, &s->in) || width != att->count)
        return false;
    s->heads = (unsigned)att->shape[1];
    size_t c = (size_t)att->shape[2];
    s->no_bias = !part(v, i, "lin_l.bias");
    s->average_heads = bias ? bias->count == c : !lays_side_by_side(v, i, width);
    s->out = s->average_heads ? c : width;
    s->shared = verify_says(v, "share_weights", false) || !part(v, i, "lin_r.weight");
    s->no_self_loops = !verify_says(v, "add_self_loops", true);
    double slope = 0.2;
    json_as_double(json_get(v->config, "negative_slope"), &slope);
    s->slope = (float)slope;
    s->residual = part(v, i, "res.weight") != NULL;
    if (part(v, i, "lin_edge.weight"))
        return matrix(v, i, "lin_edge.weight", &ignored, &s->edge_columns) && ignored == width;
    return true;
}

static bool shape_rgcn(const struct verified *v, unsigned i, struct layer_shape *s)
{
    const struct st_entry *w = part(v, i, "weight");
    size_t rows = 0, bases = 0;
    if (!w || w->dims < 3 || w->dims > 4)
        return false;
    for (int k = 0; k < w->dims; k++)
        if (w->shape[k] < 1 || w->shape[k] > 1 << 20)
            return false;
    s->in = (size_t)w->shape[1];
    s->out = (size_t)w->shape[2];
    if (w->dims == 4) { /* [relations, blocks, in / blocks, out / blocks] */
        s->blocks = (unsigned)w->shape[1];
        s->in = s->blocks * (size_t)w->shape[2];
        s->out = s->blocks * (size_t)w->shape[3];
    }
    s->relations = (unsigned)w->shape[0];
    if (!s->blocks && matrix(v, i, "comp", &rows, &bases)) {
        s->relations = (unsigned)rows;
        s->bases = (unsigned)bases;
    }
    s->no_root = !part(v, i, "root");
    s->no_bias = !part(v, i, "bias");
    return s->relations <= GRAPH_TYPED_RELATIONS && s->relations > 0;
}

static bool shape_of(const struct verified *v, unsigned i, struct layer_shape *s)
{
    const char *aggr = text_of(v, "aggr", "mean");
    *s = (struct layer_shape){.heads = 1};
    s->max = strcmp(aggr, "max") == 0;
    s->sum = strcmp(aggr, "sum") == 0 || strcmp(aggr, "add") == 0;
    if (v->ops == &layer_gatv2)
        return shape_gatv2(v, i, s);
    if (v->ops == &layer_rgcn)
        return shape_rgcn(v, i, s);
    if (v->ops == &layer_gcn) {
        s->no_bias = !part(v, i, "bias");
        s->unweighted = !verify_says(v, "normalize", true);
        s->no_self_loops = !verify_says(v, "add_self_loops", true);
        /* without weights PyTorch Geometric forgets the loops' weight of 2 */
        s->doubled_loops = verify_says(v, "improved", false) && v->weights;
        return matrix(v, i, "lin.weight", &s->out, &s->in);
    }
    s->unit = verify_says(v, "normalize", false);
    s->project = part(v, i, "lin.weight") != NULL;
    s->no_root = !part(v, i, "lin_r.weight");
    s->no_bias = !part(v, i, "lin_l.bias");
    return matrix(v, i, "lin_l.weight", &s->out, &s->in);
}

static bool has_layer(const struct verified *v, unsigned layer)
{
    char prefix[32];
    int n = snprintf(prefix, sizeof prefix, "conv%u.", layer + 1);
    for (size_t i = 0; i < st_count(v->model); i++)
        if (strncmp(st_at(v->model, i)->name, prefix, (size_t)n) == 0)
            return true;
    return false;
}

static medley_status declare_layers(struct verified *v, medley_error *err)
{
    const char *aggr = text_of(v, "aggr", "mean");
    if (v->ops != &layer_gcn && v->ops != &layer_gatv2 && strncmp(aggr, "mean", 4) != 0 &&
        strcmp(aggr, "sum") != 0 && strcmp(aggr, "add") != 0 && strcmp(aggr, "max") != 0)
        return unsupported(v, "aggr", aggr, err);
    for (; v->n_layers < MAX_LAYERS && has_layer(v, v->n_layers); v->n_layers++) {
        char prefix[32];
        struct layer_shape s, before = v->layers[v->n_layers ? v->n_layers - 1 : 0].shape;
        snprintf(prefix, sizeof prefix, "conv%u", v->n_layers + 1);
        if (!shape_of(v, v->n_layers, &s) || (v->n_layers && s.in != before.out))
            return fail(
                err, MEDLEY_EFORMAT,
                "%s/model.safetensors: %s: the shapes of its tensors are not those of a "
                "%s after what stands before",
                v->folder, prefix, v->ops->name);
        layer_declare(&v->layers[v->n_layers], v->ops, s, &v->params, prefix);
    }
    return v->n_layers
               ? MEDLEY_OK
               : fail(err, MEDLEY_EFORMAT,
                      "%s/model.safetensors: expected tensors named conv1...", v->folder);
}

/* By element counts: PyTorch Geometric has att as [1, heads, columns]. */
static medley_status load_params(struct verified *v, medley_error *err)
{
    for (size_t i = 0; i < v->params.count; i++) {
        const struct param *p = &v->params.items[i];
        const struct st_entry *e = st_find(v->model, p->name);
        if (!e || e->count != p->rows * p->cols)
            return fail(err, MEDLEY_EFORMAT, "%s/model.safetensors: '%s' is %s", v->folder,
                        p->name, e ? "of another size" : "missing");
    }
    medley_status st = params_allocate(&v->params, 0, err);
    for (size_t i = 0; i < v->params.count && !st; i++) {
        const struct param *p = &v->params.items[i];
        if (!st_to_float(st_find(v->model, p->name), v->params.values + p->offset))
            st = fail(err, MEDLEY_EFORMAT, "%s/model.safetensors: '%s' is not floating point",
                      v->folder, p->name);
    }
    return st;
}

medley_status verify_read_model(struct verified *v, medley_error *err)
{
    medley_status st = declare_layers(v, err);
    return st ? st : load_params(v, err);
}
