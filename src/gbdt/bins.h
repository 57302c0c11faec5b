/* bins.h: features as bytes. Bin 0 is missing; value bins are 1..255, in order of value.
 *
 * Features are taken in groups of 8: a group's bytes of one row are one 64-bit load, and one
 * bin of a group is one row of 8 histogram cells (a cache line). */
#ifndef GBDT_BINS_H
#define GBDT_BINS_H

#include "medley/status.h"

#define BINS_GROUP 8
#define BINS_CUTS 256 /* room per feature: 254 cuts and padding for the branchless search */

/* Where to cut, learned from training data. */
struct bins {
    size_t n_features, n_groups; /* n_groups = ceil(n_features / 8) */
    float *cuts;                 /* [n_features, 256] ascending, padded with +infinity */
    uint16_t *n_cuts;            /* [n_features] at most 254; value bins are n_cuts + 1 */
    uint32_t *group_first;       /* [n_groups + 1] first bin row of a group in a histogram; the
                                    last is the number of bin rows of all */
};

/* A table in bins: by column for scoring and partitioning, by row for histograms. */
struct binned {
    size_t n, stride; /* rows; bytes from a row to the next, a multiple of 8 */
    size_t pitch;     /* bytes from a column to the next, a multiple of 64 */
    uint8_t *rows;    /* [n, stride]; bytes past n_features are 0; NULL when not wanted */
    uint8_t *columns; /* [n_features, pitch]; bytes past n are 0; NULL when not wanted */
};

/* x[n, n_features], NaN missing. At most max_bins (2..255) value bins per feature. */
medley_status bins_fit(const float *x, size_t n, size_t n_features, unsigned max_bins,
                       struct bins *out, medley_error *err);
medley_status bins_copy(const struct bins *b, struct bins *out, medley_error *err);
/* Those of some features, in the order given. */
medley_status bins_select(const struct bins *b, const uint32_t *features, size_t n_features,
                          struct bins *out, medley_error *err);
void bins_deinit(struct bins *b);

/* By column. */
medley_status binned_new(const struct bins *b, const float *x, size_t n, struct binned *out,
                         medley_error *err);
/* Room for n rows, not filled but for the columns' ends. */
medley_status binned_room(size_t n, size_t n_features, bool columns, bool rows,
                          struct binned *out, medley_error *err);
/* Fills rows begin..end of a table by row from one by column. */
void binned_turn(const struct binned *columns, size_t n_features, size_t begin, size_t end,
                 struct binned *rows);
/* The bins of some features, by column. */
medley_status binned_select(const struct binned *from, const uint32_t *features,
                            size_t n_features, struct binned *out, medley_error *err);
medley_status binned_copy(const struct binned *t, size_t n_features, struct binned *out,
                          medley_error *err);
void binned_deinit(struct binned *t);

/* The threshold between bin and bin + 1; FLT_MAX for a feature's last bin. */
float bins_threshold(const struct bins *b, size_t feature, unsigned bin);

#endif
