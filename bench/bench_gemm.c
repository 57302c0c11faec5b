/* bench_gemm.c: GFLOP/s of every usable kernel on encoder shapes; CSV on stdout. */
#include "nn/gemm.h"

#include "base/cpu.h"
#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>

enum { RUNS = 7 };

struct shape {
    const char *what;
    size_t m, n, k;
    bool transpose_a, transpose_b, accumulate;
};

static const struct shape shapes[] = {
    {"forward", 768, 384, 384, false, true, false},
    {"forward", 768, 1536, 384, false, true, false},
    {"forward", 768, 384, 1536, false, true, false},
    {"forward", 2048, 384, 384, false, true, false},
    {"forward", 2048, 1536, 384, false, true, false},
    {"forward", 2048, 384, 1536, false, true, false},
    {"dx", 768, 384, 384, false, false, true},
    {"dx", 768, 384, 1536, false, false, true},
    {"dx", 768, 1536, 384, false, false, true},
    {"dw", 384, 384, 768, true, false, true},
    {"dw", 1536, 384, 768, true, false, true},
    {"dw", 384, 1536, 768, true, false, true},
    {"one pair", 48, 384, 384, false, true, false},
    {"one pair", 48, 1536, 384, false, true, false},
    {"one row", 1, 384, 384, false, true, false},
    {"eight rows", 8, 384, 384, false, true, false},
    {"classes", 768, 4, 384, false, true, false},
    {"scores", 48, 48, 32, false, true, false},
    {"context", 48, 32, 48, false, false, false},
};

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median seconds of one product. */
static double measure(const struct gemm_impl *impl, const struct gemm *g)
{
    double flops = 2.0 * (double)g->m * (double)g->n * (double)g->k, seconds[RUNS];
    size_t repeat = 1 + (size_t)(1e9 / flops);
    impl->run(g);
    for (int i = 0; i < RUNS; i++) {
        double start = clock_seconds();
        for (size_t j = 0; j < repeat; j++)
            impl->run(g);
        seconds[i] = (clock_seconds() - start) / (double)repeat;
    }
    qsort(seconds, RUNS, sizeof *seconds, by_value);
    return seconds[RUNS / 2];
}

int main(void)
{
    enum { FLOATS = 2048 * 1536 };
    float *a = mem_alloc64(FLOATS, sizeof *a), *b = mem_alloc64(FLOATS, sizeof *b);
    float *c = mem_alloc64(FLOATS, sizeof *c);
    if (!a || !b || !c)
        return 1;
    for (size_t i = 0; i < FLOATS; i++) {
        a[i] = (float)(i % 97) / 97 - 0.5f;
        b[i] = (float)(i % 89) / 89 - 0.5f;
        c[i] = 0;
    }
    printf("# %s, one thread, median of %d\nkernel,what,m,n,k,microseconds,gflops\n",
           cpu_name(), RUNS);
    for (const struct gemm_impl *i = gemm_impls + 1; i->name; i++)
        for (size_t s = 0; i->usable() && s < sizeof shapes / sizeof *shapes; s++) {
            const struct shape *x = &shapes[s];
            struct gemm g = {x->m, x->n, x->k, a, b, c, .ldc = x->n};
            g.lda = x->transpose_a ? x->m : x->k;
            g.ldb = x->transpose_b ? x->k : x->n;
            g.transpose_a = x->transpose_a;
            g.transpose_b = x->transpose_b;
            g.accumulate = x->accumulate;
            double t = measure(i, &g), flops = 2.0 * (double)x->m * (double)x->n * (double)x->k;
            printf("%s,%s,%zu,%zu,%zu,%.1f,%.1f\n", i->name, x->what, x->m, x->n, x->k, t * 1e6,
                   flops / t / 1e9);
        }
    mem_free(a);
    mem_free(b);
    mem_free(c);
    return 0;
}
