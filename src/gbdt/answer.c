/* answer.c: which rows of a block meet which conditions.
 *
 * A row's value of a feature is searched among the thresholds, 16 at a time, and leaves one
 * mark: a bit at the least threshold it does not exceed. Running through the marks of a feature
 * in order and or-ing them up gives the mask of every threshold. So the work per row is one
 * search per feature, and per condition one or and one store for the whole block, where
 * comparing every row with every threshold would be hundreds of times more. Proof:
 * tests/test_conditions.c. */
#include "gbdt/search.h"

#include "base/cpu.h"

#include <string.h>

/* The definition. */
static void answer_ref(const struct conditions *c, struct conditions_space *s, const float *x,
                       size_t n)
{
    memset(s->masks, 0, c->n_conditions * s->words * sizeof *s->masks);
    for (size_t i = 0; i < c->n_conditions; i++) {
        const struct condition *q = &c->list[i];
        for (size_t row = 0; row < n; row++) {
            float v = x[row * c->n_features + q->feature];
            uint64_t left = v <= q->threshold || (v != v && q->missing_left);
            s->masks[i * s->words + row / 64] |= left << row % 64;
        }
    }
}

#if defined(__x86_64__)

#define INLINE static inline __attribute__((always_inline))

/* The mark of a value that exceeds so many thresholds; 0 is for missing. */
INLINE uint32_t mark_of(size_t above, float v)
{
    return (uint32_t)(above + 1) & -(uint32_t)(v == v);
}

/* The masks of a feature's conditions, from `out` on; returns where the next feature's go. A
 * condition of a kind that is not asked about is overwritten by the next: no branch, and one
 * mask of room at the end. */
#define SWEEP(NAME, MASK)                                                                     \
    INLINE void *NAME(const struct conditions *c, const struct conditions_space *s, size_t u, \
                      void *masks)                                                            \
    {                                                                                         \
        const uint8_t *kind = c->kinds + c->used[u].first_mark + 1;                           \
        const uint8_t *end = kind + c->used[u].n_thresholds;                                  \
        MASK *mark = (MASK *)s->marks, *out = masks, none = {0}, met = {0}, missing = *mark;  \
        for (*mark++ = none; kind < end; kind++, mark++) {                                    \
            met |= *mark;                                                                     \
            *mark = none;                                                                     \
            *out = met;                                                                       \
            out += *kind & 1;                                                                 \
            *out = met | missing;                                                             \
            out += *kind >> 1;                                                                \
        }                                                                                     \
        *mark = none; /* rows above all */                                                    \
        return out;                                                                           \
    }

typedef uint64_t mask_8 __attribute__((vector_size(64), aligned(64)));
typedef uint64_t mask_4 __attribute__((vector_size(32), aligned(32)));

#define TARGET256 __attribute__((target("avx2,popcnt,bmi2")))
#define TARGET512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,popcnt,bmi2")))

SWEEP(sweep_8, mask_8)
SWEEP(sweep_4, mask_4)

/* Any number of words, a word at a time. */
static void *sweep_any(const struct conditions *c, const struct conditions_space *s, size_t u,
                       void *masks)
{
    size_t words = s->words, n = c->used[u].n_thresholds;
    const uint8_t *kinds = c->kinds + c->used[u].first_mark + 1;
    uint64_t *out = masks;
    for (size_t w = 0; w < words; w++) {
        uint64_t met = 0, missing = s->marks[w];
        out = (uint64_t *)masks + w;
        s->marks[w] = 0;
        for (size_t t = 0; t < n; t++) {
            met |= s->marks[(t + 1) * words + w];
            s->marks[(t + 1) * words + w] = 0;
            *out = met;
            out += (kinds[t] & 1) * words;
            *out = met | missing;
            out += (kinds[t] >> 1) * words;
        }
        s->marks[(n + 1) * words + w] = 0;
        out -= w;
    }
    return out;
}

INLINE void set_marks(const struct conditions_space *s, size_t u, size_t words, size_t n)
{
    const uint32_t *above = s->above + u * 64 * words;
    for (size_t row = 0; row < n; row++)
        s->marks[above[row] * words + row / 64] |= (uint64_t)1 << row % 64;
}

/* A feature at a time, so that its marks stay in the nearest cache. */
INLINE void sweep_all(const struct conditions *c, const struct conditions_space *s, size_t n)
{
    void *out = s->masks;
    for (size_t u = 0; u < c->n_used; u++) {
        if (s->words == 8) {
            set_marks(s, u, 8, n);
            out = sweep_8(c, s, u, out);
        } else if (s->words == 4) {
            set_marks(s, u, 4, n);
            out = sweep_4(c, s, u, out);
        } else {
            set_marks(s, u, s->words, n);
            out = sweep_any(c, s, u, out);
        }
    }
}

TARGET256 static void answer_avx2(const struct conditions *c, struct conditions_space *s,
                                  const float *x, size_t n)
{
    for (size_t row = 0; row < n; row++, x += c->n_features)
        for (size_t u = 0; u < c->n_used; u++) {
            float v = x[c->used[u].feature];
            s->above[u * 64 * s->words + row] = mark_of(search_avx2(c, &c->used[u], v), v);
        }
    sweep_all(c, s, n);
}

/* The branch of a binary tree that 16 values are at, of 2^step. Its keys are 1 to 8 registers,
 * of which permutations see two at a time. */
TARGET512 INLINE __m512 branch_keys(const __m512 *table, unsigned step, __m512i at)
{
    if (step < 4)
        return _mm512_permutexvar_ps(at, table[0]);
    if (step == 4)
        return _mm512_permutexvar_ps(at, table[1]);
    if (step == 5)
        return _mm512_permutex2var_ps(table[2], at, table[3]);
    __mmask16 bit5 = _mm512_test_epi32_mask(at, _mm512_set1_epi32(32));
    const __m512 *t = table + (step == 6 ? 4 : 8);
    __m512 low = _mm512_mask_blend_ps(bit5, _mm512_permutex2var_ps(t[0], at, t[1]),
                                      _mm512_permutex2var_ps(t[2], at, t[3]));
    if (step == 6)
        return low;
    __mmask16 bit6 = _mm512_test_epi32_mask(at, _mm512_set1_epi32(64));
    __m512 high = _mm512_mask_blend_ps(bit5, _mm512_permutex2var_ps(t[4], at, t[5]),
                                       _mm512_permutex2var_ps(t[6], at, t[7]));
    return _mm512_mask_blend_ps(bit6, low, high);
}

/* Marks of 64 values of a feature. `depth` is a constant wherever this is inlined. */
TARGET512 INLINE void marks_64(const float *keys, unsigned depth, const float *x, uint32_t *out)
{
    const __m512i one = _mm512_set1_epi32(1);
    __m512 table[16];
#pragma GCC unroll 16
    for (unsigned i = 0; i < 16; i++)
        if (i < (1u << depth) / 16)
            table[i] = _mm512_load_ps(keys + 16 * i);
    for (unsigned q = 0; q < 4; q++) {
        __m512 v = _mm512_load_ps(x + 16 * q);
        __m512i at = one;
#pragma GCC unroll 8
        for (unsigned step = 0; step < depth; step++) {
            __mmask16 above = _mm512_cmp_ps_mask(v, branch_keys(table, step, at), _CMP_GT_OQ);
            at = _mm512_add_epi32(at, at);
            at = _mm512_mask_add_epi32(at, above, at, one);
        }
        /* at is 2^depth and the number of keys exceeded; a mark is that and 1, or 0 for NaN */
        at = _mm512_maskz_sub_epi32(_mm512_cmp_ps_mask(v, v, _CMP_ORD_Q), at,
                                    _mm512_set1_epi32((1 << depth) - 1));
        _mm512_store_si512(out + 16 * q, at);
    }
}

TARGET512 static void marks_of(const struct conditions *c, const struct condition_feature *f,
                               const float *x, uint32_t *out)
{
    const float *keys = c->keys + f->tree;
    switch (f->depth) {
    case 4:
        marks_64(keys, 4, x, out);
        break;
    case 5:
        marks_64(keys, 5, x, out);
        break;
    case 6:
        marks_64(keys, 6, x, out);
        break;
    case 7:
        marks_64(keys, 7, x, out);
        break;
    case 8:
        marks_64(keys, 8, x, out);
        break;
    default:
        for (unsigned i = 0; i < 64; i++)
            out[i] = mark_of(search_avx512(c, f, x[i]), x[i]);
    }
}

/* 16 rows of up to 16 features into columns[16][64], by swapping ever larger pieces. */
TARGET512 INLINE void transpose_16(const float *const *rows, __mmask16 present, float *columns)
{
    __m512 a[16], b[16];
    for (int i = 0; i < 16; i++)
        a[i] = _mm512_maskz_loadu_ps(present, rows[i]);
    for (int i = 0; i < 16; i += 2) {
        b[i] = _mm512_unpacklo_ps(a[i], a[i + 1]);
        b[i + 1] = _mm512_unpackhi_ps(a[i], a[i + 1]);
    }
    for (int i = 0; i < 16; i += 4)
        for (int j = 0; j < 2; j++) {
            __m512d low = _mm512_castps_pd(b[i + j]), high = _mm512_castps_pd(b[i + j + 2]);
            a[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, high));
            a[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, high));
        }
    for (int j = 0; j < 4; j++) /* a[4 g + j]: columns j, 4 + j, 8 + j, 12 + j of rows 4 g.. */
        for (int h = 0; h < 2; h++) {
            b[j + 8 * h] = _mm512_shuffle_f32x4(a[8 * h + j], a[8 * h + 4 + j], 0x88);
            b[j + 8 * h + 4] = _mm512_shuffle_f32x4(a[8 * h + j], a[8 * h + 4 + j], 0xdd);
        }
    for (int j = 0; j < 4; j++)
        for (int h = 0; h < 2; h++) { /* b[j + 4 h]: columns 4 h + j and 8 + 4 h + j */
            __m512 low = b[j + 4 * h], high = b[j + 4 * h + 8];
            _mm512_store_ps(columns + 64 * (4 * h + j), _mm512_shuffle_f32x4(low, high, 0x88));
            _mm512_store_ps(columns + 64 * (8 + 4 * h + j),
                            _mm512_shuffle_f32x4(low, high, 0xdd));
        }
}

/* Features first .. first + 15 of 64 rows; those past the last row repeat it. */
TARGET512 static void columns_of(const struct conditions *c, const float *x, size_t n,
                                 size_t first, float *columns)
{
    size_t left = c->n_features - first;
    __mmask16 present = (__mmask16)(left < 16 ? (1u << left) - 1 : 0xffff);
    for (size_t q = 0; q < 4; q++) {
        const float *rows[16];
        for (size_t i = 0; i < 16; i++)
            rows[i] = x + (16 * q + i < n ? 16 * q + i : n - 1) * c->n_features + first;
        transpose_16(rows, present, columns + 16 * q);
    }
}

TARGET512 static void answer_avx512(const struct conditions *c, struct conditions_space *s,
                                    const float *x, size_t n)
{
    float columns[16 * 64] __attribute__((aligned(64)));
    for (size_t row = 0; row < n; row += 64)
        for (size_t u = 0; u < c->n_used;) {
            size_t first = c->used[u].feature / 16 * 16;
            columns_of(c, x + row * c->n_features, n - row, first, columns);
            for (; u < c->n_used && c->used[u].feature < first + 16; u++)
                marks_of(c, &c->used[u], columns + 64 * (c->used[u].feature - first),
                         s->above + u * 64 * s->words + row);
        }
    sweep_all(c, s, n);
}

#endif

const struct conditions_impl conditions_impls[] = {
    {"ref", answer_ref, cpu_always},
#if defined(__x86_64__)
    {"avx2", answer_avx2, cpu_has_avx2},
    {"avx512", answer_avx512, cpu_has_avx512},
#endif
    {NULL, NULL, NULL},
};

void conditions_answer(const struct conditions *c, struct conditions_space *s, const float *x,
                       size_t n)
{
#if defined(__x86_64__)
    if (cpu_has_avx512()) {
        answer_avx512(c, s, x, n);
        return;
    }
    if (cpu_has_avx2()) {
        answer_avx2(c, s, x, n);
        return;
    }
#endif
    answer_ref(c, s, x, n);
}
