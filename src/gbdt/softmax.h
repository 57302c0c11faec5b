/* softmax.h: gradients and hessians of the softmax log-loss, quantised for histograms, of all
 * rows or of a sample that favours large gradients. */
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

/* Minimal variance sampling (Ibragimov and Gusev 2019): a row is kept with chance min(1, s /
 * threshold), s^2 being the sum over classes of g^2 + h^2 / 4, and counts for the inverse of
 * its chance, so that sums over the kept are unbiased. */
struct softmax_sample {
    float threshold;    /* 0: every row has chance 1 */
    float row_fraction; /* a further chance, not made up for */
    uint32_t seed[2];   /* of the round */
    uint32_t *kept;     /* [stride] row numbers; NULL: only look at the spread */
    uint32_t *spread; /* [SPREAD_BINS] rows by s^2, of every fourth block; added to; or NULL */
};
#define SPREAD_BINS 2048 /* the upper bits of a positive float: 8 of exponent, 3 of mantissa \
                          */

struct softmax_impl {
    const char *name;
    /* Rows begin..end, both multiples of SOFTMAX_BLOCK. */
    void (*gradients)(const struct softmax_job *job, size_t begin, size_t end);
    /* Those kept of weight above 0 alone, at begin, begin + 1, ...; returns how many. */
    size_t (*sample)(const struct softmax_job *job, const struct softmax_sample *sample,
                     size_t begin, size_t end);
    bool (*usable)(void);
};
extern const struct softmax_impl softmax_impls[]; /* slowest first; ends with a NULL name */

void softmax_gradients(const struct softmax_job *job, size_t begin, size_t end);
size_t softmax_sample_rows(const struct softmax_job *job, const struct softmax_sample *sample,
                           size_t begin, size_t end);

/* The threshold at which about `target` of the rows behind a spread are kept; at most `most`,
 * 0 if all are. */
float softmax_threshold(const uint32_t spread[SPREAD_BINS], double target, double most);

#endif
