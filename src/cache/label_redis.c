/* label_redis.c: see label_redis.h. */
#include "cache/label_redis.h"

#include "base/cpu.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/progress.h"

#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { IDLE = 16, FAILURES = 3, PIPELINE = 256, KEY = 7 + 16 };
#define LEFT_ALONE 1.0 /* seconds */

struct label_redis {
    char host[256]; /* or the path of a socket */
    int port;       /* 0: a socket */
    int database;
    struct timeval timeout;
    int64_t ttl_ms;
    struct breaker breaker;
    pthread_mutex_t lock;
    redisContext *idle[IDLE];
    size_t n_idle;
    atomic_uint_least64_t hits, misses, damaged, written, errors;
};

/* ---- the address ------------------------------------------------------------------------- */

static bool take_number(struct str text, uint64_t most, int *out)
{
    uint64_t v;
    if (!str_to_u64(text, &v) || v > most)
        return false;
    *out = (int)v;
    return true;
}

static bool take_host(struct label_redis *r, struct str host)
{
    if (host.n == 0 || host.n >= sizeof r->host)
        return false;
    memcpy(r->host, host.s, host.n);
    return true;
}

static bool take_address(struct label_redis *r, struct str a)
{
    const char *mark = a.n ? memrchr(a.s, a.s[0] == '/' ? '#' : '/', a.n) : NULL;
    if (mark) {
        struct str database = {mark + 1, (size_t)(a.s + a.n - mark - 1)};
        if (!take_number(database, 15, &r->database))
            return false;
        a.n = (size_t)(mark - a.s);
    }
    if (a.n && a.s[0] == '/')
        return take_host(r, a);
    r->port = 6379;
    const char *colon = memrchr(a.s ? a.s : "", ':', a.n),
               *bracket = memrchr(a.s ? a.s : "", ']', a.n);
    if (colon && (!bracket || colon > bracket)) {
        struct str port = {colon + 1, (size_t)(a.s + a.n - colon - 1)};
        if (!take_number(port, UINT16_MAX, &r->port) || r->port == 0)
            return false;
        a.n = (size_t)(colon - a.s);
    }
    if (a.n > 2 && a.s[0] == '[' && a.s[a.n - 1] == ']')
        a = (struct str){a.s + 1, a.n - 2};
    return take_host(r, a);
}

medley_status label_redis_open(const char *address, double timeout_ms, int64_t ttl_ms,
                               struct label_redis **out, medley_error *err)
{
    struct label_redis *r = mem_zalloc(1, sizeof *r);
    if (!r)
        return fail_memory(err, "the Redis client");
    r->timeout.tv_sec = (time_t)(timeout_ms / 1e3);
    r->timeout.tv_usec = (suseconds_t)((timeout_ms - (double)r->timeout.tv_sec * 1e3) * 1e3);
    r->ttl_ms = ttl_ms;
    breaker_init(&r->breaker, FAILURES, LEFT_ALONE);
    pthread_mutex_init(&r->lock, NULL);
    if (!take_address(r, str_of(address))) {
        label_redis_close(r);
        return fail(err, MEDLEY_EINVAL,
                    "redis: '%s' is no address (expected host:port or /path/to/socket)",
                    address);
    }
    *out = r;
    return MEDLEY_OK;
}

void label_redis_close(struct label_redis *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->n_idle; i++)
        redisFree(r->idle[i]);
    breaker_deinit(&r->breaker);
    pthread_mutex_destroy(&r->lock);
    mem_free(r);
}

/* ---- connections ------------------------------------------------------------------------- */

static bool is_good(redisReply *reply)
{
    bool good = reply && reply->type != REDIS_REPLY_ERROR;
    if (reply)
        freeReplyObject(reply);
    return good;
}

static bool introduce(const struct label_redis *r, redisContext *c)
{
    const char *password = getenv("MEDLEY_REDIS_PASSWORD");
    if (redisSetTimeout(c, r->timeout) != REDIS_OK)
        return false;
    if (password && *password && !is_good(redisCommand(c, "AUTH %s", password)))
        return false;
    return r->database == 0 || is_good(redisCommand(c, "SELECT %d", r->database));
}

static redisContext *take(struct label_redis *r)
{
    redisContext *c = NULL;
    pthread_mutex_lock(&r->lock);
    if (r->n_idle)
        c = r->idle[--r->n_idle];
    pthread_mutex_unlock(&r->lock);
    if (c)
        return c;
    c = r->port ? redisConnectWithTimeout(r->host, r->port, r->timeout)
                : redisConnectUnixWithTimeout(r->host, r->timeout);
    if (c && (c->err || !introduce(r, c))) {
        redisFree(c);
        c = NULL;
    }
    return c;
}

/* A connection on which something went wrong may be in the midst of an answer: it is not used
 * again, nor are the others, which are likely to be dead as well. */
static void give(struct label_redis *r, redisContext *c, bool good)
{
    pthread_mutex_lock(&r->lock);
    bool keep = c && good && r->n_idle < IDLE;
    if (keep)
        r->idle[r->n_idle++] = c;
    while (!good && r->n_idle)
        redisFree(r->idle[--r->n_idle]);
    pthread_mutex_unlock(&r->lock);
    if (c && !keep)
        redisFree(c);
}

static void settle(struct label_redis *r, redisContext *c, bool good)
{
    char why[128] = "no connection";
    if (c && c->err)
        snprintf(why, sizeof why, "%.127s", c->errstr);
    give(r, c, good);
    breaker_leave(&r->breaker, good, clock_seconds());
    if (good)
        return;
    uint64_t times = atomic_fetch_add(&r->errors, 1) + 1;
    if ((times & (times - 1)) == 0)
        progress_note("without Redis at %s, %" PRIu64 " times so far: %s", r->host, times, why);
}

static void make_key(struct hash128 hash, char out[KEY])
{
    static const char prefix[7] = {'m', 'e', 'd', 'l', 'e', 'y', ':'};
    memcpy(out, prefix, sizeof prefix);
    memcpy(out + sizeof prefix, &hash, sizeof hash);
}

/* ---- reading ----------------------------------------------------------------------------- */

/* The keys that are not found yet: arguments of MGET. */
static redisReply *ask(redisContext *c, const struct label_key *keys, size_t n,
                       const bool *found)
{
    char(*names)[KEY] = mem_alloc(n, sizeof *names);
    const char **arguments = mem_alloc(n + 1, sizeof *arguments);
    size_t *lengths = mem_alloc(n + 1, sizeof *lengths), used = 1;
    redisReply *reply = NULL;
    if (names && arguments && lengths) {
        arguments[0] = "MGET";
        lengths[0] = 4;
        for (size_t i = 0; i < n; i++) {
            if (found[i])
                continue;
            make_key(keys[i].hash, names[i]);
            arguments[used] = names[i];
            lengths[used++] = KEY;
        }
        reply = redisCommandArgv(c, (int)used, arguments, lengths);
    }
    mem_free(names);
    mem_free(arguments);
    mem_free(lengths);
    return reply;
}

void label_redis_get(struct label_redis *r, const struct label_key *keys, size_t n,
                     size_t n_classes, bool *found, medley_result *results, int64_t *stored_ms,
                     struct label_batch *again)
{
    size_t missing = 0, hits = 0;
    for (size_t i = 0; i < n; i++)
        missing += !found[i];
    if (!missing || !breaker_enter(&r->breaker, clock_seconds()))
        return;
    redisContext *c = take(r);
    redisReply *reply = c ? ask(c, keys, n, found) : NULL;
    bool good = reply && reply->type == REDIS_REPLY_ARRAY && reply->elements == missing;
    for (size_t i = 0, at = 0; i < n && good; i++) {
        if (found[i])
            continue;
        const redisReply *one = reply->element[at++];
        if (one->type != REDIS_REPLY_STRING)
            continue;
        struct str bytes = {one->str, one->len};
        enum label_found f =
            label_value_read(bytes, &keys[i], n_classes, &results[i], &stored_ms[i]);
        found[i] = f == LABEL_FOUND;
        hits += found[i];
        if (found[i] && again)
            label_batch_copy(again, keys[i].hash, bytes);
        if (f == LABEL_DAMAGED)
            atomic_fetch_add(&r->damaged, 1);
    }
    if (reply)
        freeReplyObject(reply);
    settle(r, c, good);
    atomic_fetch_add(&r->hits, hits);
    atomic_fetch_add(&r->misses, missing - hits);
}

/* ---- writing ----------------------------------------------------------------------------- */

static bool write_part(struct label_redis *r, redisContext *c, const struct label_batch *b,
                       size_t begin, size_t end)
{
    char ttl[24];
    bool good = true;
    snprintf(ttl, sizeof ttl, "%" PRId64, r->ttl_ms);
    for (size_t i = begin; i < end && good; i++) {
        const struct label_record *record = &b->records[i];
        char key[KEY];
        make_key(record->hash, key);
        const char *arguments[] = {"SET", key, b->bytes.s + record->at, "PX", ttl};
        const size_t lengths[] = {3, KEY, record->n, 2, strlen(ttl)};
        good = redisAppendCommandArgv(c, 5, arguments, lengths) == REDIS_OK;
    }
    for (size_t i = begin; i < end && good; i++) {
        void *reply = NULL;
        good = redisGetReply(c, &reply) == REDIS_OK && is_good(reply);
    }
    return good;
}

bool label_redis_write(struct label_redis *r, const struct label_batch *b)
{
    if (b->n == 0 || !breaker_enter(&r->breaker, clock_seconds()))
        return b->n == 0;
    redisContext *c = take(r);
    bool good = c;
    size_t done = 0;
    while (done < b->n && good) {
        size_t end = done + PIPELINE < b->n ? done + PIPELINE : b->n;
        good = write_part(r, c, b, done, end);
        done = good ? end : done;
    }
    settle(r, c, good);
    atomic_fetch_add(&r->written, done);
    return good;
}

struct label_redis_stats label_redis_stats(struct label_redis *r)
{
    return (struct label_redis_stats){.hits = atomic_load(&r->hits),
                                      .misses = atomic_load(&r->misses),
                                      .damaged = atomic_load(&r->damaged),
                                      .written = atomic_load(&r->written),
                                      .errors = atomic_load(&r->errors),
                                      .state = breaker_state(&r->breaker, clock_seconds())};
}
