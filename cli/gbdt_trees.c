/* gbdt_trees.c: how trees are grown, as options of `medley gbdt train` and `rank`. Proof:
 * tests/test_gbdt_cli.c. */
#include "cli/gbdt.h"

enum {
    OPT_ROUNDS = 2000, /* apart from those of the sub-verbs */
    OPT_LEAVES,
    OPT_DEPTH,
    OPT_MIN_DATA,
    OPT_MIN_HESSIAN,
    OPT_MIN_GAIN,
    OPT_BINS,
    OPT_RATE,
    OPT_LAMBDA,
    OPT_FEATURE_FRACTION,
    OPT_ROW_FRACTION,
    OPT_GRADIENT_FRACTION,
    OPT_VECTOR,
    OPT_SEED,
};

static bool parse_count(int key, const char *arg, medley_gbdt_options *o)
{
    switch (key) {
    case OPT_ROUNDS:
        o->rounds = (unsigned)cli_count("--rounds", arg, 1, 1000000);
        return true;
    case OPT_LEAVES:
        o->num_leaves = (unsigned)cli_count("--leaves", arg, 2, 255);
        return true;
    case OPT_DEPTH:
        o->max_depth = (unsigned)cli_count("--max-depth", arg, 0, 255);
        return true;
    case OPT_MIN_DATA:
        o->min_data_in_leaf = (unsigned)cli_count("--min-data", arg, 1, 1000000000);
        return true;
    case OPT_BINS:
        o->max_bins = (unsigned)cli_count("--bins", arg, 2, 255);
        return true;
    case OPT_SEED:
        o->seed = cli_count("--seed", arg, 0, UINT64_MAX);
        return true;
    case OPT_VECTOR:
        o->trees = MEDLEY_TREES_VECTOR;
        return true;
    default:
        return false;
    }
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    medley_gbdt_options *o = state->input;
    if (parse_count(key, arg, o))
        return 0;
    switch (key) {
    case OPT_RATE:
        o->learning_rate = cli_number("--learning-rate", arg, 1e-9, 100);
        return 0;
    case OPT_LAMBDA:
        o->lambda_l2 = cli_number("--lambda", arg, 0, 1e12);
        return 0;
    case OPT_MIN_HESSIAN:
        o->min_sum_hessian = cli_number("--min-hessian", arg, 1e-12, 1e12);
        return 0;
    case OPT_MIN_GAIN:
        o->min_gain = cli_number("--min-gain", arg, 0, 1e12);
        return 0;
    case OPT_FEATURE_FRACTION:
        o->feature_fraction = cli_number("--feature-fraction", arg, 1e-9, 1);
        return 0;
    case OPT_ROW_FRACTION:
        o->row_fraction = cli_number("--row-fraction", arg, 1e-9, 1);
        return 0;
    case OPT_GRADIENT_FRACTION:
        o->gradient_fraction = cli_number("--gradient-fraction", arg, 1e-9, 1);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option options[] = {
    {NULL, 0, NULL, 0, "Training:", 1},
    {"rounds", OPT_ROUNDS, "N", 0, "boosting rounds (200)", 0},
    {"learning-rate", OPT_RATE, "X", 0, "(0.05)", 0},
    {"vector", OPT_VECTOR, NULL, 0, "one tree per round for all classes", 0},
    {"seed", OPT_SEED, "N", 0, "of everything drawn at random (0)", 0},
    {"row-fraction", OPT_ROW_FRACTION, "X", 0, "rows sampled per round (1)", 0},
    {"gradient-fraction", OPT_GRADIENT_FRACTION, "X", 0,
     "rows sampled per round, those of large gradients likelier (by their number: 1 to 0.2)",
     0},
    {"feature-fraction", OPT_FEATURE_FRACTION, "X", 0, "features tried per tree (0.5)", 0},
    {NULL, 0, NULL, 0, "Trees:", 2},
    {"leaves", OPT_LEAVES, "N", 0, "leaves of a tree (31)", 0},
    {"max-depth", OPT_DEPTH, "N", 0, "0: no limit (0)", 0},
    {"min-data", OPT_MIN_DATA, "N", 0, "rows of a leaf, estimated from the hessian (20)", 0},
    {"min-hessian", OPT_MIN_HESSIAN, "X", 0, "hessian sum of a leaf (0.001)", 0},
    {"min-gain", OPT_MIN_GAIN, "X", 0, "gain of a split (0)", 0},
    {"lambda", OPT_LAMBDA, "X", 0, "L2 penalty on leaf values (0)", 0},
    {"bins", OPT_BINS, "N", 0, "bins per feature (255)", 0},
    {0},
};

const struct argp gbdt_trees_argp = {.options = options, .parser = parse};
