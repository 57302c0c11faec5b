/* gbdt_convert.c: `medley gbdt convert`: a model file of one library as that of another. Proof:
 * tests/test_gbdt_cli.c. */
#include "cli/gbdt.h"

#include "medley/gbdt.h"

#include <stdio.h>
#include <string.h>

#define VERB "gbdt convert"

struct convert_args {
    const char *in, *out;
    int to; /* enum medley_model_format; -1: not said */
};

static int format_by_name(struct argp_state *state, const char *name)
{
    char known[256] = "";
    for (int i = 0; medley_gbdt_format_name((enum medley_model_format)i); i++) {
        const char *format = medley_gbdt_format_name((enum medley_model_format)i);
        if (strcmp(name, format) == 0)
            return i;
        size_t n = strlen(known);
        snprintf(known + n, sizeof known - n, "%s%s", i ? ", " : "", format);
    }
    argp_error(state, "--to: '%s' is none of %s", name, known);
    return -1;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct convert_args *a = state->input;
    if (key == 't')
        a->to = format_by_name(state, arg);
    else if (key == ARGP_KEY_ARG && state->arg_num < 2)
        *(state->arg_num ? &a->out : &a->in) = arg;
    else
        return ARGP_ERR_UNKNOWN; /* a third argument too */
    return 0;
}

static const struct argp_option options[] = {
    {"to", 't', "medley|lightgbm|xgboost-json|xgboost-ubj", 0, "the format to write", 0},
    {0},
};

static const struct argp argp = {
    .options = options,
    .parser = parse,
    .args_doc = "IN OUT",
    .doc =
        "Writes the model file IN, whose format shows by itself, in another format. Every "
        "float32 row without infinities takes the same way through every tree; margins differ "
        "by the rounding of leaf values to float32, and by XGBoost's summing in float32.\v"
        "Examples:\n"
        "  medley gbdt convert lightgbm.txt model.txt --to medley\n"
        "  medley gbdt convert model.txt model.json --to xgboost-json"};

int gbdt_convert(int argc, char **argv)
{
    struct convert_args a = {.to = -1};
    medley_gbdt *model = NULL;
    medley_error err;
    cli_parse(&argp, argc, argv, &a);
    if (!a.in || !a.out || a.to < 0)
        return cli_usage(VERB, "IN, OUT and --to are needed");
    medley_status st = medley_gbdt_load(a.in, &model, &err);
    if (st == MEDLEY_OK)
        st = medley_gbdt_save_as(model, a.out, (enum medley_model_format)a.to, &err);
    if (st == MEDLEY_OK)
        fprintf(stderr, "%s: %zu rounds, %zu features, %zu outputs\n", a.out,
                medley_gbdt_rounds(model), medley_gbdt_features(model),
                medley_gbdt_classes(model));
    medley_gbdt_free(model);
    return st == MEDLEY_OK ? 0 : cli_fail(&err);
}
