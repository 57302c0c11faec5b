/* model_io.h: what the readers and writers of model files share; private to src/gbdt. A new
 * format is one file and one line in model_format.c's table. */
#ifndef GBDT_MODEL_IO_H
#define GBDT_MODEL_IO_H

#include "base/str.h"
#include "gbdt/tree.h"

#include <stdio.h>

struct model_format {
    const char *name; /* of --to and medley_gbdt_format_name */
    bool (*recognises)(struct str data);
    /* `err` is never NULL; messages begin with the path. */
    medley_status (*read)(const char *path, struct str data, medley_gbdt **out,
                          medley_error *err);
    /* Errors of the file itself are found when it is committed. */
    medley_status (*write)(const medley_gbdt *model, FILE *f, medley_error *err);
};

extern const struct model_format model_format_medley, model_format_lightgbm,
    model_format_xgboost_json, model_format_xgboost_ubj;

/* Makes node `n` (children and missing_left set) the split "x <= t goes left" of double
 * arithmetic, exactly, for float32 x that are not infinite. */
void node_split_at_most(struct tree_node *n, double t);
/* The same for "x < t goes left". */
void node_split_below(struct tree_node *n, float t);

/* Refuses children that are not later than their parents or are used twice (so no cycles, and
 * nobody is left out); children are in range. Messages without a position. */
medley_status tree_check_shape(const struct tree *t, medley_error *err);
/* Refuses covers of nodes that are not the sums of their children's (to `tolerance`, relative),
 * and makes them exactly that. *positive becomes false when some leaf has no cover. */
medley_status tree_check_covers(struct tree *t, double tolerance, bool *positive,
                                medley_error *err);

/* Refuses (MEDLEY_EUNSUPPORTED) a model whose base does not fit into the leaves of its first
 * round as float32, for formats that have no other place for it. */
medley_status model_check_base(const struct medley_gbdt *model, medley_error *err);

#endif
