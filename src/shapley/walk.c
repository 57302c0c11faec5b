/* walk.c: values of one row by walking whole trees, in double: trees without tables (too
 * deep, too big, past the bound of memory).
 *
 * For a Gauss-Legendre point y, an edge has factor G = r + (1 - r) y when met and r (1 - y)
 * when not, and the way to a leaf has the product P of the factors of each player's last edge.
 * With S the sum of w v P over the leaves below an edge, and h = (met - r) / G, a player's
 * value is the sum over its edges of S (h - h of the edge's source): on the way to a leaf all
 * but the last edge's h cancel. Points lie in the lanes of a vector; so a tree costs about 20
 * operations per node and 8 points (the idea of Linear TreeSHAP, Yu et al. 2022, with their
 * polynomials evaluated where quadrature wants them). Proof: tests/test_shapley.c. */
#include "shapley/explainer.h"

#include "base/cpu.h"

#include <string.h>

struct walk {
    const struct medley_explainer *e;
    const struct game_tree *tree;
    const float *x;
    unsigned points; /* of the tree */
    double *space;   /* per node P and S, per edge G and h, of 8 lanes each */
    uint8_t *met;    /* per slot */
    double *sums;    /* [K, P, 8] */
};

#define LANES 8
#define VECTORS(nodes) (2 * (nodes) + 2 * (2 * (nodes) + 1))

size_t walk_space_size(const struct medley_explainer *e)
{
    return VECTORS(e->most_slots / 2) * LANES + e->most_slots / sizeof(double) + 16 +
           e->n_classes * e->n_players * LANES;
}

#define ALWAYS static inline __attribute__((always_inline))

#if defined(__clang__)
#pragma clang fp contract(off) /* the same bits with and without fused instructions */
#endif

#define NAME(x) x##_portable
#define TARGET
#include "shapley/walk_body.h"

#if defined(__x86_64__)
#define NAME(x) x##_avx2
#define TARGET __attribute__((target("avx2")))
#include "shapley/walk_body.h"

#define NAME(x) x##_avx512
#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))
#include "shapley/walk_body.h"
#endif

static void walk_tree(const struct walk *w)
{
#if defined(__x86_64__)
    if (cpu_has_avx512()) {
        tree_avx512(w);
        return;
    }
    if (cpu_has_avx2()) {
        tree_avx2(w);
        return;
    }
#endif
    tree_portable(w);
}

void walk_row(const struct medley_explainer *e, const float *x, enum walked which,
              double *space, double *values)
{
    size_t n = e->n_classes * e->n_players * LANES;
    struct walk w = {.e = e, .x = x, .sums = space, .space = space + n};
    w.met = (uint8_t *)(space + walk_space_size(e) - e->most_slots / sizeof(double) - 16);
    memset(w.sums, 0, n * sizeof *w.sums);
    for (size_t i = 0; i < e->model->n_trees; i++) {
        w.tree = &e->trees[i];
        w.points = (w.tree->most_players + 1) / 2;
        bool wanted =
            which == WALK_ALL || (which == WALK_DEEP ? w.points > ROW_POINTS : w.tree->walked);
        if (w.tree->tree->n_leaves > 1 && wanted)
            walk_tree(&w);
    }
    for (size_t p = 0; p < e->n_players; p++)
        for (size_t c = 0; c < e->n_classes; c++) {
            const double *lanes = w.sums + (c * e->n_players + p) * LANES;
            double sum = 0;
            for (unsigned i = 0; i < LANES; i++)
                sum += lanes[i];
            values[p * e->n_classes + c] += sum;
        }
}
