/* distill.h: learning from another model's probabilities besides the labels (Hinton et al.
 * 2015). Private to src/lm. */
#ifndef LM_DISTILL_H
#define LM_DISTILL_H

#include "lm/cross_encoder.h"
#include "nn/ops.h"

/* What the student should say of each training pair, made once from lm_options.distill;
 * all-zero: there is no teacher. */
struct distill {
    float weight, temperature;
    size_t n_classes;
    float *targets; /* [n * K] softened; where the teacher is silent: the label */
    float **lanes;  /* [n_lanes][batch * K] targets of the coming step */
    unsigned n_lanes;
};
medley_status distill_init(struct distill *s, const struct lm_options *o,
                           const struct dataset *d, const uint32_t *rows, size_t n,
                           medley_error *err);
void distill_deinit(struct distill *s);
/* Training pair i is the lane's seat-th of the coming step. */
void distill_take(struct distill *s, unsigned lane, size_t seat, size_t i);
/* (1 - weight) hard + weight (distance to the teacher). */
struct tensor *distill_loss(const struct distill *s, struct tape *t, unsigned lane,
                            struct tensor *hard, struct tensor *logits);
/* For the identity of a training: depends on nothing when there is no teacher. */
struct hash128 distill_hash(const struct distill *s, size_t n, struct hash128 seed);

#endif
