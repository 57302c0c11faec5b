/* score.h: adds freshly grown trees to the margins of binned rows. */
#ifndef GBDT_SCORE_H
#define GBDT_SCORE_H

#include "gbdt/bins.h"
#include "gbdt/tree.h"

#define SCORE_BLOCK 64 /* rows a kernel takes at once; arrays are padded to it */

struct score_job {
    struct tree *const *trees; /* of any classes; nodes hold bins */
    size_t n_trees;
    const struct binned *table; /* with columns */
    float *scores;              /* [K, stride] aligned to 64 */
    size_t stride;
    const float *weights; /* [stride]; rows of weight 0 are not counted */
    uint32_t *counts; /* [n_trees, GBDT_MAX_LEAVES] rows per leaf, added to; NULL: not wanted */
};

struct score_impl {
    const char *name;
    void (*add)(const struct score_job *job, size_t begin, size_t end);
    bool (*usable)(void);
};
extern const struct score_impl score_impls[]; /* slowest first; ends with a NULL name */

/* Rows begin..end, both multiples of SCORE_BLOCK. */
void score_add(const struct score_job *job, size_t begin, size_t end);

#endif
