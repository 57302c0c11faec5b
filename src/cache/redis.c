/* redis.c: looking labels up in Redis, and whether it is there at all; redis.h says what for.
 */
#include "cache/redis_private.h"

#include "base/cpu.h"
#include "base/error.h"
#include "base/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define MAX_IDLE 8
#define MAX_FAILURES 3
#define OUTBOX_BYTES ((size_t)4 << 20)

/* ---- opening ----------------------------------------------------------------------------- */

medley_status redis_open(const struct redis_options *o, struct epochs *epochs,
                         struct redis **out, medley_error *err)
{
    struct redis *r = mem_zalloc(1, sizeof *r);
    if (!r)
        return fail_memory(err, "the cache's Redis tier");
    r->n_classes = o->n_classes;
    r->ttl_ms = o->ttl_ms;
    r->timeout = o->timeout_ms / 1e3;
    r->epochs = epochs;
    r->warn = o->warn;
    r->warn_context = o->warn_context;
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->wake, NULL);
    medley_status st = redis_place_parse(o->place, &r->place, err);
    if (!st && o->password && !(r->password = mem_strdup(o->password)))
        st = fail_memory(err, "a password");
    if (!st && !(r->outbox = outbox_new(OUTBOX_BYTES)))
        st = fail_memory(err, "the cache's Redis tier");
    if (!st)
        st = redis_start_writer(r, err);
    if (st)
        redis_close(r);
    else
        *out = r;
    return st;
}

void redis_close(struct redis *r)
{
    if (!r)
        return;
    redis_stop_writer(r);
    for (struct redis_link *l = r->idle, *next; l; l = next) {
        next = l->next;
        redis_link_close(l);
    }
    redis_link_close(r->link);
    outbox_free(r->outbox);
    redis_place_deinit(&r->place);
    mem_free(r->password);
    pthread_cond_destroy(&r->wake);
    pthread_mutex_destroy(&r->lock);
    mem_free(r);
}

/* ---- is it there? ------------------------------------------------------------------------ */

bool redis_up(struct redis *r)
{
    return atomic_load(&r->up);
}

void redis_failed(struct redis *r, const medley_error *why)
{
    tier_count(&r->counters.errors, 1);
    if (atomic_fetch_add(&r->failures, 1) + 1 >= MAX_FAILURES)
        atomic_store(&r->up, false);
    if (atomic_exchange(&r->warned, true) || !r->warn)
        return;
    char text[sizeof why->message + 64];
    snprintf(text, sizeof text, "label cache: %s; serving goes on without", why->message);
    r->warn(r->warn_context, text);
}

void redis_worked(struct redis *r)
{
    if (atomic_load_explicit(&r->failures, memory_order_relaxed))
        atomic_store(&r->failures, 0);
}

/* ---- connections ------------------------------------------------------------------------- */

static struct redis_link *take_idle(struct redis *r, struct redis_place *place)
{
    pthread_mutex_lock(&r->lock);
    struct redis_link *l = r->idle;
    if (l) {
        r->idle = l->next;
        r->n_idle--;
    }
    *place = r->place;
    pthread_mutex_unlock(&r->lock);
    return l;
}

static medley_status take_link(struct redis *r, double deadline, struct redis_link **out,
                               medley_error *err)
{
    struct redis_place place; /* its texts stay r's, which does not change them */
    *out = take_idle(r, &place);
    if (*out)
        return MEDLEY_OK;
    return place.length ? redis_link_open(&place, r->password, deadline, out, err)
                        : fail(err, MEDLEY_EIO, "redis has no address yet");
}

static void give_back(struct redis *r, struct redis_link *l)
{
    pthread_mutex_lock(&r->lock);
    bool room = r->n_idle < MAX_IDLE;
    if (room) {
        l->next = r->idle;
        r->idle = l;
        r->n_idle++;
    }
    pthread_mutex_unlock(&r->lock);
    if (!room)
        redis_link_close(l);
}

/* ---- looking up -------------------------------------------------------------------------- */

void redis_key(uint64_t bundle, struct hash128 hash, char out[REDIS_KEY])
{
    snprintf(out, REDIS_KEY, "medley:label:1:%016" PRIx64 ":%016" PRIx64 "%016" PRIx64, bundle,
             hash.high, hash.low);
}

static size_t count_missing(const struct label_list *list, const struct label_search *s)
{
    size_t missing = 0;
    for (size_t i = 0; i < list->n; i++)
        missing += s->stored_ms[i] < 0;
    return missing;
}

static medley_status send_mget(struct redis_link *l, const struct label_list *list,
                               const struct label_search *s, double deadline, medley_error *err)
{
    struct strbuf bytes;
    sb_init(&bytes);
    resp_command(&bytes, 1 + count_missing(list, s));
    resp_argument(&bytes, STR("MGET"));
    for (size_t i = 0; i < list->n; i++) {
        char key[REDIS_KEY];
        if (s->stored_ms[i] >= 0)
            continue;
        redis_key(list->bundle, label_list_key(list, i).hash, key);
        resp_argument(&bytes, str_of(key));
    }
    medley_status st = bytes.failed ? fail_memory(err, "a command")
                                    : redis_link_send(l, sb_str(&bytes), deadline, err);
    sb_deinit(&bytes);
    return st;
}

static medley_status refuse(const struct resp *reply, medley_error *err)
{
    return fail(err, MEDLEY_EIO, "redis answers: %.*s", (int)reply->text.n,
                reply->text.n ? reply->text.s : "something else");
}

/* Replies stand in the order of the keys, so what is missing must be known from before. */
static medley_status read_labels(struct redis *r, struct redis_link *l,
                                 const struct label_list *list, const struct label_search *s,
                                 double deadline, size_t *found, medley_error *err)
{
    struct resp reply;
    medley_status st = redis_link_reply(l, deadline, &reply, err);
    if (!st && (reply.kind != RESP_ARRAY || (size_t)reply.number != count_missing(list, s)))
        st = refuse(&reply, err);
    for (size_t i = 0; !st && i < list->n; i++) {
        struct label label = {.result = &s->results[i]};
        if (s->stored_ms[i] >= 0)
            continue;
        st = redis_link_reply(l, deadline, &reply, err);
        if (st || reply.kind == RESP_NIL)
            continue;
        if (reply.kind != RESP_TEXT) {
            st = refuse(&reply, err);
            continue;
        }
        struct label_key key = label_list_key(list, i);
        if (tier_read_record(&r->counters, reply.text, &key, r->n_classes, s, r->ttl_ms,
                             &label) == LABEL_SEEN) {
            s->stored_ms[i] = label.stored_ms;
            ++*found;
        }
    }
    return st;
}

size_t redis_find(struct redis *r, const struct label_list *list, const struct label_search *s)
{
    struct redis_link *link = NULL;
    medley_error err = {0};
    size_t found = 0, missing = count_missing(list, s);
    double started = clock_seconds(), deadline = started + r->timeout;
    if (missing == 0 || !redis_up(r))
        return 0;
    medley_status st = take_link(r, deadline, &link, &err);
    if (!st)
        st = send_mget(link, list, s, deadline, &err);
    if (!st)
        st = read_labels(r, link, list, s, deadline, &found, &err);
    if (st) { /* what is left on the connection belongs to this list: nobody else may read it */
        redis_link_close(link);
        redis_failed(r, &err);
    } else {
        give_back(r, link);
        redis_worked(r);
    }
    tier_count(&r->counters.hits, found);
    tier_count(&r->counters.misses, missing - found);
    tier_took(&r->counters, clock_seconds() - started);
    return found;
}

bool redis_offer(struct redis *r, uint64_t bundle, const struct label_key *key,
                 const struct label *label)
{
    bool taken = redis_up(r) && outbox_add(r->outbox, bundle, key, label, r->n_classes);
    tier_count(&r->counters.dropped, !taken);
    return taken;
}

void redis_stats(struct redis *r, struct tier_stats *out)
{
    *out = (struct tier_stats){.name = "redis", .up = redis_up(r)};
    tier_read(&r->counters, out);
    out->waiting = outbox_waiting(r->outbox);
}
