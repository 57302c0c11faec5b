/* test_vec.c: every usable row of vector loops against the scalar definition, at every tail
 * length. Tolerances are in units of 2^-24 of the scale at hand. */
#include "nn/vec.h"

#include "base/memory.h"
#include "base/rng.h"
#include "tests/tap.h"

enum { MAX = 70, SLACK = 8 };

struct data {
    float a[MAX], b[MAX], c[MAX], d[MAX], e[MAX];
};

static void fill(struct data *d, uint64_t stream)
{
    struct rng r;
    rng_init(&r, 11, stream);
    float *all[] = {d->a, d->b, d->c, d->d, d->e};
    for (int i = 0; i < 5; i++)
        for (int j = 0; j < MAX; j++)
            all[i][j] = (float)(2 * rng_normal(&r));
}

/* Largest |got - wanted| / (1 + |wanted|) in ulps of 1; what lies past n must be untouched. */
static double distance(const float *wanted, const float *got, size_t n)
{
    double worst = 0;
    for (size_t i = 0; i < MAX; i++) {
        double w = wanted[i], g = got[i];
        double e = fabs(w - g) / (1 + fabs(w)) * 16777216;
        if (!(e == e) || (i >= n && w != g))
            return INFINITY;
        worst = fmax(worst, e);
    }
    return worst;
}

/* One loop run by `v` on d for n elements; results end up in d->a .. d->e. */
typedef void loop(const struct vec_impl *v, struct data *d, size_t n);

static void run_add_scaled(const struct vec_impl *v, struct data *d, size_t n)
{
    v->add_scaled(d->a, d->a, 0.7f, d->b, n);
}

static void run_multiply(const struct vec_impl *v, struct data *d, size_t n)
{
    v->multiply(d->a, d->b, d->c, n);
}

static void run_multiply_add(const struct vec_impl *v, struct data *d, size_t n)
{
    v->multiply_add(d->a, d->b, d->c, n);
}

static void run_dot(const struct vec_impl *v, struct data *d, size_t n)
{
    d->c[0] = n ? v->dot(d->a, d->b, n) / (float)n : 0;
}

static void run_sum_squares(const struct vec_impl *v, struct data *d, size_t n)
{
    d->c[0] = n ? (float)(v->sum_squares(d->a, n) / (double)n) : 0;
}

static void run_drain(const struct vec_impl *v, struct data *d, size_t n)
{
    memset(d->b, 0, 20 * sizeof *d->b); /* the shortcut for zeros */
    v->drain(d->a, d->b, n);
}

static void run_slope_columns(const struct vec_impl *v, struct data *d, size_t n)
{
    v->slope_columns(d->a, d->b, d->c, 1, n);
    v->slope_columns(d->d, NULL, d->e, n / 5, 5);
    v->slope_columns(d->d, d->b, NULL, n / 3, 3);
}

static void run_softmax(const struct vec_impl *v, struct data *d, size_t n)
{
    if (n)
        v->softmax(d->a, n, 0.6f);
}

static void run_softmax_back(const struct vec_impl *v, struct data *d, size_t n)
{
    if (n)
        vec_ref.softmax(d->a, n, 1);
    v->softmax_back(d->a, d->b, n, 0.6f);
}

static void run_norm(const struct vec_impl *v, struct data *d, size_t n)
{
    struct norm_rows a = {.rows = 1, .cols = n, .eps = 1e-5f, .x = d->a, .gamma = d->b};
    a.beta = d->c;
    a.y = d->d;
    if (!n)
        return;
    v->norm(&a);
    a.residual = d->c;
    a.normal = d->e;
    float rdev;
    a.rdev = &rdev;
    v->norm(&a);
    d->a[0] = rdev;
}

static void run_norm_back(const struct vec_impl *v, struct data *d, size_t n)
{
    float rdev = 0.8f, gamma[MAX], more[MAX] = {0};
    memcpy(gamma, d->c, sizeof gamma);
    struct norm_grads a = {.rows = 1, .cols = n, .rdev = &rdev, .gamma = gamma};
    a.dy = d->a;
    a.normal = d->b;
    a.dx = d->c;
    a.dgamma = d->d;
    a.dbeta = d->e;
    if (n)
        v->norm_back(&a);
    a.dgamma = a.dbeta = a.dx = NULL;
    a.dresidual = more;
    if (n)
        v->norm_back(&a);
    for (size_t i = 0; i < n; i++)
        d->c[i] += more[i];
}

static void run_drop(const struct vec_impl *v, struct data *d, size_t n)
{
    struct drop_mask half = drop_mask_of(1, 2, 0.5f), none = drop_mask_of(1, 3, 0);
    v->drop(d->a, d->b, n, &half, 12345, true);
    v->drop(d->c, d->c, n, &none, 0, false);
    v->drop(d->d, d->e, n, &half, UINT32_MAX - 20, false); /* the index wraps */
}

static void run_adamw(const struct vec_impl *v, struct data *d, size_t n)
{
    struct adamw_span a = {
        .n = n, .p = d->a, .m = d->b, .v = d->c, .g = d->d, .grad_scale = 0.9f};
    a.beta1 = 0.9f;
    a.beta2 = 0.999f;
    a.rest1 = 0.1f;
    a.rest2 = 0.001f;
    a.epsilon = 1e-8f;
    a.keep = 0.99f;
    a.step = 0.01f;
    a.rsqrt_correction = 3;
    for (size_t i = 0; i < MAX; i++)
        d->c[i] = d->c[i] * d->c[i] + 0.01f;
    v->adamw(&a);
}

#define ACTIVATION_RUN(name, act)                                              \
    static void run_##name(const struct vec_impl *v, struct data *d, size_t n) \
    {                                                                          \
        v->activate(act, d->a, d->b, d->c, n);                                 \
        v->activate(act, d->a, d->a, NULL, n);                                 \
    }
ACTIVATION_RUN(none, ACT_NONE)
ACTIVATION_RUN(relu, ACT_RELU)
ACTIVATION_RUN(gelu, ACT_GELU)
ACTIVATION_RUN(gelu_tanh, ACT_GELU_TANH)
ACTIVATION_RUN(tanh, ACT_TANH)
ACTIVATION_RUN(elu, ACT_ELU)
ACTIVATION_RUN(silu, ACT_SILU)

static const struct {
    const char *name;
    loop *run;
    double tolerance; /* of distance() */
} loops[] = {
    {"add_scaled", run_add_scaled, 3}, /* the definition rounds the product, of up to 30 */
    {"multiply", run_multiply, 0},
    {"multiply_add", run_multiply_add, 4},
    {"dot", run_dot, 8}, /* order of a sum; the definition sums in double */
    {"sum_squares", run_sum_squares, 8},
    {"drain", run_drain, 0},
    {"slope_columns", run_slope_columns, 2},
    {"softmax", run_softmax, 8},
    {"softmax_back", run_softmax_back, 12},
    {"norm", run_norm, 40}, /* n = 1: the deviation is sqrt(eps) */
    {"norm_back", run_norm_back, 40},
    {"drop", run_drop, 1.01},
    {"adamw", run_adamw, 4},
    {"none", run_none, 0},
    {"relu", run_relu, 0},
    {"gelu", run_gelu, 4},
    {"gelu_tanh", run_gelu_tanh, 12}, /* slope: tanh of a cube, and cancellation */
    {"tanh", run_tanh, 3},
    {"elu", run_elu, 3},
    {"silu", run_silu, 4},
};

static void test_loop(const struct vec_impl *v, size_t which)
{
    double worst = 0;
    for (size_t n = 0; n <= MAX; n++) {
        struct data wanted, got;
        fill(&wanted, n);
        got = wanted;
        loops[which].run(&vec_ref, &wanted, n);
        loops[which].run(v, &got, n);
        worst = fmax(worst, distance(wanted.a, got.a, n));
        worst = fmax(worst, distance(wanted.b, got.b, n));
        worst = fmax(worst, distance(wanted.c, got.c, n ? n : 1)); /* sums stand in c[0] */
        worst = fmax(worst, distance(wanted.d, got.d, n));
        worst = fmax(worst, distance(wanted.e, got.e, n));
    }
    ok(worst <= loops[which].tolerance, "%s %s: %.2f ulps (%.2f allowed)", v->name,
       loops[which].name, worst, loops[which].tolerance);
}

/* Activations over their whole range, against double: errors relative to max(|y|, |z| / 4,
 * 1e-3). */
static void test_range(const struct vec_impl *v)
{
    enum { COUNT = 400000 };
    float *z = mem_alloc(COUNT, sizeof *z), *y = mem_alloc(COUNT, sizeof *y);
    float *slope = mem_alloc(COUNT, sizeof *slope), *wanted = mem_alloc(COUNT, sizeof *wanted);
    float *wanted_slope = mem_alloc(COUNT, sizeof *wanted_slope);
    for (int i = 0; i < COUNT; i++)
        z[i] = (float)(i - COUNT / 2) / (COUNT / 2) * 30;
    for (int act = ACT_NONE; act <= ACT_SILU; act++) {
        v->activate(act, z, y, slope, COUNT);
        vec_ref.activate(act, z, wanted, wanted_slope, COUNT);
        double worst = 0, worst_slope = 0;
        for (int i = 0; i < COUNT; i++) {
            double size = fmax(fmax(fabs(wanted[i]), fabs(z[i]) / 4), 1e-3);
            worst = fmax(worst, fabs((double)wanted[i] - y[i]) / size * 16777216);
            worst_slope =
                fmax(worst_slope, fabs((double)wanted_slope[i] - slope[i]) * 16777216);
        }
        ok(worst < 6 && worst_slope < 20, "%s activation %d: %.1f and %.1f ulps", v->name, act,
           worst, worst_slope);
    }
    mem_free(z);
    mem_free(y);
    mem_free(slope);
    mem_free(wanted);
    mem_free(wanted_slope);
}

static void test_extremes(const struct vec_impl *v)
{
    float x[5] = {-1e30f, 3e38f, 0, -3e38f, 80};
    v->softmax(x, 5, 1);
    ok(x[1] == 1 && x[0] < 1e-37f && x[3] < 1e-37f, "%s softmax of extreme numbers", v->name);
    float z[4] = {-1e30f, 1e30f, -200, 200}, y[4], slope[4];
    bool finite = true;
    for (int act = ACT_NONE; act <= ACT_SILU; act++) {
        v->activate(act, z, y, slope, 4);
        for (int i = 0; i < 4; i++)
            finite = finite && (isfinite(y[i]) || act == ACT_GELU_TANH) && !isnan(y[i]);
    }
    ok(finite, "%s activations of extreme numbers", v->name);
}

int main(void)
{
    for (size_t i = 1; vec_impls[i]; i++) {
        if (!vec_impls[i]->usable())
            continue;
        for (size_t j = 0; j < sizeof loops / sizeof *loops; j++)
            test_loop(vec_impls[i], j);
        test_range(vec_impls[i]);
        test_extremes(vec_impls[i]);
    }
    ok(vec()->usable(), "a row is chosen: %s", vec()->name);
    return tap_done();
}
