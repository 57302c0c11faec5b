/* classify.c: POST /v1/classify: the cache, the bundle and the answer.
 *
 * The ensemble judges a product beside the other candidates of its list, so the list stays
 * whole: either every pair is remembered and the answer comes from the cache, or all pairs are
 * judged together and remembered anew. With "explain" the cache is not read, because
 * contributions are not kept (they would make an entry M times as large), but it is written;
 * with "cache": "off" it is neither. */
#include "serve/classify_request.h"
#include "serve/server_private.h"

#include "base/cpu.h"
#include "base/error.h"
#include "base/memory.h"

#include <math.h>
#include <string.h>

struct classification {
    struct classify_request asked;
    double started;         /* clock_seconds when the request was complete */
    medley_result *results; /* [n] */
    int64_t *stored_ms;     /* [n] when remembered; only when all come from the cache */
    bool from_cache;
    float *contributions; /* [n*(M+1)*K] or NULL */
    /* cache keys: made once, for looking up and for storing */
    struct strbuf shared, own;
    size_t *own_ends; /* [n] product i's part is own[own_ends[i-1] .. own_ends[i]) */
    struct hash128 shared_hash;
};

static int64_t now_ms(void)
{
    return (int64_t)(clock_seconds() * 1e3);
}

void classification_free(struct classification *c)
{
    if (!c)
        return;
    classify_request_deinit(&c->asked);
    mem_free(c->results);
    mem_free(c->stored_ms);
    mem_free(c->contributions);
    mem_free(c->own_ends);
    sb_deinit(&c->shared);
    sb_deinit(&c->own);
    mem_free(c);
}

/* ---- cache ------------------------------------------------------------------------------- */

static bool uses_cache(const struct request *r)
{
    return r->server->cache && r->classification->asked.use_cache;
}

static medley_status make_keys(struct classification *c, const struct engine *engine,
                               medley_error *err)
{
    const struct classify_request *asked = &c->asked;
    struct strbuf folded;
    sb_init(&folded);
    struct str query = {asked->query.s, asked->query.n};
    struct str locale = {asked->locale.s, asked->locale.n};
    medley_status st = label_cache_fold(query, &folded, err);
    if (!st)
        label_key_shared(&c->shared, engine->id, 0, locale, sb_str(&folded));
    sb_deinit(&folded);
    for (size_t i = 0; !st && i < asked->n_products; i++) {
        label_key_own(&c->own, &asked->products[i]);
        c->own_ends[i] = c->own.n;
    }
    if (!st && (c->shared.failed || c->own.failed))
        st = fail_memory(err, "cache keys");
    if (!st)
        c->shared_hash = label_key_hash(sb_str(&c->shared));
    return st;
}

static struct label_key key_at(const struct classification *c, size_t i)
{
    size_t from = i ? c->own_ends[i - 1] : 0;
    struct str own = {c->own.s + from, c->own_ends[i] - from};
    return label_key_of(sb_str(&c->shared), c->shared_hash, own);
}

/* True when the whole list is remembered; the results are then filled in. */
static bool look_up(struct server *s, struct classification *c)
{
    size_t n = c->asked.n_products, found = 0;
    int64_t now = now_ms();
    for (size_t i = 0; i < n; i++) {
        struct label_key key = key_at(c, i);
        found += label_cache_get(s->cache, &key, now, &c->results[i], &c->stored_ms[i]);
    }
    counters_add(found == n ? &s->counters.cache_hits : &s->counters.cache_unused, found);
    counters_add(&s->counters.cache_misses, n - found);
    return found == n;
}

static void remember(struct server *s, const struct classification *c)
{
    int64_t now = now_ms();
    for (size_t i = 0; i < c->asked.n_products; i++) {
        struct label_key key = key_at(c, i);
        label_cache_put(s->cache, &key, &c->results[i], now);
    }
}

/* ---- answer ------------------------------------------------------------------------------ */

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

static void write_result(struct json_writer *w, const struct engine *e,
                         const struct classification *c, size_t i, int64_t now)
{
    const medley_result *result = &c->results[i];
    medley_text id = c->asked.products[i].id;
    jw_object(w);
    jw_key(w, "id");
    if (id.n)
        jw_text(w, (struct str){id.s, id.n});
    else
        jw_null(w);
    jw_key(w, "label");
    jw_textz(w, result->label < e->n_classes ? e->classes[result->label] : NULL);
    jw_key(w, "probabilities");
    write_float_classes(w, e, result->probabilities);
    jw_key(w, "margins");
    write_float_classes(w, e, result->margins);
    jw_key(w, "known_product");
    jw_bool(w, result->known_product);
    jw_key(w, "models_used");
    write_models(w, e, result->models_used);
    jw_key(w, "models_precomputed");
    write_models(w, e, result->models_stored);
    jw_key(w, "cached");
    jw_bool(w, c->from_cache);
    jw_key(w, "age_s");
    jw_i64(w, c->from_cache ? (now - c->stored_ms[i]) / 1000 : 0);
    if (c->contributions) {
        jw_key(w, "contributions");
        write_contributions(w, e, c->contributions + i * (e->n_models + 1) * e->n_classes);
    }
    jw_object_end(w);
}

static void write_answer(struct request *r)
{
    const struct classification *c = r->classification;
    const struct engine *e = r->server->engine;
    int64_t now = now_ms();
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
    jw_key(&w, "results");
    jw_array(&w);
    for (size_t i = 0; i < c->asked.n_products; i++)
        write_result(&w, e, c, i, now);
    jw_array_end(&w);
    jw_key(&w, "pairs_precomputed");
    jw_i64(&w, (int64_t)r->pairs_precomputed);
    jw_key(&w, "took_ms");
    jw_double(&w, round((clock_seconds() - c->started) * 1e6) / 1e3);
    jw_object_end(&w);
    sb_addc(&r->out, '\n');
    answer(r, 200, "application/json");
}

/* ---- work -------------------------------------------------------------------------------- */

/* What the client did wrong it is told; what went wrong in here goes to the log alone, since it
 * may name files. */
static void answer_failure(struct request *r, medley_status st, const medley_error *err)
{
    if (st == MEDLEY_EINVAL || st == MEDLEY_EFORMAT) {
        answer_error(r, 400, "%s", err->message);
        return;
    }
    if (st == MEDLEY_EINTERRUPTED)
        answer_error(r, 503, "shutting down");
    else if (st == MEDLEY_ENOMEM)
        answer_error(r, 503, "out of memory");
    else
        answer_error(r, 500, "internal error; the server's log tells more");
    snprintf(r->error, sizeof r->error, "%.255s", err->message);
}

static void evaluate(struct request *r)
{
    struct classification *c = r->classification;
    struct server *s = r->server;
    const struct classify_request *asked = &c->asked;
    medley_error err = {0};
    medley_classify_options options = {.contributions = c->contributions};
    medley_status st = MEDLEY_OK;
    if (atomic_load(&s->hurrying))
        st = fail(&err, MEDLEY_EINTERRUPTED, "shutting down");
    if (!st)
        st =
            s->engine->classify(s->engine->context, asked->query, asked->locale,
                                asked->products, asked->n_products, &options, c->results, &err);
    if (st) {
        answer_failure(r, st, &err);
        return;
    }
    for (size_t i = 0; i < asked->n_products; i++)
        r->pairs_precomputed += c->results[i].models_stored != 0;
    counters_add(&s->counters.pairs_evaluated, asked->n_products);
    counters_add(&s->counters.pairs_precomputed, r->pairs_precomputed);
    if (uses_cache(r))
        remember(s, c);
    write_answer(r);
}

/* On a worker. */
static void run_job(struct job *job)
{
    struct request *r = (struct request *)job;
    struct server *s = r->server;
    evaluate(r);
    request_done(r);
    atomic_fetch_sub(&s->classifying, 1);
}

static medley_status prepare(struct request *r, struct classification *c, medley_error *err)
{
    const struct engine *e = r->server->engine;
    medley_status st =
        classify_request_parse(r->body.s ? r->body.s : "", r->body.n, &c->asked, err);
    if (st)
        return st;
    size_t n = c->asked.n_products;
    c->results = mem_zalloc(n, sizeof *c->results);
    c->stored_ms = mem_zalloc(n, sizeof *c->stored_ms);
    c->own_ends = mem_zalloc(n, sizeof *c->own_ends);
    if (c->asked.explain)
        c->contributions = mem_zalloc(n, (e->n_models + 1) * e->n_classes * sizeof(float));
    if (!c->results || !c->stored_ms || !c->own_ends || (c->asked.explain && !c->contributions))
        return fail_memory(err, "the classification");
    return uses_cache(r) ? make_keys(c, e, err) : MEDLEY_OK;
}

enum handled handle_classify(struct request *r)
{
    struct server *s = r->server;
    medley_error err = {0};
    struct classification *c = r->classification = mem_zalloc(1, sizeof *c);
    if (!c) {
        answer_error(r, 503, "out of memory");
        return HANDLED;
    }
    c->started = clock_seconds();
    sb_init(&c->shared);
    sb_init(&c->own);
    medley_status st = prepare(r, c, &err);
    sb_deinit(&r->body); /* the parsed request has copies */
    sb_init(&r->body);
    if (st) {
        answer_failure(r, st, &err);
        return HANDLED;
    }
    r->pairs = c->asked.n_products;
    if (uses_cache(r) && !c->asked.explain && look_up(s, c)) {
        c->from_cache = true;
        r->pairs_cached = r->pairs;
        counters_add(&s->counters.pairs_cached, r->pairs);
        write_answer(r);
        return HANDLED;
    }
    r->job.run = run_job;
    request_submit(r);
    return SUBMITTED;
}
