/* bundle.c: answers requests from a bundle folder; see medley/bundle.h and bundle_write.c. */
#include "medley/bundle.h"

#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/pool.h"
#include "base/progress.h"
#include "ensemble/answers.h"
#include "ensemble/bundle_private.h"
#include "nn/ops.h"

#include <inttypes.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_PRODUCTS = 1000 };

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
    if (!st && !(b->failed = mem_zalloc(MEDLEY_MAX_MODELS, sizeof *b->failed)))
        st = fail_memory(err, "a bundle");
    struct path data = within(folder, "data");
    if (!st && !(st = dataset_open(data.s, &b->data, err)))
        b->data_open = true;
    if (!st && !(st = relations_open(data.s, &b->relations, err)))
        b->relations_open = true;
    if (!st)
        st = open_models(b, folder, err);
    if (!st)
        st = open_ensemble(b, folder, err);
    if (!st)
        st = open_tuned(b, folder, err);
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

/* ---- one request ---- */

void request_free(struct request *r)
{
    for (size_t i = 0; i < MEDLEY_MAX_MODELS; i++) {
        mem_free(r->new_rows[i]);
        mem_free(r->probabilities[i]);
        mem_free(r->stored[i]);
    }
    mem_free(r->texts);
    mem_free(r->product);
    mem_free(r->context);
    mem_free(r->x);
}

static struct str text_of(medley_text t)
{
    return (struct str){t.s, t.n};
}

static medley_status check_text(medley_text t, const char *what, size_t i, medley_error *err)
{
    size_t bad;
    return utf8_valid(text_of(t), &bad)
               ? MEDLEY_OK
               : fail(err, MEDLEY_EINVAL, "%s of product %zu is not UTF-8 (byte %zu)", what, i,
                      bad);
}

static medley_status take_product(struct request *r, const medley_product *p, size_t i,
                                  medley_result *result, medley_error *err)
{
    const struct dataset *d = &r->b->data;
    struct pair_text *t = &r->texts[i];
    medley_status st = MEDLEY_OK;
    r->product[i] = p->id.n ? dataset_find_product(d, text_of(p->id), t->locale) : UINT32_MAX;
    result->known_product = p->has_text || r->product[i] != UINT32_MAX;
    if (p->has_text) {
        r->product[i] = UINT32_MAX; /* its text may be newer than the stored one */
        t->product = (struct product_text){text_of(p->title),   text_of(p->description),
                                           text_of(p->bullets), text_of(p->brand),
                                           text_of(p->color),   text_of(p->category)};
        if ((st = check_text(p->title, "title", i, err)) ||
            (st = check_text(p->description, "description", i, err)) ||
            (st = check_text(p->bullets, "bullets", i, err)) ||
            (st = check_text(p->brand, "brand", i, err)) ||
            (st = check_text(p->color, "color", i, err)))
            return st;
    } else if (r->product[i] != UINT32_MAX) {
        t->product = dataset_product(d, r->product[i]);
    }
    return check_text(p->id, "id", i, err);
}

static medley_status take_request(struct request *r, medley_text query, medley_text locale,
                                  const medley_product *products, size_t n,
                                  medley_result *results, medley_error *err)
{
    const struct dataset *d = &r->b->data;
    struct str trimmed = str_trim(text_of(query));
    if (trimmed.n == 0)
        return fail(err, MEDLEY_EINVAL, "the query is empty");
    if (!utf8_valid(trimmed, NULL))
        return fail(err, MEDLEY_EINVAL, "the query is not UTF-8");
    if (n == 0 || n > MAX_PRODUCTS)
        return fail(err, MEDLEY_EINVAL, "%zu products (expected 1 to %d)", n, MAX_PRODUCTS);
    r->texts = mem_zalloc(n, sizeof *r->texts);
    r->product = mem_alloc(n, sizeof *r->product);
    if (!r->texts || !r->product)
        return fail_memory(err, "a request");
    medley_status st = MEDLEY_OK;
    for (size_t i = 0; i < n && !st; i++) {
        r->texts[i].query = trimmed;
        r->texts[i].locale = text_of(locale);
        st = take_product(r, &products[i], i, &results[i], err);
    }
    r->model = (struct model_request){.data = d,
                                      .query = dataset_find_query(d, trimmed, text_of(locale)),
                                      .product = r->product,
                                      .texts = r->texts,
                                      .n = n};
    return st;
}

/* Feature rows of what the graph has never seen: the query, and products that came with text.
 */
static medley_status encode_new(struct request *r, size_t g, medley_error *err)
{
    const struct shared_graph *graph = &r->b->graphs[g];
    size_t width = graph->inputs.width, n = r->model.n, fresh = 0;
    float *rows = mem_zalloc(n + 1, width * sizeof *rows);
    float *encoded = mem_alloc(n + 1, width * sizeof *encoded);
    struct str *text = mem_alloc(n + 1, sizeof *text),
               *locale = mem_alloc(n + 1, sizeof *locale);
    size_t *to = mem_alloc(n + 1, sizeof *to), *offset = mem_alloc(n + 2, sizeof *offset);
    struct strbuf built;
    sb_init(&built);
    medley_status st = MEDLEY_OK;
    if (!rows || !encoded || !text || !locale || !to || !offset) {
        st = fail_memory(err, "feature rows");
        goto done;
    }
    for (size_t i = 0; i <= n; i++) {
        bool is_query = i == n;
        if (is_query ? r->model.query != UINT32_MAX : r->product[i] != UINT32_MAX)
            continue;
        offset[fresh] = built.n;
        if (is_query)
            sb_add(&built, r->texts[0].query.s, r->texts[0].query.n);
        else
            product_feature_text(&r->texts[i].product, &built);
        locale[fresh] = r->texts[0].locale;
        to[fresh++] = i;
    }
    if (built.failed) {
        st = fail_memory(err, "feature texts");
        goto done;
    }
    if (fresh) {
        offset[fresh] = built.n;
        for (size_t i = 0; i < fresh; i++)
            text[i] =
                (struct str){built.s ? built.s + offset[i] : "", offset[i + 1] - offset[i]};
        st = feature_encoder_run(&graph->encoder, locale, text, fresh, NULL, encoded, err);
    }
    for (size_t i = 0; i < fresh && !st; i++)
        memcpy(rows + to[i] * width, encoded + i * width, width * sizeof *rows);
    r->new_rows[g] = rows;
    rows = NULL;
done:
    sb_deinit(&built);
    mem_free(rows);
    mem_free(encoded);
    mem_free(text);
    mem_free(locale);
    mem_free(to);
    mem_free(offset);
    return st;
}

static bool has_new(const struct request *r)
{
    for (size_t i = 0; i < r->model.n; i++)
        if (r->product[i] == UINT32_MAX)
            return true;
    return r->model.query == UINT32_MAX;
}

/* What others run may fail: the ensemble then answers without it. So it does when any model
 * says what are no probabilities. */
static medley_status settle_answer(struct request *r, size_t m,
                                   const struct base_model_ops *ops, medley_status st,
                                   const medley_error *why)
{
    size_t k = r->b->shape.n_classes, n = r->model.n;
    bool ours = !ops->outside || st == MEDLEY_ENOMEM || st == MEDLEY_EINTERRUPTED;
    if (st && ours)
        return st;
    if (st)
        answers_none(r->probabilities[m], n, k);
    else if (answers_drop(r->probabilities[m], n, k) == 0)
        return MEDLEY_OK;
    r->failed |= UINT32_C(1) << m;
    uint64_t times = atomic_fetch_add(&r->b->failed[m], 1) + 1;
    if ((times & (times - 1)) == 0) /* 1, 2, 4, ...: a server that is down fills no log */
        progress_note("without '%s', %" PRIu64 " times so far: %s", r->b->models[m].config.name,
                      times, st ? why->message : "it answered with what are no probabilities");
    return MEDLEY_OK;
}

medley_status request_ask(struct request *r, size_t m, medley_error *err)
{
    const struct bundle_model *model = &r->b->models[m];
    size_t k = r->b->shape.n_classes, n = r->model.n;
    medley_status st = MEDLEY_OK;
    if (!(r->probabilities[m] = mem_alloc(n, k * sizeof(float))))
        return fail_memory(err, "probabilities");
    r->model.query_features = r->model.product_features = NULL;
    r->model.stored = NULL;
    if (model->store) {
        if (!(r->stored[m] = mem_zalloc(n, 1)))
            return fail_memory(err, "probabilities");
        r->model.stored = r->stored[m];
    }
    if (model->graph != SIZE_MAX && has_new(r)) {
        if (!r->new_rows[model->graph])
            st = encode_new(r, model->graph, err);
        if (st)
            return st;
        r->model.product_features = r->new_rows[model->graph];
        r->model.query_features = r->model.product_features + n * model->context.width;
    }
    const struct base_model_ops *ops = base_model_kinds[model->config.kind];
    medley_error why = {.message = ""};
    st = ops->answer(&model->context, model->model, &r->model, r->probabilities[m], &why);
    st = settle_answer(r, m, ops, st, &why);
    if (st && err)
        *err = why;
    return st;
}

static int locale_index(const struct dataset *d, struct str locale)
{
    for (size_t l = 0; l < d->n_locales; l++)
        if (str_is(locale, d->locale_names[l]))
            return (int)l;
    return -1;
}

medley_status request_context(struct request *r, medley_error *err)
{
    const medley_bundle *b = r->b;
    size_t n = r->model.n;
    r->context = mem_alloc(n, CONTEXT_FEATURES * sizeof *r->context);
    if (!r->context)
        return fail_memory(err, "the ensemble's rows");
    int locale = locale_index(&b->data, r->texts[0].locale);
    for (size_t i = 0; i < n && !b->shape.plain; i++)
        context_features(&r->texts[i], locale, n, r->context + i * CONTEXT_FEATURES);
    return MEDLEY_OK;
}

static medley_status build_row(struct request *r, medley_error *err)
{
    const medley_bundle *b = r->b;
    size_t n = r->model.n;
    r->x = mem_alloc(n, design_columns(&b->shape) * sizeof *r->x);
    if (!r->x)
        return fail_memory(err, "the ensemble's rows");
    medley_status st = request_context(r, err);
    if (st)
        return st;
    return design_fill(&b->shape, (const float *const *)r->probabilities, r->context, n, r->x)
               ? MEDLEY_OK
               : fail_memory(err, "the ensemble's rows");
}

static medley_status decide(struct request *r, const medley_classify_options *options,
                            medley_result *results, medley_error *err)
{
    const medley_bundle *b = r->b;
    size_t k = b->shape.n_classes, n = r->model.n;
    float *margins = mem_alloc(n, k * sizeof *margins);
    medley_status st = margins ? medley_gbdt_margins(b->gbdt, r->x, n, margins, err)
                               : fail_memory(err, "margins");
    for (size_t i = 0; i < n && !st; i++) {
        medley_result *out = &results[i];
        const float *margin = margins + i * k;
        softmax_rows(margin, 1, k, out->probabilities);
        if (b->calibrated)
            calibrator_apply(&b->calibrator, out->probabilities, 1, k);
        out->label = out->stages = 0;
        for (size_t c = 0; c < k; c++) {
            out->margins[c] = margin[c];
            if (out->probabilities[c] > out->probabilities[out->label])
                out->label = (uint8_t)c;
        }
        out->models_used = out->models_stored = 0;
        out->models_failed = r->failed;
        for (size_t m = 0; m < b->n_models; m++) {
            if (r->probabilities[m] && !isnan(r->probabilities[m][i * k]))
                out->models_used |= UINT32_C(1) << m;
            if (r->stored[m] && r->stored[m][i])
                out->models_stored |= UINT32_C(1) << m;
        }
    }
    mem_free(margins);
    if (!st && options->contributions)
        st = medley_explainer_values(b->explainer, r->x, n, options->contributions, err);
    if (!st && options->interactions)
        st = medley_explainer_interactions(b->explainer, r->x, n, options->interactions, err);
    for (size_t i = 0; i < n && !st && options->said; i++)
        for (size_t m = 0; m < b->n_models; m++)
            for (size_t c = 0; c < k; c++)
                options->said[(i * b->n_models + m) * k + c] =
                    r->probabilities[m] ? r->probabilities[m][i * k + c] : NAN;
    return st;
}

medley_status medley_bundle_classify(const medley_bundle *b, medley_text query,
                                     medley_text locale, const medley_product *products,
                                     size_t n, const medley_classify_options *options,
                                     medley_result *results, medley_error *err)
{
    medley_classify_options how = options ? *options : (medley_classify_options){.models = 0};
    uint32_t asked = how.models ? how.models : UINT32_MAX;
    struct request r = {.b = b};
    medley_status st = take_request(&r, query, locale, products, n, results, err);
    r.model.traceparent = options ? options->traceparent : NULL;
    if (b->cascade && !how.models) {
        if (!st)
            st = bundle_cascade_answer(&r, &how, results, err);
        request_free(&r);
        return st;
    }
    for (size_t m = 0; m < b->n_models && !st; m++) {
        if (interrupted())
            st = fail(err, MEDLEY_EINTERRUPTED, "interrupted");
        else if (asked >> m & 1)
            st = request_ask(&r, m, err);
    }
    if (!st)
        st = build_row(&r, err);
    if (!st)
        st = decide(&r, &how, results, err);
    request_free(&r);
    return st;
}
