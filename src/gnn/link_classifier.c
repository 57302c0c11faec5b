/* link_classifier.c: life and files of a link classifier. A folder holds config.json (settings)
 * and model.safetensors (parameters, graph layers under PyTorch Geometric's names). */
#include "gnn/link_model.h"

#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"

#include <math.h>
#include <string.h>

/* "None" stays negative, so that checking twice changes nothing. */
static double default_double(double given, double otherwise)
{
    return given > 0 ? given : given < 0 ? -1 : otherwise;
}

static unsigned default_unsigned(unsigned given, unsigned otherwise)
{
    return given ? given : otherwise;
}

static medley_status check_range(const char *name, unsigned value, unsigned low, unsigned high,
                                 medley_error *err)
{
    if (value >= low && value <= high)
        return MEDLEY_OK;
    return fail(err, MEDLEY_EINVAL, "option '%s' is %u (expected %u to %u)", name, value, low,
                high);
}

/* The constant of that name; NULL: none. */
static const char *jumping_find(const char *name)
{
    static const char *const names[] = {"last", "cat", "max"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], name) == 0)
            return names[i];
    return NULL;
}

static const char *training_find(const char *name)
{
    static const char *const names[] = {"auto", "sampled", "full"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], name) == 0)
            return names[i];
    return NULL;
}

medley_status link_options_check(struct gnn_options *o, size_t width, size_t n_classes,
                                 medley_error *err)
{
    struct gnn_options r = {
        .layer = o->layer ? o->layer : "sage",
        .hops = default_unsigned(o->hops, 2),
        .hidden = default_unsigned(o->hidden, 64),
        .heads = default_unsigned(o->heads, 4),
        .relations = default_unsigned(o->relations, 1),
        .bases = o->bases,
        .jumping = o->jumping ? o->jumping : "last",
        .fanout = default_unsigned(o->fanout, 10),
        .epochs = default_unsigned(o->epochs, 10),
        .batch = default_unsigned(o->batch, 256),
        .lanes = default_unsigned(o->lanes, 2),
        .learning_rate = default_double(o->learning_rate, 1e-3),
        .weight_decay = default_double(o->weight_decay, 1e-4),
        .dropout = default_double(o->dropout, 0.3),
        .patience = o->patience,
        .seed = o->seed,
        .training = training_find(o->training ? o->training : "auto"),
        .full_memory_mb = default_unsigned(o->full_memory_mb, 2048),
    };
    for (size_t i = 0; i < GNN_MAX_HOPS; i++)
        r.hop_fanout[i] = default_unsigned(o->hop_fanout[i], r.fanout);
    memcpy(r.relation_fanout, o->relation_fanout, sizeof r.relation_fanout);
    if (!r.training)
        return fail(err, MEDLEY_EINVAL,
                    "unknown training '%s' (expected auto, sampled or full)", o->training);
    const struct layer_ops *ops = layer_find(r.layer);
    if (!ops)
        return fail(err, MEDLEY_EINVAL,
                    "unknown graph layer '%s' (expected gcn, sage, sage-max, gatv2 or rgcn)",
                    r.layer);
    r.layer = ops->name;
    r.jumping = jumping_find(r.jumping);
    if (!r.jumping)
        return fail(err, MEDLEY_EINVAL,
                    "unknown jumping knowledge '%s' (expected last, cat or max)", o->jumping);
    const struct {
        const char *name;
        unsigned value, low, high;
    } ranges[] = {
        {"hops", r.hops, 1, GNN_MAX_HOPS},
        {"hidden", r.hidden, 1, 4096},
        {"heads", r.heads, 1, 64},
        {"fanout", r.fanout, 1, 1000},
        {"epochs", r.epochs, 1, 100000},
        {"batch", r.batch, 1, 65536},
        {"lanes", r.lanes, 1, 64},
        {"patience", r.patience, 0, 100000},
        {"relations", r.relations, 1, ops->relations ? GRAPH_TYPED_RELATIONS : 1000000},
        {"bases", r.bases, 0, 256},
        {"full_memory", r.full_memory_mb, 1, 1000000},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        medley_status st =
            check_range(ranges[i].name, ranges[i].value, ranges[i].low, ranges[i].high, err);
        if (st != MEDLEY_OK)
            return st;
    }
    for (size_t i = 0; i < GNN_MAX_HOPS; i++) {
        medley_status st = check_range("hop_fanout", r.hop_fanout[i], 1, 1000, err);
        if (st != MEDLEY_OK)
            return st;
    }
    if (r.hidden % r.heads)
        return fail(err, MEDLEY_EINVAL, "option 'hidden' is %u, not a multiple of %u heads",
                    r.hidden, r.heads);
    if (!(r.dropout < 1))
        return fail(err, MEDLEY_EINVAL, "option 'dropout' is %g (must be below 1)", r.dropout);
    if (!(r.learning_rate > 0 && isfinite(r.learning_rate)))
        return fail(err, MEDLEY_EINVAL, "option 'learning_rate' is %g (must be positive)",
                    r.learning_rate);
    if (!isfinite(r.weight_decay))
        return fail(err, MEDLEY_EINVAL, "option 'weight_decay' is %g (must be finite)",
                    r.weight_decay);
    if (width < 1 || width > 65536)
        return fail(err, MEDLEY_EINVAL, "features of width %zu (expected 1 to 65536)", width);
    if (n_classes < 2 || n_classes > MAX_CLASSES)
        return fail(err, MEDLEY_EINVAL, "%zu classes (expected 2 to %d)", n_classes,
                    MAX_CLASSES);
    *o = r;
    return MEDLEY_OK;
}

/* Declared but not allocated. */
static medley_status model_declared(const struct gnn_options *options, size_t width,
                                    size_t n_classes, struct link_classifier **out,
                                    medley_error *err)
{
    struct gnn_options checked = *options;
    medley_status st = link_options_check(&checked, width, n_classes, err);
    if (st != MEDLEY_OK)
        return st;
    struct link_classifier *m = mem_zalloc(1, sizeof *m);
    if (!m)
        return fail_memory(err, "a graph model");
    m->options = checked;
    m->ops = layer_find(checked.layer);
    m->width = width;
    m->n_classes = n_classes;
    link_model_declare(m);
    *out = m;
    return MEDLEY_OK;
}

medley_status link_classifier_new(const struct gnn_options *options, size_t feature_width,
                                  size_t n_classes, struct link_classifier **out,
                                  medley_error *err)
{
    struct link_classifier *m = NULL;
    medley_status st = model_declared(options, feature_width, n_classes, &m, err);
    if (st != MEDLEY_OK)
        return st;
    st = params_allocate(&m->params, m->options.seed, err);
    if (st == MEDLEY_OK)
        *out = m;
    else
        link_classifier_free(m);
    return st;
}

void link_classifier_free(struct link_classifier *m)
{
    if (!m)
        return;
    params_deinit(&m->params);
    mem_free(m);
}

size_t link_classifier_memory(const struct link_classifier *m)
{
    return sizeof *m + m->params.total * sizeof(float) + m->params.count * sizeof(struct param);
}

size_t link_classifier_width(const struct link_classifier *m)
{
    return m->options.hidden;
}

static void write_list(struct json_writer *w, const char *key, const unsigned *list, size_t n)
{
    jw_key(w, key), jw_array(w);
    for (size_t i = 0; i < n; i++)
        jw_i64(w, list[i]);
    jw_array_end(w);
}

void link_config_write(const struct link_classifier *m, struct strbuf *out)
{
    const struct gnn_options *o = &m->options;
    struct json_writer w;
    char seed[24];
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)o->seed);
    jw_init(&w, out, true);
    jw_object(&w);
    jw_key(&w, "format");
    jw_textz(&w, "medley-gnn");
    jw_key(&w, "version");
    jw_i64(&w, 1);
    jw_key(&w, "layer");
    jw_textz(&w, o->layer);
    jw_key(&w, "jumping");
    jw_textz(&w, o->jumping);
    jw_key(&w, "training");
    jw_textz(&w, o->training);
    jw_key(&w, "full_memory_mb");
    jw_i64(&w, o->full_memory_mb);
    const struct {
        const char *key;
        int64_t value;
    } counts[] = {
        {"feature_width", (int64_t)m->width},
        {"classes", (int64_t)m->n_classes},
        {"hops", o->hops},
        {"hidden", o->hidden},
        {"heads", o->heads},
        {"fanout", o->fanout},
        {"epochs", o->epochs},
        {"batch", o->batch},
        {"lanes", o->lanes},
        {"patience", o->patience},
        {"relations", o->relations},
        {"bases", o->bases},
    };
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        jw_key(&w, counts[i].key);
        jw_i64(&w, counts[i].value);
    }
    write_list(&w, "hop_fanout", o->hop_fanout, GNN_MAX_HOPS);
    write_list(&w, "relation_fanout", o->relation_fanout, GRAPH_TYPED_RELATIONS);
    jw_key(&w, "learning_rate");
    jw_double(&w, link_rate(o->learning_rate));
    jw_key(&w, "weight_decay");
    jw_double(&w, link_rate(o->weight_decay));
    jw_key(&w, "dropout");
    jw_double(&w, link_rate(o->dropout));
    jw_key(&w, "seed"); /* as text: JSON numbers are exact to 2^53 only */
    jw_textz(&w, seed);
    jw_object_end(&w);
}

/* Older files have no such lists. */
static medley_status read_list(const json *root, const char *name, const char *key,
                               unsigned *out, size_t n, medley_error *err)
{
    const json *list = json_get(root, key), *item = list ? json_first(list) : NULL;
    bool good = !list || (json_kind_of(list) == JSON_ARRAY && json_count(list) == n);
    for (size_t i = 0; good && item; item = json_next(item)) {
        int64_t v = 0;
        good = json_as_i64(item, &v) && v >= 0 && v <= 1000;
        out[i++] = (unsigned)v;
    }
    return good ? MEDLEY_OK
                : fail(err, MEDLEY_EFORMAT, "%s: '%s' must be %zu whole numbers from 0 to 1000",
                       name, key, n);
}

static medley_status read_count(const json *root, const char *name, const char *key,
                                unsigned *out, medley_error *err)
{
    int64_t v = 0;
    if (!json_as_i64(json_get(root, key), &v) || v < 0 || v > 1000000)
        return fail(err, MEDLEY_EFORMAT, "%s: '%s' must be a whole number from 0 to 1000000",
                    name, key);
    *out = (unsigned)v;
    return MEDLEY_OK;
}

/* Zero is written for "none", while an option of zero asks for the default. */
static medley_status read_rate(const json *root, const char *name, const char *key, double *out,
                               medley_error *err)
{
    double v = 0;
    if (!json_as_double(json_get(root, key), &v) || !(v >= 0))
        return fail(err, MEDLEY_EFORMAT, "%s: '%s' must be a number of at least 0", name, key);
    *out = v > 0 ? v : -1;
    return MEDLEY_OK;
}

medley_status link_config_parse(struct str text, const char *name, struct gnn_options *options,
                                size_t *width, size_t *n_classes, medley_error *err)
{
    json *root = NULL;
    struct gnn_options o = {0};
    unsigned wide = 0, classes = 0;
    const char *format = NULL, *layer = NULL, *seed = NULL;
    int64_t version = 0;
    medley_status st = json_parse(text, name, &root, err);
    if (st != MEDLEY_OK)
        return st;
    if (!json_as_text(json_get(root, "format"), &format) || strcmp(format, "medley-gnn") != 0 ||
        !json_as_i64(json_get(root, "version"), &version) || version != 1) {
        st = fail(err, MEDLEY_EFORMAT, "%s: not a graph model of format medley-gnn, version 1",
                  name);
        goto done;
    }
    if (!json_as_text(json_get(root, "layer"), &layer) || !layer_find(layer)) {
        st = fail(err, MEDLEY_EFORMAT, "%s: 'layer' must name a graph layer", name);
        goto done;
    }
    o.layer = layer_find(layer)->name;
    const char *jumping = "last"; /* older files have no such key */
    if (json_get(root, "jumping") &&
        (!json_as_text(json_get(root, "jumping"), &jumping) || !jumping_find(jumping))) {
        st = fail(err, MEDLEY_EFORMAT, "%s: 'jumping' must be last, cat or max", name);
        goto done;
    }
    o.jumping = jumping_find(jumping);
    const char *training = "sampled"; /* as they had learnt before there was a choice */
    if (json_get(root, "training") &&
        (!json_as_text(json_get(root, "training"), &training) || !training_find(training))) {
        st = fail(err, MEDLEY_EFORMAT, "%s: 'training' must be auto, sampled or full", name);
        goto done;
    }
    o.training = training_find(training);
    if (json_get(root, "full_memory_mb"))
        st = read_count(root, name, "full_memory_mb", &o.full_memory_mb, err);
    if (!json_as_text(json_get(root, "seed"), &seed) || !str_to_u64(str_of(seed), &o.seed)) {
        st = fail(err, MEDLEY_EFORMAT, "%s: 'seed' must be a whole number in quotes", name);
        goto done;
    }
    const struct {
        const char *key;
        unsigned *to;
    } counts[] = {
        {"feature_width", &wide},  {"classes", &classes},       {"hops", &o.hops},
        {"hidden", &o.hidden},     {"heads", &o.heads},         {"fanout", &o.fanout},
        {"epochs", &o.epochs},     {"batch", &o.batch},         {"lanes", &o.lanes},
        {"patience", &o.patience}, {"relations", &o.relations}, {"bases", &o.bases},
    };
    for (size_t i = 0; st == MEDLEY_OK && i < sizeof counts / sizeof *counts; i++)
        st = read_count(root, name, counts[i].key, counts[i].to, err);
    if (st == MEDLEY_OK)
        st = read_list(root, name, "hop_fanout", o.hop_fanout, GNN_MAX_HOPS, err);
    if (st == MEDLEY_OK)
        st = read_list(root, name, "relation_fanout", o.relation_fanout, GRAPH_TYPED_RELATIONS,
                       err);
    if (st == MEDLEY_OK)
        st = read_rate(root, name, "learning_rate", &o.learning_rate, err);
    if (st == MEDLEY_OK)
        st = read_rate(root, name, "weight_decay", &o.weight_decay, err);
    if (st == MEDLEY_OK)
        st = read_rate(root, name, "dropout", &o.dropout, err);
    if (st == MEDLEY_OK && link_options_check(&o, wide, classes, err) != MEDLEY_OK)
        st = fail_within(err, MEDLEY_EFORMAT, "%s", name);
done:
    json_free(root);
    if (st == MEDLEY_OK) {
        *options = o;
        *width = wide;
        *n_classes = classes;
    }
    return st;
}

medley_status link_classifier_save(const struct link_classifier *m, const char *folder,
                                   medley_error *err)
{
    struct strbuf config;
    sb_init(&config);
    char *config_path = path_join(folder, "config.json");
    char *model_path = path_join(folder, "model.safetensors");
    struct st_writer *w = st_writer_new();
    medley_status st = make_folders(folder, err);
    if (st != MEDLEY_OK)
        goto done;
    link_config_write(m, &config);
    sb_addc(&config, '\n');
    if (!config_path || !model_path || !w || config.failed) {
        st = fail_memory(err, "a graph model file");
        goto done;
    }
    params_write(&m->params, NULL, w);
    st = st_writer_commit(w, model_path, err);
    if (st == MEDLEY_OK)
        st = file_write(config_path, config.s, config.n, err);
done:
    st_writer_free(w);
    sb_deinit(&config);
    mem_free(config_path);
    mem_free(model_path);
    return st;
}

/* Checked against the file before anything is allocated by the configuration's word. */
static medley_status load_params(struct link_classifier *m, const char *path, medley_error *err)
{
    struct st_file *f = NULL;
    const struct st_entry *entry = NULL;
    bool *loaded = mem_zalloc(m->params.count + 1, sizeof *loaded);
    medley_status st = st_open(path, &f, err);
    if (st != MEDLEY_OK)
        goto done;
    if (!loaded || m->params.failed) {
        st = fail_memory(err, "a graph model");
        goto done;
    }
    for (size_t i = 0; i < m->params.count; i++) {
        const struct param *p = &m->params.items[i];
        uint64_t shape[3];
        int dims = param_shape(p, shape);
        st = st_require(f, p->name, ST_F32, dims, shape, &entry, err);
        if (st != MEDLEY_OK)
            goto done;
    }
    st = params_allocate(&m->params, 0, err);
    if (st == MEDLEY_OK)
        st = params_load(&m->params, f, "", loaded, err);
done:
    st_close(f);
    mem_free(loaded);
    return st;
}

medley_status link_classifier_load(const char *folder, struct link_classifier **out,
                                   medley_error *err)
{
    struct link_classifier *m = NULL;
    struct gnn_options options;
    size_t width, n_classes, n = 0;
    char *text = NULL;
    char *config_path = path_join(folder, "config.json");
    char *model_path = path_join(folder, "model.safetensors");
    medley_status st = MEDLEY_OK;
    if (!config_path || !model_path) {
        st = fail_memory(err, "a path");
        goto done;
    }
    st = file_read(config_path, 1 << 20, &text, &n, err);
    if (st == MEDLEY_OK)
        st = link_config_parse((struct str){text, n}, config_path, &options, &width, &n_classes,
                               err);
    if (st == MEDLEY_OK)
        st = model_declared(&options, width, n_classes, &m, err);
    if (st == MEDLEY_OK)
        st = load_params(m, model_path, err);
done:
    mem_free(text);
    mem_free(config_path);
    mem_free(model_path);
    if (st == MEDLEY_OK)
        *out = m;
    else
        link_classifier_free(m);
    return st;
}

medley_status link_graph_check(const struct link_classifier *m, const struct graph *g,
                               medley_error *err)
{
    if (m->ops->relations && g->n_relations != m->options.relations)
        return fail(err, MEDLEY_EINVAL,
                    "the model was made for %u relations, the graph has %zu",
                    m->options.relations, g->n_relations);
    return MEDLEY_OK;
}

medley_status link_data_check(const struct link_classifier *m, const struct link_data *data,
                              bool labels, medley_error *err)
{
    const struct graph *g = data->graph;
    medley_status st = link_graph_check(m, g, err);
    if (st)
        return st;
    if (labels && (!data->label || data->n == 0))
        return fail(err, MEDLEY_EINVAL, "training needs labelled pairs");
    for (size_t i = 0; i < data->n; i++) {
        if (data->query[i] >= g->n_queries || data->product[i] >= g->n_products)
            return fail(err, MEDLEY_EINVAL,
                        "pair %zu (query %u, product %u) is not in the graph (%zu, %zu)", i,
                        data->query[i], data->product[i], g->n_queries, g->n_products);
        if (labels && data->label[i] >= m->n_classes)
            return fail(err, MEDLEY_EINVAL, "pair %zu has label %u of %zu classes", i,
                        data->label[i], m->n_classes);
    }
    for (size_t i = 0; i < g->n_nodes * m->width; i++)
        if (!isfinite(data->features[i]))
            return fail(err, MEDLEY_EINVAL, "feature %zu of node %zu is not finite",
                        i % m->width, i / m->width);
    return MEDLEY_OK;
}
