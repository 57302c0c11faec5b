/* select.h: choosing models while it goes on; private to select*.c. */
#ifndef ENSEMBLE_SELECT_H
#define ENSEMBLE_SELECT_H

#include "ensemble/cost.h"
#include "ensemble/decide.h"
#include "ensemble/refits.h"

struct subset {
    uint32_t mask;
    double value[FOLD_VALUES]; /* macro-F1, accuracy, log-loss, out of fold */
    struct subset_cost cost;
    bool pareto, within_budget;
};

/* A subset that was refitted once, by this run or an earlier one. */
struct kept_subset {
    uint64_t mask;
    double value[FOLD_VALUES];
};

struct selection {
    struct workspace *w;
    struct stack s;
    struct players players;
    struct slices slices;
    struct model_cost *cost; /* [n_models] */
    struct cost_rules rules;
    size_t value;    /* which of the values is kept high (or low) */
    unsigned rounds; /* of the refits */
    bool exact;      /* every subset was tried */
    struct subset *subsets;
    size_t n, capacity;
    struct kept_subset *kept; /* of searches */
    size_t n_kept, kept_capacity;
    struct refits
        game; /* with resamples: all subsets, or when not exact those that are told of */
};

/* select.c: rows, players, costs and rounds; also of a failed open, select_close. */
medley_status select_open(struct selection *x, struct workspace *w, medley_error *err);
void select_close(struct selection *x);
/* Higher is better. */
double select_score(const struct selection *x, const struct subset *a);
const struct subset *select_find(const struct selection *x, uint32_t mask);
/* select_search.c: fills subsets, all of them for up to SELECT_EXACT models, else of a search.
 */
enum { SELECT_EXACT = 12, SELECT_SEARCH = 800 };
medley_status select_search(struct selection *x, medley_error *err);
/* With resamples, for the differences that are told. */
medley_status select_play_told(struct selection *x, const struct subset *chosen,
                               medley_error *err);
/* select_kept.c */
void select_kept_read(struct selection *x);
const double *select_kept_find(const struct selection *x, uint32_t mask); /* or NULL */
medley_status select_kept_add(struct selection *x, uint32_t mask,
                              const double value[FOLD_VALUES], medley_error *err);
medley_status select_kept_write(const struct selection *x, medley_error *err);
/* select_choose.c */
void select_mark(struct selection *x); /* pareto, within_budget */
const struct subset *select_best(const struct selection *x);
const struct subset *select_knee(const struct selection *x);
/* The least latency among those that are not worse than the best beyond noise. */
medley_status select_cheapest(const struct selection *x, const struct subset **out,
                              medley_error *err);
/* What choosing the best of many by the same rows flatters it by: value told less value on a
 * fold when the others chose; NaN when there are too few folds. */
double select_optimism(const struct selection *x);
/* select_write.c */
struct selected {
    const struct subset *chosen, *best, *knee, *cheapest;
    unsigned rounds;
};
medley_status select_write(const struct selection *x, const struct selected *s,
                           medley_error *err);

#endif
