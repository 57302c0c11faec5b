/* cascade.h: cheap models first; the next one runs only on pairs whose label is not yet
 * decided.
 *
 * The models are put in order by what they add for their cost. Stage j has its own ensemble, of
 * the first j + 1 models. A pair stops at a stage when its calibrated margin (most probable
 * class less the second) reaches the threshold of that stage and class. A later model then
 * never sees the pair; in the statistics of the pair's list, which the others depend on, a
 * linear guess from the answer that it stopped with stands in (without it they would be of the
 * hard pairs only, and cost half a point of macro-F1 on the public extract). All of this is
 * played out, not assumed. Thresholds are chosen on out-of-fold predictions. */
#ifndef ENSEMBLE_CASCADE_H
#define ENSEMBLE_CASCADE_H

#include "ensemble/stack.h"

enum cascade_save { SAVE_TIME, SAVE_MODELS };

struct cascade_options {
    double loss;            /* of macro-F1 that may be given up, e.g. 0.003 */
    enum cascade_save save; /* what to save: processor time, or evaluations of models */
};

struct cascade {
    size_t n_stages;
    size_t order[MEDLEY_MAX_MODELS];       /* model of each stage */
    uint32_t prefix[MEDLEY_MAX_MODELS];    /* models of the stages so far */
    double cost_ms[MEDLEY_MAX_MODELS];     /* of the model, processor time a pair */
    double value[MEDLEY_MAX_MODELS];       /* log-loss that it takes off, out of fold */
    double temperature[MEDLEY_MAX_MODELS]; /* of the stage's ensemble */
    double threshold[MEDLEY_MAX_MODELS][MAX_CLASSES]; /* margin to stop at; 2: never */
    unsigned rounds;
    double *guess; /* [n_stages, n_stages, K+1, K] what the model of a later stage would say of
                      a row that stopped: linear in the answer that it stopped with */
};

/* One pass of all rows through the stages. */
struct cascade_run {
    uint8_t *stage;       /* [n] where each row stopped */
    float *probabilities; /* [n*K] of that stage */
};

/* A set of ensembles, one for each stage and, out of fold, fold. */
struct cascade_models {
    medley_gbdt **items; /* [n_sets * n_stages] */
    size_t n_sets;       /* n_folds, or 1: fitted on all rows */
};

/* ---- cascade_run.c ---- */

/* Ensembles of all stages. by_fold: every row is answered by the set of its fold, fitted on the
 * others. */
medley_status cascade_fit(const struct stack *s, const struct cascade *c, bool by_fold,
                          struct cascade_models *out, medley_error *err);
void cascade_models_free(struct cascade_models *m, size_t n_stages);
/* Answers of one stage, as if every row came to it. probabilities[n*K], calibrated with the
 * stage's temperature when that is not 0. */
medley_status cascade_stage(const struct stack *s, const struct cascade *c,
                            const struct cascade_models *models, size_t stage,
                            float *probabilities, medley_error *err);
/* Fits c->guess to the answers of all stages (out of fold, calibrated). */
medley_status cascade_guess(const struct stack *s, struct cascade *c,
                            const float *const *answers, medley_error *err);
/* What the model of stage `later` is taken to say of a row that stopped at `stage` with the
 * answer p[k]; out[k]. */
void cascade_guess_row(const struct cascade *c, size_t stage, size_t later, const float *p,
                       size_t k, float *out);
/* Lets all rows through. */
medley_status cascade_play(const struct stack *s, const struct cascade *c,
                           const struct cascade_models *models, struct cascade_run *out,
                           medley_error *err);
void cascade_run_free(struct cascade_run *r);
/* Does a row stop? p: its calibrated probabilities at the stage. */
bool cascade_stops(const struct cascade *c, size_t stage, const float *p, size_t k);

/* Macro-F1 that the most probable labels of p[n*K] can expect when `truth` are the chances of
 * every label. Chances instead of labels: what stops too early is judged by what all models
 * together would have said, without the luck of single labels, which a search would fit. */
double cascade_expected_f1(const float *p, const float *truth, size_t n, size_t k);

/* cascade_search.c: a path of thresholds that save more and more, beginning with none that is
 * reached, each the last one with one step more; it ends at an expected macro-F1 below `floor`.
 * The stages' answers (stages[j][n*K]) are taken as if everybody came to every stage. path: to
 * be freed with mem_free. */
typedef double cascade_thresholds[MEDLEY_MAX_MODELS][MAX_CLASSES];
medley_status cascade_search(const struct cascade *c, const float *const *stages,
                             const float *truth, size_t n, size_t k, double floor,
                             const double *cost, cascade_thresholds **path, size_t *n_path,
                             medley_error *err);

#endif
