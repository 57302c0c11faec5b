/* coalition_plan.c: see coalition.h. The definition of Shapley's value (1953) where all
 * coalitions are known, the mean over random orders elsewhere. Proof: tests/test_coalition.c.
 */
#include "shapley/coalition.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/rng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void coalition_plan_deinit(struct coalition_plan *p)
{
    mem_free(p->coalitions);
    mem_free(p->orders);
    memset(p, 0, sizeof *p);
}

medley_status coalition_plan_exact(size_t n_players, struct coalition_plan *out,
                                   medley_error *err)
{
    struct coalition_plan p = {.n_players = n_players, .n_coalitions = (size_t)1 << n_players};
    p.coalitions = mem_alloc(p.n_coalitions, sizeof *p.coalitions);
    if (!p.coalitions)
        return fail_memory(err, "the list of coalitions");
    for (size_t i = 0; i < p.n_coalitions; i++)
        p.coalitions[i] = i;
    *out = p;
    return MEDLEY_OK;
}

static int ascending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void draw_order(uint8_t *order, size_t n_players, uint64_t seed, uint64_t stream)
{
    uint32_t players[MEDLEY_COALITION_PLAYERS];
    struct rng r;
    rng_init(&r, seed, stream);
    for (size_t i = 0; i < n_players; i++)
        players[i] = (uint32_t)i;
    rng_shuffle_u32(&r, players, n_players);
    for (size_t i = 0; i < n_players; i++)
        order[i] = (uint8_t)players[i];
}

/* The coalitions that form as players join; backwards they are the complements. */
static void list_coalitions(struct coalition_plan *p)
{
    uint64_t all = UINT64_MAX >> (64 - p->n_players);
    size_t n = 0;
    for (size_t o = 0; o < p->n_orders; o++) {
        uint64_t joined = 0;
        for (size_t i = 0; i <= p->n_players; i++) {
            p->coalitions[n++] = joined;
            p->coalitions[n++] = all & ~joined;
            if (i < p->n_players)
                joined |= (uint64_t)1 << p->orders[o * p->n_players + i];
        }
    }
    qsort(p->coalitions, n, sizeof *p->coalitions, ascending);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || p->coalitions[i] != p->coalitions[p->n_coalitions - 1])
            p->coalitions[p->n_coalitions++] = p->coalitions[i];
}

medley_status coalition_plan_sampled(size_t n_players, size_t refits, uint64_t seed,
                                     struct coalition_plan *out, medley_error *err)
{
    struct coalition_plan p = {.n_players = n_players};
    size_t affordable =
        refits > 2 ? (refits - 2) / (2 * (n_players > 1 ? n_players - 1 : 1)) : 0;
    p.n_orders = affordable > 2 ? affordable : 2;
    p.orders = mem_alloc(p.n_orders, n_players);
    p.coalitions = mem_alloc(p.n_orders, 2 * (n_players + 1) * sizeof *p.coalitions);
    if (!p.orders || !p.coalitions) {
        coalition_plan_deinit(&p);
        return fail_memory(err, "orders of players");
    }
    for (size_t o = 0; o < p.n_orders; o++)
        draw_order(p.orders + o * n_players, n_players, seed, o);
    list_coalitions(&p);
    *out = p;
    return MEDLEY_OK;
}

size_t coalition_find(const struct coalition_plan *p, uint64_t coalition)
{
    const uint64_t *found =
        bsearch(&coalition, p->coalitions, p->n_coalitions, sizeof *p->coalitions, ascending);
    return found ? (size_t)(found - p->coalitions) : SIZE_MAX;
}

/* phi_i = sum over S without i of |S|! (M - |S| - 1)! / M! (v(S + i) - v(S)). */
static void exact_values(const struct coalition_plan *p, const double *worth, size_t step,
                         double *shapley)
{
    double weight[64];
    size_t m = p->n_players;
    weight[0] = 1 / (double)m;
    for (size_t s = 1; s < m; s++)
        weight[s] = weight[s - 1] * (double)s / (double)(m - s);
    memset(shapley, 0, m * sizeof *shapley);
    for (size_t c = 0; c < p->n_coalitions; c++)
        for (size_t i = 0; i < m; i++)
            if (!(c >> i & 1))
                shapley[i] += weight[__builtin_popcountll(c)] *
                              (worth[(c | (size_t)1 << i) * step] - worth[c * step]);
}

/* What each player adds as it joins, on average over an order and the same backwards. */
static void pair_values(const struct coalition_plan *p, size_t o, const double *worth,
                        size_t step, double *added)
{
    uint64_t all = UINT64_MAX >> (64 - p->n_players), joined = 0;
    for (size_t i = 0; i < p->n_players; i++) {
        uint8_t player = p->orders[o * p->n_players + i];
        uint64_t after = joined | (uint64_t)1 << player;
        double forwards =
            worth[coalition_find(p, after) * step] - worth[coalition_find(p, joined) * step];
        double backwards = worth[coalition_find(p, all & ~joined) * step] -
                           worth[coalition_find(p, all & ~after) * step];
        added[player] = (forwards + backwards) / 2;
        joined = after;
    }
}

/* Mean and standard error over the pairs, which are independent (Welford's recurrence). */
static void sampled_values(const struct coalition_plan *p, const double *worth, size_t step,
                           double *shapley, double *errors)
{
    double added[MEDLEY_COALITION_PLAYERS];
    memset(shapley, 0, p->n_players * sizeof *shapley);
    memset(errors, 0, p->n_players * sizeof *errors);
    for (size_t o = 0; o < p->n_orders; o++) {
        pair_values(p, o, worth, step, added);
        for (size_t i = 0; i < p->n_players; i++) {
            double d = added[i] - shapley[i];
            shapley[i] += d / (double)(o + 1);
            errors[i] += d * (added[i] - shapley[i]);
        }
    }
    for (size_t i = 0; i < p->n_players; i++)
        errors[i] = sqrt(errors[i] / (double)(p->n_orders - 1) / (double)p->n_orders);
}

void coalition_shapley(const struct coalition_plan *p, const double *worth, size_t step,
                       double *shapley, double *errors)
{
    if (p->n_orders == 0) {
        exact_values(p, worth, step, shapley);
        memset(errors, 0, p->n_players * sizeof *errors);
    } else {
        sampled_values(p, worth, step, shapley, errors);
    }
}
