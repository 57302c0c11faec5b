/* gemm8_avx2.c: products with int8 weights by AVX2. Both sides are widened to 16 bits in
 * memory: vpmaddubsw would take bytes, but its sums of two products overflow 16 bits. That
 * makes it no faster than float32, and exact. */
#if defined(__x86_64__)
#include <immintrin.h>

#define TARGET __attribute__((target("avx2,fma")))
#define V __m256
#define VI __m256i
#define VL 8
#define LOAD _mm256_loadu_ps
#define STORE _mm256_storeu_ps
#define SET1 _mm256_set1_ps
#define FMA _mm256_fmadd_ps
#define MIN _mm256_min_ps
#define MAX _mm256_max_ps
#define TO_INT _mm256_cvtps_epi32
#define TO_FLOAT _mm256_cvtepi32_ps
#define LEAST least_of
#define TOP top_of
#define LOADI(p) _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define ISET1 _mm256_set1_epi32
#define IADD _mm256_add_epi32
#define ISUB _mm256_sub_epi32
#define IMUL _mm256_mullo_epi32
#define IMIN _mm256_min_epi32
#define IMAX _mm256_max_epi32
#define IZERO _mm256_setzero_si256()
#define Q uint16_t
#define W int16_t
#define PER_WORD 2
#define DOT(acc, x, w) ((acc) = _mm256_add_epi32(acc, _mm256_madd_epi16(x, w)))
#define STORE_Q(p, v) store_shorts(p, v)
#define MR 6
#define TILE_SIZES(X) X(6) X(4) X(2) X(1)
#define ROW gemm8_avx2
#define ROW_NAME "avx2"
#define ROW_USABLE cpu_has_avx2

TARGET static inline float least_of(__m256 v)
{
    __m128 x = _mm_min_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    x = _mm_min_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_min_ss(x, _mm_movehdup_ps(x)));
}

TARGET static inline float top_of(__m256 v)
{
    __m128 x = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    x = _mm_max_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)));
}

TARGET static inline void store_shorts(void *p, __m256i v)
{
    __m128i low = _mm256_castsi256_si128(v), high = _mm256_extracti128_si256(v, 1);
    _mm_storeu_si128(p, _mm_packus_epi32(low, high));
}

#include "nn/gemm8_body.h"
#else
typedef int nothing_here;
#endif
