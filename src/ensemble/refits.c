/* refits.c: plays the game of refits.h. The table of all players is binned once for each fold;
 * a refit sees the columns of its coalition. Refits run side by side, the large ones first;
 * what comes out does not depend on threads. Proof: tests/test_refits.c. */
#include "ensemble/refits.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/pool.h"
#include "base/progress.h"
#include "base/rng.h"
#include "data/metrics_count.h"
#include "ensemble/refits_file.h"

#include <limits.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { EXACT_PLAYERS = 12, REFITS = 600, RESAMPLES = 500, FEWEST_RESAMPLES = 100 };
#define RESAMPLED_BYTES ((size_t)256 << 20)

struct fold {
    medley_gbdt_data *data;    /* of the other folds' rows */
    float *x;                  /* [n * F] the fold's own */
    uint32_t *row;             /* [n] in the stack */
    double prior[MAX_CLASSES]; /* class shares of the other folds */
    size_t n;
};

struct playing {
    const struct stack *s;
    const struct players *players;
    const struct slices *slices;
    struct refit_options options;
    struct refits *r;
    size_t n_features;
    uint32_t *mask_players; /* [F] whose columns go missing together in training */
    struct fold *folds;
    uint32_t *group; /* [n_groups + 1] first row of each query */
    size_t n_groups;
    uint8_t *weight; /* [resamples * n_groups] how often each query was drawn */
    uint32_t *order; /* [n_coalitions] largest first */
    atomic_size_t done;
    atomic_int failed;
    medley_error error;
};

/* ---- tables ---- */

static medley_status prepare_fold(struct playing *p, const float *x, unsigned which,
                                  medley_error *err)
{
    const struct stack *s = p->s;
    struct fold *f = &p->folds[which];
    size_t width = p->n_features, n_fit = 0;
    double weight = 0;
    float *fit = mem_alloc(s->n, width * sizeof *fit);
    uint8_t *label = mem_alloc(s->n, 1);
    f->x = mem_alloc(s->n, width * sizeof *f->x);
    f->row = mem_alloc(s->n, sizeof *f->row);
    medley_status st =
        fit && label && f->x && f->row ? MEDLEY_OK : fail_memory(err, "fold tables");
    for (size_t i = 0; i < s->n && !st; i++) {
        if (s->fold[i] == which) {
            memcpy(f->x + f->n * width, x + i * width, width * sizeof *x);
            f->row[f->n++] = (uint32_t)i;
        } else {
            memcpy(fit + n_fit * width, x + i * width, width * sizeof *x);
            f->prior[s->label[i]] += s->class_weights[s->label[i]];
            weight += s->class_weights[s->label[i]];
            label[n_fit++] = s->label[i];
        }
    }
    if (!st && n_fit == 0)
        st = fail(err, MEDLEY_EINVAL, "all labelled examples are in fold %u", which);
    for (size_t c = 0; c < s->n_classes && !st; c++)
        f->prior[c] = (f->prior[c] + 0.5) / (weight + 0.5 * (double)s->n_classes);
    if (!st) {
        medley_gbdt_options o = stack_gbdt_options(s, NULL);
        medley_table table = {fit, label, NULL, n_fit, width, s->n_classes};
        st = medley_gbdt_data_new(&table, o.max_bins, NULL, &f->data, err);
    }
    mem_free(fit);
    mem_free(label);
    return st;
}

static medley_status prepare_folds(struct playing *p, medley_error *err)
{
    struct design_shape shape = stack_shape(p->s, stack_all(p->s));
    float *x = NULL;
    p->mask_players = mem_alloc(p->n_features, sizeof *p->mask_players);
    p->folds = mem_zalloc(p->s->n_folds, sizeof *p->folds);
    if (!p->mask_players || !p->folds)
        return fail_memory(err, "fold tables");
    stack_mask_players(&shape, p->mask_players);
    medley_status st = stack_design(p->s, stack_all(p->s), &x, err);
    for (unsigned f = 0; f < p->s->n_folds && !st; f++)
        st = prepare_fold(p, x, f, err);
    mem_free(x);
    return st;
}

/* Resample r draws from random stream r, as elsewhere (data/bootstrap.c). */
static medley_status draw_resamples(struct playing *p, medley_error *err)
{
    const struct stack *s = p->s;
    p->group = mem_alloc(s->n + 1, sizeof *p->group);
    if (!p->group)
        return fail_memory(err, "queries");
    for (size_t i = 0; i < s->n; i++)
        if (i == 0 || s->query[i] != s->query[i - 1])
            p->group[p->n_groups++] = (uint32_t)i;
    p->group[p->n_groups] = (uint32_t)s->n;
    p->weight = mem_zalloc(p->r->resamples, p->n_groups);
    if (!p->weight)
        return fail_memory(err, "resamples");
    for (size_t r = 0; r < p->r->resamples; r++) {
        struct rng rng;
        rng_init(&rng, p->options.seed, r);
        for (size_t draw = 0; draw < p->n_groups; draw++) {
            uint8_t *w = &p->weight[r * p->n_groups + rng_below(&rng, (uint32_t)p->n_groups)];
            *w = (uint8_t)(*w + (*w < UINT8_MAX));
        }
    }
    return MEDLEY_OK;
}

/* ---- one coalition ---- */

static void fill_prior(const struct fold *f, size_t k, float *probabilities)
{
    for (size_t i = 0; i < f->n; i++)
        for (size_t c = 0; c < k; c++)
            probabilities[i * k + c] = (float)f->prior[c];
}

static medley_status refit_fold(const struct playing *p, const struct fold *f,
                                const uint8_t *used, bool any, float *probabilities,
                                medley_error *err)
{
    if (!any || f->n == 0) {
        fill_prior(f, p->s->n_classes, probabilities);
        return MEDLEY_OK;
    }
    medley_gbdt_options o = stack_gbdt_options(p->s, p->mask_players);
    medley_gbdt *model = NULL;
    o.rounds = p->options.rounds;
    o.seed = p->options.seed;
    o.use_features = used;
    o.quiet = true;
    medley_status st = medley_gbdt_train_data(f->data, NULL, &o, &model, err);
    if (!st)
        st = medley_gbdt_predict(model, f->x, f->n, probabilities, err);
    medley_gbdt_free(model);
    return st;
}

static medley_status refit(const struct playing *p, uint64_t coalition,
                           struct outcome *outcomes, medley_error *err)
{
    size_t k = p->s->n_classes;
    bool any = false;
    uint8_t *used = mem_alloc(p->n_features, 1);
    float *probabilities = mem_alloc(p->s->n, k * sizeof *probabilities);
    medley_status st =
        used && probabilities ? MEDLEY_OK : fail_memory(err, "a coalition's predictions");
    for (size_t i = 0; i < p->n_features && !st; i++) {
        uint32_t player = p->players->of_feature[i];
        used[i] = player == MEDLEY_NO_PLAYER || (coalition >> player & 1);
        any |= used[i];
    }
    for (size_t f = 0; f < p->s->n_folds && !st; f++) {
        const struct fold *fold = &p->folds[f];
        st = refit_fold(p, fold, used, any, probabilities, err);
        for (size_t i = 0; i < fold->n && !st; i++)
            outcomes[fold->row[i]] =
                outcome_of(probabilities + i * k, p->s->label[fold->row[i]], k);
    }
    mem_free(used);
    mem_free(probabilities);
    return st;
}

/* ---- its values ---- */

static void take_values(const struct tally *t, size_t k, double *out)
{
    struct metrics m;
    tally_metrics(t, k, &m);
    out[VALUE_MACRO_F1] = m.macro_f1;
    out[VALUE_ACCURACY] = m.accuracy;
    out[VALUE_LOG_LOSS] = m.log_loss;
    for (size_t c = 0; c < k; c++)
        out[VALUE_F1 + c] = m.per_class[c].f1;
}

static void add_tally(struct tally *sum, const struct tally *t, size_t k)
{
    sum->loss += t->loss;
    for (size_t i = 0; i < k; i++) {
        sum->support[i] += t->support[i];
        for (size_t j = 0; j < k; j++)
            sum->confusion[i][j] += t->confusion[i][j];
    }
}

static void add_weighted(struct tally *t, const struct outcome *o, unsigned weight)
{
    t->loss += weight * o->loss;
    t->support[o->label] += weight;
    if (o->predicted != OUTCOME_MISSING)
        t->confusion[o->label][o->predicted] += weight;
}

/* Of all slices: cells are counted once and added up. weight NULL: every query once. */
static void values_of(const struct playing *p, const struct outcome *outcomes,
                      const uint8_t *weight, struct tally *cells, double *out)
{
    const struct slices *x = p->slices;
    size_t k = p->s->n_classes;
    memset(cells, 0, x->n_cells * sizeof *cells);
    for (size_t g = 0; g < p->n_groups; g++) {
        unsigned w = weight ? weight[g] : 1;
        for (size_t i = p->group[g]; w && i < p->group[g + 1]; i++)
            add_weighted(&cells[x->cell[i]], &outcomes[i], w);
    }
    for (size_t a = 0; a < x->n; a++) {
        struct tally sum = {0};
        for (size_t c = 0; c < x->n_cells; c++)
            if (x->holds[a * x->n_cells + c])
                add_tally(&sum, &cells[c], k);
        take_values(&sum, k, out + a * p->r->n_values);
    }
}

static void values_by_fold(const struct playing *p, const struct outcome *outcomes, double *out)
{
    for (size_t f = 0; f < p->s->n_folds; f++) {
        struct tally t = {0};
        double values[VALUE_F1 + MAX_CLASSES];
        for (size_t i = 0; i < p->folds[f].n; i++)
            tally_add(&t, &outcomes[p->folds[f].row[i]]);
        take_values(&t, p->s->n_classes, values);
        memcpy(out + f * FOLD_VALUES, values, FOLD_VALUES * sizeof *values);
    }
}

static medley_status play_one(const struct playing *p, size_t at, medley_error *err)
{
    struct refits *r = p->r;
    size_t width = r->n_slices * r->n_values;
    struct outcome *outcomes = mem_alloc(p->s->n, sizeof *outcomes);
    struct tally *cells = mem_alloc(p->slices->n_cells, sizeof *cells);
    double *values = mem_alloc(width, sizeof *values);
    medley_status st = outcomes && cells && values
                           ? refit(p, r->plan.coalitions[at], outcomes, err)
                           : fail_memory(err, "a coalition's values");
    if (!st) {
        values_of(p, outcomes, NULL, cells, r->worth + at * width);
        values_by_fold(p, outcomes, r->by_fold + at * r->n_folds * FOLD_VALUES);
    }
    for (size_t i = 0; i < r->resamples && !st; i++) {
        float *out = r->resampled + (at * r->resamples + i) * width;
        values_of(p, outcomes, p->weight + i * p->n_groups, cells, values);
        for (size_t j = 0; j < width; j++)
            out[j] = (float)values[j];
    }
    mem_free(outcomes);
    mem_free(cells);
    mem_free(values);
    return st;
}

static void play_some(void *context, size_t begin, size_t end, unsigned worker)
{
    struct playing *p = context;
    (void)worker;
    for (size_t i = begin; i < end && !atomic_load(&p->failed); i++) {
        medley_error error = {0};
        medley_status st = interrupted() ? fail(&error, MEDLEY_EINTERRUPTED, "interrupted")
                                         : play_one(p, p->order[i], &error);
        int none = MEDLEY_OK;
        if (st && atomic_compare_exchange_strong(&p->failed, &none, (int)st))
            p->error = error;
        progress_step("coalitions", atomic_fetch_add(&p->done, 1) + 1, p->r->plan.n_coalitions,
                      "refits");
    }
}

/* ---- all of them ---- */

static int ascending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Leave-one-out and single players are wanted whatever orders were drawn. */
static medley_status add_single_players(struct coalition_plan *plan, medley_error *err)
{
    size_t m = plan->n_players, n = plan->n_coalitions, kept = 0;
    uint64_t all = UINT64_MAX >> (64 - m);
    uint64_t *list = mem_resize(plan->coalitions, n + 2 * m, sizeof *list);
    if (!list)
        return fail_memory(err, "coalitions");
    plan->coalitions = list;
    for (size_t i = 0; i < m; i++) {
        list[n++] = (uint64_t)1 << i;
        list[n++] = all & ~((uint64_t)1 << i);
    }
    qsort(list, n, sizeof *list, ascending);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || list[i] != list[kept - 1])
            list[kept++] = list[i];
    plan->n_coalitions = kept;
    return MEDLEY_OK;
}

/* Sorted, without repetition. */
static medley_status take_list(const struct refit_options *o, struct coalition_plan *plan,
                               medley_error *err)
{
    plan->coalitions = mem_alloc(o->n_list, sizeof *plan->coalitions);
    if (!plan->coalitions)
        return fail_memory(err, "coalitions");
    memcpy(plan->coalitions, o->list, o->n_list * sizeof *o->list);
    qsort(plan->coalitions, o->n_list, sizeof *plan->coalitions, ascending);
    for (size_t i = 0; i < o->n_list; i++)
        if (i == 0 || plan->coalitions[i] != plan->coalitions[plan->n_coalitions - 1])
            plan->coalitions[plan->n_coalitions++] = plan->coalitions[i];
    return MEDLEY_OK;
}

static medley_status make_plan(struct playing *p, medley_error *err)
{
    const struct refit_options *o = &p->options;
    p->r->plan.n_players = p->players->n;
    if (o->list)
        return take_list(o, &p->r->plan, err);
    size_t m = p->players->n;
    unsigned exact = o->exact_players ? o->exact_players : EXACT_PLAYERS;
    if (m <= exact)
        return coalition_plan_exact(m, &p->r->plan, err);
    medley_status st =
        coalition_plan_sampled(m, o->refits ? o->refits : REFITS, o->seed, &p->r->plan, err);
    return st ? st : add_single_players(&p->r->plan, err);
}

static size_t choose_resamples(const struct playing *p)
{
    const struct refits *r = p->r;
    if (p->options.resamples == UINT_MAX)
        return 0;
    size_t wanted = p->options.resamples ? p->options.resamples : RESAMPLES;
    size_t each = r->plan.n_coalitions * r->n_slices * r->n_values * sizeof *r->resampled;
    size_t fit = RESAMPLED_BYTES / each;
    fit = fit < FEWEST_RESAMPLES ? FEWEST_RESAMPLES : fit;
    return wanted < fit ? wanted : fit;
}

static medley_status make_space(struct playing *p, medley_error *err)
{
    struct refits *r = p->r;
    medley_status st = make_plan(p, err);
    if (st)
        return st;
    r->n_slices = p->slices->n;
    r->n_values = VALUE_F1 + p->s->n_classes;
    r->n_folds = p->s->n_folds;
    r->resamples = choose_resamples(p);
    size_t width = r->n_slices * r->n_values, n = r->plan.n_coalitions;
    r->worth = mem_zalloc(n, width * sizeof *r->worth);
    r->by_fold = mem_zalloc(n, r->n_folds * FOLD_VALUES * sizeof *r->by_fold);
    r->resampled = mem_zalloc(n * (r->resamples + 1), width * sizeof *r->resampled);
    return r->worth && r->by_fold && r->resampled ? MEDLEY_OK
                                                  : fail_memory(err, "coalitions' values");
}

static int larger_first(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x == y ? 0 : x > y ? -1 : 1;
}

static medley_status put_in_order(struct playing *p, medley_error *err)
{
    size_t n = p->r->plan.n_coalitions;
    uint64_t *keys = mem_alloc(n, sizeof *keys);
    p->order = mem_alloc(n, sizeof *p->order);
    if (!keys || !p->order) {
        mem_free(keys);
        return fail_memory(err, "coalitions");
    }
    for (size_t i = 0; i < n; i++)
        keys[i] = (uint64_t)__builtin_popcountll(p->r->plan.coalitions[i]) << 32 | i;
    qsort(keys, n, sizeof *keys, larger_first);
    for (size_t i = 0; i < n; i++)
        p->order[i] = (uint32_t)keys[i];
    mem_free(keys);
    return MEDLEY_OK;
}

static medley_status play_all(struct playing *p, medley_error *err)
{
    medley_status st = prepare_folds(p, err);
    if (!st)
        st = draw_resamples(p, err);
    if (!st)
        st = put_in_order(p, err);
    if (st)
        return st;
    parallel_for(p->r->plan.n_coalitions, 1, play_some, p);
    progress_end("coalitions");
    st = (medley_status)atomic_load(&p->failed);
    if (st && err)
        *err = p->error;
    return st;
}

static void playing_free(struct playing *p)
{
    for (size_t f = 0; p->folds && f < p->s->n_folds; f++) {
        medley_gbdt_data_free(p->folds[f].data);
        mem_free(p->folds[f].x);
        mem_free(p->folds[f].row);
    }
    mem_free(p->folds);
    mem_free(p->mask_players);
    mem_free(p->group);
    mem_free(p->weight);
    mem_free(p->order);
}

medley_status refits_play(const struct stack *s, const struct players *players,
                          const struct slices *slices, const struct refit_options *options,
                          struct refits *out, medley_error *err)
{
    struct refits r = {0};
    struct playing p = {.s = s,
                        .players = players,
                        .slices = slices,
                        .options = *options,
                        .r = &r,
                        .n_features = players->n_features};
    medley_status st = make_space(&p, err);
    struct hash128 key = {0, 0};
    bool found = false, kept = false;
    if (!st) {
        key = refits_key(s, players, slices, options, &r);
        kept = r.resamples && !options->list;
        found = kept && refits_read(s->w, players->by, key, &r);
        st = found ? MEDLEY_OK : play_all(&p, err);
    }
    if (!st && !found && kept)
        st = refits_write(s->w, players->by, key, &r, err);
    playing_free(&p);
    if (st)
        refits_close(&r);
    else
        *out = r;
    return st;
}

void refits_close(struct refits *r)
{
    coalition_plan_deinit(&r->plan);
    mem_free(r->worth);
    mem_free(r->by_fold);
    mem_free(r->resampled);
    memset(r, 0, sizeof *r);
}
