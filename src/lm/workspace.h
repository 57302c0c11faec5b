/* workspace.h: what a prediction needs besides the model, kept from call to call, so that a
 * single pair touches no new memory; private to src/lm. */
#ifndef LM_WORKSPACE_H
#define LM_WORKSPACE_H

#include "lm/cross_encoder_model.h"

/* Of one thread of the pool. */
struct lm_worker {
    struct tape tapes[2];
    struct lm_inputs inputs; /* of one batch */
};

struct lm_workspace {
    struct lm_workspace *next; /* idle ones */
    unsigned n;                /* threads */
    struct lm_worker *workers; /* [n] */
    struct lm_inputs inputs;   /* of a block of texts */
    uint32_t *order;           /* [inputs.n] texts by length */
    uint32_t *batch_begin;     /* [batches + 1] into order */
    size_t order_capacity, begin_capacity;
};

/* The idle workspaces of a model; shared by threads. */
struct lm_workspaces;
struct lm_workspaces *lm_workspaces_new(void); /* NULL when out of memory */
void lm_workspaces_free(struct lm_workspaces *all);

/* An idle one, or a new one; for as many threads as the pool has. NULL when out of memory. */
struct lm_workspace *lm_workspace_take(const struct cross_encoder *m);
void lm_workspace_give(const struct cross_encoder *m, struct lm_workspace *w);

#endif
