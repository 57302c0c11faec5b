/* evaluate.c: medley evaluate: models and ensembles on the test split; with --ensemble also
 * ensembles of chosen models, to say what the others are for. */
#include "cli/common.h"
#include "cli/show.h"
#include "ensemble/decide.h"
#include "ensemble/stages.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { KEY_ENSEMBLE = 2700, KEY_FORCE };

struct arguments {
    struct common_options common;
    const char *asked[EVALUATE_SUBSETS]; /* NAME=MODEL,... */
    size_t n_asked;
    bool force;
};

/* What was asked, with the names apart. */
struct request {
    struct evaluate_subset subsets[EVALUATE_SUBSETS];
    char names[EVALUATE_SUBSETS][64];
    size_t n;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct arguments *a = state->input;
    switch (key) {
    case KEY_ENSEMBLE:
        if (!strchr(arg, '=') || strchr(arg, '=') == arg)
            argp_error(state, "--ensemble: '%s' is not NAME=MODEL,...", arg);
        if (a->n_asked == EVALUATE_SUBSETS)
            argp_error(state, "--ensemble: more than %d", EVALUATE_SUBSETS);
        a->asked[a->n_asked++] = arg;
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
    {"ensemble", KEY_ENSEMBLE, "NAME=MODEL,...", 0,
     "also fit an ensemble of these models alone (or of a kind: lm, gnn, table), and compare; "
     "may be given again",
     0},
    {"force", KEY_FORCE, NULL, 0, "run even when nothing has changed", 0},
    {0}};

static const struct argp_child children[] = {{&common_json_argp, 0, NULL, 0}, {0}};

static const struct argp argp = {
    .options = options,
    .parser = parse,
    .children = children,
    .doc = "Measure base models and ensembles on the test split.\vIntervals (95%) are by "
           "bootstrap over queries. Choose models by 'medley rank' and 'medley select', which "
           "do not look at the test split; --ensemble says afterwards what a choice is worth.\n"
           "Examples:\n  medley evaluate -C shop --json\n  medley evaluate -C shop --ensemble "
           "text=lm --ensemble without-sage=minilm,fast,gcn",
};

static uint32_t models_named(const struct config *c, struct str name)
{
    uint32_t mask = 0;
    for (size_t m = 0; m < c->n_models; m++)
        if (str_is(name, c->models[m].name) || str_is(name, c->models[m].kind_name))
            mask |= 1u << m;
    return mask;
}

static bool taken(const struct config *c, const struct request *r, const char *name)
{
    for (size_t m = 0; m < c->n_models; m++)
        if (strcmp(c->models[m].name, name) == 0)
            return true;
    for (size_t i = 0; i < r->n; i++)
        if (strcmp(r->names[i], name) == 0)
            return true;
    return strcmp(name, "full") == 0 || strcmp(name, "selected") == 0;
}

static bool read_request(const struct arguments *a, const struct config *c, struct request *r)
{
    for (size_t i = 0; i < a->n_asked; i++) {
        const char *list = strchr(a->asked[i], '=');
        int length = (int)(list - a->asked[i]);
        uint32_t mask = 0;
        int n = snprintf(r->names[r->n], sizeof r->names[0], "%.*s", length, a->asked[i]);
        if ((size_t)n >= sizeof r->names[0] || taken(c, r, r->names[r->n])) {
            cli_usage("evaluate", "--ensemble: '%.*s' is %s", length, a->asked[i],
                      (size_t)n >= sizeof r->names[0] ? "too long" : "a name that is taken");
            return false;
        }
        for (const char *at = list; *at; at += strcspn(at, ",")) {
            at++; /* past = or , */
            struct str name = {at, strcspn(at, ",")};
            uint32_t found = models_named(c, name);
            if (!found) {
                cli_usage("evaluate", "--ensemble: there is no model or kind '%.*s'",
                          (int)name.n, name.s);
                return false;
            }
            mask |= found;
        }
        r->subsets[r->n] = (struct evaluate_subset){r->names[r->n], mask};
        r->n++;
    }
    return true;
}

/* ---- as text ---- */

static const char *text(const json *object, const char *key)
{
    const char *s = "";
    json_as_text(json_get(object, key), &s);
    return s;
}

static double number(const json *object, const char *key)
{
    double v = NAN;
    json_as_double(json_get(object, key), &v);
    return v;
}

static bool is_ensemble(const json *evaluation, const char *name)
{
    const json *list = json_get(evaluation, "ensembles");
    for (const json *e = json_first(list); e; e = json_next(e))
        if (strcmp(text(e, "name"), name) == 0)
            return true;
    return false;
}

static void show_difference(const char *name, const json *d)
{
    printf("  %s %+.4f [%+.4f, %+.4f]", name, number(d, "difference"), number(d, "low"),
           number(d, "high"));
}

/* Ensembles among themselves; what each has over base models is in the JSON. */
static void show_subsets(const struct workspace *w, const json *evaluation)
{
    show_evaluation(w, evaluation);
    printf("\nDifferences, 95%% intervals over queries\n");
    const json *pairs = json_get(evaluation, "paired");
    for (const json *p = json_first(pairs); p; p = json_next(p)) {
        if (!is_ensemble(evaluation, text(p, "b")))
            continue;
        printf("  %s less %s\n  ", text(p, "a"), text(p, "b"));
        show_difference("macro-F1", json_get(p, "macro_f1"));
        show_difference("accuracy", json_get(p, "accuracy"));
        show_difference("log-loss", json_get(p, "log_loss"));
        printf("\n  ");
        const json *classes = json_get(p, "f1");
        for (const json *k = json_first(classes); k; k = json_next(k))
            show_difference(json_key(k), k);
        printf("\n");
    }
}

static medley_status evaluate_subsets(struct workspace *w, void *context, medley_error *err)
{
    const struct request *r = context;
    return decide_evaluate(w, r->subsets, r->n, err);
}

int verb_evaluate(int argc, char **argv)
{
    struct arguments a = {.force = false};
    struct request r = {.n = 0};
    cli_parse(&argp, argc, argv, &a);
    struct workspace w;
    medley_error err;
    if (!common_open(&a.common, &w))
        return 1;
    int status = read_request(&a, &w.config, &r) ? 0 : 2;
    if (!status && (r.n ? stages_call(&w, STAGE_EVALUATE, evaluate_subsets, &r, &err)
                        : stages_run_group(&w, STAGE_EVALUATE, NULL, a.force, &err)))
        status = cli_fail(&err);
    if (!status)
        status =
            r.n ? common_show(&w, "ensemble/evaluation-subsets.json", a.common.json,
                              show_subsets)
                : common_show(&w, "ensemble/evaluation.json", a.common.json, show_evaluation);
    workspace_close(&w);
    return status;
}
