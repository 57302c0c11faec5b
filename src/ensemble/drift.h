/* drift.h: what the probabilities of a bundle's models looked like out of fold, so that a
 * server can tell when live ones no longer do: shares of ten bins a model and class, cut at the
 * tenths of the training split. */
#ifndef ENSEMBLE_DRIFT_H
#define ENSEMBLE_DRIFT_H

#include "ensemble/workspace.h"
#include "medley/bundle.h"

enum { DRIFT_BINS = 10 };

struct drift_bins {
    float edges[DRIFT_BINS -
                1]; /* rising; a probability is in the first bin whose edge is above it */
    float share[DRIFT_BINS]; /* of the training split; sum 1 */
};

struct drift_reference {
    size_t n_models, n_classes;
    float missing[MEDLEY_MAX_MODELS]; /* share of pairs that the model has no answer for */
    struct drift_bins bins[];         /* [n_models * n_classes] */
};

/* Of the models in `mask`, into the file. */
medley_status drift_write(const struct workspace *w, uint32_t mask, const char *path,
                          medley_error *err);
/* names[n_models], class_names[n_classes]: in that order. Free with mem_free. */
medley_status drift_read(const char *path, const char *const *names, size_t n_models,
                         const char *const *class_names, size_t n_classes,
                         struct drift_reference **out, medley_error *err);
size_t drift_bin(const struct drift_bins *b, float probability);
/* Population stability index: sum over bins of (live - reference) * log(live / reference), with
 * half a pair added to every bin of the live ones and a tenth of a percent as the least share.
 * Below 0.1 nothing to speak of, above 0.25 another population, as credit scoring has it
 * (Siddiqi 2006). */
double drift_index(const struct drift_bins *b, const uint32_t live[DRIFT_BINS]);

/* Of a bundle; NULL: it was written before there was one. Borrowed. */
const struct drift_reference *bundle_drift(const medley_bundle *b);

#endif
