/* explainer.h: a model taken apart into the small games of its leaves; private to src/shapley.
 *
 * TreeSHAP's value function is a sum over leaves, and a leaf's part depends on a coalition only
 * through the players on its path: a player present lets the row through if the row meets all
 * of the player's conditions on the path (1 or 0); a player absent lets through the share r of
 * the training cover. So a leaf with k players is a game of k players, with value v prod_i (i
 * present ? met_i : r_i). Its Shapley values are (Friedman and others, in integral form)
 *
 *     phi_j = v (met_j - r_j) integral over y in [0,1] of prod_{i != j} ((1 - y) r_i + y met_i)
 *
 * For k <= GAME_TABLE_PLAYERS a table over the 2^k patterns of met holds
 *     A[b] = v integral of prod_{met}(r + (1 - r) y) prod_{not met} r (1 - y) / (1 - y)
 * and phi_j = -A[b] for a player not met, A[b without j] (1 - r_j) / r_j for one met. For more
 * players the integral is taken by Gauss-Legendre quadrature with ceil(k / 2) points, which is
 * exact for these polynomials of degree k - 1. */
#ifndef SHAPLEY_EXPLAINER_H
#define SHAPLEY_EXPLAINER_H

#include "gbdt/tree.h"
#include "medley/shapley.h"

#define GAME_TABLE_PLAYERS 8
#define GAME_BLOCK 64 /* rows at a time: one bit each */

/* A player on the path to a leaf. */
struct game_element {
    uint32_t player;
    uint16_t slot;     /* of the mask of rows that meet all its conditions */
    float coefficient; /* (1 - r) / r; unused with quadrature */
};

struct game_leaf {
    uint16_t n_players;   /* k, at least 1 */
    uint16_t n_points;    /* of the quadrature; 0: a table */
    uint32_t leaf;        /* in the tree, for its values */
    size_t first_element; /* [k] elements */
    size_t first_number;  /* of the table [max(16, 2^k)], or per point: weight, -1 / (1 - y),
                             then  per player r (1 - y), f = r + (1 - r) y, (1 - r) / f */
};

/* Masks of a tree: slot 0 is all rows; node i writes slots 1 + 2 i (rows that go left and met
 * the same player's conditions above) and 2 + 2 i (right). */
struct game_tree {
    const struct tree *tree;
    size_t first_source; /* [nodes] slot of the same player's conditions above each node */
    size_t first_leaf, n_leaves; /* none for a tree without nodes */
};

struct medley_explainer {
    const struct medley_gbdt *model;
    size_t n_players, n_classes;
    double base[GBDT_MAX_CLASSES];
    struct game_tree *trees; /* [model->n_trees] */
    struct game_leaf *leaves;
    struct game_element *elements;
    uint16_t *sources;
    float *numbers;                                    /* aligned to 64 */
    size_t n_leaves, n_elements, n_sources, n_numbers; /* in use */
};

/* Adds the values of trees begin..end for the 64 rows of a block. */
struct game_job {
    const struct medley_explainer *explainer;
    size_t begin, end;
    const float *columns; /* [F, 64] aligned to 64 */
    float *values;        /* [K, P, 64] aligned to 64 */
};
struct game_impl {
    const char *name;
    void (*add)(const struct game_job *job);
    bool (*usable)(void);
};
extern const struct game_impl game_impls[]; /* slowest first; ends with a NULL name */
void game_add(const struct game_job *job);  /* the fastest usable */

/* Points y and weights of n-point Gauss-Legendre quadrature on [0, 1]. */
void gauss_legendre(unsigned n, double *points, double *weights);

/* The definition: all coalitions of all players (at most 20), in double. values[P, K], base[K].
 */
void shapley_by_coalitions(const struct medley_gbdt *model, const uint32_t *player_of_feature,
                           size_t n_players, const float *x, double *values, double *base);

#endif
