/* init.c: `medley init DIR`: a new workspace with a commented medley.yaml; `medley init
 * --settings`: all that may stand in one. */
#include "cli/cli.h"
#include "ensemble/config.h"
#include "ensemble/workspace.h"

#include <stdio.h>
#include <string.h>

struct arguments {
    const char *folder;
    struct workspace_template template;
    bool settings;
};

enum { KEY_DATA = 1000, KEY_ESCI, KEY_VERSION, KEY_PRETRAINED, KEY_SETTINGS };

static const struct argp_option options[] = {
    {"data", KEY_DATA, "DIR", 0,
     "folder with examples.csv and products.csv (or .tsv, .jsonl, .parquet), and if there are "
     "any "
     "product_metadata.csv, colistings.csv, events.jsonl",
     0},
    {"esci", KEY_ESCI, "DIR", 0,
     "the folder of the Shopping Queries Dataset as it was published, in place of --data", 0},
    {"version", KEY_VERSION, "NAME", 0, "of that dataset: small or large [large]", 0},
    {"pretrained", KEY_PRETRAINED, "DIR", 0,
     "Hugging Face folder of a small BERT encoder to start from [from scratch]", 0},
    {"settings", KEY_SETTINGS, NULL, 0, "print all settings of medley.yaml, as Markdown", 0},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct arguments *a = state->input;
    switch (key) {
    case KEY_DATA:
        a->template.data = arg;
        return 0;
    case KEY_ESCI:
        a->template.esci = arg;
        return 0;
    case KEY_VERSION:
        a->template.version = arg;
        if (strcmp(arg, "small") != 0 && strcmp(arg, "large") != 0)
            argp_error(state, "--version is small or large, not '%s'", arg);
        return 0;
    case ARGP_KEY_END:
        if (a->template.esci && a->template.data)
            argp_error(state, "--esci or --data?");
        if (a->template.version && !a->template.esci)
            argp_error(state, "--version is one of --esci DIR");
        return 0;
    case KEY_PRETRAINED:
        a->template.pretrained = arg;
        return 0;
    case KEY_SETTINGS:
        a->settings = true;
        return 0;
    case ARGP_KEY_ARG:
        if (a->folder)
            argp_error(state, "more than one DIR");
        a->folder = arg;
        return 0;
    case ARGP_KEY_NO_ARGS:
        if (!a->settings)
            argp_error(state, "which DIR?");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    .options = options,
    .parser = parse,
    .args_doc = "DIR\n--settings",
    .doc = "Make a workspace: a folder with a commented medley.yaml.\v"
           "Examples:\n  medley init shop --data ~/judgements && medley run -C shop\n"
           "  medley init shop --esci ~/esci-data/shopping_queries_dataset --version small",
};

static const char *type_name(enum yaml_type type)
{
    static const char *const names[] = {
        [YAML_TEXT] = "text",
        [YAML_UNSIGNED] = "whole number",
        [YAML_U64] = "whole number",
        [YAML_DOUBLE] = "number",
        [YAML_OR_NONE] = "number, 0 for none",
        [YAML_BOOL] = "`true` or `false`",
        [YAML_CHOICE] = "",
        [YAML_BYTES] = "size, such as 512M",
        [YAML_TEXT_LIST] = "list of texts",
        [YAML_NODE] = "see below",
    };
    return names[type];
}

static void print_setting(const struct yaml_field *f)
{
    printf("| `%s` | %s", f->key, type_name(f->type));
    for (const char *const *choice = f->choices; choice && *choice; choice++)
        printf("%s`%s`", choice == f->choices ? "" : ", ", *choice);
    if (f->min < f->max)
        printf(", %.10g to %.10g", f->min, f->max);
    printf(" | %s |\n", f->help);
}

static int print_settings(void)
{
    printf("# Settings of medley.yaml\n\n`medley init DIR` writes a file to begin with; "
           "`medley init --settings` printed this page. What is in brackets\nholds without the "
           "key. Unknown keys, repeated keys and values out of range are refused with their "
           "line.\n");
    for (const struct config_section *s = config_sections; s->name; s++) {
        printf("\n## %s\n%s\n\n| key | value | |\n| --- | --- | --- |\n", s->name, s->help);
        for (const struct yaml_field *f = s->fields; f->key; f++)
            print_setting(f);
    }
    return 0;
}

int verb_init(int argc, char **argv)
{
    struct arguments a = {0};
    medley_error err;
    cli_parse(&argp, argc, argv, &a);
    if (a.settings)
        return print_settings();
    if (workspace_init(a.folder, &a.template, &err))
        return cli_fail(&err);
    fprintf(stderr, "made %s/medley.yaml; look it over, then: medley run -C %s\n", a.folder,
            a.folder);
    return 0;
}
