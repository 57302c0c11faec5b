/* teacher.h: the probabilities that a language model is distilled from. */
#ifndef ENSEMBLE_TEACHER_H
#define ENSEMBLE_TEACHER_H

#include "ensemble/workspace.h"

/* The model that `teacher` of models[model] names, which stands before it in medley.yaml;
 * SIZE_MAX when it is a file of predictions. */
size_t teacher_model(const struct config *c, const char *teacher);

/* The mean over models[model]'s teachers of their probabilities [n_examples * K]; *out is NULL
 * when it has none, else freed with mem_free. Out-of-fold on the training split: a model's by
 * construction, a file's are tested as those of a table are (EINSAMPLE). A row that a teacher
 * has no answer for is NaN. */
medley_status teacher_load(const struct workspace *w, size_t model, float **out,
                           medley_error *err);

#endif
