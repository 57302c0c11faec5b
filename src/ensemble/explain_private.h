/* explain_private.h: one explanation in the making; private to explain*.c. */
#ifndef ENSEMBLE_EXPLAIN_PRIVATE_H
#define ENSEMBLE_EXPLAIN_PRIVATE_H

#include "ensemble/bundle_private.h"
#include "ensemble/explain.h"

struct explaining {
    const medley_bundle *b;
    const struct explain_ask *ask;
    medley_result result;
    float *contributions;    /* [M+1, K] */
    float *said;             /* [M, K]; NaN where a model was not asked */
    float *interactions;     /* [M+1, M+1, K] */
    struct pair_text pair;   /* as base models read it */
    uint32_t query, product; /* in the bundle's dataset, or UINT32_MAX */
};

/* {"E": value, ...} */
void explain_classes(struct json_writer *w, const medley_bundle *b, const double *values);

/* "neighbours": [...] of every graph that a model of the bundle reads. */
medley_status explain_neighbours(struct json_writer *w, const struct explaining *x,
                                 medley_error *err);
/* "tokens": of the language model that contributed most, or null. */
medley_status explain_tokens(struct json_writer *w, const struct explaining *x,
                             medley_error *err);

#endif
