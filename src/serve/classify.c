/* classify.c: POST /v1/classify and /v1/rank: the cache, the bundle and the answer.
 *
 * The ensemble judges a product beside the other candidates of its list, so the list stays
 * whole: either every pair is remembered and the answer comes from the cache, or all pairs are
 * judged together and remembered anew. With "explain" the cache is not read, because
 * contributions are not kept (they would make an entry M times as large), but it is written;
 * with "cache": "off", and for what judges predictions of the client's own, it is neither; with
 * "only" what is remembered is all there is. Lists that
 * are being judged already are not judged twice (flight.h). */
#include "serve/classification.h"

#include "base/cpu.h"
#include "base/error.h"
#include "base/memory.h"

#include <microhttpd.h>
#include <string.h>

/* What the client did wrong it is told; what went wrong in here goes to the log alone, since it
 * may name files. */
void classification_fail(struct request *r, medley_status st, const medley_error *err)
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

static void evaluate(struct request *r)
{
    struct classification *c = r->classification;
    struct server *s = r->server;
    medley_error err = {0};
    medley_status st = MEDLEY_OK;
    if (atomic_load(&s->hurrying))
        st = fail(&err, MEDLEY_EINTERRUPTED, "shutting down");
    const struct engine *e = &r->deployment->engine;
    struct drift_watch *drift = c->usual ? r->deployment->drift : NULL;
    if (drift) /* without memory for it the pairs are judged all the same */
        c->said = mem_alloc(c->asked.n_products, e->n_models * e->n_classes * sizeof(float));
    if (!st)
        st = classification_run(c, e, &err);
    if (st) {
        flight_land(r, st, &err);
        classification_fail(r, st, &err);
        return;
    }
    size_t late = 0;
    for (size_t i = 0; i < c->asked.n_products; i++) {
        r->pairs_precomputed += c->results[i].models_stored != 0;
        late += c->results[i].models_late != 0;
    }
    if (c->said)
        drift_watch_add(drift, c->results, c->said, c->asked.n_products);
    counters_add(&s->counters.pairs_late, late);
    counters_add(&s->counters.pairs_evaluated, c->asked.n_products);
    counters_add(&s->counters.pairs_precomputed, r->pairs_precomputed);
    if (uses_cache(r))
        classification_remember(c, s->cache);
    flight_land(r, MEDLEY_OK, NULL);
    classification_answer(r);
    shadow_offer(r);
}

/* Answers from the cache if it can, or must. Near tiers are asked on the HTTP thread, far ones
 * on a worker, when there are any. */
static bool answer_from_cache(struct request *r, enum label_reach reach)
{
    struct server *s = r->server;
    struct classification *c = r->classification;
    bool only = c->asked.cache == CACHE_ONLY;
    size_t n = c->asked.n_products;
    if (!uses_cache(r) || (c->asked.explain && !only))
        return false;
    size_t found = classification_look_up(c, s->cache, reach);
    c->look_far = reach == LABELS_NEAR && found < n && label_cache_has_far(s->cache);
    if (c->look_far)
        return false;
    counters_add(found == n || only ? &s->counters.cache_hits : &s->counters.cache_unused,
                 found);
    counters_add(&s->counters.cache_misses, n - found);
    if (found < n && !only)
        return false;
    c->from_cache = true;
    r->pairs_cached = found;
    counters_add(&s->counters.pairs_cached, found);
    if (reach == LABELS_FAR)
        flight_land(r, MEDLEY_OK, NULL);
    classification_answer(r);
    return true;
}

/* On a worker. */
static void run_job(struct job *job)
{
    struct request *r = (struct request *)job;
    struct server *s = r->server;
    if (!r->classification->look_far || !answer_from_cache(r, LABELS_FAR))
        evaluate(r);
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
    medley_status st = classification_new(s, sb_str(&r->body), &r->deployment->engine,
                                          &r->classification, &err);
    if (st) {
        classification_fail(r, st, &err);
        return HANDLED;
    }
    if (r->classification->asked.cache == CACHE_ONLY && !s->cache) {
        answer_error(r, 400, "cache: this server has none");
        return HANDLED;
    }
    if (!r->classification->given) /* which warm no model */
        recent_keep(&s->recent, sb_str(&r->body));
    sb_deinit(&r->body); /* the parsed request has copies */
    sb_init(&r->body);
    r->classification->ranked = ranked;
    if (!r->classification->asked.deadline_ms)
        r->classification->asked.deadline_ms = s->options.deadline_ms;
    take_trace(r, r->classification);
    r->pairs = r->classification->asked.n_products;
    if (answer_from_cache(r, LABELS_NEAR))
        return HANDLED;
    r->job.run = run_job;
    flight_submit(r);
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
