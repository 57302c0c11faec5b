/* verbs.c: the table of verbs, in the order a workspace meets them. */
#include "cli/cli.h"

const struct verb verbs[] = {
    { NULL, NULL, NULL },
};
