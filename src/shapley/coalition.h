/* coalition.h: which coalitions a game needs, and the Shapley values they give; shared by
 * src/shapley and src/ensemble. The values come from whoever plays: refits in coalition_play.c,
 * tables in tests. */
#ifndef SHAPLEY_COALITION_H
#define SHAPLEY_COALITION_H

#include "medley/coalition.h"

/* Coalitions are bit masks; the list is ascending and without repetition. */
struct coalition_plan {
    size_t n_players, n_coalitions;
    uint64_t *coalitions; /* [n_coalitions] the empty one first, the full one last */
    size_t n_orders; /* 0: all 2^M are there; else pairs of orders, forwards and backwards */
    uint8_t *orders; /* [n_orders, n_players] the forward ones */
};

/* All 2^M. n_players at most 20. */
medley_status coalition_plan_exact(size_t n_players, struct coalition_plan *out,
                                   medley_error *err);
/* About `refits` coalitions: n_orders = max(2, (refits - 2) / (2 (M - 1))) pairs. */
medley_status coalition_plan_sampled(size_t n_players, size_t refits, uint64_t seed,
                                     struct coalition_plan *out, medley_error *err);
void coalition_plan_deinit(struct coalition_plan *p);

/* Where a coalition is in the list; SIZE_MAX when it is not. */
size_t coalition_find(const struct coalition_plan *p, uint64_t coalition);

/* worth[n_coalitions], `step` doubles apart. shapley[P], errors[P] standard errors (0 if
 * exact). */
void coalition_shapley(const struct coalition_plan *p, const double *worth, size_t step,
                       double *shapley, double *errors);

#endif
