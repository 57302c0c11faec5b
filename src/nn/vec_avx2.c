/* vec_avx2.c: the loops of vec.h for AVX2 and FMA. */
#if defined(__x86_64__)
#include <immintrin.h>

#define TARGET __attribute__((target("avx2,fma")))
#define V __m256
#define VI __m256i
#define VL 8
#define LOADU _mm256_loadu_ps
#define STOREU _mm256_storeu_ps
#define SET1 _mm256_set1_ps
#define FMA _mm256_fmadd_ps
#define MIN _mm256_min_ps
#define MAX _mm256_max_ps
#define SQRT _mm256_sqrt_ps
#define ROUND(x) _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
#define GREATER(a, b) _mm256_cmp_ps(a, b, _CMP_GT_OQ)
#define SELECT(mask, yes, no) _mm256_blendv_ps(no, yes, mask)
#define ALL_ZERO(x) \
    (_mm256_movemask_ps(_mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_NEQ_UQ)) == 0)
#define SUM sum_of
#define TOP top_of
#define TO_INT _mm256_cvtps_epi32
#define AS_INT _mm256_castps_si256
#define AS_FLOAT _mm256_castsi256_ps
#define ISET1 _mm256_set1_epi32
#define IADD _mm256_add_epi32
#define IMUL _mm256_mullo_epi32
#define IAND _mm256_and_si256
#define IOR _mm256_or_si256
#define IXOR _mm256_xor_si256
#define SHL _mm256_slli_epi32
#define SHR _mm256_srli_epi32
#define IGREATER(a, b) _mm256_castsi256_ps(_mm256_cmpgt_epi32(a, b))
#define IOTA _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)
#define ROW vec_avx2
#define ROW_NAME "avx2"
#define ROW_USABLE cpu_has_avx2

TARGET static inline float sum_of(__m256 v)
{
    __m128 x = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}

TARGET static inline float top_of(__m256 v)
{
    __m128 x = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    x = _mm_max_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)));
}

#include "nn/vec_body.h"
#else
typedef int nothing_here;
#endif
