/* cost_subset.c: what a subset of models costs together; see cost.h. */
#include "ensemble/cost.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One model's part of a request. */
struct task {
    double ms, ready; /* ready: not before its features are there */
};

static int longest_first(const void *a, const void *b)
{
    const struct task *x = a, *y = b;
    return x->ms == y->ms ? 0 : x->ms < y->ms ? 1 : -1;
}

/* Side by side, the longest first (Graham 1969: within 4/3 of the best there is). */
static double makespan(struct task *tasks, size_t n, unsigned cores)
{
    double busy[64] = {0}, end = 0;
    cores = cores > 64 ? 64 : cores;
    qsort(tasks, n, sizeof *tasks, longest_first);
    for (size_t i = 0; i < n; i++) {
        unsigned c = 0;
        for (unsigned j = 1; j < cores; j++)
            c = busy[j] < busy[c] ? j : c;
        busy[c] = fmax(busy[c], tasks[i].ready) + tasks[i].ms;
        end = fmax(end, busy[c]);
    }
    return end;
}

/* The first model of the mask that has the features of model m encodes the query for all. */
static bool encodes(const struct workspace *w, uint32_t mask, size_t m)
{
    const struct model_config *models = w->config.models;
    if (models[m].kind != KIND_GNN)
        return false;
    for (size_t j = 0; j < m; j++)
        if ((mask >> j & 1) && models[j].kind == KIND_GNN &&
            strcmp(models[j].features, models[m].features) == 0)
            return false;
    return true;
}

static double sample(const struct cost_times *t, size_t i)
{
    return t->n ? (double)t->ms[i < t->n ? i : i % t->n] : 0;
}

/* Milliseconds of request i. */
static double request_ms(const struct workspace *w, const struct model_cost *costs,
                         uint32_t mask, const struct cost_rules *rules, size_t i)
{
    struct task tasks[MEDLEY_MAX_MODELS];
    double sum = 0;
    size_t n = 0;
    for (size_t m = 0; m < w->config.n_models; m++) {
        if (!(mask >> m & 1))
            continue;
        bool first = encodes(w, mask, m);
        double ms = sample(&costs[m].list[rules->size], i);
        double features = sample(&costs[m].features, i);
        sum += ms + (first ? features : 0);
        tasks[n++] = first ? (struct task){ms + features, 0} : (struct task){ms, features};
    }
    return rules->cores > 1 ? makespan(tasks, n, rules->cores) : sum;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void subset_cost(const struct workspace *w, const struct model_cost *costs, uint32_t mask,
                 const struct cost_rules *rules, struct subset_cost *out)
{
    double ms[COST_SAMPLES];
    size_t n = COST_SAMPLES;
    memset(out, 0, sizeof *out);
    for (size_t m = 0; m < w->config.n_models; m++) {
        if (!(mask >> m & 1))
            continue;
        const struct model_cost *c = &costs[m];
        double features = encodes(w, mask, m) ? c->features.p50_ms : 0;
        double own = c->cpu_ms_per_pair + features / (double)cost_list_sizes[COST_SIZES - 1];
        n = c->list[rules->size].n < n ? c->list[rules->size].n : n;
        out->cpu_ms_per_pair += own;
        out->memory += c->memory + (encodes(w, mask, m) ? c->features_memory : 0);
        out->price += w->config.budget.price_of[m] > 0 ? w->config.budget.price_of[m]
                                                       : own * 1e6 / 3.6e6 * rules->core_hour;
    }
    for (size_t i = 0; i < n; i++)
        ms[i] = request_ms(w, costs, mask, rules, i);
    qsort(ms, n, sizeof *ms, ascending);
    out->p50_ms = ms[n / 2];
    out->p99_ms = ms[(n * 99 + 99) / 100 - 1];
    out->pairs_per_s_per_core = out->cpu_ms_per_pair > 0 ? 1e3 / out->cpu_ms_per_pair : 0;
}
