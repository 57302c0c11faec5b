/* verdict.h: what a model that was just plugged in is worth beside the others. */
#ifndef ENSEMBLE_VERDICT_H
#define ENSEMBLE_VERDICT_H

#include "ensemble/workspace.h"

/* ensemble/verdict-NAME.json: from the stored out-of-fold predictions of all models, which must
 * be there. Nothing else of the workspace changes. */
medley_status decide_verdict(struct workspace *w, size_t model, medley_error *err);

#endif
