/* select.c: medley select: the subset of models that is worth its cost. */
#include "cli/common.h"
#include "cli/show.h"
#include "ensemble/stages.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    KEY_BUDGET = 2200,
    KEY_P99,
    KEY_PAIRS,
    KEY_CORES,
    KEY_THROUGHPUT,
    KEY_MEMORY,
    KEY_PRICE,
    KEY_CORE_HOUR,
    KEY_TOP,
    KEY_METRIC,
    KEY_PREFER,
    KEY_PIN,
    KEY_FORCE
};

/* Each option replaces its key of medley.yaml; -1, 0 or NULL: not given. */
struct arguments {
    struct common_options common;
    double latency_ms, latency_p99_ms, throughput, price, core_hour;
    unsigned pairs, cores, top;
    uint64_t memory;
    bool has_memory, force;
    const char *metric, *prefer;
    const char *pin[MEDLEY_MAX_MODELS];
    size_t n_pin;
};

/* "20ms", "0.5s" or "20" (milliseconds); 0: no limit. */
static double parse_time(const char *option, const char *text)
{
    size_t n = strspn(text, "0123456789.");
    double value;
    const char *unit = text + n;
    if (!str_to_double((struct str){text, n}, &value) ||
        (*unit && strcmp(unit, "ms") != 0 && strcmp(unit, "s") != 0)) {
        fprintf(stderr, "medley: %s: '%s' is not a time (20ms, 0.5s)\n", option, text);
        exit(2);
    }
    return strcmp(unit, "s") == 0 ? value * 1000 : value;
}

static const char *one_of(struct argp_state *state, const char *option, const char *arg,
                          const char *a, const char *b, const char *c)
{
    if (strcmp(arg, a) != 0 && strcmp(arg, b) != 0 && strcmp(arg, c) != 0)
        argp_error(state, "%s: '%s' is not one of %s, %s, %s", option, arg, a, b, c);
    return arg;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct arguments *a = state->input;
    switch (key) {
    case KEY_BUDGET:
        a->latency_ms = parse_time("--budget", arg);
        return 0;
    case KEY_P99:
        a->latency_p99_ms = parse_time("--p99", arg);
        return 0;
    case KEY_PAIRS:
        a->pairs = (unsigned)cli_count("--pairs", arg, 1, 64);
        if (a->pairs != 1 && a->pairs != 8 && a->pairs != 64)
            argp_error(state, "--pairs: lists of 1, 8 and 64 are measured, not of %s", arg);
        return 0;
    case KEY_CORES:
        a->cores = (unsigned)cli_count("--cores", arg, 1, 64);
        return 0;
    case KEY_THROUGHPUT:
        a->throughput = cli_number("--throughput", arg, 0, 1e9);
        return 0;
    case KEY_MEMORY:
        a->has_memory = yaml_parse_bytes(arg, &a->memory);
        if (!a->has_memory)
            argp_error(state, "--memory: '%s' is not a size (512M, 2G)", arg);
        return 0;
    case KEY_PRICE:
        a->price = cli_number("--price", arg, 0, 1e12);
        return 0;
    case KEY_CORE_HOUR:
        a->core_hour = cli_number("--core-hour", arg, 0, 1e9);
        return 0;
    case KEY_TOP:
        a->top = (unsigned)cli_count("--top", arg, 1, MEDLEY_MAX_MODELS);
        return 0;
    case KEY_METRIC:
        a->metric = one_of(state, "--metric", arg, "macro_f1", "accuracy", "log_loss");
        return 0;
    case KEY_PREFER:
        a->prefer = one_of(state, "--prefer", arg, "best", "knee", "cheapest");
        return 0;
    case KEY_PIN:
        if (a->n_pin == MEDLEY_MAX_MODELS)
            argp_error(state, "--pin: more than %d models", MEDLEY_MAX_MODELS);
        a->pin[a->n_pin++] = arg;
        return 0;
    case KEY_FORCE:
        a->force = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "unexpected argument '%s'", arg);
        return 0;
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &a->common;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option options[] = {
    {"budget", KEY_BUDGET, "TIME", 0, "median latency of a list, e.g. 20ms; 0: no limit", 0},
    {"p99", KEY_P99, "TIME", 0, "its 99th percentile", 0},
    {"pairs", KEY_PAIRS, "N", 0, "candidates in that list: 1, 8 or 64 [1]", 0},
    {"cores", KEY_CORES, "C", 0, "models side by side on C cores [one after the other]", 0},
    {"throughput", KEY_THROUGHPUT, "N", 0, "at least N pairs a second and core", 0},
    {"memory", KEY_MEMORY, "SIZE", 0, "memory of the models, e.g. 2G", 0},
    {"price", KEY_PRICE, "P", 0, "price of a million pairs", 0},
    {"core-hour", KEY_CORE_HOUR, "P", 0, "what a core costs for an hour", 0},
    {"top", KEY_TOP, "K", 0, "at most K models", 0},
    {"metric", KEY_METRIC, "macro_f1|accuracy|log_loss", 0, "what to keep high", 0},
    {"prefer", KEY_PREFER, "best|knee|cheapest", 0,
     "the best; the knee of the front; the cheapest that is not worse beyond noise [best]", 0},
    {"pin", KEY_PIN, "MODEL", 0, "keep this model in any case; may be given again", 0},
    {"force", KEY_FORCE, NULL, 0, "run even when nothing has changed", 0},
    {0}};

static const struct argp_child children[] = {{&common_json_argp, 0, NULL, 0}, {0}};

static const struct argp argp = {
    .options = options,
    .parser = parse,
    .children = children,
    .doc =
        "Keep the models that are worth their cost, refit, and write a bundle.\vEvery subset "
        "of "
        "up to 12 models is refitted and measured out of fold; beyond, the best are searched. "
        "Costs are those of 'medley profile'. The budget of medley.yaml holds where no option "
        "replaces it.\nExamples:\n  medley select -C shop --budget 20ms --top 4\n  medley "
        "select -C shop --p99 50ms --pairs 64 --cores 2 --prefer cheapest",
};

static void override_budget(struct budget_config *b, const struct arguments *a)
{
    const double given[] = {a->latency_ms, a->latency_p99_ms, a->throughput, a->price,
                            a->core_hour};
    double *const keys[] = {&b->latency_ms, &b->latency_p99_ms, &b->throughput, &b->price,
                            &b->core_hour};
    for (size_t i = 0; i < sizeof given / sizeof *given; i++)
        if (given[i] >= 0)
            *keys[i] = given[i];
    b->pairs = a->pairs ? a->pairs : b->pairs;
    b->cores = a->cores ? a->cores : b->cores;
    b->top = a->top ? a->top : b->top;
    b->memory = a->has_memory ? a->memory : b->memory;
    b->metric = a->metric ? a->metric : b->metric;
    b->prefer = a->prefer ? a->prefer : b->prefer;
}

static int pin_models(struct config *c, const struct arguments *a)
{
    for (size_t i = 0; i < a->n_pin; i++) {
        size_t m = config_find_model(c, a->pin[i]);
        if (m == SIZE_MAX)
            return cli_usage("select", "--pin: no model '%s' in medley.yaml", a->pin[i]);
        c->budget.pinned |= UINT32_C(1) << m;
    }
    return 0;
}

int verb_select(int argc, char **argv)
{
    struct arguments a = {
        .latency_ms = -1, .latency_p99_ms = -1, .throughput = -1, .price = -1, .core_hour = -1};
    cli_parse(&argp, argc, argv, &a);
    struct workspace w;
    medley_error err;
    if (!common_open(&a.common, &w))
        return 1;
    override_budget(&w.config.budget, &a);
    int status = pin_models(&w.config, &a);
    if (status) {
        workspace_close(&w);
        return status;
    }
    if (stages_run_group(&w, STAGE_SELECT, NULL, a.force, &err))
        status = cli_fail(&err);
    else
        status = common_show(&w, "ensemble/selection.json", a.common.json, show_selection);
    workspace_close(&w);
    return status;
}
