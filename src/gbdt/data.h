/* data.h: a table prepared for training; shared by all trainings from it. */
#ifndef GBDT_DATA_H
#define GBDT_DATA_H

#include "gbdt/bins.h"
#include "medley/gbdt.h"

struct medley_gbdt_data {
    size_t n, n_features, n_classes;
    struct bins bins;
    struct binned table; /* by column */
    uint8_t *labels;     /* [n] */
    float *weights;      /* [n] or NULL */
};

/* What training cannot do with: shapes, labels, weights, infinities. */
medley_status data_check(const medley_table *t, const char *what, medley_error *err);

#endif
