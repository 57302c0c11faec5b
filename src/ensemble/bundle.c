/* bundle.c: opens a bundle folder and tells what is in it; see medley/bundle.h, bundle_write.c.
 * Answers: bundle_answer.c. */
#include "medley/bundle.h"

#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "ensemble/bundle_private.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

void medley_bundle_close(medley_bundle *b)
{
    if (!b)
        return;
    for (size_t m = 0; m < b->n_models; m++) {
        struct bundle_model *model = &b->models[m];
        if (model->model)
            base_model_kinds[model->config.kind]->free(model->model);
        link_store_close(model->store);
        mem_free(model->relations);
    }
    for (size_t g = 0; g < b->n_graphs; g++) {
        graph_inputs_close(&b->graphs[g].inputs);
        feature_encoder_close(&b->graphs[g].encoder);
    }
    medley_explainer_free(b->explainer);
    medley_gbdt_free(b->gbdt);
    bundle_cascade_close(b->cascade);
    calibrator_free(&b->calibrator);
    if (b->relations_open)
        relations_close(&b->relations);
    if (b->data_open)
        dataset_close(&b->data);
    json_free(b->manifest);
    mem_free(b->failed);
    mem_free(b->clocks);
    mem_free(b->drift);
    mem_free(b);
}

static struct path within(const char *folder, const char *format, ...)
{
    struct path p;
    va_list args;
    va_start(args, format);
    int n = snprintf(p.s, sizeof p.s, "%s/", folder);
    int m = n < 0 || (size_t)n >= sizeof p.s
                ? -1
                : vsnprintf(p.s + n, sizeof p.s - (size_t)n, format, args);
    if (m < 0 || (size_t)n + (size_t)m >= sizeof p.s)
        p.s[0] = '\0';
    va_end(args);
    return p;
}

/* Folder names come from the manifest: they must not lead out of the bundle. */
static bool plain_name(const char *s)
{
    return s && *s && s[0] != '.' && !strchr(s, '/');
}

static medley_status read_relations(struct bundle_model *m, const json *list, medley_error *err)
{
    if (!list || json_kind_of(list) == JSON_NULL)
        return MEDLEY_OK;
    m->relations = mem_zalloc(json_count(list) + 1, sizeof *m->relations);
    if (!m->relations)
        return fail_memory(err, "relations");
    size_t n = 0;
    for (const json *item = json_first(list); item; item = json_next(item))
        if (!json_as_text(item, &m->relations[n++]))
            return fail(err, MEDLEY_EFORMAT, "bundle.json: relations must be texts");
    m->config.relations = m->relations;
    return MEDLEY_OK;
}

static medley_status read_model(medley_bundle *b, const json *entry, medley_error *err)
{
    struct bundle_model *m = &b->models[b->n_models];
    m->graph = SIZE_MAX;
    m->config.kind = KIND_COUNT;
    json_as_text(json_get(entry, "name"), &m->config.name);
    json_as_text(json_get(entry, "kind"), &m->config.kind_name);
    json_as_text(json_get(entry, "features"), &m->config.features);
    for (int k = 0; m->config.kind_name && k < KIND_COUNT; k++)
        if (strcmp(m->config.kind_name, model_kind_names[k]) == 0)
            m->config.kind = (enum model_kind)k;
    if (!plain_name(m->config.name) || m->config.kind == KIND_COUNT ||
        (m->config.kind == KIND_GNN && !plain_name(m->config.features)))
        return fail(err, MEDLEY_EFORMAT,
                    "bundle.json: models[%zu] needs name, kind and features", b->n_models);
    b->n_models++;
    return read_relations(m, json_get(entry, "relations"), err);
}

static medley_status read_manifest(medley_bundle *b, const char *folder, medley_error *err)
{
    struct path p = within(folder, "bundle.json");
    medley_status st = json_load(p.s, &b->manifest, err);
    int64_t format = 0;
    if (st)
        return st;
    if (!json_as_i64(json_get(b->manifest, "format"), &format) || format != 1)
        return fail(err, MEDLEY_EFORMAT, "%s: expected format 1", p.s);
    json_as_bool(json_get(b->manifest, "plain"), &b->shape.plain);
    json_as_bool(json_get(b->manifest, "calibrated"), &b->calibrated);
    const json *models = json_get(b->manifest, "models");
    if (json_count(models) == 0 || json_count(models) > MEDLEY_MAX_MODELS)
        return fail(err, MEDLEY_EFORMAT, "%s: expected 1 to %d models", p.s, MEDLEY_MAX_MODELS);
    for (const json *m = json_first(models); m && !st; m = json_next(m))
        st = read_model(b, m, err);
    return st;
}

static bool same_relations(const struct model_config *a, const struct model_config *b)
{
    if (!a->relations || !b->relations)
        return a->relations == b->relations;
    size_t i = 0;
    for (; a->relations[i] && b->relations[i]; i++)
        if (strcmp(a->relations[i], b->relations[i]) != 0)
            return false;
    return a->relations[i] == b->relations[i];
}

static medley_status open_graph(medley_bundle *b, const char *folder, struct bundle_model *m,
                                medley_error *err)
{
    for (size_t i = 0; i < b->n_models && &b->models[i] != m; i++) {
        const struct bundle_model *other = &b->models[i];
        if (other->graph != SIZE_MAX && same_relations(&other->config, &m->config) &&
            strcmp(other->config.features, m->config.features) == 0) {
            m->graph = other->graph;
            return MEDLEY_OK;
        }
    }
    struct shared_graph *g = &b->graphs[b->n_graphs];
    const char *id = m->config.features;
    struct path features = within(folder, "features/%s.npy", id);
    struct path encoder = within(folder, "encoders/%s", id);
    medley_status st =
        graph_inputs_open(&b->data, &b->relations, &m->config, features.s, &g->inputs, err);
    if (st)
        return st;
    m->graph = b->n_graphs++;
    bool hashed = strcmp(id, "hashed") == 0;
    st = feature_encoder_open(hashed ? id : encoder.s, &b->data, &g->encoder, err);
    if (!st && g->encoder.width != g->inputs.width)
        st = fail(err, MEDLEY_EFORMAT, "%s: %zu wide, but its encoder gives %zu", features.s,
                  g->inputs.width, g->encoder.width);
    return st;
}

/* A bundle may have embeddings made ahead or not; what is there must be whole and its own. */
static medley_status open_store(struct bundle_model *m, const char *folder, medley_error *err)
{
    struct path p = within(folder, "embeddings/%s.bin", m->config.name);
    if (m->config.kind != KIND_GNN || !file_exists(p.s))
        return MEDLEY_OK;
    medley_status st = link_store_open(p.s, &m->store, err);
    if (!st)
        st = link_store_check(m->store, m->model, m->context.graph, m->context.features, err);
    m->context.store = m->store;
    return st;
}

static medley_status open_models(medley_bundle *b, const char *folder, medley_error *err)
{
    medley_status st = MEDLEY_OK;
    for (size_t i = 0; i < b->n_models && !st; i++) {
        struct bundle_model *m = &b->models[i];
        const struct base_model_ops *ops = base_model_kinds[m->config.kind];
        m->context = (struct model_context){.config = &m->config, .data = &b->data};
        if (ops->needs_graph)
            st = open_graph(b, folder, m, err);
        if (!st && m->graph != SIZE_MAX) {
            const struct graph_inputs *g = &b->graphs[m->graph].inputs;
            m->context.graph = &g->graph;
            m->context.features = g->rows;
            m->context.width = g->width;
        }
        struct path p = within(folder, "models/%s", m->config.name);
        if (!st)
            st = ops->load(&m->context, p.s, &m->model, err);
        if (!st)
            st = open_store(m, folder, err);
    }
    return st;
}

static size_t model_memory(const medley_bundle *b, size_t m)
{
    const struct base_model_ops *ops = base_model_kinds[b->models[m].config.kind];
    return ops->memory ? ops->memory(b->models[m].model) : 0;
}

static void order_models(medley_bundle *b)
{
    for (size_t m = 0; m < b->n_models; m++) {
        size_t i = m;
        for (; i > 0 && model_memory(b, b->by_size[i - 1]) > model_memory(b, m); i--)
            b->by_size[i] = b->by_size[i - 1];
        b->by_size[i] = m;
    }
}

static medley_status open_ensemble(medley_bundle *b, const char *folder, medley_error *err)
{
    b->shape.n_models = b->n_models;
    b->shape.n_classes = b->data.n_classes;
    size_t f = design_columns(&b->shape);
    struct path p = within(folder, "ensemble.txt");
    medley_status st = medley_gbdt_load(p.s, &b->gbdt, err);
    if (st)
        return st;
    if (medley_gbdt_features(b->gbdt) != f || medley_gbdt_classes(b->gbdt) != b->data.n_classes)
        return fail(err, MEDLEY_EFORMAT,
                    "%s: %zu features and %zu classes, but the models give %zu and %zu", p.s,
                    medley_gbdt_features(b->gbdt), medley_gbdt_classes(b->gbdt), f,
                    b->data.n_classes);
    uint32_t *player = mem_alloc(f, sizeof *player);
    if (!player)
        return fail_memory(err, "players");
    design_player_of_feature(&b->shape, player);
    st = medley_explainer_new(b->gbdt, player, design_players(&b->shape), &b->explainer, err);
    mem_free(player);
    return st;
}

/* What is opted in to: see the `decide:` section of medley.yaml. */
static medley_status open_tuned(medley_bundle *b, const char *folder, medley_error *err)
{
    bool cascade = false;
    json *root = NULL;
    medley_status st = MEDLEY_OK;
    json_as_bool(json_get(b->manifest, "cascade"), &cascade);
    if (cascade)
        st = bundle_cascade_open(b, folder, err);
    if (st || !b->calibrated)
        return st;
    struct path p = within(folder, "calibrator.json");
    st = json_load(p.s, &root, err);
    if (!st)
        st = calibrator_read(root, p.s, b->data.n_classes, &b->calibrator, err);
    json_free(root);
    return st;
}

static medley_status open_drift(medley_bundle *b, const char *folder, medley_error *err)
{
    const char *names[MEDLEY_MAX_MODELS];
    struct path p = within(folder, "drift.json");
    for (size_t m = 0; m < b->n_models; m++)
        names[m] = b->models[m].config.name;
    return file_exists(p.s)
               ? drift_read(p.s, names, b->n_models, (const char *const *)b->data.class_names,
                            b->data.n_classes, &b->drift, err)
               : MEDLEY_OK;
}

const struct drift_reference *bundle_drift(const medley_bundle *b)
{
    return b->drift;
}

/* The id is the folder's own name (behind a link such as bundle/current). */
static void read_id(medley_bundle *b, const char *folder)
{
    char *real = realpath(folder, NULL);
    const char *name = real ? strrchr(real, '/') : NULL;
    snprintf(b->id, sizeof b->id, "%s", name ? name + 1 : "unnamed");
    free(real);
}

medley_status medley_bundle_open(const char *folder, medley_bundle **out, medley_error *err)
{
    medley_bundle *b = mem_zalloc(1, sizeof *b);
    if (!b)
        return fail_memory(err, "a bundle");
    medley_status st = folder_exists(folder)
                           ? read_manifest(b, folder, err)
                           : fail(err, MEDLEY_ENOTFOUND, "no bundle at '%s'", folder);
    if (!st && (!(b->failed = mem_zalloc(MEDLEY_MAX_MODELS, sizeof *b->failed)) ||
                !(b->clocks = mem_zalloc(MEDLEY_MAX_MODELS, sizeof *b->clocks))))
        st = fail_memory(err, "a bundle");
    struct path data = within(folder, "data");
    if (!st && !(st = dataset_open(data.s, &b->data, err)))
        b->data_open = true;
    if (!st && !(st = relations_open(data.s, &b->relations, err)))
        b->relations_open = true;
    if (!st)
        st = open_models(b, folder, err);
    if (!st)
        order_models(b);
    if (!st)
        st = open_ensemble(b, folder, err);
    if (!st)
        st = open_tuned(b, folder, err);
    if (!st)
        st = open_drift(b, folder, err);
    if (st) {
        medley_bundle_close(b);
        return st;
    }
    read_id(b, folder);
    *out = b;
    return MEDLEY_OK;
}

const char *medley_bundle_id(const medley_bundle *b)
{
    return b->id;
}

size_t medley_bundle_classes(const medley_bundle *b)
{
    return b->data.n_classes;
}

const char *medley_bundle_class(const medley_bundle *b, size_t c)
{
    return c < b->data.n_classes ? b->data.class_names[c] : NULL;
}

double medley_bundle_gain(const medley_bundle *b, size_t c)
{
    return c < b->data.n_classes ? b->data.class_gains[c] : 0;
}

size_t medley_bundle_models(const medley_bundle *b)
{
    return b->n_models;
}

const char *medley_bundle_model(const medley_bundle *b, size_t m)
{
    return m < b->n_models ? b->models[m].config.name : NULL;
}

const char *medley_bundle_model_kind(const medley_bundle *b, size_t m)
{
    return m < b->n_models ? b->models[m].config.kind_name : NULL;
}

medley_store_size medley_bundle_store(const medley_bundle *b, size_t m)
{
    if (m >= b->n_models || !b->models[m].store)
        return (medley_store_size){0};
    struct link_store_size s = link_store_size(b->models[m].store);
    return (medley_store_size){.queries = s.queries,
                               .products = s.products,
                               .pairs = s.pairs,
                               .bytes = s.bytes,
                               .made = s.made,
                               .graph_cutoff = s.cutoff,
                               .half = s.half};
}

medley_model_health medley_bundle_health(const medley_bundle *b, size_t m)
{
    medley_model_health h = {0};
    if (m >= b->n_models)
        return h;
    const struct base_model_ops *ops = base_model_kinds[b->models[m].config.kind];
    if (ops->health)
        ops->health(b->models[m].model, &h);
    h.lists_failed = atomic_load(&b->failed[m]);
    h.lists_timed = atomic_load(&b->clocks[m].lists);
    h.took_ns = atomic_load(&b->clocks[m].ns);
    for (size_t i = 0; i <= MEDLEY_TOOK_LIMITS; i++)
        h.took[i] = atomic_load(&b->clocks[m].took[i]);
    return h;
}

void medley_bundle_base(const medley_bundle *b, double *base)
{
    medley_explainer_base(b->explainer, base);
}

size_t medley_bundle_stages(const medley_bundle *b)
{
    return b->cascade ? b->cascade->c.n_stages : 0;
}

size_t medley_bundle_stage_model(const medley_bundle *b, size_t stage)
{
    return stage < medley_bundle_stages(b) ? b->cascade->c.order[stage] : SIZE_MAX;
}

void medley_bundle_stage_base(const medley_bundle *b, size_t stages, double *base)
{
    bool whole = stages == 0 || stages > medley_bundle_stages(b);
    medley_explainer_base(whole ? b->explainer : b->cascade->explainer[stages - 1], base);
}

const char *medley_bundle_calibration(const medley_bundle *b)
{
    return calibration_method_names[b->calibrated ? b->calibrator.method : CALIBRATION_NONE];
}
