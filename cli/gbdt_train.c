/* gbdt_train.c: `medley gbdt train`: fits trees to a table. Proof: tests/test_gbdt_cli.c. */
#include "cli/gbdt.h"

#include "base/error.h"
#include "base/memory.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define VERB "gbdt train"

struct train_args {
    struct gbdt_tables tables;
    const char *out, *players, *class_weights;
    medley_gbdt_options options;
    bool json;
};

/* ---- options ---- */

enum { OPT_CLASS_WEIGHTS = 1000, OPT_PLAYERS, OPT_STOPPING, OPT_MASK, OPT_JSON };

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct train_args *a = state->input;
    if (key == ARGP_KEY_INIT) {
        state->child_inputs[0] = &a->tables;
        state->child_inputs[1] = &a->options;
    } else if (key == OPT_CLASS_WEIGHTS)
        a->class_weights = arg;
    else if (key == OPT_PLAYERS)
        a->players = arg;
    else if (key == 'o')
        a->out = arg;
    else if (key == OPT_STOPPING)
        a->options.early_stopping = (unsigned)cli_count("--early-stopping", arg, 0, 1000000);
    else if (key == OPT_MASK)
        a->options.mask_rate = cli_number("--mask-rate", arg, 0, 0.99);
    else if (key == OPT_JSON)
        a->json = true;
    else if (key == ARGP_KEY_ARG)
        argp_error(state, "unexpected argument '%s'", arg);
    else
        return ARGP_ERR_UNKNOWN;
    return 0;
}

static const struct argp_option options[] = {
    {"class-weights", OPT_CLASS_WEIGHTS, "W,W,...", 0, "weight of each class", 1},
    {"output", 'o', "FILE", 0, "model to write", 0},
    {"json", OPT_JSON, NULL, 0, "print a summary as JSON", 0},
    {NULL, 0, NULL, 0, "Stopping, masking:", 2},
    {"early-stopping", OPT_STOPPING, "N", 0, "stop after N rounds without a better log-loss",
     0},
    {"mask-rate", OPT_MASK, "X", 0, "chance that a player is made missing in a row (0)", 0},
    {"players", OPT_PLAYERS, "SPEC", 0,
     "who is masked together, as bert=0-3,sage=4-7; features left out are never masked", 0},
    {0},
};

static const struct argp_child children[] = {
    {&gbdt_tables_argp, 0, NULL, 0}, {&gbdt_trees_argp, 0, NULL, 3}, {0}};

static const struct argp argp = {
    .options = options,
    .parser = parse,
    .children = children,
    .doc =
        "Fits gradient-boosted trees to a table of features; missing values (NaN, empty "
        "fields) "
        "are normal.\v"
        "Examples:\n"
        "  medley gbdt train -f X.npy -y y.npy -o model.txt\n"
        "  medley gbdt train -f X.npy -y y.npy --valid-features V.npy --valid-labels v.npy \\\n"
        "      --rounds 2000 --early-stopping 50 -o model.txt\n"
        "  medley gbdt train -f stack.csv --label esci_label --classes E,S,C,I -o model.txt\n"
        "  medley gbdt train -f X.npy -y y.npy --players bert=0-3,sage=4-7 --mask-rate 0.1 "
        "-o model.txt"};

/* ---- training ---- */

static medley_status class_weights(const char *text, size_t n_classes, double *out,
                                   medley_error *err)
{
    struct str rest = str_of(text);
    for (size_t c = 0; c < n_classes; c++) {
        struct str word = input_take(&rest, ',');
        if (!str_to_double(word, &out[c]) || out[c] < 0)
            return fail(err, MEDLEY_EINVAL, "--class-weights: '%s' does not hold %zu weights",
                        text, n_classes);
    }
    return rest.s ? fail(err, MEDLEY_EINVAL, "--class-weights: more than %zu weights in '%s'",
                         n_classes, text)
                  : MEDLEY_OK;
}

static medley_status measure(const medley_gbdt *model, const medley_table *t, double *log_loss,
                             double *accuracy, medley_error *err)
{
    float *p = mem_alloc(t->n, t->n_classes * sizeof *p);
    if (!p)
        return fail_memory(err, "predictions");
    medley_status st = medley_gbdt_predict(model, t->features, t->n, p, err);
    double loss = 0, right = 0;
    for (size_t i = 0; st == MEDLEY_OK && i < t->n; i++) {
        const float *row = p + i * t->n_classes;
        size_t best = 0;
        for (size_t c = 1; c < t->n_classes; c++)
            best = row[c] > row[best] ? c : best;
        right += best == t->labels[i];
        loss -= log(fmax(row[t->labels[i]], 1e-30));
    }
    mem_free(p);
    *log_loss = loss / (double)t->n;
    *accuracy = right / (double)t->n;
    return st;
}

static medley_status report_training(const struct train_args *a, const medley_gbdt *model,
                                     const medley_table *train, const medley_table *valid,
                                     medley_error *err)
{
    double loss = 0, accuracy = 0;
    const char *what = valid ? "validation" : "training";
    medley_status st = measure(model, valid ? valid : train, &loss, &accuracy, err);
    if (st != MEDLEY_OK)
        return st;
    fprintf(stderr,
            "%s: %zu rounds on %zu rows, %zu features, %zu classes; %s log-loss %.5f, "
            "accuracy %.4f\n",
            a->out, medley_gbdt_rounds(model), train->n, train->n_features, train->n_classes,
            what, loss, accuracy);
    if (!a->json)
        return MEDLEY_OK;
    printf("{\"rounds\": %zu, \"rows\": %zu, \"features\": %zu, \"classes\": %zu, "
           "\"measured_on\": \"%s\", \"log_loss\": %.9g, \"accuracy\": %.9g}\n",
           medley_gbdt_rounds(model), train->n, train->n_features, train->n_classes, what, loss,
           accuracy);
    return MEDLEY_OK;
}

static medley_status name_features(medley_gbdt *model, const struct input *in,
                                   medley_error *err)
{
    if (!in->names)
        return MEDLEY_OK;
    return medley_gbdt_set_feature_names(model, (const char *const *)in->names, err);
}

static medley_status train_and_save(struct train_args *a, struct input *train,
                                    struct input *valid, medley_error *err)
{
    struct players players = {0};
    double weights[256];
    medley_gbdt *model = NULL;
    medley_gbdt_options o = a->options;
    medley_status st = MEDLEY_OK;
    /* A class that only the validation rows have is still a class. */
    size_t classes = train->table.n_classes;
    if (a->tables.held_out.features && valid->table.n_classes > classes)
        classes = valid->table.n_classes;
    train->table.n_classes = valid->table.n_classes = classes;
    if (a->class_weights) {
        st = class_weights(a->class_weights, classes, weights, err);
        o.class_weights = weights;
    }
    if (st == MEDLEY_OK && a->players) {
        st = players_parse(a->players, train->table.n_features, &players, err);
        for (size_t f = 0; st == MEDLEY_OK && f < train->table.n_features; f++)
            if (players.of_feature[f] == players.other)
                players.of_feature[f] = UINT32_MAX;
        o.player_of_feature = players.of_feature;
    }
    const medley_table *watched = a->tables.held_out.features ? &valid->table : NULL;
    if (st == MEDLEY_OK)
        st = medley_gbdt_train(&train->table, watched, &o, &model, err);
    if (st == MEDLEY_OK)
        st = name_features(model, train, err);
    if (st == MEDLEY_OK)
        st = medley_gbdt_save(model, a->out, err);
    if (st == MEDLEY_OK)
        st = report_training(a, model, &train->table, watched, err);
    medley_gbdt_free(model);
    players_deinit(&players);
    return st;
}

static int check_train_args(const struct train_args *a)
{
    if (!a->tables.train.features || !a->out)
        return cli_usage(VERB, "--features and --output are needed");
    if (!a->tables.train.labels == !a->tables.train.label_column)
        return cli_usage(VERB, "either --labels FILE or --label NAME is needed");
    if (a->tables.train.labels && !a->tables.held_out.features != !a->tables.held_out.labels)
        return cli_usage(VERB, "--valid-features and --valid-labels go together");
    if (a->tables.train.label_column && a->tables.held_out.labels)
        return cli_usage(VERB, "--valid-labels does not go with --label");
    if (a->tables.train.classes && !a->tables.train.label_column)
        return cli_usage(VERB, "--classes names the values of a --label column");
    if (a->options.early_stopping && !a->tables.held_out.features)
        return cli_usage(VERB, "--early-stopping needs --valid-features");
    if (a->players && !(a->options.mask_rate > 0))
        return cli_usage(VERB, "--players says what --mask-rate masks; give both");
    return 0;
}

static int run(struct train_args *a)
{
    struct input train = {0}, valid = {0};
    medley_error err;
    int usage = check_train_args(a);
    if (usage)
        return usage;
    medley_status st = input_load(&a->tables.train, NULL, &train, &err);
    if (st == MEDLEY_OK && a->tables.held_out.features)
        st = input_load(&a->tables.held_out, &train, &valid, &err);
    if (st == MEDLEY_OK)
        st = train_and_save(a, &train, &valid, &err);
    input_deinit(&train);
    input_deinit(&valid);
    return st == MEDLEY_OK ? 0 : cli_fail(&err);
}

int gbdt_train(int argc, char **argv)
{
    struct train_args a = {0};
    cli_parse(&argp, argc, argv, &a);
    return run(&a);
}
