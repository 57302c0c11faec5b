/* forest.h: a model made ready for prediction; private to src/gbdt.
 *
 * Order of additions, the same in every kernel and for any number of rows: the trees of equal
 * outputs are taken 8 at a time, in order; the leaf values of such a group are added in float,
 * one after the other, and the sums of groups in double. (Eight float additions of leaf values
 * lose less than rounding the margin to float does, and cost half of what doubles would.)
 *
 * For many rows a tree becomes parts of at most 32 leaves. A part's leaf is a number of 5 bits,
 * computed for all rows of a block at once, bit by bit: at a node, bit b of the leaf number is
 * bit b of the left child's number where the row meets the condition, of the right child's
 * elsewhere: one bitwise select of two masks by a third. Where both sides agree on a bit
 * nothing is done: about two selects a node remain. Then 8 parts at a time are looked up by
 * permutation of their 32 values and added. A larger tree is cut: the part above a cut has the
 * value 0 there, the part below is numbered 0 (value 0) for the rows that do not get there, so
 * the sum of the parts is the tree, exactly. */
#ifndef GBDT_FOREST_H
#define GBDT_FOREST_H

#include "gbdt/conditions.h"

#include <stdatomic.h>

#define FOREST_GROUP 8   /* trees added in float */
#define FOREST_BITS 5    /* of a leaf's number */
#define FOREST_LEAVES 32 /* of a part */

/* mask[to] = mask[condition] ? mask[met] : mask[not_met]. The masks are those of the conditions
 * and, behind them, slots: all zeros, all ones, and what selects compute. */
struct forest_select {
    uint16_t condition, met, not_met, to;
};

/* Rows that come to a cut: gate[to] = gate[from] & (condition ^ negated), to counting up. */
struct forest_gate {
    uint32_t condition;
    uint16_t from, to;
    bool negated;
};

struct forest_part {
    uint32_t first_gate;
    uint16_t gate;              /* rows outside it get number 0; 0: all rows pass */
    uint16_t n_gates;           /* to compute before */
    uint16_t bits[FOREST_BITS]; /* masks of the leaf's number */
};

/* Up to 8 parts of the trees of one group. */
struct forest_batch {
    uint32_t first_part, n_parts;
    uint32_t first_select, n_selects; /* of all parts, taken in turns */
    uint32_t first_class, n_outputs;
    size_t first_value; /* [n_outputs][8 parts][32] */
    bool opens, closes; /* first, last batch of its group */
};

/* Trees added in float: tree numbers, 8 or fewer. */
struct forest_group {
    uint32_t first_class, n_outputs, n_trees;
    uint32_t trees[FOREST_GROUP];
};

struct forest_space;
struct single;
#define FOREST_SPARES 16

struct forest {
    const struct medley_gbdt *model; /* borrowed: it owns the forest */
    struct conditions *conditions;
    struct forest_group *groups;
    struct forest_part *parts;
    struct forest_select *selects;
    struct forest_gate *gates;
    struct forest_batch *batches;
    float *values;                                                     /* aligned to 64 */
    size_t n_groups, n_parts, n_selects, n_gates, n_batches, n_values; /* in use */
    size_t zeros;          /* the mask of all zeros; that of all ones comes next */
    size_t n_slots;        /* these two included */
    size_t most_gates;     /* of a tree */
    bool only_walk;        /* too many conditions to number them in 16 bits */
    struct single *single; /* the same for one row at a time, or NULL; see single.h */
    _Atomic(struct forest_space *) spares[FOREST_SPARES]; /* kept between calls, or NULL */
};

/* What the parts of a batch can need at most. */
#define FOREST_MOST_SELECTS (FOREST_GROUP * FOREST_BITS * (FOREST_LEAVES - 1))

/* schedule.c: puts the selects of a batch in order, in out[n]; result i, which pending calls
 * first_slot + i, goes to slot_of[i]. Returns the number of slots used. */
size_t forest_schedule(const struct forest_select *pending, size_t n, size_t first_slot,
                       struct forest_select *out, uint16_t *slot_of);

medley_status forest_new(const struct medley_gbdt *model, struct forest **out,
                         medley_error *err);
void forest_free(struct forest *f);
size_t forest_memory(const struct forest *f);

/* What a thread needs to take blocks of rows through a forest. */
struct forest_space {
    struct conditions_space answers; /* masks as wide as the kernel's registers */
    void *gates;                     /* [most_gates + 1] masks */
    uint8_t *leaves;                 /* [8][rows] */
    float *sums;                     /* [K, rows] of the group being added */
    double *margins;                 /* [K, rows] in the kernel's order, see forest_row */
};

struct forest_impl {
    const char *name;
    size_t words; /* rows of a block / 64 */
    size_t lanes; /* 32-bit lanes of a register: gives the order of rows */
    /* Margins of n rows x[n, F], n <= 64 * words, into space->margins. */
    void (*run)(const struct forest *f, struct forest_space *s, const float *x, size_t n);
    bool (*usable)(void);
};
extern const struct forest_impl forest_impls[]; /* slowest first; NULL name ends */
const struct forest_impl *forest_fastest(const struct forest *f);

/* Of a forest, for the given kernel. */
medley_status forest_space_new(const struct forest *f, const struct forest_impl *impl,
                               struct forest_space **out, medley_error *err);
void forest_space_free(struct forest_space *s);
/* A spare space if there is one: a fresh one costs a page fault for each 4 KiB. NULL when out
 * of memory. */
struct forest_space *forest_space_take(struct forest *f, const struct forest_impl *impl);
void forest_space_give(struct forest *f, struct forest_space *s);

/* Where row i of a block stands in margins[class][.]. Byte j of a mask holds rows 8 j .. 8 j +
 * 7; numbers are taken apart by bit of the byte and by byte of a 32-bit lane. */
static inline size_t forest_row(const struct forest_impl *impl, size_t i)
{
    return impl->lanes ? ((i & 7) * 4 + (i >> 3 & 3)) * impl->lanes + (i >> 5) : i;
}

/* Margins of one row by walking the trees. */
void forest_walk(const struct forest *f, const float *x, double *margins);

#endif
