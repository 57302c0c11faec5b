/* rank_seeds.c: do the rankings hold when the dice fall otherwise? The ensemble's trees, masks
 * and folds are drawn anew from other seeds; the base models' predictions stay as they are. See
 * rank.h. */
#include "ensemble/rank.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/progress.h"
#include "medley/shapley.h"

#include <limits.h>
#include <math.h>

/* out[players]: mean over rows of |contribution| summed over classes. */
static void mean_strength(const struct ranking *r, const float *values, double *out)
{
    size_t p = r->players.n + 1, k = r->rows.n_classes;
    for (size_t j = 0; j < r->players.n; j++) {
        out[j] = 0;
        for (size_t i = 0; i < r->rows.n; i++)
            for (size_t c = 0; c < k; c++)
                out[j] += (double)fabsf(values[(i * p + j) * k + c]) / (double)r->rows.n;
    }
}

static medley_status tree_of_seed(struct ranking *r, double *out, medley_error *err)
{
    size_t f = r->players.n_features, p = r->players.n + 1;
    medley_gbdt *model = NULL;
    medley_explainer *e = NULL;
    float *x = NULL;
    float *values = mem_alloc(r->rows.n, p * r->rows.n_classes * sizeof *values);
    uint32_t *player = mem_alloc(f, sizeof *player);
    medley_status st = values && player ? MEDLEY_OK : fail_memory(err, "contributions");
    for (size_t i = 0; i < f && !st; i++)
        player[i] = r->players.of_feature[i] == MEDLEY_NO_PLAYER ? (uint32_t)r->players.n
                                                                 : r->players.of_feature[i];
    if (!st)
        st = stack_fit(&r->train, stack_all(&r->train), r->rounds, &model, err);
    if (!st)
        st = medley_explainer_new(model, player, p, &e, err);
    if (!st)
        st = stack_design(&r->rows, stack_all(&r->rows), &x, err);
    if (!st)
        st = medley_explainer_values(e, x, r->rows.n, values, err);
    if (!st)
        mean_strength(r, values, out);
    medley_explainer_free(e);
    medley_gbdt_free(model);
    mem_free(values);
    mem_free(player);
    mem_free(x);
    return st;
}

/* Values with the sign that more is better. */
static medley_status take_rankings(const struct ranking *r, const struct refits *game,
                                   size_t seed, medley_error *err)
{
    size_t n = r->players.n;
    uint64_t all = refits_all(game);
    struct estimate e[MEDLEY_COALITION_PLAYERS];
    medley_status st = MEDLEY_OK;
    for (size_t v = 0; v < FOLD_VALUES && !st; v++) {
        double sign = v == VALUE_LOG_LOSS ? -1 : 1;
        st = refits_shapley(game, 0, v, e, err);
        for (size_t p = 0; p < n && !st; p++) {
            struct estimate d;
            r->shapley_by_seed[v][seed * n + p] = sign * e[p].value;
            st = refits_difference(game, refits_find(game, all),
                                   refits_find(game, all & ~((uint64_t)1 << p)), 0, v, &d, err);
            r->without_by_seed[v][seed * n + p] = sign * d.value;
        }
    }
    return st;
}

static medley_status play_seed(struct ranking *r, size_t i, medley_error *err)
{
    uint64_t seed = r->w->config.stacking.seed + i;
    struct refits game = {0};
    struct refit_options options = {.rounds = r->rounds, .resamples = UINT_MAX, .seed = seed};
    medley_status st = stack_refold(&r->train, seed, err);
    r->train.seed = seed;
    if (!st)
        st = tree_of_seed(r, r->tree_by_seed + i * r->players.n, err);
    if (!st)
        st = refits_play(&r->train, &r->players, &r->slices, &options, &game, err);
    if (!st)
        st = take_rankings(r, &game, i, err);
    refits_close(&game);
    return st;
}

medley_status rank_seeds(struct ranking *r, medley_error *err)
{
    size_t cells = r->seeds * r->players.n;
    bool good = (r->tree_by_seed = mem_alloc(cells, sizeof(double))) != NULL;
    for (size_t v = 0; v < FOLD_VALUES; v++) {
        r->shapley_by_seed[v] = mem_alloc(cells, sizeof(double));
        r->without_by_seed[v] = mem_alloc(cells, sizeof(double));
        good &= r->shapley_by_seed[v] && r->without_by_seed[v];
    }
    medley_status st = good ? MEDLEY_OK : fail_memory(err, "rankings");
    if (!st) {
        mean_strength(r, r->values, r->tree_by_seed);
        st = take_rankings(r, &r->refits, 0, err);
    }
    for (size_t i = 1; i < r->seeds && !st; i++) {
        progress_note("the same game with seed %zu of %u", i + 1, r->seeds);
        st = play_seed(r, i, err);
    }
    r->train.seed = r->w->config.stacking.seed;
    return st ? st : stack_refold(&r->train, r->train.seed, err);
}

/* The rows of each fold by themselves give a ranking; these share no query. */
struct agreement rank_fold_agreement(const struct ranking *r, size_t value, bool without,
                                     medley_status *st, medley_error *err)
{
    const struct refits *g = &r->refits;
    size_t n = r->players.n, width = g->n_folds * FOLD_VALUES;
    uint64_t all = refits_all(g);
    struct agreement none = {NAN, NAN, 0}, found;
    double errors[MEDLEY_COALITION_PLAYERS], sign = value == VALUE_LOG_LOSS ? -1 : 1;
    double *values = mem_alloc(g->n_folds, n * sizeof *values);
    if (!values) {
        *st = fail_memory(err, "rankings");
        return none;
    }
    for (size_t f = 0; f < g->n_folds; f++) {
        const double *worth = g->by_fold + f * FOLD_VALUES + value;
        coalition_shapley(&g->plan, worth, width, values + f * n, errors);
        for (size_t p = 0; p < n; p++) {
            double *v = &values[f * n + p];
            if (without)
                *v = worth[refits_find(g, all) * width] -
                     worth[refits_find(g, all & ~((uint64_t)1 << p)) * width];
            *v *= sign;
        }
    }
    found = agreement_of(values, g->n_folds, n);
    mem_free(values);
    return found;
}
