/* tree_ref.c: Shapley values and interactions of a tree ensemble by their definition (Shapley
 * 1953; Grabisch and Roubens 1999; the games are path-dependent TreeSHAP, Lundberg et al. 2018,
 * algorithm 1, and interventional, Janzing et al. 2020). Slow, obvious, in double; what
 * tests/test_shapley.c compares everything with. */
#include "shapley/explainer.h"

#include <string.h>

struct definition {
    const struct medley_gbdt *model;
    const uint32_t *player_of_feature;
    size_t n_players;
    const float *x;
    const float *background; /* NULL: path-dependent */
    size_t n_background;
    uint32_t coalition; /* bit p: player p is present */
};

static bool present(const struct definition *d, const struct tree_node *n)
{
    return d->coalition >> d->player_of_feature[n->feature] & 1;
}

static void add_leaf(const struct tree *t, int32_t at, double weight, double *out)
{
    for (uint32_t o = 0; o < t->n_outputs; o++)
        out[t->first_class + o] += weight * t->values[(size_t)(uint32_t)~at * t->n_outputs + o];
}

/* Expected values of a subtree when features of absent players are averaged by cover. */
static void expect(const struct definition *d, const struct tree *t, int32_t at, double weight,
                   double *out)
{
    if (at < 0) {
        add_leaf(t, at, weight, out);
        return;
    }
    const struct tree_node *n = &t->nodes[at];
    if (present(d, n)) {
        expect(d, t, node_goes_left(n, d->x[n->feature]) ? n->left : n->right, weight, out);
        return;
    }
    double left = tree_child_count(t, n->left), right = tree_child_count(t, n->right);
    expect(d, t, n->left, weight * (left / (left + right)), out);
    expect(d, t, n->right, weight * (right / (left + right)), out);
}

/* Where a row goes that has the features of absent players from a background row. */
static void mix(const struct definition *d, const struct tree *t, const float *row, double *out)
{
    int32_t at = t->n_leaves > 1 ? 0 : ~0;
    while (at >= 0) {
        const struct tree_node *n = &t->nodes[at];
        float x = present(d, n) ? d->x[n->feature] : row[n->feature];
        at = node_goes_left(n, x) ? n->left : n->right;
    }
    add_leaf(t, at, 1.0 / (double)d->n_background, out);
}

static void coalition_value(const struct definition *d, double *out)
{
    memcpy(out, d->model->base, d->model->n_classes * sizeof *out);
    for (size_t i = 0; i < d->model->n_trees; i++) {
        const struct tree *t = d->model->trees[i];
        if (!d->background)
            expect(d, t, t->n_leaves > 1 ? 0 : ~0, 1, out);
        for (size_t b = 0; b < d->n_background; b++)
            mix(d, t, d->background + b * d->model->n_features, out);
    }
}

/* s! (n - s - 1)! / n! */
static double coalition_weight(size_t size, size_t n)
{
    double w = 1.0 / (double)n;
    for (size_t i = 1; i <= size; i++)
        w *= (double)i / (double)(n - i);
    return w;
}

static void values_of(struct definition *d, double *values, double *base)
{
    size_t k = d->model->n_classes;
    double v[GBDT_MAX_CLASSES];
    d->coalition = 0;
    coalition_value(d, base);
    memset(values, 0, d->n_players * k * sizeof *values);
    for (uint32_t s = 0; s < 1u << d->n_players; s++) {
        size_t size = (size_t)__builtin_popcount(s);
        d->coalition = s;
        coalition_value(d, v);
        for (size_t p = 0; p < d->n_players; p++) {
            /* v(S) counts for players in S as "with", for the others as "without". */
            bool in = s >> p & 1;
            double w = in ? coalition_weight(size - 1, d->n_players)
                          : -coalition_weight(size, d->n_players);
            for (size_t c = 0; c < k; c++)
                values[p * k + c] += w * v[c];
        }
    }
}

void shapley_by_coalitions(const struct medley_gbdt *model, const uint32_t *player_of_feature,
                           size_t n_players, const float *x, double *values, double *base)
{
    struct definition d = {model, player_of_feature, n_players, x, NULL, 0, 0};
    values_of(&d, values, base);
}

void interventional_by_coalitions(const struct medley_gbdt *model,
                                  const uint32_t *player_of_feature, size_t n_players,
                                  const float *x, const float *background, size_t n_background,
                                  double *values, double *base)
{
    struct definition d = {model, player_of_feature, n_players, x, background, n_background, 0};
    values_of(&d, values, base);
}

/* Adds w v(S) to the index of every pair of players, w by how many of the two are in S. */
static void add_pairs(const struct definition *d, const double *v, double *out)
{
    size_t n = d->n_players, k = d->model->n_classes;
    size_t size = (size_t)__builtin_popcount(d->coalition);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            size_t in = (d->coalition >> i & 1) + (d->coalition >> j & 1);
            double w = i == j ? 0 : coalition_weight(size - in, n - 1) * (in == 1 ? -1 : 1);
            for (size_t c = 0; c < k; c++)
                out[(i * n + j) * k + c] += w * v[c] / 2;
        }
}

void interactions_by_coalitions(const struct medley_gbdt *model,
                                const uint32_t *player_of_feature, size_t n_players,
                                const float *x, double *interactions)
{
    struct definition d = {model, player_of_feature, n_players, x, NULL, 0, 0};
    size_t n = n_players, k = model->n_classes;
    double v[GBDT_MAX_CLASSES], base[GBDT_MAX_CLASSES], values[20 * GBDT_MAX_CLASSES];
    values_of(&d, values, base);
    memset(interactions, 0, n * n * k * sizeof *interactions);
    for (d.coalition = 0; d.coalition < 1u << n; d.coalition++) {
        coalition_value(&d, v);
        add_pairs(&d, v, interactions);
    }
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < k; c++) {
            double left = values[i * k + c];
            for (size_t j = 0; j < n; j++)
                left -= i == j ? 0 : interactions[(i * n + j) * k + c];
            interactions[(i * n + i) * k + c] = left;
        }
}
