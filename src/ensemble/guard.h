/* guard.h: refuses to stack in-sample predictions. A GBDT fitted on predictions that a model
 * made for its own training examples trusts whichever model over-fits most. */
#ifndef ENSEMBLE_GUARD_H
#define ENSEMBLE_GUARD_H

#include "data/dataset.h"

/* EINSAMPLE, naming the query, when an example of predicted[m] has a query that is among those
 * of fitted[n]. By construction this never fails for folds; it is checked before every stacked
 * fold. */
medley_status guard_disjoint(const struct dataset *d, const uint32_t *fitted, size_t n,
                             const uint32_t *predicted, size_t m, medley_error *err);

/* Predictions made elsewhere carry no proof. EINSAMPLE when they are far better on the training
 * split than on the test split: the accuracy gap is above 5 points and above 5 standard errors
 * (over queries). Accepts silently when either side has fewer than 50 predicted examples.
 * probabilities[n_examples * K]; NaN rows are not predicted. */
medley_status guard_table(const struct dataset *d, const float *probabilities, const char *name,
                          medley_error *err);

#endif
