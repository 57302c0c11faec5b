/* gbdt_tables.c: the options of `medley gbdt` that name a labelled table and a held-out one.
 * Proof: tests/test_gbdt_cli.c. */
#include "cli/gbdt.h"

enum {
    OPT_LABEL = 1000,
    OPT_CLASSES,
    OPT_WEIGHTS,
    OPT_VALID_FEATURES,
    OPT_VALID_LABELS,
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct gbdt_tables *t = state->input;
    switch (key) {
    case 'f':
        t->train.features = arg;
        return 0;
    case 'y':
        t->train.labels = arg;
        return 0;
    case OPT_LABEL:
        t->train.label_column = t->held_out.label_column = arg;
        return 0;
    case OPT_CLASSES:
        t->train.classes = t->held_out.classes = arg;
        return 0;
    case OPT_WEIGHTS:
        t->train.weights = arg;
        return 0;
    case OPT_VALID_FEATURES:
        t->held_out.features = arg;
        return 0;
    case OPT_VALID_LABELS:
        t->held_out.labels = arg;
        return 0;
    case 't':
        gbdt_threads(arg);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option options[] = {
    {NULL, 0, NULL, 0, "Data:", 1},
    {"features", 'f', "FILE", 0,
     "table of features: .npy [rows, features], or .csv/.tsv/.jsonl", 0},
    {"labels", 'y', "FILE", 0, "class of each row, 0 to K-1, .npy", 0},
    {"label", OPT_LABEL, "NAME", 0, "column of a .csv that holds the class instead", 0},
    {"classes", OPT_CLASSES, "A,B,...", 0,
     "names of the classes in that column (default: they are numbers)", 0},
    {"weights", OPT_WEIGHTS, "FILE", 0, "weight of each row, .npy", 0},
    {"valid-features", OPT_VALID_FEATURES, "FILE", 0, "held-out table to measure on", 0},
    {"valid-labels", OPT_VALID_LABELS, "FILE", 0, "its classes", 0},
    {"threads", 't', "N", 0, "threads (default: all cores, or MEDLEY_THREADS)", 0},
    {0},
};

const struct argp gbdt_tables_argp = {.options = options, .parser = parse};
