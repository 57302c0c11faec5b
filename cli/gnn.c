/* gnn.c: `medley gnn verify`: graph layers against its reference implementation. */
#include "cli/checks.h"

#include "gnn/verify.h"

static const char doc[] =
    "Compare graph layers with PyTorch Geometric's on a recorded graph: what each layer gives, "
    "logits, loss, the gradient of every parameter and of the input. Prints the largest "
    "relative error of each; exit 1 when one is past its tolerance.\v"
    "DIR holds config.json (conv: GCNConv, SAGEConv, GATv2Conv or RGCNConv, and its "
    "arguments), "
    "graph.safetensors, model.safetensors, outputs.safetensors and, where wanted, "
    "grads.safetensors.\nExample:\n"
    "  medley gnn verify golden/gnn/gatv2\n"
    "  medley gnn verify golden/gnn/*";

static int verify(int argc, char **argv)
{
    return checks_verb(argc, argv, doc, gnn_verify);
}

static const struct verb sub_verbs[] = {
    {"verify", "compare layers with their reference implementation", verify},
    {NULL, NULL, NULL},
};

int verb_gnn(int argc, char **argv)
{
    return cli_sub_verbs("gnn", "Look into graph layers.", sub_verbs, argc, argv);
}
