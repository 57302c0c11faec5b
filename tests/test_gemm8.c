/* test_gemm8.c: products with int8 weights. Every usable kernel gives the integers of the
 * definition at sizes around every tile edge; the error of rounding stays within its bound; a
 * row does not see its neighbours. */
#include "nn/gemm8_impl.h"

#include "base/memory.h"
#include "base/pool.h"
#include "base/rng.h"
#include "tests/tap.h"

static float *random_floats(struct rng *r, size_t n, double shift)
{
    float *p = mem_alloc(n + 1, sizeof *p);
    for (size_t i = 0; p && i < n; i++)
        p[i] = (float)(2 * rng_uniform(r) - 1 + shift);
    return p;
}

static struct gemm8_rows new_rows(const struct gemm8_impl *impl, size_t m, size_t k)
{
    struct gemm8_rows x = {.m = m, .k = k, .stride = gemm8_stride_for(impl, k)};
    x.q = mem_alloc64(m, x.stride);
    x.scale = mem_alloc(m * gemm8_blocks(k), sizeof *x.scale);
    x.zero = mem_alloc(m * gemm8_blocks(k), sizeof *x.zero);
    return x;
}

static void free_rows(struct gemm8_rows *x)
{
    mem_free(x->q);
    mem_free(x->scale);
    mem_free(x->zero);
}

/* y[m, n] by one kernel, rows n + 3 apart. */
static void product(const struct gemm8_impl *impl, const float *x, size_t m, const float *w,
                    size_t n, size_t k, const float *bias, float *y)
{
    struct gemm8_rows rows = new_rows(impl, m, k);
    struct gemm8_weight *weight = gemm8_weight_for(impl, w, n, k);
    struct gemm8 g = {.x = &rows, .w = weight, .bias = bias, .y = y, .ldy = n + 3, .last = n};
    impl->quantise(x, k, &rows);
    impl->run(&g);
    gemm8_weight_free(weight);
    free_rows(&rows);
}

static double largest(const float *x, size_t n)
{
    double top = 0;
    for (size_t i = 0; i < n; i++)
        top = fmax(top, fabs((double)x[i]));
    return top;
}

/* The definition against products in double: what half a step on each side may cost. */
static void test_rounding(void)
{
    enum { M = 9, N = 11, K = 300 };
    struct rng r;
    rng_init(&r, 3, 0);
    float *x = random_floats(&r, M * K, 0.4), *w = random_floats(&r, N * K, 0);
    float y[M * (N + 3)];
    double worst = 0;
    product(&gemm8_ref, x, M, w, N, K, NULL, y);
    for (size_t i = 0; i < M; i++)
        for (size_t j = 0; j < N; j++) {
            double exact = 0, sum_x = 0, sum_w = 0;
            for (size_t c = 0; c < K; c++) {
                exact += (double)x[i * K + c] * w[j * K + c];
                sum_x += fabs((double)x[i * K + c]);
                sum_w += fabs((double)w[j * K + c]);
            }
            double half_x = 2.0 / 255, half_w = largest(w + j * K, K) / 254; /* range is 2 */
            double bound = half_x * sum_w + half_w * sum_x + K * half_x * half_w;
            worst = fmax(worst, fabs(exact - y[i * (N + 3) + j]) / bound);
        }
    ok(worst < 1, "rounding costs %.3f of its bound", worst);
    mem_free(x);
    mem_free(w);
}

static void test_sizes(const struct gemm8_impl *impl)
{
    static const size_t m[] = {1, 2, 3, 5, 7, 11, 12, 13, 25, 97};
    static const size_t n[] = {1, 15, 16, 17, 31, 32, 33, 65, 200};
    static const size_t k[] = {1, 2, 3, 4, 5, 15, 16, 17, 63, 64, 65, 127, 128, 129, 384};
    struct rng r;
    rng_init(&r, 7, 0);
    size_t count = 0, wrong = 0, touched = 0;
    for (size_t a = 0; a < sizeof m / sizeof *m; a++)
        for (size_t b = 0; b < sizeof n / sizeof *n; b++)
            for (size_t c = 0; c < sizeof k / sizeof *k; c++) {
                double shift = (double)(count++ % 5) - 2; /* all of one sign, too */
                float *x = random_floats(&r, m[a] * k[c], shift);
                float *w = random_floats(&r, n[b] * k[c], 0),
                      *bias = random_floats(&r, n[b], 0);
                size_t stride = n[b] + 3, size = m[a] * stride;
                float *wanted = random_floats(&r, size, 0), *got = random_floats(&r, size, 0);
                memcpy(got, wanted, size * sizeof *got);
                product(&gemm8_ref, x, m[a], w, n[b], k[c], bias, wanted);
                product(impl, x, m[a], w, n[b], k[c], bias, got);
                for (size_t i = 0; i < size; i++) {
                    wrong += i % stride < n[b] && got[i] != wanted[i];
                    touched += i % stride >= n[b] && got[i] != wanted[i];
                }
                mem_free(x);
                mem_free(w);
                mem_free(bias);
                mem_free(wanted);
                mem_free(got);
            }
    ok(wrong == 0, "%s: %zu shapes, %zu numbers differ from the definition", impl->name, count,
       wrong);
    ok(touched == 0, "%s: nothing between rows is touched", impl->name);
}

/* Zeros, huge, tiny and not finite numbers: no trap, and rows of zeros stay exact. */
static void test_odd_rows(const struct gemm8_impl *impl)
{
    enum { M = 6, N = 5, K = 21 };
    float x[M * K] = {0}, w[N * K], bias[N] = {1, 2, 3, 4, 5}, y[M * (N + 3)];
    struct rng r;
    rng_init(&r, 4, 0);
    for (size_t i = 0; i < N * K; i++)
        w[i] = i / K == 3 ? 0 : (float)rng_uniform(&r);
    for (size_t c = 0; c < K; c++) {
        x[K + c] = 1e-38f;
        x[2 * K + c] = c % 2 ? 3e38f : -3e38f;
        x[3 * K + c] = c == 4 ? NAN : 1;
        x[4 * K + c] = c == 4 ? INFINITY : 1;
        x[5 * K + c] = 0.25f;
    }
    product(impl, x, M, w, N, K, bias, y);
    bool exact = true;
    for (size_t j = 0; j < N; j++)
        exact = exact && y[j] == bias[j];
    ok(exact, "%s: a row of zeros gives the bias", impl->name);
    ok(y[3] == 4 && y[5 * (N + 3) + 3] == 4, "%s: an output without weights gives the bias",
       impl->name);
}

/* Large numbers in one block leave the others as precise as they were. */
static void test_blocks(const struct gemm8_impl *impl)
{
    enum { K = 3 * GEMM8_BLOCK };
    struct rng r;
    rng_init(&r, 8, 0);
    float *x = random_floats(&r, K, 0), *w = random_floats(&r, K, 0), y;
    double exact = 0;
    for (size_t c = 0; c < K; c++) {
        bool large = c / GEMM8_BLOCK == 1;
        x[c] = large ? (float)(c % 2) * 1e6f : x[c];
        w[c] = large ? 0 : w[c];
        exact += (double)x[c] * w[c];
    }
    product(impl, x, 1, w, 1, K, NULL, &y);
    ok(fabs(exact - y) < 0.1, "%s: large activations disturb their own block alone: %.1e",
       impl->name, fabs(exact - y));
    mem_free(x);
    mem_free(w);
}

static void test_rows_alone(const struct gemm8_impl *impl)
{
    enum { M = 61, N = 77, K = 130 };
    struct rng r;
    rng_init(&r, 5, 0);
    float *x = random_floats(&r, M * K, 0), *w = random_floats(&r, N * K, 0);
    float *all = random_floats(&r, M * (N + 3), 0), one[N + 3];
    bool same = true;
    product(impl, x, M, w, N, K, NULL, all);
    for (size_t i = 0; i < M; i++) {
        product(impl, x + i * K, 1, w, N, K, NULL, one);
        same = same && memcmp(one, all + i * (N + 3), N * sizeof *one) == 0;
    }
    ok(same, "%s: a row alone has the same bits as among others", impl->name);
    mem_free(x);
    mem_free(w);
    mem_free(all);
}

static void test_parallel(void)
{
    enum { M = 33, N = 331, K = 129 };
    struct rng r;
    rng_init(&r, 6, 0);
    float *x = random_floats(&r, M * K, 0), *w = random_floats(&r, N * K, 0);
    float *one = random_floats(&r, M * N, 0), *many = random_floats(&r, M * N, 0);
    struct gemm8_weight *weight = gemm8_weight_new(w, N, K);
    struct gemm8_rows rows = {.m = M, .k = K, .stride = gemm8_stride(K)};
    rows.q = mem_alloc64(M, rows.stride);
    rows.scale = mem_alloc(M * gemm8_blocks(K), sizeof *rows.scale);
    rows.zero = mem_alloc(M * gemm8_blocks(K), sizeof *rows.zero);
    gemm8_quantise(x, K, &rows);
    struct gemm8 g = {.x = &rows, .w = weight, .act = ACT_GELU, .y = one, .ldy = N, .last = N};
    gemm8(&g);
    pool_set_threads(3);
    g.y = many;
    gemm8_parallel(&g);
    ok(memcmp(one, many, M * N * sizeof *one) == 0, "parallel gives the same bits");
    ok(gemm8_weight_bytes(weight) >= N * K, "its bytes are counted");
    gemm8_weight_free(weight);
    free_rows(&rows);
    mem_free(x);
    mem_free(w);
    mem_free(one);
    mem_free(many);
}

int main(void)
{
    test_rounding();
    for (size_t i = 0; gemm8_impls[i]; i++) {
        if (!gemm8_impls[i]->usable())
            continue;
        if (i)
            test_sizes(gemm8_impls[i]);
        test_odd_rows(gemm8_impls[i]);
        test_blocks(gemm8_impls[i]);
        test_rows_alone(gemm8_impls[i]);
    }
    test_parallel();
    return tap_done();
}
