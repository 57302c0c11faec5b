/* tier.c: counting what the tiers do, and judging what they find. */
#include "cache/tier.h"

#define MAX_SKEW_MS 60000 /* the clocks of servers may differ by that */

const double tier_limits[TIER_BUCKETS - 1] = {2e-6, 1e-5, 5e-5, 2e-4, 1e-3, 5e-3, 2e-2};

void tier_count(atomic_uint_least64_t *counter, uint64_t n)
{
    if (n)
        atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

void tier_took(struct tier_counters *c, double seconds)
{
    size_t b = 0;
    while (b < TIER_BUCKETS - 1 && seconds > tier_limits[b])
        b++;
    tier_count(&c->lists[b], 1);
    tier_count(&c->list_ns, seconds > 0 ? (uint64_t)(seconds * 1e9) : 0);
}

enum label_sight tier_judge_age(int64_t stored_ms, const struct label_search *s, int64_t ttl_ms)
{
    if (stored_ms < 0 || stored_ms > s->now_ms + MAX_SKEW_MS)
        return LABEL_STALE;
    int64_t age = s->now_ms - stored_ms;
    return (ttl_ms > 0 && age > ttl_ms) || (s->max_age_ms >= 0 && age > s->max_age_ms)
               ? LABEL_STALE
               : LABEL_SEEN;
}

enum label_sight tier_read_record(struct tier_counters *c, struct str record,
                                  const struct label_key *key, size_t n_classes,
                                  const struct label_search *s, int64_t ttl_ms,
                                  struct label *out)
{
    medley_result result;
    struct label label = {.result = &result};
    if (label_record_read(record.s, record.n, key, n_classes, &label) != RECORD_GOOD) {
        tier_count(&c->damaged, 1);
        return LABEL_ABSENT;
    }
    enum label_sight seen = tier_judge_age(label.stored_ms, s, ttl_ms);
    if (seen == LABEL_STALE) {
        tier_count(&c->stale, 1);
        return seen;
    }
    *out->result = result;
    out->stored_ms = label.stored_ms;
    return seen;
}

static uint64_t get(const atomic_uint_least64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

void tier_read(const struct tier_counters *c, struct tier_stats *out)
{
    out->hits = get(&c->hits);
    out->misses = get(&c->misses);
    out->stale = get(&c->stale);
    out->damaged = get(&c->damaged);
    out->written = get(&c->written);
    out->dropped = get(&c->dropped);
    out->errors = get(&c->errors);
    out->evicted = get(&c->evicted);
    out->list_ns = get(&c->list_ns);
    for (size_t b = 0; b < TIER_BUCKETS; b++)
        out->lists[b] = get(&c->lists[b]);
}
