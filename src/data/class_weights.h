/* class_weights.h: what an example of each class counts in training. */
#ifndef DATA_CLASS_WEIGHTS_H
#define DATA_CLASS_WEIGHTS_H

#include "data/dataset.h"

struct class_weights {
    bool given, balanced;
    double power;           /* of balanced weights */
    double of[MAX_CLASSES]; /* when given and not balanced */
};

/* "balanced", "balanced^0.5" (a power of 0 to 1), or n_classes numbers of 0 to 1e6 by commas, one
 * of them above 0; NULL: not given. EINVAL names the option class_weights. */
medley_status class_weights_parse(const char *text, size_t n_classes, struct class_weights *out,
                                  medley_error *err);

/* out[n_classes]: 1 each when not given; balanced: n / (K n_k) to that power, so that with power 1
 * every class weighs the same in all; 0 for a class without examples. */
void class_weights_fill(const struct class_weights *w, const size_t *counts, size_t n_classes,
                        double *out);

#endif
