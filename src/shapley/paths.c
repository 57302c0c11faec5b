/* paths.c: who stands where on the ways through a tree (paths.h). Proof: tests/test_shapley.c.
 */
#include "shapley/paths.h"

#include "base/memory.h"

static bool make_room(struct tree_paths *p, size_t leaves)
{
    if (leaves <= p->room)
        return true;
    paths_deinit(p);
    p->node_up = mem_alloc(leaves, sizeof *p->node_up);
    p->leaf_up = mem_alloc(leaves, sizeof *p->leaf_up);
    p->player = mem_alloc(leaves, sizeof *p->player);
    p->source = mem_alloc(leaves, sizeof *p->source);
    p->n_players = mem_alloc(leaves, sizeof *p->n_players);
    p->depth = mem_alloc(leaves, sizeof *p->depth);
    p->cover = mem_alloc(leaves, sizeof *p->cover);
    p->r = mem_alloc(leaves, 2 * sizeof *p->r);
    if (!p->node_up || !p->leaf_up || !p->player || !p->source || !p->n_players || !p->depth ||
        !p->cover || !p->r)
        return false;
    p->room = leaves;
    return true;
}

void paths_deinit(struct tree_paths *p)
{
    mem_free(p->node_up);
    mem_free(p->leaf_up);
    mem_free(p->player);
    mem_free(p->source);
    mem_free(p->n_players);
    mem_free(p->depth);
    mem_free(p->cover);
    mem_free(p->r);
    *p = (struct tree_paths){0};
}

/* The nearest edge of a node's player above it. */
static uint32_t find_source(const struct tree_paths *p, uint32_t node)
{
    uint32_t slot = p->node_up[node];
    while (slot && p->player[slot_node(slot)] != p->player[node])
        slot = p->node_up[slot_node(slot)];
    return slot;
}

/* What a node hands down on one side. */
static void hand_down(struct tree_paths *p, uint32_t node, bool right, double share)
{
    const struct tree_node *n = &p->tree->nodes[node];
    int32_t child = right ? n->right : n->left;
    uint32_t slot = slot_of(node, right), players = p->n_players[node] + (p->source[node] == 0);
    p->r[slot] = p->r[p->source[node]] * share;
    p->most_players = players > p->most_players ? players : p->most_players;
    if (p->depth[node] >= p->most_depth)
        p->most_depth = p->depth[node] + 1;
    if (child < 0) {
        p->leaf_up[~child] = slot;
        return;
    }
    p->node_up[child] = slot;
    p->n_players[child] = players;
    p->depth[child] = p->depth[node] + 1;
    p->cover[child] = p->cover[node] * share;
}

bool paths_of(struct tree_paths *p, const struct tree *t, const uint32_t *player_of_feature)
{
    if (!make_room(p, t->n_leaves))
        return false;
    p->tree = t;
    p->node_up[0] = p->leaf_up[0] = 0;
    p->r[0] = 1;
    p->n_players[0] = p->depth[0] = p->most_players = p->most_depth = 0;
    p->cover[0] = 1;
    for (uint32_t i = 0; i + 1 < t->n_leaves; i++) {
        const struct tree_node *n = &t->nodes[i];
        double left = tree_child_count(t, n->left), right = tree_child_count(t, n->right);
        p->player[i] = player_of_feature ? player_of_feature[n->feature] : n->feature;
        p->source[i] = find_source(p, i);
        hand_down(p, i, false, left / (left + right));
        hand_down(p, i, true, right / (left + right));
    }
    return true;
}
