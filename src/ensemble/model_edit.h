/* model_edit.h: adds models to medley.yaml and takes them away, leaving all other lines as they
 * are. What is written is checked by loading it before it replaces the file. */
#ifndef ENSEMBLE_MODEL_EDIT_H
#define ENSEMBLE_MODEL_EDIT_H

#include "ensemble/workspace.h"

/* `entry`: the keys of one model as YAML lines ("name: mine\nkind: table\n..."). EFORMAT with
 * file and line when it is no valid model, EUNSUPPORTED when models: is not written one model a
 * line. */
medley_status model_add(const char *root, struct str entry, medley_error *err);
medley_status model_remove(const char *root, const char *name, medley_error *err);
/* Puts a model into budget.pin, or takes it out. */
medley_status model_pin(const char *root, const char *name, bool pinned, medley_error *err);

#endif
