/* vec_avx512.c: the loops of vec.h for AVX-512. */
#if defined(__x86_64__)
#include <immintrin.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma")))
#define V __m512
#define VI __m512i
#define VL 16
#define LOADU _mm512_loadu_ps
#define STOREU _mm512_storeu_ps
#define SET1 _mm512_set1_ps
#define FMA _mm512_fmadd_ps
#define MIN _mm512_min_ps
#define MAX _mm512_max_ps
#define SQRT _mm512_sqrt_ps
#define ROUND(x) _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
#define GREATER(a, b) _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ)
#define SELECT(mask, yes, no) _mm512_mask_blend_ps(mask, no, yes)
#define ALL_ZERO(x) (_mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_NEQ_UQ) == 0)
#define SUM _mm512_reduce_add_ps
#define TOP _mm512_reduce_max_ps
#define TO_INT _mm512_cvtps_epi32
#define AS_INT _mm512_castps_si512
#define AS_FLOAT _mm512_castsi512_ps
#define ISET1 _mm512_set1_epi32
#define IADD _mm512_add_epi32
#define IMUL _mm512_mullo_epi32
#define IAND _mm512_and_si512
#define IOR _mm512_or_si512
#define IXOR _mm512_xor_si512
#define SHL _mm512_slli_epi32
#define SHR _mm512_srli_epi32
#define IGREATER _mm512_cmpgt_epi32_mask
#define IOTA _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
#define ROW vec_avx512
#define ROW_NAME "avx512"
#define ROW_USABLE cpu_has_avx512
#include "nn/vec_body.h"
#else
typedef int nothing_here;
#endif
