/* whole.h: message passing over a whole graph, spread over the thread pool. A block whose
 * `reverse` is set is square (target i is source i) and knows its edges from both ends, so that
 * the way back gathers rows as the way forward does: no two threads write to one row, and sums
 * run in one order whatever the number of threads.
 *
 * Tests: tests/test_gnn_whole.c; speed: bench/bench_gnn.c. */
#ifndef GNN_WHOLE_H
#define GNN_WHOLE_H

#include "base/error.h"
#include "gnn/block.h"

/* The edges of a square block seen from their sources. */
struct reverse {
    size_t n;                /* nodes */
    const uint32_t *offsets; /* [n+1] */
    const uint32_t *target;  /* [edges] ascending within a source */
    const float *weight;     /* [edges] in this order; NULL: every weight is 1 */
    float *inverse_degree;   /* [n] 1 / edges into a node; 0 for none */
    float *inverse_root;     /* [n] 1 / sqrt(1 + weighted degree) */
    bool borrowed; /* the first three arrays are the block's: the graph is symmetric */
};
/* EINVAL when sources and targets of b are not the same nodes. b->reverse = *out is up to the
 * caller. Arrays of b must outlive it. */
medley_status reverse_new(const struct block *b, struct reverse **out, medley_error *err);
void reverse_free(struct reverse *r);

/* out[i - first] = row_scale[i] (self x[i] + sum over e of i of weight[e] x'[source[e]]) with
 * x'[j] = column_scale[j] x[j] for the neighbours and i itself; a scale that is NULL is 1. */
struct gather {
    const uint32_t *offsets, *source;
    size_t edges;
    const float *weight, *row_scale, *column_scale; /* each may be NULL */
    bool self;
    size_t columns;
};

enum { WHOLE_MOST_HEADS = 16 };
/* GATv2 over a whole graph; arrays are [n, heads*c] or [n, heads]. With s = left[j] + right[i]
 * and alpha_ij = exp(att . leaky_relu(s) - log_sum[i]). */
struct attend {
    const uint32_t *offsets, *source; /* edges of the rows walked: of targets, or (back to the
                                         left) of sources; the node itself always belongs */
    size_t edges;
    unsigned heads;
    size_t c;
    const float *att, *left, *right;
    const float *bias;            /* [heads*c] */
    float *y;                     /* forward's result: the weighted sum + bias */
    float *log_sum;               /* [n, heads] written by forward */
    const float *dy;              /* gradient of sum + bias */
    const float *inner;           /* [n, heads] dy . sum */
    float *dleft, *dright, *datt; /* added to */
};

struct whole_impl {
    const char *name;
    bool (*usable)(void);
    size_t lanes; /* attend runs where these divide c */
    void (*gather)(const struct gather *g, const float *x, size_t first, size_t n, float *out);
    void (*attend)(const struct attend *a, size_t first, size_t n);
    void (*back_right)(const struct attend *a, size_t first, size_t n); /* dright, datt */
    void (*back_left)(const struct attend *a, size_t first, size_t n);  /* dleft */
    void (*add)(float *sum, const float *x, size_t n);
    void (*relu)(float *x, size_t n);
    void (*relu_back)(const float *x, float *grad, size_t n); /* grad = 0 where x is not > 0 */
};
extern const struct whole_impl *const whole_impls[]; /* slowest first, NULL at the end */
extern const struct whole_impl whole_ref;
#if defined(__x86_64__)
extern const struct whole_impl whole_avx2, whole_avx512;

#endif
const struct whole_impl *whole(size_t c); /* the fastest usable row for heads of c columns */

/* A cut of the rows into parts of about as many edges: depends on the graph alone. */
struct parts {
    const uint32_t *offsets;
    size_t rows, count;
};
struct parts parts_of(const uint32_t *offsets, size_t rows, size_t most);
size_t parts_begin(const struct parts *p, size_t part);

/* The sparse product alone, over the pool: out[n, columns]. */
void whole_gather(const struct gather *g, const float *x, size_t rows, float *out);

/* y = (A x) w^T + bias (+ x own_w^T), A as `forward` gathers and A^T as `back` does. Neither A
 * x nor its gradient is stored: tiles of rows are gathered into cache and multiplied there, and
 * the way back gathers G = A^T dy, from which come dw = G^T x and dx = G w. */
struct whole_linear {
    const struct block *block;
    struct gather forward, back;
    param_id w, bias, own_w; /* own_w may be PARAM_NONE */
};
struct tensor *op_whole_linear(struct tape *t, struct tensor *x, const struct whole_linear *l);

/* As op_gatv2 followed by the bias [heads*c]: one pass over the edges forward, two back, and no
 * number is kept per edge. */
struct tensor *op_whole_gatv2(struct tape *t, struct tensor *left, struct tensor *right,
                              param_id att, param_id bias, const struct block *b,
                              unsigned heads);

/* relu in place on the result of an op above, none of which reads back what becomes 0: returns
 * x itself. Saves three arrays of x's size beside op_activation. */
struct tensor *op_whole_relu(struct tape *t, struct tensor *x);

#endif
