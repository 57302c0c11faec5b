/* gemm8_vnni.c: products with int8 weights by AVX-512's vpdpbusd, four products a lane. */
#if defined(__x86_64__)
#include <immintrin.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma")))
#define V __m512
#define VI __m512i
#define VL 16
#define LOAD _mm512_loadu_ps
#define STORE _mm512_storeu_ps
#define SET1 _mm512_set1_ps
#define FMA _mm512_fmadd_ps
#define MIN _mm512_min_ps
#define MAX _mm512_max_ps
#define TO_INT _mm512_cvtps_epi32
#define TO_FLOAT _mm512_cvtepi32_ps
#define LEAST _mm512_reduce_min_ps
#define TOP _mm512_reduce_max_ps
#define LOADI(p) _mm512_loadu_si512(p)
#define ISET1 _mm512_set1_epi32
#define IADD _mm512_add_epi32
#define ISUB _mm512_sub_epi32
#define IMUL _mm512_mullo_epi32
#define IMIN _mm512_min_epi32
#define IMAX _mm512_max_epi32
#define IZERO _mm512_setzero_si512()
#define Q uint8_t
#define W int8_t
#define PER_WORD 4
/* By hand: gcc 12 spills the sums around its intrinsic, which halves the speed. */
#define DOT(acc, x, w) __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(x), "v"(w))
#define STORE_Q(p, v) _mm_storeu_si128((__m128i *)(void *)(p), _mm512_cvtepi32_epi8(v))
#define MR 12
#define TILE_SIZES(X) X(12) X(8) X(4) X(2) X(1)
#define ROW gemm8_vnni
#define ROW_NAME "vnni"
#define ROW_USABLE cpu_has_vnni
#include "nn/gemm8_body.h"
#else
typedef int nothing_here;
#endif
