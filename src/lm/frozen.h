/* frozen.h: a classifier or reranker that others fine-tuned, in an ensemble without training it
 * again. What its logits mean for a dataset's classes is learned from training pairs, by
 * multinomial logistic regression (nn/logistic.h). An affine map after a linear layer is a
 * linear layer: what comes of it is a cross-encoder like any other, with another classifier.
 * `options`: pretrained, precision, max_tokens (0: all that it was made for), class_weights. */
#ifndef LM_FROZEN_H
#define LM_FROZEN_H

#include "lm/cross_encoder.h"

/* Leaves the logits of all examples in `folder`; no label is read. Blocks of pairs that the
 * same model has read before are kept, so that a killed run goes on. `task` names the progress
 * line. */
medley_status frozen_read(const struct lm_options *options, const struct dataset *d,
                          const char *folder, const char *task, medley_error *err);
/* Fits on the examples rows[n] with the logits in `folder`. */
medley_status frozen_fit(const struct lm_options *options, const struct dataset *d,
                         const char *folder, const uint32_t *rows, size_t n,
                         struct cross_encoder **out, medley_error *err);
/* probabilities[n * K] of examples rows[n], from the logits in `folder` and for a model that
 * frozen_fit made: those of cross_encoder_predict but for rounding, and at once. */
medley_status frozen_predict(const struct cross_encoder *m, const char *folder,
                             const uint32_t *rows, size_t n, float *probabilities,
                             medley_error *err);

#endif
