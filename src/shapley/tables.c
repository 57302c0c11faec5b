/* tables.c: the numbers of games: Shapley values by state (explainer.h has the formulas).
 * Proof: tests/test_shapley.c. */
#include "shapley/build.h"

#include <string.h>

/* An r of 0 (covers may underflow) would divide 0 by 0 below; this small it changes nothing. */
static double share_of(const struct tree_paths *p, uint32_t edge)
{
    return p->r[edge] > 1e-60 ? p->r[edge] : 1e-60;
}

/* First for each pattern A[b] = integral of prod_{met}(r + (1 - r) y) prod_{not met} r (1 - y)
 * / (1 - y): the value of a player not met is -A[b]; of one met, A[b without it] (1 - r) / r.
 */
void leaf_table_path(const struct tree_paths *p, const struct leaf_game *leaf, double *phi)
{
    double r[LEAF_PLAYERS];
    double sums[GAME_STATES] = {0}, products[GAME_STATES];
    unsigned k = leaf->n_players, n = (k + 1) / 2, size = 1u << k;
    const struct gauss_rule *rule = gauss_rule(n);
    for (unsigned i = 0; i < k; i++)
        r[i] = share_of(p, leaf->edges[i]);
    for (unsigned q = 0; q < n; q++) {
        double y = rule->points[q];
        products[0] = rule->weights[q] / (1 - y);
        for (unsigned i = 0; i < k; i++)
            for (unsigned s = 0; s < 1u << i; s++) {
                products[s | 1u << i] = products[s] * (r[i] + (1 - r[i]) * y);
                products[s] *= r[i] * (1 - y);
            }
        for (unsigned s = 0; s < size; s++)
            sums[s] += products[s];
    }
    for (unsigned s = 0; s < size; s++)
        for (unsigned i = 0; i < k; i++)
            phi[s * k + i] = s >> i & 1 ? sums[s & ~(1u << i)] * (1 - r[i]) / r[i] : -sums[s];
}

/* ---- a table over all states ---- */

/* Players of a leaf, as numbers in the cluster. */
static unsigned players_of(const struct cluster *c, unsigned leaf, unsigned *players)
{
    unsigned k = 0;
    for (unsigned i = 0; i < c->n_players; i++)
        if (c->edges[leaf][i])
            players[k++] = i;
    return k;
}

static void fill_leaves(const struct medley_explainer *e, const struct cluster *c,
                        struct table_space *s)
{
    for (unsigned l = 0; l < c->n_leaves; l++) {
        unsigned players[CLUSTER_PLAYERS];
        struct leaf_game g = {.leaf = c->leaves[l]};
        g.n_players = players_of(c, l, players);
        for (unsigned i = 0; i < g.n_players; i++)
            g.edges[i] = c->edges[l][players[i]];
        if (e->background)
            leaf_table_background(e->background, &g, s->phi[l]);
        else
            leaf_table_path(c->paths, &g, s->phi[l]);
    }
}

/* One state: adds up the leaves. out[outputs, players, room] at that state. */
static void fill_state(const struct cluster *c, const struct table_space *s,
                       const unsigned *state, unsigned room, float *out)
{
    const struct tree *t = c->paths->tree;
    double sums[GBDT_MAX_CLASSES][LEAF_PLAYERS] = {{0}};
    for (unsigned l = 0; l < c->n_leaves; l++) {
        unsigned players[CLUSTER_PLAYERS], k = players_of(c, l, players), pattern = 0;
        for (unsigned i = 0; i < k; i++)
            pattern |= (unsigned)(s->met[players[i]][state[players[i]]] >> l & 1) << i;
        const double *phi = s->phi[l] + (size_t)pattern * k;
        for (uint32_t o = 0; o < t->n_outputs; o++)
            for (unsigned i = 0; i < k; i++)
                sums[o][players[i]] +=
                    phi[i] * t->values[(size_t)c->leaves[l] * t->n_outputs + o];
    }
    for (uint32_t o = 0; o < t->n_outputs; o++)
        for (unsigned i = 0; i < c->n_players; i++)
            out[((size_t)o * c->n_players + i) * room] = (float)sums[o][i];
}

/* The next combination of states, the first player's running fastest; false after the last. */
static bool next_state(const struct cluster *c, const unsigned *players, unsigned n,
                       unsigned *state)
{
    for (unsigned i = 0; i < n; i++) {
        if (++state[i] < c->players[players[i]].states)
            return true;
        state[i] = 0;
    }
    return false;
}

void game_table_fill(const struct medley_explainer *e, const struct cluster *c, unsigned room,
                     struct table_space *s, float *out)
{
    unsigned state[LEAF_PLAYERS] = {0}, all[LEAF_PLAYERS] = {0, 1, 2, 3, 4, 5};
    fill_leaves(e, c, s);
    for (unsigned i = 0; i < c->n_players; i++)
        cluster_states(c, i, s->met[i]);
    do
        fill_state(c, s, state, room, out++);
    while (next_state(c, all, c->n_players, state));
}

/* ---- parts ---- */

/* Adds the products over some players, at all points, of a leaf with value `scale`. at: of the
 * state in out. */
static void add_products(const struct part_fill *f, unsigned leaf, const bool *met,
                         double scale, double *g, double *d)
{
    const struct cluster *c = f->cluster;
    const struct gauss_rule *rule = gauss_rule(f->n_points);
    for (unsigned q = 0; q < f->n_points; q++) {
        double y = rule->points[q], factor[GAME_PLAYERS + CLUSTER_LEAVES], before = 1,
               after = 1;
        double w = f->output < 0 ? 1 : scale * rule->weights[q];
        for (unsigned i = 0; i < f->n_players; i++) {
            uint32_t edge = c->edges[leaf][f->players[i]];
            double r = edge ? c->paths->r[edge] : 1;
            factor[i] = !edge ? 1 : met[i] ? r + (1 - r) * y : r * (1 - y);
        }
        double others[GAME_PLAYERS + CLUSTER_LEAVES];
        for (unsigned i = 0; i < f->n_players; before *= factor[i++])
            others[i] = before;
        for (unsigned i = f->n_players; i-- > 0; after *= factor[i]) {
            uint32_t edge = c->edges[leaf][f->players[i]];
            if (edge)
                d[i * f->n_points + q] +=
                    w * others[i] * after * ((met[i] ? 1 : 0) - c->paths->r[edge]);
        }
        g[q] += w * before;
    }
}

void game_part_fill(const struct part_fill *f, struct table_space *s, float *out)
{
    const struct cluster *c = f->cluster;
    unsigned state[CLUSTER_PLAYERS] = {0}, leaves = f->output < 0 ? 1 : c->n_leaves, at = 0;
    const struct tree *t = c->paths->tree;
    for (unsigned i = 0; i < f->n_players; i++)
        cluster_states(c, f->players[i], s->met[i]);
    do {
        double g[GAME_POINTS] = {0}, d[GAME_PLAYERS * GAME_POINTS] = {0};
        for (unsigned l = 0; l < leaves; l++) {
            bool met[CLUSTER_PLAYERS];
            for (unsigned i = 0; i < f->n_players; i++)
                met[i] = s->met[i][state[i]] >> l & 1;
            double v = f->output < 0
                           ? 1
                           : t->values[(size_t)c->leaves[l] * t->n_outputs + (size_t)f->output];
            add_products(f, l, met, v, g, d);
        }
        for (unsigned q = 0; q < f->n_points; q++)
            out[q * f->room + at] = (float)g[q];
        for (unsigned i = 0; i < f->n_players * f->n_points; i++)
            out[(f->n_points + i) * f->room + at] = (float)d[i];
        at++;
    } while (next_state(c, f->players, f->n_players, state));
}
