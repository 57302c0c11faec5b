/* aggregate.c: the weighted sum of neighbours, forward and backward: what gcn and sage spend
 * their sparse time on. Gradients: tests/test_gnn_layers.c. */
#include "gnn/block.h"

#include "base/cpu.h"

#include <immintrin.h>
#include <string.h>

/* Edges ahead whose row is asked for while this one is summed. Random rows miss the cache; the
 * next few edges are known. */
enum { AHEAD = 6 };

static void forward_ref(const struct aggregate *a, const float *x, float *y)
{
    const struct block *b = a->block;
    for (size_t i = 0; i < b->n_targets; i++) {
        float *out = y + i * a->columns;
        for (size_t k = 0; k < a->columns; k++) {
            float sum = a->self_factor ? a->self_factor[i] * x[b->self[i] * a->columns + k] : 0;
            for (size_t e = b->offsets[i]; e < b->offsets[i + 1]; e++)
                sum += a->factor[e] * x[b->source[e] * a->columns + k];
            out[k] = sum;
        }
    }
}

static void backward_ref(const struct aggregate *a, const float *dy, float *dx)
{
    const struct block *b = a->block;
    for (size_t i = 0; i < b->n_targets; i++)
        for (size_t k = 0; k < a->columns; k++) {
            float g = dy[i * a->columns + k];
            if (a->self_factor)
                dx[b->self[i] * a->columns + k] += a->self_factor[i] * g;
            for (size_t e = b->offsets[i]; e < b->offsets[i + 1]; e++)
                dx[b->source[e] * a->columns + k] += a->factor[e] * g;
        }
}

#define AVX2 __attribute__((target("avx2,fma")))
#define AVX2_INLINE __attribute__((target("avx2,fma"), always_inline)) static inline

/* Columns are taken 64 at a time (eight registers of sums), then 8, then 1. */
AVX2_INLINE void sum_64(const struct aggregate *a, size_t i, const float *x, float *y)
{
    const struct block *b = a->block;
    size_t stride = a->columns;
    __m256 s[8];
    __m256 f = _mm256_set1_ps(a->self_factor ? a->self_factor[i] : 0);
    for (int k = 0; k < 8; k++)
        s[k] = a->self_factor
                   ? _mm256_mul_ps(f, _mm256_loadu_ps(x + b->self[i] * stride + 8 * k))
                   : _mm256_setzero_ps();
    for (size_t e = b->offsets[i]; e < b->offsets[i + 1]; e++) {
        if (e + AHEAD < b->n_edges) {
            const char *next = (const char *)(x + b->source[e + AHEAD] * stride);
            for (int k = 0; k < 256; k += 64)
                _mm_prefetch(next + k, _MM_HINT_T0);
        }
        const float *row = x + b->source[e] * stride;
        f = _mm256_set1_ps(a->factor[e]);
        for (int k = 0; k < 8; k++)
            s[k] = _mm256_fmadd_ps(f, _mm256_loadu_ps(row + 8 * k), s[k]);
    }
    for (int k = 0; k < 8; k++)
        _mm256_storeu_ps(y + 8 * k, s[k]);
}

AVX2_INLINE void sum_8(const struct aggregate *a, size_t i, const float *x, float *y)
{
    const struct block *b = a->block;
    __m256 s = _mm256_setzero_ps();
    if (a->self_factor)
        s = _mm256_mul_ps(_mm256_set1_ps(a->self_factor[i]),
                          _mm256_loadu_ps(x + b->self[i] * a->columns));
    for (size_t e = b->offsets[i]; e < b->offsets[i + 1]; e++)
        s = _mm256_fmadd_ps(_mm256_set1_ps(a->factor[e]),
                            _mm256_loadu_ps(x + b->source[e] * a->columns), s);
    _mm256_storeu_ps(y, s);
}

AVX2 static void forward_avx2(const struct aggregate *a, const float *x, float *y)
{
    const struct block *b = a->block;
    for (size_t i = 0; i < b->n_targets; i++) {
        float *out = y + i * a->columns;
        size_t k = 0;
        for (; k + 64 <= a->columns; k += 64)
            sum_64(a, i, x + k, out + k);
        for (; k + 8 <= a->columns; k += 8)
            sum_8(a, i, x + k, out + k);
        for (; k < a->columns; k++) {
            float sum = a->self_factor ? a->self_factor[i] * x[b->self[i] * a->columns + k] : 0;
            for (size_t e = b->offsets[i]; e < b->offsets[i + 1]; e++)
                sum += a->factor[e] * x[b->source[e] * a->columns + k];
            out[k] = sum;
        }
    }
}

AVX2_INLINE void add_scaled(float *to, float factor, const float *from, size_t n)
{
    __m256 f = _mm256_set1_ps(factor);
    size_t k = 0;
    for (; k + 8 <= n; k += 8)
        _mm256_storeu_ps(
            to + k, _mm256_fmadd_ps(f, _mm256_loadu_ps(from + k), _mm256_loadu_ps(to + k)));
    for (; k < n; k++)
        to[k] += factor * from[k];
}

AVX2 static void backward_avx2(const struct aggregate *a, const float *dy, float *dx)
{
    const struct block *b = a->block;
    size_t stride = a->columns;
    for (size_t i = 0; i < b->n_targets; i++) {
        const float *g = dy + i * stride;
        if (a->self_factor)
            add_scaled(dx + b->self[i] * stride, a->self_factor[i], g, stride);
        for (size_t e = b->offsets[i]; e < b->offsets[i + 1]; e++) {
            if (e + AHEAD < b->n_edges) {
                const float *next = dx + b->source[e + AHEAD] * stride;
                for (size_t k = 0; k < stride; k += 16)
                    __builtin_prefetch(next + k, 1);
            }
            add_scaled(dx + b->source[e] * stride, a->factor[e], g, stride);
        }
    }
}

const struct aggregate_impl aggregate_impls[] = {
    {"ref", forward_ref, backward_ref, cpu_always},
    {"avx2", forward_avx2, backward_avx2, cpu_has_avx2},
    {NULL, NULL, NULL, NULL},
};

static const struct aggregate_impl *best(void)
{
    const struct aggregate_impl *last = &aggregate_impls[0];
    for (const struct aggregate_impl *i = aggregate_impls; i->name; i++)
        if (i->usable())
            last = i;
    return last;
}

struct aggregate_entry {
    struct aggregate a;
    struct tensor *x, *y;
};

static void aggregate_backward(struct tape *t, void *context)
{
    (void)t;
    const struct aggregate_entry *e = context;
    best()->backward(&e->a, e->y->grad, e->x->grad);
}

struct tensor *op_aggregate(struct tape *t, struct tensor *x, const struct block *b,
                            const float *factor, const float *self_factor)
{
    if (!x || (b->n_edges && !factor))
        return NULL;
    bool needs = tape_needs(t, x, NULL);
    struct tensor *y = tape_tensor(t, b->n_targets, x->cols, needs);
    struct aggregate_entry *e = tape_alloc(t, 1, sizeof *e);
    if (!y || !e)
        return NULL;
    *e = (struct aggregate_entry){{b, factor, self_factor, x->cols}, x, y};
    best()->forward(&e->a, x->value, y->value);
    if (needs)
        tape_record(t, aggregate_backward, e);
    return y;
}
