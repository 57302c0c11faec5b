/* redis_private.h: what the files of the Redis tier share.
 *
 *   redis.c         looking up;  redis_writer.c  the thread that writes and watches
 *   redis_link.c    one connection;  resp.c  the protocol */
#ifndef CACHE_REDIS_PRIVATE_H
#define CACHE_REDIS_PRIVATE_H

#include "cache/outbox.h"
#include "cache/redis.h"
#include "cache/redis_link.h"

#include <pthread.h>

#define REDIS_EPOCHS "medley:epochs"
#define REDIS_KEY 80 /* bytes of a label's key, with its end */

struct redis {
    size_t n_classes;
    int64_t ttl_ms;
    double timeout; /* seconds, for a list */
    char *password; /* NULL: none */
    struct epochs *epochs;
    struct outbox *outbox;
    struct tier_counters counters;
    void (*warn)(void *context, const char *text);
    void *warn_context;
    atomic_bool up;
    atomic_uint failures;     /* in a row */
    atomic_bool warned;       /* since it was last up */
    pthread_mutex_t lock;     /* of all below */
    struct redis_place place; /* its address is the writer's to change, while not up */
    struct redis_link *idle;  /* at most MAX_IDLE */
    size_t n_idle;
    uint64_t rounds, rounds_done; /* of the writer; see disk_private.h */
    pthread_cond_t wake;
    /* the writer's own */
    pthread_t writer;
    bool has_writer;
    atomic_bool stopping;
    struct redis_link *link; /* NULL: not connected */
    double next_try, next_poll, pause;
    uint64_t newest_seen; /* epoch */
    bool refused;         /* a write, and that was warned of */
};

medley_status redis_start_writer(struct redis *r, medley_error *err);
void redis_stop_writer(struct redis *r);
/* An operation failed, or went well. */
void redis_failed(struct redis *r, const medley_error *why);
void redis_worked(struct redis *r);
void redis_key(uint64_t bundle, struct hash128 hash, char out[REDIS_KEY]);
/* ZADD of each. */
void redis_add_epoch(struct strbuf *out, struct hash128 product, uint64_t epoch);

#endif
