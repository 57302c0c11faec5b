/* precompute.c: medley precompute: embeddings of the current bundle's graph models, made anew.
 */
#include "cli/common.h"
#include "ensemble/precompute.h"

#include <math.h>
#include <stdio.h>

enum { KEY_PRODUCTS = 2500, KEY_QUERIES, KEY_ALL, KEY_RELATION, KEY_MODEL, KEY_HALF };

struct arguments {
    struct common_options common;
    struct precompute_options options;
    bool has_products, has_queries, all;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct arguments *a = state->input;
    switch (key) {
    case KEY_PRODUCTS:
        a->options.how.products = cli_count("--top-products", arg, 1, UINT32_MAX);
        a->has_products = true;
        return 0;
    case KEY_QUERIES:
        a->options.how.queries = cli_count("--top-queries", arg, 1, UINT32_MAX);
        a->has_queries = true;
        return 0;
    case KEY_ALL:
        a->all = true;
        return 0;
    case KEY_RELATION:
        a->options.relation = arg;
        return 0;
    case KEY_MODEL:
        a->options.model = arg;
        return 0;
    case KEY_HALF:
        a->options.half = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "unexpected argument '%s'", arg);
        return 0;
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &a->common;
        return 0;
    case ARGP_KEY_END:
        if (a->all && (a->has_products || a->has_queries))
            argp_error(state, "--all leaves nothing to --top-products and --top-queries");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option options[] = {
    {"top-products", KEY_PRODUCTS, "N", 0,
     "the N most frequent products [serve.precompute.products, 10000]", 0},
    {"top-queries", KEY_QUERIES, "N", 0,
     "the N most frequent queries [serve.precompute.queries, 10000]", 0},
    {"all", KEY_ALL, NULL, 0, "all of both", 0},
    {"relation", KEY_RELATION, "R", 0, "only graph models that read this relation", 0},
    {"model", KEY_MODEL, "M", 0, "only this graph model", 0},
    {"float16", KEY_HALF, NULL, 0, "half the size; probabilities differ by about 0.001", 0},
    {0}};

static const struct argp_child children[] = {{&common_json_argp, 0, NULL, 0}, {0}};

static const struct argp argp = {
    .options = options,
    .parser = parse,
    .children = children,
    .doc =
        "Compute the embeddings of frequent products and queries ahead, for the graph models "
        "of the current bundle.\vOnly nodes whose neighbourhood has changed, within the hops "
        "of "
        "the model, are computed; the others are copied. If the data has changed since the "
        "bundle was written ('medley import' with new events), a new bundle with the new data "
        "and the same models becomes current. A server that runs goes on with the old "
        "embeddings until it is told: kill -HUP, or POST /v1/bundles:activate.\n"
        "Examples:\n  medley precompute -C shop --all\n"
        "  medley import -C shop && medley precompute -C shop && kill -HUP $(pidof medley)",
};

static void show_tally(const json *model, const char *what)
{
    const json *t = json_get(model, what);
    int64_t stored = 0, made = 0, skipped = 0;
    json_as_i64(json_get(t, "stored"), &stored);
    json_as_i64(json_get(t, "recomputed"), &made);
    json_as_i64(json_get(t, "skipped"), &skipped);
    printf("    %-9s %9lld stored: %lld recomputed, %lld skipped\n", what, (long long)stored,
           (long long)made, (long long)skipped);
}

static void show(const struct workspace *w, const json *result)
{
    const char *bundle = "", *previous = "";
    bool changed = false;
    (void)w;
    json_as_text(json_get(result, "bundle"), &bundle);
    json_as_text(json_get(result, "previous"), &previous);
    json_as_bool(json_get(result, "data_changed"), &changed);
    printf("\nBundle %s%s%s\n", bundle, changed ? ", for new data; before: " : "",
           changed ? previous : "");
    for (const json *m = json_first(json_get(result, "models")); m; m = json_next(m)) {
        const char *name = "", *numbers = "";
        double seconds = NAN, difference = NAN;
        int64_t bytes = 0, compared = 0;
        json_as_text(json_get(m, "name"), &name);
        json_as_text(json_get(m, "numbers"), &numbers);
        json_as_double(json_get(m, "seconds"), &seconds);
        json_as_double(json_get(m, "largest_difference"), &difference);
        json_as_i64(json_get(m, "bytes"), &bytes);
        json_as_i64(json_get(m, "pairs_compared"), &compared);
        printf("  %s  %s, %.1f MB, %.2f s; largest difference from the live path over %lld "
               "pairs: %.2g\n",
               name, numbers, (double)bytes / 1e6, seconds, (long long)compared, difference);
        show_tally(m, "queries");
        show_tally(m, "products");
        show_tally(m, "pairs");
    }
}

int verb_precompute(int argc, char **argv)
{
    struct arguments a = {.all = false};
    cli_parse(&argp, argc, argv, &a);
    struct workspace w;
    medley_error err;
    if (!common_open(&a.common, &w))
        return 1;
    const struct precompute_config *usual = &w.config.serve.precompute;
    if (!a.has_products)
        a.options.how.products = a.all ? UINT64_MAX : usual->products;
    if (!a.has_queries)
        a.options.how.queries = a.all ? UINT64_MAX : usual->queries;
    int status = precompute_refresh(&w, &a.options, &err)
                     ? cli_fail(&err)
                     : common_show(&w, "ensemble/precompute.json", a.common.json, show);
    workspace_close(&w);
    return status;
}
