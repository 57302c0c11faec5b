/* attention.h: what attention and its terms by position share; private to src/nn. */
#ifndef NN_ATTENTION_H
#define NN_ATTENTION_H

#include "nn/ops.h"
#include "nn/vec.h"

struct attention {
    struct tensor *q, *k, *v, *y;
    struct ragged sequences;
    size_t heads, d; /* d: width of a head */
    float scale;     /* of the scores */
    bool drops;
    struct drop_mask mask;
    float *weights; /* [sum over sequences of heads T T] before dropout; inference: one block */
    float *block[2]; /* [longest T]^2 scratch */

    struct attention_terms terms; /* bucket is the tape's */
    size_t first_bucket, buckets; /* those that the longest sequence meets */
    float *products;              /* [longest T, buckets] scratch */
    float *by_distance;           /* [2 longest T - 1] scratch */
};

/* One head of one sequence. */
struct head {
    size_t sequence, head;
    size_t t, at;     /* rows of the sequence; its first float in q, k, v and y */
    size_t weight_at; /* its first element among all weights: where its dropout stream stands */
    size_t stride;    /* floats between rows of q, k, v and y */
};

/* Do gradients flow through any of the terms? */
bool attention_terms_need(const struct attention *op);
void attention_terms_buffers(struct tape *t, struct attention *op, size_t longest);
/* Adds all terms to the scores [t, t] of a head, which the softmax will scale. */
void attention_terms_add(const struct attention *op, const struct head *h, float *scores);
/* From the gradient of those scores to the gradients of tables, queries and keys. */
void attention_terms_back(const struct attention *op, const struct head *h,
                          const float *scores);

#endif
