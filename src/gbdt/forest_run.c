/* forest_run.c: rows through a forest: the walk that defines the result, and kernels that
 * take 256 (AVX2) or 512 (AVX-512) rows at a time. Proof: tests/test_forest.c. */
#include "gbdt/forest.h"

#include "base/cpu.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* ---- the definition ---- */

void forest_walk(const struct forest *f, const float *x, double *margins)
{
    const struct medley_gbdt *m = f->model;
    memcpy(margins, m->base, m->n_classes * sizeof *margins);
    for (size_t g = 0; g < f->n_groups; g++) {
        const struct forest_group *group = &f->groups[g];
        float sums[GBDT_MAX_CLASSES] = {0};
        for (uint32_t i = 0; i < group->n_trees; i++) {
            const struct tree *t = m->trees[group->trees[i]];
            const float *v = t->values + (size_t)tree_leaf(t, x) * t->n_outputs;
            for (uint32_t o = 0; o < group->n_outputs; o++)
                sums[o] += v[o];
        }
        for (uint32_t o = 0; o < group->n_outputs; o++)
            margins[group->first_class + o] += sums[o];
    }
}

static void run_ref(const struct forest *f, struct forest_space *s, const float *x, size_t n)
{
    size_t k = f->model->n_classes;
    for (size_t i = 0; i < n; i++) {
        double margins[GBDT_MAX_CLASSES];
        forest_walk(f, x + i * f->model->n_features, margins);
        for (size_t c = 0; c < k; c++)
            s->margins[c * 64 + i] = margins[c];
    }
}

#if defined(__x86_64__)

#define INLINE static inline __attribute__((always_inline))

/* ---- AVX-512: 512 rows ---- */

#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))
#define NAME(x) x##_avx512
#define BYTES 64
#define SELECT(c, a, b) \
    ((__typeof__(b))_mm512_ternarylogic_epi64((__m512i)(c), (__m512i)(a), (__m512i)(b), 0xca))

/* Values of 8 parts for 16 rows, whose numbers are the low bytes of `leaf` shifted right. */
#define ADD_16(sum, shift)                                                         \
    do {                                                                           \
        for (int p = 0; p < 8; p++) {                                              \
            __m512i at = _mm512_load_si512(leaves + p * 512 + s * 64);             \
            at = (shift) ? _mm512_srli_epi32(at, (shift)) : at;                    \
            sum = _mm512_add_ps(sum, _mm512_permutex2var_ps(low[p], at, high[p])); \
        }                                                                          \
    } while (0)

TARGET INLINE void close_16(__m512 sum, double *margins)
{
    __m512d low = _mm512_cvtps_pd(_mm512_castps512_ps256(sum));
    __m512d high = _mm512_cvtps_pd(_mm512_extractf32x8_ps(sum, 1));
    _mm512_store_pd(margins, _mm512_add_pd(_mm512_load_pd(margins), low));
    _mm512_store_pd(margins + 8, _mm512_add_pd(_mm512_load_pd(margins + 8), high));
}

TARGET static void lookup_avx512(const float *values, const uint8_t *leaves,
                                 const struct forest_batch *b, float *sums, double *margins)
{
    __m512 low[8], high[8];
    for (int p = 0; p < 8; p++) {
        low[p] = _mm512_load_ps(values + p * FOREST_LEAVES);
        high[p] = _mm512_load_ps(values + p * FOREST_LEAVES + 16);
    }
    for (size_t s = 0; s < 8; s++, sums += 64, margins += 64) {
        __m512 sum[4];
        for (int q = 0; q < 4; q++)
            sum[q] = b->opens ? _mm512_setzero_ps() : _mm512_load_ps(sums + 16 * q);
        ADD_16(sum[0], 0);
        ADD_16(sum[1], 8);
        ADD_16(sum[2], 16);
        ADD_16(sum[3], 24);
        for (int q = 0; q < 4; q++)
            if (b->closes)
                close_16(sum[q], margins + 16 * q);
            else
                _mm512_store_ps(sums + 16 * q, sum[q]);
    }
}

#include "gbdt/forest_body.h"
#undef NAME
#undef TARGET
#undef BYTES
#undef SELECT

/* ---- AVX2: 256 rows ---- */

#define TARGET __attribute__((target("avx2")))
#define NAME(x) x##_avx2
#define BYTES 32
#define SELECT(c, a, b) (((c) & ((a) ^ (b))) ^ (b))

/* The 32 values are four registers; bits 3 and 4 of the number choose among them. */
TARGET INLINE __m256 values_8(const float *values, __m256i at)
{
    __m256 bit3 = _mm256_castsi256_ps(_mm256_slli_epi32(at, 28));
    __m256 bit4 = _mm256_castsi256_ps(_mm256_slli_epi32(at, 27));
    __m256 v[4];
    for (int i = 0; i < 4; i++)
        v[i] = _mm256_permutevar8x32_ps(_mm256_load_ps(values + 8 * i), at);
    return _mm256_blendv_ps(_mm256_blendv_ps(v[0], v[1], bit3),
                            _mm256_blendv_ps(v[2], v[3], bit3), bit4);
}

TARGET static void lookup_avx2(const float *values, const uint8_t *leaves,
                               const struct forest_batch *b, float *sums, double *margins)
{
    for (size_t s = 0; s < 8; s++)
        for (int q = 0; q < 4; q++, sums += 8, margins += 8) {
            __m256 sum = b->opens ? _mm256_setzero_ps() : _mm256_load_ps(sums);
            __m128i shift = _mm_cvtsi32_si128(8 * q);
            for (unsigned p = 0; p < b->n_parts; p++) {
                const __m256i *at = (const __m256i *)(leaves + p * 256 + s * 32);
                sum = _mm256_add_ps(sum,
                                    values_8(values + p * FOREST_LEAVES,
                                             _mm256_srl_epi32(_mm256_load_si256(at), shift)));
            }
            if (!b->closes) {
                _mm256_store_ps(sums, sum);
                continue;
            }
            __m256d low = _mm256_cvtps_pd(_mm256_castps256_ps128(sum));
            __m256d high = _mm256_cvtps_pd(_mm256_extractf128_ps(sum, 1));
            _mm256_store_pd(margins, _mm256_add_pd(_mm256_load_pd(margins), low));
            _mm256_store_pd(margins + 4, _mm256_add_pd(_mm256_load_pd(margins + 4), high));
        }
}

#include "gbdt/forest_body.h"

#endif

const struct forest_impl forest_impls[] = {
    {"ref", 1, 0, run_ref, cpu_always},
#if defined(__x86_64__)
    {"avx2", 4, 8, run_avx2, cpu_has_avx2},
    {"avx512", 8, 16, run_avx512, cpu_has_avx512},
#endif
    {NULL, 0, 0, NULL, NULL},
};

const struct forest_impl *forest_fastest(const struct forest *f)
{
    const struct forest_impl *best = forest_impls;
    for (const struct forest_impl *i = forest_impls + 1; i->name; i++)
        if (i->usable() && !f->only_walk)
            best = i;
    return best;
}
