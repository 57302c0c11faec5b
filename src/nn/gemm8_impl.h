/* gemm8_impl.h: what the kernels of gemm8 share; private to src/nn. */
#ifndef NN_GEMM8_IMPL_H
#define NN_GEMM8_IMPL_H

#include "nn/gemm8.h"
#include "nn/gemm_impl.h"

#include <math.h>

/* A number that is not finite ends at 0 or `most`; the comparisons send NaN to 0. */
static inline float gemm8_between(float v, float most)
{
    return v > most ? most : v > 0 ? v : 0;
}

/* Step and zero point of numbers in low..high, low <= 0 <= high: the range holds 0, so that 0
 * stays exactly 0. */
static inline void gemm8_scale(float low, float high, float *scale, int32_t *zero)
{
    float step = (high - low) / 255;
    if (!(step > 1e-30f)) /* nothing but zeros, or NaN */
        step = 1;
    *scale = step;
    *zero = (int32_t)gemm8_between(nearbyintf(-low * (1 / step)), 255);
}

extern const struct gemm8_impl gemm8_ref;
#if defined(__x86_64__)
extern const struct gemm8_impl gemm8_avx2, gemm8_vnni;
#endif

#endif
