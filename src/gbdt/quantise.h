/* quantise.h: numbers of one feature to bins. */
#ifndef GBDT_QUANTISE_H
#define GBDT_QUANTISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* out[i] = 1 + the number of cuts below x[i * stride], 0 for NaN; x is nowhere +infinity. */
struct quantise_job {
    const float *cuts; /* [256] ascending, at most 254, padded with +infinity */
    const float *x;
    size_t stride, n;
    uint8_t *out;
};

struct quantise_impl {
    const char *name;
    void (*run)(const struct quantise_job *job);
    bool (*usable)(void);
};
extern const struct quantise_impl quantise_impls[]; /* slowest first; ends with a NULL name */

void quantise(const struct quantise_job *job);

#endif
