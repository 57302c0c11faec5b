/* select_choose.c: the front, and which subset of it is taken; see select.h. */
#include "ensemble/select.h"

#include "base/error.h"
#include "base/memory.h"

#include <math.h>

double select_score(const struct selection *x, const struct subset *a)
{
    return x->value == VALUE_LOG_LOSS ? -a->value[x->value] : a->value[x->value];
}

const struct subset *select_find(const struct selection *x, uint32_t mask)
{
    for (size_t i = 0; i < x->n; i++)
        if (x->subsets[i].mask == mask)
            return &x->subsets[i];
    return NULL;
}

void select_mark(struct selection *x)
{
    for (size_t i = 0; i < x->n; i++) {
        struct subset *a = &x->subsets[i];
        double score = select_score(x, a), ms = a->cost.p50_ms;
        a->pareto = true;
        for (size_t j = 0; j < x->n && a->pareto; j++) {
            double other = select_score(x, &x->subsets[j]), cost = x->subsets[j].cost.p50_ms;
            a->pareto = !(cost <= ms && other >= score && (cost < ms || other > score));
        }
    }
}

/* Better score wins; at equal scores the cheaper. */
static bool better(const struct selection *x, const struct subset *a, const struct subset *b)
{
    double d = select_score(x, a) - select_score(x, b);
    if (d != 0)
        return d > 0;
    if (a->cost.p50_ms != b->cost.p50_ms)
        return a->cost.p50_ms < b->cost.p50_ms;
    return a->mask < b->mask;
}

const struct subset *select_best(const struct selection *x)
{
    const struct subset *best = NULL;
    for (size_t i = 0; i < x->n; i++)
        if (x->subsets[i].within_budget && (!best || better(x, &x->subsets[i], best)))
            best = &x->subsets[i];
    return best;
}

/* The front within the budget, as a curve of score over latency, both from 0 to 1: the point
 * farthest above the line between its ends (Satopaa and others 2011). */
const struct subset *select_knee(const struct selection *x)
{
    const struct subset *knee = NULL;
    double low = INFINITY, high = -INFINITY, worst = INFINITY, top = -INFINITY, farthest = 0;
    for (size_t i = 0; i < x->n; i++) {
        const struct subset *a = &x->subsets[i];
        if (!a->pareto || !a->within_budget)
            continue;
        low = fmin(low, a->cost.p50_ms), high = fmax(high, a->cost.p50_ms);
        worst = fmin(worst, select_score(x, a)), top = fmax(top, select_score(x, a));
    }
    for (size_t i = 0; i < x->n; i++) {
        const struct subset *a = &x->subsets[i];
        if (!a->pareto || !a->within_budget)
            continue;
        double above = (select_score(x, a) - worst) / fmax(top - worst, 1e-12) -
                       (a->cost.p50_ms - low) / fmax(high - low, 1e-12);
        if (!knee || above > farthest)
            knee = a, farthest = above;
    }
    return knee ? knee : select_best(x);
}

/* Is `a` worse than `best` beyond noise? Unknown (it was not played with resamples) counts. */
static medley_status is_worse(const struct selection *x, const struct subset *a,
                              const struct subset *best, bool *out, medley_error *err)
{
    size_t i = refits_find(&x->game, best->mask), j = refits_find(&x->game, a->mask);
    struct estimate d;
    *out = true;
    if (i == SIZE_MAX || j == SIZE_MAX || x->game.resamples == 0)
        return MEDLEY_OK;
    medley_status st = refits_difference(&x->game, i, j, 0, x->value, &d, err);
    if (!st)
        *out = x->value == VALUE_LOG_LOSS ? d.high < 0 : d.low > 0;
    return st;
}

medley_status select_cheapest(const struct selection *x, const struct subset **out,
                              medley_error *err)
{
    const struct subset *best = select_best(x), *cheapest = best;
    medley_status st = MEDLEY_OK;
    for (size_t i = 0; i < x->n && !st; i++) {
        const struct subset *a = &x->subsets[i];
        bool worse;
        if (!a->within_budget || a->cost.p50_ms >= cheapest->cost.p50_ms)
            continue;
        st = is_worse(x, a, best, &worse, err);
        if (!st && !worse)
            cheapest = a;
    }
    *out = cheapest;
    return st;
}

static double fold_value(const struct selection *x, size_t at, size_t fold)
{
    const struct refits *g = &x->game;
    double v = g->by_fold[(at * g->n_folds + fold) * FOLD_VALUES + x->value];
    return x->value == VALUE_LOG_LOSS ? -v : v;
}

double select_optimism(const struct selection *x)
{
    const struct refits *g = &x->game;
    double told = 0, found = 0;
    if (!x->exact || g->n_folds < 2)
        return NAN;
    for (size_t f = 0; f < g->n_folds; f++) {
        double best_others = -INFINITY, best_all = -INFINITY, here = 0;
        for (size_t i = 0; i < x->n; i++) {
            size_t at = refits_find(g, x->subsets[i].mask);
            double others = 0, all = 0;
            if (!x->subsets[i].within_budget)
                continue;
            for (size_t h = 0; h < g->n_folds; h++) {
                all += fold_value(x, at, h);
                others += h == f ? 0 : fold_value(x, at, h);
            }
            if (others > best_others)
                best_others = others, here = fold_value(x, at, f);
            best_all = fmax(best_all, all);
        }
        told += best_all / (double)(g->n_folds * g->n_folds);
        found += here / (double)g->n_folds;
    }
    return told - found;
}
