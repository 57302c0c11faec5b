/* show.h: result files as plain tables on stdout. */
#ifndef CLI_SHOW_H
#define CLI_SHOW_H

#include "base/json.h"
#include "ensemble/workspace.h"

void show_summary(const struct workspace *w, const json *summary);
void show_stack(const struct workspace *w, const json *stack);
void show_ranking(const struct workspace *w, const json *ranking);
void show_selection(const struct workspace *w, const json *selection);
void show_cascade(const struct workspace *w, const json *cascade);
void show_evaluation(const struct workspace *w, const json *evaluation);

void show_explanation(const json *e); /* of `medley explain --json` */

#endif
