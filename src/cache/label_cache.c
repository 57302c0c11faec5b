/* label_cache.c: the tiers as one; label_cache.h says what goes where. */
#include "cache/label_cache.h"

#include "base/cpu.h"
#include "base/error.h"
#include "base/memory.h"
#include "cache/admission.h"
#include "cache/disk.h"
#include "cache/epochs.h"
#include "cache/redis.h"

#include <assert.h>
#include <stdio.h>
#include <time.h>

#define DISK_BYTES ((size_t)1 << 30)
#define REDIS_TIMEOUT_MS 20
#define REDIS_ADMISSION 1000000 /* labels: how many it holds is not known */
#define TYPICAL_RECORD 256      /* bytes of a label on the disk, with its share of pages */

struct label_cache {
    struct label_cache_options options; /* its texts are not used after the start */
    struct label_table *table;
    struct disk *disk;   /* NULL: none */
    struct redis *redis; /* NULL: none */
    struct epochs *epochs;
    struct admission *admission; /* NULL: there is nothing below memory */
    struct tier_counters memory;
};

int64_t label_cache_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- opening ----------------------------------------------------------------------------- */

static void set_defaults(struct label_cache_options *o)
{
    o->entries = o->entries ? o->entries : 100000;
    o->bytes = o->bytes ? o->bytes : (size_t)64 << 20;
    o->disk_bytes = o->disk_bytes ? o->disk_bytes : DISK_BYTES;
    o->redis_timeout_ms = o->redis_timeout_ms ? o->redis_timeout_ms : REDIS_TIMEOUT_MS;
}

static medley_status open_disk(struct label_cache *c, medley_error *err)
{
    const struct label_cache_options *o = &c->options;
    struct disk_options disk = {.folder = o->folder,
                                .bytes = o->disk_bytes,
                                .n_classes = o->n_classes,
                                .ttl_ms = o->ttl_ms,
                                .warn = o->warn,
                                .warn_context = o->warn_context};
    medley_error why = {0};
    if (!o->folder)
        return MEDLEY_OK;
    medley_status st = disk_open(&disk, c->epochs, &c->disk, &why);
    if (st == MEDLEY_ENOMEM)
        return fail(err, st, "%s", why.message);
    if (st && o->warn) {
        char text[sizeof why.message + 64];
        snprintf(text, sizeof text, "label cache: no disk tier: %s", why.message);
        o->warn(o->warn_context, text);
    }
    return MEDLEY_OK;
}

static medley_status open_redis(struct label_cache *c, medley_error *err)
{
    const struct label_cache_options *o = &c->options;
    struct redis_options redis = {.place = o->redis,
                                  .password = o->redis_password,
                                  .timeout_ms = o->redis_timeout_ms,
                                  .n_classes = o->n_classes,
                                  .ttl_ms = o->ttl_ms,
                                  .warn = o->warn,
                                  .warn_context = o->warn_context};
    return o->redis ? redis_open(&redis, c->epochs, &c->redis, err) : MEDLEY_OK;
}

medley_status label_cache_open(const struct label_cache_options *options,
                               struct label_cache **out, medley_error *err)
{
    assert(options->n_classes >= 1 && options->n_classes <= MEDLEY_MAX_CLASSES);
    struct label_cache *c = mem_zalloc(1, sizeof *c);
    if (!c)
        return fail_memory(err, "the label cache");
    c->options = *options;
    set_defaults(&c->options);
    const struct label_cache_options *o = &c->options;
    medley_status st = MEDLEY_OK;
    c->table = label_table_new(&(struct label_table_options){.entries = o->entries,
                                                             .bytes = o->bytes,
                                                             .ttl_ms = o->ttl_ms,
                                                             .n_classes = o->n_classes});
    c->epochs = epochs_new();
    if (o->folder || o->redis)
        c->admission =
            admission_new(o->folder ? o->disk_bytes / TYPICAL_RECORD : REDIS_ADMISSION);
    if (!c->table || !c->epochs || ((o->folder || o->redis) && !c->admission))
        st = fail_memory(err, "the label cache");
    if (!st)
        st = open_disk(c, err);
    if (!st) /* after the disk, whose epochs it passes on */
        st = open_redis(c, err);
    if (st)
        label_cache_close(c);
    else
        *out = c;
    return st;
}

void label_cache_close(struct label_cache *c)
{
    if (!c)
        return;
    redis_close(c->redis);
    disk_close(c->disk);
    label_table_free(c->table);
    epochs_free(c->epochs);
    admission_free(c->admission);
    mem_free(c);
}

/* ---- labels ------------------------------------------------------------------------------ */

enum { ON_DISK = 1u << TIER_DISK, IN_REDIS = 1u << TIER_REDIS };

/* To the tiers that have not taken it yet; those that do now. A Redis that is away gets it when
 * it is asked for after its return. */
static unsigned offer_below(struct label_cache *c, uint64_t bundle, const struct label_key *key,
                            const struct label *label)
{
    unsigned taken = 0;
    if (c->disk && !(label->kept & ON_DISK) && disk_offer(c->disk, bundle, key, label))
        taken |= ON_DISK;
    if (c->redis && !(label->kept & IN_REDIS) && redis_up(c->redis) &&
        redis_offer(c->redis, bundle, key, label))
        taken |= IN_REDIS;
    return taken;
}

/* The first hit is the second time that somebody asks: the label has earned its place below. */
static bool find_in_memory(struct label_cache *c, const struct label_list *list, size_t i,
                           const struct label_search *s)
{
    struct label label = {.result = &s->results[i]};
    struct label_key key = label_list_key(list, i);
    if (!label_table_get(c->table, &key, s->now_ms, &label))
        return false;
    if (tier_judge_age(label.stored_ms, s, c->options.ttl_ms) != LABEL_SEEN) {
        tier_count(&c->memory.stale, 1);
        return false;
    }
    unsigned taken = offer_below(c, list->bundle, &key, &label);
    if (taken)
        label_table_mark(c->table, &key, taken);
    s->stored_ms[i] = label.stored_ms;
    return true;
}

static size_t search_memory(struct label_cache *c, const struct label_list *list,
                            const struct label_search *s)
{
    size_t found = 0, missed = 0;
    double started = clock_seconds();
    for (size_t i = 0; i < list->n; i++) {
        if (s->stored_ms[i] >= 0)
            continue;
        bool there = find_in_memory(c, list, i, s);
        found += there;
        missed += !there;
    }
    tier_count(&c->memory.hits, found);
    tier_count(&c->memory.misses, missed);
    tier_took(&c->memory, clock_seconds() - started);
    return found;
}

static size_t search_disk(struct label_cache *c, const struct label_list *list,
                          const struct label_search *s)
{
    return c->disk ? disk_find(c->disk, list, s) : 0;
}

static size_t search_redis(struct label_cache *c, const struct label_list *list,
                           const struct label_search *s)
{
    return c->redis ? redis_find(c->redis, list, s) : 0;
}

typedef size_t tier_search(struct label_cache *c, const struct label_list *list,
                           const struct label_search *s);

/* One tier's look-up; what it finds that was not known before is taken up into those above. */
static size_t search_below(struct label_cache *c, const struct label_list *list,
                           const struct label_search *s, tier_search *search, unsigned from)
{
    bool *known = mem_alloc(list->n, sizeof *known);
    for (size_t i = 0; known && i < list->n; i++)
        known[i] = s->stored_ms[i] >= 0;
    size_t found = search(c, list, s);
    for (size_t i = 0; known && found && i < list->n; i++) {
        if (known[i] || s->stored_ms[i] < 0)
            continue;
        struct label_key key = label_list_key(list, i);
        struct label label = {&s->results[i], s->stored_ms[i], from};
        if (from == IN_REDIS && c->disk && disk_offer(c->disk, list->bundle, &key, &label))
            label.kept |= ON_DISK;
        label_table_put(c->table, &key, &label);
    }
    mem_free(known);
    return found;
}

static size_t count_found(const struct label_search *s, size_t n)
{
    size_t found = 0;
    for (size_t i = 0; i < n; i++)
        found += s->stored_ms[i] >= 0;
    return found;
}

size_t label_cache_find(struct label_cache *c, const struct label_list *list,
                        enum label_reach reach, const struct label_search *s)
{
    size_t found = count_found(s, list->n);
    if (reach == LABELS_NEAR && found < list->n)
        found += search_memory(c, list, s);
    if (reach == LABELS_NEAR && found < list->n && c->disk)
        found += search_below(c, list, s, search_disk, ON_DISK);
    if (reach == LABELS_FAR && found < list->n && c->redis)
        found += search_below(c, list, s, search_redis, IN_REDIS);
    return found;
}

bool label_cache_has_far(struct label_cache *c)
{
    return c->redis && redis_up(c->redis);
}

void label_cache_keep(struct label_cache *c, const struct label_list *list,
                      const medley_result *results, int64_t now_ms)
{
    for (size_t i = 0; i < list->n; i++) {
        /* the model may be back, or in time, at the next request */
        if (results[i].models_failed || results[i].models_late)
            continue;
        struct label_key key = label_list_key(list, i);
        medley_result copy = results[i];
        struct label label = {.result = &copy, .stored_ms = now_ms};
        /* Asked even when all are let in: it is how the next time is known to be the second. */
        bool again = c->admission && admission_ask(c->admission, key.hash);
        if (again || c->options.admit_all)
            label.kept = offer_below(c, list->bundle, &key, &label);
        label_table_put(c->table, &key, &label);
    }
}

/* ---- forgetting -------------------------------------------------------------------------- */

uint64_t label_cache_epoch(struct label_cache *c, medley_text id)
{
    return epochs_of(c->epochs, (struct str){id.s, id.n});
}

medley_status label_cache_invalidate(struct label_cache *c, const medley_text *ids, size_t n,
                                     medley_error *err)
{
    medley_status st = MEDLEY_OK;
    struct hash128 *products = mem_alloc(n, sizeof *products);
    if (!products)
        return fail_memory(err, "an invalidation");
    uint64_t epoch = epochs_next(c->epochs, label_cache_now());
    for (size_t i = 0; i < n; i++) {
        bool everything;
        products[i] = epochs_hash((struct str){ids[i].s, ids[i].n});
        epochs_set(c->epochs, products[i], epoch, &everything);
        if (everything)
            products[i] = epochs_everything;
    }
    if (c->disk)
        st = disk_write_epochs(c->disk, products, n, epoch, err);
    if (c->redis)
        redis_tell_epochs(c->redis, products, n, epoch);
    mem_free(products);
    return st;
}

void label_cache_keep_bundles(struct label_cache *c, const char *const *bundles, size_t n)
{
    if (c->disk)
        disk_keep_bundles(c->disk, bundles, n);
}

void label_cache_clear(struct label_cache *c)
{
    label_table_clear(c->table);
    if (c->disk)
        disk_clear(c->disk);
}

void label_cache_flush(struct label_cache *c)
{
    if (c->disk)
        disk_flush(c->disk);
    if (c->redis)
        redis_flush(c->redis);
}

/* ---- about itself ------------------------------------------------------------------------ */

size_t label_cache_tiers(struct label_cache *c, struct tier_stats out[TIERS])
{
    size_t n = 0;
    struct label_table_stats memory = label_table_stats(c->table);
    out[n] = (struct tier_stats){.name = "memory", .up = true};
    tier_read(&c->memory, &out[n]);
    out[n].entries = memory.entries;
    out[n].bytes = memory.bytes;
    out[n].max_bytes = c->options.bytes;
    out[n].evicted = memory.evicted;
    out[n].stale += memory.expired;
    n++;
    if (c->disk)
        disk_stats(c->disk, &out[n++]);
    if (c->redis)
        redis_stats(c->redis, &out[n++]);
    return n;
}
