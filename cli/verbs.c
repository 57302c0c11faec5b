/* verbs.c: the table of verbs, in the order a workspace meets them. */
#include "cli/cli.h"

const struct verb verbs[] = {
    { "synth", "write a synthetic shop with judgements and behaviour", verb_synth },
    { NULL, NULL, NULL },
};
