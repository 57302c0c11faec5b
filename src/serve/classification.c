/* classification.c: making a classification of a request, its cache keys; classification.h. */
#include "serve/classification.h"

#include "base/cpu.h"
#include "base/error.h"
#include "base/memory.h"

#include <string.h>
#include <time.h>

static int64_t now_ms(void)
{
    return (int64_t)(clock_seconds() * 1e3);
}

void classification_free(struct classification *c)
{
    if (!c)
        return;
    classify_request_deinit(&c->asked);
    mem_free(c->results);
    mem_free(c->stored_ms);
    mem_free(c->contributions);
    mem_free(c->own_ends);
    sb_deinit(&c->shared);
    sb_deinit(&c->own);
    mem_free(c);
}

/* ---- making ------------------------------------------------------------------------------ */

static medley_status find_model(struct classification *c, const struct engine *e, size_t i,
                                medley_error *err)
{
    const char *name = c->asked.models[i];
    for (size_t m = 0; m < e->n_models; m++) {
        if (strcmp(name, e->models[m]) == 0) {
            c->models |= UINT32_C(1) << m;
            return MEDLEY_OK;
        }
    }
    return fail(err, MEDLEY_EINVAL, "models[%zu]: the bundle has no model '%.100s'", i, name);
}

static medley_status make_keys(struct classification *c, const struct engine *engine,
                               medley_error *err)
{
    const struct classify_request *asked = &c->asked;
    struct strbuf folded;
    sb_init(&folded);
    struct str query = {asked->query.s, asked->query.n};
    struct str locale = {asked->locale.s, asked->locale.n};
    medley_status st = label_cache_fold(query, &folded, err);
    if (!st)
        label_key_shared(&c->shared, engine->id, c->models, locale, sb_str(&folded));
    sb_deinit(&folded);
    for (size_t i = 0; !st && i < asked->n_products; i++) {
        label_key_own(&c->own, &asked->products[i]);
        c->own_ends[i] = c->own.n;
    }
    if (!st && (c->shared.failed || c->own.failed))
        st = fail_memory(err, "cache keys");
    if (!st) {
        c->shared_hash = label_key_hash(sb_str(&c->shared));
        c->list_hash = hash_bytes(c->own.s, c->own.n, c->shared_hash);
    }
    return st;
}

medley_status classification_new(struct str body, const struct engine *engine, bool keys,
                                 struct classification **out, medley_error *err)
{
    struct classification *c = *out = mem_zalloc(1, sizeof *c);
    if (!c)
        return fail_memory(err, "the classification");
    c->started = clock_seconds();
    sb_init(&c->shared);
    sb_init(&c->own);
    medley_status st = classify_request_parse(body.s ? body.s : "", body.n, &c->asked, err);
    for (size_t i = 0; !st && i < c->asked.n_models; i++)
        st = find_model(c, engine, i, err);
    if (st)
        return st;
    /* All by name is the default, unless that is a cascade. */
    if (engine->n_stages == 0 &&
        c->models ==
            (engine->n_models == 32 ? UINT32_MAX : (UINT32_C(1) << engine->n_models) - 1))
        c->models = 0;
    size_t n = c->asked.n_products, players = engine->n_models + 1;
    c->results = mem_zalloc(n, sizeof *c->results);
    c->stored_ms = mem_zalloc(n, sizeof *c->stored_ms);
    c->own_ends = mem_zalloc(n, sizeof *c->own_ends);
    if (c->asked.explain)
        c->contributions = mem_zalloc(n, players * engine->n_classes * sizeof(float));
    if (!c->results || !c->stored_ms || !c->own_ends || (c->asked.explain && !c->contributions))
        return fail_memory(err, "the classification");
    return keys && c->asked.cache != CACHE_OFF ? make_keys(c, engine, err) : MEDLEY_OK;
}

/* ---- the cache --------------------------------------------------------------------------- */

static struct label_key key_at(const struct classification *c, size_t i)
{
    size_t from = i ? c->own_ends[i - 1] : 0;
    struct str own = {c->own.s + from, c->own_ends[i] - from};
    return label_key_of(sb_str(&c->shared), c->shared_hash, own);
}

size_t classification_look_up(struct classification *c, struct label_cache *cache)
{
    size_t found = 0;
    int64_t now = now_ms();
    for (size_t i = 0; i < c->asked.n_products; i++) {
        struct label_key key = key_at(c, i);
        bool there = label_cache_get(cache, &key, now, &c->results[i], &c->stored_ms[i]) &&
                     (c->asked.max_age_ms < 0 || now - c->stored_ms[i] <= c->asked.max_age_ms);
        if (!there)
            c->stored_ms[i] = -1;
        found += there;
    }
    return found;
}

static struct label_key *all_keys(const struct classification *c)
{
    struct label_key *keys = mem_alloc(c->asked.n_products, sizeof *keys);
    for (size_t i = 0; keys && i < c->asked.n_products; i++)
        keys[i] = key_at(c, i);
    return keys;
}

/* Below memory time is that of the wall, which other processes share; here it never runs
 * backwards. */
static int64_t age_ms(int64_t stored_wall_ms)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    int64_t age = (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000 - stored_wall_ms;
    return age > 0 ? age : 0;
}

size_t classification_look_below(struct classification *c, struct label_cache *cache,
                                 struct label_levels *levels)
{
    size_t n = c->asked.n_products, all = 0;
    struct label_key *keys = all_keys(c);
    bool *found = mem_alloc(n, sizeof *found);
    int64_t *stored = mem_alloc(n, sizeof *stored), now = now_ms();
    for (size_t i = 0; found && i < n; i++)
        found[i] = c->stored_ms[i] >= 0;
    if (keys && found && stored) {
        bool *had = mem_alloc(n, sizeof *had);
        if (had) {
            memcpy(had, found, n * sizeof *had);
            label_levels_get(levels, keys, n, found, c->results, stored);
        }
        for (size_t i = 0; had && i < n; i++) {
            if (had[i] || !found[i])
                continue;
            int64_t age = age_ms(stored[i]);
            label_cache_put(cache, &keys[i], &c->results[i], now - age);
            if (c->asked.max_age_ms < 0 || age <= c->asked.max_age_ms)
                c->stored_ms[i] = now - age;
        }
        mem_free(had);
    }
    for (size_t i = 0; i < n; i++)
        all += c->stored_ms[i] >= 0;
    mem_free(keys);
    mem_free(found);
    mem_free(stored);
    return all;
}

/* A model that failed or was late may be back at the next request. */
static bool is_whole(const medley_result *r)
{
    return !r->models_failed && !r->models_late;
}

void classification_remember(const struct classification *c, struct label_cache *cache,
                             struct label_levels *levels)
{
    size_t n = c->asked.n_products;
    int64_t now = now_ms();
    struct label_key *keys = all_keys(c);
    for (size_t i = 0; keys && i < n; i++)
        if (is_whole(&c->results[i]))
            label_cache_put(cache, &keys[i], &c->results[i], now);
    for (size_t i = 0; keys && levels && i < n;) {
        size_t begin = i;
        while (i < n && is_whole(&c->results[i]))
            i++;
        if (i > begin)
            label_levels_put(levels, keys + begin, c->results + begin, i - begin);
        i += i < n;
    }
    mem_free(keys);
}

/* ---- the bundle -------------------------------------------------------------------------- */

medley_status classification_run(struct classification *c, const struct engine *engine,
                                 medley_error *err)
{
    const struct classify_request *asked = &c->asked;
    double deadline = asked->deadline_ms;
    if (deadline > 0) { /* of it, what waiting for a worker has left: a little, if nothing */
        deadline -= (clock_seconds() - c->started) * 1e3;
        deadline = deadline > 0.001 ? deadline : 0.001;
    }
    medley_classify_options options = {.models = c->models,
                                       .deadline_ms = deadline,
                                       .contributions = c->contributions,
                                       .traceparent = *c->traceparent ? c->traceparent : NULL};
    return engine->classify(engine->context, asked->query, asked->locale, asked->products,
                            asked->n_products, &options, c->results, err);
}
