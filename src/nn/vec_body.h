/* vec_body.h: the loops of vec.h in vectors, written once and included by vec_avx2.c and
 * vec_avx512.c, which define TARGET, V (floats), VI (32-bit integers), VL (their number), the
 * operations on them below, and ROW, the name of the table row made here.
 *
 * A loop takes VL elements at a time; load and store handle a shorter rest by way of the stack,
 * so that no memory past an array is touched. Arithmetic on V uses the compiler's vector
 * operators. */

#include "nn/vec.h"

#include "base/cpu.h"

#include <string.h>

#define INLINE TARGET static inline __attribute__((always_inline))

INLINE V load(const float *p, size_t n)
{
    if (n >= VL)
        return LOADU(p);
    float rest[VL] = {0};
    memcpy(rest, p, n * sizeof *p);
    return LOADU(rest);
}

INLINE void store(float *p, V v, size_t n)
{
    if (n >= VL) {
        STOREU(p, v);
        return;
    }
    float rest[VL];
    STOREU(rest, v);
    memcpy(p, rest, n * sizeof *p);
}

INLINE V set(float x)
{
    return SET1(x);
}

/* ---- functions ---- */

/* e^x = 2^k e^r with r in [-ln2/2, ln2/2] and e^r - 1 as a polynomial (the coefficients of
 * Cephes' expf; about 1 ulp). Arguments are clamped to the range of normal results. */
INLINE V exp_parts(V x, V *k)
{
    x = MIN(MAX(x, set(-87.33654f)), set(88.37626f));
    *k = ROUND(x * set(1.44269504088896341f));
    V r = FMA(*k, set(-0.693359375f), x);
    r = FMA(*k, set(2.12194440e-4f), r);
    V p = set(1.9875691500e-4f);
    p = FMA(p, r, set(1.3981999507e-3f));
    p = FMA(p, r, set(8.3334519073e-3f));
    p = FMA(p, r, set(4.1665795894e-2f));
    p = FMA(p, r, set(1.6666665459e-1f));
    p = FMA(p, r, set(5.0000001201e-1f));
    return FMA(p, r * r, r);
}

INLINE V power_of_two(V k)
{
    return AS_FLOAT(SHL(IADD(TO_INT(k), ISET1(127)), 23));
}

INLINE V exponential(V x)
{
    V k, e = exp_parts(x, &k);
    V scale = power_of_two(k);
    return FMA(e, scale, scale);
}

/* e^x - 1 without cancellation near 0. */
INLINE V exponential_minus_one(V x)
{
    V k, e = exp_parts(x, &k);
    V scale = power_of_two(k);
    return FMA(e, scale, scale - set(1));
}

INLINE V magnitude(V x)
{
    return AS_FLOAT(IAND(AS_INT(x), ISET1(0x7fffffff)));
}

/* `x` with the sign of `s`. */
INLINE V with_sign(V x, V s)
{
    return AS_FLOAT(IOR(AS_INT(x), IAND(AS_INT(s), ISET1((int)0x80000000u))));
}

/* Juffa's minimax approximation of erf, about 1 ulp: odd polynomial near 0, else 1 - e^(poly).
 */
INLINE V error_function(V a)
{
    V t = magnitude(a), s = a * a;
    V far = FMA(set(-1.72853470e-5f), t, set(3.83197126e-4f));
    V u = FMA(set(-3.88396438e-3f), t, set(2.42546219e-2f));
    far = FMA(far, s, u);
    far = FMA(far, t, set(-1.06777877e-1f));
    far = FMA(far, t, set(-6.34846687e-1f));
    far = FMA(far, t, set(-1.28717512e-1f));
    far = FMA(far, t, set(0) - t);
    far = with_sign(set(1) - exponential(far), a);
    V near = set(-5.96761703e-4f);
    near = FMA(near, s, set(4.99119423e-3f));
    near = FMA(near, s, set(-2.67681349e-2f));
    near = FMA(near, s, set(1.12819925e-1f));
    near = FMA(near, s, set(-3.76125336e-1f));
    near = FMA(near, s, set(1.28379166e-1f));
    near = FMA(near, a, a);
    return SELECT(GREATER(t, set(0.927734375f)), far, near);
}

/* Cephes' tanhf: polynomial below 0.625, else by the exponential. */
INLINE V hyperbolic_tangent(V x)
{
    V t = magnitude(x), s = x * x;
    V far = with_sign(set(1) - set(2) / (exponential(t + t) + set(1)), x);
    V near = set(-5.70498872745e-3f);
    near = FMA(near, s, set(2.06390887954e-2f));
    near = FMA(near, s, set(-5.37397155531e-2f));
    near = FMA(near, s, set(1.33314422036e-1f));
    near = FMA(near, s, set(-3.33332819422e-1f));
    near = FMA(near * s, x, x);
    return SELECT(GREATER(t, set(0.625f)), far, near);
}

/* ---- activations: y, and act'(z) through `slope` ---- */

INLINE V act_relu(V z, V *slope)
{
    *slope = SELECT(GREATER(z, set(0)), set(1), set(0));
    return MAX(z, set(0));
}

INLINE V act_gelu(V z, V *slope)
{
    V phi = FMA(set(0.5f), error_function(z * set(0.70710678118654752f)), set(0.5f));
    *slope = FMA(z * set(0.39894228040143268f), exponential(z * z * set(-0.5f)), phi);
    return z * phi;
}

INLINE V act_gelu_tanh(V z, V *slope)
{
    V z2 = z * z, c = set(0.79788456080286536f);
    V t = hyperbolic_tangent(c * FMA(set(0.044715f) * z2, z, z));
    V inner = c * FMA(set(3 * 0.044715f), z2, set(1));
    V half = FMA(set(0.5f), t, set(0.5f));
    *slope = FMA(set(0.5f) * z * inner, set(1) - t * t, half);
    return z * half;
}

INLINE V act_tanh(V z, V *slope)
{
    V t = hyperbolic_tangent(z);
    *slope = set(1) - t * t;
    return t;
}

INLINE V act_elu(V z, V *slope)
{
    V below = exponential_minus_one(MIN(z, set(0)));
    *slope = below + set(1); /* 1 where z > 0, as below is 0 there */
    return SELECT(GREATER(z, set(0)), z, below);
}

INLINE V act_silu(V z, V *slope)
{
    V s = set(1) / (set(1) + exponential(set(0) - z));
    *slope = s * FMA(z, set(1) - s, set(1));
    return z * s;
}

INLINE V act_none(V z, V *slope)
{
    *slope = set(1);
    return z;
}

#define ACTIVATION_LOOP(name)                                                         \
    TARGET static void name##_loop(const float *z, float *y, float *slope, size_t n)  \
    {                                                                                 \
        for (size_t i = 0; i < n; i += VL) {                                          \
            V d, v = name(load(z + i, n - i), &d);                                    \
            store(y + i, v, n - i);                                                   \
            if (slope)                                                                \
                store(slope + i, d, n - i);                                           \
        }                                                                             \
    }                                                                                 \
    TARGET static void name##_rows(float *y, size_t rows, size_t cols, size_t stride) \
    {                                                                                 \
        for (size_t r = 0; r < rows; r++, y += stride)                                \
            for (size_t i = 0; i < cols; i += VL) {                                   \
                V d;                                                                  \
                store(y + i, name(load(y + i, cols - i), &d), cols - i);              \
            }                                                                         \
    }
ACTIVATION_LOOP(act_none)
ACTIVATION_LOOP(act_relu)
ACTIVATION_LOOP(act_gelu)
ACTIVATION_LOOP(act_gelu_tanh)
ACTIVATION_LOOP(act_tanh)
ACTIVATION_LOOP(act_elu)
ACTIVATION_LOOP(act_silu)

static void activate(enum activation act, const float *z, float *y, float *slope, size_t n)
{
    static void (*const loops[])(const float *, float *, float *, size_t) = {
        [ACT_NONE] = act_none_loop, [ACT_RELU] = act_relu_loop,
        [ACT_GELU] = act_gelu_loop, [ACT_GELU_TANH] = act_gelu_tanh_loop,
        [ACT_TANH] = act_tanh_loop, [ACT_ELU] = act_elu_loop,
        [ACT_SILU] = act_silu_loop,
    };
    loops[act](z, y, slope, n);
}

static void activate_rows(enum activation act, float *y, size_t rows, size_t cols,
                          size_t stride)
{
    static void (*const loops[])(float *, size_t, size_t, size_t) = {
        [ACT_NONE] = act_none_rows, [ACT_RELU] = act_relu_rows,
        [ACT_GELU] = act_gelu_rows, [ACT_GELU_TANH] = act_gelu_tanh_rows,
        [ACT_TANH] = act_tanh_rows, [ACT_ELU] = act_elu_rows,
        [ACT_SILU] = act_silu_rows,
    };
    loops[act](y, rows, cols, stride);
}

/* ---- arithmetic ---- */

TARGET static void add_scaled(float *out, const float *a, float s, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i += VL)
        store(out + i, FMA(set(s), load(b + i, n - i), load(a + i, n - i)), n - i);
}

TARGET static void multiply(float *out, const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i += VL)
        store(out + i, load(a + i, n - i) * load(b + i, n - i), n - i);
}

TARGET static void multiply_add(float *out, const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i += VL)
        store(out + i, FMA(load(a + i, n - i), load(b + i, n - i), load(out + i, n - i)),
              n - i);
}

TARGET static float dot(const float *a, const float *b, size_t n)
{
    V sum = set(0);
    for (size_t i = 0; i < n; i += VL)
        sum = FMA(load(a + i, n - i), load(b + i, n - i), sum);
    return SUM(sum);
}

/* Squares are summed in float over 16 vectors, then in double. */
TARGET static double sum_squares(const float *x, size_t n)
{
    enum { RUN = 16 * VL };
    double sum = 0;
    for (size_t begin = 0; begin < n; begin += RUN) {
        V part[2] = {set(0), set(0)};
        for (size_t i = begin; i < n && i < begin + RUN; i += VL) {
            V v = load(x + i, n - i);
            part[i / VL & 1] = FMA(v, v, part[i / VL & 1]);
        }
        sum += (double)SUM(part[0] + part[1]);
    }
    return sum;
}

TARGET static void drain(float *sum, float *part, size_t n)
{
    for (size_t i = 0; i < n; i += VL) {
        V v = load(part + i, n - i);
        if (ALL_ZERO(v)) /* most rows of an embedding: no stores */
            continue;
        store(sum + i, load(sum + i, n - i) + v, n - i);
        store(part + i, set(0), n - i);
    }
}

TARGET static void slope_columns(float *dz, const float *slope, float *sum, size_t rows,
                                 size_t cols)
{
    for (size_t r = 0; r < rows; r++) {
        float *d = dz + r * cols;
        const float *s = slope ? slope + r * cols : NULL;
        for (size_t i = 0; i < cols; i += VL) {
            V v = load(d + i, cols - i);
            if (s) {
                v = v * load(s + i, cols - i);
                store(d + i, v, cols - i);
            }
            if (sum)
                store(sum + i, load(sum + i, cols - i) + v, cols - i);
        }
    }
}

/* ---- softmax ---- */

TARGET static void softmax(float *x, size_t n, float scale)
{
    V top = set(-3.402823466e38f);
    size_t whole = n / VL * VL;
    for (size_t i = 0; i < whole; i += VL)
        top = MAX(top, set(scale) * LOADU(x + i));
    float most = TOP(top);
    for (size_t i = whole; i < n; i++)
        most = scale * x[i] > most ? scale * x[i] : most;
    V sum = set(0);
    for (size_t i = 0; i < whole; i += VL) {
        V e = exponential(set(scale) * LOADU(x + i) - set(most));
        STOREU(x + i, e);
        sum = sum + e;
    }
    float total = SUM(sum);
    if (whole < n) {
        float rest[VL];
        STOREU(rest, exponential(set(scale) * load(x + whole, n - whole) - set(most)));
        for (size_t i = whole; i < n; i++)
            total += x[i] = rest[i - whole];
    }
    V inverse = set(1 / total);
    for (size_t i = 0; i < n; i += VL)
        store(x + i, load(x + i, n - i) * inverse, n - i);
}

TARGET static void exp_rows(float *x, size_t rows, size_t n, size_t stride, float scale,
                            float *inverse)
{
    size_t whole = n / VL * VL, rest = n - whole;
    V lowest = set(-3.402823466e38f), factor = set(scale);
    float mask[VL]; /* 0 in the row, then lowest */
    for (size_t i = 0; i < VL; i++)
        mask[i] = i < rest ? 0 : -3.402823466e38f;
    for (size_t r = 0; r < rows; r++, x += stride) {
        V top = lowest, sum = set(0), last = set(0);
        for (size_t i = 0; i < whole; i += VL)
            top = MAX(top, factor * LOADU(x + i));
        if (rest) {
            last = MAX(factor * load(x + whole, rest), set(-1e38f)) + LOADU(mask);
            top = MAX(top, last);
        }
        V most = set(TOP(top));
        for (size_t i = 0; i < whole; i += VL) {
            V e = exponential(factor * LOADU(x + i) - most);
            STOREU(x + i, e);
            sum = sum + e;
        }
        if (rest) {
            V e = SELECT(GREATER(last, set(-2e38f)), exponential(last - most), set(0));
            store(x + whole, e, rest);
            sum = sum + e;
        }
        inverse[r] = 1 / SUM(sum);
    }
}

TARGET static void softmax_back(const float *p, float *dp, size_t n, float scale)
{
    V mean = set(dot(p, dp, n));
    for (size_t i = 0; i < n; i += VL) {
        V v = set(scale) * load(p + i, n - i) * (load(dp + i, n - i) - mean);
        store(dp + i, v, n - i);
    }
}

/* ---- layer normalisation ---- */

/* The sum of x and its residual goes to `out`; returns the mean. */
TARGET static float add_residual(const float *x, const float *residual, float *out, size_t n)
{
    V sum = set(0);
    for (size_t i = 0; i < n; i += VL) {
        V v = load(x + i, n - i);
        if (residual)
            v = v + load(residual + i, n - i);
        store(out + i, v, n - i);
        sum = sum + v;
    }
    return SUM(sum) / (float)n;
}

TARGET static float mean_square(const float *x, float mean, size_t n)
{
    V sum = set(0);
    size_t whole = n / VL * VL;
    for (size_t i = 0; i < whole; i += VL) {
        V d = LOADU(x + i) - set(mean);
        sum = FMA(d, d, sum);
    }
    float total = SUM(sum);
    for (size_t i = whole; i < n; i++)
        total += (x[i] - mean) * (x[i] - mean);
    return total / (float)n;
}

TARGET static void norm(const struct norm_rows *a)
{
    size_t n = a->cols;
    for (size_t r = 0; r < a->rows; r++) {
        float *y = a->y + r * n, *h = a->normal ? a->normal + r * n : y;
        float mean = add_residual(a->x + r * n, a->residual ? a->residual + r * n : NULL, h, n);
        float rdev = 1 / __builtin_sqrtf(mean_square(h, mean, n) + a->eps);
        for (size_t i = 0; i < n; i += VL) {
            V v = (load(h + i, n - i) - set(mean)) * set(rdev);
            if (a->normal)
                store(h + i, v, n - i);
            store(y + i, FMA(v, load(a->gamma + i, n - i), load(a->beta + i, n - i)), n - i);
        }
        if (a->normal)
            a->rdev[r] = rdev;
    }
}

INLINE void accumulate(float *p, V v, size_t n)
{
    store(p, load(p, n) + v, n);
}

/* Sums for one row and, on the way, the gradients of gamma and beta. */
TARGET static void norm_sums(const struct norm_grads *a, size_t at, float *mean, float *along)
{
    size_t n = a->cols;
    V sum = set(0), product = set(0);
    for (size_t i = 0; i < n; i += VL) {
        V dy = load(a->dy + at + i, n - i), h = load(a->normal + at + i, n - i);
        V g = dy * load(a->gamma + i, n - i);
        sum = sum + g;
        product = FMA(g, h, product);
        if (a->dgamma)
            accumulate(a->dgamma + i, dy * h, n - i);
        if (a->dbeta)
            accumulate(a->dbeta + i, dy, n - i);
    }
    *mean = SUM(sum) / (float)n;
    *along = SUM(product) / (float)n;
}

TARGET static void norm_back(const struct norm_grads *a)
{
    size_t n = a->cols;
    for (size_t r = 0; r < a->rows; r++) {
        float mean, along;
        norm_sums(a, r * n, &mean, &along);
        for (size_t i = 0; i < n && (a->dx || a->dresidual); i += VL) {
            V g = load(a->dy + r * n + i, n - i) * load(a->gamma + i, n - i);
            V h = load(a->normal + r * n + i, n - i);
            V d = (g - set(mean) - h * set(along)) * set(a->rdev[r]);
            if (a->dx)
                accumulate(a->dx + r * n + i, d, n - i);
            if (a->dresidual)
                accumulate(a->dresidual + r * n + i, d, n - i);
        }
    }
}

/* ---- dropout and AdamW ---- */

TARGET static void drop(float *out, const float *x, size_t n, const struct drop_mask *mask,
                        uint32_t first, bool add)
{
    VI index = IADD(IOTA, ISET1((int)first)), threshold = ISET1((int)mask->threshold - 1);
    VI key0 = ISET1((int)mask->key[0]), key1 = ISET1((int)mask->key[1]);
    for (size_t i = 0; i < n; i += VL) {
        VI h = IXOR(index, key0);
        h = IMUL(IXOR(h, SHR(h, 16)), ISET1(0x7feb352d));
        h = IMUL(IXOR(IXOR(h, SHR(h, 15)), key1), ISET1((int)0x846ca68bu));
        h = SHR(IXOR(h, SHR(h, 16)), 1);
        V v = SELECT(IGREATER(h, threshold), load(x + i, n - i) * set(mask->scale), set(0));
        if (add)
            v = v + load(out + i, n - i);
        store(out + i, v, n - i);
        index = IADD(index, ISET1(VL));
    }
}

TARGET static void adamw(const struct adamw_span *a)
{
    V beta1 = set(a->beta1), rest1 = set(a->rest1);
    V beta2 = set(a->beta2), rest2 = set(a->rest2);
    for (size_t i = 0; i < a->n; i += VL) {
        size_t n = a->n - i;
        V g = load(a->g + i, n);
        if (!ALL_ZERO(g))
            store(a->g + i, set(0), n);
        g = g * set(a->grad_scale);
        V m = FMA(beta1, load(a->m + i, n), rest1 * g);
        V v = FMA(beta2, load(a->v + i, n), rest2 * g * g);
        V change = m / FMA(SQRT(v), set(a->rsqrt_correction), set(a->epsilon));
        store(a->p + i, set(a->keep) * load(a->p + i, n) - set(a->step) * change, n);
        store(a->m + i, m, n);
        store(a->v + i, v, n);
    }
}

const struct vec_impl ROW = {.name = ROW_NAME,
                             .usable = ROW_USABLE,
                             .add_scaled = add_scaled,
                             .multiply = multiply,
                             .multiply_add = multiply_add,
                             .dot = dot,
                             .sum_squares = sum_squares,
                             .drain = drain,
                             .activate = activate,
                             .activate_rows = activate_rows,
                             .slope_columns = slope_columns,
                             .softmax = softmax,
                             .softmax_back = softmax_back,
                             .exp_rows = exp_rows,
                             .norm = norm,
                             .norm_back = norm_back,
                             .drop = drop,
                             .adamw = adamw};
