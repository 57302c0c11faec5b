/* block.h: one hop of message passing as a bipartite graph, and the sparse ops that run over
 * it. A block is a whole graph (sources = targets) or one hop of a sample (sampler.h).
 *
 * Self loops are not stored as edges: layers that want them use `self`. */
#ifndef GNN_BLOCK_H
#define GNN_BLOCK_H

#include "nn/tape.h"

struct block {
    size_t n_targets, n_sources, n_edges;
    const uint32_t *self;    /* [n_targets] the source row that is the target itself */
    const uint32_t *offsets; /* [n_targets+1] edges into target i: offsets[i] .. offsets[i+1] */
    const uint32_t *source;  /* [n_edges] source row */
    const float *weight;     /* [n_edges], scaled up by degree / sample size where sampled */
    /* Weighted degrees without the self loop, for symmetric normalisation (gcn); NULL for
     * layers that do not ask for them. The degree of a source is kept per edge because a hidden
     * edge makes it depend on who looks (see sampler.h). */
    const float *target_degree; /* [n_targets] */
    const float *source_degree; /* [n_edges] */
    /* A whole graph's edges from the other end (whole.h): layers then run over the pool. NULL
     * for samples. */
    const struct reverse *reverse;
    const float *loop_weight;   /* [n_sources] of the self loops that gcn adds; NULL: 1 each */
    /* For layers that read them, else NULL: which relations an edge belongs to, a bit each
     * (rgcn), and features of the edges (gatv2). */
    const uint32_t *relations; /* [n_edges] */
    const float *features;     /* [n_edges, feature_columns] */
    size_t feature_columns;
};

/* y[i] = self_factor[i] x[self[i]] + sum over edges e into i of factor[e] x[source[e]].
 * self_factor may be NULL (no self loop). Factors are constants: no gradient flows into them.
 */
struct tensor *op_aggregate(struct tape *t, struct tensor *x, const struct block *b,
                            const float *factor, const float *self_factor);

/* y[i] = the largest x[source[e]] of the edges e into i, column by column; 0 without edges. The
 * gradient goes to the largest, in equal parts where several are. */
struct tensor *op_aggregate_max(struct tape *t, struct tensor *x, const struct block *b);

/* The arithmetic of op_aggregate: forward reads x and writes y, backward reads y's gradient and
 * adds into x's. One table, slowest first; row 0 is the definition. */
struct aggregate {
    const struct block *block;
    const float *factor, *self_factor;
    size_t columns;
};
struct aggregate_impl {
    const char *name;
    void (*forward)(const struct aggregate *a, const float *x, float *y);
    void (*backward)(const struct aggregate *a, const float *dy, float *dx);
    bool (*usable)(void);
};
extern const struct aggregate_impl aggregate_impls[];

/* GATv2 attention over the edges of a block and the self loop (Brody et al. 2022, eq. 7):
 *   e_ij = att_h . leaky_relu(left[j] + right[i] + edge[ij]),  a = softmax over j,
 *   y[i] = sum_j a_ij left[j];  0 where there is nothing to sum; y[n_targets, heads*C]. */
struct gat_input {
    struct tensor *left;  /* [n_sources, heads*C] */
    struct tensor *right; /* [n_targets, heads*C] */
    struct tensor *edge;  /* [n_edges + n_targets (self loops), heads*C] or NULL */
    param_id att;         /* [heads, C] */
    unsigned heads;
    float slope;   /* of the leaky ReLU, below 1 */
    bool no_loops; /* edges only */
};
struct tensor *op_gatv2(struct tape *t, const struct gat_input *in, const struct block *b);

struct gat {
    const struct block *block;
    unsigned heads;
    size_t c;         /* columns of a head */
    const float *att; /* [heads, c] */
    const float *left, *right;
    float *alpha;      /* [(n_edges + n_targets), heads]: edges first, then self loops */
    const float *edge; /* as alpha's rows, [heads * c] each; NULL: none */
    float *sum;        /* [heads * c] scratch, with edge */
    float slope;
    bool no_loops;
};
struct gat_grads {
    const float *y;            /* gradient of the result */
    float *left, *right, *att; /* added to; each may be NULL */
    float *edge;               /* with edge: zero before; NULL: none */
    float *scratch;            /* [largest in-degree + 1] */
};
struct gat_impl {
    const char *name;
    void (*forward)(const struct gat *g, float *y);
    void (*backward)(const struct gat *g, const struct gat_grads *d);
    bool (*usable)(void);
};
extern const struct gat_impl gat_impls[];

#endif
