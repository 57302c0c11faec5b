/* gbdt_explain.c: `medley gbdt explain`: exact Shapley values of rows. Proof:
 * tests/test_gbdt_cli.c. */
#include "cli/gbdt.h"

#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "medley/shapley.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define VERB "gbdt explain"

struct explain_args {
    struct gbdt_rows rows;
    const char *players;
    bool by_player, interactions, json;
};

enum { OPT_BY = 1000, OPT_PLAYERS, OPT_INTERACTIONS, OPT_JSON };

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct explain_args *a = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &a->rows;
        return 0;
    case OPT_BY:
        if (strcmp(arg, "feature") != 0 && strcmp(arg, "player") != 0)
            argp_error(state, "--by: '%s' is neither 'feature' nor 'player'", arg);
        a->by_player = strcmp(arg, "player") == 0;
        return 0;
    case OPT_PLAYERS:
        a->players = arg;
        return 0;
    case OPT_INTERACTIONS:
        a->interactions = true;
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
    {"by", OPT_BY, "feature|player", 0, "whose values (feature)", 1},
    {"players", OPT_PLAYERS, "SPEC", 0,
     "features of each player, as bert=0-3,sage=4-7+9; features left out are the player "
     "'other'",
     0},
    {"interactions", OPT_INTERACTIONS, NULL, 0,
     "values of pairs: the table has a column for each pair and class; pairs of a player with "
     "itself hold what is left of its value",
     0},
    {"json", OPT_JSON, NULL, 0, "print mean |value| per player and class as JSON", 0},
    {0},
};

static const struct argp_child children[] = {{&gbdt_rows_argp, 0, NULL, 0}, {0}};

static const struct argp argp = {
    .options = options,
    .parser = parse,
    .children = children,
    .doc =
        "Writes exact Shapley values per feature, or per player (a group of features, such as "
        "the probabilities of one base model), of every class's margin. A player's value is "
        "not the sum of its features' values. The table has a column for each player and "
        "class.\v"
        "Examples:\n"
        "  medley gbdt explain -m model.txt -f X.npy -o values.npy\n"
        "  medley gbdt explain -m model.txt -f X.npy --by player --players "
        "bert=0-3,sage=4-7 --json"};

/* What was computed: values[rows, terms, classes]; a term is a player, or with interactions a
 * pair (a, b) at a * players + b. */
struct explained {
    const struct players *players;
    bool pairs;
    size_t rows, classes, terms;
    float *values;
};

static double mean_abs(const struct explained *x, size_t term, size_t c)
{
    double sum = 0;
    for (size_t i = 0; i < x->rows; i++)
        sum += fabs((double)x->values[(i * x->terms + term) * x->classes + c]);
    return sum / (double)x->rows;
}

static void print_term(struct json_writer *w, const struct explained *x, size_t term)
{
    double all = 0;
    jw_key(w, "mean_abs");
    jw_array(w);
    for (size_t c = 0; c < x->classes; c++) {
        double mean = mean_abs(x, term, c);
        jw_double(w, mean);
        all += mean;
    }
    jw_array_end(w);
    jw_key(w, "mean_abs_total");
    jw_double(w, all);
}

static void print_players(struct json_writer *w, const struct explained *x)
{
    jw_key(w, "players");
    jw_array(w);
    for (size_t p = 0; p < x->players->n; p++) {
        jw_object(w);
        jw_key(w, "name");
        jw_textz(w, x->players->names[p]);
        print_term(w, x, p);
        jw_object_end(w);
    }
    jw_array_end(w);
}

/* Each pair once; half its interaction stands on either side of the diagonal. */
static void print_pairs(struct json_writer *w, const struct explained *x)
{
    size_t n = x->players->n;
    jw_key(w, "pairs");
    jw_array(w);
    for (size_t a = 0; a < n; a++)
        for (size_t b = a; b < n; b++) {
            jw_object(w);
            jw_key(w, "names");
            jw_array(w);
            jw_textz(w, x->players->names[a]);
            jw_textz(w, x->players->names[b]);
            jw_array_end(w);
            print_term(w, x, a * n + b);
            jw_object_end(w);
        }
    jw_array_end(w);
}

static void print_summary(const medley_explainer *e, const struct explained *x)
{
    struct strbuf text;
    struct json_writer w;
    double base[256];
    sb_init(&text);
    jw_init(&w, &text, true);
    jw_object(&w);
    jw_key(&w, "rows");
    jw_i64(&w, (int64_t)x->rows);
    jw_key(&w, "base");
    jw_array(&w);
    medley_explainer_base(e, base);
    for (size_t c = 0; c < x->classes; c++)
        jw_double(&w, base[c]);
    jw_array_end(&w);
    if (!x->pairs)
        print_players(&w, x);
    else
        print_pairs(&w, x);
    jw_object_end(&w);
    printf("%s\n", text.s ? text.s : "");
    sb_deinit(&text);
}

static medley_status write_values(const struct explain_args *a, const struct explained *x,
                                  medley_error *err)
{
    struct strbuf header, pair;
    size_t n = x->players->n;
    sb_init(&header);
    sb_init(&pair);
    for (size_t t = 0; t < x->terms; t++) {
        const char *const *names = (const char *const *)x->players->names;
        sb_clear(&pair);
        if (a->interactions)
            sb_addf(&pair, "%s*%s", names[t / n], names[t % n]);
        else
            sb_addz(&pair, names[t]);
        for (size_t c = 0; c < x->classes; c++) {
            sb_addz(&header, t + c ? "," : "");
            input_quote(&header, pair.s ? pair.s : "", c);
        }
    }
    medley_status st =
        gbdt_write_table(a->rows.out, &header, x->values, x->rows, x->terms * x->classes, err);
    sb_deinit(&header);
    sb_deinit(&pair);
    return st;
}

static medley_status compute(const struct explain_args *a, const medley_explainer *e,
                             const float *features, struct explained *x, medley_error *err)
{
    size_t n = x->players->n;
    x->terms = a->interactions ? n * n : n;
    x->values = mem_alloc(x->rows, x->terms * x->classes * sizeof *x->values);
    if (!x->values)
        return fail_memory(err, "Shapley values");
    return a->interactions ? medley_explainer_interactions(e, features, x->rows, x->values, err)
                           : medley_explainer_values(e, features, x->rows, x->values, err);
}

static medley_status explain_and_write(const struct explain_args *a, const medley_gbdt *model,
                                       const struct input *in, medley_error *err)
{
    struct players players = {0};
    struct explained x = {.players = &players,
                          .pairs = a->interactions,
                          .rows = in->table.n,
                          .classes = medley_gbdt_classes(model)};
    medley_explainer *e = NULL;
    medley_status st =
        a->by_player ? players_parse(a->players, medley_gbdt_features(model), &players, err)
                     : players_of_features(model, &players, err);
    if (st == MEDLEY_OK)
        st = medley_explainer_new(model, players.of_feature, players.n, &e, err);
    if (st == MEDLEY_OK)
        st = compute(a, e, in->table.features, &x, err);
    if (st == MEDLEY_OK && a->rows.out)
        st = write_values(a, &x, err);
    if (st == MEDLEY_OK && a->json)
        print_summary(e, &x);
    mem_free(x.values);
    medley_explainer_free(e);
    players_deinit(&players);
    return st;
}

static int check(const struct explain_args *a)
{
    const char *out = a->rows.out;
    if (!a->rows.model || !a->rows.in.features || (!out && !a->json))
        return cli_usage(VERB, "--model, --features and --output or --json are needed");
    if (a->by_player != (a->players != NULL))
        return cli_usage(VERB, "--by player and --players go together");
    if (out && a->json && strcmp(out, "-") == 0)
        return cli_usage(VERB, "--json and --output - both use standard output");
    return gbdt_check_output(VERB, out);
}

int gbdt_explain(int argc, char **argv)
{
    struct explain_args a = {0};
    struct input in = {0};
    medley_gbdt *model = NULL;
    medley_error err;
    cli_parse(&argp, argc, argv, &a);
    int usage = check(&a);
    if (usage)
        return usage;
    medley_status st = gbdt_load_rows(&a.rows, &model, &in, &err);
    if (st == MEDLEY_OK)
        st = explain_and_write(&a, model, &in, &err);
    input_deinit(&in);
    medley_gbdt_free(model);
    return st == MEDLEY_OK ? 0 : cli_fail(&err);
}
