/* tree_ref.c: Shapley values of a tree ensemble by their definition (Shapley 1953; the game is
 * path-dependent TreeSHAP, Lundberg et al. 2018, algorithm 1). Slow, obvious, in double; what
 * tests/test_shapley.c compares everything with. */
#include "shapley/explainer.h"

#include <string.h>

struct definition {
    const struct medley_gbdt *model;
    const uint32_t *player_of_feature;
    size_t n_players;
    const float *x;
    uint32_t coalition; /* bit p: player p is present */
};

/* Expected values of a subtree when features of absent players are averaged by training rows.
 */
static void expect(const struct definition *d, const struct tree *t, int32_t at, double weight,
                   double *out)
{
    if (at < 0) {
        for (uint32_t o = 0; o < t->n_outputs; o++)
            out[t->first_class + o] += weight * t->values[(uint32_t)~at * t->n_outputs + o];
        return;
    }
    const struct tree_node *n = &t->nodes[at];
    if (d->coalition >> d->player_of_feature[n->feature] & 1) {
        expect(d, t, node_goes_left(n, d->x[n->feature]) ? n->left : n->right, weight, out);
        return;
    }
    double share = (double)tree_child_count(t, n->left) / n->count;
    expect(d, t, n->left, weight * share, out);
    expect(d, t, n->right, weight * (1 - share), out);
}

static void coalition_value(const struct definition *d, double *out)
{
    memcpy(out, d->model->base, d->model->n_classes * sizeof *out);
    for (size_t i = 0; i < d->model->n_trees; i++) {
        const struct tree *t = d->model->trees[i];
        expect(d, t, t->n_leaves > 1 ? 0 : ~0, 1, out);
    }
}

/* |S|! (P - |S| - 1)! / P! */
static double coalition_weight(size_t size, size_t n_players)
{
    double w = 1.0 / (double)n_players;
    for (size_t i = 1; i <= size; i++)
        w *= (double)i / (double)(n_players - i);
    return w;
}

void shapley_by_coalitions(const struct medley_gbdt *model, const uint32_t *player_of_feature,
                           size_t n_players, const float *x, double *values, double *base)
{
    struct definition d = {model, player_of_feature, n_players, x, 0};
    size_t k = model->n_classes;
    double v[GBDT_MAX_CLASSES];
    coalition_value(&d, base);
    memset(values, 0, n_players * k * sizeof *values);
    for (uint32_t s = 0; s < 1u << n_players; s++) {
        size_t size = (size_t)__builtin_popcount(s);
        d.coalition = s;
        coalition_value(&d, v);
        for (size_t p = 0; p < n_players; p++) {
            /* v(S) counts for players in S as "with", for the others as "without". */
            bool in = s >> p & 1;
            double w =
                in ? coalition_weight(size - 1, n_players) : -coalition_weight(size, n_players);
            for (size_t c = 0; c < k; c++)
                values[p * k + c] += w * v[c];
        }
    }
}
