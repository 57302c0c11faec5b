/* histogram.h: sums of gradients and hessians per bin.
 *
 * Gradients are quantised, so sums are exact integers: the same whatever the order of addition,
 * the number of threads and the kernel. A cell packs both sums, gradient << 32 plus hessian;
 * one 64-bit addition updates both. The hessian is positive and both sums stay below 2^31
 * (boost.c picks the scale so), so nothing carries from one half into the other.
 *
 * A histogram is cells[bin row][8], the bin rows of group g being bins.group_first[g] + bin. */
#ifndef GBDT_HISTOGRAM_H
#define GBDT_HISTOGRAM_H

#include "gbdt/bins.h"

static inline int64_t cell_pack(int32_t gradient, int32_t hessian)
{
    return (int64_t)((uint64_t)(uint32_t)gradient << 32) + hessian;
}

static inline int32_t cell_gradient(int64_t cell)
{
    return (int32_t)(cell >> 32);
}

static inline uint32_t cell_hessian(int64_t cell)
{
    return (uint32_t)cell;
}

/* Cells of one histogram, over all groups. */
static inline size_t histogram_cells(const struct bins *b)
{
    return (size_t)b->group_first[b->n_groups] * BINS_GROUP;
}

/* Adds rows index[0..n) (or begin..begin+n when index is NULL) to the histograms of `lanes`
 * classes at once: the cells of a bin are [feature in group][lanes]. Cells are not cleared;
 * those of features that the last group lacks may change, and mean nothing. */
struct histogram_job {
    const struct bins *bins;
    const struct binned *table;
    size_t group_begin, group_end;
    const uint32_t *index;
    size_t begin, n;
    const int64_t *gradients; /* [table rows, lanes] packed, aligned to 8 * lanes bytes */
    unsigned lanes;           /* 1, 4, 8 or 16 */
    int64_t *cells;           /* [bin rows, 8, lanes], aligned to 64 */
};

struct histogram_impl {
    const char *name;
    void (*add)(const struct histogram_job *job);
    bool (*usable)(void);
};
extern const struct histogram_impl histogram_impls[]; /* slowest first; ends with a NULL name */

void histogram_add(const struct histogram_job *job); /* the fastest usable */

/* parent -= child, over n cells, a multiple of 8; both aligned to 64. */
void histogram_subtract(int64_t *parent, const int64_t *child, size_t n);

#endif
