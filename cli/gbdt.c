/* gbdt.c: `medley gbdt`: the tree engine on plain tables, without a workspace. Reading tables
 * and players is gbdt_input.c, what the sub-verbs share is gbdt_rows.c. Proof:
 * tests/test_gbdt_cli.c. */
#include "cli/gbdt.h"

#include <stdio.h>
#include <string.h>

static const struct verb sub_verbs[] = {
    {"train", "fit boosted trees to a table", gbdt_train},
    {"predict", "probabilities or margins of rows", gbdt_predict},
    {"explain", "exact Shapley values of rows", gbdt_explain},
    {"rank", "what groups of features are worth, by refitting", gbdt_rank},
    {"convert", "from and to LightGBM and XGBoost", gbdt_convert},
    {NULL, NULL, NULL},
};

static void print_help(FILE *out)
{
    fprintf(out, "Usage: medley gbdt SUBVERB [OPTION...]\n"
                 "Gradient-boosted trees on plain tables, and what drives them.\n\n");
    for (const struct verb *v = sub_verbs; v->name; v++)
        fprintf(out, "  %-10s %s\n", v->name, v->summary);
    fprintf(out, "\nEach of them:  medley gbdt SUBVERB --help\n");
}

int verb_gbdt(int argc, char **argv)
{
    static char name[64];
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-?") == 0) {
        print_help(argc < 2 ? stderr : stdout);
        return argc < 2 ? 2 : 0;
    }
    char expected[256] = "";
    for (const struct verb *v = sub_verbs; v->name; v++) {
        if (strcmp(argv[1], v->name) == 0) {
            snprintf(name, sizeof name, "medley gbdt %s", v->name);
            argv[1] = name;
            return v->run(argc - 1, argv + 1);
        }
        size_t n = strlen(expected);
        snprintf(expected + n, sizeof expected - n, "%s%s",
                 v == sub_verbs ? ""
                 : v[1].name    ? ", "
                                : " or ",
                 v->name);
    }
    return cli_usage("gbdt", "unknown sub-verb '%s' (expected %s)", argv[1], expected);
}
