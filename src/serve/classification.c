/* classification.c: making a classification of a request, its cache keys; classification.h. */
#include "serve/classification.h"

#include "base/cpu.h"
#include "base/error.h"
#include "base/memory.h"

#include <math.h>
#include <string.h>

void classification_free(struct classification *c)
{
    if (!c)
        return;
    classify_request_deinit(&c->asked);
    mem_free(c->results);
    mem_free(c->stored_ms);
    mem_free(c->contributions);
    mem_free(c->given);
    mem_free(c->said);
    label_list_deinit(&c->list);
    arena_deinit(&c->texts);
    mem_free(c);
}

/* ---- making ------------------------------------------------------------------------------ */

/* MEDLEY_MAX_MODELS: there is none. */
static size_t model_of(const struct engine *e, const char *name)
{
    for (size_t m = 0; m < e->n_models; m++)
        if (strcmp(name, e->models[m]) == 0)
            return m;
    return MEDLEY_MAX_MODELS;
}

static medley_status find_model(struct classification *c, const struct engine *e, size_t i,
                                medley_error *err)
{
    size_t m = model_of(e, c->asked.models[i]);
    if (m == MEDLEY_MAX_MODELS)
        return fail(err, MEDLEY_EINVAL, "models[%zu]: the bundle has no model '%.100s'", i,
                    c->asked.models[i]);
    c->models |= UINT32_C(1) << m;
    return MEDLEY_OK;
}

/* ---- predictions ---- */

/* Those of product i, to given[M*K]; model[] is of each name that the request knows. */
static medley_status take_product_predictions(struct classification *c, const struct engine *e,
                                              size_t i, const size_t *model, medley_error *err)
{
    const struct predictions *p = &c->asked.predictions;
    size_t k = e->n_classes;
    float *given = c->given + i * e->n_models * k;
    for (size_t at = i ? c->asked.said_ends[i - 1] : 0; at < c->asked.said_ends[i]; at++) {
        const struct prediction *item = &p->items[at];
        const char *name = p->names[item->name];
        if (model[item->name] == MEDLEY_MAX_MODELS)
            return fail(err, MEDLEY_EINVAL,
                        "products[%zu].predictions.%.100s: the bundle has no such model", i,
                        name);
        if (item->n != k)
            return fail(err, MEDLEY_EINVAL,
                        "products[%zu].predictions.%.100s: %u numbers for %zu classes", i, name,
                        item->n, k);
        memcpy(given + model[item->name] * k, p->values + item->values, k * sizeof *given);
    }
    return MEDLEY_OK;
}

static medley_status take_predictions(struct classification *c, const struct engine *e,
                                      medley_error *err)
{
    const struct classify_request *asked = &c->asked;
    size_t model[MEDLEY_MAX_MODELS], n = asked->n_products * e->n_models * e->n_classes;
    medley_status st = MEDLEY_OK;
    if (!asked->said_ends)
        return MEDLEY_OK;
    if (!(c->given = mem_alloc(n, sizeof *c->given)))
        return fail_memory(err, "predictions");
    for (size_t i = 0; i < n; i++)
        c->given[i] = NAN;
    for (size_t i = 0; i < asked->predictions.n_names; i++)
        model[i] = model_of(e, asked->predictions.names[i]);
    for (size_t i = 0; i < asked->n_products && !st; i++)
        st = take_product_predictions(c, e, i, model, err);
    return st;
}

/* ---- keys ---- */

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
    if (!st)
        st = take_predictions(c, engine, err);
    if (st)
        return st;
    /* All by name is the default, unless that is a cascade. */
    if (engine->n_stages == 0 &&
        c->models ==
            (engine->n_models == 32 ? UINT32_MAX : (UINT32_C(1) << engine->n_models) - 1))
        c->models = 0;
    c->usual = c->models == 0 && !c->given;
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
                                       .only_given = asked->asks_none,
                                       .given = c->given,
                                       .deadline_ms = deadline,
                                       .contributions = c->contributions,
                                       .said = c->said,
                                       .traceparent = *c->traceparent ? c->traceparent : NULL};
    return engine->classify(engine->context, asked->query, asked->locale, asked->products,
                            asked->n_products, &options, c->results, err);
}
