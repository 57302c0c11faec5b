/* gemm8_impl.h: what the kernels of gemm8 share; private to src/nn. */
#ifndef NN_GEMM8_IMPL_H
#define NN_GEMM8_IMPL_H

#include "nn/gemm8.h"
#include "nn/gemm_impl.h"

/* Step and zero point of numbers in low..high, low <= 0 <= high. */
void gemm8_scale(float low, float high, float *scale, int32_t *zero);

extern const struct gemm8_impl gemm8_ref;
#if defined(__x86_64__)
extern const struct gemm8_impl gemm8_avx2, gemm8_vnni;
#endif

#endif
