/* gbdt_rank.c: `medley gbdt rank`: what each player is worth, by refitting trees on coalitions
 * of players. Proof: tests/test_gbdt_cli.c; the game itself: tests/test_coalition.c. */
#include "cli/gbdt.h"

#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/progress.h"
#include "medley/coalition.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VERB "gbdt rank"

struct rank_args {
    struct gbdt_tables tables;
    const char *players;
    medley_gbdt_options trees;
    medley_coalition_options game;
    enum medley_metric metric;
    bool json;
};

/* ---- options ---- */

enum { OPT_PLAYERS = 1000, OPT_METRIC, OPT_EXACT, OPT_REFITS, OPT_JSON };

static void parse_metric(struct rank_args *a, struct argp_state *state, const char *arg)
{
    for (int m = 0; m < MEDLEY_METRICS; m++)
        if (strcmp(arg, medley_metric_name((enum medley_metric)m)) == 0) {
            a->metric = (enum medley_metric)m;
            return;
        }
    argp_error(state, "--metric: '%s' is none of accuracy, macro_f1 and log_loss", arg);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct rank_args *a = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &a->tables;
        state->child_inputs[1] = &a->trees;
        return 0;
    case OPT_PLAYERS:
        a->players = arg;
        return 0;
    case OPT_METRIC:
        parse_metric(a, state, arg);
        return 0;
    case OPT_EXACT:
        a->game.exact_players = (unsigned)cli_count("--exact", arg, 1, 20);
        return 0;
    case OPT_REFITS:
        a->game.refits = (unsigned)cli_count("--refits", arg, 1, 1000000);
        return 0;
    case OPT_JSON:
        a->json = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "unexpected argument '%s'", arg);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option options[] = {
    {"json", OPT_JSON, NULL, 0, "print all metrics as JSON", 1},
    {NULL, 0, NULL, 0, "Game:", 2},
    {"players", OPT_PLAYERS, "SPEC", 0,
     "features of each player, as bert=0-3,sage=4-7+9; features left out are in every "
     "coalition",
     0},
    {"metric", OPT_METRIC, "accuracy|macro_f1|log_loss", 0, "order of the players (macro_f1)",
     0},
    {"exact", OPT_EXACT, "N", 0, "up to N players all coalitions are refitted (12)", 0},
    {"refits", OPT_REFITS, "N", 0, "with more players, about N coalitions (1000)", 0},
    {0},
};

static const struct argp_child children[] = {
    {&gbdt_tables_argp, 0, NULL, 0}, {&gbdt_trees_argp, 0, NULL, 3}, {0}};

static const struct argp argp = {
    .options = options,
    .parser = parse,
    .children = children,
    .doc =
        "Says what each player (a group of features, such as the probabilities of one base "
        "model) is worth: exact Shapley values of metrics on held-out rows over trees "
        "refitted without the players outside a coalition; sampled, with a standard error, "
        "when there are many players. Values add up to what all players gain together; "
        "players that say the same share their worth.\v"
        "Examples:\n"
        "  medley gbdt rank -f X.npy -y y.npy --valid-features V.npy --valid-labels v.npy \\\n"
        "      --players bert=0-3,sage=4-7,gat=8-11\n"
        "  medley gbdt rank -f stack.csv --label esci_label --classes E,S,C,I \\\n"
        "      --valid-features held.csv --players bert=0-3,sage=4-7 --metric log_loss "
        "--json"};

/* ---- output ---- */

/* A game with all that is printed of it. */
struct outcome {
    const medley_coalition *game;
    char *const *names; /* [n] */
    size_t n, rows, held_out;
    double values[MEDLEY_METRICS][MEDLEY_COALITION_PLAYERS];
    double errors[MEDLEY_METRICS][MEDLEY_COALITION_PLAYERS];
    size_t order[MEDLEY_COALITION_PLAYERS]; /* best first */
};

static double metric_of(const struct outcome *o, int metric, uint64_t coalition)
{
    double v = NAN; /* null in JSON: that coalition was not played */
    medley_coalition_metric(o->game, (enum medley_metric)metric, coalition, &v);
    return v;
}

static uint64_t all_of(const struct outcome *o)
{
    return UINT64_MAX >> (64 - o->n);
}

/* Players by what they are worth in one metric; a loss is better when it is less. */
static void order_players(struct outcome *o, enum medley_metric metric)
{
    double sign = metric == MEDLEY_METRIC_LOG_LOSS ? -1 : 1;
    const double *v = o->values[metric];
    for (size_t i = 0; i < o->n; i++) {
        size_t at = i;
        for (; at > 0 && sign * v[i] > sign * v[o->order[at - 1]]; at--)
            o->order[at] = o->order[at - 1];
        o->order[at] = i;
    }
}

static void print_players_json(struct json_writer *w, const struct outcome *o, int metric)
{
    jw_array(w);
    for (size_t i = 0; i < o->n; i++) {
        size_t p = o->order[i];
        uint64_t bit = (uint64_t)1 << p;
        jw_object(w);
        jw_key(w, "name");
        jw_textz(w, o->names[p]);
        jw_key(w, "value");
        jw_double(w, o->values[metric][p]);
        jw_key(w, "standard_error");
        jw_double(w, o->errors[metric][p]);
        jw_key(w, "alone");
        jw_double(w, metric_of(o, metric, bit));
        jw_key(w, "all_but_it");
        jw_double(w, metric_of(o, metric, all_of(o) & ~bit));
        jw_object_end(w);
    }
    jw_array_end(w);
}

static medley_status print_json(const struct outcome *o, medley_error *err)
{
    struct strbuf text;
    struct json_writer w;
    sb_init(&text);
    jw_init(&w, &text, true);
    jw_object(&w);
    jw_key(&w, "rows");
    jw_i64(&w, (int64_t)o->rows);
    jw_key(&w, "held_out_rows");
    jw_i64(&w, (int64_t)o->held_out);
    jw_key(&w, "refits");
    jw_i64(&w, (int64_t)medley_coalition_refits(o->game));
    jw_key(&w, "exact");
    jw_bool(&w, medley_coalition_exact(o->game));
    jw_key(&w, "metrics");
    jw_object(&w);
    for (int m = 0; m < MEDLEY_METRICS; m++) {
        jw_key(&w, medley_metric_name((enum medley_metric)m));
        jw_object(&w);
        jw_key(&w, "none");
        jw_double(&w, metric_of(o, m, 0));
        jw_key(&w, "all");
        jw_double(&w, metric_of(o, m, all_of(o)));
        jw_key(&w, "players");
        print_players_json(&w, o, m);
        jw_object_end(&w);
    }
    jw_object_end(&w);
    jw_object_end(&w);
    medley_status st = text.failed ? fail_memory(err, "the result") : MEDLEY_OK;
    if (st == MEDLEY_OK)
        printf("%s\n", text.s);
    sb_deinit(&text);
    return st;
}

static void print_line(const char *name, const double *cells, const double *errors)
{
    printf("%-20s", name);
    for (int m = 0; m < MEDLEY_METRICS; m++) {
        printf(" %11.5f", cells[m]);
        if (errors)
            printf(" +-%.5f", errors[m]);
    }
    printf("\n");
}

static void print_text(const struct outcome *o)
{
    bool exact = medley_coalition_exact(o->game);
    int width = exact ? 11 : 21;
    double cells[MEDLEY_METRICS], errors[MEDLEY_METRICS];
    printf("%-20s", "");
    for (int m = 0; m < MEDLEY_METRICS; m++)
        printf(" %*s", width, medley_metric_name((enum medley_metric)m));
    printf("\n");
    for (size_t i = 0; i < o->n; i++) {
        for (int m = 0; m < MEDLEY_METRICS; m++) {
            cells[m] = o->values[m][o->order[i]];
            errors[m] = o->errors[m][o->order[i]];
        }
        print_line(o->names[o->order[i]], cells, exact ? NULL : errors);
    }
    const struct {
        const char *name;
        uint64_t coalition;
    } ends[] = {{"(none)", 0}, {"(all)", all_of(o)}};
    for (int e = 0; e < 2; e++) {
        printf("%-20s", ends[e].name);
        for (int m = 0; m < MEDLEY_METRICS; m++)
            printf(" %*.5f%*s", 11, metric_of(o, m, ends[e].coalition), width - 11, "");
        printf("\n");
    }
}

/* ---- the game ---- */

static bool tell(void *context, size_t done, size_t total)
{
    (void)context;
    progress_step("refit coalitions", done, total, "coalitions");
    if (done == total)
        progress_end("refit coalitions");
    return true;
}

static medley_status play_and_print(const struct rank_args *a, const struct input *train,
                                    const struct input *held_out, struct players *players,
                                    medley_error *err)
{
    struct outcome o = {.names = players->names, .n = players->n};
    medley_coalition_options game = a->game;
    medley_coalition *g = NULL;
    if (players->other != UINT32_MAX) { /* the last one: in every coalition */
        for (size_t f = 0; f < train->table.n_features; f++)
            if (players->of_feature[f] == players->other)
                players->of_feature[f] = MEDLEY_NO_PLAYER;
        o.n--;
    }
    game.progress = tell;
    game.seed = a->trees.seed;
    medley_status st = medley_coalition_play(
        &train->table, &held_out->table, players->of_feature, o.n, &a->trees, &game, &g, err);
    if (st != MEDLEY_OK)
        return st;
    o.game = g;
    o.rows = train->table.n;
    o.held_out = held_out->table.n;
    for (int m = 0; m < MEDLEY_METRICS; m++)
        medley_coalition_values(g, (enum medley_metric)m, o.values[m], o.errors[m]);
    order_players(&o, a->metric);
    if (a->json)
        st = print_json(&o, err);
    else
        print_text(&o);
    medley_coalition_free(g);
    return st;
}

static int check_args(const struct rank_args *a)
{
    if (!a->tables.train.features || !a->tables.held_out.features || !a->players)
        return cli_usage(VERB, "--features, --valid-features and --players are needed");
    if (!a->tables.train.labels == !a->tables.train.label_column)
        return cli_usage(VERB, "either --labels FILE or --label NAME is needed");
    if (!a->tables.train.labels != !a->tables.held_out.labels)
        return cli_usage(VERB, "--labels and --valid-labels go together");
    if (a->tables.train.classes && !a->tables.train.label_column)
        return cli_usage(VERB, "--classes names the values of a --label column");
    return 0;
}

static int run(struct rank_args *a)
{
    struct input train = {0}, held_out = {0};
    struct players players = {0};
    medley_error err;
    int usage = check_args(a);
    if (usage)
        return usage;
    medley_status st = input_load(&a->tables.train, NULL, &train, &err);
    if (st == MEDLEY_OK)
        st = input_load(&a->tables.held_out, &train, &held_out, &err);
    if (st == MEDLEY_OK)
        st = players_parse(a->players, train.table.n_features, &players, &err);
    if (st == MEDLEY_OK) { /* a class that only one of the tables has is still a class */
        size_t k = train.table.n_classes;
        k = k > held_out.table.n_classes ? k : held_out.table.n_classes;
        train.table.n_classes = held_out.table.n_classes = k;
        st = play_and_print(a, &train, &held_out, &players, &err);
    }
    input_deinit(&train);
    input_deinit(&held_out);
    players_deinit(&players);
    return st == MEDLEY_OK ? 0 : cli_fail(&err);
}

int gbdt_rank(int argc, char **argv)
{
    struct rank_args a = {.metric = MEDLEY_METRIC_MACRO_F1};
    cli_parse(&argp, argc, argv, &a);
    return run(&a);
}
