/* cascade.c: medley cascade: the selected models in stages. */
#include "cli/common.h"
#include "cli/show.h"
#include "ensemble/decide.h"
#include "ensemble/stages.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { KEY_LOSS = 2400, KEY_SAVE, KEY_ALL };

struct arguments {
    struct common_options common;
    struct cascade_options cascade;
    bool all, has_save;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct arguments *a = state->input;
    switch (key) {
    case KEY_LOSS:
        a->cascade.loss = cli_number("--loss", arg, 0, 1);
        return 0;
    case KEY_SAVE:
        if (strcmp(arg, "time") != 0 && strcmp(arg, "models") != 0)
            argp_error(state, "--save: '%s' is not one of time, models", arg);
        a->cascade.save = strcmp(arg, "time") == 0 ? SAVE_TIME : SAVE_MODELS;
        a->has_save = true;
        return 0;
    case KEY_ALL:
        a->all = true;
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
    {"loss", KEY_LOSS, "L", 0, "macro-F1 that may be given up [decide.cascade_loss, 0.003]", 0},
    {"save", KEY_SAVE, "time|models", 0,
     "time of the processor, or evaluations of models [decide.save, time]", 0},
    {"all", KEY_ALL, NULL, 0, "of all models instead of the selected ones", 0},
    {0}};

static const struct argp_child children[] = {{&common_json_argp, 0, NULL, 0}, {0}};

static const struct argp argp = {
    .options = options,
    .parser = parse,
    .children = children,
    .doc =
        "Put the selected models in stages: the next one runs only on pairs whose label is not "
        "yet decided.\vThe order is by what a model adds for its cost; thresholds of the "
        "calibrated margin are chosen out of fold; the loss is then measured on the test "
        "split.\nExample:\n  medley cascade -C shop --loss 0.003",
};

static medley_status body(struct workspace *w, void *context, medley_error *err)
{
    const struct arguments *a = context;
    uint32_t all = w->config.n_models >= 32 ? UINT32_MAX : (1u << w->config.n_models) - 1;
    return decide_cascade(w, &a->cascade, a->all ? all : 0, err);
}

int verb_cascade(int argc, char **argv)
{
    struct arguments a = {.cascade = {.loss = -1}};
    cli_parse(&argp, argc, argv, &a);
    struct workspace w;
    medley_error err;
    if (!common_open(&a.common, &w))
        return 1;
    if (a.cascade.loss < 0)
        a.cascade.loss = w.config.decide.cascade_loss;
    if (!a.has_save && strcmp(w.config.decide.save, "models") == 0)
        a.cascade.save = SAVE_MODELS;
    int status = stages_call(&w, STAGE_TUNE, body, &a, &err)
                     ? cli_fail(&err)
                     : common_show(&w, "ensemble/cascade.json", a.common.json, show_cascade);
    workspace_close(&w);
    return status;
}

static double number(const json *object, const char *key)
{
    double v = NAN;
    json_as_double(json_get(object, key), &v);
    return v;
}

static void show_run(const json *c, const char *key, const char *title)
{
    const json *r = json_get(c, key), *d = json_get(json_get(r, "against_full"), "macro_f1");
    printf(
        "  %-13s macro-F1 %.4f, %+.4f [%+.4f, %+.4f] against all stages; %.2f of %.0f models "
        "a pair (%.1fx fewer), %.2f of %.2f ms (%.1fx less)\n",
        title, number(r, "macro_f1"), number(d, "value"), number(d, "low"), number(d, "high"),
        number(r, "evaluations"), number(r, "evaluations_full"),
        number(r, "evaluations_full") / number(r, "evaluations"), number(r, "cost_ms"),
        number(r, "cost_ms_full"), number(r, "cost_ms_full") / number(r, "cost_ms"));
}

void show_cascade(const struct workspace *w, const json *c)
{
    const json *share = json_first(json_get(json_get(c, "test"), "stopped"));
    printf("\nCascade for a loss of %g macro-F1\n", number(c, "loss"));
    for (const json *s = json_first(json_get(c, "stages")); s; s = json_next(s)) {
        const char *name = "";
        double stopped = NAN;
        json_as_text(json_get(s, "model"), &name);
        json_as_double(share, &stopped);
        printf("  %-18s %8.3f ms  macro-F1 so far %.4f  %5.1f%% of test pairs stop  margins",
               name, number(s, "cost_ms"), number(s, "macro_f1"), 100 * stopped);
        for (const json *t = json_first(json_get(s, "thresholds")); t; t = json_next(t)) {
            double v;
            if (json_as_double(t, &v))
                printf(" %s %.2f", json_key(t), v);
            else
                printf(" %s -", json_key(t));
        }
        printf("\n");
        share = share ? json_next(share) : NULL;
    }
    show_run(c, "out_of_fold", "out of fold");
    show_run(c, "test", "test split");
    if (!w->config.decide.cascade)
        printf(
            "  not served; decide: {cascade: true} in medley.yaml puts it into the bundle\n");
}
