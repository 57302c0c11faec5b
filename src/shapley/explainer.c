/* explainer.c: builds the leaf games of a model (explainer.h says what they are) and runs rows
 * through them. Path elements of one player are merged, which is what makes values of players
 * exact; a feature that repeats on a path is the same case. Cover is the number of training
 * rows, not their weight, as in LightGBM and shap. Proof: tests/test_shapley.c. */
#include "shapley/explainer.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/pool.h"

#include <stdatomic.h>
#include <string.h>

/* ---- building ---- */

struct builder {
    struct medley_explainer *e;
    const uint32_t *player_of_feature; /* NULL: every feature is a player */
    size_t leaves_capacity, elements_capacity, sources_capacity, numbers_capacity;
    struct path { /* of the current tree: who leads to a node or leaf, and from which side */
        int32_t node_parent[GBDT_MAX_LEAVES], leaf_parent[GBDT_MAX_LEAVES];
        bool node_right[GBDT_MAX_LEAVES], leaf_right[GBDT_MAX_LEAVES];
    } path;
    struct game_element found[GBDT_MAX_LEAVES]; /* players of the current leaf */
    double cover[GBDT_MAX_LEAVES];              /* r of each */
};

static uint32_t player_of(const struct builder *b, const struct tree_node *n)
{
    return b->player_of_feature ? b->player_of_feature[n->feature] : n->feature;
}

static void note_child(struct path *p, int32_t child, int32_t parent, bool right)
{
    if (child >= 0) {
        p->node_parent[child] = parent;
        p->node_right[child] = right;
    } else {
        p->leaf_parent[~child] = parent;
        p->leaf_right[~child] = right;
    }
}

static void note_parents(struct path *p, const struct tree *t)
{
    p->node_parent[0] = -1;
    for (uint32_t i = 0; i + 1 < t->n_leaves; i++) {
        note_child(p, t->nodes[i].left, (int32_t)i, false);
        note_child(p, t->nodes[i].right, (int32_t)i, true);
    }
}

static uint16_t slot_of(int32_t node, bool right)
{
    return (uint16_t)(1 + 2 * node + right);
}

/* The slot of the nearest condition of the same player above a node; 0: none. */
static uint16_t source_of(const struct builder *b, const struct tree *t, int32_t node)
{
    uint32_t player = player_of(b, &t->nodes[node]);
    bool right = b->path.node_right[node];
    for (int32_t at = b->path.node_parent[node]; at >= 0; at = b->path.node_parent[at]) {
        if (player_of(b, &t->nodes[at]) == player)
            return slot_of(at, right);
        right = b->path.node_right[at];
    }
    return 0;
}

/* The players on the way to a leaf, from the leaf up: the first condition met is the deepest,
 * so its mask holds all of the player's. */
static unsigned find_players(struct builder *b, const struct tree *t, uint32_t leaf)
{
    unsigned k = 0;
    bool right = b->path.leaf_right[leaf];
    for (int32_t at = b->path.leaf_parent[leaf]; at >= 0; at = b->path.node_parent[at]) {
        const struct tree_node *n = &t->nodes[at];
        double share = (double)tree_child_count(t, right ? n->right : n->left) / n->count;
        uint32_t player = player_of(b, n);
        unsigned i = 0;
        while (i < k && b->found[i].player != player)
            i++;
        if (i == k) {
            b->found[k] = (struct game_element){player, slot_of(at, right), 0};
            b->cover[k++] = share;
        } else {
            b->cover[i] *= share;
        }
        right = b->path.node_right[at];
    }
    return k;
}

/* A[b] times `scale`, for all 2^k patterns; the last (all met) is never looked up. */
static void fill_table(const struct builder *b, unsigned k, double scale, float *out)
{
    double points[GAME_TABLE_PLAYERS], weights[GAME_TABLE_PLAYERS];
    double sums[1 << GAME_TABLE_PLAYERS] = {0}, products[1 << GAME_TABLE_PLAYERS];
    unsigned n = (k + 1) / 2, size = 1u << k;
    gauss_legendre(n, points, weights);
    for (unsigned q = 0; q < n; q++) {
        double y = points[q];
        products[0] = scale * weights[q] / (1 - y);
        for (unsigned i = 0; i < k; i++)
            for (unsigned s = 0; s < 1u << i; s++) {
                products[s | 1u << i] = products[s] * (b->cover[i] + (1 - b->cover[i]) * y);
                products[s] *= b->cover[i] * (1 - y);
            }
        for (unsigned s = 0; s < size; s++)
            sums[s] += products[s];
    }
    for (unsigned s = 0; s < size; s++)
        out[s] = s + 1 < size ? (float)sums[s] : 0;
    for (unsigned s = size; s < 16; s++)
        out[s] = 0;
}

static void fill_quadrature(const struct builder *b, unsigned k, double scale, float *out)
{
    double points[(GBDT_MAX_LEAVES + 1) / 2], weights[(GBDT_MAX_LEAVES + 1) / 2];
    unsigned n = (k + 1) / 2;
    gauss_legendre(n, points, weights);
    for (unsigned q = 0; q < n; q++) {
        double y = points[q];
        *out++ = (float)(scale * weights[q]);
        *out++ = (float)(-1 / (1 - y));
        for (unsigned i = 0; i < k; i++) {
            double r = b->cover[i], met = r + (1 - r) * y;
            *out++ = (float)(r * (1 - y));
            *out++ = (float)met;
            *out++ = (float)((1 - r) / met);
        }
    }
}

/* Numbers a leaf needs, rounded to whole cache lines. */
static size_t numbers_needed(unsigned k, unsigned points)
{
    size_t n = points ? (size_t)points * (2 + 3 * (size_t)k) : (size_t)1 << k;
    return (n + 15) / 16 * 16;
}

/* mem_reserve for memory that must stay aligned to a cache line. */
static bool reserve_numbers(struct builder *b, size_t need)
{
    if (need <= b->numbers_capacity)
        return true;
    size_t capacity = need + need / 2 + 4096;
    float *grown = mem_alloc64(capacity, sizeof *grown);
    if (!grown)
        return false;
    if (b->e->n_numbers)
        memcpy(grown, b->e->numbers, b->e->n_numbers * sizeof *grown);
    mem_free(b->e->numbers);
    b->e->numbers = grown;
    b->numbers_capacity = capacity;
    return true;
}

static bool add_leaf(struct builder *b, const struct tree *t, uint32_t leaf)
{
    struct medley_explainer *e = b->e;
    unsigned k = find_players(b, t, leaf);
    unsigned points = k > GAME_TABLE_PLAYERS ? (k + 1) / 2 : 0;
    size_t numbers = numbers_needed(k, points);
    if (!mem_reserve(&e->leaves, &b->leaves_capacity, e->n_leaves + 1, sizeof *e->leaves) ||
        !mem_reserve(&e->elements, &b->elements_capacity, e->n_elements + k,
                     sizeof *e->elements) ||
        !reserve_numbers(b, e->n_numbers + numbers))
        return false;
    e->leaves[e->n_leaves++] = (struct game_leaf){.n_players = (uint16_t)k,
                                                  .n_points = (uint16_t)points,
                                                  .leaf = leaf,
                                                  .first_element = e->n_elements,
                                                  .first_number = e->n_numbers};
    for (unsigned i = 0; i < k; i++) {
        b->found[i].coefficient = (float)((1 - b->cover[i]) / b->cover[i]);
        e->elements[e->n_elements++] = b->found[i];
    }
    /* A vector tree's values multiply later, so that its outputs share one table. */
    double scale = t->n_outputs == 1 ? t->values[leaf] : 1;
    float *out = e->numbers + e->n_numbers;
    memset(out, 0, numbers * sizeof *out);
    if (points)
        fill_quadrature(b, k, scale, out);
    else
        fill_table(b, k, scale, out);
    e->n_numbers += numbers;
    return true;
}

/* The expected margin: leaves weighed by their training rows. */
static void add_base(struct medley_explainer *e, const struct tree *t)
{
    double rows = 0;
    for (uint32_t i = 0; i < t->n_leaves; i++)
        rows += t->counts[i];
    for (uint32_t i = 0; i < t->n_leaves; i++)
        for (uint32_t o = 0; o < t->n_outputs; o++)
            e->base[t->first_class + o] +=
                t->values[i * t->n_outputs + o] * (t->n_leaves > 1 ? t->counts[i] / rows : 1);
}

static bool add_tree(struct builder *b, size_t number)
{
    struct medley_explainer *e = b->e;
    const struct tree *t = e->model->trees[number];
    e->trees[number] =
        (struct game_tree){.tree = t, .first_source = e->n_sources, .first_leaf = e->n_leaves};
    add_base(e, t);
    if (t->n_leaves == 1)
        return true;
    note_parents(&b->path, t);
    if (!mem_reserve(&e->sources, &b->sources_capacity, e->n_sources + t->n_leaves,
                     sizeof *e->sources))
        return false;
    for (uint32_t i = 0; i + 1 < t->n_leaves; i++)
        e->sources[e->n_sources++] = source_of(b, t, (int32_t)i);
    for (uint32_t i = 0; i < t->n_leaves; i++)
        if (!add_leaf(b, t, i))
            return false;
    e->trees[number].n_leaves = t->n_leaves;
    return true;
}

static medley_status check_players(const medley_gbdt *model, const uint32_t *player_of_feature,
                                   size_t n_players, medley_error *err)
{
    if (n_players == 0 || n_players > GBDT_MAX_FEATURES)
        return fail(err, MEDLEY_EINVAL, "%zu players (expected 1 to %d)", n_players,
                    GBDT_MAX_FEATURES);
    if (!player_of_feature && n_players != model->n_features)
        return fail(err, MEDLEY_EINVAL, "%zu players, but each of %zu features is one",
                    n_players, model->n_features);
    for (size_t f = 0; player_of_feature && f < model->n_features; f++)
        if (player_of_feature[f] >= n_players)
            return fail(err, MEDLEY_EINVAL, "feature %zu belongs to player %u of %zu", f,
                        player_of_feature[f], n_players);
    return MEDLEY_OK;
}

medley_status medley_explainer_new(const medley_gbdt *model, const uint32_t *player_of_feature,
                                   size_t n_players, medley_explainer **out, medley_error *err)
{
    if (model->cover == MEDLEY_COVER_NONE)
        return fail(err, MEDLEY_EUNSUPPORTED,
                    "the model's file holds no covers above zero, so it cannot be explained");
    medley_status st = check_players(model, player_of_feature, n_players, err);
    if (st != MEDLEY_OK)
        return st;
    struct builder *b = mem_zalloc(1, sizeof *b);
    struct medley_explainer *e = mem_zalloc(1, sizeof *e);
    bool good = b && e;
    if (good) {
        *e = (struct medley_explainer){
            .model = model, .n_players = n_players, .n_classes = model->n_classes};
        memcpy(e->base, model->base, sizeof e->base);
        b->e = e;
        b->player_of_feature = player_of_feature;
        e->trees = mem_zalloc(model->n_trees, sizeof *e->trees);
        good = e->trees || model->n_trees == 0;
    }
    for (size_t i = 0; good && i < model->n_trees; i++)
        good = add_tree(b, i);
    mem_free(b);
    if (!good) {
        medley_explainer_free(e);
        return fail_memory(err, "an explainer");
    }
    *out = e;
    return MEDLEY_OK;
}

void medley_explainer_free(medley_explainer *e)
{
    if (!e)
        return;
    mem_free(e->trees);
    mem_free(e->leaves);
    mem_free(e->elements);
    mem_free(e->sources);
    mem_free(e->numbers);
    mem_free(e);
}

size_t medley_explainer_players(const medley_explainer *e)
{
    return e->n_players;
}

void medley_explainer_base(const medley_explainer *e, double *base)
{
    memcpy(base, e->base, e->n_classes * sizeof *base);
}

/* ---- running ---- */

#define MAX_BLOCKS 8           /* blocks of rows that share a pass over the trees */
#define CHUNK_BYTES (4u << 20) /* of sums in a pass, so that they stay in the cache */
#define TREES_AT_ONCE 32       /* added in float before they join the sums in double */

struct values_job {
    const struct medley_explainer *e;
    const float *x;
    float *out;
    atomic_bool out_of_memory;
};

struct values_space {
    float *columns; /* [blocks, F, 64] */
    float *part;    /* [K, P, 64] of some trees */
    double *sums;   /* [blocks, K, P, 64] */
};

static size_t block_values(const struct medley_explainer *e)
{
    return e->n_classes * e->n_players * GAME_BLOCK;
}

/* Rows past the end repeat the last one. */
static void load_columns(const struct values_job *job, size_t begin, size_t end, float *columns)
{
    size_t features = job->e->model->n_features;
    for (size_t i = 0; i < GAME_BLOCK; i++) {
        const float *x = job->x + (begin + i < end ? begin + i : end - 1) * features;
        for (size_t f = 0; f < features; f++)
            columns[f * GAME_BLOCK + i] = x[f];
    }
}

static void add_trees(const struct values_job *job, struct values_space *s, size_t blocks)
{
    const struct medley_explainer *e = job->e;
    size_t n = block_values(e), trees = e->model->n_trees;
    for (size_t t = 0; t < trees; t += TREES_AT_ONCE)
        for (size_t b = 0; b < blocks; b++) {
            struct game_job game = {
                .explainer = e,
                .begin = t,
                .end = trees - t < TREES_AT_ONCE ? trees : t + TREES_AT_ONCE,
                .columns = s->columns + b * e->model->n_features * GAME_BLOCK,
                .values = s->part,
            };
            memset(s->part, 0, n * sizeof *s->part);
            game_add(&game);
            for (size_t i = 0; i < n; i++)
                s->sums[b * n + i] += s->part[i];
        }
}

/* sums[K, P, 64] of one block to out[rows, P, K]. */
static void store_block(const struct values_job *job, const double *sums, size_t begin,
                        size_t end)
{
    size_t players = job->e->n_players, classes = job->e->n_classes;
    for (size_t i = begin; i < end; i++)
        for (size_t p = 0; p < players; p++)
            for (size_t c = 0; c < classes; c++)
                job->out[(i * players + p) * classes + c] =
                    (float)sums[(c * players + p) * GAME_BLOCK + (i - begin)];
}

static void explain_rows(void *context, size_t begin, size_t end, unsigned worker)
{
    (void)worker;
    struct values_job *job = context;
    const struct medley_explainer *e = job->e;
    size_t blocks = (end - begin + GAME_BLOCK - 1) / GAME_BLOCK, n = block_values(e);
    size_t features = e->model->n_features * GAME_BLOCK;
    struct values_space s = {mem_alloc64(blocks, features * sizeof(float)),
                             mem_alloc64(n, sizeof(float)),
                             mem_alloc64(blocks, n * sizeof(double))};
    if (s.columns && s.part && s.sums && !interrupted()) {
        memset(s.sums, 0, blocks * n * sizeof *s.sums);
        for (size_t b = 0; b < blocks; b++)
            load_columns(job, begin + b * GAME_BLOCK, end, s.columns + b * features);
        add_trees(job, &s, blocks);
        for (size_t b = 0; b < blocks; b++) {
            size_t first = begin + b * GAME_BLOCK;
            store_block(job, s.sums + b * n, first,
                        end - first < GAME_BLOCK ? end : first + GAME_BLOCK);
        }
    } else if (!interrupted()) {
        atomic_store(&job->out_of_memory, true);
    }
    mem_free(s.columns);
    mem_free(s.part);
    mem_free(s.sums);
}

medley_status medley_explainer_values(const medley_explainer *e, const float *features,
                                      size_t n, float *values, medley_error *err)
{
    struct values_job job = {.e = e, .x = features, .out = values};
    size_t blocks = CHUNK_BYTES / (block_values(e) * sizeof(double));
    blocks = blocks < 1 ? 1 : blocks > MAX_BLOCKS ? MAX_BLOCKS : blocks;
    parallel_for(n, blocks * GAME_BLOCK, explain_rows, &job);
    if (atomic_load(&job.out_of_memory))
        return fail_memory(err, "a block of Shapley values");
    if (interrupted())
        return fail(err, MEDLEY_EINTERRUPTED, "interrupted");
    return MEDLEY_OK;
}
