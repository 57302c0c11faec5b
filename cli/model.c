/* model.c: medley model add|try|list|remove|pin|unpin: base models plugged in and taken away.
 */
#include "cli/common.h"
#include "base/memory.h"
#include "ensemble/model_edit.h"
#include "ensemble/stages.h"
#include "ensemble/verdict.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST_ARGUMENTS = 64 };

struct arguments {
    struct common_options common;
    const char *items[MOST_ARGUMENTS];
    size_t n;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct arguments *a = state->input;
    switch (key) {
    case ARGP_KEY_ARG:
        if (a->n == MOST_ARGUMENTS)
            argp_error(state, "more than %d arguments", MOST_ARGUMENTS);
        a->items[a->n++] = arg;
        return 0;
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &a->common;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {{&common_json_argp, 0, NULL, 0}, {0}};

static const struct argp argp = {
    .parser = parse,
    .children = children,
    .args_doc = "add FILE.yaml|KEY=VALUE...\ntry FILE.yaml|KEY=VALUE...\nlist\nremove "
                "NAME\npin NAME\nunpin NAME",
    .doc =
        "Plug in a base model, or take one away.\vadd writes the model into medley.yaml, "
        "trains "
        "(or reads) only that one, says what it is worth beside the others, and refits the "
        "ensemble. try says the same and leaves medley.yaml as it was; what was trained is "
        "kept "
        "for a later add. Kinds: lm and gnn are trained here, table holds "
        "predictions made elsewhere, remote asks an inference server, plugin loads a shared "
        "library (medley init --settings lists their keys).\nExamples:\n  medley model try "
        "name=mine kind=table "
        "predictions=mine.csv -C shop\n  medley model add name=served kind=remote "
        "url=http://127.0.0.1:8000 output=probabilities inputs=\"{text: '{query} | {title}'}\" "
        "-C shop\n  medley model add name=bm25 kind=plugin library=bm25.so -C shop\n  medley "
        "model add bigger.yaml -C shop\n  medley model "
        "remove mine -C shop",
};

/* ---- entries ---- */

/* One file, or key=value one after the other. */
static bool read_entry(const struct arguments *a, struct strbuf *out)
{
    medley_error err;
    if (a->n == 2 && !strchr(a->items[1], '=')) {
        char *text = NULL;
        size_t n = 0;
        if (file_read(a->items[1], 1 << 20, &text, &n, &err)) {
            cli_fail(&err);
            return false;
        }
        sb_add(out, text, n);
        mem_free(text);
        return true;
    }
    for (size_t i = 1; i < a->n; i++) {
        const char *equals = strchr(a->items[i], '=');
        if (!equals) {
            cli_usage("model", "'%s' is neither one file nor KEY=VALUE", a->items[i]);
            return false;
        }
        sb_addf(out, "%.*s: %s\n", (int)(equals - a->items[i]), a->items[i], equals + 1);
    }
    return a->n > 1 && !out->failed;
}

/* ---- the verdict as text ---- */

static double number(const json *object, const char *key)
{
    double v = NAN;
    json_as_double(json_get(object, key), &v);
    return v;
}

static void print_names(const json *list)
{
    for (const json *m = json_first(list); m; m = json_next(m)) {
        const char *name = "";
        json_as_text(m, &name);
        printf(" %s", name);
    }
}

static void print_estimate(const json *e)
{
    printf("%+.4f [%+.4f, %+.4f]", number(e, "value"), number(e, "low"), number(e, "high"));
}

static void print_best(const char *title, const json *b)
{
    printf("  %s", title);
    if (!b || json_kind_of(b) != JSON_OBJECT) {
        printf(" nothing fits the budget\n");
        return;
    }
    print_names(json_get(b, "models"));
    printf(": macro-F1 %.4f, accuracy %.4f, %.2f ms, %.1f MB\n", number(b, "macro_f1"),
           number(b, "accuracy"), number(b, "latency_ms"), number(b, "memory_bytes") / 1e6);
}

static void show_verdict(const struct workspace *w, const json *v)
{
    const char *name = "", *metric = "";
    const json *gain;
    (void)w;
    json_as_text(json_get(v, "model"), &name);
    json_as_text(json_get(v, "metric"), &metric);
    gain = json_get(json_get(v, "gain"), metric);
    printf("\nVerdict on %s (out of fold, by %s)\n  Shapley value ", name, metric);
    print_estimate(json_get(json_get(v, "shapley"), metric));
    printf(", place %.0f of %.0f\n  with it the ensemble of all models changes by ",
           number(v, "place"), number(v, "models"));
    print_estimate(gain);
    printf(", p = %.3f\n", number(gain, "p_value"));
    if (number(v, "coverage") < 1) {
        printf("  it answers %.1f%% of the pairs; per locale:", 100 * number(v, "coverage"));
        for (const json *l = json_first(json_get(v, "per_locale")); l; l = json_next(l))
            printf(" %s %+.4f", json_key(l), number(l, "value"));
        printf("\n");
    }
    for (const json *o = json_first(json_get(v, "others")); o; o = json_next(o)) {
        bool redundant = false;
        const char *other = "";
        json_as_bool(json_get(o, "made_redundant"), &redundant);
        json_as_text(json_get(o, "name"), &other);
        if (!redundant)
            continue;
        printf("  it makes %s redundant: its gain was ", other);
        print_estimate(json_get(o, "gain_before"));
        printf(" and is ");
        print_estimate(json_get(o, "gain_after"));
        printf("\n");
    }
    print_best("best within the budget without it:", json_get(v, "best_without"));
    print_best("best within the budget with it:   ", json_get(v, "best_with"));
}

/* ---- verbs ---- */

/* Trains the model and judges it; then runs what is stale, when it is to stay. */
static int judge(const struct arguments *a, const char *name, bool stay)
{
    struct workspace w;
    medley_error err;
    char file[128];
    if (!common_open(&a->common, &w))
        return 1;
    size_t m = config_find_model(&w.config, name);
    medley_status st = stages_run_group(&w, STAGE_TRAIN, NULL, false, &err);
    if (!st)
        st = workspace_open_data(&w, &err);
    if (!st)
        st = decide_verdict(&w, m, &err);
    snprintf(file, sizeof file, "ensemble/verdict-%s.json", name);
    int status = st ? cli_fail(&err) : common_show(&w, file, a->common.json, show_verdict);
    if (!st && stay && stages_run(&w, &err))
        status = cli_fail(&err);
    workspace_close(&w);
    return status;
}

/* The name in an entry that was taken: that of the last model. */
static bool last_name(const struct arguments *a, char *out, size_t size)
{
    struct workspace w;
    if (!common_open(&a->common, &w))
        return false;
    snprintf(out, size, "%s", w.config.models[w.config.n_models - 1].name);
    workspace_close(&w);
    return true;
}

static int add(const struct arguments *a, bool stay)
{
    struct strbuf entry;
    medley_error err;
    char name[80];
    int status = 0;
    sb_init(&entry);
    if (!read_entry(a, &entry)) {
        sb_deinit(&entry);
        return a->n > 1 ? 2 : cli_usage("model", "add and try need a file or KEY=VALUE");
    }
    if (model_add(a->common.workspace, sb_str(&entry), &err))
        status = cli_fail(&err);
    else if (last_name(a, name, sizeof name)) {
        status = judge(a, name, stay);
        if (!stay && model_remove(a->common.workspace, name, &err))
            status = cli_fail(&err);
    } else {
        status = 1;
    }
    sb_deinit(&entry);
    return status;
}

static double shapley_of(const json *ranking, const char *name)
{
    const json *worth = json_get(ranking, "worth");
    const char *metric = "", *other = "";
    json_as_text(json_get(worth, "metric"), &metric);
    for (const json *p = json_first(json_get(worth, "players")); p; p = json_next(p))
        if (json_as_text(json_get(p, "name"), &other) && strcmp(other, name) == 0)
            return number(json_get(json_get(p, metric), "shapley"), "value");
    return NAN;
}

static bool is_selected(const json *selection, const char *name)
{
    const char *other = "";
    for (const json *m = json_first(json_get(selection, "selected")); m; m = json_next(m))
        if (json_as_text(m, &other) && strcmp(other, name) == 0)
            return true;
    return false;
}

static int list(const struct arguments *a)
{
    struct workspace w;
    struct stages s;
    medley_error err;
    json *ranking = NULL, *selection = NULL;
    if (!common_open(&a->common, &w))
        return 1;
    if (stages_inspect(&w, &s, &err)) {
        workspace_close(&w);
        return cli_fail(&err);
    }
    if (json_load(workspace_path(&w, "ensemble/ranking.json").s, &ranking, NULL))
        ranking = NULL;
    if (json_load(workspace_path(&w, "ensemble/selection.json").s, &selection, NULL))
        selection = NULL;
    if (a->common.json)
        printf("[");
    for (size_t m = 0; m < w.config.n_models; m++) {
        const struct model_config *c = &w.config.models[m];
        bool trained = false, pinned = w.config.budget.pinned >> m & 1;
        for (size_t i = 0; i < s.n; i++)
            if (s.items[i].group == STAGE_TRAIN && s.items[i].model == m)
                trained = s.items[i].up_to_date;
        double worth = shapley_of(ranking, c->name);
        bool selected = is_selected(selection, c->name);
        if (a->common.json)
            printf("%s{\"name\": \"%s\", \"kind\": \"%s\", \"trained\": %s, \"selected\": %s, "
                   "\"pinned\": %s}",
                   m ? ",\n " : "", c->name, c->kind_name, trained ? "true" : "false",
                   selected ? "true" : "false", pinned ? "true" : "false");
        else
            printf("%-24s %-8s %-10s worth %+8.4f  %s%s\n", c->name, c->kind_name,
                   trained ? "trained" : "stale", worth, selected ? "selected" : "",
                   pinned ? " pinned" : "");
    }
    if (a->common.json)
        printf("]\n");
    json_free(ranking);
    json_free(selection);
    stages_free(&s);
    workspace_close(&w);
    return 0;
}

static int change(const struct arguments *a, const char *what)
{
    medley_error err;
    const char *root = a->common.workspace;
    if (a->n != 2)
        return cli_usage("model", "%s needs the name of a model", what);
    medley_status st = strcmp(what, "remove") == 0
                           ? model_remove(root, a->items[1], &err)
                           : model_pin(root, a->items[1], strcmp(what, "pin") == 0, &err);
    if (st)
        return cli_fail(&err);
    fprintf(stderr, "'medley run -C %s' refits the ensemble\n", root);
    return 0;
}

int verb_model(int argc, char **argv)
{
    struct arguments a = {.n = 0};
    cli_parse(&argp, argc, argv, &a);
    const char *what = a.n ? a.items[0] : "";
    if (strcmp(what, "add") == 0 || strcmp(what, "try") == 0)
        return add(&a, strcmp(what, "add") == 0);
    if (strcmp(what, "list") == 0)
        return list(&a);
    if (strcmp(what, "remove") == 0 || strcmp(what, "pin") == 0 || strcmp(what, "unpin") == 0)
        return change(&a, what);
    return cli_usage("model", "expected add, try, list, remove, pin or unpin");
}
