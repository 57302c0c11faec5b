/* rank_tree.c: the tree game: contributions of players to the margins of the ensemble of all
 * models. See rank.h. */
#include "ensemble/rank.h"

#include "base/error.h"
#include "base/memory.h"
#include "medley/shapley.h"

#include <math.h>
#include <string.h>

/* Interactions take about a hundred times as long as values, so they are averaged over at most
 * so many rows, evenly spaced (rows are sorted by query, so all queries have their share). */
enum { INTERACTION_ROWS = 400 };

static medley_status mean_interactions(struct ranking *r, const medley_explainer *e,
                                       const float *x, size_t f, medley_error *err)
{
    size_t p = r->players.n + 1, k = r->rows.n_classes, n = r->rows.n;
    size_t step = (n + INTERACTION_ROWS - 1) / INTERACTION_ROWS, taken = 0;
    float *rows = mem_alloc(n / step + 1, f * sizeof *rows);
    float *out = NULL;
    for (size_t i = 0; rows && i < n; i += step)
        memcpy(rows + taken++ * f, x + i * f, f * sizeof *rows);
    if (rows)
        out = mem_alloc(taken * p * p, k * sizeof *out);
    medley_status st = out ? medley_explainer_interactions(e, rows, taken, out, err)
                           : fail_memory(err, "interactions");
    for (size_t i = 0; i < taken && !st; i++)
        for (size_t j = 0; j < p * p * k; j++)
            r->interactions[j / k] += fabsf(out[i * p * p * k + j]) / (float)taken;
    mem_free(rows);
    mem_free(out);
    return st;
}

static medley_status explain(struct ranking *r, const medley_gbdt *model,
                             const uint32_t *player, medley_error *err)
{
    medley_explainer *e = NULL;
    float *x = NULL;
    medley_status st = stack_design(&r->rows, stack_all(&r->rows), &x, err);
    if (!st)
        st = medley_explainer_new(model, player, r->players.n + 1, &e, err);
    if (!st)
        st = medley_explainer_values(e, x, r->rows.n, r->values, err);
    /* Single probabilities have too many pairs to be read, and to be waited for. */
    if (!st && r->players.by != PLAYERS_PROBABILITY)
        st = mean_interactions(r, e, x, r->players.n_features, err);
    medley_explainer_free(e);
    mem_free(x);
    return st;
}

medley_status rank_tree(struct ranking *r, medley_error *err)
{
    size_t p = r->players.n + 1, f = r->players.n_features;
    medley_gbdt *model = NULL;
    uint32_t *player = mem_alloc(f, sizeof *player);
    r->values = mem_alloc(r->rows.n, p * r->rows.n_classes * sizeof *r->values);
    r->interactions = mem_zalloc(p * p, sizeof *r->interactions);
    r->strength = mem_alloc(r->rows.n, sizeof *r->strength);
    r->n_tree = r->players.n + (r->rows.context ? 1 : 0);
    medley_status st =
        player && r->values && r->interactions && r->strength
            ? medley_gbdt_load(workspace_path(r->w, "ensemble/full.txt").s, &model, err)
            : fail_memory(err, "contributions");
    if (!st && medley_gbdt_features(model) != f)
        st = fail(err, MEDLEY_ESTALE,
                  "ensemble/full.txt is of other models (run 'medley stack')");
    for (size_t i = 0; i < f && !st; i++)
        player[i] = r->players.of_feature[i] == MEDLEY_NO_PLAYER ? (uint32_t)r->players.n
                                                                 : r->players.of_feature[i];
    if (!st)
        st = explain(r, model, player, err);
    medley_gbdt_free(model);
    mem_free(player);
    return st;
}

medley_status rank_tree_estimate(const struct ranking *r, size_t player, size_t class,
                                 size_t slice, struct estimate *out, medley_error *err)
{
    const struct stack *s = &r->rows;
    size_t k = s->n_classes, p = r->players.n + 1, n = 0;
    struct interval interval;
    uint32_t *index = mem_alloc(s->n, sizeof *index);
    if (!index)
        return fail_memory(err, "rows of a slice");
    for (size_t i = 0; i < s->n; i++) {
        const float *v = r->values + (i * p + player) * k;
        r->strength[i] = class < k ? fabsf(v[class]) : 0;
        for (size_t c = 0; c < k && class == k; c++)
            r->strength[i] += fabsf(v[c]);
        if (r->row_slices.holds[slice * r->row_slices.n_cells + r->row_slices.cell[i]])
            index[n++] = (uint32_t)i;
    }
    *out = (struct estimate){.p_value = NAN};
    medley_status st = mean_bootstrap(r->strength, s->query, index, n, 0,
                                      r->w->config.stacking.seed, &out->value, &interval, err);
    out->low = interval.low;
    out->high = interval.high;
    mem_free(index);
    return st;
}
