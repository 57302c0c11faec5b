/* build.h: from trees to games and their tables; private to src/shapley. */
#ifndef SHAPLEY_BUILD_H
#define SHAPLEY_BUILD_H

#include "shapley/cluster.h"
#include "shapley/explainer.h"

/* Values of one leaf as a game of its own, with value 1: phi[2^k, k] by the set of players met
 * (a bit each), for players whose last edges are given. */
struct leaf_game {
    uint32_t leaf, n_players;
    uint32_t edges[GAME_PLAYERS];
};
#define LEAF_PLAYERS 6 /* 2^6 = GAME_STATES */

void leaf_table_path(const struct tree_paths *p, const struct leaf_game *leaf, double *phi);
void leaf_table_background(const struct background *b, const struct leaf_game *leaf,
                           double *phi);

/* Fills in the numbers of a game, for all outputs. A table over all states: */
struct table_space {
    double phi[CLUSTER_LEAVES][GAME_STATES * LEAF_PLAYERS]; /* per leaf, as above */
    uint64_t met[CLUSTER_PLAYERS][GAME_STATES];             /* cluster_states of each player */
};
void game_table_fill(const struct medley_explainer *e, const struct cluster *c, unsigned room,
                     struct table_space *s, float *out);
/* or a part's G[points, room] and D[players, points, room], for one output, or for none (-1): a
 * part whose players are all above the cluster. players: numbers in the cluster. */
struct part_fill {
    const struct cluster *cluster;
    const unsigned *players;
    unsigned n_players, n_points, room;
    int output;
};
void game_part_fill(const struct part_fill *f, struct table_space *s, float *out);

/* background.c: the masks of the background rows for the slots of one tree. */
medley_status background_new(struct medley_explainer *e, const float *x, size_t n,
                             struct background **out, medley_error *err);
void background_free(struct background *b);
void background_built(struct background *b); /* frees what only building needs */
size_t background_memory(const struct background *b);
bool background_tree(struct background *b, const struct medley_explainer *e,
                     const struct game_tree *g);
/* A leaf that has no game: its masks are kept. */
bool background_keep(struct background *b, const struct tree_paths *p, uint32_t leaf);
/* Adds the values of a tree's kept leaves for one row; met: of the tree's slots. */
void background_row(const struct medley_explainer *e, const struct game_tree *g,
                    const uint64_t *slots, size_t word, size_t bit, double *values);
size_t background_kept(const struct background *b);

#endif
