/* cascade_file.h: a finished cascade as files, in the workspace and in bundles: cascade/
 *   cascade.json   stages, thresholds, temperatures, guesses
 *   stage-J.txt    the ensemble of the first J + 1 models */
#ifndef ENSEMBLE_CASCADE_FILE_H
#define ENSEMBLE_CASCADE_FILE_H

#include "base/json.h"
#include "ensemble/cascade.h"

/* Replaces ensemble/cascade/. `models` has one set of ensembles, of all rows. */
medley_status cascade_save(const struct workspace *w, const struct cascade *c,
                           const struct cascade_models *models, medley_error *err);

/* From cascade.json as read. names[n_models]: the bundle's models, each of which is one stage;
 * order and prefix are of their indices. c->guess is to be freed with mem_free. EFORMAT. */
medley_status cascade_read(const json *root, const char *name, const char *const *names,
                           size_t n_models, size_t n_classes, struct cascade *out,
                           medley_error *err);

#endif
