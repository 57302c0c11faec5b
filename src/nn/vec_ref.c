/* vec_ref.c: the definition of every loop in vec.h, obvious and slow, in double where a sum or
 * a transcendental function is involved. */
#include "nn/vec.h"

#include "base/cpu.h"

#include <math.h>

#define SQRT_HALF 0.70710678118654752440
#define INV_SQRT_2PI 0.39894228040143267794
#define SQRT_2_PI 0.79788456080286535588 /* sqrt(2 / pi) */

static void add_scaled(float *out, const float *a, float s, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = a[i] + s * b[i];
}

static void multiply(float *out, const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = a[i] * b[i];
}

static void multiply_add(float *out, const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] += a[i] * b[i];
}

static float dot(const float *a, const float *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)a[i] * b[i];
    return (float)sum;
}

static double sum_squares(const float *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * x[i];
    return sum;
}

static void drain(float *sum, float *part, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        sum[i] += part[i];
        part[i] = 0;
    }
}

struct value_slope {
    double value, slope;
};

/* Hendrycks and Gimpel 2016, with erf and with the tanh approximation. */
static struct value_slope gelu(double z)
{
    double phi = 0.5 * (1 + erf(z * SQRT_HALF));
    return (struct value_slope){z * phi, phi + z * INV_SQRT_2PI * exp(-0.5 * z * z)};
}

static struct value_slope gelu_tanh(double z)
{
    double t = tanh(SQRT_2_PI * (z + 0.044715 * z * z * z));
    double inner = SQRT_2_PI * (1 + 3 * 0.044715 * z * z);
    return (struct value_slope){0.5 * z * (1 + t),
                                0.5 * (1 + t) + 0.5 * z * (1 - t * t) * inner};
}

static struct value_slope activation(enum activation act, double z)
{
    double t;
    switch (act) {
    case ACT_RELU:
        return (struct value_slope){z > 0 ? z : 0, z > 0};
    case ACT_GELU:
        return gelu(z);
    case ACT_GELU_TANH:
        return gelu_tanh(z);
    case ACT_TANH:
        t = tanh(z);
        return (struct value_slope){t, 1 - t * t};
    case ACT_ELU:
        return (struct value_slope){z > 0 ? z : expm1(z), z > 0 ? 1 : exp(z)};
    case ACT_SILU:
        t = 1 / (1 + exp(-z));
        return (struct value_slope){z * t, t * (1 + z * (1 - t))};
    case ACT_NONE:
        break;
    }
    return (struct value_slope){z, 1};
}

static void activate(enum activation act, const float *z, float *y, float *slope, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct value_slope a = activation(act, z[i]);
        y[i] = (float)a.value;
        if (slope)
            slope[i] = (float)a.slope;
    }
}

static void activate_rows(enum activation act, float *y, size_t rows, size_t cols,
                          size_t stride)
{
    for (size_t r = 0; r < rows; r++)
        activate(act, y + r * stride, y + r * stride, NULL, cols);
}

static void slope_columns(float *dz, const float *slope, float *sum, size_t rows, size_t cols)
{
    for (size_t i = 0; i < rows * cols; i++) {
        if (slope)
            dz[i] *= slope[i];
        if (sum)
            sum[i % cols] += dz[i];
    }
}

static void softmax(float *x, size_t n, float scale)
{
    double top = -INFINITY, sum = 0;
    for (size_t i = 0; i < n; i++)
        top = fmax(top, (double)scale * x[i]);
    for (size_t i = 0; i < n; i++)
        sum += exp((double)scale * x[i] - top);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(exp((double)scale * x[i] - top) / sum);
}

static void exp_rows(float *x, size_t rows, size_t n, size_t stride, float scale,
                     float *inverse)
{
    for (size_t r = 0; r < rows; r++, x += stride) {
        double top = -INFINITY, total = 0;
        for (size_t i = 0; i < n; i++)
            top = fmax(top, (double)scale * x[i]);
        for (size_t i = 0; i < n; i++)
            total += x[i] = (float)exp((double)scale * x[i] - top);
        inverse[r] = (float)(1 / total);
    }
}

static void softmax_back(const float *p, float *dp, size_t n, float scale)
{
    float mean = dot(p, dp, n);
    for (size_t i = 0; i < n; i++)
        dp[i] = scale * p[i] * (dp[i] - mean);
}

static void norm(const struct norm_rows *a)
{
    for (size_t r = 0; r < a->rows; r++) {
        const float *x = a->x + r * a->cols;
        const float *residual = a->residual ? a->residual + r * a->cols : NULL;
        double mean = 0, variance = 0;
        for (size_t i = 0; i < a->cols; i++)
            mean += x[i] + (residual ? residual[i] : 0.0);
        mean /= (double)a->cols;
        for (size_t i = 0; i < a->cols; i++) {
            double d = x[i] + (residual ? residual[i] : 0.0) - mean;
            variance += d * d;
        }
        double rdev = 1 / sqrt(variance / (double)a->cols + a->eps);
        for (size_t i = 0; i < a->cols; i++) {
            double h = (x[i] + (residual ? residual[i] : 0.0) - mean) * rdev;
            a->y[r * a->cols + i] = (float)(h * a->gamma[i] + a->beta[i]);
            if (a->normal)
                a->normal[r * a->cols + i] = (float)h;
        }
        if (a->normal)
            a->rdev[r] = (float)rdev;
    }
}

/* With h the normalised row and g = gamma dy: dx = (g - mean(g) - h mean(g h)) / deviation. */
static void norm_back(const struct norm_grads *a)
{
    for (size_t r = 0; r < a->rows; r++) {
        size_t at = r * a->cols;
        const float *dy = a->dy + at, *h = a->normal + at;
        double mean = 0, along = 0;
        for (size_t i = 0; i < a->cols; i++) {
            double g = (double)a->gamma[i] * dy[i];
            mean += g / (double)a->cols;
            along += g * h[i] / (double)a->cols;
        }
        for (size_t i = 0; i < a->cols; i++) {
            double g = (double)a->gamma[i] * dy[i];
            float d = (float)((g - mean - h[i] * along) * a->rdev[r]);
            if (a->dx)
                a->dx[at + i] += d;
            if (a->dresidual)
                a->dresidual[at + i] += d;
            if (a->dgamma)
                a->dgamma[i] += dy[i] * h[i];
            if (a->dbeta)
                a->dbeta[i] += dy[i];
        }
    }
}

/* Two rounds of multiply and xor-shift (constants of Wellons' lowbias32) with both key words.
 */
static uint32_t drop_hash(const struct drop_mask *mask, uint32_t i)
{
    uint32_t h = i ^ mask->key[0];
    h = (h ^ h >> 16) * 0x7feb352dU;
    h = (h ^ h >> 15 ^ mask->key[1]) * 0x846ca68bU;
    return h ^ h >> 16;
}

static void drop(float *out, const float *x, size_t n, const struct drop_mask *mask,
                 uint32_t first, bool add)
{
    for (size_t i = 0; i < n; i++) {
        bool kept = drop_hash(mask, first + (uint32_t)i) >> 1 >= mask->threshold;
        out[i] = (add ? out[i] : 0) + (kept ? x[i] * mask->scale : 0);
    }
}

static void adamw(const struct adamw_span *a)
{
    for (size_t i = 0; i < a->n; i++) {
        double g = (double)a->g[i] * a->grad_scale;
        double m = a->beta1 * (double)a->m[i] + (double)a->rest1 * g;
        double v = a->beta2 * (double)a->v[i] + (double)a->rest2 * g * g;
        a->p[i] = (float)((double)a->keep * a->p[i] -
                          a->step * m / (sqrt(v) * a->rsqrt_correction + a->epsilon));
        a->m[i] = (float)m;
        a->v[i] = (float)v;
        a->g[i] = 0;
    }
}

const struct vec_impl vec_ref = {.name = "ref",
                                 .usable = cpu_always,
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
