/* gemm_avx512.c: the packed matrix product for AVX-512 (tiles of 12 x 32: 24 of the 32
 * registers accumulate, which hides the latency of two fused multiply-adds a cycle). */
#include "nn/gemm_impl.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma")))
#define V __m512
#define VL 16
#define LOAD _mm512_loadu_ps
#define STORE _mm512_storeu_ps
#define SET1(x) _mm512_set1_ps(x)
#define FMA _mm512_fmadd_ps
#define MR 12
#define TILE_SIZES(X) X(12) X(8) X(4) X(2) X(1)
#define GEMM gemm_avx512
#include "nn/gemm_body.h"
#endif
