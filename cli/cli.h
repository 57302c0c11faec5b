/* cli.h: what the verbs share. One file per verb; one line per verb in verbs.c. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "medley/status.h"

#include <argp.h>
#include <stdbool.h>

/* A verb parses its own arguments (argv[0] is "medley VERB") with argp and returns the exit
 * status: 0 done, 1 failed, 2 usage. Data goes to stdout, talk to stderr. */
struct verb {
    const char *name;
    const char *summary; /* one line for `medley --help` */
    int (*run)(int argc, char **argv);
};
extern const struct verb verbs[]; /* ends with a NULL name */

int verb_init(int argc, char **argv);
int verb_import(int argc, char **argv);
int verb_train(int argc, char **argv);
int verb_stack(int argc, char **argv);
int verb_rank(int argc, char **argv);
int verb_select(int argc, char **argv);
int verb_profile(int argc, char **argv);
int verb_model(int argc, char **argv);
int verb_cascade(int argc, char **argv);
int verb_evaluate(int argc, char **argv);
int verb_precompute(int argc, char **argv);
int verb_predict(int argc, char **argv);
int verb_explain(int argc, char **argv);
int verb_diff(int argc, char **argv);
int verb_report(int argc, char **argv);
int verb_serve(int argc, char **argv);
int verb_cache(int argc, char **argv);
int verb_run(int argc, char **argv);
int verb_status(int argc, char **argv);
int verb_synth(int argc, char **argv);
int verb_gbdt(int argc, char **argv);
int verb_lm(int argc, char **argv);
int verb_gnn(int argc, char **argv);
int verb_tokenize(int argc, char **argv);

/* Prints "medley: MESSAGE" to stderr and returns 1. */
int cli_fail(const medley_error *err);
/* Prints "medley: MESSAGE" and a hint at --help; returns 2. */
int cli_usage(const char *verb, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Runs the sub-verb that argv[1] names, or prints `doc` and what there is. argv[0] is
 * "medley VERB"; that of the sub-verb "medley VERB SUBVERB". */
int cli_sub_verbs(const char *verb, const char *doc, const struct verb *list, int argc,
                  char **argv);

/* Runs argp so that a usage error exits with 2 and --help with 0. */
void cli_parse(const struct argp *argp, int argc, char **argv, void *input);

/* Strict numbers from an option; on a bad value prints which option and what was expected and
 * exits with 2. */
unsigned long long cli_count(const char *option, const char *text, unsigned long long min,
                             unsigned long long max);
double cli_number(const char *option, const char *text, double min, double max);

#endif
