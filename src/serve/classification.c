/* classification.c: making a classification of a request, its cache keys; classification.h. */
#include "serve/classification.h"

#include "base/cpu.h"
#include "base/error.h"
#include "base/memory.h"

#include <string.h>

void classification_free(struct classification *c)
{
    if (!c)
        return;
    classify_request_deinit(&c->asked);
    mem_free(c->results);
    mem_free(c->stored_ms);
    mem_free(c->contributions);
    mem_free(c->said);
    label_list_deinit(&c->list);
    arena_deinit(&c->texts);
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
                               struct label_cache *cache, medley_error *err)
{
    const struct classify_request *asked = &c->asked;
    struct label_list *l = &c->list;
    struct strbuf folded;
    sb_init(&folded);
    struct str query = {asked->query.s, asked->query.n};
    struct str locale = {asked->locale.s, asked->locale.n};
    medley_status st = label_key_fold(query, &folded, err);
    if (!st)
        label_key_shared(&l->shared, engine->id, c->models, locale, sb_str(&folded));
    sb_deinit(&folded);
    for (size_t i = 0; !st && i < asked->n_products; i++) {
        const medley_product *p = &asked->products[i];
        label_key_own(&l->own, p, cache ? label_cache_epoch(cache, p->id) : 0);
        l->own_ends[i] = l->own.n;
    }
    if (!st && (l->shared.failed || l->own.failed))
        st = fail_memory(err, "cache keys");
    if (st)
        return st;
    l->n = asked->n_products;
    l->shared_hash = label_key_hash(sb_str(&l->shared));
    l->bundle = label_key_bundle(engine->id);
    return MEDLEY_OK;
}

/* Before the keys are made: a text is part of them. */
static medley_status take_texts(const struct server *s, struct classification *c,
                                medley_error *err)
{
    return s->texts ? product_texts_fill(s->texts, c->asked.locale, c->asked.products,
                                         c->asked.n_products, &c->texts, err)
                    : MEDLEY_OK;
}

medley_status classification_new(const struct server *s, struct str body,
                                 const struct engine *engine, struct classification **out,
                                 medley_error *err)
{
    struct classification *c = *out = mem_zalloc(1, sizeof *c);
    if (!c)
        return fail_memory(err, "the classification");
    c->started = clock_seconds();
    sb_init(&c->list.shared);
    sb_init(&c->list.own);
    arena_init(&c->texts, 16384);
    medley_status st = classify_request_parse(body.s ? body.s : "", body.n, &c->asked, err);
    if (!st)
        st = take_texts(s, c, err);
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
    c->list.own_ends = mem_zalloc(n, sizeof *c->list.own_ends);
    if (c->asked.explain)
        c->contributions = mem_zalloc(n, players * engine->n_classes * sizeof(float));
    for (size_t i = 0; c->stored_ms && i < n; i++)
        c->stored_ms[i] = -1;
    if (!c->results || !c->stored_ms || !c->list.own_ends ||
        (c->asked.explain && !c->contributions))
        return fail_memory(err, "the classification");
    return c->asked.cache != CACHE_OFF ? make_keys(c, engine, s->cache, err) : MEDLEY_OK;
}

/* ---- the cache --------------------------------------------------------------------------- */

size_t classification_look_up(struct classification *c, struct label_cache *cache,
                              enum label_reach reach)
{
    struct label_search search = {.now_ms = label_cache_now(),
                                  .max_age_ms = c->asked.max_age_ms,
                                  .results = c->results,
                                  .stored_ms = c->stored_ms};
    return label_cache_find(cache, &c->list, reach, &search);
}

void classification_remember(const struct classification *c, struct label_cache *cache)
{
    label_cache_keep(cache, &c->list, c->results, label_cache_now());
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
                                       .said = c->said,
                                       .traceparent = *c->traceparent ? c->traceparent : NULL};
    return engine->classify(engine->context, asked->query, asked->locale, asked->products,
                            asked->n_products, &options, c->results, err);
}
