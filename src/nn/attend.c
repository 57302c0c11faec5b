/* attend.c: the definition of attention by head, and the choice of its kernel; see attend.h.
 * The kernels are attend_body.h. Proof: tests/test_attend.c. */
#include "nn/attend.h"

#include "base/cpu.h"
#include "nn/vec.h"

#include <math.h>

static double score(const struct attend *a, size_t i, size_t j)
{
    double sum = 0;
    for (size_t c = 0; c < a->d; c++)
        sum += (double)a->q[i * a->stride + c] * a->k[j * a->stride + c];
    return sum * a->scale;
}

void attend_ref(const struct attend *a)
{
    for (size_t i = 0; i < a->t; i++) {
        double top = -INFINITY, total = 0;
        for (size_t j = 0; j < a->t; j++)
            top = fmax(top, score(a, i, j));
        for (size_t j = 0; j < a->t; j++)
            total += exp(score(a, i, j) - top);
        for (size_t c = 0; c < a->d; c++) {
            double y = 0;
            for (size_t j = 0; j < a->t; j++)
                y += exp(score(a, i, j) - top) * a->v[j * a->stride + c];
            a->y[i * a->stride + c] = (float)(y / total);
        }
    }
}

const struct attend_impl attend_impls[] = {
    {"ref", cpu_always, 1, attend_ref},
#if defined(__x86_64__)
    {"avx2", cpu_has_avx2, 16, attend_avx2},
    {"avx512", cpu_has_avx512, 32, attend_avx512},
#endif
    {NULL, NULL, 0, NULL},
};

void attend(const struct attend *a)
{
    const struct attend_impl *best = attend_impls;
    for (const struct attend_impl *i = attend_impls; i->name; i++)
        if (i->usable() && a->d % i->unit == 0)
            best = i;
    best->run(a);
}
