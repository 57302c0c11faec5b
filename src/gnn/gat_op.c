/* gat_op.c: attention over the edges of a block: scores, softmax and weighted sum are one op:
 * the scores of an edge are used where they are made, and only the weights alpha are kept for
 * the backward pass. */
#include "gnn/block.h"

#include "base/cpu.h"
#include "nn/ops.h"

#include <immintrin.h>
#include <math.h>
#include <string.h>

enum { AHEAD = 4 };

/* The arithmetic on one head's C columns that differs between instruction sets. */
struct head_math {
    /* att . leaky_relu(l + r) */
    float (*score)(const float *l, const float *r, const float *att, float leak, size_t c);
    float (*dot)(const float *a, const float *b, size_t c);
    void (*add_scaled)(float *to, float factor, const float *from, size_t c);
    /* g is d loss / d score: adds to dl (also alpha * dy), dr and datt */
    void (*score_back)(const struct gat_grads *at, float g, float alpha, const float *l,
                       const float *r, const float *att, float leak, size_t c);
};

static float score_ref(const float *l, const float *r, const float *att, float leak, size_t c)
{
    float sum = 0;
    for (size_t k = 0; k < c; k++) {
        float s = l[k] + r[k];
        sum += att[k] * (s > 0 ? s : leak * s);
    }
    return sum;
}

static float dot_ref(const float *a, const float *b, size_t c)
{
    float sum = 0;
    for (size_t k = 0; k < c; k++)
        sum += a[k] * b[k];
    return sum;
}

static void add_scaled_ref(float *to, float factor, const float *from, size_t c)
{
    for (size_t k = 0; k < c; k++)
        to[k] += factor * from[k];
}

/* `at` holds the positions of this edge and head: y = dy, left = dl, right = dr, att = datt. */
static void score_back_ref(const struct gat_grads *at, float g, float alpha, const float *l,
                           const float *r, const float *att, float leak, size_t c)
{
    for (size_t k = 0; k < c; k++) {
        float s = l[k] + r[k], slope = s > 0 ? 1 : leak;
        float through = g * att[k] * slope;
        at->left[k] += through + alpha * at->y[k];
        at->right[k] += through;
        at->att[k] += g * slope * s;
    }
}

#define AVX2 __attribute__((target("avx2,fma")))
#define AVX2_INLINE __attribute__((target("avx2,fma"), always_inline)) static inline

AVX2_INLINE float sum_lanes(__m256 v)
{
    __m128 h = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    h = _mm_add_ps(h, _mm_movehl_ps(h, h));
    return _mm_cvtss_f32(_mm_add_ss(h, _mm_shuffle_ps(h, h, 1)));
}

/* leaky_relu(s) = max(s, slope s) for a slope below 1. */
AVX2 static float score_avx2(const float *l, const float *r, const float *att, float leak,
                             size_t c)
{
    __m256 sum = _mm256_setzero_ps(), slope = _mm256_set1_ps(leak);
    size_t k = 0;
    for (; k + 8 <= c; k += 8) {
        __m256 s = _mm256_add_ps(_mm256_loadu_ps(l + k), _mm256_loadu_ps(r + k));
        sum = _mm256_fmadd_ps(_mm256_loadu_ps(att + k),
                              _mm256_max_ps(s, _mm256_mul_ps(slope, s)), sum);
    }
    return sum_lanes(sum) + (k < c ? score_ref(l + k, r + k, att + k, leak, c - k) : 0);
}

AVX2 static float dot_avx2(const float *a, const float *b, size_t c)
{
    __m256 sum = _mm256_setzero_ps();
    size_t k = 0;
    for (; k + 8 <= c; k += 8)
        sum = _mm256_fmadd_ps(_mm256_loadu_ps(a + k), _mm256_loadu_ps(b + k), sum);
    return sum_lanes(sum) + (k < c ? dot_ref(a + k, b + k, c - k) : 0);
}

AVX2 static void add_scaled_avx2(float *to, float factor, const float *from, size_t c)
{
    __m256 f = _mm256_set1_ps(factor);
    size_t k = 0;
    for (; k + 8 <= c; k += 8)
        _mm256_storeu_ps(
            to + k, _mm256_fmadd_ps(f, _mm256_loadu_ps(from + k), _mm256_loadu_ps(to + k)));
    if (k < c)
        add_scaled_ref(to + k, factor, from + k, c - k);
}

AVX2 static void score_back_avx2(const struct gat_grads *at, float g, float alpha,
                                 const float *l, const float *r, const float *att,
                                 float leak_by, size_t c)
{
    __m256 vg = _mm256_set1_ps(g), va = _mm256_set1_ps(alpha), one = _mm256_set1_ps(1);
    __m256 leak = _mm256_set1_ps(leak_by), zero = _mm256_setzero_ps();
    size_t k = 0;
    for (; k + 8 <= c; k += 8) {
        __m256 s = _mm256_add_ps(_mm256_loadu_ps(l + k), _mm256_loadu_ps(r + k));
        __m256 slope = _mm256_blendv_ps(leak, one, _mm256_cmp_ps(s, zero, _CMP_GT_OQ));
        __m256 gs = _mm256_mul_ps(vg, slope);
        __m256 through = _mm256_mul_ps(gs, _mm256_loadu_ps(att + k));
        __m256 dl = _mm256_fmadd_ps(va, _mm256_loadu_ps(at->y + k), through);
        _mm256_storeu_ps(at->left + k, _mm256_add_ps(_mm256_loadu_ps(at->left + k), dl));
        _mm256_storeu_ps(at->right + k, _mm256_add_ps(_mm256_loadu_ps(at->right + k), through));
        _mm256_storeu_ps(at->att + k, _mm256_fmadd_ps(gs, s, _mm256_loadu_ps(at->att + k)));
    }
    if (k < c) {
        struct gat_grads rest = {
            .y = at->y + k, .left = at->left + k, .right = at->right + k, .att = at->att + k};
        score_back_ref(&rest, g, alpha, l + k, r + k, att + k, leak_by, c - k);
    }
}

static const struct head_math math_ref = {score_ref, dot_ref, add_scaled_ref, score_back_ref};
static const struct head_math math_avx2 = {score_avx2, dot_avx2, add_scaled_avx2,
                                           score_back_avx2};

/* The edges into a target, its self loop last, addressed 0 .. n-1. */
struct incoming {
    size_t first, edges, n; /* n counts the self loop, too */
    size_t self_row;        /* source row of the target */
    size_t self_at;         /* row of the self loop in alpha */
};
static struct incoming incoming_of(const struct gat *g, size_t i)
{
    const struct block *b = g->block;
    size_t edges = b->offsets[i + 1] - b->offsets[i];
    return (struct incoming){b->offsets[i], edges, edges + !g->no_loops, b->self[i],
                             b->n_edges + i};
}
static size_t row_of(const struct block *b, const struct incoming *in, size_t e)
{
    return e < in->edges ? b->source[in->first + e] : in->self_row;
}
static size_t alpha_of(const struct incoming *in, size_t e)
{
    return e < in->edges ? in->first + e : in->self_at;
}

/* What is added to the source's row before the leaky ReLU: the target's row, and the edge's
 * when edges have features. */
static const float *other_side(const struct gat *g, const float *right, size_t edge_row)
{
    size_t width = g->heads * g->c;
    if (!g->edge)
        return right;
    for (size_t k = 0; k < width; k++)
        g->sum[k] = right[k] + g->edge[edge_row * width + k];
    return g->sum;
}

/* Scores of all incoming edges become weights, in place in alpha. */
static void edge_softmax(const struct gat *g, const struct incoming *in, size_t h)
{
    float top = -INFINITY, sum = 0;
    for (size_t e = 0; e < in->n; e++)
        top = fmaxf(top, g->alpha[alpha_of(in, e) * g->heads + h]);
    for (size_t e = 0; e < in->n; e++) {
        float *a = &g->alpha[alpha_of(in, e) * g->heads + h];
        *a = expf(*a - top);
        sum += *a;
    }
    for (size_t e = 0; e < in->n; e++)
        g->alpha[alpha_of(in, e) * g->heads + h] /= sum;
}

static void forward_with(const struct head_math *m, const struct gat *g, float *y)
{
    const struct block *b = g->block;
    size_t width = g->heads * g->c;
    memset(y, 0, b->n_targets * width * sizeof *y);
    for (size_t i = 0; i < b->n_targets; i++) {
        struct incoming in = incoming_of(g, i);
        const float *right = g->right + i * width;
        for (size_t e = 0; e < in.n; e++) {
            if (in.first + e + AHEAD < b->n_edges)
                for (size_t k = 0; k < width; k += 16)
                    __builtin_prefetch(g->left + b->source[in.first + e + AHEAD] * width + k);
            const float *left = g->left + row_of(b, &in, e) * width;
            const float *other = other_side(g, right, alpha_of(&in, e));
            float *score = g->alpha + alpha_of(&in, e) * g->heads;
            for (size_t h = 0; h < g->heads; h++)
                score[h] = m->score(left + h * g->c, other + h * g->c, g->att + h * g->c,
                                    g->slope, g->c);
        }
        for (size_t h = 0; h < g->heads; h++)
            edge_softmax(g, &in, h);
        for (size_t e = 0; e < in.n; e++) {
            const float *left = g->left + row_of(b, &in, e) * width;
            const float *alpha = g->alpha + alpha_of(&in, e) * g->heads;
            for (size_t h = 0; h < g->heads; h++)
                m->add_scaled(y + i * width + h * g->c, alpha[h], left + h * g->c, g->c);
        }
    }
}

/* Softmax: d loss / d score_e = alpha_e (dalpha_e - sum_f alpha_f dalpha_f), with
 * dalpha_e = dy . left[e]. */
static void backward_with(const struct head_math *m, const struct gat *g,
                          const struct gat_grads *d)
{
    const struct block *b = g->block;
    size_t width = g->heads * g->c;
    for (size_t i = 0; i < b->n_targets; i++) {
        struct incoming in = incoming_of(g, i);
        for (size_t h = 0; h < g->heads; h++) {
            size_t at = h * g->c;
            const float *dy = d->y + i * width + at;
            float mean = 0;
            for (size_t e = 0; e < in.n; e++) {
                d->scratch[e] = m->dot(dy, g->left + row_of(b, &in, e) * width + at, g->c);
                mean += g->alpha[alpha_of(&in, e) * g->heads + h] * d->scratch[e];
            }
            for (size_t e = 0; e < in.n; e++) {
                size_t row = row_of(b, &in, e) * width + at, edge = alpha_of(&in, e);
                float alpha = g->alpha[edge * g->heads + h];
                const float *other = other_side(g, g->right + i * width, edge) + at;
                float *into = d->edge ? d->edge + edge * width + at : d->right + i * width + at;
                struct gat_grads here = {
                    .y = dy, .left = d->left + row, .right = into, .att = d->att + at};
                m->score_back(&here, alpha * (d->scratch[e] - mean), alpha, g->left + row,
                              other, g->att + at, g->slope, g->c);
            }
        }
        for (size_t e = 0; d->edge && e < in.n; e++) /* both sides of the sum have its slope */
            m->add_scaled(d->right + i * width, 1, d->edge + alpha_of(&in, e) * width, width);
    }
}

static void forward_ref(const struct gat *g, float *y)
{
    forward_with(&math_ref, g, y);
}
static void backward_ref(const struct gat *g, const struct gat_grads *d)
{
    backward_with(&math_ref, g, d);
}
static void forward_avx2(const struct gat *g, float *y)
{
    forward_with(&math_avx2, g, y);
}
static void backward_avx2(const struct gat *g, const struct gat_grads *d)
{
    backward_with(&math_avx2, g, d);
}

const struct gat_impl gat_impls[] = {
    {"ref", forward_ref, backward_ref, cpu_always},
    {"avx2", forward_avx2, backward_avx2, cpu_has_avx2},
    {NULL, NULL, NULL, NULL},
};

static const struct gat_impl *best(void)
{
    const struct gat_impl *last = &gat_impls[0];
    for (const struct gat_impl *i = gat_impls; i->name; i++)
        if (i->usable())
            last = i;
    return last;
}

struct gat_entry {
    struct gat g;
    struct gat_grads d;
};

/* A gradient nobody asked for (an input, a frozen parameter) goes to a throw-away buffer, so
 * that the kernels need not ask. */
static float *grad_or_spare(struct tape *t, float *grad, size_t n)
{
    if (grad)
        return grad;
    float *spare = tape_alloc(t, n, sizeof *spare);
    if (spare)
        memset(spare, 0, n * sizeof *spare);
    return spare;
}

static void gat_backward(struct tape *t, void *context)
{
    (void)t;
    const struct gat_entry *e = context;
    best()->backward(&e->g, &e->d);
}

/* Everything the way back needs is allocated here, where running out of memory is noticed. */
static void gat_record(struct tape *t, struct gat_entry *e, const struct gat_input *in,
                       struct tensor *y)
{
    const struct block *b = e->g.block;
    size_t width = y->cols, most = 0;
    for (size_t i = 0; i < b->n_targets; i++)
        if (b->offsets[i + 1] - b->offsets[i] > most)
            most = b->offsets[i + 1] - b->offsets[i];
    size_t rows = b->n_edges + (e->g.no_loops ? 0 : b->n_targets);
    e->d = (struct gat_grads){
        .y = y->grad,
        .left = grad_or_spare(t, in->left->grad, b->n_sources * width),
        .right = grad_or_spare(t, in->right->grad, b->n_targets * width),
        .att = grad_or_spare(t, tape_param_grad(t, in->att), width),
        .edge = in->edge ? grad_or_spare(t, in->edge->grad, rows * width) : NULL,
        .scratch = tape_alloc(t, most + 1, sizeof *e->d.scratch),
    };
    tape_record(t, gat_backward, e);
}

struct tensor *op_gatv2(struct tape *t, const struct gat_input *in, const struct block *b)
{
    if (!in->left || !in->right || t->failed)
        return NULL;
    struct tensor *left = in->left;
    bool needs = tape_needs(t, left, in->right) || tape_needs(t, in->edge, NULL) ||
                 tape_param_grad(t, in->att);
    struct tensor *y = tape_tensor(t, b->n_targets, left->cols, needs);
    struct gat_entry *e = tape_alloc(t, 1, sizeof *e);
    float *alpha = tape_alloc(t, (b->n_edges + b->n_targets) * in->heads + 1, sizeof *alpha);
    float *sum = tape_alloc(t, left->cols, sizeof *sum);
    if (!y || !e || !alpha || !sum)
        return NULL;
    e->g = (struct gat){.block = b,
                        .heads = in->heads,
                        .c = left->cols / in->heads,
                        .att = tape_param(t, in->att),
                        .left = left->value,
                        .right = in->right->value,
                        .alpha = alpha,
                        .edge = in->edge ? in->edge->value : NULL,
                        .sum = sum,
                        .slope = in->slope,
                        .no_loops = in->no_loops};
    best()->forward(&e->g, y->value);
    if (needs)
        gat_record(t, e, in, y);
    return t->failed ? NULL : y;
}
