/* single.h: one row through all trees at once; private to src/gbdt.
 *
 * The nodes of a tree are compared at once, the row's values having been searched among the
 * model's thresholds first, so that a node compares bytes. A node that sends the row right
 * rules out the leaves of its left side: a mask over at most 32 leaves. What all such nodes
 * leave standing, the first leaf in order is the one the row falls into (QuickScorer, Lucchese
 * et al. 2015). 16 trees are taken at a time, each of another group, so that a lane adds a
 * group's trees one after the other as forest.h wants it. A tree of more than 32 leaves becomes
 * several, each with the path down to its part, and the value 0 beside the path. */
#ifndef GBDT_SINGLE_H
#define GBDT_SINGLE_H

#include "gbdt/forest.h"

#define SINGLE_LANES 16
#define SINGLE_NODES 32    /* of a tree, one unused */
#define SINGLE_COLUMNS 128 /* bytes of a row */
#define SINGLE_LEFT 0x80   /* flag of a node's column: missing goes left */
#define SINGLE_STEPS 254   /* thresholds of a column */

/* A row's byte in a column is the number of thresholds it exceeds, among up to 254 of a
 * feature; 255 when missing. A row goes left if byte <= limit; where missing goes left, if byte
 * + 1 <= limit in 8 bits, which makes 0 of missing. */
struct single_column {
    uint32_t used;  /* in conditions.used */
    uint32_t first; /* threshold of the feature; more than 254 take several columns */
};

/* Two trees, side by side so that a register holds the nodes of both. */
struct single_pair {
    uint8_t column[2 * SINGLE_NODES]; /* | SINGLE_LEFT */
    uint8_t limit[2 * SINGLE_NODES];  /* 255 where there is no node */
    uint32_t keep[2 * SINGLE_NODES];  /* leaves not ruled out when the row goes right */
};

/* 16 groups, a step for each tree (or part of one) of the longest. */
struct single_unit {
    uint32_t first_group, n_groups, n_steps;
    size_t first_pair;  /* [n_steps][8] */
    size_t first_value; /* [n_steps][n_outputs][16 lanes][32 leaves] */
};

struct single {
    size_t n_columns, n_units, n_pairs, n_values, n_outputs;
    struct single_column columns[SINGLE_COLUMNS];
    struct single_unit *units;
    struct single_pair *pairs; /* aligned to 64 */
    float *values;             /* aligned to 64 */
};

/* NULL in *out, and MEDLEY_OK, for a model that does not fit: more than 128 columns, paths of
 * more than 30 nodes in trees of more than 32 leaves, trees of different outputs. */
medley_status single_new(const struct forest *f, struct single **out, medley_error *err);
void single_free(struct single *s);
size_t single_memory(const struct single *s); /* NULL: 0 */

struct single_impl {
    const char *name;
    void (*run)(const struct forest *f, const float *x, double *margins);
    bool (*usable)(void);
};
extern const struct single_impl single_impls[]; /* the walk first; NULL name ends */

/* The fastest that the CPU and the model allow; single_impls itself is the walk. */
const struct single_impl *single_fastest(const struct forest *f);

#endif
