/* select_search.c: which subsets are refitted and measured; see select.h. */
#include "ensemble/select.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/progress.h"

#include <limits.h>
#include <string.h>

static void add_subset(struct selection *x, uint32_t mask, const double value[FOLD_VALUES])
{
    const struct budget_config *b = &x->w->config.budget;
    struct subset *a = &x->subsets[x->n++];
    *a = (struct subset){.mask = mask};
    memcpy(a->value, value, sizeof a->value);
    subset_cost(x->w, x->cost, a->mask, &x->rules, &a->cost);
    const struct subset_cost *c = &a->cost;
    a->within_budget =
        (a->mask & b->pinned) == b->pinned && (!b->latency_ms || c->p50_ms <= b->latency_ms) &&
        (!b->latency_p99_ms || c->p99_ms <= b->latency_p99_ms) &&
        (!b->throughput || c->pairs_per_s_per_core >= b->throughput) &&
        (!b->memory || c->memory <= b->memory) && (!b->price || c->price <= b->price) &&
        (!b->top || (unsigned)__builtin_popcount(a->mask) <= b->top);
}

static medley_status play(struct selection *x, const uint64_t *list, size_t n,
                          unsigned resamples, struct refits *out, medley_error *err)
{
    struct refit_options o = {.rounds = x->rounds,
                              .resamples = resamples,
                              .seed = x->w->config.stacking.seed,
                              .list = list,
                              .n_list = n};
    return refits_play(&x->s, &x->players, &x->slices, &o, out, err);
}

static medley_status try_every(struct selection *x, medley_error *err)
{
    medley_status st = play(x, NULL, 0, 0, &x->game, err);
    for (size_t i = 1; i < x->game.plan.n_coalitions && !st; i++)
        add_subset(x, (uint32_t)x->game.plan.coalitions[i],
                   x->game.worth + i * x->game.n_slices * x->game.n_values);
    return st;
}

/* Refits those of list[n] that no search has met, and keeps what they are worth. */
static medley_status refit_unknown(struct selection *x, const uint64_t *list, size_t n,
                                   medley_error *err)
{
    struct refits r = {0};
    uint64_t *unknown = mem_alloc(n + 1, sizeof *unknown);
    size_t fresh = 0;
    if (!unknown)
        return fail_memory(err, "model subsets");
    for (size_t i = 0; i < n; i++)
        if (!select_kept_find(x, (uint32_t)list[i]))
            unknown[fresh++] = list[i];
    medley_status st = fresh ? play(x, unknown, fresh, UINT_MAX, &r, err) : MEDLEY_OK;
    for (size_t i = 0; fresh && !st && i < r.plan.n_coalitions; i++)
        st = select_kept_add(x, (uint32_t)r.plan.coalitions[i],
                             r.worth + i * r.n_slices * r.n_values, err);
    if (fresh)
        refits_close(&r);
    mem_free(unknown);
    return st;
}

/* Takes those of list[n] that are new to this search, as far as the limit allows; in their
 * order, whether they were known or not. */
static medley_status try_list(struct selection *x, uint64_t *list, size_t n, medley_error *err)
{
    size_t fresh = 0;
    for (size_t i = 0; i < n && x->n + fresh < x->capacity; i++)
        if (list[i] && !select_find(x, (uint32_t)list[i]))
            list[fresh++] = list[i];
    medley_status st = refit_unknown(x, list, fresh, err);
    for (size_t i = 0; i < fresh && !st; i++)
        add_subset(x, (uint32_t)list[i], select_kept_find(x, (uint32_t)list[i]));
    return st;
}

/* From all models down to one (or those pinned), dropping each time the model whose loss costs
 * least. */
static medley_status way_down(struct selection *x, medley_error *err)
{
    uint64_t list[MEDLEY_MAX_MODELS];
    uint32_t at = stack_all(&x->s);
    list[0] = at;
    medley_status st = try_list(x, list, 1, err);
    while (!st && __builtin_popcount(at) > 1 && x->n < x->capacity) {
        size_t n = 0;
        uint32_t from = at;
        const struct subset *top = NULL;
        for (size_t j = 0; j < x->s.n_models; j++)
            if ((from & ~x->w->config.budget.pinned) >> j & 1)
                list[n++] = from & ~(UINT32_C(1) << j);
        st = try_list(x, list, n, err);
        for (size_t j = 0; j < x->s.n_models && !st; j++) {
            const struct subset *a =
                from >> j & 1 ? select_find(x, from & ~(UINT32_C(1) << j)) : NULL;
            if (a && (!top || select_score(x, a) > select_score(x, top)))
                top = a;
        }
        if (!top)
            break;
        at = top->mask;
    }
    return st;
}

/* Adds, drops and swaps of one model from the best within the budget, until none is better. */
static medley_status improve(struct selection *x, medley_error *err)
{
    enum { MOST = MEDLEY_MAX_MODELS * MEDLEY_MAX_MODELS };
    uint64_t *list = mem_alloc(MOST, sizeof *list);
    medley_status st = list ? MEDLEY_OK : fail_memory(err, "a search");
    uint32_t before = 0;
    while (!st && x->n < x->capacity) {
        const struct subset *best = select_best(x);
        size_t n = 0;
        if (!best || best->mask == before)
            break;
        before = best->mask;
        for (size_t i = 0; i < x->s.n_models; i++) {
            list[n++] = before ^ (UINT32_C(1) << i);
            for (size_t j = 0; j < x->s.n_models && n < MOST - 1; j++)
                if ((before >> i & 1) && !(before >> j & 1))
                    list[n++] = before ^ (UINT32_C(1) << i) ^ (UINT32_C(1) << j);
        }
        st = try_list(x, list, n, err);
    }
    mem_free(list);
    return st;
}

/* Every model by itself too: a budget may hold no more. */
static medley_status try_single(struct selection *x, medley_error *err)
{
    uint64_t list[MEDLEY_MAX_MODELS];
    for (size_t i = 0; i < x->s.n_models; i++)
        list[i] = UINT64_C(1) << i;
    return try_list(x, list, x->s.n_models, err);
}

medley_status select_search(struct selection *x, medley_error *err)
{
    x->exact = x->s.n_models <= SELECT_EXACT;
    x->capacity = x->exact ? (size_t)1 << x->s.n_models : SELECT_SEARCH;
    x->subsets = mem_zalloc(x->capacity, sizeof *x->subsets);
    if (!x->subsets)
        return fail_memory(err, "model subsets");
    if (x->exact)
        return try_every(x, err);
    select_kept_read(x);
    size_t known = x->n_kept;
    medley_status st = try_single(x, err);
    if (!st)
        st = way_down(x, err);
    if (!st)
        st = improve(x, err);
    if (!st && x->n_kept > known)
        st = select_kept_write(x, err);
    return st;
}

/* Neighbours of the chosen one, the front and the best of all. */
medley_status select_play_told(struct selection *x, const struct subset *chosen,
                               medley_error *err)
{
    if (x->exact)
        return MEDLEY_OK;
    uint64_t *list = mem_alloc(x->n + x->s.n_models + 2, sizeof *list);
    if (!list)
        return fail_memory(err, "model subsets");
    size_t n = 0;
    list[n++] = stack_all(&x->s);
    list[n++] = chosen->mask;
    for (size_t i = 0; i < x->s.n_models; i++)
        if (chosen->mask ^ (UINT32_C(1) << i))
            list[n++] = chosen->mask ^ (UINT32_C(1) << i);
    for (size_t i = 0; i < x->n; i++)
        if (x->subsets[i].pareto)
            list[n++] = x->subsets[i].mask;
    refits_close(&x->game);
    medley_status st = play(x, list, n, 0, &x->game, err);
    mem_free(list);
    return st;
}
