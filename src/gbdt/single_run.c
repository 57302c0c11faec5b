/* single_run.c: kernels for one row (single.h says how). Proof: tests/test_forest.c. */
#include "gbdt/single.h"

#include "base/cpu.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))
#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,popcnt")))

/* The row's bytes. */
TARGET INLINE void search_row(const struct forest *f, const float *x, uint8_t *bytes)
{
    const struct single *s = f->single;
    const struct conditions *c = f->conditions;
    for (size_t i = 0; i < s->n_columns; i++) {
        const struct condition_feature *u = &c->used[s->columns[i].used];
        float v = x[u->feature];
        __m512 all = _mm512_set1_ps(v);
        size_t at = 0;
        for (unsigned l = 0; l < u->levels; l++) {
            __m512 keys = _mm512_load_ps(c->keys + u->level[l] + 16 * at);
            __mmask16 above = _mm512_cmp_ps_mask(all, keys, _CMP_GT_OQ);
            at = 16 * at + (size_t)__builtin_popcount(above);
        }
        size_t first = s->columns[i].first;
        at = at > first ? at - first : 0;
        at = at < SINGLE_STEPS ? at : SINGLE_STEPS;
        bytes[i] = v == v ? (uint8_t)at : 255;
    }
}

/* Which leaves of two trees are not ruled out: 16 lanes of each, to be and-ed together. */
TARGET INLINE void pair_leaves(const struct single_pair *p, __m512i low, __m512i high,
                               bool wide, __m512i *a, __m512i *b)
{
    const __m512i ones = _mm512_set1_epi32(-1);
    __m512i column = _mm512_load_si512(p->column);
    __m512i byte = wide ? _mm512_permutex2var_epi8(low, column, high)
                        : _mm512_permutexvar_epi8(column, low);
    byte = _mm512_mask_sub_epi8(byte, _mm512_movepi8_mask(column), byte, ones);
    __mmask64 goes_right = _mm512_cmpgt_epu8_mask(byte, _mm512_load_si512(p->limit));
    *a = _mm512_mask_loadu_epi32(ones, (__mmask16)goes_right, p->keep);
    *b = _mm512_mask_loadu_epi32(ones, (__mmask16)(goes_right >> 32), p->keep + 32);
    *a = _mm512_mask_and_epi32(*a, (__mmask16)(goes_right >> 16), *a,
                               _mm512_load_si512(p->keep + 16));
    *b = _mm512_mask_and_epi32(*b, (__mmask16)(goes_right >> 48), *b,
                               _mm512_load_si512(p->keep + 48));
}

/* The and of each tree's 16 lanes, tree i in lane i: a transposition that halves as it goes. */
TARGET INLINE __m512i standing(const struct single_pair *p, __m512i low, __m512i high,
                               bool wide)
{
    __m512i four[4], two[2];
    for (int i = 0; i < 4; i++) {
        __m512i a, b, c, d;
        pair_leaves(p + 2 * i, low, high, wide, &a, &b);
        pair_leaves(p + 2 * i + 1, low, high, wide, &c, &d);
        __m512i ab = _mm512_and_si512(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
        __m512i cd = _mm512_and_si512(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
        four[i] =
            _mm512_and_si512(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    }
    for (int i = 0; i < 2; i++)
        two[i] = _mm512_and_si512(_mm512_shuffle_i32x4(four[2 * i], four[2 * i + 1], 0x88),
                                  _mm512_shuffle_i32x4(four[2 * i], four[2 * i + 1], 0xdd));
    return _mm512_and_si512(_mm512_shuffle_i32x4(two[0], two[1], 0x88),
                            _mm512_shuffle_i32x4(two[0], two[1], 0xdd));
}

/* Where in a table [16][32] each lane's value is: its lowest bit, by way of float's exponent.
 */
TARGET INLINE __m512i places(__m512i standing_leaves)
{
    const __m512i lanes = _mm512_mullo_epi32(
        _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
        _mm512_set1_epi32(FOREST_LEAVES));
    __m512i lowest = _mm512_and_si512(
        standing_leaves, _mm512_sub_epi32(_mm512_setzero_si512(), standing_leaves));
    __m512i exponent = _mm512_srli_epi32(_mm512_castps_si512(_mm512_cvtepu32_ps(lowest)), 23);
    return _mm512_add_epi32(lanes, _mm512_sub_epi32(exponent, _mm512_set1_epi32(127)));
}

TARGET INLINE void run_units(const struct forest *f, __m512i low, __m512i high, bool wide,
                             double *margins)
{
    const struct single *s = f->single;
    for (size_t i = 0; i < s->n_units; i++) {
        const struct single_unit *u = &s->units[i];
        const struct single_pair *p = s->pairs + u->first_pair;
        const float *values = s->values + u->first_value;
        float sums[GBDT_MAX_CLASSES][SINGLE_LANES] __attribute__((aligned(64)));
        __m512 first = _mm512_setzero_ps();
        for (size_t o = 1; o < s->n_outputs; o++)
            _mm512_store_ps(sums[o], _mm512_setzero_ps());
        for (uint32_t step = 0; step < u->n_steps; step++, p += SINGLE_LANES / 2) {
            __m512i at = places(standing(p, low, high, wide));
            first = _mm512_add_ps(first, _mm512_i32gather_ps(at, values, 4));
            values += SINGLE_LANES * FOREST_LEAVES;
            for (size_t o = 1; o < s->n_outputs; o++) {
                __m512 v = _mm512_i32gather_ps(at, values, 4);
                _mm512_store_ps(sums[o], _mm512_add_ps(_mm512_load_ps(sums[o]), v));
                values += SINGLE_LANES * FOREST_LEAVES;
            }
        }
        _mm512_store_ps(sums[0], first);
        const struct forest_group *g = f->groups + u->first_group;
        for (uint32_t lane = 0; lane < u->n_groups; lane++, g++)
            for (size_t o = 0; o < s->n_outputs; o++)
                margins[g->first_class + o] += sums[o][lane];
    }
}

TARGET static void run_vbmi(const struct forest *f, const float *x, double *margins)
{
    uint8_t bytes[SINGLE_COLUMNS] __attribute__((aligned(64))) = {0};
    memcpy(margins, f->model->base, f->model->n_classes * sizeof *margins);
    search_row(f, x, bytes);
    __m512i low = _mm512_load_si512(bytes), high = _mm512_load_si512(bytes + 64);
    if (f->single->n_columns > 64)
        run_units(f, low, high, true, margins);
    else
        run_units(f, low, high, false, margins);
}

#endif

const struct single_impl single_impls[] = {
    {"walk", forest_walk, cpu_always},
#if defined(__x86_64__)
    {"vbmi", run_vbmi, cpu_has_vbmi},
#endif
    {NULL, NULL, NULL},
};

void single_run(const struct forest *f, const float *x, double *margins)
{
#if defined(__x86_64__)
    if (f->single && cpu_has_vbmi()) {
        run_vbmi(f, x, margins);
        return;
    }
#endif
    forest_walk(f, x, margins);
}
