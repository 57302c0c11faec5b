/* label_levels.c: see label_levels.h. */
#include "cache/label_levels.h"

#include "base/error.h"
#include "base/memory.h"

#include <signal.h>
#include <string.h>
#include <time.h>

#define WEEK_MS (7 * 24 * 3600 * INT64_C(1000))
#define MOST_WAITING ((size_t)8 << 20) /* bytes */
#define GATHER_MS 20 /* labels that come within are one batch, and one fsync */

struct label_levels {
    struct label_levels_options o;
    struct label_disk *disk;
    struct label_redis *redis;
    pthread_mutex_t lock;
    pthread_cond_t wake, idle;
    struct label_batch filling; /* guarded by lock */
    struct label_batch writing; /* the writer's own */
    uint64_t dropped;
    bool busy, stopping, started;
    pthread_t writer;
};

static int64_t wall_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- the writer -------------------------------------------------------------------------- */

static void gather(void)
{
    nanosleep(&(struct timespec){.tv_nsec = GATHER_MS * 1000000L}, NULL);
}

static void *write_batches(void *context)
{
    struct label_levels *l = context;
    pthread_mutex_lock(&l->lock);
    for (;;) {
        while (l->filling.n == 0 && !l->stopping)
            pthread_cond_wait(&l->wake, &l->lock);
        if (l->filling.n == 0)
            break;
        if (!l->stopping) {
            pthread_mutex_unlock(&l->lock);
            gather();
            pthread_mutex_lock(&l->lock);
        }
        struct label_batch batch = l->filling;
        l->filling = l->writing;
        l->writing = batch;
        l->busy = true;
        pthread_mutex_unlock(&l->lock);
        if (l->disk)
            label_disk_write(l->disk, &l->writing);
        if (l->redis)
            label_redis_write(l->redis, &l->writing);
        label_batch_clear(&l->writing);
        pthread_mutex_lock(&l->lock);
        l->busy = false;
        pthread_cond_broadcast(&l->idle);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

static medley_status start_writer(struct label_levels *l, medley_error *err)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int e = pthread_create(&l->writer, NULL, write_batches, l);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    l->started = e == 0;
    if (l->started)
        pthread_setname_np(l->writer, "medley-cache");
    return e ? fail(err, MEDLEY_EIO, "cannot start the cache's writer: %s", strerror(e))
             : MEDLEY_OK;
}

/* ---- open and close ---------------------------------------------------------------------- */

medley_status label_levels_open(const struct label_levels_options *o, struct label_levels **out,
                                medley_error *err)
{
    struct label_levels *l = mem_zalloc(1, sizeof *l);
    if (!l)
        return fail_memory(err, "the label cache");
    l->o = *o;
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->wake, NULL);
    pthread_cond_init(&l->idle, NULL);
    sb_init(&l->filling.bytes);
    sb_init(&l->writing.bytes);
    medley_status st = MEDLEY_OK;
    if (o->folder)
        st = label_disk_open(o->folder, o->disk_bytes ? o->disk_bytes : (size_t)1 << 30,
                             &l->disk, err);
    if (!st && o->redis)
        st = label_redis_open(o->redis, o->redis_timeout_ms > 0 ? o->redis_timeout_ms : 20,
                              o->ttl_ms ? o->ttl_ms : WEEK_MS, &l->redis, err);
    if (!st)
        st = start_writer(l, err);
    if (st)
        label_levels_close(l);
    else
        *out = l;
    return st;
}

void label_levels_close(struct label_levels *l)
{
    if (!l)
        return;
    if (l->started) {
        pthread_mutex_lock(&l->lock);
        l->stopping = true;
        pthread_cond_broadcast(&l->wake);
        pthread_mutex_unlock(&l->lock);
        pthread_join(l->writer, NULL);
    }
    label_disk_close(l->disk);
    label_redis_close(l->redis);
    label_batch_deinit(&l->filling);
    label_batch_deinit(&l->writing);
    pthread_mutex_destroy(&l->lock);
    pthread_cond_destroy(&l->wake);
    pthread_cond_destroy(&l->idle);
    mem_free(l);
}

/* ---- reading and writing ----------------------------------------------------------------- */

/* What came from below goes up: from an older generation to the younger, from Redis to disk. */
static void write_again(struct label_levels *l, const struct label_batch *again)
{
    pthread_mutex_lock(&l->lock);
    for (size_t i = 0; i < again->n && l->filling.bytes.n < MOST_WAITING; i++) {
        const struct label_record *r = &again->records[i];
        label_batch_copy(&l->filling, r->hash, (struct str){again->bytes.s + r->at, r->n});
    }
    pthread_cond_signal(&l->wake);
    pthread_mutex_unlock(&l->lock);
}

void label_levels_get(struct label_levels *l, const struct label_key *keys, size_t n,
                      bool *found, medley_result *results, int64_t *stored_ms)
{
    struct label_batch again = {.n = 0};
    bool *had = mem_alloc(n + 1, sizeof *had);
    if (!had)
        return;
    sb_init(&again.bytes);
    memcpy(had, found, n * sizeof *had);
    if (l->disk)
        label_disk_get(l->disk, keys, n, l->o.n_classes, found, results, stored_ms, &again);
    if (l->redis)
        label_redis_get(l->redis, keys, n, l->o.n_classes, found, results, stored_ms,
                        l->disk ? &again : NULL);
    int64_t oldest = l->o.ttl_ms ? wall_ms() - l->o.ttl_ms : INT64_MIN;
    for (size_t i = 0; i < n; i++)
        if (!had[i] && found[i] && stored_ms[i] < oldest)
            found[i] = false;
    if (again.n)
        write_again(l, &again);
    label_batch_deinit(&again);
    mem_free(had);
}

void label_levels_put(struct label_levels *l, const struct label_key *keys,
                      const medley_result *values, size_t n)
{
    int64_t now = wall_ms();
    pthread_mutex_lock(&l->lock);
    for (size_t i = 0; i < n; i++) {
        if (l->filling.bytes.n < MOST_WAITING)
            label_batch_add(&l->filling, &keys[i], &values[i], l->o.n_classes, now);
        else
            l->dropped++;
    }
    pthread_cond_signal(&l->wake);
    pthread_mutex_unlock(&l->lock);
}

void label_levels_flush(struct label_levels *l)
{
    pthread_mutex_lock(&l->lock);
    while (l->filling.n || l->busy)
        pthread_cond_wait(&l->idle, &l->lock);
    pthread_mutex_unlock(&l->lock);
}

struct label_levels_stats label_levels_stats(struct label_levels *l)
{
    struct label_levels_stats s = {.has_disk = l->disk, .has_redis = l->redis};
    if (l->disk)
        s.disk = label_disk_stats(l->disk);
    if (l->redis)
        s.redis = label_redis_stats(l->redis);
    pthread_mutex_lock(&l->lock);
    s.waiting = l->filling.n;
    s.dropped = l->dropped;
    pthread_mutex_unlock(&l->lock);
    return s;
}
