/* masked_head.h: from hidden states to a vocabulary, for masked language models: dense,
 * activation, norm, and the word embeddings once more (Press and Wolf 2017), under the names of
 * Hugging Face's ...ForMaskedLM. */
#ifndef LM_MASKED_HEAD_H
#define LM_MASKED_HEAD_H

#include "lm/blocks.h"

struct masked_head {
    struct linear_ids dense;
    struct norm_ids norm;
    param_id words, bias;
    float eps;
    enum activation activation;
};

/* Declares what e's family needs beyond its own parameters, after them; those of the
 * classification head that it does not share are frozen. */
medley_status masked_head_declare(const struct encoder *e, struct params *p,
                                  struct masked_head *out, medley_error *err);
/* Logits [rows, vocabulary]. */
struct tensor *masked_head_apply(struct tape *t, const struct masked_head *h,
                                 struct tensor *hidden);
/* Writes folder/model.safetensors without the classification head. */
medley_status masked_head_save(const struct encoder *e, const struct params *p,
                               const char *folder, medley_error *err);

#endif
