/* counters.h: what the server counts about itself, and its text form for Prometheus
 * (OpenMetrics 1.0). Counting is lock-free; a scrape reads each number by itself, so that
 * numbers of one scrape may be some requests apart. */
#ifndef SERVE_COUNTERS_H
#define SERVE_COUNTERS_H

#include "base/str.h"
#include "medley/bundle.h"

#include <stdatomic.h>

#define COUNTERS_MAX_ROUTES 32
#define COUNTERS_STATUSES 15 /* counters_statuses and one slot for all others */
#define COUNTERS_BUCKETS 13  /* latency_limits and one for all slower */

struct counters {
    /* [route][slot of the status] */
    atomic_uint_least64_t requests[COUNTERS_MAX_ROUTES][COUNTERS_STATUSES];
    atomic_uint_least64_t latency[COUNTERS_MAX_ROUTES][COUNTERS_BUCKETS]; /* not cumulated */
    atomic_uint_least64_t latency_ns[COUNTERS_MAX_ROUTES];                /* sum */
    atomic_uint_least64_t pairs_evaluated;                                /* by the bundle */
    atomic_uint_least64_t pairs_cached; /* answered from the cache */
    atomic_uint_least64_t pairs_shared; /* answered with an identical request's answer */
    /* Of those evaluated: at least one graph model answered from embeddings made ahead. */
    atomic_uint_least64_t pairs_precomputed;
    atomic_uint_least64_t pairs_late; /* a model of theirs was not in time */
    /* Cache look-ups of pairs: found and used, not there, found but judged anew because another
     * pair of the list was missing. */
    atomic_uint_least64_t cache_hits, cache_misses, cache_unused;
    atomic_uint_least64_t bundle_changes; /* activations and rollbacks */
};

void counters_request(struct counters *c, size_t route, unsigned status, double seconds);
void counters_add(atomic_uint_least64_t *counter, uint64_t n);
uint64_t counters_get(const atomic_uint_least64_t *counter);

/* What the exposition shows beside the counters. */
struct gauges {
    double uptime_seconds;
    uint64_t in_flight, queued;
    uint64_t cache_entries, cache_bytes, cache_evicted, cache_expired;
    struct str more; /* further families, ready to be shown */
    uint64_t resident_bytes, bundle_bytes;
    const char *bundle, *version;
    const char *shadow; /* id of the bundle in the shadow, or NULL */
    /* of all shadows since the start */
    uint64_t shadow_agreed, shadow_differed, shadow_dropped, shadow_failed;
    double shadow_distance;                   /* sum over pairs */
    const char *const *models, *const *kinds; /* [n_models] */
    size_t n_models;
    const medley_store_size *stores;   /* [n_models] embeddings made ahead; bytes 0: none */
    const medley_model_health *health; /* [n_models]; NULL: nobody knows */
    int64_t now;                       /* seconds since 1970, for their age */
    const char *const *routes; /* [n_routes] paths, by the index that counters_request takes */
    size_t n_routes;
};
void counters_write(const struct counters *c, const struct gauges *g, struct strbuf *out);

#endif
