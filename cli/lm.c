/* lm.c: `medley lm verify`: a language model against its reference implementation. */
#include "cli/checks.h"

#include "lm/verify.h"

#include <stdio.h>
#include <string.h>

static const char doc[] =
    "Compare a checkpoint with its reference implementation on recorded inputs: hidden "
    "states, logits, loss, the gradient of every parameter, steps of AdamW. Prints the "
    "largest relative error of each; exit 1 when one is past its tolerance.\v"
    "DIR holds config.json, model.safetensors, inputs.json, outputs.safetensors and, "
    "where wanted, grads.safetensors and expected.json.\nExample:\n"
    "  medley lm verify golden/lm/deberta-v3";

static void print_usage(FILE *out)
{
    fputs("Usage: medley lm verify [OPTION...] DIR...\n"
          "Look into language models.\n\n"
          "  verify     compare a checkpoint with its reference implementation\n\n"
          "Example:\n  medley lm verify golden/lm/deberta-v3\n",
          out);
}

int verb_lm(int argc, char **argv)
{
    if (argc < 2) {
        print_usage(stderr);
        return 2;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-?") == 0) {
        print_usage(stdout);
        return 0;
    }
    if (strcmp(argv[1], "verify") == 0) {
        static char verb[] = "medley lm verify";
        argv[1] = verb;
        return checks_verb(argc - 1, argv + 1, doc, lm_verify);
    }
    return cli_usage("lm", "unknown sub-verb '%s' (expected verify)", argv[1]);
}
