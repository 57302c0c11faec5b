/* gat.c: GATv2 (Brody et al. 2022, eq. 7). "How does it weigh neighbours?": the score of
 * neighbour j for target i is att . leaky_relu(W_l x_j + W_r x_i), per head; a softmax over the
 * neighbours and i itself turns scores into weights. Unlike GAT (Velickovic et al. 2018) the
 * non-linearity stands inside, so that the ranking of neighbours can depend on the target.
 *
 * Scores, softmax and weighted sum are one op: the scores of an edge are used where they are
 * made, and only the weights alpha are kept for the backward pass. */
#include "gnn/layer.h"
#include "gnn/whole.h"

#include "base/cpu.h"
#include "nn/ops.h"

#include <immintrin.h>
#include <math.h>
#include <string.h>

#define SLOPE 0.2f
enum { AHEAD = 4 };

/* The arithmetic on one head's C columns that differs between instruction sets. */
struct head_math {
    /* att . leaky_relu(l + r) */
    float (*score)(const float *l, const float *r, const float *att, size_t c);
    float (*dot)(const float *a, const float *b, size_t c);
    void (*add_scaled)(float *to, float factor, const float *from, size_t c);
    /* g is d loss / d score: adds to dl (also alpha * dy), dr and datt */
    void (*score_back)(const struct gat_grads *at, float g, float alpha, const float *l,
                       const float *r, const float *att, size_t c);
};

static float score_ref(const float *l, const float *r, const float *att, size_t c)
{
    float sum = 0;
    for (size_t k = 0; k < c; k++) {
        float s = l[k] + r[k];
        sum += att[k] * (s > 0 ? s : SLOPE * s);
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
                           const float *r, const float *att, size_t c)
{
    for (size_t k = 0; k < c; k++) {
        float s = l[k] + r[k], slope = s > 0 ? 1 : SLOPE;
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
AVX2 static float score_avx2(const float *l, const float *r, const float *att, size_t c)
{
    __m256 sum = _mm256_setzero_ps(), slope = _mm256_set1_ps(SLOPE);
    size_t k = 0;
    for (; k + 8 <= c; k += 8) {
        __m256 s = _mm256_add_ps(_mm256_loadu_ps(l + k), _mm256_loadu_ps(r + k));
        sum = _mm256_fmadd_ps(_mm256_loadu_ps(att + k),
                              _mm256_max_ps(s, _mm256_mul_ps(slope, s)), sum);
    }
    return sum_lanes(sum) + (k < c ? score_ref(l + k, r + k, att + k, c - k) : 0);
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
                                 const float *l, const float *r, const float *att, size_t c)
{
    __m256 vg = _mm256_set1_ps(g), va = _mm256_set1_ps(alpha), one = _mm256_set1_ps(1);
    __m256 leak = _mm256_set1_ps(SLOPE), zero = _mm256_setzero_ps();
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
        struct gat_grads rest = {at->y + k, at->left + k, at->right + k, at->att + k, NULL};
        score_back_ref(&rest, g, alpha, l + k, r + k, att + k, c - k);
    }
}

static const struct head_math math_ref = {score_ref, dot_ref, add_scaled_ref, score_back_ref};
static const struct head_math math_avx2 = {score_avx2, dot_avx2, add_scaled_avx2,
                                           score_back_avx2};

/* The edges into a target, its self loop last, addressed 0 .. n-1. */
struct incoming {
    size_t first, n; /* edges; n counts the self loop */
    size_t self_row; /* source row of the target */
    size_t self_at;  /* row of the self loop in alpha */
};
static struct incoming incoming_of(const struct block *b, size_t i)
{
    return (struct incoming){b->offsets[i], b->offsets[i + 1] - b->offsets[i] + 1, b->self[i],
                             b->n_edges + i};
}
static size_t row_of(const struct block *b, const struct incoming *in, size_t e)
{
    return e + 1 < in->n ? b->source[in->first + e] : in->self_row;
}
static size_t alpha_of(const struct incoming *in, size_t e)
{
    return e + 1 < in->n ? in->first + e : in->self_at;
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
        struct incoming in = incoming_of(b, i);
        const float *right = g->right + i * width;
        for (size_t e = 0; e < in.n; e++) {
            if (in.first + e + AHEAD < b->n_edges)
                for (size_t k = 0; k < width; k += 16)
                    __builtin_prefetch(g->left + b->source[in.first + e + AHEAD] * width + k);
            const float *left = g->left + row_of(b, &in, e) * width;
            float *score = g->alpha + alpha_of(&in, e) * g->heads;
            for (size_t h = 0; h < g->heads; h++)
                score[h] = m->score(left + h * g->c, right + h * g->c, g->att + h * g->c, g->c);
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
        struct incoming in = incoming_of(b, i);
        for (size_t h = 0; h < g->heads; h++) {
            size_t at = h * g->c;
            const float *dy = d->y + i * width + at, *right = g->right + i * width + at;
            float mean = 0;
            for (size_t e = 0; e < in.n; e++) {
                d->scratch[e] = m->dot(dy, g->left + row_of(b, &in, e) * width + at, g->c);
                mean += g->alpha[alpha_of(&in, e) * g->heads + h] * d->scratch[e];
            }
            for (size_t e = 0; e < in.n; e++) {
                size_t row = row_of(b, &in, e) * width + at;
                float alpha = g->alpha[alpha_of(&in, e) * g->heads + h];
                struct gat_grads here = {dy, d->left + row, d->right + i * width + at,
                                         d->att + at, NULL};
                m->score_back(&here, alpha * (d->scratch[e] - mean), alpha, g->left + row,
                              right, g->att + at, g->c);
            }
        }
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
static void gat_record(struct tape *t, struct gat_entry *e, struct tensor *left,
                       struct tensor *right, struct tensor *y, param_id att)
{
    const struct block *b = e->g.block;
    size_t width = y->cols, most = 0;
    for (size_t i = 0; i < b->n_targets; i++)
        if (b->offsets[i + 1] - b->offsets[i] > most)
            most = b->offsets[i + 1] - b->offsets[i];
    e->d = (struct gat_grads){
        .y = y->grad,
        .left = grad_or_spare(t, left->grad, b->n_sources * width),
        .right = grad_or_spare(t, right->grad, b->n_targets * width),
        .att = grad_or_spare(t, tape_param_grad(t, att), width),
        .scratch = tape_alloc(t, most + 1, sizeof *e->d.scratch),
    };
    tape_record(t, gat_backward, e);
}

struct tensor *op_gatv2(struct tape *t, struct tensor *left, struct tensor *right, param_id att,
                        const struct block *b, unsigned heads)
{
    if (!left || !right)
        return NULL;
    bool needs = tape_needs(t, left, right) || tape_param_grad(t, att);
    struct tensor *y = tape_tensor(t, b->n_targets, left->cols, needs);
    struct gat_entry *e = tape_alloc(t, 1, sizeof *e);
    float *alpha = tape_alloc(t, (b->n_edges + b->n_targets) * heads + 1, sizeof *alpha);
    if (!y || !e || !alpha)
        return NULL;
    e->g = (struct gat){.block = b,
                        .heads = heads,
                        .c = left->cols / heads,
                        .att = tape_param(t, att),
                        .left = left->value,
                        .right = right->value,
                        .alpha = alpha};
    best()->forward(&e->g, y->value);
    if (needs)
        gat_record(t, e, left, right, y, att);
    return t->failed ? NULL : y;
}

/* Mean over heads: x[N, heads*C] to [N, C]. */
struct mean_entry {
    struct tensor *x, *y;
    unsigned heads;
};

static void head_mean_backward(struct tape *t, void *context)
{
    (void)t;
    const struct mean_entry *e = context;
    size_t c = e->y->cols;
    for (size_t i = 0; i < e->y->rows; i++)
        for (size_t h = 0; h < e->heads; h++)
            for (size_t k = 0; k < c; k++)
                e->x->grad[(i * e->heads + h) * c + k] +=
                    e->y->grad[i * c + k] / (float)e->heads;
}

static struct tensor *head_mean(struct tape *t, struct tensor *x, unsigned heads)
{
    if (!x || heads == 1)
        return x;
    size_t c = x->cols / heads;
    bool needs = tape_needs(t, x, NULL);
    struct tensor *y = tape_tensor(t, x->rows, c, needs);
    struct mean_entry *e = tape_alloc(t, 1, sizeof *e);
    if (!y || !e)
        return NULL;
    *e = (struct mean_entry){x, y, heads};
    for (size_t i = 0; i < y->rows; i++)
        for (size_t k = 0; k < c; k++) {
            float sum = 0;
            for (size_t h = 0; h < heads; h++)
                sum += x->value[(i * heads + h) * c + k];
            y->value[i * c + k] = sum / (float)heads;
        }
    if (needs)
        tape_record(t, head_mean_backward, e);
    return y;
}

/* y = x + bias: the bias comes after the weighted sum, so no linear map can carry it. */
struct bias_entry {
    struct tensor *x, *y;
    param_id bias;
};

static void add_bias_backward(struct tape *t, void *context)
{
    const struct bias_entry *e = context;
    float *grad = tape_param_grad(t, e->bias);
    for (size_t i = 0; i < e->y->rows; i++)
        for (size_t k = 0; k < e->y->cols; k++) {
            float g = e->y->grad[i * e->y->cols + k];
            if (e->x->grad)
                e->x->grad[i * e->y->cols + k] += g;
            if (grad)
                grad[k] += g;
        }
}

static struct tensor *add_bias(struct tape *t, struct tensor *x, param_id bias)
{
    if (!x)
        return NULL;
    bool needs = tape_needs(t, x, NULL) || tape_param_grad(t, bias);
    struct tensor *y = tape_tensor(t, x->rows, x->cols, needs);
    struct bias_entry *e = tape_alloc(t, 1, sizeof *e);
    if (!y || !e)
        return NULL;
    *e = (struct bias_entry){x, y, bias};
    const float *b = tape_param(t, bias);
    for (size_t i = 0; i < x->rows; i++)
        for (size_t k = 0; k < x->cols; k++)
            y->value[i * x->cols + k] = x->value[i * x->cols + k] + b[k];
    if (needs)
        tape_record(t, add_bias_backward, e);
    return y;
}

enum { ATT, BIAS, LEFT_WEIGHT, LEFT_BIAS, RIGHT_WEIGHT, RIGHT_BIAS };

static void declare(struct layer *l, struct params *p, const char *prefix)
{
    const struct layer_shape *s = &l->shape;
    size_t width = s->average_heads ? s->out * s->heads : s->out;
    param_id *id = l->params;
    id[ATT] = params_add(p, 2, s->heads, width / s->heads, INIT_GLOROT, 1, "%s.att", prefix);
    id[BIAS] = params_add(p, 1, 1, s->out, INIT_ZERO, 0, "%s.bias", prefix);
    id[LEFT_WEIGHT] = params_add(p, 2, width, s->in, INIT_GLOROT, 1, "%s.lin_l.weight", prefix);
    id[LEFT_BIAS] = params_add(p, 1, 1, width, INIT_ZERO, 0, "%s.lin_l.bias", prefix);
    id[RIGHT_WEIGHT] =
        params_add(p, 2, width, s->in, INIT_GLOROT, 1, "%s.lin_r.weight", prefix);
    id[RIGHT_BIAS] = params_add(p, 1, 1, width, INIT_ZERO, 0, "%s.lin_r.bias", prefix);
}

static struct tensor *forward_whole(struct tape *t, const struct layer *l, struct tensor *x,
                                    const struct block *b)
{
    const param_id *id = l->params;
    bool spread = t->spread;
    t->spread = true;
    struct tensor *left = op_linear(t, x, id[LEFT_WEIGHT], id[LEFT_BIAS], ACT_NONE);
    struct tensor *right = op_linear(t, x, id[RIGHT_WEIGHT], id[RIGHT_BIAS], ACT_NONE);
    t->spread = spread;
    return op_whole_gatv2(t, left, right, id[ATT], id[BIAS], b, l->shape.heads);
}

static struct tensor *forward(struct tape *t, const struct layer *l, struct tensor *x,
                              const struct block *b)
{
    if (b->reverse && !l->shape.average_heads && l->shape.heads <= WHOLE_MOST_HEADS)
        return forward_whole(t, l, x, b);
    const param_id *id = l->params;
    struct tensor *left = op_linear(t, x, id[LEFT_WEIGHT], id[LEFT_BIAS], ACT_NONE);
    struct tensor *own = op_rows(t, x, b->self, b->n_targets);
    struct tensor *right = op_linear(t, own, id[RIGHT_WEIGHT], id[RIGHT_BIAS], ACT_NONE);
    struct tensor *y = op_gatv2(t, left, right, id[ATT], b, l->shape.heads);
    if (l->shape.average_heads)
        y = head_mean(t, y, l->shape.heads);
    return add_bias(t, y, id[BIAS]);
}

const struct layer_ops layer_gatv2 = {
    .name = "gatv2",
    .about = "attention over neighbours, several heads (Brody et al. 2022)",
    .declare = declare,
    .forward = forward,
};
