/* softmax.c: the table of gradient kernels. One body (softmax_body.h) in GCC's vector types is
 * compiled for each instruction set; the definition is scalar. Proof: tests/test_gbdt.c. */
#include "gbdt/softmax.h"

#include "base/cpu.h"
#include "gbdt/histogram.h"

#include <math.h>

#ifdef __clang__
#pragma STDC FP_CONTRACT OFF /* gcc does not contract in ISO mode */
#endif

typedef float v16f __attribute__((vector_size(64)));
typedef int32_t v16i __attribute__((vector_size(64)));
typedef uint8_t v16b __attribute__((vector_size(16), aligned(16)));

/* By the formula in double; the vector kernels may differ by one unit where rounding ties. */
static void softmax_gradients_ref(const struct softmax_job *job, size_t begin, size_t end)
{
    double k = (double)job->n_classes;
    for (size_t row = begin; row < end; row++) {
        double most = -INFINITY, sum = 0;
        for (size_t c = 0; c < job->n_classes; c++)
            most = fmax(most, job->scores[c * job->stride + row]);
        for (size_t c = 0; c < job->n_classes; c++)
            sum += exp(job->scores[c * job->stride + row] - most);
        for (size_t c = 0; c < job->n_classes; c++) {
            double p = exp(job->scores[c * job->stride + row] - most) / sum;
            double w = job->weights[row];
            double g = w * (p - (job->labels[row] == c)) * job->gradient_scale;
            double h = w * p * (1 - p) * k / (k - 1) * job->hessian_scale;
            int64_t cell = cell_pack((int32_t)lrint(g), (int32_t)fmax(1, rint(h)));
            job->by_class[c * job->stride + row] = cell;
            job->packed[row * job->lanes + c] = cell;
        }
    }
}

#define NAME(x) portable_##x
#define TARGET
#include "gbdt/softmax_body.h"

#if defined(__x86_64__)
#define NAME(x) avx2_##x
#define TARGET __attribute__((target("avx2")))
#include "gbdt/softmax_body.h"

#define NAME(x) avx512_##x
#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))
#include "gbdt/softmax_body.h"
#endif

const struct softmax_impl softmax_impls[] = {
    {"ref", softmax_gradients_ref, cpu_always},
    {"portable", portable_gradients, cpu_always},
#if defined(__x86_64__)
    {"avx2", avx2_gradients, cpu_has_avx2},
    {"avx512", avx512_gradients, cpu_has_avx512},
#endif
    {NULL, NULL, NULL},
};

void softmax_gradients(const struct softmax_job *job, size_t begin, size_t end)
{
#if defined(__x86_64__)
    if (cpu_has_avx512()) {
        avx512_gradients(job, begin, end);
        return;
    }
    if (cpu_has_avx2()) {
        avx2_gradients(job, begin, end);
        return;
    }
#endif
    portable_gradients(job, begin, end);
}
