/* bundle_answer.c: one list of candidates through the models and the trees of a bundle: what
 * the header promises of medley_bundle_classify. Asking the models: bundle_ask.c; in stages:
 * bundle_cascade.c. */
#include "base/cpu.h"
#include "base/error.h"
#include "base/memory.h"
#include "ensemble/bundle_private.h"
#include "nn/ops.h"

#include <math.h>
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
    mem_free(r->row);
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
        uint32_t given = request_given_mask(r, i);
        out->models_failed = r->failed & ~given;
        out->models_late = r->late & ~given;
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
    struct request r = {.b = b, .asked = how.models ? how.models : UINT32_MAX};
    if (how.only_given)
        r.asked = 0;
    medley_status st = take_request(&r, query, locale, products, n, results, err);
    if (!st && how.given)
        st = request_take_given(&r, how.given, err);
    r.model.traceparent = how.traceparent;
    r.until = how.deadline_ms > 0 ? clock_seconds() + how.deadline_ms / 1e3 : 0;
    if (b->cascade && !how.models && !how.only_given) {
        if (!st)
            st = bundle_cascade_answer(&r, &how, results, err);
        request_free(&r);
        return st;
    }
    if (!st)
        st = request_ask_all(&r, err);
    if (!st)
        st = build_row(&r, err);
    if (!st)
        st = decide(&r, &how, results, err);
    request_free(&r);
    return st;
}
