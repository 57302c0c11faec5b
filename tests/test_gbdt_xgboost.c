/* test_gbdt_xgboost.c: XGBoost's JSON and UBJSON models: what is refused and by which field,
 * splits on equal values, forms of base_score, damage. Golden models are in
 * test_gbdt_golden.c. */
#include "tests/model_damage.h"

#include <float.h>

#define FORMAT (&model_format_xgboost_json)
#define MULTI GOLDEN "xgboost_multi.json"

static const struct damage damages[] = {
    {"\"learner\"", "\"lerner\"", MEDLEY_EFORMAT, "'learner' is missing"},
    {"\"name\":\"gbtree\"", "\"name\":\"gblinear\"", MEDLEY_EUNSUPPORTED, "booster 'gblinear'"},
    {"\"multi:softprob\"", "\"multi:oracle\"", MEDLEY_EUNSUPPORTED, "objective 'multi:oracle'"},
    {"\"num_class\":\"3\",\"num_feature\"", "\"num_class\":\"30\",\"num_feature\"",
     MEDLEY_EUNSUPPORTED, "30 outputs"},
    {"\"num_class\":\"3\",\"num_feature\"", "\"num_class\":\"2\",\"num_feature\"",
     MEDLEY_EFORMAT, "base_score"},
    {"\"num_class\":\"3\",\"num_feature\"", "\"num_class\":\"x\",\"num_feature\"",
     MEDLEY_EFORMAT, "'num_class' is not a whole number"},
    {"\"num_feature\":\"4\",\"num_target\"", "\"num_feature\":\"99999999\",\"num_target\"",
     MEDLEY_EUNSUPPORTED, "99999999 features"},
    {"\"num_feature\":\"4\",\"num_target\"", "\"num_feature\":\"2\",\"num_target\"",
     MEDLEY_EFORMAT, "of 2"},
    {"\"base_score\":\"[-4.0303612E-1,", "\"base_score\":\"[nan,", MEDLEY_EFORMAT,
     "base_score"},
    {"\"base_score\":\"[-4.0303612E-1,", "\"base_score\":\"[1,1,", MEDLEY_EFORMAT, "too many"},
    {"\"feature_names\":[]", "\"feature_names\":[\"a\"]", MEDLEY_EFORMAT, "1 names for 4"},
    {"\"feature_names\":[]", "\"feature_names\":[\"a\",\"b\",3,\"d\"]", MEDLEY_EFORMAT,
     "feature_names"},
    {"\"tree_info\":[0,1", "\"tree_info\":[0,3", MEDLEY_EFORMAT, "trees[1]: tree_info"},
    {"\"tree_info\":[0,1", "\"tree_info\":[0,1,1", MEDLEY_EFORMAT, "'tree_info' holds 13"},
    {"\"left_children\":[1,", "\"left_children\":[0,", MEDLEY_EFORMAT,
     "trees[0]: node 0 is the child of two nodes"},
    {"\"left_children\":[1,", "\"left_children\":[15,", MEDLEY_EFORMAT,
     "trees[0]: left_children[0] is not a node or -1"},
    {"\"left_children\":[1,", "\"left_children\":[2,", MEDLEY_EFORMAT, "child of two nodes"},
    {"\"left_children\":[1,", "\"left_children\":[-1,", MEDLEY_EFORMAT, "only a right child"},
    {"\"left_children\":[1,", "\"left_children\":[1,1,", MEDLEY_EFORMAT, "num_nodes is 15"},
    {"\"right_children\":[2,", "\"right_children\":[-1,", MEDLEY_EFORMAT, "only one child"},
    {"\"right_children\":[2,", "\"right_children\":[2.5,", MEDLEY_EFORMAT, "right_children[0]"},
    {"\"split_indices\":[0,", "\"split_indices\":[4,", MEDLEY_EFORMAT, "feature 4 of 4"},
    {"\"split_indices\":[0,", "\"split_indices\":[-1,", MEDLEY_EFORMAT, "split_indices[0]"},
    {"\"split_conditions\":[-1.0728123E0", "\"split_conditions\":[NaN", MEDLEY_EFORMAT,
     "trees[0]: split_conditions[0] is not a finite number"},
    {"\"split_conditions\":[-1.0728123E0", "\"split_conditions\":[1E39", MEDLEY_EFORMAT,
     "split_conditions[0]"},
    {"\"split_conditions\":[-1.0728123E0", "\"split_conditions\":[\"1\"", MEDLEY_EFORMAT,
     "split_conditions[0]"},
    {"\"default_left\":[0,", "\"default_left\":[2,", MEDLEY_EFORMAT, "default_left[0]"},
    {"\"default_left\":[0,", "\"default_left\":[false,", MEDLEY_OK, ""},
    {"\"split_type\":[0,", "\"split_type\":[1,", MEDLEY_EUNSUPPORTED,
     "node 0 splits by category"},
    {"\"sum_hessian\":[", "\"sum_hessian\":[1E9,", MEDLEY_EFORMAT, "'sum_hessian' holds 16"},
    {"\"sum_hessian\":[4.9186734E2", "\"sum_hessian\":[5.9186734E2", MEDLEY_EFORMAT,
     "trees[0]: node 0 has cover"},
    {"\"sum_hessian\":[4.9186734E2", "\"sum_hessian\":[-4.9186734E2", MEDLEY_EFORMAT,
     "sum_hessian[0]"},
    {"\"sum_hessian\"", "\"sum_of\"", MEDLEY_OK, ""}, /* cannot be explained */
    {"\"num_nodes\":\"15\"", "\"num_nodes\":\"2000000000\"", MEDLEY_EFORMAT, "num_nodes"},
    {"\"size_leaf_vector\":\"1\"", "\"size_leaf_vector\":\"2\"", MEDLEY_EFORMAT,
     "leaves of 2 values"},
};

/* A model of one tree: x < c. */
static medley_gbdt *stump(const char *condition, int default_left, const char *base,
                          const char *objective)
{
    char text[1200];
    medley_gbdt *m = NULL;
    medley_error err = {0};
    int n = snprintf(
        text, sizeof text,
        "{\"learner\":{\"learner_model_param\":{\"base_score\":%s,\"num_class\":\"0\","
        "\"num_feature\":\"1\"},\"objective\":{\"name\":\"%s\"},\"gradient_booster\":{"
        "\"name\":\"gbtree\",\"model\":{\"tree_info\":[0],\"trees\":[{\"left_children\":"
        "[1,-1,-1],\"right_children\":[2,-1,-1],\"split_indices\":[0,0,0],"
        "\"split_conditions\":[%s,1,2],\"default_left\":[%d,0,0],\"sum_hessian\":[3,1,2],"
        "\"tree_param\":{\"num_nodes\":\"3\"}}]}}}}",
        base, objective, condition, default_left);
    if (read_bytes(FORMAT, text, (size_t)n, &m, &err) != MEDLEY_OK)
        printf("# %s\n", err.message);
    return m;
}

static void test_thresholds(void)
{
    static const char *const conditions[] = {
        "0.1",           "0",   "-0.0", "1E-45", "-1E-45", "16777216", "3.4028235E38",
        "-3.4028235E38", "-2.5"};
    const float xs[] = {0.1f,
                        nextafterf(0.1f, 0),
                        nextafterf(0.1f, 1),
                        0,
                        -0.0f,
                        1e-45f,
                        -1e-45f,
                        16777216,
                        16777215,
                        FLT_MAX,
                        -FLT_MAX,
                        nextafterf(FLT_MAX, 0),
                        -2.5f,
                        NAN};
    for (size_t i = 0; i < sizeof conditions / sizeof conditions[0]; i++) {
        float c = strtof(conditions[i], NULL);
        int wrong = 0;
        for (int left = 0; left < 2; left++) {
            medley_gbdt *m = stump(conditions[i], left, "\"0E0\"", "reg:squarederror");
            for (size_t j = 0; m && j < sizeof xs / sizeof xs[0]; j++) {
                float margin = 0;
                medley_gbdt_margins(m, &xs[j], 1, &margin, NULL);
                wrong += margin != (isnan(xs[j]) ? 2 - left : xs[j] < c ? 1 : 2);
            }
            wrong += !m;
            medley_gbdt_free(m);
        }
        ok(wrong == 0, "x < %s: %d go another way", conditions[i], wrong);
    }
}

static void test_base_score(void)
{
    static const struct {
        const char *text, *objective;
        double base;
    } bases[] = {
        {"\"5E-1\"", "reg:squarederror", 0.5},
        {"\"[5E-1]\"", "reg:squarederror", 0.5},
        {"0.5", "reg:squarederror", 0.5},
        {"\"5E-1\"", "binary:logistic", 0},
        {"\"[2E-1]\"", "binary:logistic", -1.38629436111989},
        {"\"[2E-1]\"", "binary:logitraw", 0.2},
        {"\"2E0\"", "count:poisson", 0.693147180559945},
    };
    const float x = 5;
    for (size_t i = 0; i < sizeof bases / sizeof bases[0]; i++) {
        medley_gbdt *m = stump("1", 0, bases[i].text, bases[i].objective);
        float margin = NAN;
        if (m)
            medley_gbdt_margins(m, &x, 1, &margin, NULL);
        ok(fabs((double)margin - 2 - bases[i].base) < 1e-6, "base_score %s of %s: %g",
           bases[i].text, bases[i].objective, (double)margin - 2);
        medley_gbdt_free(m);
    }
    ok(!stump("1", 0, "\"0E0\"", "binary:logistic"), "a probability of 0 has no margin");
    ok(!stump("1", 0, "\"[1,2]\"", "reg:squarederror"), "two bases for one output");
    ok(!stump("1", 0, "\"\"", "reg:squarederror"), "no base");
}

/* Bytes that promise more than there is. */
static void test_ubj(void)
{
    static const struct {
        const char *bytes;
        size_t n;
        const char *message;
    } bad[] = {
        {"{", 1, "truncated"},
        {"{L\0\0\0\0\0\0\0\7learner", 17, "truncated"},
        {"{L\0\0\0\0\0\0\0\xff"
         "a",
         11, "a count is larger than the file"},
        {"{L\xff\xff\xff\xff\xff\xff\xff\xff", 10, "a count is larger than the file"},
        {"{i\1a[$d#l\x7f\xff\xff\xff", 13, "a count is larger than the file"},
        {"{i\1a[$L#i\3aaaa", 15, "an array is larger than the file"},
        {"{i\1a[$S#i\1i\1b}", 15, "an array's type is not a number"},
        {"{i\1a[$d\1", 8, "an array has a type but no count"},
        {"{i\1ax", 5, "an unknown type"},
        {"{i\1aZ}}", 7, "bytes after the end"},
        {"{i\1aS i\2b\0}", 11, "a count is not"},
        {"{i\1aSi\2b\0}", 10, "zero byte"},
        {"{$i#i\1", 6, "an object has a type"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        medley_gbdt *m = NULL;
        medley_error err = {0};
        medley_status st =
            read_bytes(&model_format_xgboost_ubj, bad[i].bytes, bad[i].n, &m, &err);
        ok(st == MEDLEY_EFORMAT && strstr(err.message, bad[i].message), "UBJSON %zu: %s", i,
           err.message);
    }
    char deep[300];
    medley_gbdt *m = NULL;
    medley_error err = {0};
    memset(deep, '[', sizeof deep);
    memcpy(deep, "{i\1a", 4);
    ok(read_bytes(&model_format_xgboost_ubj, deep, sizeof deep, &m, &err) == MEDLEY_EFORMAT &&
           strstr(err.message, "nested too deeply"),
       "%s", err.message);
}

int main(void)
{
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++)
        check_damage(FORMAT, MULTI, &damages[i]);
    test_thresholds();
    test_base_score();
    test_ubj();
    check_hostile(FORMAT, GOLDEN "xgboost_21_vector.json", SIZE_MAX);
    check_hostile(&model_format_xgboost_ubj, GOLDEN "xgboost_binary.ubj", SIZE_MAX);
    return tap_done();
}
