/* logistic.h: multinomial logistic regression of few numbers, to the optimum. */
#ifndef NN_LOGISTIC_H
#define NN_LOGISTIC_H

#include "medley/status.h"

#include <stddef.h>
#include <stdint.h>

/* n points of n_inputs numbers, each with one of n_classes classes that weigh class_weights. */
struct logistic_data {
    const float *x;   /* [n * n_inputs], finite */
    const uint8_t *y; /* [n] */
    const double *class_weights;
    size_t n, n_inputs, n_classes;
};

/* Minimises the weighted log-loss plus ridge/2 times the squared weights of the inputs, each
 * input at mean 0 and deviation 1, by Newton's method with halved steps (Boyd and Vandenberghe
 * 2004, 9.5). The ridge holds classes that can be told apart without error. weights[n_classes *
 * (n_inputs + 1)], of the inputs as they are: those of a class, then its bias. n 0 gives zeros.
 * Errors: ENOMEM, EINTERRUPTED. */
medley_status logistic_fit(const struct logistic_data *d, double ridge, double *weights,
                           medley_error *err);
/* p[n_classes] of one x[n_inputs]. */
void logistic_predict(const double *weights, size_t n_inputs, size_t n_classes, const float *x,
                      float *p);

#endif
