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
    p->r = mem_alloc(leaves, 2 * sizeof *p->r);
    if (!p->node_up || !p->leaf_up || !p->player || !p->source || !p->n_players || !p->r)
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
    mem_free(p->r);
    *p = (struct tree_paths){0};
}

static uint32_t *up_of(struct tree_paths *p, int32_t child)
{
    return child >= 0 ? &p->node_up[child] : &p->leaf_up[~child];
}

/* The nearest edge of a node's player above it. */
static uint32_t find_source(const struct tree_paths *p, uint32_t node)
{
    uint32_t slot = p->node_up[node];
    while (slot && p->player[slot_node(slot)] != p->player[node])
        slot = p->node_up[slot_node(slot)];
    return slot;
}

static void note_players(struct tree_paths *p, uint32_t node, uint32_t players)
{
    const int32_t child[2] = {p->tree->nodes[node].left, p->tree->nodes[node].right};
    for (int side = 0; side < 2; side++)
        if (child[side] >= 0)
            p->n_players[child[side]] = players;
    p->most_players = players > p->most_players ? players : p->most_players;
}

bool paths_of(struct tree_paths *p, const struct tree *t, const uint32_t *player_of_feature)
{
    if (!make_room(p, t->n_leaves))
        return false;
    p->tree = t;
    p->node_up[0] = p->leaf_up[0] = 0;
    p->r[0] = 1;
    p->n_players[0] = p->most_players = 0;
    for (uint32_t i = 0; i + 1 < t->n_leaves; i++) {
        const struct tree_node *n = &t->nodes[i];
        double left = tree_child_count(t, n->left), right = tree_child_count(t, n->right);
        p->player[i] = player_of_feature ? player_of_feature[n->feature] : n->feature;
        p->source[i] = find_source(p, i);
        p->r[slot_of(i, false)] = p->r[p->source[i]] * (left / (left + right));
        p->r[slot_of(i, true)] = p->r[p->source[i]] * (right / (left + right));
        *up_of(p, n->left) = slot_of(i, false);
        *up_of(p, n->right) = slot_of(i, true);
        note_players(p, i, p->n_players[i] + (p->source[i] == 0));
    }
    return true;
}
