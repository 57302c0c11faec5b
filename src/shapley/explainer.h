/* explainer.h: a model taken apart into small games; private to src/shapley.
 *
 * TreeSHAP's value function is a sum over leaves, and a leaf's part depends on a coalition only
 * through the players on its path: a player present lets the row through if the row meets all
 * of the player's conditions on the path (1 or 0); a player absent lets through the share r of
 * the training cover. So a leaf with k players is a game of k players, with value v prod_i (i
 * present ? met_i : r_i). Its Shapley values are (the multilinear extension's gradient,
 * integrated along the diagonal: Owen 1972)
 *
 *     phi_j = v (met_j - r_j) integral over y in [0,1] of prod_{i != j} ((1 - y) r_i + y met_i)
 *
 * Neighbouring leaves are taken together as one game (cluster.c): what a row's answers make of
 * all of them is its *state*, a number below 64, and a table per player holds the sum of their
 * values for each state. Where there are more states, the integral becomes a sum over ceil(k/2)
 * Gauss-Legendre points, which is exact for polynomials of degree k - 1; then a point's product
 * falls into parts of few states each, and phi_j = sum over points of D_j[state of j's part]
 * times the other parts' G[state].
 *
 * Trees too deep or too big for tables are walked in double (walk.c). */
#ifndef SHAPLEY_EXPLAINER_H
#define SHAPLEY_EXPLAINER_H

#include "gbdt/conditions.h"
#include "medley/shapley.h"
#include "shapley/paths.h"

#define GAME_ROWS 64   /* of a block: one bit each */
#define GAME_WORDS 8   /* blocks that share the answers to the model's conditions */
#define GAME_STATES 64 /* of a table, at most */
#define GAME_PART_STATES 32
#define GAME_PARTS 8
#define GAME_PLAYERS 24 /* on a path; trees with longer ones are walked */
#define GAME_DEPTH 512  /* likewise; making games takes time in proportion */
#define GAME_POINTS 12  /* GAME_PLAYERS / 2 */
#define GAME_TREES 8    /* added in float before they join the sums in double */

/* Adds weight to the state of the rows in a slot's mask. */
struct game_add {
    uint32_t slot, weight;
};

/* Players whose conditions make one state. */
struct game_part {
    uint32_t first_add, first_player;
    uint16_t n_adds, n_players;
    uint16_t n_states; /* room in a table: 16, 32 or 64 */
};

/* Some leaves of a tree. Numbers, for each output of the tree: without points
 * [players][states]; with points, for each part, G[points][states] and then D[points][states]
 * of each player. */
struct game {
    uint32_t first_part;
    uint16_t n_parts, n_points; /* 0 points: one part, with a table */
    size_t first_number;
};

struct game_tree {
    const struct tree *tree;
    size_t number;                  /* in the model */
    size_t first_edge, first_node;  /* of explainer.r, 2 per node; of sources and players */
    uint32_t first_game, n_games;   /* none: see walked */
    uint32_t first_slow, n_slow;    /* leaves without a game, interventional only */
    unsigned most_players;          /* on a path */
    const double *points, *weights; /* for most_players, rounded up to 8 by weights of 0 */
    bool walked;
};

/* Up to GAME_TREES trees of the same outputs, in explainer.order. */
struct game_group {
    uint32_t first, n;
};

struct background;
struct row_node;

struct medley_explainer {
    const struct medley_gbdt *model;
    struct conditions *conditions;
    size_t n_players, n_classes;
    double base[GBDT_MAX_CLASSES];
    struct game_tree *trees; /* [model->n_trees] */
    uint32_t *order;         /* [model->n_trees] trees with games, by class */
    struct game_group *groups;
    struct game *games;
    struct game_part *parts;
    struct game_add *adds;
    uint32_t *players; /* of parts */
    float *numbers;    /* aligned to 64 */
    size_t n_order, n_groups, n_games, n_parts, n_adds, n_part_players, n_numbers; /* in use */

    /* what a walk needs: struct tree_paths of all trees, one after another */
    double *r;         /* per edge */
    uint32_t *sources; /* per node */
    uint32_t *node_players;
    struct row_node *rows; /* per node; NULL with a background */
    size_t n_edges, n_nodes;
    double **rules; /* [n_rules] points and weights of trees that need more than GAUSS_KEPT */
    size_t n_rules;
    size_t most_slots;             /* of a tree */
    size_t n_walked;               /* trees */
    struct background *background; /* NULL: path-dependent */
};

/* Adds a tree's values for 64 rows a word to values[words][outputs, P, 64]; row i of a word
 * stands at game_place(i). Every kernel gives the same bits. */
struct game_job {
    const struct medley_explainer *e;
    const struct game_tree *tree;
    const uint64_t *slots; /* [slots, GAME_WORDS] */
    size_t words, stride;  /* stride: from a word's values to the next; a multiple of 16 */
    float *values;         /* aligned to 64 */
};
struct game_impl {
    const char *name;
    /* The masks of a tree's slots, slots[slots, GAME_WORDS], from the answers to the model's
     * conditions; both aligned to 64. */
    void (*slots)(const struct medley_explainer *e, const struct game_tree *g,
                  const uint64_t *answers, uint64_t *slots);
    void (*play)(const struct game_job *job);
    /* sums += part, n a multiple of 64; both aligned to 64. */
    void (*join)(const float *part, size_t n, double *sums);
    bool (*usable)(void);
};
extern const struct game_impl game_impls[]; /* slowest first; ends with a NULL name */
const struct game_impl *game_fastest(void);

/* States are bytes of 32-bit lanes, taken apart by byte. */
static inline size_t game_place(size_t row)
{
    return (row & 3) * 16 + (row >> 2);
}

/* build.c: trees to games, until `bytes` of tables. */
medley_status games_build(struct medley_explainer *e, const uint32_t *player_of_feature,
                          size_t bytes, medley_error *err);

/* Each adds a row's values from some trees to values[P, K]; space: as many doubles as the size
 * says, aligned to 64. walk.c: from trees that the others leave out, in double. */
enum walked { WALK_WITHOUT_GAMES, WALK_DEEP, WALK_ALL };
size_t walk_space_size(const struct medley_explainer *e);
void walk_row(const struct medley_explainer *e, const float *x, enum walked which,
              double *space, double *values);
/* row.c: from trees whose paths have at most 2 ROW_POINTS players, in float. */
#define ROW_POINTS 8
bool rows_build(struct medley_explainer *e);
size_t rows_memory(const struct medley_explainer *e);
size_t row_space_size(const struct medley_explainer *e);
void row_values(const struct medley_explainer *e, const float *x, double *space,
                double *values);

/* Points y and weights of n-point Gauss-Legendre quadrature on [0, 1]. */
void gauss_legendre(unsigned n, double *points, double *weights);
/* The same, made once for n up to GAUSS_KEPT; past n points of weight 0. */
#define GAUSS_KEPT 32
#define GAUSS_ROOM 40
struct gauss_rule {
    double points[GAUSS_ROOM], weights[GAUSS_ROOM];
};
const struct gauss_rule *gauss_rule(unsigned n);
/* The same in float, for n up to ROW_POINTS. */
struct row_rule {
    float points[ROW_POINTS], weights[ROW_POINTS];
};
const struct row_rule *row_rule(unsigned n);

/* The definitions: all coalitions of all players (at most 20), in double. values[P, K],
 * base[K]; interactions[P, P, K]. */
void shapley_by_coalitions(const struct medley_gbdt *model, const uint32_t *player_of_feature,
                           size_t n_players, const float *x, double *values, double *base);
void interactions_by_coalitions(const struct medley_gbdt *model,
                                const uint32_t *player_of_feature, size_t n_players,
                                const float *x, double *interactions);
void interventional_by_coalitions(const struct medley_gbdt *model,
                                  const uint32_t *player_of_feature, size_t n_players,
                                  const float *x, const float *background, size_t n_background,
                                  double *values, double *base);

#endif
