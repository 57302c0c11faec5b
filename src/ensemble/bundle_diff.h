/* bundle_diff.h: two bundles side by side on the same pairs: which labels changed, and which
 * base model did it.
 *
 * The margin of a class is the sum of what every player contributes: base models, the context,
 * and the base, which is what the ensemble says before it has seen anything. So the difference
 * of two margins is the sum of differences of contributions; a model that only one bundle has
 * contributes nothing in the other. A label turns from `a` to `b` because the margin of b over
 * a grew; the player that added most to that growth is called the cause. When probabilities are
 * calibrated a label can turn without it; the cause is then the calibration. */
#ifndef ENSEMBLE_BUNDLE_DIFF_H
#define ENSEMBLE_BUNDLE_DIFF_H

#include "ensemble/judge.h"

struct diff_pair {
    struct judge_pair pair;
    struct str example_id, title; /* to be told; may be empty */
    uint8_t label;                /* the true class, or LABEL_NONE */
};

struct diff_counts {
    size_t n, changed;
};

/* Appends the JSON of docs/schemas.md to `out`. EINVAL when the bundles' classes differ. */
medley_status bundle_diff(const medley_bundle *a, const medley_bundle *b,
                          const struct diff_pair *pairs, size_t n, struct strbuf *out,
                          struct diff_counts *counts, medley_error *err);

#endif
