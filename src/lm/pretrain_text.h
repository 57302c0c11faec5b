/* pretrain_text.h: the texts that a masked language model learns from, and what is hidden in
 * them. Private to src/lm. */
#ifndef LM_PRETRAIN_TEXT_H
#define LM_PRETRAIN_TEXT_H

#include "lm/cross_encoder_model.h"

/* Products and the queries of the training split, each a document of its own in the frame for
 * pairs: neither labels nor which query a product was judged with are read, and no text of
 * queries that are only in the test split. */
struct pretrain_text {
    struct lm_inputs documents;
    size_t query_at; /* where a query's tokens begin in the frame */
    bool *special;   /* [vocabulary] never hidden, never put in place of another */
    int32_t mask;
    uint32_t vocabulary;
    unsigned max_tokens;
};
medley_status pretrain_text_init(struct pretrain_text *t, const struct cross_encoder *m,
                                 const struct dataset *d, bool fields_only, medley_error *err);
void pretrain_text_deinit(struct pretrain_text *t);

/* Documents with tokens hidden: row index[i] is to be guessed as target[i]. */
struct masked_batch {
    struct lm_inputs inputs;
    uint32_t *index;
    int32_t *target;
    size_t n, capacity[2];
};
void masked_batch_init(struct masked_batch *b);
void masked_batch_deinit(struct masked_batch *b);
void masked_batch_clear(struct masked_batch *b);
/* Appends document i. Of `rate` of its tokens 80% become [MASK], 10% another token, 10% stay
 * (Devlin et al. 2019), anew for each `draw`. Half of the products get a few of their own words
 * as a query before anything is hidden, so that looking for a query's words in a product is
 * learned too. */
void masked_batch_add(struct masked_batch *b, const struct pretrain_text *t, size_t i,
                      double rate, uint64_t seed, uint64_t draw);

#endif
