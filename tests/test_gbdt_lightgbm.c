/* test_gbdt_lightgbm.c: LightGBM's text models: thresholds as floats, what is refused and by
 * which line, damage. Golden models are in test_gbdt_golden.c. */
#include "tests/model_damage.h"

#include <float.h>

#define FORMAT (&model_format_lightgbm)
#define BINARY GOLDEN "lightgbm_binary.txt"

static const struct damage damages[] = {
    {"version=v4", "version=v2", MEDLEY_EUNSUPPORTED, "version 'v2'"},
    {"version=v4\n", "", MEDLEY_EFORMAT, "'version=' is missing"},
    {"num_class=1\n", "num_class=1\nnum_class=1\n", MEDLEY_EFORMAT, ":4: num_class: again"},
    {"num_tree_per_iteration=1", "num_tree_per_iteration=0", MEDLEY_EFORMAT, "from 1"},
    {"num_tree_per_iteration=1", "num_tree_per_iteration=17", MEDLEY_EUNSUPPORTED,
     "17 outputs"},
    {"num_tree_per_iteration=1", "num_tree_per_iteration=3", MEDLEY_EFORMAT, "multiple of 3"},
    {"max_feature_idx=3", "max_feature_idx=99999999", MEDLEY_EFORMAT, "max_feature_idx"},
    {"max_feature_idx=3", "max_feature_idx=2", MEDLEY_EFORMAT, "feature_names: more than 3"},
    {"objective=binary", "objective=oracle", MEDLEY_EUNSUPPORTED, "objective 'oracle'"},
    {"objective=binary", "objective=multiclass", MEDLEY_EFORMAT, "multiclass with one class"},
    {"sigmoid:1", "sigmoid:-1", MEDLEY_EFORMAT, "sigmoid:-1"},
    {"objective=binary sigmoid:1", "objective=regression sqrt", MEDLEY_EUNSUPPORTED, "sqrt"},
    {"Column_1 ", "", MEDLEY_EFORMAT, "name 3 of 4 is missing"},
    {"tree_sizes=746 ", "tree_sizes=", MEDLEY_EFORMAT, "tells of 3 trees, the file has 4"},
    {"Tree=0", "Tree=1", MEDLEY_EFORMAT, ":12: Tree: '1'"},
    {"num_leaves=6", "num_leaves=5", MEDLEY_EFORMAT, "more numbers"},
    {"num_leaves=6", "num_leaves=7", MEDLEY_EFORMAT, "split_feature"},
    {"num_leaves=6", "num_leaves=0", MEDLEY_EFORMAT, ":13: num_leaves"},
    {"num_leaves=6", "num_leaves=70000", MEDLEY_EUNSUPPORTED, "70000 leaves (at most 65535)"},
    {"num_leaves=6", "num_leaves=2000000000", MEDLEY_EUNSUPPORTED, "leaves"},
    {"num_cat=0", "num_cat=1", MEDLEY_EUNSUPPORTED, "splits by category"},
    {"is_linear=0", "is_linear=1", MEDLEY_EUNSUPPORTED, "linear leaves"},
    {"split_feature=0 2", "split_feature=0 4", MEDLEY_EFORMAT, ":15: split_feature: '4'"},
    {"split_feature=0", "split_feature=-1", MEDLEY_EFORMAT, "split_feature"},
    {"threshold=1.0000000180025095e-35", "threshold=nan", MEDLEY_EFORMAT, ":17: threshold"},
    {"threshold=1.0000000180025095e-35 ", "threshold=", MEDLEY_EFORMAT, "threshold"},
    {"decision_type=10", "decision_type=11", MEDLEY_EUNSUPPORTED, "node 0 splits by category"},
    {"decision_type=10", "decision_type=12", MEDLEY_EFORMAT, "the unknown 12"},
    {"decision_type=10", "decision_type=-1", MEDLEY_EFORMAT, "decision_type"},
    {"left_child=1", "left_child=0", MEDLEY_EFORMAT, "earlier node 0"},
    {"left_child=1", "left_child=3", MEDLEY_EFORMAT, "node 3 is the child of two nodes"},
    {"left_child=1", "left_child=5", MEDLEY_EFORMAT, ":19: left_child: '5'"},
    {"left_child=1", "left_child=-7", MEDLEY_EFORMAT, ":19: left_child: '-7'"},
    {"right_child=-2", "right_child=-1", MEDLEY_EFORMAT, "leaf 0 is the child of two"},
    {"leaf_value=-0.2", "leaf_value=inf -0.2", MEDLEY_EFORMAT, ":21: leaf_value"},
    {"leaf_value=-0.2", "leaf_value=1e39 -0.2", MEDLEY_EFORMAT, "finite"},
    {"leaf_count=527", "leaf_count=528", MEDLEY_EFORMAT, "has cover"},
    {"leaf_count=527", "leaf_count=-527", MEDLEY_EFORMAT, "leaf_count"},
    {"internal_count=1500", "internal_count=1501", MEDLEY_EFORMAT, "node 0 has cover 1501"},
    {"left_child=", "left_childs=", MEDLEY_EFORMAT, "'left_child=' is missing"},
    {"end of trees", "end of tree", MEDLEY_EFORMAT, "truncated"},
    /* what may be absent or more */
    {"num_cat=0\n", "", MEDLEY_OK, ""},
    {"is_linear=0\n", "is_linear=0\nnews=1 2 3\n", MEDLEY_OK, ""},
    {"objective=binary sigmoid:1\n", "", MEDLEY_OK, ""},
    {"parameters:", "parameters: none", MEDLEY_OK, ""},
};

/* One split at `threshold`; where x goes, as LightGBM says. */
static bool goes_left(const char *threshold, int decision, float x)
{
    char text[600];
    medley_gbdt *m = NULL;
    medley_error err = {0};
    float margin = NAN;
    int n = snprintf(text, sizeof text,
                     "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\n"
                     "max_feature_idx=0\nobjective=regression\n\nTree=0\nnum_leaves=2\n"
                     "split_feature=0\nthreshold=%s\ndecision_type=%d\nleft_child=-1\n"
                     "right_child=-2\nleaf_value=1 2\nleaf_count=3 4\ninternal_count=7\n\n"
                     "end of trees\n",
                     threshold, decision);
    medley_status st = read_bytes(FORMAT, text, (size_t)n, &m, &err);
    if (st != MEDLEY_OK) {
        ok(0, "%s", err.message);
        return false;
    }
    medley_gbdt_margins(m, &x, 1, &margin, NULL);
    medley_gbdt_free(m);
    return margin == 1;
}

/* LightGBM's own rule, in double (tree.h, NumericalDecision): tiny numbers are read as 0. */
static bool lightgbm_goes_left(double t, int decision, float x)
{
    double v = fabs((double)x) <= (double)1e-35f ? 0 : (double)x;
    int missing = decision >> 2;
    bool default_left = decision & 2;
    if (isnan(v) && missing != 2)
        v = 0;
    if ((missing == 1 && v == 0) || (missing == 2 && isnan(v)))
        return default_left;
    return v <= t;
}

static void test_thresholds(void)
{
    static const char *const thresholds[] = {"0.1",
                                             "0.10000000149011612",
                                             "0.10000000000000001",
                                             "0.099999999999999992",
                                             "-0.10000000149011612",
                                             "16777217",
                                             "1e-35",
                                             "1.0000000180025095e-35",
                                             "-1.0000000180025095e-35",
                                             "-5e-36",
                                             "0",
                                             "-0",
                                             "1e-30",
                                             "-1e-30",
                                             "1e300",
                                             "-1e300",
                                             "inf",
                                             "3.4028234663852886e+38"};
    const float xs[] = {0.1f,
                        nextafterf(0.1f, 0),
                        nextafterf(0.1f, 1),
                        -0.1f,
                        nextafterf(-0.1f, 0),
                        nextafterf(-0.1f, -1),
                        16777216,
                        16777218,
                        0,
                        -0.0f,
                        1e-35f,
                        -1e-35f,
                        1.1e-35f,
                        -1.1e-35f,
                        1e-36f,
                        -1e-36f,
                        1e-30f,
                        -1e-30f,
                        FLT_MAX,
                        -FLT_MAX,
                        NAN};
    for (size_t i = 0; i < sizeof thresholds / sizeof thresholds[0]; i++) {
        double t = strtod(thresholds[i], NULL);
        int wrong = 0, asked = 0;
        for (int decision = 0; decision < 12; decision += 2)
            for (size_t j = 0; j < sizeof xs / sizeof xs[0]; j++) {
                /* Zeros out of the middle of a side are refused, test_zero_missing. */
                bool split = decision == 6 ? t < -1e-35f : decision == 4 && t > 1e-35f;
                if (split)
                    continue;
                asked++;
                wrong += goes_left(thresholds[i], decision, xs[j]) !=
                         lightgbm_goes_left(t, decision, xs[j]);
            }
        ok(wrong == 0 && asked > 80, "threshold %s: %d of %d go another way", thresholds[i],
           wrong, asked);
    }
}

static void test_windows_lines(void)
{
    char *data = NULL;
    size_t n = 0;
    struct strbuf b;
    medley_gbdt *m = NULL;
    medley_error err = {0};
    file_read(BINARY, 1 << 20, &data, &n, NULL);
    sb_init(&b);
    for (size_t i = 0; i < n; i++) {
        if (data[i] == '\n')
            sb_addc(&b, '\r');
        sb_addc(&b, data[i]);
    }
    ok(read_bytes(FORMAT, b.s, b.n, &m, &err) == MEDLEY_OK, "CR LF lines are read %s",
       err.message);
    medley_gbdt_free(m);
    sb_deinit(&b);
    mem_free(data);
}

int main(void)
{
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++)
        check_damage(FORMAT, BINARY, &damages[i]);
    test_thresholds();
    test_windows_lines();
    char *data = NULL;
    size_t n = 0;
    file_read(BINARY, 1 << 20, &data, &n, NULL);
    const char *end = data ? strstr(data, "end of trees") : NULL;
    check_hostile(FORMAT, BINARY, end ? (size_t)(end - data) : 0);
    mem_free(data);
    return tap_done();
}
