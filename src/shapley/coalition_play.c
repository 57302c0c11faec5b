/* coalition_play.c: plays the game of medley/coalition.h: refits the trees for every coalition
 * of the plan and keeps the metrics on held-out rows.
 *
 * Bins are made once; a refit sees the features of its coalition (options.use_features). Refits
 * run side by side, one thread each, the large ones first so that no thread waits long at the
 * end; a refit's result does not depend on the thread, so neither does the game. Proof:
 * tests/test_coalition.c. */
#include "shapley/coalition.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/pool.h"
#include "data/metrics.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct medley_coalition {
    struct coalition_plan plan;
    double *worth; /* [n_coalitions, MEDLEY_METRICS] */
    size_t refits;
};

/* A refit still to be made. */
struct refit {
    size_t coalition, features; /* place in the plan; how many features it has */
};

struct playing {
    struct medley_coalition *game;
    const medley_table *train, *held_out;
    const uint32_t *player_of_feature;
    medley_gbdt_options trees;
    medley_coalition_options options;
    medley_gbdt_data *data;
    struct refit *refits;
    size_t n_refits;
    pthread_mutex_t lock; /* of all below, and of calls to options.progress */
    size_t done;
    medley_status status; /* the first failure ends the game */
    medley_error error;
};

const char *medley_metric_name(enum medley_metric metric)
{
    static const char *const names[MEDLEY_METRICS] = {"accuracy", "macro_f1", "log_loss"};
    return metric < MEDLEY_METRICS ? names[metric] : NULL;
}

/* ---- one coalition ---- */

static void keep_metrics(const struct playing *p, size_t coalition, const float *probabilities)
{
    struct metrics m;
    metrics_compute(probabilities, p->held_out->labels, NULL, p->held_out->n,
                    p->held_out->n_classes, &m);
    double *out = p->game->worth + coalition * MEDLEY_METRICS;
    out[MEDLEY_METRIC_ACCURACY] = m.accuracy;
    out[MEDLEY_METRIC_MACRO_F1] = m.macro_f1;
    out[MEDLEY_METRIC_LOG_LOSS] = m.log_loss;
}

/* Where no feature is: the weighted class shares of the training rows, as the trees' base is.
 */
static void keep_prior(const struct playing *p, size_t coalition, float *probabilities)
{
    const medley_table *t = p->train;
    double sums[MAX_CLASSES] = {0}, total = 0, shares = 0;
    for (size_t i = 0; i < t->n; i++) {
        double w = t->weights ? (double)t->weights[i] : 1;
        sums[t->labels[i]] +=
            p->trees.class_weights ? w * p->trees.class_weights[t->labels[i]] : w;
    }
    for (size_t c = 0; c < t->n_classes; c++)
        total += sums[c];
    for (size_t c = 0; c < t->n_classes; c++)
        shares += sums[c] = fmax(sums[c], 0.5 * total / (double)t->n);
    for (size_t i = 0; i < p->held_out->n; i++)
        for (size_t c = 0; c < t->n_classes; c++)
            probabilities[i * t->n_classes + c] = (float)(sums[c] / shares);
    keep_metrics(p, coalition, probabilities);
}

static bool takes_part(const struct playing *p, size_t coalition, size_t feature)
{
    uint32_t player = p->player_of_feature[feature];
    return player == MEDLEY_NO_PLAYER || (p->game->plan.coalitions[coalition] >> player & 1);
}

static medley_status play_one(const struct playing *p, const struct refit *r, medley_error *err)
{
    medley_gbdt_options o = p->trees;
    medley_gbdt *model = NULL;
    medley_status st = MEDLEY_OK;
    size_t features = p->train->n_features;
    uint8_t *used = mem_alloc(features, 1);
    float *out = mem_alloc(p->held_out->n, p->held_out->n_classes * sizeof *out);
    if (!used || !out) {
        st = fail_memory(err, "predictions of a coalition");
        goto done;
    }
    if (r->features == 0) {
        keep_prior(p, r->coalition, out);
        goto done;
    }
    for (size_t f = 0; f < features; f++)
        used[f] = takes_part(p, r->coalition, f);
    o.use_features = used;
    if (o.feature_fraction == 0) /* drawing features would make a player without use count */
        o.feature_fraction = 1;
    o.quiet = true;
    st = medley_gbdt_train_data(p->data, NULL, &o, &model, err);
    if (st == MEDLEY_OK)
        st = medley_gbdt_predict(model, p->held_out->features, p->held_out->n, out, err);
    if (st == MEDLEY_OK)
        keep_metrics(p, r->coalition, out);
done:
    medley_gbdt_free(model);
    mem_free(used);
    mem_free(out);
    return st;
}

/* ---- all of them ---- */

static bool stopped(struct playing *p)
{
    pthread_mutex_lock(&p->lock);
    bool stop = p->status != MEDLEY_OK;
    pthread_mutex_unlock(&p->lock);
    return stop;
}

static void finished(struct playing *p, medley_status st, const medley_error *err)
{
    pthread_mutex_lock(&p->lock);
    if (p->status == MEDLEY_OK && st != MEDLEY_OK) {
        p->status = st;
        p->error = *err;
    } else if (p->status == MEDLEY_OK) {
        p->done++;
        if (p->options.progress &&
            !p->options.progress(p->options.progress_context, p->done, p->n_refits))
            p->status = fail(&p->error, MEDLEY_EINTERRUPTED, "stopped after %zu of %zu refits",
                             p->done, p->n_refits);
    }
    pthread_mutex_unlock(&p->lock);
}

static void play_some(void *context, size_t begin, size_t end, unsigned worker)
{
    struct playing *p = context;
    (void)worker;
    for (size_t i = begin; i < end && !stopped(p); i++) {
        medley_error err;
        medley_status st = play_one(p, &p->refits[i], &err);
        finished(p, st, &err);
    }
}

static int larger_first(const void *a, const void *b)
{
    const struct refit *x = a, *y = b;
    if (x->features != y->features)
        return x->features > y->features ? -1 : 1;
    return (x->coalition > y->coalition) - (x->coalition < y->coalition);
}

static medley_status list_refits(struct playing *p, medley_error *err)
{
    p->n_refits = p->game->plan.n_coalitions;
    p->refits = mem_zalloc(p->n_refits, sizeof *p->refits);
    if (!p->refits)
        return fail_memory(err, "the list of refits");
    for (size_t i = 0; i < p->n_refits; i++) {
        p->refits[i].coalition = i;
        for (size_t f = 0; f < p->train->n_features; f++)
            p->refits[i].features += takes_part(p, i, f);
        p->game->refits += p->refits[i].features > 0;
    }
    qsort(p->refits, p->n_refits, sizeof *p->refits, larger_first);
    return MEDLEY_OK;
}

static medley_status play_all(struct playing *p, medley_error *err)
{
    medley_status st = list_refits(p, err);
    if (st == MEDLEY_OK)
        st = medley_gbdt_data_new(p->train, p->trees.max_bins, NULL, &p->data, err);
    if (st != MEDLEY_OK)
        return st;
    pthread_mutex_init(&p->lock, NULL);
    parallel_for(p->n_refits, 1, play_some, p);
    pthread_mutex_destroy(&p->lock);
    if (p->status != MEDLEY_OK && err)
        *err = p->error;
    return p->status;
}

/* ---- the door ---- */

static medley_status check_players(const struct playing *p, size_t n_players, medley_error *err)
{
    size_t owned[MEDLEY_COALITION_PLAYERS] = {0};
    if (n_players == 0 || n_players > MEDLEY_COALITION_PLAYERS)
        return fail(err, MEDLEY_EINVAL, "%zu players (expected 1 to %d)", n_players,
                    MEDLEY_COALITION_PLAYERS);
    if (!p->player_of_feature)
        return fail(err, MEDLEY_EINVAL, "nobody owns the features");
    for (size_t f = 0; f < p->train->n_features; f++) {
        uint32_t player = p->player_of_feature[f];
        if (player != MEDLEY_NO_PLAYER && player >= n_players)
            return fail(err, MEDLEY_EINVAL, "feature %zu belongs to player %u of %zu", f,
                        player, n_players);
        if (player != MEDLEY_NO_PLAYER)
            owned[player]++;
    }
    for (size_t i = 0; i < n_players; i++)
        if (owned[i] == 0)
            return fail(err, MEDLEY_EINVAL, "player %zu has no features", i);
    return MEDLEY_OK;
}

static medley_status check_held_out(const struct playing *p, medley_error *err)
{
    const medley_table *t = p->held_out;
    if (t->n_features != p->train->n_features || t->n_classes != p->train->n_classes)
        return fail(
            err, MEDLEY_EINVAL,
            "held-out rows have %zu features and %zu classes, training rows %zu and %zu",
            t->n_features, t->n_classes, p->train->n_features, p->train->n_classes);
    if (t->n == 0 || t->weights)
        return fail(err, MEDLEY_EINVAL,
                    t->n ? "held-out rows have weights, which metrics ignore"
                         : "there are no held-out rows");
    for (size_t i = 0; i < t->n; i++)
        if (t->labels[i] >= t->n_classes)
            return fail(err, MEDLEY_EINVAL, "held-out row %zu: label %d of %zu classes", i,
                        t->labels[i], t->n_classes);
    return MEDLEY_OK;
}

static medley_status check(struct playing *p, size_t n_players, medley_error *err)
{
    if (p->trees.early_stopping || p->trees.use_features)
        return fail(err, MEDLEY_EINVAL, "%s has no place in a coalition game",
                    p->trees.early_stopping
                        ? "early stopping, which would look at held-out rows,"
                        : "option 'use_features'");
    p->options.exact_players = p->options.exact_players ? p->options.exact_players : 12;
    p->options.refits = p->options.refits ? p->options.refits : 1000;
    if (p->options.exact_players > 20)
        return fail(err, MEDLEY_EINVAL, "option 'exact_players' is %u (expected 0 to 20)",
                    p->options.exact_players);
    medley_status st = check_players(p, n_players, err);
    return st == MEDLEY_OK ? check_held_out(p, err) : st;
}

static medley_status game_new(const struct playing *p, size_t n_players,
                              struct medley_coalition **out, medley_error *err)
{
    struct medley_coalition *g = mem_zalloc(1, sizeof *g);
    if (!g)
        return fail_memory(err, "a coalition game");
    medley_status st = n_players <= p->options.exact_players
                           ? coalition_plan_exact(n_players, &g->plan, err)
                           : coalition_plan_sampled(n_players, p->options.refits,
                                                    p->options.seed, &g->plan, err);
    if (st == MEDLEY_OK) {
        g->worth = mem_zalloc(g->plan.n_coalitions, MEDLEY_METRICS * sizeof *g->worth);
        st = g->worth ? MEDLEY_OK : fail_memory(err, "metrics of coalitions");
    }
    if (st == MEDLEY_OK)
        *out = g;
    else
        medley_coalition_free(g);
    return st;
}

medley_status medley_coalition_play(const medley_table *train, const medley_table *held_out,
                                    const uint32_t *player_of_feature, size_t n_players,
                                    const medley_gbdt_options *trees,
                                    const medley_coalition_options *options,
                                    medley_coalition **out, medley_error *err)
{
    struct playing p = {.train = train,
                        .held_out = held_out,
                        .player_of_feature = player_of_feature,
                        .status = MEDLEY_OK};
    if (trees)
        p.trees = *trees;
    if (options)
        p.options = *options;
    medley_status st = check(&p, n_players, err);
    if (st == MEDLEY_OK)
        st = game_new(&p, n_players, &p.game, err);
    if (st == MEDLEY_OK)
        st = play_all(&p, err);
    medley_gbdt_data_free(p.data);
    mem_free(p.refits);
    if (st == MEDLEY_OK)
        *out = p.game;
    else
        medley_coalition_free(p.game);
    return st;
}

void medley_coalition_free(medley_coalition *g)
{
    if (!g)
        return;
    coalition_plan_deinit(&g->plan);
    mem_free(g->worth);
    mem_free(g);
}

size_t medley_coalition_players(const medley_coalition *g)
{
    return g->plan.n_players;
}

size_t medley_coalition_refits(const medley_coalition *g)
{
    return g->refits;
}

bool medley_coalition_exact(const medley_coalition *g)
{
    return g->plan.n_orders == 0;
}

void medley_coalition_values(const medley_coalition *g, enum medley_metric metric,
                             double *values, double *errors)
{
    double own[MEDLEY_COALITION_PLAYERS];
    coalition_shapley(&g->plan, g->worth + metric, MEDLEY_METRICS, values,
                      errors ? errors : own);
}

bool medley_coalition_metric(const medley_coalition *g, enum medley_metric metric,
                             uint64_t coalition, double *value)
{
    size_t at = coalition_find(&g->plan, coalition);
    if (at == SIZE_MAX)
        return false;
    *value = g->worth[at * MEDLEY_METRICS + metric];
    return true;
}
