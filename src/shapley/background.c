/* background.c: games against a background sample (interventional Shapley values).
 *
 * Against one background row, a leaf with value v is reached by a coalition S if x meets the
 * conditions of the players in S and the background row those of the others. With g(U) the
 * share of background rows that meet all of the players in U, the game averaged over the
 * background is v [x meets all in S] g(not S): of the background it depends on the 2^k numbers
 * g alone, and of x on the set of players it meets, as the path-dependent game does. So the
 * same tables serve, and a row costs the same whatever the background. Filling one leaf's table
 * takes B k / 64 + 3^k k.
 *
 * Leaves of more than LEAF_PLAYERS players keep one mask of background rows per player instead,
 * and each row x goes through those background rows that meet what x does not: work B k per
 * leaf and row (Lundberg et al. 2020, Independent TreeSHAP, by player). Proof:
 * tests/test_shapley.c. */
#include "shapley/build.h"

#include "base/error.h"
#include "base/memory.h"

#include <math.h>
#include <string.h>

struct kept_leaf {
    uint32_t leaf, n_players;
    size_t first_slot, first_mask;
};

struct background {
    size_t n, words;   /* rows, in blocks of GAME_WORDS words */
    uint64_t *answers; /* [blocks, conditions, GAME_WORDS] while building */
    uint64_t *slots;   /* [slots, words] of the tree being built */
    size_t slots_room;
    size_t n_conditions;

    struct kept_leaf *kept;
    uint32_t *kept_slots; /* last edge of each player */
    uint64_t *kept_masks; /* [players, words] of a leaf */
    size_t n_kept, n_slots, n_masks, kept_room, kept_slots_room, masks_room;
};

/* ---- making ---- */

static medley_status answer_all(const struct medley_explainer *e, const float *x,
                                struct background *b, medley_error *err)
{
    struct conditions_space s;
    size_t step = b->n_conditions * GAME_WORDS, block = GAME_WORDS * GAME_ROWS;
    medley_status st = conditions_space_init(e->conditions, GAME_WORDS, &s, err);
    for (size_t i = 0; st == MEDLEY_OK && i < b->n; i += block) {
        conditions_answer(e->conditions, &s, x + i * e->model->n_features,
                          b->n - i < block ? b->n - i : block);
        memcpy(b->answers + i / block * step, s.masks, step * sizeof *s.masks);
    }
    if (st == MEDLEY_OK)
        conditions_space_deinit(&s);
    return st;
}

static void add_base(struct medley_explainer *e, const float *x, size_t n)
{
    const struct medley_gbdt *m = e->model;
    for (size_t i = 0; i < n; i++)
        for (size_t t = 0; t < m->n_trees; t++) {
            const struct tree *tree = m->trees[t];
            size_t leaf = tree_leaf(tree, x + i * m->n_features);
            for (uint32_t o = 0; o < tree->n_outputs; o++)
                e->base[tree->first_class + o] +=
                    tree->values[leaf * tree->n_outputs + o] / (double)n;
        }
}

medley_status background_new(struct medley_explainer *e, const float *x, size_t n,
                             struct background **out, medley_error *err)
{
    struct background *b = mem_zalloc(1, sizeof *b);
    if (!b)
        return fail_memory(err, "a background");
    size_t blocks = (n + GAME_WORDS * GAME_ROWS - 1) / (GAME_WORDS * GAME_ROWS);
    *b = (struct background){
        .n = n, .words = blocks * GAME_WORDS, .n_conditions = e->conditions->n_conditions};
    b->answers = mem_alloc(b->words, (b->n_conditions + 1) * sizeof *b->answers);
    medley_status st = MEDLEY_OK;
    if (!b->answers)
        st = fail_memory(err, "a background");
    if (st == MEDLEY_OK)
        st = answer_all(e, x, b, err);
    if (st == MEDLEY_OK) {
        add_base(e, x, n);
        *out = b;
    } else {
        background_free(b);
    }
    return st;
}

void background_free(struct background *b)
{
    if (!b)
        return;
    mem_free(b->answers);
    mem_free(b->slots);
    mem_free(b->kept);
    mem_free(b->kept_slots);
    mem_free(b->kept_masks);
    mem_free(b);
}

void background_built(struct background *b)
{
    mem_free(b->answers);
    mem_free(b->slots);
    b->answers = b->slots = NULL;
    b->slots_room = 0;
}

size_t background_memory(const struct background *b)
{
    return b ? sizeof *b + b->n_kept * sizeof *b->kept + b->n_slots * sizeof *b->kept_slots +
                   b->n_masks * sizeof *b->kept_masks
             : 0;
}

size_t background_kept(const struct background *b)
{
    return b->n_kept;
}

/* Bits past the last row stay 0 in every slot. */
static uint64_t rows_in(const struct background *b, size_t word)
{
    size_t begin = word * 64;
    if (b->n >= begin + 64)
        return UINT64_MAX;
    return b->n > begin ? ((uint64_t)1 << (b->n - begin)) - 1 : 0;
}

bool background_tree(struct background *b, const struct medley_explainer *e,
                     const struct game_tree *g)
{
    const uint32_t *sources = e->sources + g->first_node;
    size_t slots = 2 * (size_t)g->tree->n_leaves - 1;
    if (!mem_reserve(&b->slots, &b->slots_room, slots * b->words, sizeof *b->slots))
        return false;
    for (size_t w = 0; w < b->words; w++)
        b->slots[w] = rows_in(b, w);
    for (uint32_t i = 0; i + 1 < g->tree->n_leaves; i++) {
        size_t condition = condition_of(e->conditions, g->number, i);
        const uint64_t *above = b->slots + sources[i] * b->words;
        uint64_t *left = b->slots + slot_of(i, false) * b->words, *right = left + b->words;
        for (size_t w = 0; w < b->words; w++) {
            uint64_t met =
                b->answers[(w / GAME_WORDS * b->n_conditions + condition) * GAME_WORDS +
                           w % GAME_WORDS];
            left[w] = above[w] & met;
            right[w] = above[w] & ~met;
        }
    }
    return true;
}

/* ---- tables ---- */

/* |S|! (k - 1 - |S|)! / k! */
static void fill_weights(unsigned k, double *weights)
{
    weights[0] = 1.0 / k;
    for (unsigned s = 1; s < k; s++)
        weights[s] = weights[s - 1] * s / (k - s);
}

/* share[U]: of the background, the rows that meet all of the players in U. */
static void fill_shares(const struct background *b, const struct leaf_game *leaf, double *share)
{
    unsigned k = leaf->n_players, size = 1u << k;
    for (unsigned u = 0; u < size; u++) {
        uint64_t rows = 0;
        for (size_t w = 0; w < b->words; w++) {
            uint64_t m = b->slots[w];
            for (unsigned i = 0; i < k; i++)
                if (u >> i & 1)
                    m &= b->slots[leaf->edges[i] * b->words + w];
            rows += (uint64_t)__builtin_popcountll(m);
        }
        share[u] = (double)rows / (double)b->n;
    }
}

void leaf_table_background(const struct background *b, const struct leaf_game *leaf,
                           double *phi)
{
    unsigned k = leaf->n_players, size = 1u << k;
    double share[GAME_STATES], weights[LEAF_PLAYERS];
    fill_weights(k, weights);
    fill_shares(b, leaf, share);
    memset(phi, 0, size * k * sizeof *phi);
    for (unsigned x = 0; x < size; x++)
        for (unsigned s = x;; s = (s - 1) & x) { /* coalitions that x lets through */
            double with = share[size - 1 - s];
            for (unsigned i = 0; i < k; i++)
                phi[x * k + i] += s >> i & 1 ? with * weights[__builtin_popcount(s) - 1]
                                             : -with * weights[__builtin_popcount(s)];
            if (s == 0)
                break;
        }
}

/* ---- leaves without a table ---- */

static uint32_t last_edge(const struct tree_paths *p, uint32_t slot, uint32_t player,
                          uint32_t until)
{
    for (; slot != until; slot = p->node_up[slot_node(slot)])
        if (p->player[slot_node(slot)] == player)
            return slot;
    return 0;
}

bool background_keep(struct background *b, const struct tree_paths *p, uint32_t leaf)
{
    struct kept_leaf *k;
    if (!mem_reserve(&b->kept, &b->kept_room, b->n_kept + 1, sizeof *b->kept))
        return false;
    k = &b->kept[b->n_kept];
    *k = (struct kept_leaf){.leaf = leaf, .first_slot = b->n_slots, .first_mask = b->n_masks};
    for (uint32_t s = p->leaf_up[leaf]; s; s = p->node_up[slot_node(s)]) {
        if (last_edge(p, p->leaf_up[leaf], p->player[slot_node(s)], s))
            continue; /* its last edge is further down */
        if (!mem_reserve(&b->kept_slots, &b->kept_slots_room, b->n_slots + 1,
                         sizeof *b->kept_slots) ||
            !mem_reserve(&b->kept_masks, &b->masks_room, b->n_masks + b->words,
                         sizeof *b->kept_masks))
            return false;
        b->kept_slots[b->n_slots++] = s;
        memcpy(b->kept_masks + b->n_masks, b->slots + s * b->words,
               b->words * sizeof *b->kept_masks);
        b->n_masks += b->words;
        k->n_players++;
    }
    b->n_kept++;
    return true;
}

/* Players that x meets and the background row does not share v / C(a + c, a) / a, the others
 * lose as much / c: a and c their numbers, c the same for all background rows. */
struct slow {
    const struct medley_explainer *e;
    const struct game_tree *tree;
    const struct kept_leaf *leaf;
    const uint64_t *slots; /* of the row's block */
    size_t word, bit;
    double *values;
};

static bool row_meets(const struct slow *s, unsigned i)
{
    const struct background *b = s->e->background;
    uint32_t slot = b->kept_slots[s->leaf->first_slot + i];
    return s->slots[(size_t)slot * GAME_WORDS + s->word] >> s->bit & 1;
}

static void add_value(const struct slow *s, unsigned i, double share)
{
    const struct background *b = s->e->background;
    const struct tree *t = s->tree->tree;
    uint32_t slot = b->kept_slots[s->leaf->first_slot + i];
    uint32_t player = s->e->node_players[s->tree->first_node + slot_node(slot)];
    for (uint32_t o = 0; o < t->n_outputs; o++)
        s->values[(size_t)player * s->e->n_classes + t->first_class + o] +=
            share * t->values[(size_t)s->leaf->leaf * t->n_outputs + o];
}

/* a! (n - a)! / n! */
static double inverse_choose(unsigned n, unsigned a)
{
    double product = 1;
    for (unsigned i = 1; i <= a; i++)
        product *= (double)i / (n - a + i);
    return product;
}

static void add_background_row(const struct slow *s, const uint64_t *masks, size_t words,
                               size_t row, unsigned unmet)
{
    unsigned only_x = 0;
    for (unsigned i = 0; i < s->leaf->n_players; i++)
        only_x += row_meets(s, i) && !(masks[i * words + row / 64] >> row % 64 & 1);
    if (only_x + unmet == 0)
        return;
    double share = inverse_choose(only_x + unmet, only_x) / (double)s->e->background->n;
    for (unsigned i = 0; i < s->leaf->n_players; i++) {
        if (!row_meets(s, i))
            add_value(s, i, -share / unmet);
        else if (!(masks[i * words + row / 64] >> row % 64 & 1))
            add_value(s, i, share / only_x);
    }
}

void background_row(const struct medley_explainer *e, const struct game_tree *g,
                    const uint64_t *slots, size_t word, size_t bit, double *values)
{
    const struct background *b = e->background;
    for (size_t l = g->first_slow; l < (size_t)g->first_slow + g->n_slow; l++) {
        struct slow s = {e, g, &b->kept[l], slots, word, bit, values};
        const uint64_t *masks = b->kept_masks + s.leaf->first_mask;
        unsigned unmet = 0;
        for (unsigned i = 0; i < s.leaf->n_players; i++)
            unmet += !row_meets(&s, i);
        for (size_t w = 0; w < b->words; w++) {
            uint64_t alive = rows_in(b, w);
            for (unsigned i = 0; i < s.leaf->n_players; i++)
                if (!row_meets(&s, i))
                    alive &= masks[i * b->words + w];
            for (; alive; alive &= alive - 1)
                add_background_row(&s, masks, b->words, w * 64 + (size_t)__builtin_ctzll(alive),
                                   unmet);
        }
    }
}
