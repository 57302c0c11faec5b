/* decide.h: the stages after the base models: stack, rank, select, evaluate. Each reads files
 * of the workspace and leaves files in ensemble/ whose JSON shapes are in docs/schemas.md. */
#ifndef ENSEMBLE_DECIDE_H
#define ENSEMBLE_DECIDE_H

#include "ensemble/cascade.h"
#include "ensemble/players.h"
#include "ensemble/stack.h"

/* ensemble/full.txt and ensemble/stack.json: the GBDT over all models. */
medley_status decide_stack(struct workspace *w, medley_error *err);

/* ensemble/ranking.json (of base models; others: ranking-BY.json): three rankings, see rank.h.
 */
struct rank_options {
    enum players_by players;
    unsigned seeds; /* fitted anew with so many seeds in all, for stability; 0: 3 */
};
medley_status decide_rank(struct workspace *w, const struct rank_options *options,
                          medley_error *err);

/* ensemble/selection.json, ensemble/selected.txt and a new bundle: the best subset under the
 * budget, judged by cross-validation on the training split. */
medley_status decide_select(struct workspace *w, medley_error *err);

/* ensemble/cascade.json: the models in stages (cascade.h). mask 0: those selected. */
medley_status decide_cascade(struct workspace *w, const struct cascade_options *options,
                             uint32_t mask, medley_error *err);

/* ensemble/calibration.json: how far the selected ensemble's probabilities can be believed, before and
 * after calibration, and offsets and costs to decide by. */
medley_status decide_calibrate(struct workspace *w, medley_error *err);

/* ensemble/evaluation.json: metrics of the base models and ensembles on the test split. With
 * subsets, ensembles of these models alone are fitted and measured beside them, and the file is
 * ensemble/evaluation-subsets.json. */
enum { EVALUATE_SUBSETS = 32 };
struct evaluate_subset {
    const char *name;
    uint32_t mask; /* bit m: config.models[m] */
};
medley_status decide_evaluate(struct workspace *w, const struct evaluate_subset *subsets,
                              size_t n_subsets, medley_error *err);

/* ensemble/hardest.json: the test queries that surprise the selected ensemble most, explained. */
medley_status decide_hardest(struct workspace *w, medley_error *err);

/* The models of the last selection, as a mask, and its number of rounds. ESTALE when there is
 * none. */
medley_status selection_load(const struct workspace *w, uint32_t *mask, unsigned *rounds,
                             medley_error *err);

/* Shared: "name" and "kind" of a model; the four metrics; a file from a finished writer. */
struct json_writer;
void decide_write_metrics(struct json_writer *w, const struct metrics *m);
medley_status decide_write_file(const struct workspace *w, const char *name,
                                struct strbuf *text, medley_error *err);
void decide_write_names(struct json_writer *w, const struct workspace *ws, const char *key,
                        uint32_t mask); /* "key": [the models in mask] */
void decide_write_labels(struct json_writer *w, const struct workspace *ws);
/* Rounds of the ensemble of all models, as the stack stage chose them. */
medley_status decide_rounds(const struct workspace *w, unsigned *rounds, medley_error *err);

#endif
