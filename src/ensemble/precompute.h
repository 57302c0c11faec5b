/* precompute.h: which queries and products are frequent, and their embeddings made ahead for a
 * bundle (gnn/link_store.h): when it is written, and again for one that is being served.
 *
 * A bundle's id says nothing of its embeddings: they follow from the rest, and change no answer
 * but those of new queries. So they may be replaced in a bundle that is served; the file is
 * renamed into place, and who has the old one mapped keeps it until it opens the bundle anew.
 */
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

/* One trained graph model in `folder` over the workspace's data. */
struct precompute_job {
    const struct workspace *w;
    const struct model_config *model; /* relations */
    const char *features;             /* file of node features */
    const char *folder;
    const struct link_store_plan *plan;
    const char *before; /* a store whose rows may be copied; NULL or unreadable: none */
    struct hash128 bundle;
    bool half;
};
struct precompute_done {
    struct link_store_work work;
    struct link_store_size size;
    double seconds;
    /* Over some random pairs of stored nodes: the largest difference of a probability from the
     * live path's. 0 for float32. */
    double difference;
    size_t compared;
};
/* Writes `path` atomically; `out` may be NULL, and then nothing is compared. */
medley_status precompute_write(const struct precompute_job *job, const char *path,
                               struct precompute_done *out, medley_error *err);

/* `medley precompute`: makes the embeddings of bundle/current anew. If the workspace's data has
 * changed since that bundle was written, a new bundle with the new data, the same models and
 * their new embeddings becomes current. Leaves ensemble/precompute.json. */
struct precompute_options {
    struct precompute_config how;
    bool half;
    const char *relation, *model; /* only models that read it; only this one; NULL: all */
};
medley_status precompute_refresh(struct workspace *w, const struct precompute_options *options,
                                 medley_error *err);

#endif
