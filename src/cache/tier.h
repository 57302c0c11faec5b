/* tier.h: what the tiers of the cache share: what is searched for, what they count. */
#ifndef CACHE_TIER_H
#define CACHE_TIER_H

#include "cache/label_record.h"

#include <stdatomic.h>

struct label_search {
    int64_t now_ms;         /* since 1970 */
    int64_t max_age_ms;     /* besides the TTL; -1: any age */
    medley_result *results; /* [n] of the list */
    int64_t *stored_ms;     /* [n] -1: not found yet; those that are found are not looked up */
};

enum { TIER_MEMORY, TIER_DISK, TIER_REDIS, TIERS };
#define TIER_BUCKETS 8                             /* tier_limits and one for all slower */
extern const double tier_limits[TIER_BUCKETS - 1]; /* seconds */

/* Lock-free; relaxed. */
struct tier_counters {
    atomic_uint_least64_t hits, misses;
    atomic_uint_least64_t stale;   /* there, but too old; also misses */
    atomic_uint_least64_t damaged; /* there, but no label, or another key's; also misses */
    atomic_uint_least64_t written,
        dropped;                   /* offered: stored, or lost for want of room or time */
    atomic_uint_least64_t errors;  /* operations that failed, for a list or a batch */
    atomic_uint_least64_t evicted; /* for want of room */
    atomic_uint_least64_t
        lists[TIER_BUCKETS];       /* looked up, by how long it took; not cumulated */
    atomic_uint_least64_t list_ns; /* their sum */
};

struct tier_stats {
    const char *name;                   /* static: "memory", "lmdb", "redis" */
    bool up;                            /* is asked */
    uint64_t entries, bytes, max_bytes; /* 0: unknown */
    uint64_t waiting;                   /* labels to be written */
    uint64_t hits, misses, stale, damaged, written, dropped, errors, evicted;
    uint64_t lists[TIER_BUCKETS], list_ns;
};

enum label_sight {
    LABEL_ABSENT, /* nothing, or nothing that can be read */
    LABEL_STALE,  /* too old, or from the future, which has no age to go by */
    LABEL_SEEN
};
enum label_sight tier_judge_age(int64_t stored_ms, const struct label_search *s,
                                int64_t ttl_ms);
/* What a record is worth to the search; counts what is wrong with it. */
enum label_sight tier_read_record(struct tier_counters *c, struct str record,
                                  const struct label_key *key, size_t n_classes,
                                  const struct label_search *s, int64_t ttl_ms,
                                  struct label *out);

void tier_count(atomic_uint_least64_t *counter, uint64_t n);
/* One list was looked up. */
void tier_took(struct tier_counters *c, double seconds);
/* Copies the counters; the rest of *out stays. */
void tier_read(const struct tier_counters *c, struct tier_stats *out);

#endif
