/* explainer.c: explainers and rows through them (explainer.h says how). Proof:
 * tests/test_shapley.c. */
#include "shapley/build.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/pool.h"

#include <stdatomic.h>
#include <string.h>

#define TABLE_BYTES ((size_t)1 << 30)
#define MOST_BACKGROUND ((size_t)1 << 20)

/* ---- making ---- */

static medley_status check_options(const medley_gbdt *model, const medley_explainer_options *o,
                                   size_t n_players, medley_error *err)
{
    if (model->cover == MEDLEY_COVER_NONE && !o->background)
        return fail(err, MEDLEY_EUNSUPPORTED,
                    "the model's file holds no covers above zero, so it cannot be explained "
                    "without a background");
    if (n_players == 0 || n_players > GBDT_MAX_FEATURES)
        return fail(err, MEDLEY_EINVAL, "%zu players (expected 1 to %d)", n_players,
                    GBDT_MAX_FEATURES);
    if (!o->player_of_feature && n_players != model->n_features)
        return fail(err, MEDLEY_EINVAL, "%zu players, but each of %zu features is one",
                    n_players, model->n_features);
    for (size_t f = 0; o->player_of_feature && f < model->n_features; f++)
        if (o->player_of_feature[f] >= n_players)
            return fail(err, MEDLEY_EINVAL, "feature %zu belongs to player %u of %zu", f,
                        o->player_of_feature[f], n_players);
    if (o->background && (o->n_background == 0 || o->n_background > MOST_BACKGROUND))
        return fail(err, MEDLEY_EINVAL, "a background of %zu rows (expected 1 to %zu)",
                    o->n_background, MOST_BACKGROUND);
    return MEDLEY_OK;
}

medley_status medley_explainer_make(const medley_gbdt *model,
                                    const medley_explainer_options *options,
                                    medley_explainer **out, medley_error *err)
{
    const medley_explainer_options none = {0}, *o = options ? options : &none;
    size_t n_players = o->n_players || o->player_of_feature ? o->n_players : model->n_features;
    medley_status st = check_options(model, o, n_players, err);
    if (st != MEDLEY_OK)
        return st;
    struct medley_explainer *e = mem_zalloc(1, sizeof *e);
    if (!e)
        return fail_memory(err, "an explainer");
    *e = (struct medley_explainer){
        .model = model, .n_players = n_players, .n_classes = model->n_classes};
    memcpy(e->base, model->base, sizeof e->base);
    st = conditions_new(model, &e->conditions, err);
    if (st == MEDLEY_OK && o->background)
        st = background_new(e, o->background, o->n_background, &e->background, err);
    if (st == MEDLEY_OK)
        st = games_build(e, o->player_of_feature, o->table_bytes ? o->table_bytes : TABLE_BYTES,
                         err);
    if (st == MEDLEY_OK && !e->background && !rows_build(e))
        st = fail_memory(err, "an explainer");
    if (st == MEDLEY_OK)
        *out = e;
    else
        medley_explainer_free(e);
    return st;
}

medley_status medley_explainer_new(const medley_gbdt *model, const uint32_t *player_of_feature,
                                   size_t n_players, medley_explainer **out, medley_error *err)
{
    if (n_players == 0)
        return fail(err, MEDLEY_EINVAL, "0 players");
    medley_explainer_options o = {.player_of_feature = player_of_feature,
                                  .n_players = n_players};
    return medley_explainer_make(model, &o, out, err);
}

void medley_explainer_free(medley_explainer *e)
{
    if (!e)
        return;
    conditions_free(e->conditions);
    background_free(e->background);
    mem_free(e->trees);
    mem_free(e->order);
    mem_free(e->groups);
    mem_free(e->games);
    mem_free(e->parts);
    mem_free(e->adds);
    mem_free(e->players);
    mem_free(e->numbers);
    mem_free(e->r);
    mem_free(e->sources);
    mem_free(e->node_players);
    mem_free(e->rows);
    for (size_t i = 0; i < e->n_rules; i++)
        mem_free(e->rules[i]);
    mem_free(e->rules);
    mem_free(e);
}

size_t medley_explainer_players(const medley_explainer *e)
{
    return e->n_players;
}

size_t medley_explainer_memory(const medley_explainer *e)
{
    return sizeof *e + conditions_memory(e->conditions) + background_memory(e->background) +
           rows_memory(e) +
           (e->model->n_trees + 1) * (sizeof *e->trees + sizeof *e->order + sizeof *e->groups) +
           e->n_games * sizeof *e->games + e->n_parts * sizeof *e->parts +
           e->n_adds * sizeof *e->adds + e->n_part_players * sizeof *e->players +
           e->n_numbers * sizeof *e->numbers + e->n_edges * sizeof *e->r +
           e->n_nodes * (sizeof *e->sources + sizeof *e->node_players);
}

void medley_explainer_base(const medley_explainer *e, double *base)
{
    memcpy(base, e->base, e->n_classes * sizeof *base);
}

/* ---- many rows ---- */

#define BLOCK (GAME_WORDS * GAME_ROWS)
#define MAX_BLOCKS 4            /* that share a pass over the tables */
#define CHUNK_BYTES (16u << 20) /* of sums in a pass, at most, but for one block */

struct values_job {
    const struct medley_explainer *e;
    const struct game_impl *impl;
    const float *x;
    float *out;
    size_t n;
    atomic_bool out_of_memory;
};

struct values_space {
    struct conditions_space answers[MAX_BLOCKS];
    uint64_t *slots; /* [slots, GAME_WORDS] of a tree */
    float *part;     /* [GAME_WORDS, outputs, P, 64] of some trees */
    double *sums;    /* [blocks, GAME_WORDS, K, P, 64] */
    double *row;     /* [P, K] of rows walked */
    double *walk;
};

static size_t block_values(const struct medley_explainer *e)
{
    return e->n_classes * e->n_players * GAME_ROWS;
}

static bool space_init(const struct medley_explainer *e, size_t blocks, struct values_space *s)
{
    bool good = true;
    *s = (struct values_space){
        .slots = mem_alloc64(e->most_slots + 1, BLOCK / 8),
        .part = mem_alloc64(block_values(e), GAME_WORDS * sizeof(float)),
        .sums = mem_alloc64(blocks * GAME_WORDS, block_values(e) * sizeof(double)),
        .row = mem_alloc(e->n_players * e->n_classes, sizeof(double)),
        .walk = mem_alloc64(walk_space_size(e), sizeof(double))};
    for (size_t b = 0; b < blocks; b++)
        good &=
            conditions_space_init(e->conditions, GAME_WORDS, &s->answers[b], NULL) == MEDLEY_OK;
    return good && s->slots && s->part && s->sums && s->row && s->walk;
}

static void space_deinit(struct values_space *s)
{
    for (size_t b = 0; b < MAX_BLOCKS; b++)
        conditions_space_deinit(&s->answers[b]);
    mem_free(s->slots);
    mem_free(s->part);
    mem_free(s->sums);
    mem_free(s->row);
    mem_free(s->walk);
}

/* Leaves without a game, of an interventional explainer. */
static void add_slow(const struct values_job *job, const struct game_tree *g,
                     struct values_space *s, double *sums, size_t rows)
{
    const struct medley_explainer *e = job->e;
    for (size_t i = 0; g->n_slow && i < rows; i++) {
        size_t word = i / GAME_ROWS, bit = i % GAME_ROWS;
        memset(s->row, 0, e->n_players * e->n_classes * sizeof *s->row);
        background_row(e, g, s->slots, word, bit, s->row);
        for (size_t p = 0; p < e->n_players; p++)
            for (size_t c = 0; c < e->n_classes; c++)
                sums[((word * e->n_classes + c) * e->n_players + p) * GAME_ROWS +
                     game_place(bit)] += s->row[p * e->n_classes + c];
    }
}

/* One group of trees for one block of rows. */
static void add_group(const struct values_job *job, const struct game_group *group,
                      struct values_space *s, size_t block, size_t rows)
{
    const struct medley_explainer *e = job->e;
    const struct tree *first = e->trees[e->order[group->first]].tree;
    size_t n = first->n_outputs * e->n_players * GAME_ROWS;
    size_t words = (rows + GAME_ROWS - 1) / GAME_ROWS;
    double *sums = s->sums + block * GAME_WORDS * block_values(e);
    memset(s->part, 0, words * n * sizeof *s->part);
    for (uint32_t i = 0; i < group->n; i++) {
        const struct game_tree *g = &e->trees[e->order[group->first + i]];
        job->impl->slots(e, g, s->answers[block].masks, s->slots);
        struct game_job play = {e, g, s->slots, words, n, s->part};
        job->impl->play(&play);
        add_slow(job, g, s, sums, rows);
    }
    sums += first->first_class * e->n_players * GAME_ROWS;
    for (size_t w = 0; w < words; w++)
        job->impl->join(s->part + w * n, n, sums + w * block_values(e));
}

/* sums[words, K, P, 64] of one block to out[rows, P, K], with the trees walked. */
static void store_block(const struct values_job *job, struct values_space *s,
                        const double *sums, size_t begin, size_t rows)
{
    const struct medley_explainer *e = job->e;
    size_t players = e->n_players, classes = e->n_classes;
    for (size_t i = 0; i < rows; i++) {
        const double *from = sums + i / GAME_ROWS * block_values(e) + game_place(i % GAME_ROWS);
        float *to = job->out + (begin + i) * players * classes;
        if (!e->n_walked) {
            for (size_t p = 0; p < players; p++)
                for (size_t c = 0; c < classes; c++)
                    to[p * classes + c] = (float)from[(c * players + p) * GAME_ROWS];
            continue;
        }
        for (size_t p = 0; p < players; p++)
            for (size_t c = 0; c < classes; c++)
                s->row[p * classes + c] = from[(c * players + p) * GAME_ROWS];
        walk_row(e, job->x + (begin + i) * e->model->n_features, WALK_WITHOUT_GAMES, s->walk,
                 s->row);
        for (size_t j = 0; j < players * classes; j++)
            to[j] = (float)s->row[j];
    }
}

static size_t rows_of(size_t begin, size_t end)
{
    return end - begin < BLOCK ? end - begin : BLOCK;
}

static void explain_chunk(const struct values_job *job, struct values_space *s, size_t begin,
                          size_t end)
{
    const struct medley_explainer *e = job->e;
    size_t blocks = (end - begin + BLOCK - 1) / BLOCK;
    memset(s->sums, 0, blocks * GAME_WORDS * block_values(e) * sizeof *s->sums);
    for (size_t b = 0; b < blocks; b++) {
        size_t at = begin + b * BLOCK;
        conditions_answer(e->conditions, &s->answers[b], job->x + at * e->model->n_features,
                          rows_of(at, end));
    }
    for (size_t g = 0; g < e->n_groups && !interrupted(); g++)
        for (size_t b = 0; b < blocks; b++)
            add_group(job, &e->groups[g], s, b, rows_of(begin + b * BLOCK, end));
    for (size_t b = 0; b < blocks && !interrupted(); b++) {
        size_t at = begin + b * BLOCK;
        store_block(job, s, s->sums + b * GAME_WORDS * block_values(e), at, rows_of(at, end));
    }
}

static void explain_rows(void *context, size_t begin, size_t end, unsigned worker)
{
    (void)worker;
    struct values_job *job = context;
    struct values_space s;
    if (interrupted())
        return;
    if (space_init(job->e, (end - begin + BLOCK - 1) / BLOCK, &s))
        explain_chunk(job, &s, begin, end);
    else
        atomic_store(&job->out_of_memory, true);
    space_deinit(&s);
}

/* ---- few rows ---- */

#define FEW 4 /* rows; measured: 64 rows through tables cost as much as 5 to 8 walks */

static void walk_rows(void *context, size_t begin, size_t end, unsigned worker)
{
    (void)worker;
    struct values_job *job = context;
    const struct medley_explainer *e = job->e;
    size_t n = e->n_players * e->n_classes;
    size_t room =
        walk_space_size(e) > row_space_size(e) ? walk_space_size(e) : row_space_size(e);
    double *space = mem_alloc64(room + n, sizeof *space);
    for (size_t i = begin; space && i < end && !interrupted(); i++) {
        const float *x = job->x + i * e->model->n_features;
        double *values = space + room;
        memset(values, 0, n * sizeof *values);
        row_values(e, x, space, values);
        walk_row(e, x, WALK_DEEP, space, values);
        for (size_t j = 0; j < n; j++)
            job->out[i * n + j] = (float)values[j];
    }
    if (!space)
        atomic_store(&job->out_of_memory, true);
    mem_free(space);
}

medley_status medley_explainer_values(const medley_explainer *e, const float *features,
                                      size_t n, float *values, medley_error *err)
{
    struct values_job job = {.e = e, .impl = game_fastest(), .x = features, .out = values};
    size_t blocks = CHUNK_BYTES / (block_values(e) * GAME_WORDS * sizeof(double));
    blocks = blocks < 1 ? 1 : blocks > MAX_BLOCKS ? MAX_BLOCKS : blocks;
    if (!e->background && (n <= FEW || e->n_groups == 0))
        parallel_for(n, n <= FEW ? n : 16, walk_rows, &job);
    else
        parallel_for(n, blocks * BLOCK, explain_rows, &job);
    if (atomic_load(&job.out_of_memory))
        return fail_memory(err, "a block of Shapley values");
    if (interrupted())
        return fail(err, MEDLEY_EINTERRUPTED, "interrupted");
    return MEDLEY_OK;
}
