/* verify.c: see verify.h. */
#include "gnn/verify.h"

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "gnn/graph.h"
#include "gnn/layer.h"
#include "nn/ops.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

enum { MAX_LAYERS = 16, MAX_LABELS = 256 };

/* The recorded graph as one block: what PyTorch Geometric makes of its edges. */
struct recorded {
    size_t nodes, in;
    float *x;       /* [nodes, in] */
    uint8_t *label; /* [nodes] */
    struct block b;
    uint32_t *self, *offsets, *source, *relations;
    float *weight, *target_degree, *source_degree, *loop_weight, *features;
};

struct verified {
    const char *folder;
    json *config;
    struct st_file *graph, *model, *outputs;
    const struct layer_ops *ops;
    struct layer layers[MAX_LAYERS];
    unsigned n_layers;
    size_t logits; /* columns of the recorded ones */
    enum activation activation;
    bool leaky;   /* leaky ReLU of slope 0.01 instead */
    bool weights; /* gcn reads edge weights */
    struct params params;
    struct recorded r;
    struct checks *checks;
    struct tape tape;
    float *grads;
    struct tensor *input, *hidden[MAX_LAYERS]; /* of the last run; hidden: before activations */
};

/* ---- config.json ---- */

static bool says(const struct verified *v, const char *key, bool otherwise)
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
static int said_of_weights(const struct verified *v)
{
    static const char *const keys[] = {"edge_weight",  "use_edge_weight",  "uses_edge_weight",
                                       "edge_weights", "use_edge_weights", "weighted"};
    bool value = false;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (json_as_bool(json_get(v->config, keys[i]), &value))
            return value;
    return -1;
}

static medley_status read_config(struct verified *v, medley_error *err)
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
    v->weights |= v->ops == &layer_gcn && said_of_weights(v) == 1;
    if ((v->leaky = strcmp(act, "leaky_relu") == 0))
        return MEDLEY_OK;
    for (size_t i = 0; i < sizeof acts / sizeof *acts; i++)
        if (strcmp(act, acts[i].name) == 0) {
            v->activation = acts[i].act;
            return MEDLEY_OK;
        }
    return unsupported(v, "activation", act, err);
}

static medley_status open_arrays(const char *folder, const char *name, struct st_file **out,
                                 medley_error *err)
{
    char *path = path_join(folder, name);
    medley_status st = path ? st_open(path, out, err) : fail_memory(err, "a path");
    mem_free(path);
    return st;
}

static const struct st_entry *recorded_logits(const struct verified *v)
{
    const struct st_entry *e = st_find(v->outputs, "logits_f64");
    return e ? e : st_find(v->outputs, "logits_f32");
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
    s->shared = says(v, "share_weights", false) || !part(v, i, "lin_r.weight");
    s->no_self_loops = !says(v, "add_self_loops", true);
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
        s->unweighted = !says(v, "normalize", true);
        s->no_self_loops = !says(v, "add_self_loops", true);
        /* without weights PyTorch Geometric forgets the loops' weight of 2 */
        s->doubled_loops = says(v, "improved", false) && v->weights;
        return matrix(v, i, "lin.weight", &s->out, &s->in);
    }
    s->unit = says(v, "normalize", false);
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

/* ---- the graph ---- */

static void recorded_deinit(struct recorded *r)
{
    mem_free(r->x);
    mem_free(r->label);
    mem_free(r->self);
    mem_free(r->offsets);
    mem_free(r->source);
    mem_free(r->relations);
    mem_free(r->weight);
    mem_free(r->target_degree);
    mem_free(r->source_degree);
    mem_free(r->loop_weight);
    mem_free(r->features);
}

static int64_t whole_at(const struct st_entry *e, size_t i)
{
    int64_t value;
    memcpy(&value, (const char *)e->data + i * sizeof value, sizeof value);
    return value;
}

/* Fills out[count] with numbers from 0 to limit - 1. */
static medley_status whole_numbers(const struct verified *v, const char *name, size_t count,
                                   size_t limit, uint32_t *out, medley_error *err)
{
    const struct st_entry *e = st_find(v->graph, name);
    if (!e || e->type != ST_I64 || e->count != count)
        return fail(err, MEDLEY_EFORMAT, "%s/graph.safetensors: expected %s as %zu int64",
                    v->folder, name, count);
    for (size_t i = 0; i < count; i++) {
        int64_t value = whole_at(e, i);
        if (value < 0 || (uint64_t)value >= limit)
            return fail(err, MEDLEY_EFORMAT,
                        "%s/graph.safetensors: %s: %lld is not from 0 to %zu", v->folder, name,
                        (long long)value, limit - 1);
        out[i] = (uint32_t)value;
    }
    return MEDLEY_OK;
}

/* [count, columns] of a float array; *out NULL where it is not wanted. */
static medley_status numbers(const struct verified *v, const char *name, size_t count,
                             float **out, medley_error *err)
{
    const struct st_entry *e = st_find(v->graph, name);
    if (!e || e->count != count)
        return fail(err, MEDLEY_EFORMAT, "%s/graph.safetensors: expected %s as %zu numbers",
                    v->folder, name, count);
    *out = mem_alloc(count ? count : 1, sizeof **out);
    if (!*out)
        return fail_memory(err, "a recorded graph");
    return st_to_float(e, *out)
               ? MEDLEY_OK
               : fail(err, MEDLEY_EFORMAT, "%s/graph.safetensors: %s is not floating point",
                      v->folder, name);
}

/* The edges as they are listed. */
struct edges {
    size_t n;
    uint32_t *source, *target, *type;
    float *weight, *features;
};

static void edges_deinit(struct edges *e)
{
    mem_free(e->source);
    mem_free(e->target);
    mem_free(e->type);
    mem_free(e->weight);
    mem_free(e->features);
}

static medley_status read_edges(struct verified *v, struct edges *e, medley_error *err)
{
    const struct st_entry *x = st_find(v->graph, "x"), *src = st_find(v->graph, "edge_src");
    const struct layer_shape *first = &v->layers[0].shape;
    struct recorded *r = &v->r;
    if (!x || x->dims != 2 || x->shape[1] != first->in || x->shape[0] < 1 ||
        x->shape[0] > INT32_MAX || !src || src->count > INT32_MAX)
        return fail(err, MEDLEY_EFORMAT,
                    "%s/graph.safetensors: expected x [nodes, %zu] and edge_src", v->folder,
                    first->in);
    r->nodes = (size_t)x->shape[0];
    r->in = first->in;
    e->n = src->count;
    e->source = mem_alloc(e->n + 1, sizeof *e->source);
    e->target = mem_alloc(e->n + 1, sizeof *e->target);
    e->type = mem_zalloc(e->n + 1, sizeof *e->type);
    uint32_t *label = mem_alloc(r->nodes, sizeof *label);
    r->label = mem_alloc(r->nodes, 1);
    size_t classes = v->layers[v->n_layers - 1].shape.out;
    medley_status st = e->source && e->target && e->type && label && r->label
                           ? MEDLEY_OK
                           : fail_memory(err, "a recorded graph");
    if (!st)
        st = numbers(v, "x", r->nodes * r->in, &r->x, err);
    if (!st)
        st = whole_numbers(v, "edge_src", e->n, r->nodes, e->source, err);
    if (!st)
        st = whole_numbers(v, "edge_dst", e->n, r->nodes, e->target, err);
    if (!st)
        st = whole_numbers(v, "y", r->nodes, classes < MAX_LABELS ? classes : MAX_LABELS, label,
                           err);
    if (!st && v->ops->relations)
        st = whole_numbers(v, "edge_type", e->n, first->relations, e->type, err);
    if (!st && v->weights)
        st = numbers(v, "edge_weight", e->n, &e->weight, err);
    if (!st && first->edge_columns)
        st = numbers(v, st_find(v->graph, "edge_attr") ? "edge_attr" : "edge_weight",
                     e->n * first->edge_columns, &e->features, err);
    for (size_t i = 0; i < r->nodes && !st; i++)
        r->label[i] = (uint8_t)label[i];
    mem_free(label);
    return st;
}

/* Layers that add self loops take those of the graph away first; gcn keeps their weight. */
static bool takes_loops(const struct verified *v)
{
    const struct layer_shape *s = &v->layers[0].shape;
    return (v->ops == &layer_gcn || v->ops == &layer_gatv2) && !s->no_self_loops &&
           !s->unweighted;
}

static void fill_block(struct verified *v, const struct edges *e)
{
    struct recorded *r = &v->r;
    size_t columns = v->layers[0].shape.edge_columns, at = 0;
    bool loops = takes_loops(v);
    for (size_t i = 0; i < r->nodes; i++) {
        r->self[i] = (uint32_t)i;
        r->loop_weight[i] = v->layers[0].shape.doubled_loops ? 2 : 1;
        r->target_degree[i] = 0;
    }
    for (size_t k = 0; k < e->n; k++)
        if (!loops || e->source[k] != e->target[k])
            r->offsets[e->target[k] + 1]++;
        else
            r->loop_weight[e->source[k]] = e->weight ? e->weight[k] : 1;
    for (size_t i = 0; i < r->nodes; i++)
        r->offsets[i + 1] += r->offsets[i];
    uint32_t *cursor = r->relations; /* until the relations are filled in, below */
    for (size_t i = 0; i < r->nodes; i++)
        cursor[i] = r->offsets[i];
    uint32_t *from = r->source + e->n; /* second half: which edge came from where */
    for (size_t k = 0; k < e->n; k++)
        if (!loops || e->source[k] != e->target[k])
            from[cursor[e->target[k]]++] = (uint32_t)k;
    for (at = 0; at < r->offsets[r->nodes]; at++) {
        size_t k = from[at];
        r->source[at] = e->source[k];
        r->relations[at] = UINT32_C(1) << e->type[k];
        r->weight[at] = e->weight ? e->weight[k] : 1;
        r->target_degree[e->target[k]] += r->weight[at];
        for (size_t c = 0; c < columns; c++)
            r->features[at * columns + c] = e->features[k * columns + c];
    }
    for (size_t k = 0; k < at; k++)
        r->source_degree[k] = r->target_degree[r->source[k]];
    r->b = (struct block){.n_targets = r->nodes,
                          .n_sources = r->nodes,
                          .n_edges = at,
                          .self = r->self,
                          .offsets = r->offsets,
                          .source = r->source,
                          .weight = r->weight,
                          .target_degree = r->target_degree,
                          .source_degree = r->source_degree,
                          .loop_weight = r->loop_weight,
                          .relations = r->relations,
                          .features = r->features,
                          .feature_columns = columns};
}

static medley_status read_graph(struct verified *v, medley_error *err)
{
    struct recorded *r = &v->r;
    struct edges e = {0};
    medley_status st = read_edges(v, &e, err);
    if (!st) {
        size_t room = e.n + r->nodes + 1, columns = v->layers[0].shape.edge_columns;
        r->self = mem_alloc(r->nodes, sizeof *r->self);
        r->offsets = mem_zalloc(r->nodes + 1, sizeof *r->offsets);
        r->source = mem_alloc(2 * room, sizeof *r->source);
        r->relations = mem_alloc(room, sizeof *r->relations);
        r->weight = mem_alloc(room, sizeof *r->weight);
        r->target_degree = mem_alloc(r->nodes, sizeof *r->target_degree);
        r->source_degree = mem_alloc(room, sizeof *r->source_degree);
        r->loop_weight = mem_alloc(r->nodes, sizeof *r->loop_weight);
        r->features = mem_alloc(room, (columns + 1) * sizeof *r->features);
        if (r->self && r->offsets && r->source && r->relations && r->weight &&
            r->target_degree && r->source_degree && r->loop_weight && r->features)
            fill_block(v, &e);
        else
            st = fail_memory(err, "a recorded graph");
    }
    edges_deinit(&e);
    return st;
}

/* ---- comparisons ---- */

static struct tensor *activated(struct verified *v, struct tensor *h)
{
    if (v->leaky)
        return op_add(&v->tape, op_scale(&v->tape, op_activation(&v->tape, h, ACT_RELU), 0.99f),
                      op_scale(&v->tape, h, 0.01f));
    return v->activation == ACT_NONE ? h : op_activation(&v->tape, h, v->activation);
}

static medley_status run(struct verified *v, double *loss, medley_error *err)
{
    tape_reset(&v->tape, true, 0);
    struct tensor *h = v->input = tape_input(&v->tape, v->r.x, v->r.nodes, v->r.in, true);
    for (unsigned i = 0; i < v->n_layers && h; i++) {
        h = v->hidden[i] = v->ops->forward(&v->tape, &v->layers[i], h, &v->r.b);
        if (i + 1 < v->n_layers)
            h = activated(v, h);
    }
    struct tensor *y = op_softmax_loss(&v->tape, h, v->r.label, NULL, 0);
    medley_status st = tape_backward(&v->tape, y, 1, err);
    if (!st)
        *loss = (double)y->value[0];
    return st;
}

static float *reference(const struct st_entry *e, size_t count)
{
    float *values =
        e && e->count == count ? mem_alloc(count ? count : 1, sizeof *values) : NULL;
    if (values && !st_to_float(e, values)) {
        mem_free(values);
        values = NULL;
    }
    return values;
}

static void compare(struct verified *v, const struct st_entry *e, const float *got, size_t n,
                    double floor, double tolerance, const char *name)
{
    float *wanted = reference(e, n);
    checks_add(v->checks, wanted ? relative_error(got, wanted, n, floor) : INFINITY, tolerance,
               "%s", name);
    mem_free(wanted);
}

static void check_outputs(struct verified *v)
{
    const struct st_file *f = v->outputs;
    for (unsigned i = 0; i < v->n_layers; i++) {
        char name[32];
        struct tensor *h = v->hidden[i];
        snprintf(name, sizeof name, "hidden_%u", i + 1);
        if (st_find(f, name))
            compare(v, st_find(f, name), h->value, h->rows * h->cols, 0, GNN_OUTPUT_TOLERANCE,
                    name);
    }
    struct tensor *logits = v->hidden[v->n_layers - 1];
    compare(v, recorded_logits(v), logits->value, logits->rows * logits->cols, 0,
            GNN_OUTPUT_TOLERANCE, "logits");
}

static double largest(const struct st_file *f)
{
    double top = 0;
    for (size_t i = 0; i < st_count(f); i++) {
        float *values = reference(st_at(f, i), st_at(f, i)->count);
        for (size_t k = 0; values && k < st_at(f, i)->count; k++)
            top = fmax(top, fabs((double)values[k]));
        mem_free(values);
    }
    return top;
}

static medley_status check_gradients(struct verified *v, medley_error *err)
{
    struct st_file *f = NULL;
    char *path = path_join(v->folder, "grads.safetensors");
    bool there = path && access(path, F_OK) == 0;
    mem_free(path);
    if (!there)
        return MEDLEY_OK;
    medley_status st = open_arrays(v->folder, "grads.safetensors", &f, err);
    if (st)
        return st;
    double floor = largest(f) / 100;
    for (size_t i = 0; i < v->params.count; i++) {
        const struct param *p = &v->params.items[i];
        char name[96];
        snprintf(name, sizeof name, "gradient of %.70s", p->name);
        compare(v, st_find(f, p->name), v->grads + p->offset, p->rows * p->cols, floor,
                GNN_GRADIENT_TOLERANCE, name);
    }
    if (st_find(f, "input.x"))
        compare(v, st_find(f, "input.x"), v->input->grad, v->r.nodes * v->r.in, floor,
                GNN_GRADIENT_TOLERANCE, "gradient of input.x");
    st_close(f);
    return MEDLEY_OK;
}

static medley_status load(struct verified *v, medley_error *err)
{
    char *path = path_join(v->folder, "config.json");
    medley_status st = path ? json_load(path, &v->config, err) : fail_memory(err, "a path");
    mem_free(path);
    if (!st)
        st = read_config(v, err);
    if (!st)
        st = open_arrays(v->folder, "graph.safetensors", &v->graph, err);
    if (!st)
        st = open_arrays(v->folder, "model.safetensors", &v->model, err);
    if (!st)
        st = open_arrays(v->folder, "outputs.safetensors", &v->outputs, err);
    if (!st && !(recorded_logits(v) && recorded_logits(v)->dims == 2))
        st = fail(err, MEDLEY_EFORMAT,
                  "%s/outputs.safetensors: expected logits_f64 or logits_f32 [nodes, classes]",
                  v->folder);
    if (!st) {
        v->logits = (size_t)recorded_logits(v)->shape[1];
        st = declare_layers(v, err);
    }
    if (!st)
        st = load_params(v, err);
    return st ? st : read_graph(v, err);
}

/* *undecided: config.json says nothing of the edge weights that a gcn's graph has. */
static medley_status verify_with(const char *folder, bool weights, struct checks *out,
                                 bool *undecided, medley_error *err)
{
    struct verified v = {.folder = folder, .weights = weights, .checks = out};
    double loss = NAN, wanted;
    params_init(&v.params);
    medley_status st = load(&v, err);
    if (!st && !(v.grads = mem_zalloc(v.params.total, sizeof *v.grads)))
        st = fail_memory(err, "gradients");
    tape_init(&v.tape, &v.params, v.grads);
    if (!st)
        st = run(&v, &loss, err);
    if (!st)
        check_outputs(&v);
    if (!st && json_as_double(json_get(v.config, "loss_f64"), &wanted))
        checks_add(out, fabs(loss - wanted) / fmax(fabs(wanted), 1e-3), GNN_OUTPUT_TOLERANCE,
                   "loss");
    if (!st)
        st = check_gradients(&v, err);
    *undecided = !st && v.ops == &layer_gcn && said_of_weights(&v) < 0 &&
                 st_find(v.graph, "edge_weight");
    if (!st && out->failed)
        st = fail_memory(err, "checks");
    tape_deinit(&v.tape);
    recorded_deinit(&v.r);
    params_deinit(&v.params);
    st_close(v.graph);
    st_close(v.model);
    st_close(v.outputs);
    json_free(v.config);
    mem_free(v.grads);
    return st;
}

/* A recording that does not tell is taken the way that agrees, else without weights. */
medley_status gnn_verify(const char *folder, struct checks *out, medley_error *err)
{
    struct checks plain = {0}, weighted = {0};
    bool undecided = false;
    medley_status st = verify_with(folder, false, &plain, &undecided, err);
    if (!st && undecided && !checks_passed(&plain)) {
        st = verify_with(folder, true, &weighted, &undecided, err);
        if (!st && checks_passed(&weighted)) {
            struct checks swap = plain;
            plain = weighted;
            weighted = swap;
        }
    }
    checks_deinit(&weighted);
    if (st)
        checks_deinit(&plain);
    else
        *out = plain;
    return st;
}
