/* predict.h: margins of 64 rows at a time. */
#ifndef GBDT_PREDICT_H
#define GBDT_PREDICT_H

#include "gbdt/tree.h"

#define PREDICT_BLOCK 64

/* The rows of one block, feature by feature: columns[F, 64], aligned to 64 bytes. */
struct predict_job {
    const struct medley_gbdt *model;
    const float *columns;
    double *margins; /* [K, 64] aligned to 64; trees are added, in order */
};

struct predict_impl {
    const char *name;
    void (*add)(const struct predict_job *job);
    bool (*usable)(void);
};
extern const struct predict_impl predict_impls[]; /* slowest first; ends with a NULL name */

#endif
