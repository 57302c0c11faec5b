/* gemm_avx2.c: the packed matrix product for AVX2 and FMA (tiles of 6 x 16). */
#include "nn/gemm_impl.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define TARGET __attribute__((target("avx2,fma")))
#define V __m256
#define VL 8
#define LOAD _mm256_loadu_ps
#define STORE _mm256_storeu_ps
#define SET1(x) _mm256_set1_ps(x)
#define FMA _mm256_fmadd_ps
#define MR 6
#define TILE_SIZES(X) X(6) X(4) X(2) X(1)
#define GEMM gemm_avx2
#define ATTEND attend_avx2
#define GEMM_SIZE gemm_size_avx2
#define GEMM_PACK gemm_pack_avx2
#define LOAD_HALF(p)                       \
    _mm256_castsi256_ps(_mm256_slli_epi32( \
        _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)(p))), 16))
/* Eight rows of eight floats, `stride` apart, into columns of p ([8][width]). */
TARGET static void transpose8(const float *b, size_t stride, float *p, size_t width)
{
    __m256 r[8], u[8];
    UNROLL
    for (int i = 0; i < 8; i++)
        r[i] = _mm256_loadu_ps(b + (size_t)i * stride);
    UNROLL
    for (int i = 0; i < 8; i += 2) {
        u[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        u[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    UNROLL
    for (int i = 0; i < 8; i += 4) {
        r[i] = _mm256_shuffle_ps(u[i], u[i + 2], 0x44);
        r[i + 1] = _mm256_shuffle_ps(u[i], u[i + 2], 0xEE);
        r[i + 2] = _mm256_shuffle_ps(u[i + 1], u[i + 3], 0x44);
        r[i + 3] = _mm256_shuffle_ps(u[i + 1], u[i + 3], 0xEE);
    }
    UNROLL
    for (int i = 0; i < 4; i++) {
        _mm256_storeu_ps(p + (size_t)i * width, _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
        _mm256_storeu_ps(p + (size_t)(i + 4) * width,
                         _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
    }
}

static void pack_transposed(const float *b, size_t ldb, size_t n, size_t kc, float *p)
{
    enum { WIDTH = 2 * VL };
    size_t whole = kc / 8 * 8;
    for (size_t j = 0; j < WIDTH; j += 8) {
        size_t rows = j >= n ? 0 : n - j < 8 ? n - j : 8;
        if (rows == 8)
            for (size_t k = 0; k < whole; k += 8)
                transpose8(b + j * ldb + k, ldb, p + k * WIDTH + j, WIDTH);
        for (size_t k = rows == 8 ? whole : 0; k < kc; k++)
            for (size_t i = 0; i < 8; i++)
                p[k * WIDTH + j + i] = i < rows ? b[(j + i) * ldb + k] : 0;
    }
}

#include "nn/gemm_body.h"

#include "nn/attend_body.h"
#endif
