/* classify_answer.c: the JSON that POST /v1/classify and /v1/rank answer with. */
#include "serve/classification.h"

#include "base/cpu.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>

/* ---- a result -----------------------------------------------------------------------------
 */

static void write_float_classes(struct json_writer *w, const struct engine *e, const float *v)
{
    jw_object(w);
    for (size_t k = 0; k < e->n_classes; k++) {
        jw_key(w, e->classes[k]);
        jw_float(w, v[k]);
    }
    jw_object_end(w);
}

void write_double_classes(struct json_writer *w, const struct engine *e, const double *v)
{
    jw_object(w);
    for (size_t k = 0; k < e->n_classes; k++) {
        jw_key(w, e->classes[k]);
        jw_double(w, v[k]);
    }
    jw_object_end(w);
}

static void write_models(struct json_writer *w, const struct engine *e, uint32_t used)
{
    jw_array(w);
    for (size_t m = 0; m < e->n_models; m++) {
        if (used & UINT32_C(1) << m)
            jw_textz(w, e->models[m]);
    }
    jw_array_end(w);
}

/* contributions[(M+1)*K] of one pair. */
static void write_contributions(struct json_writer *w, const struct engine *e,
                                const float *contributions)
{
    jw_object(w);
    for (size_t m = 0; m <= e->n_models; m++) {
        jw_key(w, m < e->n_models ? e->models[m] : "context");
        write_float_classes(w, e, contributions + m * e->n_classes);
    }
    jw_object_end(w);
}

/* What a shop earns by showing the product: the mean of the classes' gains. */
static double expected_gain(const struct engine *e, const medley_result *result)
{
    double sum = 0;
    for (size_t k = 0; k < e->n_classes; k++)
        sum += e->gains[k] * (double)result->probabilities[k];
    return sum;
}

static void write_judgement(struct json_writer *w, const struct engine *e,
                            const struct classification *c, size_t i, int64_t now)
{
    const medley_result *result = &c->results[i];
    jw_key(w, "label");
    jw_textz(w, result->label < e->n_classes ? e->classes[result->label] : NULL);
    jw_key(w, "expected_gain");
    jw_double(w, expected_gain(e, result));
    jw_key(w, "probabilities");
    write_float_classes(w, e, result->probabilities);
    jw_key(w, "margins");
    write_float_classes(w, e, result->margins);
    jw_key(w, "known_product");
    jw_bool(w, result->known_product);
    jw_key(w, "models_used");
    write_models(w, e, result->models_used);
    jw_key(w, "models_failed");
    write_models(w, e, result->models_failed);
    jw_key(w, "models_precomputed");
    write_models(w, e, result->models_stored);
    if (result->stages && result->stages <= e->n_stages) {
        jw_key(w, "cascade_stage");
        jw_i64(w, result->stages);
    }
    jw_key(w, "cached");
    jw_bool(w, c->from_cache);
    jw_key(w, "age_s");
    jw_i64(w, c->from_cache ? (now - c->stored_ms[i]) / 1000 : 0);
    if (c->contributions) {
        if (result->stages && result->stages <= e->n_stages) {
            jw_key(w, "base");
            write_double_classes(w, e, e->stage_base[result->stages - 1]);
        }
        jw_key(w, "contributions");
        write_contributions(w, e, c->contributions + i * (e->n_models + 1) * e->n_classes);
    }
}

static bool is_judged(const struct classification *c, size_t i)
{
    return !c->from_cache || c->stored_ms[i] >= 0;
}

static void write_result(struct json_writer *w, const struct engine *e,
                         const struct classification *c, size_t i, int64_t now)
{
    medley_text id = c->asked.products[i].id;
    jw_object(w);
    jw_key(w, "id");
    if (id.n)
        jw_text(w, (struct str){id.s, id.n});
    else
        jw_null(w);
    if (c->ranked) {
        jw_key(w, "position");
        jw_i64(w, (int64_t)i);
    }
    if (is_judged(c, i)) {
        write_judgement(w, e, c, i, now);
    } else {
        jw_key(w, "label");
        jw_null(w);
        jw_key(w, "cached");
        jw_bool(w, false);
    }
    jw_object_end(w);
}

/* ---- the order ----------------------------------------------------------------------------
 */

struct ranked {
    double gain;
    size_t product;
};

/* Higher gain first; equal ones as they came. */
static int compare(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->gain != y->gain)
        return x->gain > y->gain ? -1 : 1;
    return x->product < y->product ? -1 : 1;
}

/* Products that nothing is known of come last. */
static void write_results(struct json_writer *w, const struct engine *e,
                          const struct classification *c)
{
    struct ranked order[CLASSIFY_MAX_PRODUCTS];
    size_t n = c->asked.n_products;
    int64_t now = (int64_t)(clock_seconds() * 1e3);
    for (size_t i = 0; i < n; i++)
        order[i] =
            (struct ranked){is_judged(c, i) ? expected_gain(e, &c->results[i]) : -INFINITY, i};
    if (c->ranked)
        qsort(order, n, sizeof order[0], compare);
    jw_key(w, "results");
    jw_array(w);
    for (size_t i = 0; i < n; i++)
        write_result(w, e, c, order[i].product, now);
    jw_array_end(w);
}

/* How old the graph is behind the embeddings that were used: the oldest of the models'; null
 * where none was. */
static void write_embeddings_age(struct json_writer *w, const struct request *r)
{
    const struct classification *c = r->classification;
    const struct engine *e = &r->deployment->engine;
    uint32_t used = 0;
    int64_t oldest = INT64_MAX, now = (int64_t)time(NULL);
    for (size_t i = 0; r->pairs_precomputed && i < c->asked.n_products; i++)
        used |= c->results[i].models_stored;
    for (size_t m = 0; m < e->n_models; m++)
        if (used >> m & 1 && e->stores[m].graph_cutoff && e->stores[m].graph_cutoff < oldest)
            oldest = e->stores[m].graph_cutoff;
    jw_key(w, "embeddings_age_s");
    if (oldest == INT64_MAX)
        jw_null(w);
    else
        jw_i64(w, now > oldest ? now - oldest : 0);
}

void classification_answer(struct request *r)
{
    const struct classification *c = r->classification;
    const struct engine *e = &r->deployment->engine;
    struct json_writer w;
    jw_init(&w, &r->out, false);
    jw_object(&w);
    jw_key(&w, "bundle");
    jw_textz(&w, e->id);
    jw_key(&w, "query");
    jw_text(&w, (struct str){c->asked.query.s, c->asked.query.n});
    jw_key(&w, "locale");
    jw_text(&w, (struct str){c->asked.locale.s, c->asked.locale.n});
    if (c->contributions) {
        jw_key(&w, "base");
        write_double_classes(&w, e, e->base);
    }
    write_results(&w, e, c);
    jw_key(&w, "pairs_precomputed");
    jw_i64(&w, (int64_t)r->pairs_precomputed);
    write_embeddings_age(&w, r);
    jw_key(&w, "took_ms");
    jw_double(&w, round((clock_seconds() - c->started) * 1e6) / 1e3);
    jw_object_end(&w);
    sb_addc(&r->out, '\n');
    answer(r, 200, "application/json");
}
