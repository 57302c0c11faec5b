/* probabilities.c: margins into probabilities. Written out because libm's exp, one number at a
 * time, took as long as 200 trees of the fastest kernel. Proof: tests/test_forest.c. */
#include "gbdt/predict.h"

#include "base/cpu.h"

#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif

/* Not aligned beyond a number: single rows come with buffers of their own. */
typedef double v8d __attribute__((vector_size(64), aligned(8)));
typedef int64_t v8i __attribute__((vector_size(64), aligned(8)));
typedef float v8f __attribute__((vector_size(32), aligned(4)));

#define NAME(x) x##_ref
#define TARGET
#include "gbdt/probabilities_body.h"

#if defined(__x86_64__)
#define NAME(x) x##_avx2
#define TARGET __attribute__((target("avx2")))
#include "gbdt/probabilities_body.h"

#define NAME(x) x##_avx512
#define TARGET __attribute__((target("avx512f,avx512dq,avx512vl")))
#include "gbdt/probabilities_body.h"
#endif

const struct probabilities_impl probabilities_impls[] = {
    {"ref", run_ref, cpu_always},
#if defined(__x86_64__)
    {"avx2", run_avx2, cpu_has_avx2},
    {"avx512", run_avx512, cpu_has_avx512},
#endif
    {NULL, NULL, NULL},
};

void probabilities_of(const double *margins, size_t n_classes, size_t stride, size_t n,
                      float *probabilities)
{
#if defined(__x86_64__)
    if (cpu_has_avx512()) {
        run_avx512(margins, n_classes, stride, n, probabilities);
        return;
    }
    if (cpu_has_avx2()) {
        run_avx2(margins, n_classes, stride, n, probabilities);
        return;
    }
#endif
    run_ref(margins, n_classes, stride, n, probabilities);
}
