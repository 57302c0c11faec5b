/* metrics_count.h: private to metrics.c and bootstrap.c: what the metrics are counted from. */
#ifndef DATA_METRICS_COUNT_H
#define DATA_METRICS_COUNT_H

#include "data/metrics.h"

#define OUTCOME_MISSING 255 /* no prediction: wrong, in no column of the confusion matrix */

struct outcome { /* of one row */
    double loss; /* -log of the probability of the true class */
    uint8_t label, predicted;
};

struct tally { /* of many rows */
    double loss;
    uint32_t support[MAX_CLASSES];
    uint32_t confusion[MAX_CLASSES][MAX_CLASSES];
};

struct outcome outcome_of(const float *p, uint8_t label, size_t k);
void tally_add(struct tally *t, const struct outcome *o);
void tally_metrics(const struct tally *t, size_t k, struct metrics *out);

#endif
