/* conditions.h: the distinct questions a model asks, and rows turned into their answers.
 *
 * A condition is (feature, threshold, where missing goes); a row meets it when it would go
 * left. Trees of one model share most of them: 24,000 nodes of 800 trees have a few thousand.
 * So rows are taken in blocks, every condition is answered once per block, as a mask with one
 * bit per row, and a node only names its condition. Nodes that differ in anything but the
 * feature, the threshold and the direction of missing share their mask; no comparison of floats
 * is left.
 *
 * Immutable once made: threads may share it, each with a conditions_space of its own. */
#ifndef GBDT_CONDITIONS_H
#define GBDT_CONDITIONS_H

#include "gbdt/tree.h"

#define CONDITIONS_WORDS 8 /* 64-bit words of a mask, at most */
#define CONDITIONS_LEVELS                                               \
    10 /* of a search tree; 16^8 thresholds are more than a model holds \
        */

struct condition {
    float threshold; /* -0 is stored as 0 */
    uint32_t feature;
    bool missing_left;
};

/* A feature that some node asks about. Its thresholds are searched 16 at a time: the last level
 * holds them all, in order, the level above the last of each 16 (but the last), and so on;
 * padded with infinity. Its marks are: missing, one per threshold (rows above the one before
 * and not above this one), rows above all. */
struct condition_feature {
    uint32_t feature, n_thresholds; /* distinct */
    size_t first_mark;
    unsigned levels;
    size_t level[CONDITIONS_LEVELS]; /* of conditions.keys; the top (16 keys) first */
    /* Up to 255 thresholds also lie in keys as a binary tree, breadth first from number 1 on (0
     * is unused): 2^depth of them, depth 4 to 8, for searching 16 values at a time. 0: not. */
    unsigned depth;
    size_t tree;
};

struct conditions {
    size_t n_features, n_conditions, n_used;
    size_t n_marks, most_marks;     /* of all features, of one */
    struct condition *list;         /* [n_conditions] by feature, threshold, missing_left */
    struct condition_feature *used; /* [n_used] by feature */
    float *keys;                    /* aligned to 64 */
    uint8_t *kinds;     /* [n_marks] bit 0: a condition sends missing right, bit 1: left */
    uint32_t *of_nodes; /* of every node of every tree: its condition */
    size_t *first_node; /* [n_trees + 1] in of_nodes */
    size_t bytes;       /* of all of this */
};

medley_status conditions_new(const struct medley_gbdt *model, struct conditions **out,
                             medley_error *err);
void conditions_free(struct conditions *c);
size_t conditions_memory(const struct conditions *c); /* bytes held */

/* The condition of a node of a tree of the model. */
static inline uint32_t condition_of(const struct conditions *c, size_t tree, uint32_t node)
{
    return c->of_nodes[c->first_node[tree] + node];
}

/* What a thread needs to answer blocks of 64 * words rows. */
struct conditions_space {
    size_t words;    /* 1..CONDITIONS_WORDS per mask */
    uint64_t *masks; /* [n_conditions + 1, words] the answers; aligned to 64 */
    uint64_t *marks; /* [most_marks, words] of one feature; all 0 between; aligned to 64 */
    uint32_t *above; /* [n_used, 64 words] the mark of each row */
};

medley_status conditions_space_init(const struct conditions *c, size_t words,
                                    struct conditions_space *s, medley_error *err);
/* With room for `more` masks of the caller's own: masks[n_conditions + 1 ..]. */
medley_status conditions_space_init_more(const struct conditions *c, size_t words, size_t more,
                                         struct conditions_space *s, medley_error *err);
void conditions_space_deinit(struct conditions_space *s);

/* Answers for rows x[n, n_features], NaN missing, n <= 64 * words: bit i % 64 of
 * masks[condition * words + i / 64] is set where row i goes left; bits from n on are 0. */
struct conditions_impl {
    const char *name;
    void (*answer)(const struct conditions *c, struct conditions_space *s, const float *x,
                   size_t n);
    bool (*usable)(void);
};
extern const struct conditions_impl conditions_impls[]; /* slowest first; NULL name ends */

void conditions_answer(const struct conditions *c, struct conditions_space *s, const float *x,
                       size_t n); /* the fastest usable */

#endif
