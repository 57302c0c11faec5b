/* lm.c: `medley lm verify`: a language model against its reference implementation. */
#include "cli/checks.h"

#include "lm/verify.h"

static const char doc[] =
    "Compare a checkpoint with its reference implementation on recorded inputs: hidden "
    "states, logits, loss, the gradient of every parameter, steps of AdamW. Prints the "
    "largest relative error of each; exit 1 when one is past its tolerance.\v"
    "DIR holds config.json, model.safetensors, inputs.json, outputs.safetensors and, "
    "where wanted, grads.safetensors and expected.json.\nExample:\n"
    "  medley lm verify golden/lm/deberta-v3";

static int verify(int argc, char **argv)
{
    return checks_verb(argc, argv, doc, lm_verify);
}

static const struct verb sub_verbs[] = {
    {"verify", "compare a checkpoint with its reference implementation", verify},
    {NULL, NULL, NULL},
};

int verb_lm(int argc, char **argv)
{
    return cli_sub_verbs("lm", "Look into language models.", sub_verbs, argc, argv);
}
