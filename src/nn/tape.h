/* tape.h: reverse-mode differentiation. Ops compute at once and, when the tape records, append
 * a closure; tape_backward replays the closures in reverse. All memory is one arena per tape: a
 * step allocates nothing after the first few.
 *
 * A tape belongs to one thread. Data-parallel training gives each lane its own tape and
 * gradient buffer over shared, read-only parameters (see lanes.h). */
#ifndef NN_TAPE_H
#define NN_TAPE_H

#include "base/arena.h"
#include "nn/packs.h"
#include "nn/params.h"

/* A row-major matrix x[rows, cols]. Lives in the tape's arena until tape_reset. */
struct tensor {
    float *value;
    float *grad; /* NULL when no gradient flows here; zeroed when given */
    size_t rows, cols;
    const struct gemm8_rows *int8; /* the value rounded for int8 weights; NULL: not yet */
};

struct tape {
    struct arena arena;
    const struct params *params;
    float *grads;       /* of the parameters in params_trainable, which this tape adds to; NULL:
                           inference */
    size_t grads_begin; /* the offset of grads[0] */
    bool training;      /* record, and let dropout drop */
    uint64_t seed;      /* of this step's dropout masks; the caller changes it every step */
    uint64_t op_count;  /* ops so far in this step: the dropout stream of each op */
    bool failed;        /* out of memory at some point; all further ops return NULL */
    struct tape_entry *entries; /* newest first */
    struct tape *inner;         /* of op_recompute; NULL until it is wanted */
    struct packs *packs;        /* weights for inference; NULL: they are read from params */
    bool spread;                /* products spread over the pool: this tape is alone at work */
};

/* A closure on the tape: adds into the grads of its inputs from the grad of its output, which
 * it may overwrite: no one reads that afterwards. */
typedef void tape_backward_fn(struct tape *t, void *context);

/* grads covers params_trainable(p) as it is now. */
void tape_init(struct tape *t, const struct params *p, float *grads);
void tape_deinit(struct tape *t);
void tape_reset(struct tape *t, bool training, uint64_t seed); /* start of a step */

/* For writing ops. All return NULL when the tape has failed. */
struct tensor *tape_tensor(struct tape *t, size_t rows, size_t cols,
                           bool needs_grad); /* value not zeroed */
/* Nothing will read x's value again, the way back least of all: its memory goes back to the
 * system until the next step, and the value is zero. x may be NULL. */
void tape_drop(struct tensor *x);
void *tape_alloc(struct tape *t, size_t count, size_t size); /* not zeroed; aligned to 64 */
void tape_record(struct tape *t, tape_backward_fn *backward, void *context);
const float *tape_param(const struct tape *t, param_id id);
/* Where to add the gradient of a parameter; NULL when frozen or not training. */
float *tape_param_grad(const struct tape *t, param_id id);
/* Do gradients flow through any of these inputs? (training and one of them has grad) */
bool tape_needs(const struct tape *t, const struct tensor *a, const struct tensor *b);

/* Wraps the caller's data as an input; with_grad to get d loss / d input. */
struct tensor *tape_input(struct tape *t, const float *data, size_t rows, size_t cols,
                          bool with_grad);

/* Replays what was recorded, newest first: for ops that hold a tape. */
void tape_replay(struct tape *t);
/* loss is [1,1]; its grad is set to `scale` and everything is replayed. MEDLEY_ENOMEM if
 * failed. */
medley_status tape_backward(struct tape *t, struct tensor *loss, float scale,
                            medley_error *err);

#endif
