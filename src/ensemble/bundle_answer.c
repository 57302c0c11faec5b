/* bundle_answer.c: one list of candidates through the models and the trees of a bundle: what the
 * header promises of medley_bundle_classify. In stages: bundle_cascade.c. */
#include "base/error.h"
#include "base/memory.h"
#include "base/pool.h"
#include "base/progress.h"
#include "ensemble/answers.h"
#include "ensemble/bundle_private.h"
#include "nn/ops.h"

#include <inttypes.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>

enum { MAX_PRODUCTS = 1000 };

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
