/* server_cache.c: the label cache as the server tidies it, in /v1/bundle and in /metrics. */
#include "serve/server_private.h"

#include "base/memory.h"

#include <dirent.h>
#include <inttypes.h>

/* ---- tidying ----------------------------------------------------------------------------- */

#define MAX_KEPT 256 /* bundles; a folder with more keeps the labels of all */

struct kept {
    char ids[MAX_KEPT][SERVER_ID];
    const char *list[MAX_KEPT];
    size_t n;
    bool overflow;
};

static void keep(struct kept *k, const char *id)
{
    if (k->n == MAX_KEPT) {
        k->overflow = true;
        return;
    }
    snprintf(k->ids[k->n], SERVER_ID, "%s", id);
    k->list[k->n] = k->ids[k->n];
    k->n++;
}

static void keep_deployed(struct kept *k, struct deployments *d)
{
    pthread_mutex_lock(&d->lock);
    const struct deployment *const all[] = {d->active, d->previous, d->shadow};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (all[i])
            keep(k, all[i]->engine.id);
    pthread_mutex_unlock(&d->lock);
}

/* Folders are named by their bundle's id. False: nobody knows what is there. */
static bool keep_folders(struct kept *k, const char *folder)
{
    DIR *d = opendir(folder);
    if (!d)
        return false;
    for (const struct dirent *e; (e = readdir(d));)
        if (e->d_name[0] != '.' && strlen(e->d_name) < SERVER_ID)
            keep(k, e->d_name);
    closedir(d);
    return true;
}

void server_tidy_cache(struct server *s)
{
    struct kept *k = s->cache && s->options.cache_folder ? mem_zalloc(1, sizeof *k) : NULL;
    if (!k)
        return;
    keep_deployed(k, &s->deployments);
    bool known = !s->options.bundles || keep_folders(k, s->options.bundles);
    if (known && !k->overflow)
        label_cache_keep_bundles(s->cache, k->list, k->n);
    mem_free(k);
}

/* ---- /v1/bundle -------------------------------------------------------------------------- */

static void number(struct json_writer *w, const char *key, uint64_t v)
{
    jw_key(w, key);
    jw_i64(w, (int64_t)v);
}

static void write_tier(struct json_writer *w, const struct tier_stats *t)
{
    jw_object(w);
    jw_key(w, "name");
    jw_textz(w, t->name);
    jw_key(w, "up");
    jw_bool(w, t->up);
    number(w, "entries", t->entries);
    number(w, "bytes", t->bytes);
    number(w, "max_bytes", t->max_bytes);
    number(w, "hits", t->hits);
    number(w, "misses", t->misses);
    number(w, "errors", t->errors);
    jw_object_end(w);
}

void server_write_cache(struct json_writer *w, struct server *s)
{
    struct tier_stats tiers[TIERS] = {0};
    size_t n = s->cache ? label_cache_tiers(s->cache, tiers) : 0;
    jw_object(w);
    jw_key(w, "on");
    jw_bool(w, s->cache != NULL);
    number(w, "entries", tiers[TIER_MEMORY].entries);
    number(w, "bytes", tiers[TIER_MEMORY].bytes);
    number(w, "max_entries", s->cache ? s->options.cache_entries : 0);
    number(w, "max_bytes", s->cache ? s->options.cache_bytes : 0);
    jw_key(w, "ttl_s");
    jw_double(w, s->options.cache_ttl);
    jw_key(w, "tiers");
    jw_array(w);
    for (size_t t = 0; t < n; t++)
        write_tier(w, &tiers[t]);
    jw_array_end(w);
    jw_object_end(w);
}

/* ---- /metrics ---------------------------------------------------------------------------- */

/* One line a tier. */
#define FAMILY(field, kind, help_text)                                                   \
    {                                                                                    \
        "medley_cache_tier_" #field, kind, help_text, offsetof(struct tier_stats, field) \
    }
static const struct family {
    const char *name, *type, *help;
    size_t offset; /* of a uint64_t */
} families[] = {
    FAMILY(hits, "counter", "Pairs found in this tier."),
    FAMILY(misses, "counter", "Pairs looked for in this tier in vain."),
    FAMILY(stale, "counter", "Pairs found, but too old."),
    FAMILY(damaged, "counter", "Records that were no label, or another key's with one hash."),
    FAMILY(written, "counter", "Labels written to this tier."),
    FAMILY(dropped, "counter", "Labels that this tier did not get, for want of room or time."),
    FAMILY(errors, "counter", "Operations of this tier that failed."),
    FAMILY(evicted, "counter", "Labels forgotten for want of room, or with their bundle."),
    FAMILY(entries, "gauge", "Labels in this tier."),
    FAMILY(bytes, "gauge", "Bytes of this tier in use."),
    FAMILY(waiting, "gauge", "Labels that wait to be written."),
};

static uint64_t value_at(const struct tier_stats *t, size_t offset)
{
    uint64_t v;
    memcpy(&v, (const char *)t + offset, sizeof v);
    return v;
}

static void write_family(struct strbuf *out, const struct family *f,
                         const struct tier_stats *tiers, size_t n)
{
    bool counts = strcmp(f->type, "counter") == 0;
    sb_addf(out, "# TYPE %s %s\n# HELP %s %s\n", f->name, f->type, f->name, f->help);
    for (size_t t = 0; t < n; t++)
        sb_addf(out, "%s%s{tier=\"%s\"} %" PRIu64 "\n", f->name, counts ? "_total" : "",
                tiers[t].name, value_at(&tiers[t], f->offset));
}

static void write_latency(struct strbuf *out, const struct tier_stats *t)
{
    static const char name[] = "medley_cache_tier_lookup_seconds";
    uint64_t below = 0;
    for (size_t b = 0; b < TIER_BUCKETS; b++) {
        below += t->lists[b];
        if (b < TIER_BUCKETS - 1)
            sb_addf(out, "%s_bucket{tier=\"%s\",le=\"%.10g\"} %" PRIu64 "\n", name, t->name,
                    tier_limits[b], below);
        else
            sb_addf(out, "%s_bucket{tier=\"%s\",le=\"+Inf\"} %" PRIu64 "\n", name, t->name,
                    below);
    }
    sb_addf(out, "%s_count{tier=\"%s\"} %" PRIu64 "\n%s_sum{tier=\"%s\"} %.9f\n", name, t->name,
            below, name, t->name, (double)t->list_ns * 1e-9);
}

void server_cache_metrics(struct server *s, struct strbuf *out)
{
    struct tier_stats tiers[TIERS];
    size_t n = s->cache ? label_cache_tiers(s->cache, tiers) : 0;
    sb_addf(out,
            "# TYPE medley_requests_collapsed counter\n"
            "# HELP medley_requests_collapsed Requests that waited for the answer to an "
            "identical one.\nmedley_requests_collapsed_total %" PRIu64 "\n",
            (uint64_t)atomic_load(&s->flights.followed));
    if (n == 0)
        return;
    sb_addz(out, "# TYPE medley_cache_tier_up gauge\n"
                 "# HELP medley_cache_tier_up Whether this tier is asked at present.\n");
    for (size_t t = 0; t < n; t++)
        sb_addf(out, "medley_cache_tier_up{tier=\"%s\"} %d\n", tiers[t].name, tiers[t].up);
    for (size_t f = 0; f < sizeof families / sizeof families[0]; f++)
        write_family(out, &families[f], tiers, n);
    sb_addz(out, "# TYPE medley_cache_tier_lookup_seconds histogram\n"
                 "# HELP medley_cache_tier_lookup_seconds Time to look up a list.\n");
    for (size_t t = 0; t < n; t++)
        write_latency(out, &tiers[t]);
}
