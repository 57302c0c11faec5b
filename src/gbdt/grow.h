/* grow.h: grows one tree leaf-wise: always the leaf whose best split gains most. */
#ifndef GBDT_GROW_H
#define GBDT_GROW_H

#include "gbdt/split.h"
#include "gbdt/tree.h"

struct grow_limits {
    unsigned num_leaves, max_depth; /* depth 0: no limit */
    double min_rows;                /* per leaf, estimated from the hessian as LightGBM does */
    double min_hessian, min_gain, lambda, learning_rate; /* not quantised */
    double gradient_unit, hessian_unit;                  /* value of one quantised unit */
};

/* Memory that serves tree after tree. One per tree grown at a time. */
struct grow_space {
    size_t rows;              /* room in index */
    uint32_t *index;          /* rows, those of each leaf together */
    uint32_t *other;          /* while partitioning */
    struct grow_leaf *leaves; /* [num_leaves] */
    uint32_t n_leaves;        /* of the last tree grown */
    int64_t **histograms;     /* [num_leaves] allocated when first used */
    unsigned max_leaves, n_histograms, n_free;
    int64_t **free_list; /* histograms not in use */
};

medley_status grow_space_init(struct grow_space *s, size_t rows, unsigned num_leaves,
                              medley_error *err);
void grow_space_deinit(struct grow_space *s);

struct grow_job {
    const struct bins *bins;
    const struct binned *table; /* with rows */
    const int64_t *gradients;   /* [outputs][stride] packed */
    size_t gradient_stride;
    unsigned outputs, first_class;
    const int64_t *root;            /* [bin rows, 8, root_lanes]: histograms of the root */
    unsigned root_lanes, root_lane; /* output o is lane root_lane + o */
    const uint8_t *allowed;         /* [n_groups] features this tree may use */
    const struct grow_limits *limits;
};

/* Grows from the n rows in s->index. Their order changes. */
medley_status grow_tree(const struct grow_job *job, struct grow_space *s, size_t n,
                        struct tree **out, medley_error *err);

/* Stable partition: rows whose bin is at most `bin` (missing ones by missing_left) stay at the
 * front of index[0..n), in order; returns how many. */
struct partition_job {
    const uint8_t *column; /* bins of the feature */
    uint8_t bin;
    bool missing_left;
    uint32_t *index, *other; /* other: room for n + 16 */
    size_t n;
};
struct partition_impl {
    const char *name;
    size_t (*run)(const struct partition_job *job);
    bool (*usable)(void);
};
extern const struct partition_impl partition_impls[]; /* slowest first; ends with a NULL name */
size_t partition_rows(const struct partition_job *job);

#endif
