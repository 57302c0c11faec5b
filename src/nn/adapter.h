/* adapter.h: LoRA (Hu et al. 2021, "LoRA: low-rank adaptation of large language models"):
 * instead of a linear layer's weight W [out, in], two thin matrices learn, A [r, in] and B
 * [out, r], so that the layer is W + (alpha / r) B A. W is frozen; gradients and moments exist
 * for A and B alone. */
#ifndef NN_ADAPTER_H
#define NN_ADAPTER_H

#include "nn/ops.h"

struct adapter_options {
    unsigned rank;       /* r; 0: no adapters */
    double alpha;        /* scales what they add: alpha / r */
    double dropout;      /* of what they read */
    bool attention_only; /* weights whose names speak of attention; else all linear layers */
};

/* Declares A (random) and B (zero, so that nothing changes yet) for the linear weights among
 * parameters [from, to), behind all others, and freezes everything in front of `to`. Call it
 * after all other declarations and before params_allocate. How many were adapted. */
size_t adapters_declare(struct params *p, param_id from, param_id to,
                        const struct adapter_options *o);
/* Adds what the adapters learned to the weights and forgets them; nothing is frozen any more.
 * Without adapters nothing is done. */
medley_status adapters_merge(struct params *p, medley_error *err);

/* act(x W^T + b), with the adapter's part if W has one. */
struct tensor *adapted_linear(struct tape *t, struct tensor *x, param_id w, param_id b,
                              enum activation act);

#endif
