/* whole_ref.c: the definition of the whole-graph kernels, and the choice among them. */
#include "gnn/whole.h"

#include "base/cpu.h"

#include <math.h>

#define SLOPE 0.2f

static float scale_of(const float *scale, size_t i)
{
    return scale ? scale[i] : 1;
}

static void gather(const struct gather *g, const float *x, size_t first, size_t n, float *out)
{
    for (size_t i = first; i < first + n; i++)
        for (size_t k = 0; k < g->columns; k++) {
            float sum = g->self ? scale_of(g->column_scale, i) * x[i * g->columns + k] : 0;
            for (size_t e = g->offsets[i]; e < g->offsets[i + 1]; e++) {
                size_t j = g->source[e];
                sum += scale_of(g->weight, e) * scale_of(g->column_scale, j) *
                       x[j * g->columns + k];
            }
            out[(i - first) * g->columns + k] = scale_of(g->row_scale, i) * sum;
        }
}

static float leaky(float s)
{
    return s > 0 ? s : SLOPE * s;
}

/* The neighbour at edge e of row i; past the last edge it is i. */
static size_t node_of(const struct attend *a, size_t i, size_t e)
{
    return e < a->offsets[i + 1] ? a->source[e] : i;
}

static float score(const struct attend *a, size_t source, size_t target, size_t h)
{
    size_t width = a->heads * a->c;
    float sum = 0;
    for (size_t k = h * a->c; k < (h + 1) * a->c; k++)
        sum += a->att[k] * leaky(a->left[source * width + k] + a->right[target * width + k]);
    return sum;
}

static void attend(const struct attend *a, size_t first, size_t n)
{
    size_t width = a->heads * a->c;
    for (size_t i = first; i < first + n; i++)
        for (size_t h = 0; h < a->heads; h++) {
            size_t end = a->offsets[i + 1] + 1;
            float top = -INFINITY, sum = 0;
            for (size_t e = a->offsets[i]; e < end; e++)
                top = fmaxf(top, score(a, node_of(a, i, e), i, h));
            for (size_t e = a->offsets[i]; e < end; e++)
                sum += expf(score(a, node_of(a, i, e), i, h) - top);
            float log_sum = a->log_sum[i * a->heads + h] = top + logf(sum);
            for (size_t k = h * a->c; k < (h + 1) * a->c; k++)
                a->y[i * width + k] = a->bias[k];
            for (size_t e = a->offsets[i]; e < end; e++) {
                size_t j = node_of(a, i, e);
                float alpha = expf(score(a, j, i, h) - log_sum);
                for (size_t k = h * a->c; k < (h + 1) * a->c; k++)
                    a->y[i * width + k] += alpha * a->left[j * width + k];
            }
        }
}

/* alpha, and the gradient of the score: alpha (dy . left - dy . sum). */
static float edge_grad(const struct attend *a, size_t source, size_t target, size_t h,
                       float *alpha)
{
    size_t width = a->heads * a->c, at = target * a->heads + h;
    float dot = 0;
    for (size_t k = h * a->c; k < (h + 1) * a->c; k++)
        dot += a->dy[target * width + k] * a->left[source * width + k];
    *alpha = expf(score(a, source, target, h) - a->log_sum[at]);
    return *alpha * (dot - a->inner[at]);
}

static void back_right(const struct attend *a, size_t first, size_t n)
{
    size_t width = a->heads * a->c;
    for (size_t i = first; i < first + n; i++)
        for (size_t e = a->offsets[i]; e < a->offsets[i + 1] + 1; e++)
            for (size_t h = 0; h < a->heads; h++) {
                size_t j = node_of(a, i, e);
                float alpha, g = edge_grad(a, j, i, h, &alpha);
                for (size_t k = h * a->c; k < (h + 1) * a->c; k++) {
                    float s = a->left[j * width + k] + a->right[i * width + k];
                    a->dright[i * width + k] += g * a->att[k] * (s > 0 ? 1 : SLOPE);
                    a->datt[k] += g * leaky(s);
                }
            }
}

static void back_left(const struct attend *a, size_t first, size_t n)
{
    size_t width = a->heads * a->c;
    for (size_t j = first; j < first + n; j++)
        for (size_t e = a->offsets[j]; e < a->offsets[j + 1] + 1; e++)
            for (size_t h = 0; h < a->heads; h++) {
                size_t i = node_of(a, j, e);
                float alpha, g = edge_grad(a, j, i, h, &alpha);
                for (size_t k = h * a->c; k < (h + 1) * a->c; k++) {
                    float s = a->left[j * width + k] + a->right[i * width + k];
                    a->dleft[j * width + k] +=
                        alpha * a->dy[i * width + k] + g * a->att[k] * (s > 0 ? 1 : SLOPE);
                }
            }
}

static void add(float *sum, const float *x, size_t n)
{
    for (size_t k = 0; k < n; k++)
        sum[k] += x[k];
}

static void relu(float *x, size_t n)
{
    for (size_t k = 0; k < n; k++)
        x[k] = x[k] > 0 ? x[k] : 0;
}

static void relu_back(const float *x, float *grad, size_t n)
{
    for (size_t k = 0; k < n; k++)
        grad[k] = x[k] > 0 ? grad[k] : 0;
}

const struct whole_impl whole_ref = {
    .name = "ref",
    .usable = cpu_always,
    .lanes = 1,
    .gather = gather,
    .attend = attend,
    .back_right = back_right,
    .back_left = back_left,
    .add = add,
    .relu = relu,
    .relu_back = relu_back,
};

const struct whole_impl *const whole_impls[] = {
    &whole_ref,
#if defined(__x86_64__)
    &whole_avx2,
    &whole_avx512,
#endif
    NULL,
};

const struct whole_impl *whole(size_t c)
{
    const struct whole_impl *best = &whole_ref;
    for (const struct whole_impl *const *i = whole_impls; *i; i++)
        if ((*i)->usable() && c % (*i)->lanes == 0)
            best = *i;
    return best;
}
