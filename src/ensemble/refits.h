/* refits.h: what every coalition of players is worth, by cross-validated refits of the
 * ensemble.
 *
 * The ensemble is fitted anew on each coalition's columns, fold by fold, and measured on the
 * rows of the fold that it did not see. Each metric is also taken on resampled queries, the
 * same for every coalition: a difference between two coalitions, and a Shapley value, has its
 * interval by paired bootstrap. Ranking and selection both read from here. */
#ifndef ENSEMBLE_REFITS_H
#define ENSEMBLE_REFITS_H

#include "ensemble/players.h"
#include "ensemble/slices.h"
#include "shapley/coalition.h"

/* Values of one coalition on one slice; the F1 of class c is VALUE_F1 + c. */
enum { VALUE_MACRO_F1, VALUE_ACCURACY, VALUE_LOG_LOSS, VALUE_F1 };
enum { FOLD_VALUES = VALUE_F1 };

struct refit_options {
    unsigned rounds;        /* of every refit: the number must not be fitted to the rows that it
                               is judged on */
    unsigned exact_players; /* beyond, orders of players are drawn; 0: 12 */
    unsigned refits;        /* then about so many; 0: 600 */
    unsigned resamples;     /* at most; UINT_MAX: none; 0: 500, fewer where they would take more
                               than 256 MB */
    uint64_t seed;          /* of the trees, the orders and the resamples */
    const uint64_t *list;   /* [n_list] these coalitions instead of a game; nothing is kept */
    size_t n_list;
};

struct refits {
    struct coalition_plan plan;
    size_t n_slices, n_values, n_folds, resamples;
    double *worth;    /* [n_coalitions, n_slices, n_values] */
    double *by_fold;  /* [n_coalitions, n_folds, FOLD_VALUES] over all rows of a fold */
    float *resampled; /* [n_coalitions, resamples, n_slices, n_values] */
};

/* Reads ensemble/refits-BY.npy when it is of the same inputs, else plays and writes it. */
medley_status refits_play(const struct stack *s, const struct players *p,
                          const struct slices *slices, const struct refit_options *options,
                          struct refits *out, medley_error *err);
void refits_close(struct refits *r);

/* Index of a coalition; SIZE_MAX when it was not played. Leave-one-out and single players
 * always are. */
size_t refits_find(const struct refits *r, uint64_t coalition);
uint64_t refits_all(const struct refits *r);

/* A value with its 95% interval. */
struct estimate {
    double value, low, high;
    double p_value;        /* two-sided: is it different from zero? */
    double sampling_error; /* of drawing orders; 0 when exact */
};
/* Shapley values of all players, out[P]. */
medley_status refits_shapley(const struct refits *r, size_t slice, size_t value,
                             struct estimate *out, medley_error *err);
/* One coalition less another (SIZE_MAX: less nothing). */
medley_status refits_difference(const struct refits *r, size_t a, size_t b, size_t slice,
                                size_t value, struct estimate *out, medley_error *err);
/* Shapley interaction index of two players (Grabisch and Roubens 1999); exact games only. Below
 * zero: they say the same. */
double refits_interaction(const struct refits *r, size_t slice, size_t value, size_t i,
                          size_t j);

#endif
