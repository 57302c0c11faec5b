/* checks.c: what `medley lm verify` and `medley gnn verify` share: their options and output. */
#include "cli/checks.h"

#include "base/error.h"
#include "base/json.h"

#include <stdio.h>
#include <string.h>

struct arguments {
    const char *folder;
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
    switch (key) {
    case 'j':
        a->json = true;
        return 0;
    case 'a':
        a->all = true;
        return 0;
    case ARGP_KEY_ARG:
        if (a->folder)
            return ARGP_ERR_UNKNOWN;
        a->folder = arg;
        return 0;
    case ARGP_KEY_END:
        if (!a->folder)
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

static int print_json(const struct checks *c)
{
    struct strbuf text;
    struct json_writer w;
    sb_init(&text);
    jw_init(&w, &text, true);
    jw_object(&w);
    jw_key(&w, "passed"), jw_bool(&w, checks_passed(c));
    jw_key(&w, "checks"), jw_array(&w);
    for (size_t i = 0; i < c->n; i++) {
        jw_object(&w);
        jw_key(&w, "name"), jw_textz(&w, c->items[i].name);
        jw_key(&w, "error"), jw_double(&w, c->items[i].error);
        jw_key(&w, "tolerance"), jw_double(&w, c->items[i].tolerance);
        jw_key(&w, "passed"), jw_bool(&w, passed(&c->items[i]));
        jw_object_end(&w);
    }
    jw_array_end(&w);
    jw_object_end(&w);
    bool failed = text.failed;
    if (!failed)
        printf("%.*s\n", (int)text.n, text.s);
    sb_deinit(&text);
    return failed ? 1 : 0;
}

int checks_verb(int argc, char **argv, const char *doc, checks_run *run)
{
    const struct argp argp = {
        .options = options, .parser = parse, .args_doc = "DIR", .doc = doc};
    struct arguments a = {0};
    struct checks checks = {0};
    medley_error err;
    cli_parse(&argp, argc, argv, &a);
    if (run(a.folder, &checks, &err)) {
        checks_deinit(&checks);
        return cli_fail(&err);
    }
    int status = checks_passed(&checks) ? 0 : 1;
    if (a.json)
        status |= print_json(&checks);
    else
        print_text(&checks, a.all);
    checks_deinit(&checks);
    return status;
}
