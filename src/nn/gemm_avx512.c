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
#define ATTEND attend_avx512
#define GEMM_SIZE gemm_size_avx512
#define GEMM_PACK gemm_pack_avx512
#define LOAD_HALF(p)                       \
    _mm512_castsi512_ps(_mm512_slli_epi32( \
        _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)(p))), 16))
#define SHUFFLE_PAIRS(a, b, which) \
    _mm512_castpd_ps(_mm512_shuffle_pd(_mm512_castps_pd(a), _mm512_castps_pd(b), which))

/* Up to 16 rows of up to 16 floats, `ldb` apart, into `cols` rows of p ([cols][2 VL]); missing
 * rows are zeros. Three rounds of shuffles: 64 instructions for 256 numbers. */
TARGET static void transpose16(const float *b, size_t ldb, size_t rows, size_t cols, float *p)
{
    __m512 r[16], u[16];
    __mmask16 mask = (__mmask16)((1u << cols) - 1);
    UNROLL
    for (size_t i = 0; i < 16; i++)
        r[i] = i < rows ? _mm512_maskz_loadu_ps(mask, b + i * ldb) : _mm512_setzero_ps();
    UNROLL
    for (int i = 0; i < 16; i += 2) {
        u[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
        u[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
    UNROLL
    for (int i = 0; i < 16; i += 4) { /* now 128 bits of r[i + c] are rows i..i+3 of a column */
        r[i] = SHUFFLE_PAIRS(u[i], u[i + 2], 0x00);
        r[i + 1] = SHUFFLE_PAIRS(u[i], u[i + 2], 0xff);
        r[i + 2] = SHUFFLE_PAIRS(u[i + 1], u[i + 3], 0x00);
        r[i + 3] = SHUFFLE_PAIRS(u[i + 1], u[i + 3], 0xff);
    }
    UNROLL
    for (int c = 0; c < 4; c++) {
        __m512 even_low = _mm512_shuffle_f32x4(r[c], r[4 + c], 0x88);
        __m512 odd_low = _mm512_shuffle_f32x4(r[c], r[4 + c], 0xdd);
        __m512 even_high = _mm512_shuffle_f32x4(r[8 + c], r[12 + c], 0x88);
        __m512 odd_high = _mm512_shuffle_f32x4(r[8 + c], r[12 + c], 0xdd);
        u[c] = _mm512_shuffle_f32x4(even_low, even_high, 0x88);
        u[4 + c] = _mm512_shuffle_f32x4(odd_low, odd_high, 0x88);
        u[8 + c] = _mm512_shuffle_f32x4(even_low, even_high, 0xdd);
        u[12 + c] = _mm512_shuffle_f32x4(odd_low, odd_high, 0xdd);
    }
    UNROLL
    for (size_t i = 0; i < 16; i++)
        if (i < cols)
            _mm512_storeu_ps(p + i * 2 * VL, u[i]);
}

static void pack_transposed(const float *b, size_t ldb, size_t n, size_t kc, float *p)
{
    for (size_t j = 0; j < 2 * VL; j += VL) {
        size_t rows = j >= n ? 0 : n - j < VL ? n - j : VL;
        for (size_t k = 0; k < kc; k += VL)
            transpose16(b + j * ldb + k, ldb, rows, kc - k < VL ? kc - k : VL,
                        p + k * 2 * VL + j);
    }
}

#include "nn/gemm_body.h"

#include "nn/attend_body.h"
#endif
