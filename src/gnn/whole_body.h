/* whole_body.h: the kernels of whole.h in vectors, written once and included by whole_avx2.c
 * and whole_avx512.c, which define TARGET, V (floats), VI (32-bit integers), VL (their number),
 * LOADU, STOREU, SET1, MAX, FMA, ROUND, TO_INT, FROM_BITS, ADD_LANES, SELECT_POSITIVE and ROW.
 */
#include "gnn/whole.h"

#include "base/cpu.h"

#include <immintrin.h>
#include <math.h>
#include <string.h>

#define INLINE TARGET static inline __attribute__((always_inline))

/* Rows this many edges ahead are asked for: random rows miss every cache and the next edges are
 * known. Rows of 128 floats, 2M edges, Zen 5, one thread: 6 ahead 43 ms, 12 ahead 34, 18 to 48
 * ahead 28 to 30. */
enum { AHEAD = 24, EDGES = 16, MOST_HEADS = WHOLE_MOST_HEADS };
#define SLOPE 0.2f

INLINE void ask(const float *row, size_t columns)
{
    for (size_t k = 0; k < columns; k += 16)
        _mm_prefetch((const char *)(row + k), _MM_HINT_T0);
}

INLINE float scale_of(const float *scale, size_t i)
{
    return scale ? scale[i] : 1;
}

/* `count` vectors of columns of one row, held in registers. */
INLINE void gather_vectors(const struct gather *g, const float *x, size_t i, float *out,
                           const int count)
{
    V s[8];
    size_t end = g->offsets[i + 1], stride = g->columns;
    const V own = SET1(g->self ? scale_of(g->column_scale, i) : 0);
    for (int k = 0; k < count; k++)
        s[k] = g->self ? (V)(own * LOADU(x + i * stride + VL * k)) : (V)SET1(0);
    for (size_t e = g->offsets[i]; e < end; e++) {
        size_t j = g->source[e];
        ask(x + g->source[e + AHEAD < g->edges ? e + AHEAD : e] * stride, (size_t)count * VL);
        V f = SET1(scale_of(g->weight, e) * scale_of(g->column_scale, j));
        for (int k = 0; k < count; k++)
            s[k] = FMA(f, LOADU(x + j * stride + VL * k), s[k]);
    }
    const V all = SET1(scale_of(g->row_scale, i));
    for (int k = 0; k < count; k++)
        STOREU(out + VL * k, all * s[k]);
}

INLINE void gather_one(const struct gather *g, const float *x, size_t i, float *out)
{
    float sum = g->self ? scale_of(g->column_scale, i) * x[i * g->columns] : 0;
    for (size_t e = g->offsets[i]; e < g->offsets[i + 1]; e++) {
        size_t j = g->source[e];
        sum += scale_of(g->weight, e) * scale_of(g->column_scale, j) * x[j * g->columns];
    }
    *out = scale_of(g->row_scale, i) * sum;
}

TARGET static void gather(const struct gather *g, const float *x, size_t first, size_t n,
                          float *out)
{
    for (size_t i = first; i < first + n; i++, out += g->columns) {
        size_t k = 0;
        for (; k + 8 * VL <= g->columns; k += 8 * VL)
            gather_vectors(g, x + k, i, out + k, 8);
        for (; k + 4 * VL <= g->columns; k += 4 * VL)
            gather_vectors(g, x + k, i, out + k, 4);
        for (; k + 2 * VL <= g->columns; k += 2 * VL)
            gather_vectors(g, x + k, i, out + k, 2);
        for (; k + VL <= g->columns; k += VL)
            gather_vectors(g, x + k, i, out + k, 1);
        for (; k < g->columns; k++)
            gather_one(g, x + k, i, out + k);
    }
}

/* ---- attention ---- */

/* Cephes' expf, about 1 ulp, for x <= 88; far below the range it gives the least normal number,
 * as vec_body.h does. */
INLINE V exp_of(V x)
{
    x = MAX(x, SET1(-87.33654f));
    V k = ROUND(x * SET1(1.44269504088896341f));
    V r = FMA(k, SET1(-0.693359375f), x);
    r = FMA(k, SET1(2.12194440e-4f), r);
    V p = SET1(1.9875691500e-4f);
    p = FMA(p, r, SET1(1.3981999507e-3f));
    p = FMA(p, r, SET1(8.3334519073e-3f));
    p = FMA(p, r, SET1(4.1665795894e-2f));
    p = FMA(p, r, SET1(1.6666665459e-1f));
    p = FMA(p, r, SET1(5.0000001201e-1f));
    p = FMA(p, r * r, r) + SET1(1);
    return p * FROM_BITS((TO_INT(k) + 127) << 23);
}

INLINE void exp_many(float *x, size_t n)
{
    for (size_t e = 0; e < n; e += VL)
        STOREU(x + e, exp_of(LOADU(x + e)));
}

INLINE V leaky(V s)
{
    return MAX(s, SET1(SLOPE) * s);
}

/* The edges of a row a few at a time; the node itself comes last. */
struct walk {
    const struct attend *a;
    size_t i, at, end; /* end counts the node itself */
};
INLINE size_t walk_take(struct walk *w, const float *one, const float *two, uint32_t *node)
{
    size_t n = w->end - w->at < EDGES ? w->end - w->at : EDGES, width = w->a->heads * w->a->c;
    for (size_t e = 0; e < n; e++)
        node[e] = w->at + e + 1 < w->end ? w->a->source[w->at + e] : (uint32_t)w->i;
    for (size_t e = 0; e < n; e++) { /* what the next call will read */
        if (w->at + e + n >= w->a->edges)
            break;
        size_t ahead = w->a->source[w->at + e + n];
        ask(one + ahead * width, width);
        if (two)
            ask(two + ahead * width, width);
    }
    w->at += n;
    return n;
}
INLINE struct walk walk_of(const struct attend *a, size_t i)
{
    return (struct walk){a, i, a->offsets[i], a->offsets[i + 1] + 1};
}

INLINE float score_of(const struct attend *a, const float *l, const float *r, size_t h)
{
    V sum = SET1(0);
    for (size_t k = h * a->c; k < (h + 1) * a->c; k += VL)
        sum = FMA(LOADU(a->att + k), leaky(LOADU(l + k) + LOADU(r + k)), sum);
    return ADD_LANES(sum);
}

/* Online softmax (Milakov and Gimelshein 2018): when a greater score turns up, what has been
 * summed is scaled down to it. */
INLINE void attend_row(const struct attend *a, size_t i)
{
    size_t width = a->heads * a->c;
    float top[MOST_HEADS], sum[MOST_HEADS], p[MOST_HEADS][EDGES];
    float *y = a->y + i * width;
    uint32_t node[EDGES];
    memset(y, 0, width * sizeof *y);
    memset(p, 0, sizeof p);
    for (size_t h = 0; h < a->heads; h++)
        top[h] = -INFINITY, sum[h] = 0;
    for (struct walk w = walk_of(a, i); w.at < w.end;) {
        size_t n = walk_take(&w, a->left, NULL, node);
        for (size_t e = 0; e < n; e++)
            for (size_t h = 0; h < a->heads; h++)
                p[h][e] = score_of(a, a->left + node[e] * width, a->right + i * width, h);
        for (size_t h = 0; h < a->heads; h++) {
            float most = top[h];
            for (size_t e = 0; e < n; e++)
                most = p[h][e] > most ? p[h][e] : most;
            float shrink = top[h] == most ? 1 : expf(top[h] - most);
            for (size_t k = h * a->c; shrink < 1 && k < (h + 1) * a->c; k += VL)
                STOREU(y + k, LOADU(y + k) * SET1(shrink));
            for (size_t e = 0; e < EDGES; e++)
                p[h][e] = e < n ? p[h][e] - most : -INFINITY;
            exp_many(p[h], n);
            sum[h] *= shrink;
            for (size_t e = 0; e < n; e++)
                sum[h] += p[h][e];
            top[h] = most;
            for (size_t k = h * a->c; k < (h + 1) * a->c; k += VL) {
                V s = LOADU(y + k);
                for (size_t e = 0; e < n; e++)
                    s = FMA(SET1(p[h][e]), LOADU(a->left + node[e] * width + k), s);
                STOREU(y + k, s);
            }
        }
    }
    for (size_t h = 0; h < a->heads; h++) {
        a->log_sum[i * a->heads + h] = top[h] + logf(sum[h]);
        for (size_t k = h * a->c; k < (h + 1) * a->c; k += VL) {
            V s = FMA(LOADU(y + k), SET1(1 / sum[h]), LOADU(a->bias + k));
            STOREU(y + k, s);
        }
    }
}

TARGET static void attend(const struct attend *a, size_t first, size_t n)
{
    for (size_t i = first; i < first + n; i++)
        attend_row(a, i);
}

/* p = alpha and g = d loss / d score of edges node[e] of row i. `flip`: the row walked is the
 * source. alpha (dy . left - dy . y) is the way back through the softmax. */
INLINE void edge_grads(const struct attend *a, size_t i, const uint32_t *node, size_t n,
                       float p[][EDGES], float g[][EDGES], const bool flip)
{
    size_t width = a->heads * a->c;
    for (size_t e = 0; e < n; e++) {
        size_t target = flip ? node[e] : i, source = flip ? i : node[e];
        const float *l = a->left + source * width, *r = a->right + target * width;
        const float *dy = a->dy + target * width;
        for (size_t h = 0; h < a->heads; h++) {
            V s = SET1(0), d = SET1(0);
            for (size_t k = h * a->c; k < (h + 1) * a->c; k += VL) {
                V row = LOADU(l + k);
                s = FMA(LOADU(a->att + k), leaky(row + LOADU(r + k)), s);
                d = FMA(LOADU(dy + k), row, d);
            }
            p[h][e] = ADD_LANES(s) - a->log_sum[target * a->heads + h];
            g[h][e] = ADD_LANES(d) - a->inner[target * a->heads + h];
        }
    }
    for (size_t h = 0; h < a->heads; h++) {
        exp_many(p[h], n);
        for (size_t e = 0; e < n; e++)
            g[h][e] *= p[h][e];
    }
}

TARGET static void back_right(const struct attend *a, size_t first, size_t rows)
{
    size_t width = a->heads * a->c;
    float p[MOST_HEADS][EDGES] = {{0}}, g[MOST_HEADS][EDGES] = {{0}};
    uint32_t node[EDGES];
    for (size_t i = first; i < first + rows; i++)
        for (struct walk w = walk_of(a, i); w.at < w.end;) {
            size_t n = walk_take(&w, a->left, NULL, node);
            edge_grads(a, i, node, n, p, g, false);
            for (size_t h = 0; h < a->heads; h++)
                for (size_t k = h * a->c; k < (h + 1) * a->c; k += VL) {
                    V att = LOADU(a->att + k), r = LOADU(a->right + i * width + k);
                    V dr = LOADU(a->dright + i * width + k), da = LOADU(a->datt + k);
                    for (size_t e = 0; e < n; e++) {
                        V s = LOADU(a->left + node[e] * width + k) + r, gs = SET1(g[h][e]);
                        V slope = SELECT_POSITIVE(s, SET1(1), SET1(SLOPE));
                        dr = FMA(gs * slope, att, dr);
                        da = FMA(gs, leaky(s), da);
                    }
                    STOREU(a->dright + i * width + k, dr);
                    STOREU(a->datt + k, da);
                }
        }
}

TARGET static void back_left(const struct attend *a, size_t first, size_t rows)
{
    size_t width = a->heads * a->c;
    float p[MOST_HEADS][EDGES] = {{0}}, g[MOST_HEADS][EDGES] = {{0}};
    uint32_t node[EDGES];
    for (size_t j = first; j < first + rows; j++)
        for (struct walk w = walk_of(a, j); w.at < w.end;) {
            size_t n = walk_take(&w, a->right, a->dy, node);
            edge_grads(a, j, node, n, p, g, true);
            for (size_t h = 0; h < a->heads; h++)
                for (size_t k = h * a->c; k < (h + 1) * a->c; k += VL) {
                    V att = LOADU(a->att + k), l = LOADU(a->left + j * width + k);
                    V dl = LOADU(a->dleft + j * width + k);
                    for (size_t e = 0; e < n; e++) {
                        size_t at = node[e] * width + k;
                        V s = l + LOADU(a->right + at);
                        V slope = SELECT_POSITIVE(s, SET1(1), SET1(SLOPE));
                        dl = FMA(SET1(p[h][e]), LOADU(a->dy + at), dl);
                        dl = FMA(SET1(g[h][e]) * slope, att, dl);
                    }
                    STOREU(a->dleft + j * width + k, dl);
                }
        }
}

/* ---- element by element ---- */

TARGET static void relu(float *x, size_t n)
{
    size_t k = 0;
    for (; k + VL <= n; k += VL)
        STOREU(x + k, MAX(LOADU(x + k), SET1(0)));
    for (; k < n; k++)
        x[k] = x[k] > 0 ? x[k] : 0;
}

TARGET static void relu_back(const float *x, float *grad, size_t n)
{
    size_t k = 0;
    for (; k + VL <= n; k += VL)
        STOREU(grad + k, SELECT_POSITIVE(LOADU(x + k), LOADU(grad + k), SET1(0)));
    for (; k < n; k++)
        grad[k] = x[k] > 0 ? grad[k] : 0;
}

TARGET static void add(float *sum, const float *x, size_t n)
{
    size_t k = 0;
    for (; k + VL <= n; k += VL)
        STOREU(sum + k, LOADU(sum + k) + LOADU(x + k));
    for (; k < n; k++)
        sum[k] += x[k];
}

const struct whole_impl ROW = {
    .name = ROW_NAME,
    .usable = ROW_USABLE,
    .lanes = VL,
    .gather = gather,
    .attend = attend,
    .back_right = back_right,
    .back_left = back_left,
    .add = add,
    .relu = relu,
    .relu_back = relu_back,
};
