/* softmax.h: gradients and hessians of the softmax log-loss, quantised for histograms. */
#ifndef GBDT_SOFTMAX_H
#define GBDT_SOFTMAX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SOFTMAX_BLOCK 16 /* rows a kernel takes at once; arrays are padded to it */

/* For class c of a row with weight w and probability p: gradient w (p - [label = c]), hessian
 * w p (1 - p) K / (K - 1) (Friedman 2001, eq. 37), the latter at least one unit. */
struct softmax_job {
    size_t n_classes, stride;            /* stride: padded rows, from one class to the next */
    const float *scores;                 /* [K, stride] margins */
    const uint8_t *labels;               /* [stride] */
    const float *weights;                /* [stride] */
    float gradient_scale, hessian_scale; /* units per 1 */
    unsigned lanes;
    int64_t *packed;   /* [stride, lanes] cells of all classes of a row */
    int64_t *by_class; /* [K, stride] the same, class by class */
};

struct softmax_impl {
    const char *name;
    /* Rows begin..end, both multiples of SOFTMAX_BLOCK. */
    void (*gradients)(const struct softmax_job *job, size_t begin, size_t end);
    bool (*usable)(void);
};
extern const struct softmax_impl softmax_impls[]; /* slowest first; ends with a NULL name */

void softmax_gradients(const struct softmax_job *job, size_t begin, size_t end);

#endif
