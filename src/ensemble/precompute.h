/* precompute.h: which queries and products are frequent, and their embeddings made ahead for a
 * bundle (gnn/link_store.h). */
#ifndef ENSEMBLE_PRECOMPUTE_H
#define ENSEMBLE_PRECOMPUTE_H

#include "ensemble/base_model.h"
#include "gnn/link_store.h"

/* The most frequent nodes: a listing counts 1, a behaviour event its weight; of equally
 * frequent ones the first in the dataset. Ids ascend. End with precompute_free. */
struct precompute {
    struct link_store_plan plan;
    uint32_t *ids; /* owned */
};
medley_status precompute_choose(const struct dataset *d, const struct relations *r,
                                const struct precompute_config *how, struct precompute *out,
                                medley_error *err);
void precompute_free(struct precompute *p);

/* Of one trained graph model in `folder` over the workspace's data: writes `path`. */
medley_status precompute_write(const struct workspace *w, const struct model_config *m,
                               const char *folder, const struct link_store_plan *plan,
                               const char *path, medley_error *err);

#endif
