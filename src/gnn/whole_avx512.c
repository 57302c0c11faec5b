/* whole_avx512.c: whole_body.h in AVX-512. */
#if defined(__x86_64__)
#include <immintrin.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma")))
#define VL 16
typedef __m512 V;
typedef int VI __attribute__((vector_size(64)));
#define LOADU(p) _mm512_loadu_ps(p)
#define STOREU(p, v) _mm512_storeu_ps(p, v)
#define SET1(x) _mm512_set1_ps(x)
#define MAX(a, b) _mm512_max_ps(a, b)
#define FMA(a, b, c) _mm512_fmadd_ps(a, b, c)
#define ROUND(x) _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
#define TO_INT(x) ((VI)_mm512_cvtps_epi32(x))
#define FROM_BITS(i) _mm512_castsi512_ps((__m512i)(i))
#define ADD_LANES(v) _mm512_reduce_add_ps(v)
#define SELECT_POSITIVE(s, a, b) \
    _mm512_mask_blend_ps(_mm512_cmp_ps_mask(s, _mm512_setzero_ps(), _CMP_GT_OQ), b, a)
#define ROW whole_avx512
#define ROW_NAME "avx512"
#define ROW_USABLE cpu_has_avx512
#include "gnn/whole_body.h"
#endif
