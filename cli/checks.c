/* checks.c: what `medley lm verify` and `medley gnn verify` share: their options and output. */
#include "cli/checks.h"

#include "base/error.h"
#include "base/json.h"

#include <stdio.h>
#include <string.h>

struct arguments {
    char **folders; /* [n] of argv */
    int n;
    bool json, all;
};

static const struct argp_option options[] = {
    {"json", 'j', NULL, 0, "print JSON", 0},
    {"all", 'a', NULL, 0, "list every gradient, not only the worst", 0},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct arguments *a = state->input;
    (void)arg;
    switch (key) {
    case 'j':
        a->json = true;
        return 0;
    case 'a':
        a->all = true;
        return 0;
    case ARGP_KEY_ARGS: /* argp has put them together, last */
        a->folders = state->argv + state->next;
        a->n = state->argc - state->next;
        return 0;
    case ARGP_KEY_END:
        if (!a->n)
            argp_error(state, "expected a folder");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static bool passed(const struct check *c)
{
    return c->error <= c->tolerance;
}

static bool of_gradient(const struct check *c)
{
    return strncmp(c->name, "gradient of ", 12) == 0;
}

static void print_line(const struct check *c)
{
    printf("%-6s %9.1e  (at most %.0e)  %s\n", passed(c) ? "ok" : "WRONG", c->error,
           c->tolerance, c->name);
}

static void print_text(const struct checks *c, bool all)
{
    const struct check *worst = NULL;
    size_t gradients = 0;
    for (size_t i = 0; i < c->n; i++) {
        const struct check *x = &c->items[i];
        gradients += of_gradient(x);
        if (of_gradient(x) && (!worst || x->error > worst->error))
            worst = x;
        if (all || !of_gradient(x) || !passed(x))
            print_line(x);
    }
    if (worst && !all) {
        printf("%zu gradients, the worst:\n", gradients);
        print_line(worst);
    }
}

static void write_checks(struct json_writer *w, const struct checks *c)
{
    jw_key(w, "passed"), jw_bool(w, checks_passed(c));
    jw_key(w, "checks"), jw_array(w);
    for (size_t i = 0; i < c->n; i++) {
        jw_object(w);
        jw_key(w, "name"), jw_textz(w, c->items[i].name);
        jw_key(w, "error"), jw_double(w, c->items[i].error);
        jw_key(w, "tolerance"), jw_double(w, c->items[i].tolerance);
        jw_key(w, "passed"), jw_bool(w, passed(&c->items[i]));
        jw_object_end(w);
    }
    jw_array_end(w);
}

/* One folder: its result; w is NULL for text. A folder that cannot be read is told, and the
 * others are still compared. */
static bool verify_folder(const struct arguments *a, const char *folder, checks_run *run,
                          struct json_writer *w)
{
    struct checks checks = {0};
    medley_error err;
    bool good = false;
    if (!w && a->n > 1)
        printf("%s\n", folder);
    if (run(folder, &checks, &err)) {
        fflush(stdout);
        cli_fail(&err);
        if (w)
            jw_key(w, "passed"), jw_bool(w, false), jw_key(w, "error"),
                jw_textz(w, err.message);
    } else {
        good = checks_passed(&checks);
        if (w)
            write_checks(w, &checks);
        else
            print_text(&checks, a->all);
    }
    checks_deinit(&checks);
    return good;
}

static int verify_in_text(const struct arguments *a, checks_run *run)
{
    int good = 0;
    for (int i = 0; i < a->n; i++)
        good += verify_folder(a, a->folders[i], run, NULL);
    if (a->n > 1)
        printf("%d of %d folders agree\n", good, a->n);
    return good == a->n ? 0 : 1;
}

/* Of one folder its result, of several a list of results that name their folders. */
static int verify_in_json(const struct arguments *a, checks_run *run)
{
    struct strbuf text;
    struct json_writer w;
    int good = 0;
    sb_init(&text);
    jw_init(&w, &text, true);
    if (a->n > 1)
        jw_array(&w);
    for (int i = 0; i < a->n; i++) {
        jw_object(&w);
        if (a->n > 1)
            jw_key(&w, "folder"), jw_textz(&w, a->folders[i]);
        good += verify_folder(a, a->folders[i], run, &w);
        jw_object_end(&w);
    }
    if (a->n > 1)
        jw_array_end(&w);
    bool failed = text.failed;
    if (!failed)
        printf("%.*s\n", (int)text.n, text.s);
    sb_deinit(&text);
    return failed || good < a->n ? 1 : 0;
}

int checks_verb(int argc, char **argv, const char *doc, checks_run *run)
{
    const struct argp argp = {
        .options = options, .parser = parse, .args_doc = "DIR...", .doc = doc};
    struct arguments a = {0};
    cli_parse(&argp, argc, argv, &a);
    return a.json ? verify_in_json(&a, run) : verify_in_text(&a, run);
}
