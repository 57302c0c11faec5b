/* label_levels.h: the levels below memory: disk (label_disk.h), then Redis (label_redis.h),
 * either or both. A request reads them when memory does not have its whole list; writing is
 * done by a thread of its own, so that no request waits for a disk or a network. What Redis
 * knew goes to disk, too. Proof: tests/test_cache_levels.c. */
#ifndef CACHE_LABEL_LEVELS_H
#define CACHE_LABEL_LEVELS_H

#include "cache/label_redis.h"

struct label_levels; /* opaque */

struct label_levels_options {
    const char *folder;      /* of LMDB; NULL: no disk */
    size_t disk_bytes;       /* 0: [1 GiB] */
    const char *redis;       /* address; NULL: none */
    double redis_timeout_ms; /* 0: [20] */
    int64_t ttl_ms;          /* older labels are not returned; 0: no limit (a week in Redis) */
    size_t n_classes;
};

struct label_levels_stats {
    bool has_disk, has_redis;
    struct label_disk_stats disk;
    struct label_redis_stats redis;
    uint64_t waiting, dropped; /* labels to be written; not written because too many waited */
};

medley_status label_levels_open(const struct label_levels_options *o, struct label_levels **out,
                                medley_error *err);
void label_levels_close(struct label_levels *l); /* writes what waits; accepts NULL */
/* For those keys of [0, n) whose found[i] is false: results[i], stored_ms[i] (since 1970),
 * found[i]. Any thread. */
void label_levels_get(struct label_levels *l, const struct label_key *keys, size_t n,
                      bool *found, medley_result *results, int64_t *stored_ms);
/* Labels of now. Any thread; never waits. */
void label_levels_put(struct label_levels *l, const struct label_key *keys,
                      const medley_result *values, size_t n);
/* Waits until all that was put before is written, or has failed. */
void label_levels_flush(struct label_levels *l);
struct label_levels_stats label_levels_stats(struct label_levels *l);

#endif
