/* common.h: the options that workspace verbs share: -C, --threads, --json, --quiet. */
#ifndef CLI_COMMON_H
#define CLI_COMMON_H

#include "cli/cli.h"
#include "base/json.h"
#include "ensemble/workspace.h"
#include "medley/bundle.h"

struct common_options {
    const char *workspace; /* -C, "." */
    bool json;
};
extern const struct argp common_argp;      /* a child parser; its input is a common_options */
extern const struct argp common_json_argp; /* the same with --json */

/* Opens options->workspace; on failure prints the message and returns false. */
bool common_open(const struct common_options *options, struct workspace *w);

/* Prints a JSON result file of the workspace to stdout; the exit status. */
int common_print_file(const struct workspace *w, const char *file);

/* A JSON file of the workspace; on failure prints the message and returns NULL. */
json *common_load(const struct workspace *w, const char *file);

/* Prints a result file of the workspace, as it is or by `show`; the exit status. */
int common_show(const struct workspace *w, const char *file, bool as_json,
                void (*show)(const struct workspace *w, const json *result));

/* What a column of contributions belongs to: a base model, or "context" after the last. */
const char *common_player(const medley_bundle *b, size_t m);

#endif
