/* gbdt.c: `medley gbdt`: the tree engine on plain tables, without a workspace. Reading tables
 * and players is gbdt_input.c, what the sub-verbs share is gbdt_rows.c. Proof:
 * tests/test_gbdt_cli.c. */
#include "cli/gbdt.h"

static const struct verb sub_verbs[] = {
    {"train", "fit boosted trees to a table", gbdt_train},
    {"predict", "probabilities or margins of rows", gbdt_predict},
    {"explain", "exact Shapley values of rows", gbdt_explain},
    {"rank", "what groups of features are worth, by refitting", gbdt_rank},
    {"convert", "from and to LightGBM and XGBoost", gbdt_convert},
    {NULL, NULL, NULL},
};

int verb_gbdt(int argc, char **argv)
{
    return cli_sub_verbs("gbdt",
                         "Gradient-boosted trees on plain tables, and what drives them.",
                         sub_verbs, argc, argv);
}
