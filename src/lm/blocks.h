/* blocks.h: what several families of encoders are built from; private to src/lm. */
#ifndef LM_BLOCKS_H
#define LM_BLOCKS_H

#include "lm/encoder.h"

struct linear_ids {
    param_id w, b; /* b may be PARAM_NONE */
};
struct norm_ids {
    param_id gamma, beta; /* beta may be PARAM_NONE */
};

/* NAME.weight [out, in] and, with `bias`, NAME.bias [out]; the name is formatted. */
struct linear_ids linear_declare(struct params *p, const struct encoder_config *c, size_t in,
                                 size_t out, bool bias, const char *name, ...)
    __attribute__((format(printf, 6, 7)));
struct norm_ids norm_declare(struct params *p, size_t n, bool shift, const char *name, ...)
    __attribute__((format(printf, 4, 5)));
param_id table_declare(struct params *p, const struct encoder_config *c, size_t rows,
                       size_t cols, const char *name);

struct tensor *linear_apply(struct tape *t, struct tensor *x, struct linear_ids l,
                            enum activation act);
struct tensor *norm_apply(struct tape *t, struct tensor *x, struct tensor *residual,
                          struct norm_ids n, float eps);

/* What follows attention in a post-norm layer (Vaswani et al. 2017): its projection, residual
 * and norm, then two linear layers, residual and norm. Named as BERT does, under NAME. */
struct post_norm {
    struct linear_ids attention, up, down;
    struct norm_ids attention_norm, norm;
};
/* `attention` and `attention_norm` name those two under `name`, where families differ. */
struct post_norm post_norm_declare(struct params *p, const struct encoder_config *c,
                                   const char *name, const char *attention,
                                   const char *attention_norm);
struct tensor *post_norm_apply(struct tape *t, const struct post_norm *l,
                               const struct encoder_config *c, struct tensor *attended,
                               struct tensor *x, float dropout);

/* Words + positions + types, normalised, as BERT. Tables that a family lacks are PARAM_NONE. */
struct embeddings {
    param_id words, positions, types;
    struct norm_ids norm;
};
struct tensor *embeddings_apply(struct tape *t, const struct embeddings *b,
                                const struct encoder_config *c,
                                const struct encoder_batch *batch, float dropout);
/* The sum of the three, before the norm. */
struct tensor *embeddings_sum(struct tape *t, const struct embeddings *b,
                              const struct encoder_config *c,
                              const struct encoder_batch *batch);

/* The head of RoBERTa, ELECTRA, MPNet and BigBird: dense and out_proj over the first token. */
struct dense_head {
    struct linear_ids dense, out;
};
struct dense_head dense_head_declare(struct params *p, const struct encoder_config *c,
                                     size_t classes);
struct tensor *dense_head_apply(struct tape *t, const struct dense_head *h,
                                struct tensor *hidden, const struct encoder_batch *batch,
                                enum activation act, float dropout);
/* The first token of each sequence [sequences, D]. */
struct tensor *first_tokens(struct tape *t, struct tensor *hidden,
                            const struct encoder_batch *b);
/* Tokens of the longest sequence; 1 when there is none. */
uint32_t longest_sequence(const struct encoder_batch *b);

#endif
