/* judge.h: any number of pairs through a bundle. Pairs of one query and locale are judged
 * together, as a list, wherever they stand. */
#ifndef ENSEMBLE_JUDGE_H
#define ENSEMBLE_JUDGE_H

#include "data/dataset.h"
#include "medley/bundle.h"

struct judge_pair {
    struct pair_text text; /* product text is used if it has any */
    struct str product_id; /* may be empty */
};

struct judge_options {
    uint32_t models;  /* to ask; 0: as the bundle does */
    const char *task; /* names the progress line; NULL: silent */
};

struct judge_answers {
    medley_result *results; /* [n] */
    float *contributions;   /* NULL, or [n * (M+1) * K], as of medley_bundle_classify */
    float *said;            /* NULL, or [n * M * K], likewise */
};

/* Fills the caller's arrays of `out`. Lists of more than 1,000 are judged in parts. */
medley_status judge_pairs(const medley_bundle *b, const struct judge_pair *pairs, size_t n,
                          const struct judge_options *options, const struct judge_answers *out,
                          medley_error *err);

#endif
