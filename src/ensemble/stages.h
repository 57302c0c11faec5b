/* stages.h: which stages a workspace has, which are out of date and why, and running them in
 * order.
 *
 * A stage is up to date when its stamp (.medley/NAME) lists exactly what it depends on now
 * (content hashes of settings and input files, keys of the stages before it) and its output is
 * there. */
#ifndef ENSEMBLE_STAGES_H
#define ENSEMBLE_STAGES_H

#include "ensemble/workspace.h"

enum stage_group {
    STAGE_IMPORT,
    STAGE_FEATURES,   /* node features, one stage for each kind of features */
    STAGE_NEIGHBOURS, /* text relations of such features, where a model asks for them */
    STAGE_TRAIN,      /* one stage for each model */
    STAGE_STACK,
    STAGE_RANK,
    STAGE_SELECT,
    STAGE_EVALUATE,
    STAGE_TUNE, /* calibration and cascade */
    STAGE_REPORT,
    STAGE_GROUPS
};
extern const char *const stage_group_names[STAGE_GROUPS];

struct stage {
    enum stage_group group;
    size_t model;     /* STAGE_FEATURES to STAGE_TRAIN: index into config.models */
    char name[96];    /* "import", "train-minilm" */
    char output[200]; /* relative to the workspace */
    char key[33];     /* of everything it depends on */
    bool up_to_date;
    char why[256]; /* why not: "never run", "settings changed", "file x changed" */
};

struct stages {
    struct stage *items; /* in the order they run */
    size_t n;
};

/* Looks at files only; works on a workspace where nothing was run yet. */
medley_status stages_inspect(const struct workspace *w, struct stages *out, medley_error *err);
void stages_free(struct stages *s);

/* stage_do.c: the work of one stage, for stages.c, which checks before and stamps afterwards.
 */
medley_status stage_do(struct workspace *w, const struct stage *s, medley_error *err);

/* Runs every stage that is out of date. A second process working on the same workspace is
 * refused. */
medley_status stages_run(struct workspace *w, medley_error *err);
/* Runs the stages of one group (with `only`, just the model of that name), up to date or not
 * when `force`; ESTALE when a stage that they need is out of date. */
medley_status stages_run_group(struct workspace *w, enum stage_group group, const char *only,
                               bool force, medley_error *err);
/* Calls `body` with the data open, and no other process working here, once all that a stage of
 * `group` needs is up to date; else ESTALE. For what is asked for by hand and is no stage. */
medley_status stages_call(struct workspace *w, enum stage_group group,
                          medley_status (*body)(struct workspace *w, void *context,
                                                medley_error *err),
                          void *context, medley_error *err);

#endif
