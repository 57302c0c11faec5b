/* describe.h: the option tables as JSON, from which manual pages and shell completion are made
 * (scripts/make-pages): `medley --describe`, `medley VERB [SUBVERB] --describe`. Not for users.
 */
#ifndef CLI_DESCRIBE_H
#define CLI_DESCRIBE_H

#include "cli/cli.h"

/* Whether the arguments ask for it, alone. */
bool describe_asked(int argc, char **argv);
/* What argp knows of a verb; name is "medley VERB". The exit status. */
int describe_argp(const char *name, const struct argp *argp);
/* A program or verb of which `list` are the verbs; doc as argp's. The exit status. */
int describe_verbs(const char *name, const char *doc, const struct verb *list);

#endif
