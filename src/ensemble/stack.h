/* stack.h: the GBDT over the base models' probabilities, for any subset of the models. */
#ifndef ENSEMBLE_STACK_H
#define ENSEMBLE_STACK_H

#include "data/metrics.h"
#include "ensemble/design.h"
#include "ensemble/workspace.h"

/* The labelled examples of one split, in lists: rows of one query stand together. On the
 * training split the probabilities are out-of-fold; on the test split they are the final
 * models'. */
struct stack {
    const struct workspace *w;
    size_t n, n_models, n_classes;
    uint32_t *row;   /* [n] index into the dataset */
    uint32_t *query; /* [n] */
    uint8_t *label;  /* [n] */
    uint8_t *fold;   /* [n] query-grouped, for choosing the number of rounds */
    unsigned n_folds;
    uint64_t seed;                     /* of the trees [stacking.seed] */
    double class_weights[MAX_CLASSES]; /* of training pairs, from this split's labels */
    float **probabilities;             /* [n_models][n * K] */
    float *context;                    /* [n * CONTEXT_FEATURES]; NULL when plain */
};

/* ESTALE when a model's predictions are missing; EFORMAT when they do not fit the dataset. */
medley_status stack_open(const struct workspace *w, enum split split, struct stack *out,
                         medley_error *err);
void stack_close(struct stack *s);

/* Subsets of the models are bit masks: bit m is config.models[m]. */
struct design_shape stack_shape(const struct stack *s, uint32_t mask);
/* x[n, F] of a subset, F = design_columns(stack_shape(s, mask)); free with mem_free. */
medley_status stack_design(const struct stack *s, uint32_t mask, float **x, medley_error *err);

/* Query-grouped cross-validation of a subset: the number of rounds (mean over folds of the
 * best), and, when not NULL, out-of-fold ensemble probabilities[n*K]. Early stopping looks at
 * the fold it is scored on, so scores are optimistic by a little, alike for every subset. */
medley_status stack_cross_validate(const struct stack *s, uint32_t mask, unsigned *rounds,
                                   float *probabilities, medley_error *err);
medley_status stack_fit(const struct stack *s, uint32_t mask, unsigned rounds,
                        medley_gbdt **out, medley_error *err);
/* probabilities[n*K] of another split (or the same). */
medley_status stack_predict(const struct stack *s, uint32_t mask, const medley_gbdt *model,
                            float *probabilities, medley_error *err);

uint32_t stack_all(const struct stack *s); /* the mask of all models */

/* The settings of the GBDT, but for rounds and early stopping, as every fit here uses them.
 * players[F] is borrowed by them: stack_mask_players says whose columns go missing together. */
medley_gbdt_options stack_gbdt_options(const struct stack *s, const uint32_t *players);
void stack_mask_players(const struct design_shape *shape, uint32_t *players);
/* Other folds of the same rows, from another seed. */
medley_status stack_refold(struct stack *s, uint64_t seed, medley_error *err);

#endif
