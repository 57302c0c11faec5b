/* gemm_impl.h: what the kernels of gemm share; private to src/nn. */
#ifndef NN_GEMM_IMPL_H
#define NN_GEMM_IMPL_H

#include "nn/gemm.h"

void gemm_ref(const struct gemm *g);
#if defined(__x86_64__)
void gemm_avx2(const struct gemm *g);
void gemm_avx512(const struct gemm *g);
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
