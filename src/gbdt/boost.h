/* boost.h: the state of one training run; private to src/gbdt. */
#ifndef GBDT_BOOST_H
#define GBDT_BOOST_H

#include "gbdt/data.h"
#include "gbdt/grow.h"
#include "gbdt/softmax.h"

/* A table while training: bins, margins so far, labels, weights (class weights included). */
struct boost_rows {
    size_t n, stride; /* rows; padded to SOFTMAX_BLOCK */
    struct binned table;
    bool owned;      /* the table is ours, not the prepared data's */
    float *scores;   /* [K, stride] */
    uint8_t *labels; /* [stride] */
    float *weights;  /* [stride] 0 past n */
};

struct boost {
    medley_gbdt_options options; /* defaults filled in; arrays borrowed */
    size_t n_classes, trees_per_round;
    struct medley_gbdt *model; /* grows */
    struct bins bins;
    uint32_t *features; /* [bins.n_features] number in the prepared data; NULL: the same */
    struct boost_rows train, valid; /* valid.n 0: none */

    float gradient_scale, hessian_scale; /* quantised units per 1 */
    unsigned lanes;                      /* classes padded for vector registers */
    int64_t *packed, *by_class;          /* gradients, see struct softmax_job */
    size_t parts;                        /* histogram copies that rows are shared out to */
    int64_t *root;                       /* [parts][bin rows, 8, lanes] */
    uint32_t *sample;                    /* rows of this round, ascending */
    size_t n_sample;

    /* per tree of a round */
    uint8_t *allowed; /* [trees][n_groups] */
    struct grow_space *spaces;
    struct tree **grown;
    medley_status *results;
    struct grow_limits limits;

    /* masking of whole players (mask.c) */
    struct binned unmasked; /* the rows before; columns not used */
    bool unmasked_owned;
};

medley_status boost_init(struct boost *b, const medley_gbdt_data *train,
                         const medley_gbdt_data *validation, const medley_gbdt_options *options,
                         medley_error *err);
medley_status boost_run(struct boost *b, medley_error *err);
void boost_deinit(struct boost *b); /* also after a failed init; frees the model unless taken */

/* The training rows' margins anew, from all trees so far. */
void boost_rescore(struct boost *b);

/* mask.c */
medley_status mask_init(struct boost *b, medley_error *err);
void mask_round(struct boost *b, size_t round);

#endif
