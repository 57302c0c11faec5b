/* split.h: the best split of a leaf, from its histograms.
 *
 * The gain of cutting a leaf in two is gl^2/(hl + lambda) + gr^2/(hr + lambda) - g^2/(h +
 * lambda) (Chen and Guestrin 2016, eq. 7, without the half), summed over the outputs of a
 * vector tree, in quantised units. Missing rows are tried on either side. */
#ifndef GBDT_SPLIT_H
#define GBDT_SPLIT_H

#include "gbdt/histogram.h"

struct split {
    double gain; /* above the parent's; 0: no split */
    uint32_t feature;
    uint8_t bin; /* value bins up to this one go left */
    bool missing_left;
    bool missing_seen; /* the leaf has rows without this feature */
};

struct split_search {
    const struct bins *bins;
    const int64_t *cells; /* [outputs][bin rows, 8] */
    size_t output_stride; /* cells from one output's histogram to the next */
    unsigned outputs;
    const int64_t *totals;  /* [outputs] packed sums of the leaf */
    double lambda;          /* on the hessian, quantised */
    double min_hessian;     /* least hessian sum of a side, over all outputs; positive */
    double min_gain;        /* quantised */
    const uint8_t *allowed; /* [n_groups] bit j: feature 8 g + j may be used */
};

struct split_impl {
    const char *name;
    void (*find)(const struct split_search *s, struct split *best);
    bool (*usable)(void);
};
extern const struct split_impl split_impls[]; /* slowest first; ends with a NULL name */

void split_find(const struct split_search *s, struct split *best); /* the fastest usable */

#endif
