/* interactions.c: Shapley interaction values, pair by pair.
 *
 * The Shapley interaction index of a pair is the multilinear extension's second derivative,
 * integrated along the diagonal (Grabisch and Roubens 1999): for a leaf
 *     I_ij = v (met_i - r_i) (met_j - r_j) integral of prod_{l != i, j} G_l
 * which Gauss-Legendre points take exactly, as they do the values (explainer.h). With h = (met
 * - r) / G it is a sum over points of w v P h_i h_j. Points lie in the lanes of a vector.
 * Proof: tests/test_shapley.c. */
#include "shapley/explainer.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/pool.h"

#include <stdatomic.h>
#include <string.h>

#define LANES 4
typedef double v4 __attribute__((vector_size(32), aligned(32)));

struct pairs_job {
    const struct medley_explainer *e;
    const float *x;
    float *out;
    atomic_bool out_of_memory;
};

struct pairs_space {
    uint8_t *met;      /* [slots] */
    uint32_t *up;      /* [slots] the slot above; 0: none */
    uint32_t *players; /* [P] of a leaf */
    uint32_t *edges;   /* [P] their last edges */
    bool *seen;        /* [P] */
    v4 *h;             /* [P] */
    v4 *sums;          /* [K, P, P] i < j */
    double *values;    /* [P, K] */
    double *walk;
};

static void space_deinit(struct pairs_space *s)
{
    mem_free(s->met);
    mem_free(s->up);
    mem_free(s->players);
    mem_free(s->edges);
    mem_free(s->seen);
    mem_free(s->h);
    mem_free(s->sums);
    mem_free(s->values);
    mem_free(s->walk);
}

static bool space_init(const struct medley_explainer *e, struct pairs_space *s)
{
    size_t players = e->n_players, classes = e->n_classes, slots = e->most_slots + 1;
    *s = (struct pairs_space){mem_alloc(slots, sizeof *s->met),
                              mem_alloc(slots, sizeof *s->up),
                              mem_alloc(players, sizeof *s->players),
                              mem_alloc(players, sizeof *s->edges),
                              mem_zalloc(players, sizeof *s->seen),
                              mem_alloc64(players, sizeof *s->h),
                              mem_alloc64(players, players * classes * sizeof *s->sums),
                              mem_alloc(players, classes * sizeof *s->values),
                              mem_alloc64(walk_space_size(e), sizeof *s->walk)};
    return s->met && s->up && s->players && s->edges && s->seen && s->h && s->sums &&
           s->values && s->walk;
}

/* Which edges the row meets, and what lies above each node. */
static void follow(const struct medley_explainer *e, const struct game_tree *g, const float *x,
                   struct pairs_space *s)
{
    const uint32_t *source = e->sources + g->first_node;
    s->met[0] = 1;
    for (uint32_t i = 0; i + 1 < g->tree->n_leaves; i++) {
        const struct tree_node *n = &g->tree->nodes[i];
        bool left = node_goes_left(n, x[n->feature]);
        s->met[slot_of(i, false)] = s->met[source[i]] && left;
        s->met[slot_of(i, true)] = s->met[source[i]] && !left;
        if (n->left >= 0)
            s->up[n->left] = slot_of(i, false);
        if (n->right >= 0)
            s->up[n->right] = slot_of(i, true);
    }
}

/* The players on the way to an edge, with their last edges. */
static unsigned find_players(const struct medley_explainer *e, const struct game_tree *g,
                             uint32_t slot, struct pairs_space *s)
{
    unsigned k = 0;
    for (; slot; slot = s->up[slot_node(slot)]) {
        uint32_t player = e->node_players[g->first_node + slot_node(slot)];
        if (s->seen[player])
            continue;
        s->seen[player] = true;
        s->players[k] = player;
        s->edges[k++] = slot;
    }
    for (unsigned i = 0; i < k; i++)
        s->seen[s->players[i]] = false;
    return k;
}

/* Adds a leaf's pairs, at LANES points. */
static void add_leaf(const struct medley_explainer *e, const struct game_tree *g, uint32_t leaf,
                     unsigned k, unsigned q, struct pairs_space *s)
{
    const double *r = e->r + g->first_edge;
    const struct tree *t = g->tree;
    size_t players = e->n_players;
    v4 y, product;
    memcpy(&y, g->points + q, sizeof y);
    memcpy(&product, g->weights + q, sizeof product);
    v4 rest = 1 - y;
    for (unsigned i = 0; i < k; i++) {
        bool met = s->met[s->edges[i]];
        double share = r[s->edges[i] - 1];
        v4 factor = met ? y * (1 - share) + share : rest * share;
        s->h[i] = met ? (1 - share) / factor : -1 / rest;
        product *= factor;
    }
    for (uint32_t o = 0; o < t->n_outputs; o++) {
        v4 scaled = product * (double)t->values[(size_t)leaf * t->n_outputs + o];
        v4 *sums = s->sums + (t->first_class + o) * players * players;
        for (unsigned i = 0; i < k; i++) {
            v4 own = scaled * s->h[i];
            for (unsigned j = 0; j < i; j++) {
                uint32_t a = s->players[i], b = s->players[j];
                sums[a < b ? a * players + b : b * players + a] += own * s->h[j];
            }
        }
    }
}

static void add_tree(const struct medley_explainer *e, const struct game_tree *g,
                     const float *x, struct pairs_space *s)
{
    unsigned points = (g->most_players + 1) / 2;
    follow(e, g, x, s);
    for (uint32_t i = 0; i + 1 < g->tree->n_leaves; i++) {
        const int32_t child[2] = {g->tree->nodes[i].left, g->tree->nodes[i].right};
        s->up[i] = i ? s->up[i] : 0;
        for (int side = 0; side < 2; side++) {
            if (child[side] >= 0)
                continue;
            unsigned k = find_players(e, g, slot_of(i, side == 1), s);
            for (unsigned q = 0; q < points; q += LANES)
                add_leaf(e, g, (uint32_t)~child[side], k, q, s);
        }
    }
}

/* Half of each index on either side; on the diagonal what is left of the value. */
static void store_row(const struct medley_explainer *e, const struct pairs_space *s, float *out)
{
    size_t players = e->n_players, classes = e->n_classes;
    for (size_t c = 0; c < classes; c++)
        for (size_t i = 0; i < players; i++) {
            double left = s->values[i * classes + c];
            for (size_t j = 0; j < players; j++) {
                size_t low = i < j ? i : j, high = i < j ? j : i;
                if (i == j)
                    continue;
                v4 sum = s->sums[(c * players + low) * players + high];
                double half = (sum[0] + sum[1] + sum[2] + sum[3]) / 2;
                out[(i * players + j) * classes + c] = (float)half;
                left -= half;
            }
            out[(i * players + i) * classes + c] = (float)left;
        }
}

static void pair_rows(void *context, size_t begin, size_t end, unsigned worker)
{
    (void)worker;
    struct pairs_job *job = context;
    const struct medley_explainer *e = job->e;
    size_t values = e->n_players * e->n_classes;
    struct pairs_space s;
    bool good = space_init(e, &s);
    for (size_t i = begin; good && i < end && !interrupted(); i++) {
        const float *x = job->x + i * e->model->n_features;
        memset(s.sums, 0, values * e->n_players * sizeof *s.sums);
        memset(s.values, 0, values * sizeof *s.values);
        for (size_t t = 0; t < e->model->n_trees; t++)
            if (e->trees[t].tree->n_leaves > 1)
                add_tree(e, &e->trees[t], x, &s);
        walk_row(e, x, WALK_ALL, s.walk, s.values);
        store_row(e, &s, job->out + i * values * e->n_players);
    }
    if (!good)
        atomic_store(&job->out_of_memory, true);
    space_deinit(&s);
}

medley_status medley_explainer_interactions(const medley_explainer *e, const float *features,
                                            size_t n, float *interactions, medley_error *err)
{
    if (e->background)
        return fail(err, MEDLEY_EUNSUPPORTED,
                    "interactions against a background (they are path-dependent only)");
    struct pairs_job job = {.e = e, .x = features, .out = interactions};
    parallel_for(n, 4, pair_rows, &job);
    if (atomic_load(&job.out_of_memory))
        return fail_memory(err, "interactions");
    if (interrupted())
        return fail(err, MEDLEY_EINTERRUPTED, "interrupted");
    return MEDLEY_OK;
}
