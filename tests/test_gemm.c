/* test_gemm.c: every usable kernel against the definition, at sizes around every tile edge. */
#include "nn/gemm_impl.h"

#include "base/memory.h"
#include "base/pool.h"
#include "base/rng.h"
#include "nn/vec.h"
#include "tests/tap.h"

#include <pthread.h>

static float *random_floats(struct rng *r, size_t n)
{
    float *p = mem_alloc(n + 1, sizeof *p);
    for (size_t i = 0; p && i < n; i++)
        p[i] = (float)(2 * rng_uniform(r) - 1);
    return p;
}

enum mode { PLAIN, ACCUMULATE, BIAS, MODES };

struct example {
    size_t m, n, k;
    bool transpose_a, transpose_b;
    enum mode mode;
    size_t slack; /* extra floats per row, so that leading dimensions differ from widths */
};

/* The largest error as a share of what k roundings of sums of numbers below 1 may bring. */
static double worst(const struct gemm_impl *impl, const struct example *e, struct rng *r)
{
    struct gemm g = {.m = e->m, .n = e->n, .k = e->k};
    g.transpose_a = e->transpose_a;
    g.transpose_b = e->transpose_b;
    g.lda = (e->transpose_a ? e->m : e->k) + e->slack;
    g.ldb = (e->transpose_b ? e->k : e->n) + e->slack;
    g.ldc = e->n + e->slack;
    size_t c_size = e->m * g.ldc;
    float *a = random_floats(r, (e->transpose_a ? e->k : e->m) * g.lda);
    float *b = random_floats(r, (e->transpose_b ? e->n : e->k) * g.ldb);
    float *bias = random_floats(r, e->n), *wanted = random_floats(r, c_size);
    float *got = random_floats(r, c_size);
    memcpy(got, wanted, c_size * sizeof *got);
    g.a = a;
    g.b = b;
    g.accumulate = e->mode == ACCUMULATE;
    g.bias = e->mode == BIAS ? bias : NULL;
    g.c = wanted;
    gemm_ref(&g);
    g.c = got;
    impl->run(&g);
    double error = 0;
    for (size_t i = 0; i < c_size; i++)
        error = fmax(error, fabs((double)wanted[i] - got[i]));
    for (size_t i = 0; i < c_size; i++) /* between rows nothing may change */
        if (i % g.ldc >= e->n && wanted[i] != got[i])
            error = INFINITY;
    mem_free(a);
    mem_free(b);
    mem_free(bias);
    mem_free(wanted);
    mem_free(got);
    return error / (1.2e-7 * (2 + (double)e->k));
}

static void test_sizes(const struct gemm_impl *impl)
{
    static const size_t m[] = {1, 2, 3, 5, 7, 11, 12, 13, 23, 24, 25, 97, 109};
    static const size_t n[] = {1, 2, 4, 15, 16, 17, 31, 32, 33, 48, 65, 1600};
    static const size_t k[] = {0, 1, 2, 7, 8, 9, 31, 64, 385, 800};
    struct rng r;
    rng_init(&r, 17, 0);
    double error = 0;
    size_t count = 0;
    for (size_t x = 0; x < sizeof m / sizeof *m; x++)
        for (size_t y = 0; y < sizeof n / sizeof *n; y++)
            for (size_t z = 0; z < sizeof k / sizeof *k; z++) {
                if (m[x] * n[y] * k[z] > 2000000)
                    continue;
                count++; /* walks through the 4 transpositions and 3 modes */
                struct example e = {m[x],      n[y],          k[z],     count & 1,
                                    count & 2, count / 4 % 3, count % 5};
                error = fmax(error, worst(impl, &e, &r));
            }
    ok(error < 1, "%s: %zu shapes, largest error %.2f of the bound", impl->name, count, error);
    for (int which = 0; which < 4 * MODES; which++) {
        struct example e = {53, 71, 90, which & 1, which & 2, which / 4, 3};
        error = worst(impl, &e, &r);
        ok(error < 1, "%s: transposes %d%d, mode %d: %.2f", impl->name, e.transpose_a,
           e.transpose_b, e.mode, error);
    }
}

/* A row's bits must not depend on how many rows come with it. */
static void test_rows_alone(const struct gemm_impl *impl)
{
    enum { M = 61, N = 77, K = 500 };
    struct rng r;
    rng_init(&r, 5, 0);
    float *a = random_floats(&r, M * K), *b = random_floats(&r, N * K);
    float *all = random_floats(&r, M * N), one[N];
    bool same = true;
    for (int transpose_b = 0; transpose_b < 2; transpose_b++) {
        struct gemm g = {.m = M, .n = N, .k = K, .a = a, .b = b, .c = all, .lda = K, .ldc = N};
        g.transpose_b = transpose_b;
        g.ldb = transpose_b ? K : N;
        impl->run(&g);
        for (size_t i = 0; i < M; i++) {
            g.m = 1;
            g.a = a + i * K;
            g.c = one;
            impl->run(&g);
            same = same && memcmp(one, all + i * N, sizeof one) == 0;
        }
    }
    ok(same, "%s: a row alone has the same bits as among others", impl->name);
    mem_free(a);
    mem_free(b);
    mem_free(all);
}

/* Packed weights give the bits of unpacked ones, by any kernel; in bfloat16 those of the
 * rounded weights; the activation comes on top. */
static void test_packed(const struct gemm_impl *impl)
{
    static const size_t sizes[][3] = {{1, 1, 1},     {5, 33, 7},    {13, 4, 64},
                                      {64, 65, 385}, {97, 130, 96}, {12, 1601, 9},
                                      {30, 48, 1600}};
    struct rng r;
    rng_init(&r, 23, 0);
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        size_t m = sizes[s][0], n = sizes[s][1], k = sizes[s][2];
        size_t size = impl->packed_size(n, k);
        float *a = random_floats(&r, m * k), *b = random_floats(&r, n * k);
        float *bias = random_floats(&r, n), *packed = random_floats(&r, size);
        float *wanted = random_floats(&r, m * n), *got = random_floats(&r, m * n);
        uint16_t *half = mem_alloc(size, sizeof *half);
        struct gemm g = {.m = m, .n = n, .k = k, .a = a, .b = b, .bias = bias};
        g.lda = g.ldb = k;
        g.ldc = n;
        g.transpose_b = true;
        g.c = wanted;
        impl->run(&g);
        impl->pack(b, n, k, packed);
        g.c = got;
        g.b = NULL;
        g.packed = packed;
        impl->run(&g);
        ok(memcmp(wanted, got, m * n * sizeof *got) == 0, "%s: packed, %zu x %zu x %zu",
           impl->name, m, n, k);
        vec()->activate_rows(ACT_GELU, wanted, m, n, n);
        g.act = ACT_GELU;
        impl->run(&g);
        double error = 0;
        for (size_t i = 0; i < m * n; i++)
            error = fmax(error, fabs((double)wanted[i] - got[i]));
        ok(error < 1e-5, "%s: with GELU: %.1e", impl->name, error);
        gemm_halve(packed, size, half);
        for (size_t i = 0; i < n * k; i++) { /* b, rounded the slow way */
            uint16_t bits;
            gemm_halve(b + i, 1, &bits);
            b[i] = ldexpf((float)((bits & 0x7f) + (bits & 0x7f80 ? 0x80 : 0)),
                          (bits >> 7 & 0xff) - 134);
            b[i] = bits & 0x8000 ? -b[i] : b[i];
        }
        g = (struct gemm){.m = m, .n = n, .k = k, .a = a, .b = b, .c = wanted, .bias = bias};
        g.lda = g.ldb = k;
        g.ldc = n;
        g.transpose_b = true;
        impl->run(&g);
        g.c = got;
        g.b = NULL;
        g.packed_half = half;
        impl->run(&g);
        ok(memcmp(wanted, got, m * n * sizeof *got) == 0, "%s: packed in bfloat16", impl->name);
        mem_free(a);
        mem_free(b);
        mem_free(bias);
        mem_free(packed);
        mem_free(half);
        mem_free(wanted);
        mem_free(got);
    }
}

static void test_halving(void)
{
    static const float x[] = {0, -0.0f, 1, -1, 1.00390625f, 1.01171875f, 1.005f, 1e-40f, 3e38f};
    static const uint16_t wanted[] = {0,      0x8000, 0x3f80, 0xbf80, 0x3f80,
                                      0x3f82, 0x3f81, 1,      0x7f62};
    uint16_t half[9];
    gemm_halve(x, 9, half);
    ok(memcmp(half, wanted, sizeof half) == 0, "bfloat16: nearest, ties to even");
}

static void test_parallel(void)
{
    enum { M = 331, N = 65, K = 129 };
    struct rng r;
    rng_init(&r, 6, 0);
    float *a = random_floats(&r, M * K), *b = random_floats(&r, N * K);
    float *one = random_floats(&r, M * N), *many = random_floats(&r, M * N);
    for (int transpose_a = 0; transpose_a < 2; transpose_a++) {
        struct gemm g = {.m = M, .n = N, .k = K, .a = a, .b = b, .c = one, .ldb = N, .ldc = N};
        g.transpose_a = transpose_a;
        g.lda = transpose_a ? M : K;
        gemm(&g);
        g.c = many;
        pool_set_threads(3);
        gemm_parallel(&g);
        ok(memcmp(one, many, M * N * sizeof *one) == 0, "parallel gives the same bits (%d)",
           transpose_a);
    }
    size_t size = gemm_packed_size(N, K);
    float *packed = random_floats(&r, size);
    gemm_pack(b, N, K, packed);
    struct gemm g = {.m = M, .n = N, .k = K, .a = a, .packed = packed, .c = one};
    g.lda = K;
    g.ldc = N;
    gemm(&g);
    g.c = many;
    gemm_parallel(&g);
    ok(memcmp(one, many, M * N * sizeof *one) == 0, "parallel over packed columns: the same");
    mem_free(packed);
    mem_free(a);
    mem_free(b);
    mem_free(one);
    mem_free(many);
}

static void *without_memory(void *context)
{
    mem_fail_after(0);
    gemm(context);
    mem_fail_after(SIZE_MAX);
    return NULL;
}

/* A fresh thread has no packing space; without memory for it the product is still right. */
static void test_no_memory(void)
{
    float a[6] = {1, 2, 3, 4, 5, 6}, b[6] = {1, 0, 0, 1, 1, 1}, c[4] = {0};
    struct gemm g = {
        .m = 2, .n = 2, .k = 3, .a = a, .b = b, .c = c, .lda = 3, .ldb = 2, .ldc = 2};
    pthread_t thread;
    ok(pthread_create(&thread, NULL, without_memory, &g) == 0, "a thread starts");
    pthread_join(thread, NULL);
    ok(c[0] == 4 && c[1] == 5 && c[2] == 10 && c[3] == 11,
       "out of memory: the product is right");
}

int main(void)
{
    for (const struct gemm_impl *i = gemm_impls; i->name; i++) {
        if (!i->usable())
            continue;
        test_sizes(i);
        if (i != gemm_impls)
            test_rows_alone(i);
        test_packed(i);
    }
    test_halving();
    test_parallel();
    test_no_memory();
    return tap_done();
}
