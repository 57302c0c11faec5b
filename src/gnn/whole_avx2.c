/* whole_avx2.c: whole_body.h in AVX2 with FMA. */
#if defined(__x86_64__)
#include <immintrin.h>

#define TARGET __attribute__((target("avx2,fma")))
#define VL 8
typedef __m256 V;
typedef int VI __attribute__((vector_size(32)));

TARGET static inline __attribute__((always_inline)) float add_lanes(__m256 v)
{
    __m128 h = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    h = _mm_add_ps(h, _mm_movehl_ps(h, h));
    return _mm_cvtss_f32(_mm_add_ss(h, _mm_shuffle_ps(h, h, 1)));
}

#define LOADU(p) _mm256_loadu_ps(p)
#define STOREU(p, v) _mm256_storeu_ps(p, v)
#define SET1(x) _mm256_set1_ps(x)
#define MAX(a, b) _mm256_max_ps(a, b)
#define FMA(a, b, c) _mm256_fmadd_ps(a, b, c)
#define ROUND(x) _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
#define TO_INT(x) ((VI)_mm256_cvtps_epi32(x))
#define FROM_BITS(i) _mm256_castsi256_ps((__m256i)(i))
#define ADD_LANES(v) add_lanes(v)
#define SELECT_POSITIVE(s, a, b) \
    _mm256_blendv_ps(b, a, _mm256_cmp_ps(s, _mm256_setzero_ps(), _CMP_GT_OQ))
#define ROW whole_avx2
#define ROW_NAME "avx2"
#define ROW_USABLE cpu_has_avx2
#include "gnn/whole_body.h"
#endif
