/* ops.h: differentiable operations on tensors. Every op accepts NULL inputs (from a failed
 * tape) and then returns NULL, so that a forward function checks once at the end. Gradients are
 * accumulated (+=). Shapes: N rows, D columns. Every op is checked against finite differences.
 * Ids, indices, labels, offsets and shapes that do not fit are broken invariants (assert):
 * check what comes from files before. Index lists are copied, so they need not outlive the
 * call. */
#ifndef NN_OPS_H
#define NN_OPS_H

#include "nn/activation.h"
#include "nn/tape.h"

/* Ragged batches: sequence s owns rows offsets[s] .. offsets[s+1]; no padding anywhere. */
struct ragged {
    const uint32_t *offsets; /* [n+1] */
    size_t n;
};

/* A parameter as a tensor [rows, cols]; gradients go straight to the parameter's. */
struct tensor *op_table(struct tape *t, param_id id);
struct tensor *op_embed(struct tape *t, param_id table, const int32_t *ids,
                        size_t n); /* [n,D] */
/* y[N,O] = act(x[N,I] w[O,I]^T + b[O]); bias and activation fused into the product's store. */
struct tensor *op_linear(struct tape *t, struct tensor *x, param_id w, param_id b,
                         enum activation act);
struct tensor *op_activation(struct tape *t, struct tensor *x, enum activation act);
/* y = LayerNorm(x + residual) * gamma + beta; residual may be NULL. (Ba et al. 2016) */
struct tensor *op_norm(struct tape *t, struct tensor *x, struct tensor *residual,
                       param_id gamma, param_id beta, float eps);
/* Multi-head softmax attention within each sequence. q,k,v: [N, heads*d]; dropout on the
 * weights. (Vaswani et al. 2017, eq. 1) */
struct tensor *op_attention(struct tape *t, struct tensor *q, struct tensor *k,
                            struct tensor *v, struct ragged sequences, unsigned heads,
                            float dropout);
/* The same for the first token of each sequence alone, q[n, heads*d]: [n, heads*d]. Inference
 * only. */
struct tensor *op_attention_first(struct tape *t, struct tensor *q, struct tensor *k,
                                  struct tensor *v, struct ragged sequences, unsigned heads);
/* What a family adds to the score of query token i and key token j of a sequence. All-zero:
 * nothing, as op_attention. */
struct attention_terms {
    float scale; /* of the scores before the softmax; 0: 1 / sqrt(d) */
    /* Terms by relative position: row bucket[reach + j - i] of each table that is not NULL. */
    const uint16_t *bucket; /* [2 reach + 1] copied; reach >= the longest sequence - 1 */
    uint32_t reach;
    struct tensor *bias;   /* [B, heads] added as it is (MPNet; Raffel et al. 2020) */
    struct tensor *key_at; /* [B, heads*d] + scale q_i . key_at (c2p; He et al. 2021, eq. 4) */
    struct tensor *query_at; /* [B, heads*d] + scale k_j . query_at (p2c) */
    /* Changes the scores [t, t] of a head in place by constants, ATTENTION_UNSEEN where j is
     * out of sight of i. `context` need not outlive the call. NULL: none. */
    void (*mask)(const void *context, size_t sequence, size_t head, float *scores, size_t t);
    const void *context;
};
#define ATTENTION_UNSEEN (-1e30f)
struct tensor *op_attention_with(struct tape *t, struct tensor *q, struct tensor *k,
                                 struct tensor *v, struct ragged sequences, unsigned heads,
                                 float dropout, const struct attention_terms *terms);
/* Rotary positions (Su et al. 2021): in each head of x[N, heads*d], elements c and c + d/2 of
 * the token at positions[n] are turned by positions[n] theta^(-2c/d). d is even. */
struct tensor *op_rotary(struct tape *t, struct tensor *x, const int32_t *positions,
                         unsigned heads, float theta);
/* Along each sequence: y[n, o] = b[o] + sum over taps k < width and channels c of o's group of
 * w[o, c, k] x[n + k - (width - 1) / 2, c]; rows outside of the sequence are 0. w is [O, D /
 * groups * width] with k fastest, as torch's Conv1d. */
struct tensor *op_conv(struct tape *t, struct tensor *x, param_id w, param_id b,
                       struct ragged sequences, unsigned width, unsigned groups);
struct tensor *op_dropout(struct tape *t, struct tensor *x, float rate);
struct tensor *op_add(struct tape *t, struct tensor *a, struct tensor *b);
struct tensor *op_sub(struct tape *t, struct tensor *a, struct tensor *b);
struct tensor *op_mul(struct tape *t, struct tensor *a, struct tensor *b); /* elementwise */
struct tensor *op_scale(struct tape *t, struct tensor *a, float factor);
struct tensor *op_rows(struct tape *t, struct tensor *x, const uint32_t *index,
                       size_t n); /* gather */
struct tensor *op_columns(struct tape *t, struct tensor *x, size_t first, size_t n); /* [N,n] */
struct tensor *op_concat(struct tape *t, struct tensor *const *parts,
                         size_t n); /* along columns */
struct tensor *op_matmul(struct tape *t, struct tensor *a, struct tensor *b); /* a b */
/* The same numbers, and gradients, as rows x cols. */
struct tensor *op_reshape(struct tape *t, struct tensor *x, size_t rows, size_t cols);
struct tensor *op_mean_pool(struct tape *t, struct tensor *x,
                            struct ragged sequences);             /* [n,D] */
struct tensor *op_l2_normalize(struct tape *t, struct tensor *x); /* each row, eps 1e-12 */
/* How labels are learnt from; all-zero: plain cross-entropy. */
struct label_loss {
    const float *weights; /* [N] or NULL: 1 each */
    float smoothing;      /* in [0,1): so much of the target goes to all classes alike */
    float sigmoid;        /* in [0,1]: share of the mean over classes of the logistic loss, each
                             class against all others; the rest is softmax cross-entropy */
};
/* [1,1]: sum_i w_i loss_i / sum_i w_i of logits[N,K] and labels[N]. */
struct tensor *op_label_loss(struct tape *t, struct tensor *logits, const uint8_t *labels,
                             const struct label_loss *how);
/* The same without the logistic loss. */
struct tensor *op_softmax_loss(struct tape *t, struct tensor *logits, const uint8_t *labels,
                               const float *weights, float smoothing);

/* Mean over rows of the cross-entropy of softmax(logits[N,K]) for many classes, as a vocabulary
 * has: float32, one pass over a row forward and one back. targets[N]; copied. */
struct tensor *op_vocabulary_loss(struct tape *t, struct tensor *logits,
                                  const int32_t *targets);

/* Mean over rows of T^2 KL(q || softmax(logits / T)) for distributions targets[N,K]: what makes
 * a small model say what a bigger one says (Hinton et al. 2015). */
struct tensor *op_soft_loss(struct tape *t, struct tensor *logits, const float *targets,
                            float temperature);

/* Mean over N*K of the cross-entropy of sigmoid(logits) with targets[N,K] in 0..1; [1,1]. */
struct tensor *op_sigmoid_loss(struct tape *t, struct tensor *logits, const float *targets);
/* Mean over N*K of (x - targets)^2; [1,1]. */
struct tensor *op_square_loss(struct tape *t, struct tensor *x, const float *targets);

/* Row-wise softmax outside the tape: out[rows*cols]. */
void softmax_rows(const float *logits, size_t rows, size_t cols, float *out);

#endif
