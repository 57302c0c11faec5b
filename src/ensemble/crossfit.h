/* crossfit.h: trains one base model across query-grouped folds and once on the whole training
 * split, and keeps its out-of-fold probabilities. */
#ifndef ENSEMBLE_CROSSFIT_H
#define ENSEMBLE_CROSSFIT_H

#include "ensemble/base_model.h"

/* Leaves predictions/NAME/probabilities.npy [n_examples, K] (training examples out-of-fold,
 * others by the final model), models/NAME/ (the final model), models/NAME/cost.json. Work in
 * progress is kept in models/NAME/.work-KEY, so that a killed run goes on where it was; other
 * .work-* are removed. `key` identifies settings and inputs. */
medley_status crossfit_model(struct workspace *w, size_t model, const char *key,
                             medley_error *err);

/* Where the node features of a graph model are kept, and the encoder that makes them. `spec` is
 * as in medley.yaml: "hashed", or a folder relative to the workspace. */
struct path features_path(const struct workspace *w, const char *spec);
medley_status workspace_features(const struct workspace *w, const char *spec,
                                 struct feature_encoder *out, medley_error *err);

/* Row lists. rows[n_examples] is the caller's; returns how many were written. */
size_t rows_labelled(const struct dataset *d, enum split split, uint32_t *rows);

/* Context of one model; *graph must be closed with graph_inputs_close when it was opened. */
medley_status model_context_open(struct workspace *w, size_t model, struct graph_inputs *graph,
                                 struct model_context *out, medley_error *err);

/* Runs what the folds share (base_model_ops.prepare) in models/NAME/prepared, and points the
 * context at it; `folder` must live as long as the context is used. */
medley_status crossfit_prepare(const struct workspace *w, struct model_context *c,
                               struct path *folder, medley_error *err);

#endif
