/* counters.c: counting requests, and writing the counts as OpenMetrics text. */
#include "serve/counters.h"

#include <assert.h>
#include <inttypes.h>

/* 0 stands for all others. */
static const unsigned counters_statuses[COUNTERS_STATUSES] = {
    200, 304, 400, 401, 403, 404, 405, 408, 409, 413, 415, 429, 500, 503, 0};

static const double latency_limits[COUNTERS_BUCKETS - 1] = {
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5};

void counters_add(atomic_uint_least64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

uint64_t counters_get(const atomic_uint_least64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

void counters_request(struct counters *c, size_t route, unsigned status, double seconds)
{
    size_t slot = 0, bucket = 0;
    assert(route < COUNTERS_MAX_ROUTES);
    while (counters_statuses[slot] && counters_statuses[slot] != status)
        slot++;
    while (bucket < COUNTERS_BUCKETS - 1 && seconds > latency_limits[bucket])
        bucket++;
    counters_add(&c->requests[route][slot], 1);
    counters_add(&c->latency[route][bucket], 1);
    counters_add(&c->latency_ns[route], seconds > 0 ? (uint64_t)(seconds * 1e9) : 0);
}

/* ---- OpenMetrics ------------------------------------------------------------------------- */

static void describe(struct strbuf *out, const char *name, const char *type, const char *help)
{
    sb_addf(out, "# TYPE %s %s\n# HELP %s %s\n", name, type, name, help);
}

static void counter(struct strbuf *out, const char *name, const char *help, uint64_t v)
{
    describe(out, name, "counter", help);
    sb_addf(out, "%s_total %" PRIu64 "\n", name, v);
}

static void gauge(struct strbuf *out, const char *name, const char *help, uint64_t v)
{
    describe(out, name, "gauge", help);
    sb_addf(out, "%s %" PRIu64 "\n", name, v);
}

/* Backslash, quote and newline are escaped, as the format asks. */
static void label(struct strbuf *out, const char *name, const char *value)
{
    sb_addf(out, "%s=\"", name);
    for (; *value; value++) {
        if (*value == '\\' || *value == '"')
            sb_addc(out, '\\');
        if (*value == '\n')
            sb_addz(out, "\\n");
        else
            sb_addc(out, *value);
    }
    sb_addc(out, '"');
}

static void write_requests(const struct counters *c, const struct gauges *g, struct strbuf *out)
{
    describe(out, "medley_http_requests", "counter", "Requests answered, by route and status.");
    for (size_t r = 0; r < g->n_routes; r++) {
        for (size_t s = 0; s < COUNTERS_STATUSES; s++) {
            uint64_t n = counters_get(&c->requests[r][s]);
            if (n == 0)
                continue;
            sb_addz(out, "medley_http_requests_total{");
            label(out, "route", g->routes[r]);
            if (counters_statuses[s])
                sb_addf(out, ",status=\"%u\"} %" PRIu64 "\n", counters_statuses[s], n);
            else
                sb_addf(out, ",status=\"other\"} %" PRIu64 "\n", n);
        }
    }
}

static void write_histogram(const struct counters *c, size_t r, const char *route,
                            struct strbuf *out)
{
    uint64_t counts[COUNTERS_BUCKETS], total = 0, below = 0;
    for (size_t b = 0; b < COUNTERS_BUCKETS; b++)
        total += counts[b] = counters_get(&c->latency[r][b]);
    if (total == 0)
        return;
    for (size_t b = 0; b < COUNTERS_BUCKETS; b++) {
        below += counts[b];
        sb_addz(out, "medley_http_request_duration_seconds_bucket{");
        label(out, "route", route);
        if (b < COUNTERS_BUCKETS - 1)
            sb_addf(out, ",le=\"%.10g\"} %" PRIu64 "\n", latency_limits[b], below);
        else
            sb_addf(out, ",le=\"+Inf\"} %" PRIu64 "\n", below);
    }
    sb_addz(out, "medley_http_request_duration_seconds_count{");
    label(out, "route", route);
    sb_addf(out, "} %" PRIu64 "\nmedley_http_request_duration_seconds_sum{", total);
    label(out, "route", route);
    sb_addf(out, "} %.9f\n", (double)counters_get(&c->latency_ns[r]) * 1e-9);
}

static void write_bundle(const struct gauges *g, struct strbuf *out)
{
    describe(out, "medley_bundle", "info", "The bundle that answers.");
    sb_addz(out, "medley_bundle_info{");
    label(out, "id", g->bundle);
    sb_addc(out, ',');
    label(out, "version", g->version);
    sb_addz(out, "} 1\n");
    describe(out, "medley_bundle_model", "info", "The base models of the bundle.");
    for (size_t m = 0; m < g->n_models; m++) {
        sb_addz(out, "medley_bundle_model_info{");
        label(out, "model", g->models[m]);
        sb_addc(out, ',');
        label(out, "kind", g->kinds[m]);
        sb_addz(out, "} 1\n");
    }
    gauge(out, "medley_bundle_bytes", "Size of the bundle's files, which are mapped.",
          g->bundle_bytes);
}

/* Age of something of each model that has embeddings made ahead; unknown times are left out. */
static void write_ages(const struct gauges *g, const char *name, const char *help, bool graph,
                       struct strbuf *out)
{
    describe(out, name, "gauge", help);
    for (size_t m = 0; m < g->n_models; m++) {
        const medley_store_size *s = &g->stores[m];
        int64_t since = graph ? s->graph_cutoff : s->made;
        if (s->bytes == 0 || since == 0)
            continue;
        sb_addf(out, "%s{", name);
        label(out, "model", g->models[m]);
        sb_addf(out, "} %" PRId64 "\n", g->now > since ? g->now - since : 0);
    }
}

static void write_staleness(const struct gauges *g, struct strbuf *out)
{
    write_ages(g, "medley_embeddings_age_seconds",
               "Time since the embeddings made ahead were made, by graph model.", false, out);
    write_ages(g, "medley_embeddings_graph_age_seconds",
               "Time since the last behaviour that their graph knows, by graph model.", true,
               out);
}

/* Models that run elsewhere: the others cannot fail alone. */
static bool runs_elsewhere(const struct gauges *g, size_t m)
{
    return strcmp(g->kinds[m], "remote") == 0 || strcmp(g->kinds[m], "plugin") == 0;
}

static void write_health(const struct gauges *g, struct strbuf *out)
{
    static const char *const names[] = {"medley_model_failures", "medley_model_refused",
                                        "medley_model_retries", "medley_model_breaker_state"};
    static const char *const helps[] = {
        "Lists that a remote model or a plugin failed to judge: answered without it.",
        "Of them, lists that an open circuit breaker kept back.",
        "Requests to a remote model that were sent again.",
        "Circuit breaker of a remote model: 0 closed, 1 open, 2 half-open."};
    for (int what = 0; g->health && what < 4; what++) {
        describe(out, names[what], what < 3 ? "counter" : "gauge", helps[what]);
        for (size_t m = 0; m < g->n_models; m++) {
            const medley_model_health *h = &g->health[m];
            const uint64_t values[] = {h->lists_failed, h->lists_refused, h->retries, h->state};
            if (!runs_elsewhere(g, m))
                continue;
            sb_addf(out, "%s%s{", names[what], what < 3 ? "_total" : "");
            label(out, "model", g->models[m]);
            sb_addf(out, "} %" PRIu64 "\n", values[what]);
        }
    }
}

/* Cumulated, as histograms of OpenMetrics are. */
static void write_model_times(const struct gauges *g, struct strbuf *out)
{
    static const char name[] = "medley_model_duration_seconds";
    describe(out, name, "histogram",
             "Time that a base model took for a list that it answered, or not in time, since "
             "the bundle was opened.");
    for (size_t m = 0; g->health && m < g->n_models; m++) {
        const medley_model_health *h = &g->health[m];
        uint64_t below = 0;
        double limit = 1e-5;
        for (size_t i = 0; i <= MEDLEY_TOOK_LIMITS; i++, limit *= 2) {
            below += h->took[i];
            sb_addf(out, "%s_bucket{", name);
            label(out, "model", g->models[m]);
            if (i < MEDLEY_TOOK_LIMITS)
                sb_addf(out, ",le=\"%.10g\"} %" PRIu64 "\n", limit, below);
            else
                sb_addf(out, ",le=\"+Inf\"} %" PRIu64 "\n", below);
        }
        sb_addf(out, "%s_count{", name);
        label(out, "model", g->models[m]);
        sb_addf(out, "} %" PRIu64 "\n%s_sum{", below, name);
        label(out, "model", g->models[m]);
        sb_addf(out, "} %.9f\n", (double)h->took_ns * 1e-9);
    }
}

static void write_shadow(const struct gauges *g, struct strbuf *out)
{
    if (g->shadow) {
        describe(out, "medley_shadow_bundle", "info", "The bundle that answers in the shadow.");
        sb_addz(out, "medley_shadow_bundle_info{");
        label(out, "id", g->shadow);
        sb_addz(out, "} 1\n");
    }
    describe(out, "medley_shadow_pairs", "counter",
             "Pairs that the shadow judged too, by whether its label was the same.");
    sb_addf(out,
            "medley_shadow_pairs_total{label=\"same\"} %" PRIu64 "\n"
            "medley_shadow_pairs_total{label=\"different\"} %" PRIu64 "\n",
            g->shadow_agreed, g->shadow_differed);
    describe(out, "medley_shadow_distance", "counter",
             "Sum of the total variation distances between both bundles' probabilities.");
    sb_addf(out, "medley_shadow_distance_total %.6f\n", g->shadow_distance);
    counter(out, "medley_shadow_dropped", "Requests that the shadow had no room for.",
            g->shadow_dropped);
    counter(out, "medley_shadow_failed", "Requests that the shadow failed at.",
            g->shadow_failed);
}

static void write_lookups(const struct counters *c, struct strbuf *out)
{
    describe(out, "medley_cache_lookups", "counter",
             "Pairs looked up: hit, miss, or found but judged anew with the rest of the list.");
    sb_addf(out,
            "medley_cache_lookups_total{result=\"hit\"} %" PRIu64 "\n"
            "medley_cache_lookups_total{result=\"miss\"} %" PRIu64 "\n"
            "medley_cache_lookups_total{result=\"unused\"} %" PRIu64 "\n",
            counters_get(&c->cache_hits), counters_get(&c->cache_misses),
            counters_get(&c->cache_unused));
}

static void write_pairs(const struct counters *c, struct strbuf *out)
{
    describe(out, "medley_pairs_classified", "counter",
             "Pairs answered, by where the answer came from.");
    sb_addf(out,
            "medley_pairs_classified_total{source=\"bundle\"} %" PRIu64 "\n"
            "medley_pairs_classified_total{source=\"cache\"} %" PRIu64 "\n"
            "medley_pairs_classified_total{source=\"shared\"} %" PRIu64 "\n",
            counters_get(&c->pairs_evaluated), counters_get(&c->pairs_cached),
            counters_get(&c->pairs_shared));
    counter(out, "medley_pairs_precomputed",
            "Pairs of source bundle that a graph model answered from embeddings made ahead.",
            counters_get(&c->pairs_precomputed));
    counter(out, "medley_pairs_late",
            "Pairs judged without a model that had no answer by the deadline.",
            counters_get(&c->pairs_late));
}

void counters_write(const struct counters *c, const struct gauges *g, struct strbuf *out)
{
    write_requests(c, g, out);
    describe(out, "medley_http_request_duration_seconds", "histogram",
             "Time from the request's headers to the answer's last byte, by route.");
    for (size_t r = 0; r < g->n_routes; r++)
        write_histogram(c, r, g->routes[r], out);
    write_pairs(c, out);
    write_lookups(c, out);
    gauge(out, "medley_cache_entries", "Pairs remembered.", g->cache_entries);
    gauge(out, "medley_cache_bytes", "Memory of the remembered pairs.", g->cache_bytes);
    counter(out, "medley_cache_evictions", "Pairs forgotten for want of room.",
            g->cache_evicted);
    counter(out, "medley_cache_expirations", "Pairs forgotten for their age.",
            g->cache_expired);
    sb_add(out, g->more.s, g->more.n);
    gauge(out, "medley_http_requests_in_flight", "Requests begun and not ended.", g->in_flight);
    gauge(out, "medley_queue_length", "Requests that wait for a worker.", g->queued);
    write_bundle(g, out);
    write_staleness(g, out);
    write_health(g, out);
    write_model_times(g, out);
    counter(out, "medley_bundle_changes", "Activations and rollbacks.",
            counters_get(&c->bundle_changes));
    write_shadow(g, out);
    gauge(out, "process_resident_memory_bytes", "Resident memory.", g->resident_bytes);
    describe(out, "medley_uptime_seconds", "gauge", "Time since the server started.");
    sb_addf(out, "medley_uptime_seconds %.3f\n# EOF\n", g->uptime_seconds);
}
