/* boost.h: the state of one training run; private to src/gbdt. */
#ifndef GBDT_BOOST_H
#define GBDT_BOOST_H

#include "gbdt/data.h"
#include "gbdt/grow.h"
#include "gbdt/score.h"
#include "gbdt/softmax.h"

#include <stdatomic.h>

/* A table while training: bins, margins so far, labels, weights (class weights included). */
struct boost_rows {
    size_t n, stride; /* rows; padded to SCORE_BLOCK */
    struct binned table;
    bool owned;      /* the table is ours, not the prepared data's */
    float *scores;   /* [K, stride] */
    uint8_t *labels; /* [stride] */
    float *weights;  /* [stride] 0 past n */
};

/* The rows that a round grows its trees from (sweep.c). Each chunk of the training rows fills
 * the front of its own part of the arrays; the memory behind stays untouched. */
struct boost_sample {
    bool all;             /* every row in every round: the table is the training rows' */
    size_t chunk;         /* rows, a multiple of SCORE_BLOCK */
    size_t n_chunks;      /* of the training rows */
    uint32_t *chunk_rows; /* [n_chunks] rows kept */
    struct bins bins;     /* of the features that this round may use */
    uint32_t *features;   /* [bins.n_features] their numbers in boost.bins; NULL: all of them */
    struct binned table;  /* of the kept rows and those features; columns borrowed when all */
    uint32_t *kept;       /* [stride] numbers of the training rows; NULL when all */
    int64_t *packed;      /* [stride, lanes] gradients, see struct softmax_job */
    int64_t *by_class;    /* [K, stride] */
    uint32_t *index;      /* [n] places of the kept rows in the arrays above */
    size_t n;             /* kept */
    float threshold;      /* see struct softmax_sample */
    uint32_t *spread;     /* [threads, SPREAD_BINS]; NULL: no threshold wanted */
};

struct boost {
    medley_gbdt_options options; /* defaults filled in; arrays borrowed */
    size_t n_classes, trees_per_round;
    struct medley_gbdt *model; /* grows */
    struct bins bins;
    uint32_t *features; /* [bins.n_features] number in the prepared data; NULL: the same */
    struct boost_rows train, valid; /* valid.n 0: none */
    struct boost_sample sample;
    size_t round;

    double most_weight;                  /* of a training row */
    float gradient_scale, hessian_scale; /* quantised units per 1 */
    unsigned lanes;                      /* classes padded for vector registers */
    size_t parts;                        /* histogram copies that rows are shared out to */
    int64_t *root;                       /* [parts][bin rows, 8, lanes] */

    /* per tree of a round */
    uint8_t *allowed; /* [trees][sample.bins.n_groups] */
    uint32_t *drawn;  /* [n_features] features of a tree */
    struct grow_space *spaces;
    struct tree **grown;
    medley_status *results;
    struct grow_limits limits;
    bool pending;        /* the model's last trees are not yet in the training rows' margins */
    atomic_uint *counts; /* [trees][GBDT_MAX_LEAVES] training rows per leaf of pending trees */

    /* masking of whole players (mask.c) */
    struct binned unmasked; /* the bins before */
    bool unmasked_owned;
};

medley_status boost_init(struct boost *b, const medley_gbdt_data *train,
                         const medley_gbdt_data *validation, const medley_gbdt_options *options,
                         medley_error *err);
medley_status boost_run(struct boost *b, medley_error *err);
void boost_deinit(struct boost *b); /* also after a failed init; frees the model unless taken */

/* Margins before any tree. */
void boost_start_scores(const struct boost *b, struct boost_rows *r);

/* ceil(feature_fraction * F): the features that a tree may use. */
size_t boost_features_wanted(const struct boost *b);

/* A row kept by gradient counts for at most this many times the largest gradient. */
#define SWEEP_MOST_WORTH 8

/* sweep.c: what is done once a round for every training row. */
medley_status sweep_init(struct boost *b, medley_error *err);
void sweep_deinit(struct boost *b);
void sweep_round(struct boost *b); /* margins of pending trees, then gradients and the sample */
void sweep_settle(struct boost *b);  /* only the margins of pending trees */
void sweep_rescore(struct boost *b); /* after bins have changed: margins anew, from all trees */

/* valid.c: adds the last round's trees to the validation rows; their mean log-loss. */
medley_status valid_round(struct boost *b, double *loss, medley_error *err);

/* mask.c */
medley_status mask_init(struct boost *b, medley_error *err);
void mask_round(struct boost *b, size_t round);

#endif
