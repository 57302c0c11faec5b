/* profile.c: medley profile: what every base model costs, measured on this machine. */
#include "cli/common.h"
#include "ensemble/cost.h"
#include "ensemble/stages.h"

#include <stdio.h>

enum { KEY_SECONDS = 2300 };

struct arguments {
    struct common_options common;
    struct cost_effort effort;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct arguments *a = state->input;
    switch (key) {
    case KEY_SECONDS:
        a->effort.seconds = cli_number("--seconds", arg, 0.01, 3600);
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
    {"seconds", KEY_SECONDS, "S", 0, "at most for each model and list size [5]", 0}, {0}};

static const struct argp_child children[] = {{&common_json_argp, 0, NULL, 0}, {0}};

static const struct argp argp = {
    .options = options,
    .parser = parse,
    .children = children,
    .doc =
        "Measure what every base model costs on this machine.\vWarm, in lists of 1, 8 and 64 "
        "candidates whose texts are the dataset's own, the same requests for every model. "
        "Figures are kept with the machine's description; selecting refuses those of "
        "different machines.\nExample:\n  medley profile -C shop && medley select -C shop",
};

static medley_status body(struct workspace *w, void *context, medley_error *err)
{
    return cost_profile(w, context, err);
}

static void print_json(const struct workspace *w, const struct model_cost *costs)
{
    printf("[");
    for (size_t m = 0; m < w->config.n_models; m++) {
        const struct model_cost *c = &costs[m];
        printf("%s{\"name\": \"%s\", \"machine\": \"%s\", \"lists\": [", m ? ",\n " : "",
               w->config.models[m].name, c->machine.id);
        for (size_t s = 0; s < COST_SIZES; s++)
            printf("%s{\"pairs\": %zu, \"p50_ms\": %.6g, \"p99_ms\": %.6g, \"samples\": %zu}",
                   s ? ", " : "", cost_list_sizes[s], c->list[s].p50_ms, c->list[s].p99_ms,
                   c->list[s].n);
        printf("], \"features_ms\": %.6g, \"cpu_ms_per_pair\": %.6g, \"memory_bytes\": %zu, "
               "\"features_memory_bytes\": %zu}",
               c->features.p50_ms, c->cpu_ms_per_pair, c->memory, c->features_memory);
    }
    printf("]\n");
}

static void print_table(const struct workspace *w, const struct model_cost *costs)
{
    const struct machine *h = &costs[0].machine;
    printf("%s, %u cores, %u threads, %.0f GB (%s)\n", h->cpu, h->cores, h->threads,
           (double)h->memory / 1e9, h->system);
    printf("  %-20s %10s %10s %12s %12s %9s %12s %9s\n", "ms a list", "1 p50", "p99", "8 p50",
           "64 p50", "p99", "pairs/s/core", "MB");
    for (size_t m = 0; m < w->config.n_models; m++) {
        const struct model_cost *c = &costs[m];
        printf("  %-20s %10.3f %10.3f %12.3f %12.3f %9.3f %12.0f %9.1f\n",
               w->config.models[m].name, c->list[0].p50_ms, c->list[0].p99_ms,
               c->list[1].p50_ms, c->list[2].p50_ms, c->list[2].p99_ms,
               c->cpu_ms_per_pair > 0 ? 1e3 / c->cpu_ms_per_pair : 0,
               (double)(c->memory + c->features_memory) / 1e6);
        if (c->features.n)
            printf("  %-20s %10.3f %10.3f   encoding a new query\n", "", c->features.p50_ms,
                   c->features.p99_ms);
    }
}

int verb_profile(int argc, char **argv)
{
    struct arguments a = {.effort = cost_thorough};
    cli_parse(&argp, argc, argv, &a);
    struct workspace w;
    medley_error err;
    static struct model_cost costs[MEDLEY_MAX_MODELS];
    if (!common_open(&a.common, &w))
        return 1;
    medley_status st = stages_call(&w, STAGE_STACK, body, &a.effort, &err);
    if (!st)
        st = costs_load(&w, costs, &err);
    int status = st ? cli_fail(&err) : 0;
    if (!st && a.common.json)
        print_json(&w, costs);
    else if (!st)
        print_table(&w, costs);
    workspace_close(&w);
    return status;
}
