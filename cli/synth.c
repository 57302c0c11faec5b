/* synth.c: `medley synth`: writes a synthetic shop. */
#include "cli/cli.h"

#include "cli/terminal.h"
#include "data/synth.h"

#include <stdio.h>

struct settings {
    const char *folder;
    struct synth_options options;
};

enum { KEY_SESSIONS = 256, KEY_JUDGED };

static const struct argp_option option_table[] = {
    {"products", 'p', "N", 0, "Number of products (2000)", 0},
    {"queries", 'q', "N", 0, "Number of queries (500)", 0},
    {"sessions", KEY_SESSIONS, "N", 0, "Number of search sessions (20 per query)", 0},
    {"judged", KEY_JUDGED, "X", 0, "Mean number of judged products per query (12)", 0},
    {"seed", 's', "N", 0, "The same seed gives the same files (0)", 0},
    {"output", 'o', "DIR", 0, "Folder to write into (shop)", 0},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct settings *s = state->input;
    switch (key) {
    case 'p':
        s->options.products = cli_count("--products", arg, 1, 999999999);
        break;
    case 'q':
        s->options.queries = cli_count("--queries", arg, 1, UINT32_MAX - 1);
        break;
    case KEY_SESSIONS:
        s->options.sessions = cli_count("--sessions", arg, 1, 1000000000000);
        break;
    case KEY_JUDGED:
        s->options.judged = cli_number("--judged", arg, 1, 200);
        break;
    case 's':
        s->options.seed = cli_count("--seed", arg, 0, UINT64_MAX);
        break;
    case 'o':
        s->folder = arg;
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

int verb_synth(int argc, char **argv)
{
    static const struct argp argp = {
        option_table,
        parse,
        NULL,
        "Writes a synthetic shop with known truth into a folder: examples.csv, products.csv, "
        "product_metadata.csv and colistings.csv (ESCI columns) and events.jsonl (UBI 1.3).\v"
        "Example:\n  medley synth --products 2000 --queries 500 --seed 1 -o shop",
        NULL,
        NULL,
        NULL};
    struct settings s = {.folder = "shop"};
    medley_error err;
    cli_parse(&argp, argc, argv, &s);
    if (synth_write(s.folder, &s.options, &err) != MEDLEY_OK)
        return cli_fail(&err);
    terminal_clear();
    fprintf(stderr, "medley: wrote a synthetic shop into '%s'\n", s.folder);
    return 0;
}
