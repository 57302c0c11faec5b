/* redis_writer.c: the thread that writes labels to Redis, finds out whether it is there, and
 * passes on which products were invalidated; redis.h says what for. */
#include "cache/redis_private.h"

#include "base/cpu.h"
#include "base/error.h"
#include "base/memory.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define ENOUGH ((size_t)64 << 10) /* bytes that are worth sending at once */
#define ROUND_MS 50               /* else so often */
#define PIPELINE 256              /* commands that are sent before their replies are read */
#define PATIENCE 1.0              /* seconds for a pipeline: nobody waits for it */
#define COMMAND_SECONDS 5e-5      /* and for each command of it */
#define MANY_SECONDS 10.0         /* for all that were ever invalidated */
#define POLL_SECONDS 1.0          /* between looks at what others have invalidated */
#define FIRST_PAUSE 0.1           /* between attempts to connect; doubles up to: */
#define LONGEST_PAUSE 5.0
#define LIFE_MS INT64_C(604800000) /* a week, where there is no TTL */
#define SKEW_MS 60000              /* the clocks of servers may differ by that */

/* ---- pipelines --------------------------------------------------------------------------- */

/* Sends what was collected and reads so many replies; those that are no errors. */
static medley_status run_pipeline(struct redis_link *l, struct strbuf *commands, size_t n,
                                  size_t *good, medley_error *err)
{
    struct resp reply;
    double deadline = clock_seconds() + PATIENCE + (double)n * COMMAND_SECONDS;
    medley_status st = commands->failed ? fail_memory(err, "commands")
                                        : redis_link_send(l, sb_str(commands), deadline, err);
    for (size_t i = 0; !st && i < n; i++) {
        st = redis_link_reply(l, deadline, &reply, err);
        if (!st && reply.kind == RESP_ERROR)
            fail(err, MEDLEY_EIO, "redis answers: %.*s", (int)reply.text.n, reply.text.s);
        *good += !st && reply.kind != RESP_ERROR;
    }
    sb_clear(commands);
    return st;
}

static int64_t life_of(const struct redis *r, int64_t stored_ms, int64_t now)
{
    if (r->ttl_ms == 0)
        return LIFE_MS;
    return stored_ms + r->ttl_ms - now;
}

static void add_set(struct strbuf *out, const struct outbox_item *item, int64_t life)
{
    char key[REDIS_KEY], px[24];
    redis_key(item->bundle, item->hash, key);
    snprintf(px, sizeof px, "%" PRId64, life);
    resp_command(out, 5);
    resp_argument(out, STR("SET"));
    resp_argument(out, str_of(key));
    resp_argument(out, (struct str){item->record, item->n});
    resp_argument(out, STR("PX"));
    resp_argument(out, str_of(px));
}

void redis_add_epoch(struct strbuf *out, struct hash128 product, uint64_t epoch)
{
    char member[33], score[24];
    hash_text(product, member);
    snprintf(score, sizeof score, "%" PRIu64, epoch);
    resp_command(out, 5);
    resp_argument(out, STR("ZADD"));
    resp_argument(out, STR(REDIS_EPOCHS));
    resp_argument(out, STR("GT"));
    resp_argument(out, str_of(score));
    resp_argument(out, str_of(member));
}

/* ---- epochs ------------------------------------------------------------------------------ */

static bool hex_to_u64(const char *s, uint64_t *out)
{
    uint64_t v = 0;
    for (size_t i = 0; i < 16; i++) {
        const char *digits = "0123456789abcdef", *at = s[i] ? strchr(digits, s[i]) : NULL;
        if (!at)
            return false;
        v = v << 4 | (uint64_t)(at - digits);
    }
    *out = v;
    return true;
}

/* The inverse of hash_text, which writes the high half first. */
static bool product_of(struct str text, struct hash128 *out)
{
    return text.n == 32 && hex_to_u64(text.s, &out->high) && hex_to_u64(text.s + 16, &out->low);
}

/* One member and its score. */
static medley_status read_epoch(struct redis *r, double deadline, medley_error *err)
{
    struct resp reply;
    struct hash128 product;
    double score;
    bool everything;
    medley_status st = redis_link_reply(r->link, deadline, &reply, err);
    bool known = !st && reply.kind == RESP_TEXT && product_of(reply.text, &product);
    if (!st)
        st = redis_link_reply(r->link, deadline, &reply, err);
    if (st)
        return st;
    if (!known || reply.kind != RESP_TEXT || !str_to_double(reply.text, &score) || score < 1 ||
        score > 0x1p53)
        return MEDLEY_OK; /* not ours */
    uint64_t epoch = (uint64_t)score;
    epochs_set(r->epochs, product, epoch, &everything);
    if (epoch > r->newest_seen)
        r->newest_seen = epoch;
    return MEDLEY_OK;
}

/* What others have invalidated since we last looked. */
static medley_status poll_epochs(struct redis *r, medley_error *err)
{
    struct strbuf bytes;
    struct resp reply;
    char from[24];
    double deadline = clock_seconds() + (r->newest_seen ? PATIENCE : MANY_SECONDS);
    uint64_t since = r->newest_seen > SKEW_MS ? r->newest_seen - SKEW_MS : 0;
    snprintf(from, sizeof from, "%" PRIu64, since);
    sb_init(&bytes);
    resp_command(&bytes, 5);
    resp_argument(&bytes, STR("ZRANGEBYSCORE"));
    resp_argument(&bytes, STR(REDIS_EPOCHS));
    resp_argument(&bytes, str_of(from));
    resp_argument(&bytes, STR("+inf"));
    resp_argument(&bytes, STR("WITHSCORES"));
    medley_status st = bytes.failed ? fail_memory(err, "a command")
                                    : redis_link_send(r->link, sb_str(&bytes), deadline, err);
    sb_deinit(&bytes);
    if (!st)
        st = redis_link_reply(r->link, deadline, &reply, err);
    if (!st && (reply.kind != RESP_ARRAY || reply.number % 2))
        st = fail(err, MEDLEY_EIO, "redis answers: %.*s", (int)reply.text.n,
                  reply.text.n ? reply.text.s : "something else");
    for (int64_t i = 0; !st && i < reply.number / 2; i++)
        st = read_epoch(r, deadline, err);
    return st;
}

struct telling {
    struct redis *r;
    struct strbuf all; /* commands: epochs_each holds a lock, which is no time to wait */
    size_t n;
};

static void collect_epoch(void *context, struct hash128 product, uint64_t epoch)
{
    struct telling *t = context;
    redis_add_epoch(&t->all, product, epoch);
    t->n++;
}

/* All that we know, since some of it may have happened while Redis was away; and those that are
 * older than any label are forgotten. */
static medley_status tell_all_epochs(struct redis *r, medley_error *err)
{
    struct telling t = {.r = r};
    char before[24];
    size_t good = 0;
    sb_init(&t.all);
    epochs_each(r->epochs, collect_epoch, &t);
    int64_t life = r->ttl_ms ? r->ttl_ms : LIFE_MS;
    snprintf(before, sizeof before, "%" PRId64, label_cache_now() - life - SKEW_MS);
    resp_command(&t.all, 4);
    resp_argument(&t.all, STR("ZREMRANGEBYSCORE"));
    resp_argument(&t.all, STR(REDIS_EPOCHS));
    resp_argument(&t.all, STR("-inf"));
    resp_argument(&t.all, str_of(before));
    medley_status st = run_pipeline(r->link, &t.all, t.n + 1, &good, err);
    sb_deinit(&t.all);
    if (!st && good < t.n + 1)
        st = MEDLEY_EIO; /* the message is there: too old a server, or read-only */
    return st;
}

void redis_tell_epochs(struct redis *r, const struct hash128 *products, size_t n,
                       uint64_t epoch)
{
    struct strbuf commands;
    /* A connection of its own: the caller waits, and this is rare. */
    struct redis_link *link = NULL;
    medley_error err = {0};
    size_t good = 0;
    if (!redis_up(r))
        return; /* told when it is back */
    pthread_mutex_lock(&r->lock);
    struct redis_place place = r->place;
    pthread_mutex_unlock(&r->lock);
    sb_init(&commands);
    for (size_t i = 0; i < n; i++)
        redis_add_epoch(&commands, products[i], epoch);
    medley_status st =
        redis_link_open(&place, r->password, clock_seconds() + r->timeout, &link, &err);
    if (!st)
        st = run_pipeline(link, &commands, n, &good, &err);
    if (st || good < n) {
        redis_failed(r, &err);
        atomic_store(&r->up, false); /* so that all is told when the connection is made anew */
    }
    redis_link_close(link);
    sb_deinit(&commands);
}

/* ---- coming and going -------------------------------------------------------------------- */

/* Connections from before may lead nowhere. */
static void drop_idle(struct redis *r)
{
    pthread_mutex_lock(&r->lock);
    struct redis_link *l = r->idle;
    r->idle = NULL;
    r->n_idle = 0;
    pthread_mutex_unlock(&r->lock);
    while (l) {
        struct redis_link *next = l->next;
        redis_link_close(l);
        l = next;
    }
}

static medley_status connect_anew(struct redis *r, medley_error *err)
{
    pthread_mutex_lock(&r->lock);
    struct redis_place place = r->place;
    pthread_mutex_unlock(&r->lock);
    if (place.host)
        place.length = 0; /* its address may have changed */
    medley_status st =
        redis_link_open(&place, r->password, clock_seconds() + PATIENCE, &r->link, err);
    if (!st) {
        pthread_mutex_lock(&r->lock);
        r->place.address = place.address;
        r->place.length = place.length;
        pthread_mutex_unlock(&r->lock);
        r->newest_seen = 0;
        st = poll_epochs(r, err);
    }
    if (!st)
        st = tell_all_epochs(r, err);
    return st;
}

static void lose_link(struct redis *r, const medley_error *why)
{
    redis_link_close(r->link);
    r->link = NULL;
    redis_failed(r, why);
    atomic_store(&r->up, false);
}

static void try_again(struct redis *r)
{
    medley_error err = {0};
    double now = clock_seconds();
    if (now < r->next_try)
        return;
    redis_link_close(r->link);
    r->link = NULL;
    drop_idle(r);
    if (connect_anew(r, &err)) {
        lose_link(r, &err);
        r->pause = r->pause * 2 < FIRST_PAUSE ? FIRST_PAUSE : r->pause * 2;
        r->pause = r->pause > LONGEST_PAUSE ? LONGEST_PAUSE : r->pause;
        r->next_try = clock_seconds() + r->pause;
        return;
    }
    r->pause = 0;
    r->next_try = 0;
    r->next_poll = clock_seconds() + POLL_SECONDS;
    atomic_store(&r->failures, 0);
    atomic_store(&r->warned, false);
    atomic_store(&r->up, true);
}

/* ---- the thread -------------------------------------------------------------------------- */

static void warn_refused(struct redis *r, const medley_error *why)
{
    char text[sizeof why->message + 64];
    tier_count(&r->counters.errors, 1);
    if (r->refused || !r->warn)
        return;
    r->refused = true;
    snprintf(text, sizeof text, "label cache: %s; labels are not kept there", why->message);
    r->warn(r->warn_context, text);
}

/* Sends up to PIPELINE of them; where the next begins. */
static struct outbox_item *write_some(struct redis *r, struct outbox_item *first)
{
    struct strbuf commands;
    medley_error err = {0};
    size_t sent = 0, good = 0, late = 0;
    int64_t now = label_cache_now();
    struct outbox_item *i = first;
    sb_init(&commands);
    for (; i && sent < PIPELINE; i = i->next) {
        int64_t life = life_of(r, i->stored_ms, now);
        if (life > 0)
            add_set(&commands, i, life);
        sent += life > 0;
        late += life <= 0;
    }
    medley_status st = run_pipeline(r->link, &commands, sent, &good, &err);
    sb_deinit(&commands);
    tier_count(&r->counters.written, good);
    tier_count(&r->counters.dropped, sent - good + late);
    if (st)
        lose_link(r, &err);
    else if (good < sent) /* out of memory, say: the server is there, but takes nothing */
        warn_refused(r, &err);
    return i;
}

static void write_items(struct redis *r, struct outbox_item *first)
{
    struct outbox_item *rest = first;
    while (rest && redis_up(r) && r->link)
        rest = write_some(r, rest);
    for (; rest; rest = rest->next)
        tier_count(&r->counters.dropped, 1);
    for (struct outbox_item *i = first, *next; i; i = next) {
        next = i->next;
        mem_free(i);
    }
}

static void watch(struct redis *r)
{
    medley_error err = {0};
    if (!redis_up(r)) {
        try_again(r);
    } else if (clock_seconds() > r->next_poll) {
        if (poll_epochs(r, &err))
            lose_link(r, &err);
        r->next_poll = clock_seconds() + POLL_SECONDS;
    }
}

static void *write_labels(void *context)
{
    struct redis *r = context;
    for (;;) {
        pthread_mutex_lock(&r->lock);
        uint64_t round = r->rounds;
        bool awaited = round > r->rounds_done;
        pthread_mutex_unlock(&r->lock);
        bool last = atomic_load(&r->stopping);
        if (!last)
            watch(r);
        write_items(r, outbox_take(r->outbox, ENOUGH, awaited || last ? 0 : ROUND_MS));
        pthread_mutex_lock(&r->lock);
        r->rounds_done = round;
        pthread_cond_broadcast(&r->wake);
        pthread_mutex_unlock(&r->lock);
        if (last)
            return NULL;
    }
}

medley_status redis_start_writer(struct redis *r, medley_error *err)
{
    sigset_t all, old;
    sigfillset(&all); /* signals are for the host's own threads */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int e = pthread_create(&r->writer, NULL, write_labels, r);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (e)
        return fail(err, MEDLEY_EIO, "cannot start the cache's writer: %s", strerror(e));
    pthread_setname_np(r->writer, "medley-redis");
    r->has_writer = true;
    return MEDLEY_OK;
}

void redis_stop_writer(struct redis *r)
{
    if (!r->has_writer)
        return;
    atomic_store(&r->stopping, true);
    outbox_hurry(r->outbox);
    pthread_join(r->writer, NULL);
    r->has_writer = false;
}

void redis_flush(struct redis *r)
{
    pthread_mutex_lock(&r->lock);
    uint64_t mine = ++r->rounds;
    outbox_hurry(r->outbox);
    while (r->rounds_done < mine)
        pthread_cond_wait(&r->wake, &r->lock);
    pthread_mutex_unlock(&r->lock);
}
