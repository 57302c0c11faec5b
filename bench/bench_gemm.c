/* bench_gemm.c: GFLOP/s of every usable kernel on encoder shapes, beside the peak of the core;
 * CSV on stdout. "packed": weights packed before, in float32, bfloat16 and int8 (activations
 * rounded before, too). */
#include "nn/gemm8_impl.h"

#include "base/cpu.h"
#include "base/memory.h"
#include "bench/peak.h"

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

typedef void run_fn(const void *product);

/* Median seconds of one product of `flops` operations. */
static double measure(run_fn *run, const void *product, double flops)
{
    double seconds[RUNS];
    size_t repeat = 1 + (size_t)(1e9 / flops);
    run(product);
    for (int i = 0; i < RUNS; i++) {
        double start = thread_seconds();
        for (size_t j = 0; j < repeat; j++)
            run(product);
        seconds[i] = (thread_seconds() - start) / (double)repeat;
    }
    qsort(seconds, RUNS, sizeof *seconds, by_value);
    return seconds[RUNS / 2];
}

static void report(const char *kernel, const char *what, const struct shape *x, run_fn *run,
                   const void *product)
{
    double flops = 2.0 * (double)x->m * (double)x->n * (double)x->k;
    double t = measure(run, product, flops), most = peak(kernel);
    printf("%s,%s,%zu,%zu,%zu,%.1f,%.1f,%.1f\n", kernel, what, x->m, x->n, x->k, t * 1e6,
           flops / t / 1e9, most);
}

struct product {
    const struct gemm_impl *impl;
    struct gemm g;
};

static void run_product(const void *product)
{
    const struct product *p = product;
    p->impl->run(&p->g);
}

/* One shape with B as it lies, and, where it may be a weight, packed. */
static void bench_shape(const struct gemm_impl *impl, const struct shape *x, const float *a,
                        const float *b, float *c)
{
    struct product p = {impl, {x->m, x->n, x->k, a, b, c, .ldc = x->n}};
    p.g.lda = x->transpose_a ? x->m : x->k;
    p.g.ldb = x->transpose_b ? x->k : x->n;
    p.g.transpose_a = x->transpose_a;
    p.g.transpose_b = x->transpose_b;
    p.g.accumulate = x->accumulate;
    report(impl->name, x->what, x, run_product, &p);
    if (x->transpose_a || !x->transpose_b || x->m < 48)
        return;
    size_t size = impl->packed_size(x->n, x->k);
    float *packed = mem_alloc64(size, sizeof *packed);
    uint16_t *half = mem_alloc64(size, sizeof *half);
    if (packed && half) {
        impl->pack(b, x->n, x->k, packed);
        gemm_halve(packed, size, half);
        p.g.packed = packed;
        report(impl->name, "packed", x, run_product, &p);
        p.g.packed_half = half;
        report(impl->name, "packed bfloat16", x, run_product, &p);
    }
    mem_free(packed);
    mem_free(half);
}

struct product8 {
    const struct gemm8_impl *impl;
    struct gemm8 g;
};

static void run_product8(const void *product)
{
    const struct product8 *p = product;
    p->impl->run(&p->g);
}

static void bench_int8(const struct gemm8_impl *impl, const struct shape *x, const float *a,
                       const float *b, float *c)
{
    size_t blocks = x->m * gemm8_blocks(x->k), stride = gemm8_stride_for(impl, x->k);
    struct gemm8_rows rows = {x->m, x->k, stride, mem_alloc64(x->m, stride), NULL, NULL};
    struct gemm8_weight *w = gemm8_weight_for(impl, b, x->n, x->k);
    rows.scale = mem_alloc(blocks, sizeof *rows.scale);
    rows.zero = mem_alloc(blocks, sizeof *rows.zero);
    if (w && rows.q && rows.scale && rows.zero) {
        impl->quantise(a, x->k, &rows);
        struct product8 p = {impl, {&rows, w, .y = c, .ldy = x->n, .last = x->n}};
        report(impl->name, "packed int8", x, run_product8, &p);
    }
    gemm8_weight_free(w);
    mem_free(rows.q);
    mem_free(rows.scale);
    mem_free(rows.zero);
}

int main(void)
{
    enum { FLOATS = 2048 * 1536, SHAPES = sizeof shapes / sizeof *shapes };
    float *a = mem_alloc64(FLOATS, sizeof *a), *b = mem_alloc64(FLOATS, sizeof *b);
    float *c = mem_alloc64(FLOATS, sizeof *c);
    if (!a || !b || !c)
        return 1;
    for (size_t i = 0; i < FLOATS; i++) {
        a[i] = (float)(i % 97) / 97 - 0.5f;
        b[i] = (float)(i % 89) / 89 - 0.5f;
        c[i] = 0;
    }
    printf("# %s, one thread, median of %d\nkernel,what,m,n,k,microseconds,gflops,peak\n",
           cpu_name(), RUNS);
    for (const struct gemm_impl *i = gemm_impls + 1; i->name; i++)
        for (size_t s = 0; i->usable() && s < SHAPES; s++)
            bench_shape(i, &shapes[s], a, b, c);
    for (size_t i = 1; gemm8_impls[i]; i++)
        for (size_t s = 0; gemm8_impls[i]->usable() && s < SHAPES; s++)
            if (shapes[s].transpose_b && shapes[s].n % 64 == 0)
                bench_int8(gemm8_impls[i], &shapes[s], a, b, c);
    mem_free(a);
    mem_free(b);
    mem_free(c);
    return 0;
}
