/* bundle_write.h: collects what serving needs into bundle/<hash>/ and points bundle/current at
 * it. */
#ifndef ENSEMBLE_BUNDLE_WRITE_H
#define ENSEMBLE_BUNDLE_WRITE_H

#include "ensemble/workspace.h"

/* A bundle of the models in `mask` with ensemble/selected.txt. Files are hard links where the
 * file system allows (workspace files are replaced, never written into, so a link stays what it
 * was). */
medley_status bundle_write(const struct workspace *w, uint32_t mask, medley_error *err);
/* The same with the cascade and the calibration of ensemble/, as far as `decide:` of
 * medley.yaml wants them. Does nothing when it wants neither and the current bundle has
 * neither. */
medley_status bundle_write_tuned(const struct workspace *w, uint32_t mask, medley_error *err);

#endif
