/* cluster.h: which leaves of a tree are taken together as one game; private to src/shapley.
 *
 * A cluster is all leaves under one node (or one leaf). For each of its players, what a row's
 * answers make of the leaves is one of a few states: not meeting what stands above the cluster,
 * or one way of meeting and failing the player's conditions inside it, where a condition under
 * a failed one of the same player does not matter. Players multiply. */
#ifndef SHAPLEY_CLUSTER_H
#define SHAPLEY_CLUSTER_H

#include "shapley/paths.h"

#define CLUSTER_LEAVES 64
#define CLUSTER_PLAYERS 96 /* 24 above, and one for each node inside */

struct cluster_player {
    uint32_t player, top;   /* slot of its last edge above the cluster; 0: none */
    uint32_t states, inner; /* all; those inside alone. inner 1: no conditions inside */
};

struct cluster {
    const struct tree_paths *paths;
    int32_t root;                       /* node, or ~leaf */
    unsigned n_players, n_leaves, most; /* most: players on the path to one leaf */
    unsigned states, inner_states;      /* products over all players, over those with inner > 1;
                                           at most 1000 is exact */
    struct cluster_player players[CLUSTER_PLAYERS]; /* those with inner > 1 first */
    unsigned n_inner;
    uint32_t leaves[CLUSTER_LEAVES];
    uint32_t edges[CLUSTER_LEAVES]
                  [CLUSTER_PLAYERS]; /* last edge of a player to a leaf; 0: none */
};

/* False when the leaves or players are too many. */
bool cluster_at(struct cluster *c, const struct tree_paths *p, int32_t root);

/* met[states]: for each state of a player, which leaves it lets the row reach, a bit each. */
void cluster_states(const struct cluster *c, unsigned player, uint64_t *met);

/* Calls add(context, slot, weight) so that the weights of the met slots sum to the player's
 * state times `stride`. */
typedef void cluster_add(void *context, uint32_t slot, uint32_t weight);
void cluster_index(const struct cluster *c, unsigned player, unsigned stride, cluster_add *add,
                   void *context);

/* Divides a tree into the clusters that cost least: cuts[i] is true where node i is a cluster
 * of its own; leaves not below one are alone. cost: of a cluster, INFINITY when impossible. */
typedef double cluster_cost(const struct cluster *c, void *context);
bool cluster_tree(const struct tree_paths *p, cluster_cost *cost, void *context,
                  struct cluster *space, bool *cuts);

#endif
