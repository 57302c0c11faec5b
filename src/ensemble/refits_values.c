/* refits_values.c: Shapley values, differences and interactions from played coalitions, with
 * intervals over the resamples of queries. See refits.h. */
#include "ensemble/refits.h"

#include "base/error.h"
#include "base/memory.h"

#include <math.h>
#include <stdlib.h>

size_t refits_find(const struct refits *r, uint64_t coalition)
{
    return coalition_find(&r->plan, coalition);
}

uint64_t refits_all(const struct refits *r)
{
    return UINT64_MAX >> (64 - r->plan.n_players);
}

static double point(const struct refits *r, size_t at, size_t slice, size_t value)
{
    return r->worth[(at * r->n_slices + slice) * r->n_values + value];
}

static double resampled(const struct refits *r, size_t at, size_t i, size_t slice, size_t value)
{
    return (double)
        r->resampled[((at * r->resamples + i) * r->n_slices + slice) * r->n_values + value];
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double percentile(const double *sorted, size_t n, double q)
{
    double at = q * (double)(n - 1);
    size_t i = (size_t)at;
    return i + 1 < n ? sorted[i] + (at - (double)i) * (sorted[i + 1] - sorted[i])
                     : sorted[n - 1];
}

/* Sorts values[n], those of the resamples; low, high and p_value of *e. */
static void take_interval(double *values, size_t n, struct estimate *e)
{
    e->low = e->high = e->p_value = NAN;
    if (n == 0)
        return;
    size_t below = 0, above = 0;
    for (size_t i = 0; i < n; i++) {
        below += values[i] <= 0;
        above += values[i] >= 0;
    }
    double p = 2 * (double)((below < above ? below : above) + 1) / (double)(n + 1);
    qsort(values, n, sizeof *values, ascending);
    e->low = percentile(values, n, 0.025);
    e->high = percentile(values, n, 0.975);
    e->p_value = p < 1 ? p : 1;
}

medley_status refits_shapley(const struct refits *r, size_t slice, size_t value,
                             struct estimate *out, medley_error *err)
{
    size_t players = r->plan.n_players, n = r->plan.n_coalitions;
    double phi[MEDLEY_COALITION_PLAYERS], errors[MEDLEY_COALITION_PLAYERS];
    double own[MEDLEY_COALITION_PLAYERS];
    double *worth = mem_alloc(n, sizeof *worth);
    double *drawn = mem_alloc(players, (r->resamples + 1) * sizeof *drawn);
    if (!worth || !drawn) {
        mem_free(worth);
        mem_free(drawn);
        return fail_memory(err, "Shapley values");
    }
    for (size_t c = 0; c < n; c++)
        worth[c] = point(r, c, slice, value);
    coalition_shapley(&r->plan, worth, 1, phi, errors);
    for (size_t i = 0; i < r->resamples; i++) {
        for (size_t c = 0; c < n; c++)
            worth[c] = resampled(r, c, i, slice, value);
        double values[MEDLEY_COALITION_PLAYERS];
        coalition_shapley(&r->plan, worth, 1, values, own);
        for (size_t p = 0; p < players; p++)
            drawn[p * r->resamples + i] = values[p];
    }
    for (size_t p = 0; p < players; p++) {
        out[p] = (struct estimate){.value = phi[p], .sampling_error = errors[p]};
        take_interval(drawn + p * r->resamples, r->resamples, &out[p]);
    }
    mem_free(worth);
    mem_free(drawn);
    return MEDLEY_OK;
}

medley_status refits_difference(const struct refits *r, size_t a, size_t b, size_t slice,
                                size_t value, struct estimate *out, medley_error *err)
{
    double *drawn = mem_alloc(r->resamples + 1, sizeof *drawn);
    if (!drawn)
        return fail_memory(err, "resamples");
    *out = (struct estimate){.value = point(r, a, slice, value)};
    if (b != SIZE_MAX)
        out->value -= point(r, b, slice, value);
    for (size_t i = 0; i < r->resamples; i++) {
        drawn[i] = resampled(r, a, i, slice, value);
        if (b != SIZE_MAX)
            drawn[i] -= resampled(r, b, i, slice, value);
    }
    take_interval(drawn, r->resamples, out);
    mem_free(drawn);
    return MEDLEY_OK;
}

double refits_interaction(const struct refits *r, size_t slice, size_t value, size_t i,
                          size_t j)
{
    size_t m = r->plan.n_players;
    uint64_t both = (uint64_t)1 << i | (uint64_t)1 << j;
    double weight[64], sum = 0;
    if (r->plan.n_orders || m < 2 || i == j)
        return NAN;
    weight[0] = 1 / (double)(m - 1); /* s! (m - s - 2)! / (m - 1)! */
    for (size_t s = 1; s + 1 < m; s++)
        weight[s] = weight[s - 1] * (double)s / (double)(m - 1 - s);
    for (uint64_t c = 0; c < r->plan.n_coalitions; c++)
        if (!(c & both))
            sum += weight[__builtin_popcountll(c)] *
                   (point(r, c | both, slice, value) -
                    point(r, c | (uint64_t)1 << i, slice, value) -
                    point(r, c | (uint64_t)1 << j, slice, value) + point(r, c, slice, value));
    return sum;
}
