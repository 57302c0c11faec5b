/* report.h: everything that was measured, as one self-contained HTML file: no network, no
 * script, light and dark, readable on a phone and on paper. */
#ifndef REPORT_REPORT_H
#define REPORT_REPORT_H

#include "base/json.h"

/* Paths of JSON files; one that is NULL or does not exist leaves its section out, with a
 * sentence. A file that exists but cannot be read fails the report. Texts may be NULL. */
struct report_input {
    const char
        *evaluation;     /* evaluation.json: metrics of models and ensembles on held-out data */
    const char *ranking; /* ranking.json: contribution of each model */
    const char *selection;   /* selection.json: cost and quality of subsets of models */
    const char *cascade;     /* cascade.json: the models in stages */
    const char *calibration; /* calibration.json: how far probabilities can be believed */
    const char *hardest;     /* hardest.json: queries that it gets wrong, explained */
    const char *summary;     /* summary.json: what was imported */
    const char *title;       /* of the page; NULL: "Medley report" */
    const char *bundle;      /* id of the bundle that the figures are of */
    const char *created;     /* when, as text */
};

/* Writes the page to `path`, atomically. Texts from the files are escaped. */
medley_status report_write(const struct report_input *in, const char *path, medley_error *err);

/* One decision as a page of its own: e is the object that `medley explain --json` prints. */
medley_status explanation_write(const json *e, const char *path, medley_error *err);

#endif
