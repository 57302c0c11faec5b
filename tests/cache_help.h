/* cache_help.h: lists of keys and labels for the tests of the label cache. */
#ifndef TESTS_CACHE_HELP_H
#define TESTS_CACHE_HELP_H

#include "base/memory.h"
#include "cache/label_cache.h"
#include "tests/tap.h"

#include <pthread.h>

#define K 3
#define NOW INT64_C(1700000000000)

/* Products "P<first>".."P<first+n-1>" for a query; `cache` (or NULL) knows their epochs. */
__attribute__((unused)) static struct label_list list_of(const char *bundle, const char *query,
                                                         unsigned first, size_t n,
                                                         struct label_cache *cache)
{
    struct label_list l = {.n = n, .own_ends = mem_alloc(n, sizeof(size_t))};
    sb_init(&l.shared);
    sb_init(&l.own);
    label_key_shared(&l.shared, bundle, 0, STR("us"), str_of(query));
    for (size_t i = 0; i < n; i++) {
        char id[24];
        int used = snprintf(id, sizeof id, "P%u", first + (unsigned)i);
        medley_product p = {.id = {id, (size_t)used}};
        label_key_own(&l.own, &p, cache ? label_cache_epoch(cache, p.id) : 0);
        l.own_ends[i] = l.own.n;
    }
    l.shared_hash = label_key_hash(sb_str(&l.shared));
    l.bundle = label_key_bundle(bundle);
    return l;
}

/* Every field follows from the number, so that a mixed-up label shows. */
__attribute__((unused)) static medley_result numbered(unsigned number)
{
    medley_result r = {.label = (uint8_t)(number % K),
                       .known_product = number % 2,
                       .stages = (uint8_t)(number % 5),
                       .models_used = number};
    for (size_t k = 0; k < K; k++) {
        r.probabilities[k] = (float)number / 8;
        r.margins[k] = -(float)number - (float)k;
    }
    return r;
}

__attribute__((unused)) static bool is_numbered(const medley_result *r, unsigned number)
{
    medley_result wanted = numbered(number);
    return memcmp(r, &wanted, sizeof wanted) == 0;
}

/* What a search found. */
struct found {
    size_t n;               /* pairs */
    medley_result *results; /* [list] */
    int64_t *stored_ms;
    struct label_search search;
};

__attribute__((unused)) static struct found found_new(size_t n, int64_t now)
{
    struct found f = {.results = mem_zalloc(n, sizeof *f.results),
                      .stored_ms = mem_alloc(n, sizeof *f.stored_ms)};
    for (size_t i = 0; i < n; i++)
        f.stored_ms[i] = -1;
    f.search = (struct label_search){now, -1, f.results, f.stored_ms};
    return f;
}

__attribute__((unused)) static void found_free(struct found *f)
{
    mem_free(f->results);
    mem_free(f->stored_ms);
}

static pthread_mutex_t warning_lock = PTHREAD_MUTEX_INITIALIZER;
static char last_warning[512];
static unsigned warnings;
__attribute__((unused)) static void keep_warning(void *context, const char *text)
{
    (void)context;
    pthread_mutex_lock(&warning_lock);
    warnings++;
    snprintf(last_warning, sizeof last_warning, "%s", text);
    pthread_mutex_unlock(&warning_lock);
}

#endif
