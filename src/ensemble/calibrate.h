/* calibrate.h: probabilities that mean what they say. Fitted on out-of-fold predictions only.
 */
#ifndef ENSEMBLE_CALIBRATE_H
#define ENSEMBLE_CALIBRATE_H

#include "data/metrics.h"

enum { CALIBRATION_BINS = 15 };

/* How far confidence and accuracy are apart, over bins of equal numbers of rows. */
struct reliability {
    struct reliability_bin {
        double confidence, accuracy; /* means of the bin */
        size_t n;
    } bins[CALIBRATION_BINS];
    size_t n_bins;
    double ece;           /* expected calibration error of the most probable class */
    double classwise_ece; /* mean over classes, every class's probability by itself */
};
/* probabilities[n*k]; rows of index[n] when not NULL. ENOMEM. */
medley_status reliability_of(const float *probabilities, const uint8_t *labels,
                             const uint32_t *index, size_t n, size_t k, struct reliability *out,
                             medley_error *err);

/* Temperature (Guo and others 2017): p^(1/T), made to sum to 1. The T of least log-loss. */
double temperature_fit(const float *probabilities, const uint8_t *labels, const uint32_t *index,
                       size_t n, size_t k);
void temperature_apply(double temperature, float *probabilities, size_t n, size_t k);

/* Isotonic regression of each class against the others (Zadrozny and Elkan 2002), then made to
 * sum to 1. Steps are kept as points; between them the line. */
struct isotonic {
    size_t n[MAX_CLASSES];
    float *x[MAX_CLASSES], *y[MAX_CLASSES]; /* ascending */
};
medley_status isotonic_fit(const float *probabilities, const uint8_t *labels,
                           const uint32_t *index, size_t n, size_t k, struct isotonic *out,
                           medley_error *err);
void isotonic_apply(const struct isotonic *m, float *probabilities, size_t n, size_t k);
void isotonic_free(struct isotonic *m);

/* Offsets added to log-probabilities before the most probable class is taken: those of the best
 * macro-F1 that coordinate ascent finds. offsets[k], the first class's is 0. ENOMEM. */
medley_status offsets_fit(const float *probabilities, const uint8_t *labels,
                          const uint32_t *index, size_t n, size_t k, double *offsets,
                          medley_error *err);
/* In place; rows stay probabilities. */
void offsets_apply(const double *offsets, float *probabilities, size_t n, size_t k);

/* Bayes decisions under costs[true][answered]: probabilities become 1 for the class of the
 * least expected cost and 0 for others. */
void costs_apply(const double *costs, float *probabilities, size_t n, size_t k);

#endif
