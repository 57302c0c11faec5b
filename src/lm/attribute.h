/* attribute.h: which tokens of a pair moved a language model, and by how much: integrated
 * gradients (Sundararajan, Taly and Yan 2017).
 *
 * What is explained is a class's logit less the mean of all logits, in units of log-odds. The
 * pair is compared with itself under masks: every token but the frame's own replaced by the
 * mask token. Along the straight line from the masked to the real embeddings (what enters the
 * first layer) the gradient is integrated; a token's share is its embedding's way times that.
 * The shares of all tokens sum to what the real pair has over the masked one: completeness,
 * which the integration is refined for until it holds within a thousandth. */
#ifndef LM_ATTRIBUTE_H
#define LM_ATTRIBUTE_H

#include "lm/cross_encoder.h"
#include "text/tokenizer.h"

enum lm_part { PART_FRAME, PART_QUERY, PART_PRODUCT };

struct lm_token {
    struct str text; /* as in the vocabulary; borrowed from the model */
    enum lm_part part;
};

struct lm_attribution {
    size_t n_tokens, n_classes;
    struct lm_token *tokens;                         /* [n_tokens] */
    enum token_marks marks;                          /* of their texts */
    double *values;                                  /* [n_tokens * K] */
    double output[MAX_CLASSES], masked[MAX_CLASSES]; /* of the real and of the masked pair */
    double gap;     /* largest |sum of a class's values - (output - masked)| */
    unsigned steps; /* points of the integration, of the class that took most */
};

/* In float32, whatever the precision of the weights at prediction. Thread-safe. */
medley_status cross_encoder_attribute(const struct cross_encoder *m,
                                      const struct pair_text *pair, struct lm_attribution *out,
                                      medley_error *err);
void lm_attribution_free(struct lm_attribution *a); /* a zeroed struct is fine */

#endif
