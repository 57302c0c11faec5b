/* gnn.c: `medley gnn verify`: graph layers against its reference implementation. */
#include "cli/checks.h"

#include "gnn/verify.h"

#include <stdio.h>
#include <string.h>

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

static void print_usage(FILE *out)
{
    fputs("Usage: medley gnn verify [OPTION...] DIR...\n"
          "Look into graph layers.\n\n"
          "  verify     compare layers with their reference implementation\n\n"
          "Example:\n  medley gnn verify golden/gnn/gatv2\n",
          out);
}

int verb_gnn(int argc, char **argv)
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
        static char verb[] = "medley gnn verify";
        argv[1] = verb;
        return checks_verb(argc - 1, argv + 1, doc, gnn_verify);
    }
    return cli_usage("gnn", "unknown sub-verb '%s' (expected verify)", argv[1]);
}
