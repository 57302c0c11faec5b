/* classify_answer.c: the JSON that POST /v1/classify and /v1/rank answer with. */
#include "serve/classification.h"
#include "serve/result_pieces.h"

#include "base/cpu.h"
#include "base/decimal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TYPICAL_RESULT 512 /* bytes, without contributions */

void write_double_classes(struct json_writer *w, const struct engine *e, const double *v)
{
    jw_object(w);
    for (size_t k = 0; k < e->n_classes; k++) {
        jw_key(w, e->classes[k]);
        jw_double(w, v[k]);
    }
    jw_object_end(w);
}

/* ---- a result ----------------------------------------------------------------------------
 *
 * A list of remembered labels costs little else than writing them, so what repeats stands ready
 * (result_pieces.h) and is copied, into room that is asked for once a result. */

static char *put(char *to, struct str text)
{
    memcpy(to, text.s, text.n);
    return to + text.n;
}

static char *put_slice(char *to, const struct result_pieces *p, struct slice s)
{
    memcpy(to, p->text.s + s.at, s.n);
    return to + s.n;
}

static char *put_float(char *to, float v)
{
    return isfinite(v) ? to + decimal_float(v, to) : put(to, STR("null"));
}

static char *put_i64(char *to, int64_t v)
{
    return to + decimal_i64(v, to);
}

static char *put_bool(char *to, bool v)
{
    return put(to, v ? STR("true") : STR("false"));
}

static char *put_float_classes(char *to, const struct result_pieces *p, const float *v)
{
    for (size_t k = 0; k < p->e->n_classes; k++)
        to = put_float(put_slice(to, p, p->classes[k]), v[k]);
    return put(to, STR("}"));
}

static char *put_double_classes(char *to, const struct result_pieces *p, const double *v)
{
    for (size_t k = 0; k < p->e->n_classes; k++) {
        to = put_slice(to, p, p->classes[k]);
        to = isfinite(v[k]) ? to + decimal_double(v[k], to) : put(to, STR("null"));
    }
    return put(to, STR("}"));
}

static char *put_models(char *to, const struct result_pieces *p, uint32_t used)
{
    bool first = true;
    to = put(to, STR("["));
    for (size_t m = 0; m < p->e->n_models && used >> m; m++) {
        if (!(used >> m & 1))
            continue;
        if (!first)
            to = put(to, STR(","));
        to = put_slice(to, p, p->models[m]);
        first = false;
    }
    return put(to, STR("]"));
}

/* contributions[(M+1)*K] of one pair. */
static char *put_contributions(char *to, const struct result_pieces *p,
                               const float *contributions)
{
    for (size_t m = 0; m <= p->e->n_models; m++)
        to = put_float_classes(put_slice(to, p, p->players[m]), p,
                               contributions + m * p->e->n_classes);
    return put(to, STR("}"));
}

/* What a shop earns by showing the product: the mean of the classes' gains. */
static double expected_gain(const struct engine *e, const medley_result *result)
{
    double sum = 0;
    for (size_t k = 0; k < e->n_classes; k++)
        sum += e->gains[k] * (double)result->probabilities[k];
    return sum;
}

/* The models whose predictions of pair i the request brought along. */
static uint32_t given_mask(const struct engine *e, const struct classification *c, size_t i)
{
    const float *given = c->given + i * e->n_models * e->n_classes;
    uint32_t mask = 0;
    for (size_t m = 0; m < e->n_models; m++)
        mask |= (uint32_t)!isnan(given[m * e->n_classes]) << m;
    return mask;
}

static char *put_judgement(char *to, const struct result_pieces *p,
                           const struct classification *c, size_t i, int64_t now)
{
    const struct engine *e = p->e;
    const medley_result *r = &c->results[i];
    bool staged = r->stages && r->stages <= e->n_stages;
    to = put(to, STR(",\"label\":"));
    to = r->label < e->n_classes ? put_slice(to, p, p->labels[r->label]) : put(to, STR("null"));
    to = put_float(put(to, STR(",\"expected_gain\":")), (float)expected_gain(e, r));
    to = put_float_classes(put(to, STR(",\"probabilities\":")), p, r->probabilities);
    to = put_float_classes(put(to, STR(",\"margins\":")), p, r->margins);
    to = put_bool(put(to, STR(",\"known_product\":")), r->known_product);
    to = put_models(put(to, STR(",\"models_used\":")), p, r->models_used);
    if (c->given)
        to = put_models(put(to, STR(",\"models_given\":")), p,
                        r->models_used & given_mask(p->e, c, i));
    to = put_models(put(to, STR(",\"models_failed\":")), p, r->models_failed);
    to = put_models(put(to, STR(",\"models_late\":")), p, r->models_late);
    to = put_models(put(to, STR(",\"models_precomputed\":")), p, r->models_stored);
    if (staged)
        to = put_i64(put(to, STR(",\"cascade_stage\":")), r->stages);
    to = put_bool(put(to, STR(",\"cached\":")), c->from_cache);
    to = put_i64(put(to, STR(",\"age_s\":")),
                 c->from_cache && now > c->stored_ms[i] ? (now - c->stored_ms[i]) / 1000 : 0);
    if (c->contributions) {
        if (staged)
            to =
                put_double_classes(put(to, STR(",\"base\":")), p, e->stage_base[r->stages - 1]);
        to = put_contributions(put(to, STR(",\"contributions\":")), p,
                               c->contributions + i * (e->n_models + 1) * e->n_classes);
    }
    return to;
}

static bool is_judged(const struct classification *c, size_t i)
{
    return !c->from_cache || c->stored_ms[i] >= 0;
}

static void add_result(struct strbuf *out, const struct result_pieces *p,
                       const struct classification *c, size_t i, int64_t now)
{
    medley_text id = c->asked.products[i].id;
    sb_addz(out, "{\"id\":");
    if (id.n)
        json_add_text(out, (struct str){id.s, id.n});
    else
        sb_addz(out, "null");
    char *start = sb_room(out, c->contributions ? p->room_explained : p->room), *to = start;
    if (!start)
        return;
    if (c->ranked)
        to = put_i64(put(to, STR(",\"position\":")), (int64_t)i);
    to = is_judged(c, i) ? put_judgement(to, p, c, i, now)
                         : put(to, STR(",\"label\":null,\"cached\":false"));
    to = put(to, STR("}"));
    sb_took(out, (size_t)(to - start));
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
static void write_results(struct json_writer *w, const struct deployment *d,
                          const struct classification *c)
{
    const struct engine *e = &d->engine;
    struct ranked order[CLASSIFY_MAX_PRODUCTS];
    size_t n = c->asked.n_products;
    int64_t now = label_cache_now();
    for (size_t i = 0; i < n; i++)
        order[i] =
            (struct ranked){is_judged(c, i) ? expected_gain(e, &c->results[i]) : -INFINITY, i};
    if (c->ranked)
        qsort(order, n, sizeof order[0], compare);
    jw_key(w, "results");
    struct strbuf *out = jw_raw(w);
    sb_room(out, n * TYPICAL_RESULT);
    sb_addc(out, '[');
    for (size_t i = 0; i < n; i++) {
        if (i)
            sb_addc(out, ',');
        add_result(out, d->pieces, c, order[i].product, now);
    }
    sb_addc(out, ']');
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
    write_results(&w, r->deployment, c);
    jw_key(&w, "pairs_precomputed");
    jw_i64(&w, (int64_t)r->pairs_precomputed);
    write_embeddings_age(&w, r);
    jw_key(&w, "took_ms");
    jw_double(&w, round((clock_seconds() - c->started) * 1e6) / 1e3);
    jw_object_end(&w);
    sb_addc(&r->out, '\n');
    answer(r, 200, "application/json");
}
