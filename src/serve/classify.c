/* classify.c: POST /v1/classify and /v1/rank: the cache, the bundle and the answer.
 *
 * The ensemble judges a product beside the other candidates of its list, so the list stays
 * whole: either every pair is remembered and the answer comes from the cache, or all pairs are
 * judged together and remembered anew. With "explain" the cache is not read, because
 * contributions are not kept (they would make an entry M times as large), but it is written;
 * with "cache": "off" it is neither; with "only" what is remembered is all there is. */
#include "serve/classification.h"

#include "base/cpu.h"
#include "base/error.h"

#include <microhttpd.h>
#include <string.h>

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

static bool uses_cache(const struct request *r)
{
    return r->server->cache && r->classification->asked.cache != CACHE_OFF;
}

/* True when the bundle has judged the list and the answer is set. */
static bool evaluate(struct request *r)
{
    struct classification *c = r->classification;
    struct server *s = r->server;
    medley_error err = {0};
    medley_status st = MEDLEY_OK;
    if (atomic_load(&s->hurrying))
        st = fail(&err, MEDLEY_EINTERRUPTED, "shutting down");
    if (!st)
        st = classification_run(c, &r->deployment->engine, &err);
    if (st) {
        answer_failure(r, st, &err);
        return false;
    }
    size_t late = 0;
    for (size_t i = 0; i < c->asked.n_products; i++) {
        r->pairs_precomputed += c->results[i].models_stored != 0;
        late += c->results[i].models_late != 0;
    }
    counters_add(&s->counters.pairs_late, late);
    counters_add(&s->counters.pairs_evaluated, c->asked.n_products);
    counters_add(&s->counters.pairs_precomputed, r->pairs_precomputed);
    if (uses_cache(r))
        classification_remember(c, s->cache, s->levels);
    classification_answer(r);
    return true;
}

/* ---- from the cache ---------------------------------------------------------------------- */

static bool reads_cache(const struct request *r)
{
    const struct classification *c = r->classification;
    return uses_cache(r) && (!c->asked.explain || c->asked.cache == CACHE_ONLY);
}

static void answer_from_cache(struct request *r, size_t found)
{
    r->classification->from_cache = true;
    r->pairs_cached = found;
    counters_add(&r->server->counters.pairs_cached, found);
    classification_answer(r);
}

/* Counts what a look-up came to, once a request. */
static bool is_enough(struct request *r, size_t found)
{
    struct counters *k = &r->server->counters;
    size_t n = r->classification->asked.n_products;
    bool enough = found == n || r->classification->asked.cache == CACHE_ONLY;
    counters_add(enough ? &k->cache_hits : &k->cache_unused, found);
    counters_add(&k->cache_misses, n - found);
    return enough;
}

/* On a worker: from the levels below memory, if there are any. */
static bool answered_from_below(struct request *r)
{
    struct server *s = r->server;
    if (!s->levels || !reads_cache(r))
        return false;
    size_t found = classification_look_below(r->classification, s->cache, s->levels);
    if (!is_enough(r, found))
        return false;
    answer_from_cache(r, found);
    return true;
}

/* On an HTTP thread: from memory. Where there are levels below, what memory lacks is theirs to
 * tell. */
static bool answered_from_memory(struct request *r)
{
    struct server *s = r->server;
    if (!reads_cache(r))
        return false;
    size_t found = classification_look_up(r->classification, s->cache);
    bool all = found == r->classification->asked.n_products;
    if (!all && s->levels)
        return false;
    if (!is_enough(r, found))
        return false;
    answer_from_cache(r, found);
    return true;
}

/* ---- on a worker ------------------------------------------------------------------------- */

/* The leader's answer, in the words that the follower asked in. */
static void answer_follower(struct request *f, const struct request *leader)
{
    struct classification *to = f->classification;
    const struct classification *from = leader->classification;
    size_t n = from->asked.n_products;
    counters_add(&f->server->counters.pairs_joined, n);
    if (leader->status != 200) {
        sb_add(&f->out, leader->out.s, leader->out.n);
        answer(f, leader->status, leader->content_type);
        snprintf(f->error, sizeof f->error, "%s", leader->error);
        return;
    }
    memcpy(to->results, from->results, n * sizeof *to->results);
    memcpy(to->stored_ms, from->stored_ms, n * sizeof *to->stored_ms);
    to->from_cache = from->from_cache;
    f->pairs_cached = leader->pairs_cached;
    f->pairs_precomputed = leader->pairs_precomputed;
    if (to->contributions) {
        const struct engine *e = &f->deployment->engine;
        memcpy(to->contributions, from->contributions,
               n * (e->n_models + 1) * e->n_classes * sizeof *to->contributions);
    }
    classification_answer(f);
}

static void answer_followers(struct request *r)
{
    struct request *next;
    for (struct request *f = flights_land(&r->server->flights, r); f; f = next) {
        next = f->follower;
        answer_follower(f, r);
        request_done(f);
    }
}

static void run_job(struct job *job)
{
    struct request *r = (struct request *)job;
    struct server *s = r->server;
    bool judged = !answered_from_below(r) && evaluate(r);
    answer_followers(r);
    if (judged)
        shadow_offer(r); /* which takes the classification */
    request_done(r);
    atomic_fetch_sub(&s->classifying, 1);
}

/* Version 00 of https://www.w3.org/TR/trace-context/; anything else is not passed on. */
static void take_trace(const struct request *r, struct classification *c)
{
    const char *trace =
        MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, "traceparent");
    size_t n = trace ? strlen(trace) : 0;
    if (n == sizeof c->traceparent - 1 && strspn(trace, "0123456789abcdef-") == n)
        memcpy(c->traceparent, trace, n + 1);
}

static enum handled classify(struct request *r, bool ranked)
{
    struct server *s = r->server;
    medley_error err = {0};
    r->deployment = deployment_enter(&s->deployments);
    medley_status st = classification_new(sb_str(&r->body), &r->deployment->engine,
                                          s->cache != NULL, &r->classification, &err);
    if (st) {
        answer_failure(r, st, &err);
        return HANDLED;
    }
    if (r->classification->asked.cache == CACHE_ONLY && !s->cache) {
        answer_error(r, 400, "cache: this server has none");
        return HANDLED;
    }
    recent_keep(&s->recent, sb_str(&r->body));
    sb_deinit(&r->body); /* the parsed request has copies */
    sb_init(&r->body);
    r->classification->ranked = ranked;
    if (!r->classification->asked.deadline_ms)
        r->classification->asked.deadline_ms = s->options.deadline_ms;
    take_trace(r, r->classification);
    r->pairs = r->classification->asked.n_products;
    if (answered_from_memory(r))
        return HANDLED;
    r->job.run = run_job;
    r->refused = answer_followers;
    if (!flights_join(&s->flights, r))
        request_submit(r);
    return SUBMITTED;
}

enum handled handle_classify(struct request *r)
{
    return classify(r, false);
}

enum handled handle_rank(struct request *r)
{
    return classify(r, true);
}
