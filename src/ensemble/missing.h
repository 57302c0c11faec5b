/* missing.h: what an ensemble says when some of its models gave no answer. */
#ifndef ENSEMBLE_MISSING_H
#define ENSEMBLE_MISSING_H

#include "ensemble/stack.h"

/* Query-grouped cross-validation of the ensemble of `mask`: fitted with all of its models,
 * asked with those in available[i] (the others missing). out[i]: probabilities[n*K] out of
 * fold, the caller's. Rounds are given, not fitted to the rows. */
medley_status missing_cross_validate(const struct stack *s, uint32_t mask, unsigned rounds,
                                     const uint32_t *available, size_t n_available, float **out,
                                     medley_error *err);
/* The same of a fitted ensemble. */
medley_status missing_predict(const struct stack *s, uint32_t mask, uint32_t available,
                              const medley_gbdt *model, float *probabilities,
                              medley_error *err);

#endif
