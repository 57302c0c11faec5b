/* test_label_cache.c: the tiers together: what goes down and comes up, that a crawler pushes
 * nothing out of any of them, invalidated products, epochs, and what is there after a restart.
 */
#include "base/rng.h"
#include "cache/admission.h"
#include "cache/epochs.h"
#include "tests/cache_help.h"

#include <pthread.h>

static char folder[128];

static struct label_cache *open_cache(struct label_cache_options o)
{
    struct label_cache *c = NULL;
    medley_error err = {0};
    o.n_classes = K;
    o.warn = keep_warning;
    if (label_cache_open(&o, &c, &err)) {
        printf("Bail out! %s\n", err.message);
        exit(1);
    }
    return c;
}

static size_t look(struct label_cache *c, const struct label_list *l, unsigned first,
                   int64_t now)
{
    struct found f = found_new(l->n, now);
    size_t n = label_cache_find(c, l, LABELS_NEAR, &f.search), right = 0;
    for (size_t i = 0; i < l->n; i++)
        right += f.stored_ms[i] >= 0 && is_numbered(&f.results[i], first + (unsigned)i);
    found_free(&f);
    return n == right ? n : SIZE_MAX;
}

static void keep(struct label_cache *c, const struct label_list *l, unsigned first, int64_t now)
{
    medley_result *results = mem_zalloc(l->n, sizeof *results);
    for (size_t i = 0; i < l->n; i++)
        results[i] = numbered(first + (unsigned)i);
    label_cache_keep(c, l, results, now);
    mem_free(results);
}

/* As a server would: judged when it is not all there. True: it was. */
static bool ask(struct label_cache *c, const char *query, unsigned first, size_t n)
{
    struct label_list l = list_of("b", query, first, n, c);
    bool there = look(c, &l, first, NOW) == n;
    if (!there)
        keep(c, &l, first, NOW);
    label_list_deinit(&l);
    return there;
}

static struct tier_stats tier(struct label_cache *c, size_t which)
{
    struct tier_stats all[TIERS];
    size_t n = label_cache_tiers(c, all);
    return which < n ? all[which] : (struct tier_stats){0};
}

/* ---- going down and coming up --------------------------------------------------------------
 */

static void test_admission_of_labels(void)
{
    struct label_cache_options o = {.folder = folder, .disk_bytes = 4 << 20};
    struct label_cache *c = open_cache(o);
    ask(c, "once", 0, 20);
    label_cache_flush(c);
    ok(tier(c, TIER_DISK).entries == 0, "asked once: in memory alone");
    ok(ask(c, "once", 0, 20), "remembered");
    label_cache_flush(c);
    ok(tier(c, TIER_DISK).entries == 20, "asked twice: on the disk");
    ask(c, "once", 0, 20);
    label_cache_flush(c);
    ok(tier(c, TIER_DISK).written == 20, "written once");
    ask(c, "fresh", 0, 20);
    label_cache_close(c);
    c = open_cache(o);
    ok(ask(c, "once", 0, 20), "after a restart it is there");
    ok(!ask(c, "fresh", 0, 20), "what was asked once is not");
    ok(tier(c, TIER_DISK).hits == 20 && tier(c, TIER_MEMORY).hits == 0,
       "it came from the disk");
    ok(ask(c, "once", 0, 20) && tier(c, TIER_DISK).hits == 20 &&
           tier(c, TIER_MEMORY).hits == 20,
       "and then from memory");
    label_cache_flush(c);
    ok(tier(c, TIER_DISK).written == 0, "it is not written back");
    label_cache_clear(c);
    ok(!ask(c, "once", 0, 20), "cleared");
    label_cache_clear(c);
    label_cache_close(c);
    o.admit_all = true;
    c = open_cache(o);
    ask(c, "once", 0, 20);
    label_cache_flush(c);
    ok(tier(c, TIER_DISK).entries == 20, "or all are let in, if that is wanted");
    label_cache_clear(c);
    label_cache_close(c);
}

static void test_lists(void)
{
    struct label_cache *c = open_cache((struct label_cache_options){.ttl_ms = 1000});
    struct label_list l = list_of("b", "q", 0, 10, c);
    medley_result results[10];
    for (unsigned i = 0; i < 10; i++) {
        results[i] = numbered(i);
        results[i].models_failed = i == 3;
        results[i].models_late = i == 4;
    }
    label_cache_keep(c, &l, results, NOW);
    ok(look(c, &l, 0, NOW) == 8, "labels that a model failed or was late for are not kept");
    ok(look(c, &l, 0, NOW + 1001) == 0, "older than the TTL");
    label_cache_keep(c, &l, results, NOW);
    struct found f = found_new(10, NOW + 500);
    f.search.max_age_ms = 400;
    ok(label_cache_find(c, &l, LABELS_NEAR, &f.search) == 0, "older than the search takes");
    f.search.max_age_ms = 500;
    f.stored_ms[0] = 5;
    ok(label_cache_find(c, &l, LABELS_NEAR, &f.search) == 8 && f.stored_ms[0] == 5,
       "what is known is not looked up");
    ok(!label_cache_has_far(c) && label_cache_find(c, &l, LABELS_FAR, &f.search) == 8,
       "there is no far tier");
    found_free(&f);
    label_list_deinit(&l);
    label_cache_close(c);
}

/* ---- a crawler -----------------------------------------------------------------------------
 */

/* Customers ask for 60 lists again and again; a crawler walks through 3,000 others, once each,
 * which is many times what the cache holds. How many of the customers' lists a restarted server
 * still knows. */
static size_t survivors(bool admit_all)
{
    struct label_cache_options o = {
        .entries = 600, .folder = folder, .disk_bytes = 1 << 20, .admit_all = admit_all};
    struct label_cache *c = open_cache(o);
    size_t left = 0;
    for (unsigned round = 0; round < 2; round++)
        for (unsigned i = 0; i < 60; i++)
            ask(c, "customer", i * 10, 10);
    label_cache_flush(c);
    for (unsigned i = 0; i < 3000; i++) {
        ask(c, "crawler", i * 10, 10);
        if (i % 100 == 99)
            label_cache_flush(c);
    }
    label_cache_close(c);
    c = open_cache(o);
    for (unsigned i = 0; i < 60; i++)
        left += ask(c, "customer", i * 10, 10);
    label_cache_clear(c);
    label_cache_close(c);
    return left;
}

static void test_crawler(void)
{
    size_t twice = survivors(false), all = survivors(true);
    ok(twice == 60, "%zu of 60 customers' lists outlive a crawler and a restart", twice);
    ok(all < 30, "with every label admitted: %zu", all);
}

static void test_admission(void)
{
    struct admission *a = admission_new(1000);
    struct rng rng;
    size_t first = 0, again = 0;
    rng_init(&rng, 3, 0);
    struct hash128 keys[500];
    for (size_t i = 0; i < 500; i++) {
        keys[i] = (struct hash128){rng_u64(&rng), rng_u64(&rng)};
        first += admission_ask(a, keys[i]);
    }
    for (size_t i = 0; i < 500; i++)
        again += admission_ask(a, keys[i]);
    ok(first == 0 && again >= 490, "%zu of 500 keys are known again", again);
    admission_free(a);
}

/* ---- invalidation --------------------------------------------------------------------------
 */

static void test_invalidation(void)
{
    struct label_cache_options o = {.folder = folder, .disk_bytes = 4 << 20};
    struct label_cache *c = open_cache(o);
    medley_error err;
    ask(c, "a", 0, 5);
    ask(c, "a", 0, 5);
    ask(c, "b", 3, 5);
    ask(c, "b", 3, 5);
    struct label_list in_flight = list_of("b", "c", 4, 1, c);
    medley_text gone[] = {{"P4", 2}, {"nobody's", 8}};
    ok(label_cache_invalidate(c, gone, 2, &err) == MEDLEY_OK, "P4 is invalidated");
    keep(c, &in_flight, 4, NOW); /* judged before, stored after */
    label_list_deinit(&in_flight);
    struct label_list l = list_of("b", "a", 0, 5, c);
    ok(look(c, &l, 0, NOW) == 4, "its label is gone, the others are not");
    label_list_deinit(&l);
    l = list_of("b", "b", 3, 5, c);
    ok(look(c, &l, 3, NOW) == 4, "for every query");
    label_list_deinit(&l);
    l = list_of("b", "c", 4, 1, c);
    ok(look(c, &l, 4, NOW) == 0, "also what was being judged at the time");
    label_list_deinit(&l);
    uint64_t epoch = label_cache_epoch(c, gone[0]);
    ok(label_cache_invalidate(c, gone, 1, &err) == MEDLEY_OK &&
           label_cache_epoch(c, gone[0]) > epoch,
       "again: another epoch");
    label_cache_close(c);
    c = open_cache(o);
    l = list_of("b", "a", 0, 5, c);
    ok(look(c, &l, 0, NOW) == 4, "after a restart its old label is still gone");
    label_list_deinit(&l);
    ask(c, "a", 4, 1);
    ok(ask(c, "a", 4, 1), "a new one is kept");
    label_cache_clear(c);
    label_cache_close(c);
}

static void count(void *context, struct hash128 product, uint64_t epoch)
{
    (void)product, (void)epoch;
    ++*(size_t *)context;
}

static void test_epochs(void)
{
    struct epochs *e = epochs_new();
    bool everything;
    size_t wrong = 0, n = 0;
    for (unsigned i = 0; i < 5000; i++) {
        char id[16];
        int used = snprintf(id, sizeof id, "%u", i);
        epochs_set(e, epochs_hash((struct str){id, (size_t)used}), i + 1, &everything);
        wrong += everything;
    }
    for (unsigned i = 0; i < 6000; i++) {
        char id[16];
        int used = snprintf(id, sizeof id, "%u", i);
        wrong += epochs_of(e, (struct str){id, (size_t)used}) != (i < 5000 ? i + 1 : 0);
    }
    ok(wrong == 0, "5,000 epochs");
    epochs_set(e, epochs_hash(STR("7")), 3, &everything);
    ok(epochs_of(e, STR("7")) == 8, "an older one changes nothing");
    epochs_set(e, epochs_everything, 4000, &everything);
    ok(everything && epochs_of(e, STR("7")) == 4000 && epochs_of(e, STR("4500")) == 4501 &&
           epochs_of(e, STR("new")) == 4000,
       "an epoch of all products");
    epochs_each(e, count, &n);
    ok(n == 1001, "those that it covers need no room: %zu left", n);
    mem_fail_after(0);
    for (unsigned i = 0; i < 40000 && !everything; i++)
        epochs_set(e, (struct hash128){i + 1, i}, 9000 + i, &everything);
    mem_fail_after(SIZE_MAX);
    ok(epochs_next(e, 5) > 4000, "epochs rise");
    epochs_free(e);
    mem_fail_after(0);
    ok(!epochs_new(), "no memory");
    mem_fail_after(SIZE_MAX);
}

/* Without room for one more product, all get its epoch: too much is forgotten, never too
 * little. */
static void test_epochs_without_memory(void)
{
    struct epochs *e = epochs_new();
    bool everything = false;
    unsigned i = 0;
    mem_fail_after(0);
    for (; i < 100 && !everything; i++)
        epochs_set(e, (struct hash128){i + 1, 7}, 10 + i, &everything);
    mem_fail_after(SIZE_MAX);
    ok(everything && i == 33, "the 33rd finds no room");
    ok(epochs_of(e, STR("any")) == 10 + 32, "and stands for all");
    epochs_free(e);
}

/* ---- trouble, threads ----------------------------------------------------------------------
 */

static void test_no_folder(void)
{
    warnings = 0;
    struct label_cache *c = open_cache((struct label_cache_options){.folder = "/dev/null/x"});
    ok(warnings == 1 && strstr(last_warning, "no disk tier"), "warned: %s", last_warning);
    ok(!ask(c, "q", 0, 5) && ask(c, "q", 0, 5) && ask(c, "q", 0, 5), "memory serves");
    label_cache_close(c);
    size_t opened = 0;
    for (size_t n = 0; n < 12; n++) {
        struct label_cache *made = NULL;
        struct label_cache_options o = {
            .n_classes = K, .folder = folder, .disk_bytes = 1 << 20};
        medley_error err;
        mem_fail_after(n);
        medley_status st = label_cache_open(&o, &made, &err);
        mem_fail_after(SIZE_MAX);
        opened += st == MEDLEY_OK;
        ok(st == MEDLEY_OK || st == MEDLEY_ENOMEM, "allocation %zu fails: %s", n,
           st ? err.message : "goes on without");
        label_cache_close(made);
    }
    ok(opened < 12, "most are needed");
}

static struct label_cache *shared;

static void *hammer(void *context)
{
    struct rng rng;
    size_t hits = 0;
    medley_error err;
    rng_init(&rng, 9, (uint64_t)(uintptr_t)context);
    for (int i = 0; i < 600; i++) {
        hits += ask(shared, "threads", rng_below(&rng, 30) * 10, 10);
        if (i % 150 == 149)
            label_cache_invalidate(shared, &(medley_text){"P5", 2}, 1, &err);
        if (i % 100 == 0)
            tier(shared, 0);
    }
    return (void *)(uintptr_t)hits;
}

static void test_threads(void)
{
    pthread_t threads[4];
    size_t hits = 0;
    shared = open_cache(
        (struct label_cache_options){.entries = 200, .folder = folder, .disk_bytes = 4 << 20});
    for (size_t t = 0; t < 4; t++)
        pthread_create(&threads[t], NULL, hammer, (void *)(uintptr_t)t);
    for (size_t t = 0; t < 4; t++) {
        void *n;
        pthread_join(threads[t], &n);
        hits += (size_t)(uintptr_t)n;
    }
    ok(hits > 1000, "four threads, %zu hits", hits);
    ok(tier(shared, TIER_DISK).hits > 0 && tier(shared, TIER_DISK).errors == 0,
       "some from the disk");
    label_cache_close(shared);
}

int main(void)
{
    snprintf(folder, sizeof folder, "%s/cache", tap_folder());
    test_admission_of_labels();
    test_lists();
    test_crawler();
    test_admission();
    test_invalidation();
    test_epochs();
    test_epochs_without_memory();
    test_no_folder();
    test_threads();
    return tap_done();
}
