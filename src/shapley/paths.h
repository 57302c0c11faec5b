/* paths.h: the conditions of each player on the ways through a tree; private to src/shapley.
 *
 * Slots stand for edges: 1 + 2 node + (0 left, 1 right); slot 0 stands for "no condition". An
 * edge is *met* when the row goes along it and meets its player's conditions above; the nearest
 * of those is the source. So a player meets its part of a path if its last edge is met, and r
 * of that edge is the share of the cover that the player lets through when absent. */
#ifndef SHAPLEY_PATHS_H
#define SHAPLEY_PATHS_H

#include "gbdt/tree.h"

struct tree_paths {
    const struct tree *tree;
    uint32_t *node_up, *leaf_up; /* slot of the edge that leads here; 0: the root */
    uint32_t *player;            /* [nodes] */
    uint32_t *source;            /* [nodes] slot, of both edges of a node */
    double *r;                   /* [slots] */
    uint32_t *n_players;         /* [nodes] on the way to a node */
    uint32_t *depth;             /* [nodes] */
    double *cover;               /* [nodes] share of the training cover that comes to a node */
    uint32_t most_players;       /* on the way to a leaf */
    uint32_t most_depth;
    size_t room; /* leaves */
};

/* Reuses what p holds; p starts zeroed. False when out of memory. */
bool paths_of(struct tree_paths *p, const struct tree *t, const uint32_t *player_of_feature);
void paths_deinit(struct tree_paths *p);

static inline uint32_t slot_of(uint32_t node, bool right)
{
    return 1 + 2 * node + right;
}
static inline uint32_t slot_node(uint32_t slot)
{
    return (slot - 1) / 2;
}

#endif
