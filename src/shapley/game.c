/* game.c: plays the leaf games of 64 rows: the portable kernel and the one for AVX-512.
 * Proof: tests/test_shapley.c runs every row of the table against brute force. */
#include "shapley/explainer.h"

#include "base/cpu.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { SLOTS = 2 * GBDT_MAX_LEAVES };

/* Where a leaf's values go: values + (class * players + player) * 64. */
static inline float *place(const struct game_job *job, size_t class_index, uint32_t player)
{
    return job->values + (class_index * job->explainer->n_players + player) * GAME_BLOCK;
}

/* What multiplies the value that a table or quadrature gives: 1 where it was folded in. */
static inline float output_scale(const struct tree *t, const struct game_leaf *leaf, uint32_t o)
{
    return t->n_outputs == 1 ? 1.0f : t->values[(size_t)leaf->leaf * t->n_outputs + o];
}

/* ---- portable ---- */

static void masks_portable(const struct game_job *job, const struct game_tree *g, uint64_t *m)
{
    const uint16_t *source = job->explainer->sources + g->first_source;
    m[0] = UINT64_MAX;
    for (uint32_t i = 0; i + 1 < g->tree->n_leaves; i++) {
        const struct tree_node *n = &g->tree->nodes[i];
        const float *x = job->columns + (size_t)n->feature * GAME_BLOCK;
        uint64_t left = 0;
        for (unsigned r = 0; r < GAME_BLOCK; r++)
            left |= (uint64_t)node_goes_left(n, x[r]) << r;
        m[1 + 2 * i] = m[source[i]] & left;
        m[2 + 2 * i] = m[source[i]] & ~left;
    }
}

/* phi[k] of one row of a leaf with a table. */
static void play_table(const struct game_leaf *leaf, const struct game_element *el,
                       const float *table, const bool *met, float *phi)
{
    unsigned pattern = 0;
    for (unsigned i = 0; i < leaf->n_players; i++)
        pattern |= (unsigned)met[i] << i;
    for (unsigned i = 0; i < leaf->n_players; i++)
        phi[i] = table[pattern & ~(1u << i)] * (met[i] ? el[i].coefficient : -1);
}

static void play_quadrature(const struct game_leaf *leaf, const float *z, const bool *met,
                            float *phi)
{
    for (unsigned i = 0; i < leaf->n_players; i++)
        phi[i] = 0;
    for (unsigned q = 0; q < leaf->n_points; q++, z += 2 + 3 * leaf->n_players) {
        float product = z[0];
        for (unsigned i = 0; i < leaf->n_players; i++)
            product *= met[i] ? z[2 + 3 * i + 1] : z[2 + 3 * i];
        for (unsigned i = 0; i < leaf->n_players; i++)
            phi[i] += product * (met[i] ? z[2 + 3 * i + 2] : z[1]);
    }
}

static void leaf_portable(const struct game_job *job, const struct tree *t,
                          const struct game_leaf *leaf, const uint64_t *m)
{
    const struct game_element *el = job->explainer->elements + leaf->first_element;
    const float *numbers = job->explainer->numbers + leaf->first_number;
    bool met[GBDT_MAX_LEAVES];
    float phi[GBDT_MAX_LEAVES];
    for (unsigned r = 0; r < GAME_BLOCK; r++) {
        for (unsigned i = 0; i < leaf->n_players; i++)
            met[i] = m[el[i].slot] >> r & 1;
        if (leaf->n_points)
            play_quadrature(leaf, numbers, met, phi);
        else
            play_table(leaf, el, numbers, met, phi);
        for (uint32_t o = 0; o < t->n_outputs; o++)
            for (unsigned i = 0; i < leaf->n_players; i++)
                place(job, t->first_class + o, el[i].player)[r] +=
                    phi[i] * output_scale(t, leaf, o);
    }
}

static void game_portable(const struct game_job *job)
{
    uint64_t m[SLOTS];
    for (size_t i = job->begin; i < job->end; i++) {
        const struct game_tree *g = &job->explainer->trees[i];
        masks_portable(job, g, m);
        for (size_t j = 0; j < g->n_leaves; j++)
            leaf_portable(job, g->tree, &job->explainer->leaves[g->first_leaf + j], m);
    }
}

/* ---- AVX-512 ---- */

#if defined(__x86_64__)

#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))
#define INLINE TARGET __attribute__((always_inline)) static inline

/* NaN is neither <= nor >. */
TARGET static void masks_avx512(const struct game_job *job, const struct game_tree *g,
                                uint64_t *m)
{
    const uint16_t *source = job->explainer->sources + g->first_source;
    m[0] = UINT64_MAX;
    for (uint32_t i = 0; i + 1 < g->tree->n_leaves; i++) {
        const struct tree_node *n = &g->tree->nodes[i];
        const float *x = job->columns + (size_t)n->feature * GAME_BLOCK;
        __m512 threshold = _mm512_set1_ps(n->threshold);
        uint64_t left = 0;
        for (unsigned q = 0; q < 4; q++) {
            __m512 v = _mm512_load_ps(x + 16 * q);
            uint64_t part = n->missing_left ? _mm512_cmp_ps_mask(v, threshold, _CMP_NGT_UQ)
                                            : _mm512_cmp_ps_mask(v, threshold, _CMP_LE_OQ);
            left |= part << 16 * q;
        }
        m[1 + 2 * i] = m[source[i]] & left;
        m[2 + 2 * i] = m[source[i]] & ~left;
    }
}

INLINE void add_phi(const struct game_job *job, const struct tree *t,
                    const struct game_leaf *leaf, uint32_t player, unsigned row, __m512 phi)
{
    if (t->n_outputs == 1) {
        float *at = place(job, t->first_class, player) + row;
        _mm512_store_ps(at, _mm512_add_ps(_mm512_load_ps(at), phi));
        return;
    }
    for (uint32_t o = 0; o < t->n_outputs; o++) {
        float *at = place(job, t->first_class + o, player) + row;
        __m512 scale = _mm512_set1_ps(output_scale(t, leaf, o));
        _mm512_store_ps(at, _mm512_fmadd_ps(phi, scale, _mm512_load_ps(at)));
    }
}

/* Sixteen numbers of a table of `size` (a constant after inlining): tables of up to 64 lie in
 * registers and are looked up by permutation. */
INLINE __m512 look_up(const float *table, unsigned size, __m512i at)
{
    if (size <= 16)
        return _mm512_permutexvar_ps(at, _mm512_load_ps(table));
    if (size > 64)
        return _mm512_i32gather_ps(at, table, 4);
    __m512 low = _mm512_permutex2var_ps(_mm512_load_ps(table), at, _mm512_load_ps(table + 16));
    if (size == 32)
        return low;
    __m512 high =
        _mm512_permutex2var_ps(_mm512_load_ps(table + 32), at, _mm512_load_ps(table + 48));
    return _mm512_mask_mov_ps(low, _mm512_test_epi32_mask(at, _mm512_set1_epi32(32)), high);
}

INLINE void leaf_table(const struct game_job *job, const struct tree *t,
                       const struct game_leaf *leaf, const uint64_t *m, unsigned size)
{
    const struct game_element *el = job->explainer->elements + leaf->first_element;
    const float *table = job->explainer->numbers + leaf->first_number;
    __m512i bytes = _mm512_setzero_si512(), pattern[4];
    for (unsigned i = 0; i < leaf->n_players; i++)
        bytes = _mm512_mask_add_epi8(bytes, m[el[i].slot], bytes,
                                     _mm512_set1_epi8((char)(1u << i)));
    pattern[0] = _mm512_cvtepu8_epi32(_mm512_extracti32x4_epi32(bytes, 0));
    pattern[1] = _mm512_cvtepu8_epi32(_mm512_extracti32x4_epi32(bytes, 1));
    pattern[2] = _mm512_cvtepu8_epi32(_mm512_extracti32x4_epi32(bytes, 2));
    pattern[3] = _mm512_cvtepu8_epi32(_mm512_extracti32x4_epi32(bytes, 3));
    for (unsigned i = 0; i < leaf->n_players; i++) {
        uint64_t met = m[el[i].slot];
        __m512 coefficient = _mm512_set1_ps(el[i].coefficient), minus = _mm512_set1_ps(-1);
        __m512i others = _mm512_set1_epi32(~(1 << i));
        for (unsigned q = 0; q < 4; q++) {
            __m512 v = look_up(table, size, _mm512_and_si512(pattern[q], others));
            __m512 by = _mm512_mask_mov_ps(minus, (__mmask16)(met >> 16 * q), coefficient);
            add_phi(job, t, leaf, el[i].player, 16 * q, _mm512_mul_ps(v, by));
        }
    }
}

TARGET static void leaf_quadrature(const struct game_job *job, const struct tree *t,
                                   const struct game_leaf *leaf, const uint64_t *m,
                                   unsigned row)
{
    const struct game_element *el = job->explainer->elements + leaf->first_element;
    const float *z = job->explainer->numbers + leaf->first_number;
    unsigned k = leaf->n_players;
    __m512 phi[GBDT_MAX_LEAVES];
    for (unsigned i = 0; i < k; i++)
        phi[i] = _mm512_setzero_ps();
    for (unsigned q = 0; q < leaf->n_points; q++, z += 2 + 3 * k) {
        __m512 product = _mm512_set1_ps(z[0]), unmet = _mm512_set1_ps(z[1]);
        for (unsigned i = 0; i < k; i++) {
            __mmask16 met = (__mmask16)(m[el[i].slot] >> row);
            const float *own = z + 2 + 3 * i;
            product = _mm512_mul_ps(product, _mm512_mask_mov_ps(_mm512_set1_ps(own[0]), met,
                                                                _mm512_set1_ps(own[1])));
        }
        for (unsigned i = 0; i < k; i++) {
            __mmask16 met = (__mmask16)(m[el[i].slot] >> row);
            __m512 by = _mm512_mask_mov_ps(unmet, met, _mm512_set1_ps(z[2 + 3 * i + 2]));
            phi[i] = _mm512_fmadd_ps(product, by, phi[i]);
        }
    }
    for (unsigned i = 0; i < k; i++)
        add_phi(job, t, leaf, el[i].player, row, phi[i]);
}

TARGET static void leaf_avx512(const struct game_job *job, const struct tree *t,
                               const struct game_leaf *leaf, const uint64_t *m)
{
    if (leaf->n_points) {
        for (unsigned row = 0; row < GAME_BLOCK; row += 16)
            leaf_quadrature(job, t, leaf, m, row);
        return;
    }
    if (leaf->n_players <= 4)
        leaf_table(job, t, leaf, m, 16);
    else if (leaf->n_players == 5)
        leaf_table(job, t, leaf, m, 32);
    else if (leaf->n_players == 6)
        leaf_table(job, t, leaf, m, 64);
    else
        leaf_table(job, t, leaf, m, 256);
}

TARGET static void game_avx512(const struct game_job *job)
{
    uint64_t m[SLOTS];
    for (size_t i = job->begin; i < job->end; i++) {
        const struct game_tree *g = &job->explainer->trees[i];
        masks_avx512(job, g, m);
        for (size_t j = 0; j < g->n_leaves; j++)
            leaf_avx512(job, g->tree, &job->explainer->leaves[g->first_leaf + j], m);
    }
}

#endif

const struct game_impl game_impls[] = {
    {"portable", game_portable, cpu_always},
#if defined(__x86_64__)
    {"avx512", game_avx512, cpu_has_avx512},
#endif
    {NULL, NULL, NULL},
};

void game_add(const struct game_job *job)
{
#if defined(__x86_64__)
    if (cpu_has_avx512()) {
        game_avx512(job);
        return;
    }
#endif
    game_portable(job);
}
