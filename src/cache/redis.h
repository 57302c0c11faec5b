/* redis.h: the cache's third tier: labels in a Redis server (6.2 or newer), shared by several
 * servers of the same bundle.
 *
 * Looking up: one MGET a list, within a time limit for the whole of it, on a connection of its
 * own. Writing: SETs with an expiry (PX), pipelined, by one thread. After three failures in a
 * row nobody asks any more; the writer tries again in the background, ever more rarely up to
 * every five seconds, and lets the others know when it answers. So a dead Redis costs three
 * time limits, and then nothing.
 *
 * Invalidated products travel too: their epochs are members of a sorted set that every server
 * writes to and reads every second.
 *
 * Whoever can write to that Redis can change labels; records are checked for damage, not for
 * malice. Keys: medley:label:1:BUNDLE:HASH and medley:epochs. Proof: tests/test_redis.c. */
#ifndef CACHE_REDIS_H
#define CACHE_REDIS_H

#include "cache/epochs.h"
#include "cache/label_cache.h"

struct redis; /* opaque */

struct redis_options {
    const char *place;    /* redis_place_parse; borrowed until redis_open returns, as is: */
    const char *password; /* NULL: none */
    unsigned timeout_ms;  /* for a list */
    size_t n_classes;
    int64_t ttl_ms; /* 0: no limit; they expire after a week without being written, though */
    void (*warn)(void *context, const char *text);
    void *warn_context;
};

/* Whether the server is there is found out in the background. `epochs` must outlive it. Errors:
 * EINVAL (the place), ENOMEM, EIO (no thread). */
medley_status redis_open(const struct redis_options *o, struct epochs *epochs,
                         struct redis **out, medley_error *err);
void redis_close(struct redis *r); /* writes what waits, for a second at most; accepts NULL */

bool redis_up(struct redis *r); /* it is asked at present */
/* Looks up those that are not found yet; how many it found. */
size_t redis_find(struct redis *r, const struct label_list *list, const struct label_search *s);
/* False: it is not taken: Redis is away, or there is no room. */
bool redis_offer(struct redis *r, uint64_t bundle, const struct label_key *key,
                 const struct label *label);
/* Tells the other servers, now or as soon as Redis answers. */
void redis_tell_epochs(struct redis *r, const struct hash128 *products, size_t n,
                       uint64_t epoch);
/* Waits until what was offered before is written or given up. */
void redis_flush(struct redis *r);
void redis_stats(struct redis *r, struct tier_stats *out);

#endif
