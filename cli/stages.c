/* stages.c: the verbs that run stages of a workspace: import, train, stack, report, and run
 * (all that are out of date). They differ in a line of a table and in how they show their
 * result. */
#include "cli/common.h"
#include "cli/show.h"

#include "base/error.h"
#include "base/file.h"
#include "ensemble/stages.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_FORCE = 2000, KEY_ESCI, KEY_VERSION };

struct arguments {
    struct common_options common;
    enum stage_group group;
    const char *model;          /* train: only this one */
    const char *esci, *version; /* import: the published dataset, for a new workspace */
    bool force;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct arguments *a = state->input;
    switch (key) {
    case KEY_FORCE:
        a->force = true;
        return 0;
    case KEY_ESCI:
        a->esci = arg;
        return 0;
    case KEY_VERSION:
        a->version = arg;
        if (strcmp(arg, "small") != 0 && strcmp(arg, "large") != 0)
            argp_error(state, "--version is small or large, not '%s'", arg);
        return 0;
    case ARGP_KEY_END:
        if (a->version && !a->esci)
            argp_error(state, "--version is one of --esci DIR");
        return 0;
    case ARGP_KEY_ARG:
        if (a->group != STAGE_TRAIN || a->model)
            argp_error(state, "unexpected argument '%s'", arg);
        a->model = arg;
        return 0;
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &a->common;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option force_options[] = {
    {"force", KEY_FORCE, NULL, 0, "run even when nothing has changed", 0}, {0}};
static const struct argp_option import_options[] = {
    {"force", KEY_FORCE, NULL, 0, "run even when nothing has changed", 0},
    {"esci", KEY_ESCI, "DIR", 0,
     "the folder of the Shopping Queries Dataset as it was published; makes the workspace when "
     "there is none",
     0},
    {"version", KEY_VERSION, "NAME", 0, "of that dataset: small or large [large]", 0},
    {0}};
static const struct argp_child plain_child[] = {{&common_argp, 0, NULL, 0}, {0}};
static const struct argp_child json_child[] = {{&common_json_argp, 0, NULL, 0}, {0}};

/* What is different between the verbs. */
struct stage_verb {
    enum stage_group group;
    const char *result; /* JSON file that --json prints and `show` reads; NULL: none */
    void (*show)(const struct workspace *w, const json *result);
    const char *doc, *args_doc;
};

static const struct stage_verb stage_verbs[] = {
    {STAGE_IMPORT, "data/summary.json", show_summary,
     "Read examples, products and behaviour into the workspace.\vCounts what it took; odd rows "
     "are "
     "counted, listed in data/summary.json and handled as documented.\nExamples:\n  medley "
     "import -C shop\n"
     "  medley import --esci ~/esci-data/shopping_queries_dataset --version small -C shop",
     NULL},
    {STAGE_TRAIN, NULL, NULL,
     "Train the base models (or only MODEL) across query-grouped folds.\vKilled or "
     "interrupted, it "
     "goes on where it was when started again.\nExample:\n  medley train -C shop minilm",
     "[MODEL]"},
    {STAGE_STACK, "ensemble/stack.json", show_stack,
     "Fit the ensemble on the out-of-fold predictions of all models.\vExample:\n  medley stack "
     "-C shop",
     NULL},
    {STAGE_RANK, "ensemble/ranking.json", show_ranking, NULL,
     NULL}, /* the verb is cli/rank.c */
    {STAGE_SELECT, "ensemble/selection.json", show_selection, NULL, NULL}, /* cli/select.c */
    {STAGE_EVALUATE, "ensemble/evaluation.json", show_evaluation, NULL,
     NULL},                                                          /* cli/evaluate.c */
    {STAGE_TUNE, "ensemble/cascade.json", show_cascade, NULL, NULL}, /* cli/cascade.c */
    {STAGE_REPORT, NULL, NULL,
     "Write report/index.html, one file that needs no network.\vExample:\n  medley report -C "
     "shop",
     NULL},
};

static int show_result(const struct workspace *w, const struct stage_verb *v, bool as_json)
{
    if (!v->result)
        return 0;
    if (as_json)
        return common_print_file(w, v->result);
    json *result = common_load(w, v->result);
    if (!result)
        return 1;
    v->show(w, result);
    json_free(result);
    return 0;
}

/* --esci makes the workspace where there is none; where there is one, it must say the same. */
static bool prepare_esci(const struct arguments *a)
{
    const struct workspace_template template = {.esci = a->esci, .version = a->version};
    const char *version = a->version ? a->version : "large";
    struct workspace w;
    medley_error err;
    char file[1024];
    if (snprintf(file, sizeof file, "%s/medley.yaml", a->common.workspace) >=
            (int)sizeof file ||
        !file_exists(file))
        return !workspace_init(a->common.workspace, &template, &err) || (cli_fail(&err), false);
    if (!common_open(&a->common, &w))
        return false;
    const struct import_options *data = &w.config.data;
    char *asked = realpath(a->esci, NULL);
    char *had = data->esci ? realpath(workspace_path(&w, "%s", data->esci).s, NULL) : NULL;
    bool same = asked && had && strcmp(asked, had) == 0 &&
                strcmp(version, data->version ? data->version : "large") == 0;
    if (!same)
        fail(&err, MEDLEY_EINVAL,
             "%s imports something else: put 'data: {esci: \"%s\", version: %s}' there", file,
             asked ? asked : a->esci, version);
    free(asked);
    free(had);
    workspace_close(&w);
    return same || (cli_fail(&err), false);
}

static int run_group(int argc, char **argv, enum stage_group group)
{
    const struct stage_verb *v = stage_verbs;
    while (v->group != group)
        v++;
    struct arguments a = {.group = group};
    struct argp argp = {.options = group == STAGE_IMPORT ? import_options : force_options,
                        .parser = parse,
                        .args_doc = v->args_doc,
                        .doc = v->doc,
                        .children = v->result ? json_child : plain_child};
    cli_parse(&argp, argc, argv, &a);
    struct workspace w;
    medley_error err;
    if ((a.esci && !prepare_esci(&a)) || !common_open(&a.common, &w))
        return 1;
    int status = stages_run_group(&w, group, a.model, a.force, &err)
                     ? cli_fail(&err)
                     : show_result(&w, v, a.common.json);
    workspace_close(&w);
    return status;
}

int verb_import(int argc, char **argv)
{
    return run_group(argc, argv, STAGE_IMPORT);
}

int verb_train(int argc, char **argv)
{
    return run_group(argc, argv, STAGE_TRAIN);
}

int verb_stack(int argc, char **argv)
{
    return run_group(argc, argv, STAGE_STACK);
}

int verb_report(int argc, char **argv)
{
    return run_group(argc, argv, STAGE_REPORT);
}

static const struct argp run_argp = {
    .parser = parse,
    .children = plain_child,
    .doc =
        "Run every stage that is out of date, in order: import, features, train, stack, rank, "
        "select, evaluate, tune (calibration and cascade), report.\vKilled or interrupted, it "
        "goes on where it was.\nExample:\n"
        "  medley run -C shop",
};

int verb_run(int argc, char **argv)
{
    struct arguments a = {.group = STAGE_GROUPS};
    cli_parse(&run_argp, argc, argv, &a);
    struct workspace w;
    medley_error err;
    if (!common_open(&a.common, &w))
        return 1;
    int status = 0;
    if (stages_run(&w, &err)) {
        status = cli_fail(&err);
    } else if ((status = workspace_open_data(&w, &err) ? cli_fail(&err) : 0) == 0) {
        for (size_t i = 0; i < sizeof stage_verbs / sizeof *stage_verbs && !status; i++)
            if (stage_verbs[i].group == STAGE_EVALUATE || stage_verbs[i].group == STAGE_RANK ||
                stage_verbs[i].group == STAGE_SELECT || stage_verbs[i].group == STAGE_TUNE)
                status = show_result(&w, &stage_verbs[i], false);
        printf("report: %s\n", workspace_path(&w, "report/index.html").s);
    }
    workspace_close(&w);
    return status;
}

static void print_status(const struct stages *s, bool as_json)
{
    struct strbuf text;
    struct json_writer j;
    sb_init(&text);
    jw_init(&j, &text, true);
    jw_object(&j), jw_key(&j, "stages"), jw_array(&j);
    for (size_t i = 0; i < s->n; i++) {
        const struct stage *x = &s->items[i];
        jw_object(&j);
        jw_key(&j, "name"), jw_textz(&j, x->name);
        jw_key(&j, "up_to_date"), jw_bool(&j, x->up_to_date);
        jw_key(&j, "why"), jw_textz(&j, x->up_to_date ? NULL : x->why);
        jw_object_end(&j);
        if (!as_json)
            printf("%-28s %s%s%s\n", x->name, x->up_to_date ? "up to date" : "stale",
                   x->up_to_date ? "" : ": ", x->up_to_date ? "" : x->why);
    }
    jw_array_end(&j), jw_object_end(&j);
    if (as_json && !text.failed)
        printf("%s\n", text.s);
    sb_deinit(&text);
}

static const struct argp status_argp = {
    .parser = parse,
    .children = json_child,
    .doc = "Say what is up to date, what is stale, and why.\vExample:\n  medley status -C shop",
};

int verb_status(int argc, char **argv)
{
    struct arguments a = {.group = STAGE_GROUPS};
    cli_parse(&status_argp, argc, argv, &a);
    struct workspace w;
    struct stages s;
    medley_error err;
    if (!common_open(&a.common, &w))
        return 1;
    int status = stages_inspect(&w, &s, &err) ? cli_fail(&err) : 0;
    if (!status) {
        print_status(&s, a.common.json);
        stages_free(&s);
    }
    workspace_close(&w);
    return status;
}
