/* init.c: `medley init DIR`: a new workspace with a commented medley.yaml. */
#include "cli/cli.h"
#include "ensemble/workspace.h"

#include <stdio.h>

struct arguments {
    const char *folder;
    struct workspace_template template;
};

enum { KEY_DATA = 1000, KEY_PRETRAINED };

static const struct argp_option options[] = {
    {"data", KEY_DATA, "DIR", 0,
     "folder with examples.csv and products.csv (or .tsv, .jsonl, .parquet), and if there are any "
     "product_metadata.csv, colistings.csv, events.jsonl",
     0},
    {"pretrained", KEY_PRETRAINED, "DIR", 0,
     "Hugging Face folder of a small BERT encoder to start from [from scratch]", 0},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct arguments *a = state->input;
    switch (key) {
    case KEY_DATA:
        a->template.data = arg;
        return 0;
    case KEY_PRETRAINED:
        a->template.pretrained = arg;
        return 0;
    case ARGP_KEY_ARG:
        if (a->folder)
            argp_error(state, "more than one DIR");
        a->folder = arg;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "which DIR?");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    .options = options,
    .parser = parse,
    .args_doc = "DIR",
    .doc = "Make a workspace: a folder with a commented medley.yaml.\v"
           "Example:\n  medley init shop --data ~/esci && medley run -C shop",
};

int verb_init(int argc, char **argv)
{
    struct arguments a = {0};
    medley_error err;
    cli_parse(&argp, argc, argv, &a);
    if (workspace_init(a.folder, &a.template, &err))
        return cli_fail(&err);
    fprintf(stderr, "made %s/medley.yaml; look it over, then: medley run -C %s\n", a.folder,
            a.folder);
    return 0;
}
