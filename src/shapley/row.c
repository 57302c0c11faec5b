/* row.c: values of a single row, in float, by a walk through whole trees without a branch on
 * what the row or the tree looks like: a predictor could learn neither from one visit.
 *
 * As in walk.c, 8 Gauss-Legendre points y lie in the lanes of a register (so paths of up to 16
 * players) and an edge of a player with share r has the factor G = r (1 - y) + met y. Let D be
 * the sum over the leaves below a node of their values times the factors below it, and P the
 * product of the factors above. With s the source of the node's edges,
 *     D = (G_left D_left + G_right D_right) / G_s
 *     phi += P / G_s ((met_left - r_left) D_left + (met_right - r_right) D_right
 *                     - (met_s - r_s) D)
 * and an edge without a source has G_s = 1, met_s = r_s = 1. Proof: tests/test_shapley.c. */
#include "shapley/explainer.h"

#include "base/cpu.h"
#include "base/memory.h"

#include <string.h>

#define ALWAYS static inline __attribute__((always_inline))

/* A tree node with all that a walk asks of it: half a cache line. */
struct row_node {
    float threshold;
    uint32_t feature; /* 2 feature + missing_left */
    uint32_t source, player;
    uint32_t child[2]; /* leaves follow the nodes */
    float r[2], source_r;
};

struct row {
    const float *x, *y, *weight;
    float *product, *factor, *inverse, *below, *met; /* 8 lanes each; aligned to 64 */
};

#if defined(__clang__)
#pragma clang fp contract(off) /* the same bits with and without fused instructions */
#endif

#define NAME(x) row_##x##_portable
#define TARGET
#include "shapley/row_body.h"

#if defined(__x86_64__)
#define NAME(x) row_##x##_avx2
#define TARGET __attribute__((target("avx2")))
#include "shapley/row_body.h"

#define NAME(x) row_##x##_avx512
#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))
#include "shapley/row_body.h"
#endif

bool rows_build(struct medley_explainer *e)
{
    e->rows = mem_alloc64(e->n_nodes + 1, sizeof *e->rows);
    if (!e->rows)
        return false;
    for (size_t i = 0; i < e->model->n_trees; i++) {
        const struct game_tree *g = &e->trees[i];
        const double *r = e->r + g->first_edge;
        uint32_t nodes = g->tree->n_leaves - 1;
        for (uint32_t j = 0; j < nodes; j++) {
            const struct tree_node *n = &g->tree->nodes[j];
            uint32_t source = e->sources[g->first_node + j];
            e->rows[g->first_node + j] = (struct row_node){
                .threshold = n->threshold,
                .feature = 2 * n->feature + n->missing_left,
                .source = source,
                .player = e->node_players[g->first_node + j],
                .child = {n->left >= 0 ? (uint32_t)n->left : nodes + (uint32_t)~n->left,
                          n->right >= 0 ? (uint32_t)n->right : nodes + (uint32_t)~n->right},
                .r = {(float)r[2 * j], (float)r[2 * j + 1]},
                .source_r = source ? (float)r[source - 1] : 1};
        }
    }
    return true;
}

size_t rows_memory(const struct medley_explainer *e)
{
    return e->rows ? e->n_nodes * sizeof *e->rows : 0;
}

/* product and below [nodes + leaves], factor and met [slots], inverse [nodes]: of 8 lanes */
static size_t space_floats(size_t slots)
{
    return 5 * slots * ROW_POINTS;
}

size_t row_space_size(const struct medley_explainer *e)
{
    return space_floats(e->most_slots) / 2 + e->n_classes * e->n_players * ROW_POINTS +
           2 * ROW_POINTS;
}

/* Sums over the lanes. */
static void add_lanes(const struct medley_explainer *e, const double *sums, double *values)
{
    for (size_t p = 0; p < e->n_players; p++)
        for (size_t c = 0; c < e->n_classes; c++) {
            const double *lanes = sums + (c * e->n_players + p) * ROW_POINTS;
            double sum = 0;
            for (unsigned i = 0; i < ROW_POINTS; i++)
                sum += lanes[i];
            values[p * e->n_classes + c] += sum;
        }
}

void row_values(const struct medley_explainer *e, const float *x, double *space, double *values)
{
    size_t n = e->n_classes * e->n_players * ROW_POINTS, slots = e->most_slots;
    double *sums = space;
    float *floats = (float *)(space + n);
    void (*tree)(const struct row *, const struct row_node *, const struct tree *, double *,
                 size_t) = row_tree_portable;
#if defined(__x86_64__)
    tree = cpu_has_avx512() ? row_tree_avx512 : cpu_has_avx2() ? row_tree_avx2 : tree;
#endif
    struct row w = {.x = x, .product = floats};
    w.below = w.product + slots * ROW_POINTS;
    w.factor = w.below + slots * ROW_POINTS;
    w.inverse = w.factor + slots * ROW_POINTS;
    w.met = w.inverse + slots * ROW_POINTS;
    memset(sums, 0, n * sizeof *sums);
    for (size_t i = 0; i < e->model->n_trees; i++) {
        const struct game_tree *g = &e->trees[i];
        unsigned points = (g->most_players + 1) / 2;
        if (g->tree->n_leaves == 1 || points > ROW_POINTS)
            continue;
        w.y = row_rule(points)->points;
        w.weight = row_rule(points)->weights;
        tree(&w, e->rows + g->first_node, g->tree, sums, e->n_players);
    }
    add_lanes(e, sums, values);
}
