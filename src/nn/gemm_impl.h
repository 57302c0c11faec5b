/* gemm_impl.h: what the kernels of gemm share; private to src/nn. */
#ifndef NN_GEMM_IMPL_H
#define NN_GEMM_IMPL_H

#include "nn/gemm.h"

#define GEMM_ROW(isa)                           \
    void gemm_##isa(const struct gemm *g);      \
    size_t gemm_size_##isa(size_t n, size_t k); \
    void gemm_pack_##isa(const float *b, size_t n, size_t k, float *packed);
GEMM_ROW(ref)
#if defined(__x86_64__)
GEMM_ROW(avx2)
GEMM_ROW(avx512)
#endif

/* Loops over vectors must unroll, or the compiler keeps the vectors in memory. */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

/* Packing space of the calling thread, aligned to 64 and freed when the thread ends; the next
 * call may move it. NULL when out of memory. */
float *gemm_scratch(size_t floats);

#endif
