/* softmax.c: the table of gradient kernels. One body (softmax_body.h) in GCC's vector types is
 * compiled for each instruction set; the definition is scalar. Proof: tests/test_gbdt.c. */
#include "gbdt/softmax.h"

#include "base/cpu.h"
#include "gbdt/histogram.h"

#include <math.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#ifdef __clang__
#pragma STDC FP_CONTRACT OFF /* gcc does not contract in ISO mode */
#endif

typedef float v16f __attribute__((vector_size(64)));
typedef int32_t v16i __attribute__((vector_size(64)));
typedef uint32_t v16u __attribute__((vector_size(64)));
typedef uint8_t v16b __attribute__((vector_size(16), aligned(16)));

static inline unsigned spread_bin(float size)
{
    uint32_t bits;
    memcpy(&bits, &size, sizeof bits);
    return bits >> 20;
}

/* To the nearest units; the hessian at least one. */
static inline int64_t cell_quantised(float gradient, float hessian)
{
    int32_t h = (int32_t)lrintf(hessian);
    return cell_pack((int32_t)lrintf(gradient), h > 1 ? h : 1);
}

/* By the formula in double; the vector kernels may differ by one unit where rounding ties. */
static void slopes_ref(const struct softmax_job *job, size_t row, double *g, double *h)
{
    double k = (double)job->n_classes, most = -INFINITY, sum = 0, w = job->weights[row];
    for (size_t c = 0; c < job->n_classes; c++)
        most = fmax(most, job->scores[c * job->stride + row]);
    for (size_t c = 0; c < job->n_classes; c++)
        sum += exp(job->scores[c * job->stride + row] - most);
    for (size_t c = 0; c < job->n_classes; c++) {
        double p = exp(job->scores[c * job->stride + row] - most) / sum;
        g[c] = w * (p - (job->labels[row] == c));
        h[c] = w * p * (1 - p) * k / (k - 1);
    }
}

static void store_ref(const struct softmax_job *job, size_t at, size_t c, double g, double h)
{
    int64_t cell = cell_pack((int32_t)lrint(g * job->gradient_scale),
                             (int32_t)fmax(1, rint(h * job->hessian_scale)));
    job->by_class[c * job->stride + at] = cell;
    job->packed[at * job->lanes + c] = cell;
}

static void softmax_gradients_ref(const struct softmax_job *job, size_t begin, size_t end)
{
    double g[16], h[16];
    for (size_t row = begin; row < end; row++) {
        slopes_ref(job, row, g, h);
        for (size_t c = 0; c < job->n_classes; c++)
            store_ref(job, row, c, g[c], h[c]);
    }
}

static double random_ref(const struct softmax_sample *s, uint32_t row)
{
    uint32_t x = row * 0x9e3779b1u ^ s->seed[0];
    x = (x ^ x >> 16) * 0x85ebca6bu ^ s->seed[1];
    x = (x ^ x >> 13) * 0xc2b2ae35u;
    return ((x ^ x >> 16) >> 8) * 0x1p-24;
}

static size_t softmax_sample_ref(const struct softmax_job *job, const struct softmax_sample *s,
                                 size_t begin, size_t end)
{
    double g[16], h[16];
    size_t n = begin;
    for (size_t row = begin; row < end; row++) {
        double size = 0, chance = 1;
        slopes_ref(job, row, g, h);
        for (size_t c = 0; c < job->n_classes; c++)
            size += g[c] * g[c] + h[c] * h[c] / 4;
        if (s->spread && row / SOFTMAX_BLOCK % 4 == 0)
            s->spread[spread_bin((float)size)]++;
        if (s->threshold > 0)
            chance = fmin(1, sqrt(size) / s->threshold);
        if (!s->kept || !(job->weights[row] > 0) ||
            random_ref(s, (uint32_t)row) >= s->row_fraction * chance)
            continue;
        for (size_t c = 0; c < job->n_classes; c++)
            store_ref(job, n, c, g[c] / chance, h[c] / chance);
        s->kept[n++] = (uint32_t)row;
    }
    return n - begin;
}

/* By address: how a wide vector is passed depends on the instruction set. */
static inline uint32_t portable_bits(const v16i *x)
{
    uint32_t bits = 0;
    for (size_t i = 0; i < SOFTMAX_BLOCK; i++)
        bits |= (uint32_t)(*x)[i] & 1u << i;
    return bits;
}

#define NAME(x) portable_##x
#define TARGET
#define BITS portable_bits
#include "gbdt/softmax_body.h"

#if defined(__x86_64__)
__attribute__((target("avx2"))) static inline uint32_t avx2_bits(const v16i *x)
{
    __m256 halves[2];
    memcpy(halves, x, sizeof halves);
    return (uint32_t)_mm256_movemask_ps(halves[0]) | (uint32_t)_mm256_movemask_ps(halves[1])
                                                         << 8;
}

#define NAME(x) avx2_##x
#define TARGET __attribute__((target("avx2")))
#define BITS avx2_bits
#include "gbdt/softmax_body.h"

__attribute__((target("avx512f,avx512dq"))) static inline uint32_t avx512_bits(const v16i *x)
{
    return _mm512_movepi32_mask((__m512i)*x);
}

#define NAME(x) avx512_##x
#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))
#define BITS avx512_bits
#include "gbdt/softmax_body.h"
#endif

const struct softmax_impl softmax_impls[] = {
    {"ref", softmax_gradients_ref, softmax_sample_ref, cpu_always},
    {"portable", portable_gradients, portable_sample, cpu_always},
#if defined(__x86_64__)
    {"avx2", avx2_gradients, avx2_sample, cpu_has_avx2},
    {"avx512", avx512_gradients, avx512_sample, cpu_has_avx512},
#endif
    {NULL, NULL, NULL, NULL},
};

/* Not the definition: another rounding would make another model. */
static const struct softmax_impl *fastest(void)
{
    const struct softmax_impl *best = &softmax_impls[1];
    for (const struct softmax_impl *i = best; i->name; i++)
        if (i->usable())
            best = i;
    return best;
}

void softmax_gradients(const struct softmax_job *job, size_t begin, size_t end)
{
    fastest()->gradients(job, begin, end);
}

size_t softmax_sample_rows(const struct softmax_job *job, const struct softmax_sample *sample,
                           size_t begin, size_t end)
{
    return fastest()->sample(job, sample, begin, end);
}

/* The s in the middle of a bin of the spread. */
static double spread_value(uint32_t bin)
{
    uint32_t bits = bin << 20 | 1u << 19;
    float size;
    memcpy(&size, &bits, sizeof size);
    return sqrt((double)size);
}

/* Sum over rows of min(1, s / t) = target: with the `above` rows of s >= t certain, t is the
 * sum of s over the others divided by target - above. */
float softmax_threshold(const uint32_t spread[SPREAD_BINS], double target, double most)
{
    double below = 0, above = 0, all = 0;
    uint32_t last = 0x7f8 - 1; /* the largest finite */
    for (uint32_t b = 0; b <= last; b++) {
        all += spread[b];
        below += spread[b] * spread_value(b);
    }
    if (all <= target)
        return 0;
    for (uint32_t b = last;; b--) {
        double t = below / (target - above);
        if (b == 0 || t > spread_value(b))
            return (float)fmin(t, most);
        if (above + spread[b] >= target)
            return (float)fmin(spread_value(b), most);
        above += spread[b];
        below -= spread[b] * spread_value(b);
    }
}
