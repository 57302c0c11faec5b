/* gemm_impl.h: what the kernels of gemm share; private to src/nn. */
#ifndef NN_GEMM_IMPL_H
#define NN_GEMM_IMPL_H

#include "nn/gemm.h"

void gemm_ref(const struct gemm *g);
#if defined(__x86_64__)
void gemm_avx2(const struct gemm *g);
void gemm_avx512(const struct gemm *g);
#endif

/* Packing space of the calling thread, aligned to 64 and freed when the thread ends; the next
 * call may move it. NULL when out of memory. */
float *gemm_scratch(size_t floats);

/* B stored [n,k] (leading dimension ldb), columns k0..k0+kc, into a panel P[kc][width] whose
 * columns past n are zero. */
void gemm_pack_transposed(const float *b, size_t ldb, size_t n, size_t kc, size_t width,
                          float *p);

#endif
