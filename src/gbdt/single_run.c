/* single_run.c: kernels for one row (single.h says how). Proof: tests/test_forest.c. */
#include "gbdt/search.h"
#include "gbdt/single.h"

#include "base/cpu.h"

#include <string.h>

#if defined(__x86_64__)

#define INLINE static inline __attribute__((always_inline))

/* ---- AVX-512 with VBMI: two trees at a time ---- */

#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,popcnt")))
#define NAME(x) x##_vbmi

struct row_vbmi {
    __m512i low, high; /* the row's bytes */
    bool wide;         /* more than 64 */
};

TARGET INLINE void load_vbmi(const struct single *s, const uint8_t *bytes, struct row_vbmi *row)
{
    row->low = _mm512_load_si512(bytes);
    row->high = _mm512_load_si512(bytes + 64);
    row->wide = s->n_columns > 64;
}

#define search_vbmi search_avx512

/* Which leaves of two trees are not ruled out: 16 lanes of each, to be and-ed together. */
TARGET INLINE void pair_leaves(const struct single_pair *p, const struct row_vbmi *row,
                               __m512i *a, __m512i *b)
{
    const __m512i ones = _mm512_set1_epi32(-1);
    __m512i column = _mm512_load_si512(p->column);
    __m512i byte = row->wide ? _mm512_permutex2var_epi8(row->low, column, row->high)
                             : _mm512_permutexvar_epi8(column, row->low);
    byte = _mm512_mask_sub_epi8(byte, _mm512_movepi8_mask(column), byte, ones);
    __mmask64 goes_right = _mm512_cmpgt_epu8_mask(byte, _mm512_load_si512(p->limit));
    *a = _mm512_mask_loadu_epi32(ones, (__mmask16)goes_right, p->keep);
    *b = _mm512_mask_loadu_epi32(ones, (__mmask16)(goes_right >> 32), p->keep + 32);
    *a = _mm512_mask_and_epi32(*a, (__mmask16)(goes_right >> 16), *a,
                               _mm512_load_si512(p->keep + 16));
    *b = _mm512_mask_and_epi32(*b, (__mmask16)(goes_right >> 48), *b,
                               _mm512_load_si512(p->keep + 48));
}

#define HALVE_512(low, high, a, b) _mm512_and_si512(low(a, b), high(a, b))
#define EVEN_LANES(a, b) _mm512_shuffle_i32x4(a, b, 0x88)
#define ODD_LANES(a, b) _mm512_shuffle_i32x4(a, b, 0xdd)

/* The and of each tree's 16 lanes, tree i in lane i: a transposition that halves as it goes.
 * Then its lowest bit, by way of float's exponent: where in a table [16][32] the value is. */
TARGET INLINE void places_vbmi(const struct single_pair *p, uint32_t n_groups,
                               const struct row_vbmi *row, uint32_t *at)
{
    __m512i four[4];
#pragma GCC unroll 4
    for (uint32_t i = 0; i < 4; i++) {
        __m512i a, b, c, d;
        if (4 * i >= n_groups) { /* the last unit: no trees */
            four[i] = _mm512_set1_epi32(1);
            continue;
        }
        pair_leaves(p + 2 * i, row, &a, &b);
        pair_leaves(p + 2 * i + 1, row, &c, &d);
        a = HALVE_512(_mm512_unpacklo_epi32, _mm512_unpackhi_epi32, a, b);
        c = HALVE_512(_mm512_unpacklo_epi32, _mm512_unpackhi_epi32, c, d);
        four[i] = HALVE_512(_mm512_unpacklo_epi64, _mm512_unpackhi_epi64, a, c);
    }
    four[0] = HALVE_512(EVEN_LANES, ODD_LANES, four[0], four[1]);
    four[2] = HALVE_512(EVEN_LANES, ODD_LANES, four[2], four[3]);
    __m512i left = HALVE_512(EVEN_LANES, ODD_LANES, four[0], four[2]);
    __m512i lowest = _mm512_and_si512(left, _mm512_sub_epi32(_mm512_setzero_si512(), left));
    __m512i bit = _mm512_srli_epi32(_mm512_castps_si512(_mm512_cvtepu32_ps(lowest)), 23);
    const __m512i tables = _mm512_setr_epi32(0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320,
                                             352, 384, 416, 448, 480);
    _mm512_store_si512(at,
                       _mm512_add_epi32(tables, _mm512_sub_epi32(bit, _mm512_set1_epi32(127))));
}

#include "gbdt/single_body.h"
#undef TARGET
#undef NAME

/* ---- AVX2 ---- */

#define TARGET __attribute__((target("avx2,popcnt")))
#define NAME(x) x##_avx2

struct row_avx2 {
    __m256i tables[SINGLE_COLUMNS / 16]; /* the row's bytes, 16 by 16, twice each */
    unsigned n_tables;
};

TARGET INLINE void load_avx2(const struct single *s, const uint8_t *bytes, struct row_avx2 *row)
{
    row->n_tables = (unsigned)(s->n_columns + 15) / 16;
    for (unsigned i = 0; i < row->n_tables; i++)
        row->tables[i] =
            _mm256_broadcastsi128_si256(_mm_load_si128((const __m128i *)(bytes + 16 * i)));
}

/* Which leaves of a tree are not ruled out: 8 lanes, to be and-ed together. */
TARGET INLINE __m256i tree_leaves(const struct single_pair *p, unsigned side,
                                  const struct row_avx2 *row)
{
    const __m256i *limit = (const __m256i *)p->limit + side;
    const __m256i *keep = (const __m256i *)p->keep + 4 * side;
    __m256i column = _mm256_load_si256((const __m256i *)p->column + side);
    __m256i number = _mm256_and_si256(column, _mm256_set1_epi8(0x7f));
    __m256i byte = _mm256_setzero_si256();
    for (unsigned i = 0; i < row->n_tables; i++) { /* in table i: 0..15, else bit 7 is set */
        __m256i at = _mm256_adds_epu8(number, _mm256_set1_epi8(0x70));
        byte = _mm256_or_si256(byte, _mm256_shuffle_epi8(row->tables[i], at));
        number = _mm256_sub_epi8(number, _mm256_set1_epi8(16));
    }
    byte = _mm256_sub_epi8(byte, _mm256_cmpgt_epi8(_mm256_setzero_si256(), column));
    __m256i top = _mm256_max_epu8(byte, _mm256_load_si256(limit));
    __m256i goes_left = _mm256_cmpeq_epi8(top, _mm256_load_si256(limit));
    __m128i half = _mm256_castsi256_si128(goes_left);
    __m256i left = _mm256_or_si256(_mm256_load_si256(keep), _mm256_cvtepi8_epi32(half));
    left =
        _mm256_and_si256(left, _mm256_or_si256(_mm256_load_si256(keep + 1),
                                               _mm256_cvtepi8_epi32(_mm_srli_si128(half, 8))));
    half = _mm256_extracti128_si256(goes_left, 1);
    left = _mm256_and_si256(
        left, _mm256_or_si256(_mm256_load_si256(keep + 2), _mm256_cvtepi8_epi32(half)));
    return _mm256_and_si256(left,
                            _mm256_or_si256(_mm256_load_si256(keep + 3),
                                            _mm256_cvtepi8_epi32(_mm_srli_si128(half, 8))));
}

#define HALVE_256(low, high, a, b) _mm256_and_si256(low(a, b), high(a, b))
#define LOW_HALVES(a, b) _mm256_permute2x128_si256(a, b, 0x20)
#define HIGH_HALVES(a, b) _mm256_permute2x128_si256(a, b, 0x31)

/* As for AVX-512, 8 trees at a time. */
TARGET INLINE void places_avx2(const struct single_pair *p, uint32_t n_groups,
                               const struct row_avx2 *row, uint32_t *at)
{
    const __m256i tables = _mm256_setr_epi32(0, 32, 64, 96, 128, 160, 192, 224);
    for (uint32_t half = 0; half < 2; half++, p += 4) {
        __m256i four[2];
        for (uint32_t i = 0; i < 2; i++) {
            if (8 * half + 4 * i >= n_groups) { /* the last unit: no trees */
                four[i] = _mm256_set1_epi32(1);
                continue;
            }
            __m256i a = tree_leaves(p + 2 * i, 0, row), b = tree_leaves(p + 2 * i, 1, row);
            __m256i c = tree_leaves(p + 2 * i + 1, 0, row);
            __m256i d = tree_leaves(p + 2 * i + 1, 1, row);
            a = HALVE_256(_mm256_unpacklo_epi32, _mm256_unpackhi_epi32, a, b);
            c = HALVE_256(_mm256_unpacklo_epi32, _mm256_unpackhi_epi32, c, d);
            four[i] = HALVE_256(_mm256_unpacklo_epi64, _mm256_unpackhi_epi64, a, c);
        }
        __m256i left = HALVE_256(LOW_HALVES, HIGH_HALVES, four[0], four[1]);
        __m256i lowest = _mm256_and_si256(left, _mm256_sub_epi32(_mm256_setzero_si256(), left));
        __m256i bit = _mm256_srli_epi32(_mm256_castps_si256(_mm256_cvtepi32_ps(lowest)), 23);
        bit = _mm256_and_si256(bit, _mm256_set1_epi32(255)); /* bit 31 makes a negative float */
        bit = _mm256_add_epi32(bit, _mm256_set1_epi32((int)(256 * half) - 127));
        _mm256_store_si256((__m256i *)at + half, _mm256_add_epi32(bit, tables));
    }
}

#include "gbdt/single_body.h"

#endif

const struct single_impl single_impls[] = {
    {"walk", forest_walk, cpu_always},
#if defined(__x86_64__)
    {"avx2", run_avx2, cpu_has_avx2},
    {"vbmi", run_vbmi, cpu_has_vbmi},
#endif
    {NULL, NULL, NULL},
};

const struct single_impl *single_fastest(const struct forest *f)
{
    const struct single_impl *best = single_impls;
    for (const struct single_impl *i = single_impls + 1; f->single && i->name; i++)
        if (i->usable())
            best = i;
    return best;
}
