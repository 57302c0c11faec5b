/* folds.h: query-grouped folds. All examples of one query fall into one fold, so that an
 * out-of-fold prediction never comes from a model that saw the query. */
#ifndef DATA_FOLDS_H
#define DATA_FOLDS_H

#include "data/dataset.h"

#define FOLD_TEST 255 /* the fold of examples that are not in the training split */

/* fold[n_examples] gets 0..n_folds-1 for training examples, FOLD_TEST otherwise. Greedy balance of
 * labels and counts over queries, largest first, ties by hash of (seed, query id): deterministic. */
medley_status folds_assign(const struct dataset *d, unsigned n_folds, uint64_t seed, uint8_t *fold,
                           medley_error *err);

#endif
