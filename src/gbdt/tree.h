/* tree.h: what a trained model is made of; private to src/gbdt, src/shapley and src/ensemble.
 *
 * A row goes left at a node when x[feature] <= threshold, right when it is greater; NaN goes
 * where missing_left says. A tree adds n_outputs values: one (its class) or K (a vector tree).
 */
#ifndef GBDT_TREE_H
#define GBDT_TREE_H

#include "medley/gbdt.h"

#include <stdatomic.h>

#define GBDT_MAX_LEAVES 255   /* of a tree that is being trained: leaf numbers are bytes */
#define TREE_MAX_LEAVES 65535 /* of a tree read from a file */
#define GBDT_MAX_CLASSES 16
#define GBDT_MAX_FEATURES 65535

struct tree_node {
    float threshold;     /* finite; FLT_MAX separates missing from present */
    uint32_t feature;    /* < n_features */
    int32_t left, right; /* >= 0: a later node; < 0: leaf ~child */
    double count;        /* cover: training rows that came here, or the sum of their hessians */
    uint8_t bin;         /* the threshold as a bin; only while training */
    bool missing_left;
};

struct tree {
    uint32_t n_leaves;       /* 1..TREE_MAX_LEAVES; nodes are n_leaves - 1 */
    uint32_t n_outputs;      /* 1 or K */
    uint32_t first_class;    /* the class of output 0 */
    struct tree_node *nodes; /* [n_leaves - 1]; node 0 is the root */
    double *counts; /* [n_leaves] cover, above 0 unless it is the only leaf or cover is NONE */
    float *values;    /* [n_leaves, n_outputs] margins, learning rate included */
};

struct forest;

struct medley_gbdt {
    size_t n_features, n_classes;
    size_t rounds, n_trees; /* n_trees = rounds * (K, or 1 for vector trees) */
    size_t trees_capacity;
    enum medley_trees kind;
    enum medley_link link;
    double link_scale; /* of the margins under a sigmoid; else 1 */
    enum medley_cover cover;
    double base[GBDT_MAX_CLASSES]; /* margins before any tree */
    struct tree **trees;           /* [n_trees], round by round, class by class */
    char **names;                  /* [n_features] or NULL */
    _Atomic(struct forest *)
        forest; /* made by the first prediction, then shared; see forest.h */
};

/* One allocation; NULL when out of memory. All fields past the shape are zero. */
struct tree *tree_new(uint32_t n_leaves, uint32_t n_outputs, uint32_t first_class);
void tree_free(struct tree *t);

/* Cover of a child. */
static inline double tree_child_count(const struct tree *t, int32_t child)
{
    return child >= 0 ? t->nodes[child].count : t->counts[~child];
}

static inline bool node_goes_left(const struct tree_node *n, float x)
{
    return x <= n->threshold || (x != x && n->missing_left);
}

/* The leaf that a row of floats falls into. */
static inline uint32_t tree_leaf(const struct tree *t, const float *x)
{
    int32_t at = t->n_leaves > 1 ? 0 : ~0;
    while (at >= 0) {
        const struct tree_node *n = &t->nodes[at];
        at = node_goes_left(n, x[n->feature]) ? n->left : n->right;
    }
    return (uint32_t)~at;
}

/* Leaves of the largest tree; at least 1. */
size_t gbdt_most_leaves(const struct medley_gbdt *model);
struct medley_gbdt *gbdt_new(size_t n_features, size_t n_classes, enum medley_trees kind);
/* Takes the tree over; false (tree not taken) when out of memory. */
bool gbdt_add_tree(struct medley_gbdt *model, struct tree *t);
/* Links other than softmax, which work on each margin for itself. */
void gbdt_apply_link(const struct medley_gbdt *model, const double *margins, size_t n, float *out);
void gbdt_truncate(struct medley_gbdt *model, size_t rounds);
static inline size_t gbdt_trees_per_round(const struct medley_gbdt *model)
{
    return model->kind == MEDLEY_TREES_VECTOR ? 1 : model->n_classes;
}

#endif
