/* config_plugged.h: the keys of base models that run elsewhere: kinds plugin and remote. */
#ifndef ENSEMBLE_CONFIG_PLUGGED_H
#define ENSEMBLE_CONFIG_PLUGGED_H

#include "ensemble/config.h"

extern const struct yaml_field plugin_fields[], remote_fields[];

/* What holds where a key is absent; before the keys are bound. */
void plugged_defaults(struct model_config *m);
/* What the tables cannot check: needed keys, nested mappings, templates. */
medley_status plugged_check(const struct yaml_document *d, const struct model_config *m,
                            medley_error *err);

#endif
