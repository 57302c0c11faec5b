/* lanes.h: data-parallel gradients. A batch is cut into a fixed number of lanes; each runs on
 * its own tape with its own gradient buffer; buffers are summed in lane order. The result
 * therefore depends on the number of lanes, never on the number of threads. */
#ifndef NN_LANES_H
#define NN_LANES_H

#include "nn/tape.h"

struct lanes {
    unsigned count;
    struct tape *tapes; /* [count] */
    float *grads; /* of params_trainable: lanes_run adds the sum to it, adamw_step zeroes it */
    size_t n_grads;
};
medley_status lanes_init(struct lanes *l, const struct params *p, unsigned count,
                         medley_error *err);
void lanes_deinit(struct lanes *l);

/* Builds and differentiates one lane's part of the loss: the body calls ops on `t` and returns
 * the loss tensor already weighted so that lane losses add up to the batch loss (NULL: nothing
 * here, or out of memory, which the tape remembers). The tape has been reset for training. */
/* Pieces of a batch that does not fit go through several runs: gradients add up until a step.
 * After a failure all gradients are zero. *loss is the sum of the lanes' losses. */
typedef struct tensor *lane_body(void *context, struct tape *t, unsigned lane);
medley_status lanes_run(struct lanes *l, uint64_t seed, lane_body *body, void *context,
                        double *loss, medley_error *err);

#endif
