/* agreement.h: do two rankings of the same things agree? */
#ifndef ENSEMBLE_AGREEMENT_H
#define ENSEMBLE_AGREEMENT_H

#include <stddef.h>

/* Kendall's tau-b and Spearman's rho (mid-ranks for ties); NaN for fewer than two values or
 * when one side is all ties. At most 64 values. */
double kendall(const double *a, const double *b, size_t n);
double spearman(const double *a, const double *b, size_t n);

/* Means over all pairs of `sets` rankings: values[sets, n]. */
struct agreement {
    double kendall, spearman;
    size_t sets;
};
struct agreement agreement_of(const double *values, size_t sets, size_t n);

#endif
