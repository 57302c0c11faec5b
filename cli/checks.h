/* checks.h: sub-verbs that compare something with a reference and print what they found. */
#ifndef CLI_CHECKS_H
#define CLI_CHECKS_H

#include "cli/cli.h"
#include "nn/checks.h"

typedef medley_status checks_run(const char *folder, struct checks *out, medley_error *err);
/* argv[0] is "medley VERB verify"; exit status 1 when a check has not passed. */
int checks_verb(int argc, char **argv, const char *doc, checks_run *run);

#endif
