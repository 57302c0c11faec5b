/* lm_pretrain.h: masked-language-model pre-training on a dataset's own texts, so that a small
 * encoder of the shop's language needs no download (Devlin et al. 2019; domain-adaptive, from a
 * pretrained folder on: Gururangan et al. 2020). */
#ifndef LM_LM_PRETRAIN_H
#define LM_LM_PRETRAIN_H

#include "lm/cross_encoder.h"

/* Leaves a Hugging Face folder (...ForMaskedLM, with its tokenizer) that `pretrained` of
 * lm_options takes, and pretrain.log.jsonl, a line an epoch. Reads product texts and the
 * queries of the training split, never a label. A folder that the same options and texts made
 * is left as it is; a killed run goes on from its checkpoint in the folder, and ends in the
 * same bits. */
medley_status lm_pretrain(const struct lm_options *options, const struct dataset *d,
                          const char *folder, medley_error *err);

#endif
