/* bundles.c: POST /v1/bundles:activate, :rollback and :shadow: another bundle, without a
 * request that fails.
 *
 * A bundle is opened and warmed with recent requests on a thread of its own, while the active
 * one answers; only then do new requests enter it. Warming also fills the label cache under the
 * new bundle's id, so that the first requests after the swap are not all misses. */
#include "serve/classification.h"

#include "base/cpu.h"
#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"

#include <string.h>

#define WARM_SECONDS 5.0 /* at most so long; a slow bundle is better cold than late */

/* ---- opening ------------------------------------------------------------------------------
 */

/* A plain name, not a path: what a client may say must not reach past the folder. */
static bool is_name(struct str name)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    for (size_t i = 0; i < name.n; i++)
        if (!memchr(allowed, name.s[i], sizeof allowed - 1))
            return false;
    return name.n > 0 && name.n <= 128 && name.s[0] != '.';
}

/* Clients and cache entries know classes by number. */
static medley_status check_classes(const struct engine *now, const struct engine *next,
                                   medley_error *err)
{
    bool same = now->n_classes == next->n_classes;
    for (size_t k = 0; same && k < now->n_classes; k++)
        same = strcmp(now->classes[k], next->classes[k]) == 0;
    return same ? MEDLEY_OK
                : fail(err, MEDLEY_EINVAL, "bundle %s has other classes: it needs a restart",
                       next->id);
}

static medley_status open_deployment(struct server *s, const char *name,
                                     struct deployment **out, medley_error *err)
{
    struct engine engine;
    if (!s->options.bundles)
        return fail(err, MEDLEY_EUNSUPPORTED, "this server has no folder of bundles");
    if (!is_name(str_of(name)))
        return fail(err, MEDLEY_EINVAL, "bundle: must be the name of a bundle");
    char *folder = path_join(s->options.bundles, name);
    if (!folder)
        return fail_memory(err, "a path");
    medley_status st = s->options.open(folder, &engine, err);
    mem_free(folder);
    if (st)
        return st;
    struct deployment *active = deployment_enter(&s->deployments);
    st = check_classes(&active->engine, &engine, err);
    deployment_leave(active);
    if (!st && !(*out = deployment_new(&engine)))
        st = fail_memory(err, "a deployment");
    if (st)
        engine_close(&engine);
    return st;
}

/* How many of the recent requests it answered. What fails now fails for the next client too,
 * who will be told; it is no reason not to swap. */
static size_t warm(struct server *s, const struct engine *engine)
{
    struct strbuf body;
    size_t warmed = 0;
    double until = clock_seconds() + WARM_SECONDS;
    sb_init(&body);
    for (size_t i = 0; i < RECENT_REQUESTS; i++) {
        struct classification *c = NULL;
        if (clock_seconds() > until || atomic_load(&s->draining))
            break;
        if (!recent_copy(&s->recent, i, &body))
            continue;
        medley_status st = classification_new(s, sb_str(&body), engine, &c, NULL);
        if (!st)
            st = classification_run(c, engine, NULL);
        if (!st && s->cache && c->asked.cache != CACHE_OFF)
            classification_remember(c, s->cache);
        warmed += !st;
        classification_free(c);
    }
    sb_deinit(&body);
    return warmed;
}

/* ---- changes ------------------------------------------------------------------------------
 */

medley_status server_activate(struct server *s, const char *name, struct server_change *out,
                              medley_error *err)
{
    struct deployment *next = NULL;
    double started = clock_seconds();
    pthread_mutex_lock(&s->change_lock);
    medley_status st = open_deployment(s, name, &next, err);
    if (!st) {
        struct deployment *before = deployment_enter(&s->deployments);
        out->warmed = warm(s, &next->engine);
        deployments_activate(&s->deployments, next);
        snprintf(out->previous, sizeof out->previous, "%s", before->engine.id);
        snprintf(out->active, sizeof out->active, "%s", next->engine.id);
        out->seconds = clock_seconds() - started;
        counters_add(&s->counters.bundle_changes, 1);
        deployment_leave(before);
        deployment_leave(next);
        server_tidy_cache(s);
    }
    pthread_mutex_unlock(&s->change_lock);
    return st;
}

static medley_status roll_back(struct server *s, struct server_change *out, medley_error *err)
{
    medley_status st = MEDLEY_OK;
    pthread_mutex_lock(&s->change_lock);
    struct deployment *before = deployment_enter(&s->deployments);
    if (deployments_roll_back(&s->deployments)) {
        struct deployment *now = deployment_enter(&s->deployments);
        snprintf(out->previous, sizeof out->previous, "%s", before->engine.id);
        snprintf(out->active, sizeof out->active, "%s", now->engine.id);
        counters_add(&s->counters.bundle_changes, 1);
        deployment_leave(now);
    } else {
        st = fail(err, MEDLEY_EINVAL, "there is no bundle to go back to");
    }
    deployment_leave(before);
    pthread_mutex_unlock(&s->change_lock);
    return st;
}

/* ---- requests -----------------------------------------------------------------------------
 */

struct bundle_request {
    const char *bundle; /* NULL: none */
    double share;
    json *root; /* owns the text */
    bool has_bundle, has_share;
};

static const struct json_limits request_limits = {.values = 16, .depth = 2};

static medley_status take_once(bool *seen, const char *key, medley_error *err)
{
    bool before = *seen;
    *seen = true;
    return before ? fail(err, MEDLEY_EINVAL, "%s: given twice", key) : MEDLEY_OK;
}

static medley_status read_member(const json *m, bool takes_share, struct bundle_request *out,
                                 medley_error *err)
{
    const char *key = json_key(m);
    if (strcmp(key, "bundle") == 0) {
        medley_status st = take_once(&out->has_bundle, key, err);
        if (st)
            return st;
        if (takes_share && json_kind_of(m) == JSON_NULL)
            return MEDLEY_OK;
        return json_as_text(m, &out->bundle)
                   ? MEDLEY_OK
                   : fail(err, MEDLEY_EINVAL, "bundle: must be the name of a bundle");
    }
    if (takes_share && strcmp(key, "share") == 0) {
        medley_status st = take_once(&out->has_share, key, err);
        if (st)
            return st;
        return json_as_double(m, &out->share) && out->share > 0 && out->share <= 1
                   ? MEDLEY_OK
                   : fail(err, MEDLEY_EINVAL, "share: must be above 0 and at most 1");
    }
    return fail(err, MEDLEY_EINVAL, "%.100s: unknown key", key);
}

static medley_status read_request(const struct request *r, bool takes_share,
                                  struct bundle_request *out, medley_error *err)
{
    *out = (struct bundle_request){.share = 0.05};
    medley_status st =
        json_parse_within(sb_str(&r->body), "body", request_limits, &out->root, err);
    if (!st && json_kind_of(out->root) != JSON_OBJECT)
        st = fail(err, MEDLEY_EINVAL, "body: must be an object");
    for (const json *m = st ? NULL : json_first(out->root); !st && m; m = json_next(m))
        st = read_member(m, takes_share, out, err);
    return st;
}

static void answer_change(struct request *r, const struct server_change *change)
{
    struct json_writer w;
    jw_init(&w, &r->out, false);
    jw_object(&w);
    jw_key(&w, "active");
    jw_textz(&w, change->active);
    jw_key(&w, "previous");
    jw_textz(&w, change->previous);
    jw_key(&w, "warmed_requests");
    jw_i64(&w, (int64_t)change->warmed);
    jw_key(&w, "took_ms");
    jw_double(&w, (double)(uint64_t)(change->seconds * 1e6) / 1e3);
    jw_object_end(&w);
    sb_addc(&r->out, '\n');
    answer(r, 200, "application/json");
}

/* Who may do this runs the server: errors may name files. */
static void answer_problem(struct request *r, medley_status st, const medley_error *err)
{
    answer_error(r,
                 st == MEDLEY_EUNSUPPORTED                                           ? 409
                 : st == MEDLEY_EINVAL || st == MEDLEY_EFORMAT                       ? 400
                 : st == MEDLEY_EIO || st == MEDLEY_ESTALE || st == MEDLEY_ENOTFOUND ? 404
                                                                                     : 503,
                 "%s", err->message);
}

static void run_activate(struct job *job)
{
    struct request *r = (struct request *)job;
    struct bundle_request asked;
    struct server_change change = {0};
    medley_error err = {0};
    medley_status st = read_request(r, false, &asked, &err);
    if (!st)
        st = server_activate(r->server, asked.bundle ? asked.bundle : "current", &change, &err);
    if (st)
        answer_problem(r, st, &err);
    else
        answer_change(r, &change);
    json_free(asked.root);
    request_done(r);
}

/* {}: what is said all the same is not meant for this. */
static medley_status read_nothing(const struct request *r, medley_error *err)
{
    json *root = NULL;
    medley_status st = json_parse_within(sb_str(&r->body), "body", request_limits, &root, err);
    if (!st && (json_kind_of(root) != JSON_OBJECT || json_count(root)))
        st = fail(err, MEDLEY_EINVAL, "body: must be {}");
    json_free(root);
    return st;
}

static void run_rollback(struct job *job)
{
    struct request *r = (struct request *)job;
    struct server_change change = {0};
    medley_error err = {0};
    medley_status bad = read_nothing(r, &err);
    medley_status st = bad ? bad : roll_back(r->server, &change, &err);
    if (bad)
        answer_problem(r, bad, &err);
    else if (st)
        answer_error(r, 409, "%s", err.message);
    else
        answer_change(r, &change);
    request_done(r);
}

static medley_status set_shadow(struct server *s, const struct bundle_request *asked,
                                char id[SERVER_ID], medley_error *err)
{
    struct deployment *candidate = NULL;
    medley_status st = MEDLEY_OK;
    pthread_mutex_lock(&s->change_lock);
    if (asked->bundle)
        st = open_deployment(s, asked->bundle, &candidate, err);
    if (!st) {
        deployments_set_shadow(&s->deployments, candidate, asked->share);
        snprintf(id, SERVER_ID, "%s", candidate ? candidate->engine.id : "");
        deployment_leave(candidate);
    }
    pthread_mutex_unlock(&s->change_lock);
    return st;
}

static void run_shadow(struct job *job)
{
    struct request *r = (struct request *)job;
    struct bundle_request asked;
    char id[SERVER_ID] = "";
    medley_error err = {0};
    medley_status st = read_request(r, true, &asked, &err);
    if (!st)
        st = set_shadow(r->server, &asked, id, &err);
    if (st) {
        answer_problem(r, st, &err);
    } else {
        struct json_writer w;
        jw_init(&w, &r->out, false);
        jw_object(&w);
        jw_key(&w, "shadow");
        if (id[0])
            jw_textz(&w, id);
        else
            jw_null(&w);
        jw_key(&w, "share");
        jw_double(&w, id[0] ? asked.share : 0);
        jw_object_end(&w);
        sb_addc(&r->out, '\n');
        answer(r, 200, "application/json");
    }
    json_free(asked.root);
    request_done(r);
}

static enum handled submit(struct request *r, void (*run)(struct job *job))
{
    r->job.run = run;
    request_submit_to(r, r->server->admin_jobs);
    return SUBMITTED;
}

enum handled handle_activate(struct request *r)
{
    return submit(r, run_activate);
}

enum handled handle_rollback(struct request *r)
{
    return submit(r, run_rollback);
}

enum handled handle_shadow(struct request *r)
{
    return submit(r, run_shadow);
}
