/* rank.h: the three rankings while they are being made; private to rank*.c.
 *
 *   tree           mean |contribution| of a player to the margins of the ensemble of all
 * models: exact Shapley values over the pairs of the test split; labels are not read shapley
 * Shapley value of a metric in the game of refits (refits.h), out of fold leave-one-out  what
 * the metric loses when the ensemble is refitted without the player
 */
#ifndef ENSEMBLE_RANK_H
#define ENSEMBLE_RANK_H

#include "ensemble/agreement.h"
#include "ensemble/decide.h"
#include "ensemble/refits.h"

struct ranking {
    struct workspace *w;
    struct stack rows;  /* of the tree game */
    struct stack train; /* of the refits */
    struct slices row_slices, slices;
    struct players players;
    struct refits refits;
    const char *split; /* of the tree game: "test", or "train" when there is no test split */
    unsigned rounds, seeds;
    /* tree game: players and, last, the context */
    size_t n_tree;       /* players.n, one more with context features */
    float *values;       /* [rows, players.n + 1, K] */
    float *interactions; /* [(n+1)^2] mean over rows of sum over classes of |interaction| */
    float *strength;     /* [rows] scratch: one player's |contribution| summed over classes */
    /* rankings of every seed, [seeds, players.n] */
    double *tree_by_seed, *shapley_by_seed[FOLD_VALUES], *without_by_seed[FOLD_VALUES];
};

/* rank_tree.c */
medley_status rank_tree(struct ranking *r, medley_error *err);
/* Mean |contribution| of a player (class == K: summed over classes) in a slice. */
medley_status rank_tree_estimate(const struct ranking *r, size_t player, size_t class,
                                 size_t slice, struct estimate *out, medley_error *err);
/* rank_seeds.c */
medley_status rank_seeds(struct ranking *r, medley_error *err);
struct agreement rank_fold_agreement(const struct ranking *r, size_t value, bool without,
                                     medley_status *st, medley_error *err);
/* rank_pairs.c: correlation of two models' out-of-fold margins, their shared errors. */
struct pair_likeness {
    double
        correlation; /* of margins, less the mean of each class's rows; NaN: no common rows */
    double shared_errors; /* of the pairs that either gets wrong, the share that both get wrong
                             with the same label */
    size_t n;             /* pairs that both answered */
};
struct pair_likeness rank_likeness(const struct stack *s, size_t a, size_t b);
/* rank_write.c */
medley_status rank_write(const struct ranking *r, medley_error *err);

#endif
