/* resume.h: what a killed training needs to go on: parameters, optimiser state and counters. As
 * all that is random in training is a function of seed and step, no generator state is kept,
 * and a resumed run ends in the bits of an uninterrupted one. */
#ifndef NN_RESUME_H
#define NN_RESUME_H

#include "nn/adamw.h"

#define RESUME_SECONDS 30.0 /* between checkpoints */

/* Where training stands. All are exactly representable in doubles. */
struct train_position {
    uint64_t epoch, step; /* the coming epoch and the coming step within it */
    double loss_sum;      /* of this epoch so far, weighted by examples */
    double best_loss;     /* on held-out queries; infinite before the first evaluation */
    uint64_t stale;       /* evaluations since the best one */
};

/* The state of one training; all borrowed. */
struct resume {
    struct hash128 identity; /* of options, data and starting parameters */
    struct params *params;
    struct adamw *adamw;
    float *best; /* [total] parameters of the best evaluation; NULL without early stopping */
    uint64_t epochs, steps; /* limits: in all, and in an epoch */
};

medley_status resume_write(const struct resume *r, const struct train_position *at,
                           const char *path, medley_error *err);
/* Takes over a checkpoint of the same training, tells so by progress_note, and sets *at. One
 * that is absent, of another training or damaged is left alone: training starts from the
 * beginning. */
void resume_read(const struct resume *r, const char *path, struct train_position *at);

#endif
