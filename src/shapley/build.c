/* build.c: takes a model apart into games (explainer.h). Cover is whatever the model's file
 * counts: rows as in LightGBM and shap, or hessians as in XGBoost. Proof: tests/test_shapley.c.
 */
#include "shapley/build.h"

#include "base/error.h"
#include "base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct builder {
    struct medley_explainer *e;
    const uint32_t *player_of_feature; /* NULL: every feature is a player */
    size_t bytes;                      /* of tables, at most */
    size_t games_room, parts_room, adds_room, players_room, numbers_room;
    struct tree_paths paths;
    struct cluster cluster;
    struct table_space tables;
    bool *cuts;
    size_t cuts_room;
    bool full; /* of tables: the remaining trees are walked */
};

/* ---- cost ---- */

/* How the players of a cluster fall into parts. */
struct layout {
    unsigned n_points, n_parts;
    struct layout_part {
        unsigned players[CLUSTER_PLAYERS], n, states;
    } parts[GAME_PARTS];
};

static unsigned room_for(unsigned states)
{
    return states <= 16 ? 16 : states <= 32 ? 32 : 64;
}

/* Players with conditions inside the cluster must share a part; those above are dealt out, up
 * to five to a part. */
static bool lay_out_parts(const struct cluster *c, struct layout *out)
{
    unsigned i = c->n_inner;
    if (c->most > GAME_PLAYERS || c->inner_states > GAME_PART_STATES)
        return false;
    *out = (struct layout){.n_points = (c->most + 1) / 2};
    if (c->n_inner) {
        struct layout_part *p = &out->parts[out->n_parts++];
        for (unsigned j = 0; j < c->n_inner; j++)
            p->players[p->n++] = j;
        p->states = c->inner_states;
        for (unsigned room = room_for(p->states); i < c->n_players && p->states * 2 <= room;
             i++) {
            p->players[p->n++] = i;
            p->states *= 2;
        }
    }
    unsigned left = c->n_players - i, parts = (left + 4) / 5;
    for (unsigned n = 0; n < parts; n++) {
        struct layout_part *p = &out->parts[out->n_parts++];
        for (unsigned take = (left + n) / parts; take > 0; take--)
            p->players[p->n++] = i++;
        p->states = 1u << p->n;
    }
    return true;
}

/* Cycles for 64 rows, roughly: fitted by hand to whole models with AVX-512 (Zen 5); the minimum
 * is flat. Most of what a game costs is the game itself. */
static double cost_of_state(const struct cluster *c)
{
    return 1.5 * (c->n_players + c->n_leaves - 1);
}

static double cost_of_table(const struct cluster *c)
{
    static const double look_up[] = {6, 8, 14};
    double each = look_up[c->states <= 16 ? 0 : c->states <= 32 ? 1 : 2];
    return 20 + cost_of_state(c) + each * c->n_players * c->paths->tree->n_outputs;
}

static double cost_of_parts(const struct cluster *c, const struct layout *l)
{
    double cost = 0;
    for (unsigned i = 0; i < l->n_parts; i++) {
        double each = l->parts[i].states <= 16 ? 6 : 9;
        cost += l->n_points * (each * (l->parts[i].n + 1.0) + 5 * (l->n_parts - 1)) +
                8 * l->parts[i].n;
    }
    return 100 + cost_of_state(c) + cost * c->paths->tree->n_outputs;
}

/* A leaf whose background has to be gone through row by row. */
#define SLOW_LEAF 1e6

static double cost_of(const struct cluster *c, void *context)
{
    const struct builder *b = context;
    struct layout l;
    double cost = c->states <= GAME_STATES ? cost_of_table(c) : INFINITY;
    if (b->e->background)
        return cost == INFINITY && c->n_leaves == 1 ? SLOW_LEAF : cost;
    return lay_out_parts(c, &l) ? fmin(cost, cost_of_parts(c, &l)) : cost;
}

/* ---- games ---- */

/* mem_reserve for memory that must stay aligned to a cache line. */
static bool reserve_numbers(struct builder *b, size_t more)
{
    size_t need = b->e->n_numbers + more;
    if (need * sizeof(float) > b->bytes) {
        b->full = true;
        return true;
    }
    if (need <= b->numbers_room)
        return true;
    size_t room = need + need / 2 + 4096;
    float *grown = mem_alloc64(room, sizeof *grown);
    if (!grown)
        return false;
    if (b->e->n_numbers)
        memcpy(grown, b->e->numbers, b->e->n_numbers * sizeof *grown);
    mem_free(b->e->numbers);
    b->e->numbers = grown;
    b->numbers_room = room;
    return true;
}

/* Gives back what is not in use. */
static bool trim_numbers(struct builder *b)
{
    struct medley_explainer *e = b->e;
    float *exact = mem_alloc64(e->n_numbers, sizeof *exact);
    if (!exact)
        return false;
    if (e->n_numbers)
        memcpy(exact, e->numbers, e->n_numbers * sizeof *exact);
    mem_free(e->numbers);
    e->numbers = exact;
    return true;
}

static void push_add(void *context, uint32_t slot, uint32_t weight)
{
    struct builder *b = context;
    b->e->adds[b->e->n_adds++] = (struct game_add){slot, weight};
}

/* A part, its players and what makes its state. */
static bool push_part(struct builder *b, const unsigned *players, unsigned n, unsigned states)
{
    struct medley_explainer *e = b->e;
    const struct cluster *c = &b->cluster;
    if (!mem_reserve(&e->parts, &b->parts_room, e->n_parts + 1, sizeof *e->parts) ||
        !mem_reserve(&e->adds, &b->adds_room, e->n_adds + n + c->n_leaves, sizeof *e->adds) ||
        !mem_reserve(&e->players, &b->players_room, e->n_part_players + n, sizeof *e->players))
        return false;
    struct game_part *p = &e->parts[e->n_parts++];
    *p = (struct game_part){.first_add = (uint32_t)e->n_adds,
                            .first_player = (uint32_t)e->n_part_players,
                            .n_players = (uint16_t)n,
                            .n_states = (uint16_t)room_for(states)};
    for (unsigned i = 0, stride = 1; i < n; i++) {
        cluster_index(c, players[i], stride, push_add, b);
        stride *= c->players[players[i]].states;
        e->players[e->n_part_players++] = c->players[players[i]].player;
    }
    p->n_adds = (uint16_t)(e->n_adds - p->first_add);
    return true;
}

static struct game *push_game(struct builder *b, unsigned parts, unsigned points)
{
    struct medley_explainer *e = b->e;
    if (!mem_reserve(&e->games, &b->games_room, e->n_games + 1, sizeof *e->games))
        return NULL;
    e->games[e->n_games] = (struct game){.first_part = (uint32_t)e->n_parts,
                                         .n_parts = (uint16_t)parts,
                                         .n_points = (uint16_t)points,
                                         .first_number = e->n_numbers};
    return &e->games[e->n_games++];
}

static bool add_table(struct builder *b)
{
    const struct cluster *c = &b->cluster;
    const unsigned all[LEAF_PLAYERS] = {0, 1, 2, 3, 4, 5};
    unsigned room = room_for(c->states);
    size_t numbers = (size_t)c->paths->tree->n_outputs * c->n_players * room;
    if (!reserve_numbers(b, numbers))
        return false;
    if (b->full)
        return true;
    if (!push_game(b, 1, 0) || !push_part(b, all, c->n_players, c->states))
        return false;
    float *out = b->e->numbers + b->e->n_numbers;
    memset(out, 0, numbers * sizeof *out);
    game_table_fill(b->e, c, room, &b->tables, out);
    b->e->n_numbers += numbers;
    return true;
}

static bool add_parts(struct builder *b, const struct layout *l)
{
    const struct cluster *c = &b->cluster;
    uint32_t outputs = c->paths->tree->n_outputs;
    size_t numbers = 0;
    for (unsigned i = 0; i < l->n_parts; i++)
        numbers += (size_t)l->n_points * (l->parts[i].n + 1) * room_for(l->parts[i].states);
    if (!reserve_numbers(b, numbers * outputs))
        return false;
    if (b->full)
        return true;
    if (!push_game(b, l->n_parts, l->n_points))
        return false;
    float *out = b->e->numbers + b->e->n_numbers;
    memset(out, 0, numbers * outputs * sizeof *out);
    for (uint32_t o = 0; o < outputs; o++)
        for (unsigned i = 0; i < l->n_parts; i++) {
            const struct layout_part *p = &l->parts[i];
            if (o == 0 && !push_part(b, p->players, p->n, p->states))
                return false;
            /* The leaves' values are in the first part. */
            struct part_fill f = {c,           p->players,          p->n,
                                  l->n_points, room_for(p->states), i == 0 ? (int)o : -1};
            game_part_fill(&f, &b->tables, out);
            out += (size_t)l->n_points * (p->n + 1) * f.room;
        }
    b->e->n_numbers += numbers * outputs;
    return true;
}

/* The game of a node or leaf. */
static bool add_game(struct builder *b, int32_t at)
{
    if (b->full)
        return true;
    struct layout l;
    const struct cluster *c = &b->cluster;
    bool few = cluster_at(&b->cluster, &b->paths, at);
    bool table = few && c->states <= GAME_STATES;
    if (b->e->background)
        return table ? add_table(b)
                     : background_keep(b->e->background, &b->paths, (uint32_t)~at);
    if (lay_out_parts(c, &l) && !(table && cost_of_table(c) <= cost_of_parts(c, &l)))
        return add_parts(b, &l);
    return add_table(b);
}

/* All of a tree's games. Parents come before their children, so what is below a cut is known:
 * it counts as cut, too. No recursion: hostile files hold trees as deep as they are big. */
static bool add_games(struct builder *b)
{
    const struct tree *t = b->paths.tree;
    for (uint32_t i = 0; i + 1 < t->n_leaves; i++) {
        const int32_t child[2] = {t->nodes[i].left, t->nodes[i].right};
        uint32_t up = b->paths.node_up[i];
        bool covered = up && b->cuts[slot_node(up)];
        if (!covered && b->cuts[i] && !add_game(b, (int32_t)i))
            return false;
        b->cuts[i] |= covered;
        for (int side = 0; side < 2; side++)
            if (!b->cuts[i] && child[side] < 0 && !add_game(b, child[side]))
                return false;
    }
    return true;
}

/* ---- trees ---- */

/* Expected values: leaves weighed by the cover that comes to them. */
static void add_base(const struct tree_paths *p, double *base)
{
    const struct tree *t = p->tree;
    for (uint32_t l = 0; l < t->n_leaves; l++) {
        uint32_t up = p->leaf_up[l];
        double weight = 1;
        if (up) {
            uint32_t node = slot_node(up);
            double left = tree_child_count(t, t->nodes[node].left);
            double right = tree_child_count(t, t->nodes[node].right);
            bool is_right = up == slot_of(node, true);
            weight = p->cover[node] * ((is_right ? right : left) / (left + right));
        }
        for (uint32_t o = 0; o < t->n_outputs; o++)
            base[t->first_class + o] += weight * t->values[(size_t)l * t->n_outputs + o];
    }
}

static void keep_paths(struct builder *b, struct game_tree *g)
{
    struct medley_explainer *e = b->e;
    const struct tree_paths *p = &b->paths;
    size_t nodes = g->tree->n_leaves - 1;
    memcpy(e->r + e->n_edges, p->r + 1, 2 * nodes * sizeof *e->r);
    memcpy(e->sources + e->n_nodes, p->source, nodes * sizeof *e->sources);
    memcpy(e->node_players + e->n_nodes, p->player, nodes * sizeof *e->node_players);
    g->first_edge = e->n_edges;
    g->first_node = e->n_nodes;
    e->n_edges += 2 * nodes;
    e->n_nodes += nodes;
    e->most_slots = 2 * nodes + 1 > e->most_slots ? 2 * nodes + 1 : e->most_slots;
    g->most_players = p->most_players;
}

/* Points for a tree's longest path. */
static bool find_rule(struct medley_explainer *e, struct game_tree *g)
{
    unsigned n = (g->most_players + 1) / 2, room = (n + 7) / 8 * 8;
    if (n <= GAUSS_KEPT) {
        g->points = gauss_rule(n)->points;
        g->weights = gauss_rule(n)->weights;
        return true;
    }
    for (size_t i = 0; i < g->number; i++)
        if ((e->trees[i].most_players + 1) / 2 == n) {
            g->points = e->trees[i].points;
            g->weights = e->trees[i].weights;
            return true;
        }
    double **rules = mem_resize(e->rules, e->n_rules + 1, sizeof *rules);
    if (!rules)
        return false;
    e->rules = rules;
    double *rule = mem_zalloc(room, 2 * sizeof *rule);
    if (!rule)
        return false;
    rules[e->n_rules++] = rule;
    gauss_legendre(n, rule, rule + room);
    for (unsigned i = n; i < room; i++)
        rule[i] = 0.5;
    g->points = rule;
    g->weights = rule + room;
    return true;
}

static bool add_tree_games(struct builder *b, struct game_tree *g)
{
    struct medley_explainer *e = b->e;
    size_t games = e->n_games, parts = e->n_parts, adds = e->n_adds, numbers = e->n_numbers;
    size_t players = e->n_part_players;
    if (!mem_reserve(&b->cuts, &b->cuts_room, g->tree->n_leaves, sizeof *b->cuts) ||
        !cluster_tree(&b->paths, cost_of, b, &b->cluster, b->cuts) || !add_games(b))
        return false;
    if (b->full) { /* half a tree is of no use */
        e->n_games = games;
        e->n_parts = parts;
        e->n_adds = adds;
        e->n_numbers = numbers;
        e->n_part_players = players;
        g->walked = true;
    }
    g->first_game = (uint32_t)games;
    g->n_games = (uint32_t)(e->n_games - games);
    return true;
}

static medley_status add_tree(struct builder *b, size_t number, medley_error *err)
{
    struct medley_explainer *e = b->e;
    struct game_tree *g = &e->trees[number];
    *g = (struct game_tree){.tree = e->model->trees[number], .number = number};
    if (!paths_of(&b->paths, g->tree, b->player_of_feature))
        return fail_memory(err, "the paths of a tree");
    if (!e->background)
        add_base(&b->paths, e->base);
    if (g->tree->n_leaves == 1)
        return MEDLEY_OK;
    keep_paths(b, g);
    if (!find_rule(e, g))
        return fail_memory(err, "the quadrature of a tree");
    if (e->background) {
        g->first_slow = (uint32_t)background_kept(e->background);
        if (!background_tree(e->background, e, g) || !add_tree_games(b, g))
            return fail_memory(err, "the games of a tree");
        g->n_slow = (uint32_t)(background_kept(e->background) - g->first_slow);
        if (b->full)
            return fail(err, MEDLEY_EINVAL, "tables of more than %zu bytes", b->bytes);
        return MEDLEY_OK;
    }
    g->walked = b->full || g->most_players > GAME_PLAYERS || b->paths.most_depth > GAME_DEPTH;
    if (!g->walked && !add_tree_games(b, g))
        return fail_memory(err, "the games of a tree");
    return MEDLEY_OK;
}

/* Trees with games, by class; up to GAME_TREES of one class in a group. */
static void group_trees(struct medley_explainer *e)
{
    for (size_t c = 0; c < e->n_classes; c++)
        for (size_t i = 0; i < e->model->n_trees; i++) {
            const struct game_tree *g = &e->trees[i];
            if (g->tree->first_class != c || g->tree->n_leaves == 1)
                continue;
            if (g->walked) {
                e->n_walked++;
                continue;
            }
            struct game_group *last = e->n_groups ? &e->groups[e->n_groups - 1] : NULL;
            const struct tree *before = last ? e->trees[e->order[last->first]].tree : NULL;
            if (!last || last->n == GAME_TREES || before->first_class != c ||
                before->n_outputs != g->tree->n_outputs)
                e->groups[e->n_groups++] = (struct game_group){(uint32_t)e->n_order, 0};
            e->groups[e->n_groups - 1].n++;
            e->order[e->n_order++] = (uint32_t)i;
        }
}

medley_status games_build(struct medley_explainer *e, const uint32_t *player_of_feature,
                          size_t bytes, medley_error *err)
{
    const struct medley_gbdt *m = e->model;
    size_t nodes = e->conditions->first_node[m->n_trees];
    struct builder *b = mem_zalloc(1, sizeof *b);
    e->trees = mem_zalloc(m->n_trees + 1, sizeof *e->trees);
    e->order = mem_alloc(m->n_trees + 1, sizeof *e->order);
    e->groups = mem_alloc(m->n_trees + 1, sizeof *e->groups);
    e->r = mem_alloc(nodes + 1, 2 * sizeof *e->r);
    e->sources = mem_alloc(nodes + 1, sizeof *e->sources);
    e->node_players = mem_alloc(nodes + 1, sizeof *e->node_players);
    medley_status st = MEDLEY_OK;
    if (!b || !e->trees || !e->order || !e->groups || !e->r || !e->sources || !e->node_players)
        st = fail_memory(err, "an explainer");
    if (st == MEDLEY_OK) {
        b->e = e;
        b->player_of_feature = player_of_feature;
        b->bytes = bytes;
    }
    for (size_t i = 0; st == MEDLEY_OK && i < m->n_trees; i++)
        st = add_tree(b, i, err);
    if (st == MEDLEY_OK && e->background)
        background_built(e->background);
    if (st == MEDLEY_OK)
        group_trees(e);
    if (st == MEDLEY_OK && !trim_numbers(b))
        st = fail_memory(err, "an explainer");
    if (b) {
        paths_deinit(&b->paths);
        mem_free(b->cuts);
    }
    mem_free(b);
    return st;
}
