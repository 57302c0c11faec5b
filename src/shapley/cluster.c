/* cluster.c: leaves taken together (cluster.h). Proof: tests/test_shapley.c, by the values. */
#include "shapley/cluster.h"

#include "base/memory.h"

#include <math.h>

#define MOST_STATES 1000

static unsigned capped(unsigned states)
{
    return states < MOST_STATES ? states : MOST_STATES;
}

/* States of a player inside the subtree `at`. */
static unsigned count_states(const struct tree_paths *p, int32_t at, uint32_t player)
{
    if (at < 0)
        return 1;
    const struct tree_node *n = &p->tree->nodes[at];
    unsigned left = count_states(p, n->left, player), right = count_states(p, n->right, player);
    return capped(p->player[at] == player ? left + right : left * right);
}

static unsigned find_player(struct cluster *c, uint32_t player)
{
    unsigned i = 0;
    while (i < c->n_players && c->players[i].player != player)
        i++;
    if (i == c->n_players && i < CLUSTER_PLAYERS)
        c->players[c->n_players++] = (struct cluster_player){.player = player};
    return i;
}

/* Leaves and players inside, from the left. */
static bool collect(struct cluster *c, int32_t at)
{
    if (at < 0) {
        if (c->n_leaves == CLUSTER_LEAVES)
            return false;
        c->leaves[c->n_leaves++] = (uint32_t)~at;
        return true;
    }
    const struct tree_node *n = &c->paths->tree->nodes[at];
    return find_player(c, c->paths->player[at]) < CLUSTER_PLAYERS && collect(c, n->left) &&
           collect(c, n->right);
}

/* Players above: the first edge found is the last on the way. */
static bool collect_above(struct cluster *c, uint32_t slot)
{
    const struct tree_paths *p = c->paths;
    for (; slot; slot = p->node_up[slot_node(slot)]) {
        unsigned i = find_player(c, p->player[slot_node(slot)]);
        if (i == CLUSTER_PLAYERS)
            return false;
        if (c->players[i].top == 0)
            c->players[i].top = slot;
    }
    return true;
}

/* The last edge of each player on the way to each leaf. */
static void find_edges(struct cluster *c)
{
    const struct tree_paths *p = c->paths;
    for (unsigned l = 0; l < c->n_leaves; l++) {
        unsigned n = 0;
        for (unsigned i = 0; i < c->n_players; i++)
            c->edges[l][i] = 0;
        for (uint32_t s = p->leaf_up[c->leaves[l]]; s; s = p->node_up[slot_node(s)]) {
            unsigned i = find_player(c, p->player[slot_node(s)]);
            n += c->edges[l][i] == 0;
            if (c->edges[l][i] == 0)
                c->edges[l][i] = s;
        }
        c->most = n > c->most ? n : c->most;
    }
}

bool cluster_at(struct cluster *c, const struct tree_paths *p, int32_t root)
{
    c->paths = p;
    c->root = root;
    c->n_players = c->n_leaves = c->most = c->n_inner = 0;
    c->states = c->inner_states = 1;
    if (!collect(c, root))
        return false;
    unsigned inside = c->n_players;
    if (!collect_above(c, root >= 0 ? p->node_up[root] : p->leaf_up[~root]))
        return false;
    for (unsigned i = 0; i < c->n_players; i++) {
        struct cluster_player *q = &c->players[i];
        q->inner = i < inside ? count_states(p, root, q->player) : 1;
        q->states = q->inner + (q->top != 0);
        c->states = capped(c->states * q->states);
        if (i < inside)
            c->inner_states = capped(c->inner_states * q->states);
    }
    c->n_inner = inside;
    find_edges(c);
    return true;
}

/* Decodes one state: bits of the leaves under `at`, the first of which is number *leaf. */
static uint64_t decode(const struct tree_paths *p, int32_t at, uint32_t player, unsigned state,
                       bool met, unsigned *leaf)
{
    if (at < 0)
        return (uint64_t)met << (*leaf)++;
    const struct tree_node *n = &p->tree->nodes[at];
    unsigned left = count_states(p, n->left, player);
    bool own = p->player[at] == player;
    bool goes_left = !own || state < left, goes_right = !own || state >= left;
    unsigned right_state = own ? state - left : state / left;
    uint64_t bits =
        decode(p, n->left, player, own ? state : state % left, met && goes_left, leaf);
    return bits | decode(p, n->right, player, right_state, met && goes_right, leaf);
}

void cluster_states(const struct cluster *c, unsigned player, uint64_t *met)
{
    const struct cluster_player *q = &c->players[player];
    unsigned above = q->top != 0;
    if (above)
        met[0] = 0;
    for (unsigned s = 0; s < q->inner; s++) {
        unsigned leaf = 0;
        met[s + above] = decode(c->paths, c->root, q->player, s, true, &leaf);
    }
}

static void index_inside(const struct cluster *c, int32_t at, uint32_t player, unsigned stride,
                         cluster_add *add, void *context)
{
    if (at < 0)
        return;
    const struct tree_node *n = &c->paths->tree->nodes[at];
    unsigned left = count_states(c->paths, n->left, player);
    if (c->paths->player[at] == player)
        add(context, slot_of((uint32_t)at, true), left * stride);
    bool own = c->paths->player[at] == player;
    index_inside(c, n->left, player, stride, add, context);
    index_inside(c, n->right, player, own ? stride : stride * left, add, context);
}

void cluster_index(const struct cluster *c, unsigned player, unsigned stride, cluster_add *add,
                   void *context)
{
    const struct cluster_player *q = &c->players[player];
    if (q->top)
        add(context, q->top, stride);
    if (q->inner > 1)
        index_inside(c, c->root, q->player, stride, add, context);
}

/* ---- dividing a tree ---- */

bool cluster_tree(const struct tree_paths *p, cluster_cost *cost, void *context,
                  struct cluster *space, bool *cuts)
{
    uint32_t nodes = p->tree->n_leaves - 1;
    double *least = mem_alloc(nodes + 1, sizeof *least);
    uint32_t *leaves = mem_alloc(nodes + 1, sizeof *leaves);
    bool good = least && leaves;
    for (uint32_t i = nodes; good && i-- > 0;) { /* children before parents */
        const int32_t child[2] = {p->tree->nodes[i].left, p->tree->nodes[i].right};
        double apart = 0;
        leaves[i] = 0;
        for (int side = 0; side < 2; side++) {
            bool leaf = child[side] < 0;
            leaves[i] += leaf ? 1 : leaves[child[side]];
            if (!leaf)
                apart += least[child[side]];
            else
                apart += cluster_at(space, p, child[side]) ? cost(space, context) : INFINITY;
        }
        double together = INFINITY;
        if (leaves[i] <= CLUSTER_LEAVES && cluster_at(space, p, (int32_t)i))
            together = cost(space, context);
        cuts[i] = together < apart;
        least[i] = cuts[i] ? together : apart;
    }
    mem_free(least);
    mem_free(leaves);
    return good;
}
