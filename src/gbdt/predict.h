/* predict.h: from margins to what callers get; private to src/gbdt. */
#ifndef GBDT_PREDICT_H
#define GBDT_PREDICT_H

#include "gbdt/forest.h"

/* The model's forest, made on first use by whichever thread comes first. */
medley_status gbdt_forest(const struct medley_gbdt *model, struct forest **out,
                          medley_error *err);

/* Softmax over classes: margins[c * stride + i] for i < n become probabilities[c * stride + i].
 * n is a multiple of 8. Every kernel gives the same bits. */
struct probabilities_impl {
    const char *name;
    void (*run)(const double *margins, size_t n_classes, size_t stride, size_t n,
                float *probabilities);
    bool (*usable)(void);
};
extern const struct probabilities_impl
    probabilities_impls[]; /* slowest first; NULL name ends */
void probabilities_of(const double *margins, size_t n_classes, size_t stride, size_t n,
                      float *probabilities); /* the fastest usable */

#endif
