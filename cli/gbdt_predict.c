/* gbdt_predict.c: `medley gbdt predict`: puts rows through a model. Proof:
 * tests/test_gbdt_cli.c. */
#include "cli/gbdt.h"

#include "base/error.h"
#include "base/memory.h"

#include <string.h>

#define VERB "gbdt predict"

struct predict_args {
    struct gbdt_rows rows;
    bool margins;
};

enum { OPT_MARGINS = 1000 };

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct predict_args *a = state->input;
    if (key == ARGP_KEY_INIT)
        state->child_inputs[0] = &a->rows;
    else if (key == OPT_MARGINS)
        a->margins = true;
    else if (key == ARGP_KEY_ARG)
        argp_error(state, "unexpected argument '%s'", arg);
    else
        return ARGP_ERR_UNKNOWN;
    return 0;
}

static const struct argp_option options[] = {
    {"margins", OPT_MARGINS, NULL, 0, "margins instead of probabilities", 1},
    {0},
};

static const struct argp_child children[] = {{&gbdt_rows_argp, 0, NULL, 0}, {0}};

static const struct argp argp = {
    .options = options,
    .parser = parse,
    .children = children,
    .doc =
        "Writes class probabilities of the rows of a table; for a model with one output, the "
        "probability of class 1 or the predicted value.\v"
        "Examples:\n"
        "  medley gbdt predict -m model.txt -f X.npy -o probabilities.npy\n"
        "  medley gbdt predict -m lightgbm.txt -f X.npy --margins -o margins.npy\n"
        "  medley gbdt predict -m model.txt -f stack.csv -o - | head"};

/* p_0,p_1,...; a single output is p_1 (of class 1) or value. */
static void name_columns(const medley_gbdt *model, bool margins, struct strbuf *out)
{
    enum medley_link link = medley_gbdt_link(model);
    bool chance = link == MEDLEY_LINK_SOFTMAX || link == MEDLEY_LINK_SIGMOID;
    size_t n = medley_gbdt_classes(model);
    const char *name = margins ? "margin" : chance ? "p" : "value";
    for (size_t c = 0; c < n; c++)
        sb_addf(out, "%s%s_%zu", c ? "," : "", name, n == 1 && chance ? 1 : c);
}

static medley_status predict_and_write(const struct predict_args *a, const medley_gbdt *model,
                                       const struct input *in, medley_error *err)
{
    size_t classes = medley_gbdt_classes(model), n = in->table.n;
    float *out = mem_alloc(n, classes * sizeof *out);
    struct strbuf header;
    if (!out)
        return fail_memory(err, "predictions");
    sb_init(&header);
    name_columns(model, a->margins, &header);
    medley_status st = a->margins ? medley_gbdt_margins(model, in->table.features, n, out, err)
                                  : medley_gbdt_predict(model, in->table.features, n, out, err);
    if (st == MEDLEY_OK)
        st = gbdt_write_table(a->rows.out, &header, out, n, classes, err);
    sb_deinit(&header);
    mem_free(out);
    return st;
}

static int run(const struct predict_args *a)
{
    struct input in = {0};
    medley_gbdt *model = NULL;
    medley_error err;
    if (!a->rows.model || !a->rows.in.features || !a->rows.out)
        return cli_usage(VERB, "--model, --features and --output are needed");
    int usage = gbdt_check_output(VERB, a->rows.out);
    if (usage)
        return usage;
    medley_status st = gbdt_load_rows(&a->rows, &model, &in, &err);
    if (st == MEDLEY_OK)
        st = predict_and_write(a, model, &in, &err);
    input_deinit(&in);
    medley_gbdt_free(model);
    return st == MEDLEY_OK ? 0 : cli_fail(&err);
}

int gbdt_predict(int argc, char **argv)
{
    struct predict_args a = {0};
    cli_parse(&argp, argc, argv, &a);
    return run(&a);
}
