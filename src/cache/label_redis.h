/* label_redis.h: remembered labels in Redis, for servers that stand side by side: one round
 * trip a list (MGET), a pipeline of SETs a batch. Keys are "medley:" and the 16 bytes of the
 * label's hash; values those of label_value.h; labels expire there by themselves.
 *
 * A Redis that is slow, down or gone costs a time limit, then nothing: after some failures in a
 * row it is left alone for a second (remote/breaker.h). Thread-safe; callers block or ignore
 * SIGPIPE, as the threads of the server do. Proof: tests/test_cache_levels.c, which starts a
 * Redis where there is one. */
#ifndef CACHE_LABEL_REDIS_H
#define CACHE_LABEL_REDIS_H

#include "cache/label_disk.h"
#include "remote/breaker.h"

struct label_redis; /* opaque */

struct label_redis_stats {
    uint64_t hits, misses, damaged, written, errors;
    enum breaker_state state;
};

/* "host", "host:port", "[::1]:6379", "/path/to/socket"; then "/3" for database 3 of a host,
 * "#3" of a socket. Does not connect. The password, if any, is in the environment variable
 * MEDLEY_REDIS_PASSWORD. Errors: EINVAL, ENOMEM. */
medley_status label_redis_open(const char *address, double timeout_ms, int64_t ttl_ms,
                               struct label_redis **out, medley_error *err);
void label_redis_close(struct label_redis *r); /* accepts NULL */
void label_redis_get(struct label_redis *r, const struct label_key *keys, size_t n,
                     size_t n_classes, bool *found, medley_result *results, int64_t *stored_ms,
                     struct label_batch *again);
bool label_redis_write(struct label_redis *r, const struct label_batch *batch);
struct label_redis_stats label_redis_stats(struct label_redis *r);

#endif
