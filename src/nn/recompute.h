/* recompute.h: trading time for memory (Chen et al. 2016, "Training deep nets with sublinear
 * memory cost"): a part of a network whose activations are not kept but computed again when its
 * gradients are wanted. */
#ifndef NN_RECOMPUTE_H
#define NN_RECOMPUTE_H

#include "nn/tape.h"

/* The part: calls ops on `t`, which is not the tape it was given to. Run twice, it must do the
 * same; dropout drops the same both times. */
typedef struct tensor *recompute_body(const void *context, struct tape *t, struct tensor *x);

/* body(x), by copying its last value alone to the tape; `context` is copied too (size bytes).
 * The gradients are those of calling the body on `t`, bit for bit, as long as nothing else
 * reads x. */
struct tensor *op_recompute(struct tape *t, struct tensor *x, recompute_body *body,
                            const void *context, size_t size);

#endif
