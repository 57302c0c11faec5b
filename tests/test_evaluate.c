/* test_evaluate.c: stacking rows and the numbers of evaluation.json, against counts made here.
 */
#include "ensemble/stack.h"
#include "tests/ensemble_shop.h"

static const json *named(const json *list, const char *name)
{
    for (const json *v = json_first(list); v; v = json_next(v)) {
        const char *text = "";
        json_as_text(json_get(v, "name"), &text);
        if (strcmp(text, name) == 0)
            return v;
    }
    return NULL;
}

static void test_numbers(const char *folder)
{
    medley_error err;
    json *e = NULL;
    double accuracy = 0;
    int64_t total = 0;
    int n = 0, right = 0;
    for (int i = 0; i < SHOP_PAIRS; i++) {
        n += shop_is_test(i);
        right += shop_is_test(i) && !shop_errs(i);
    }
    if (!ok(json_load(at(folder, "ensemble/evaluation.json"), &e, &err) == MEDLEY_OK, "reads"))
        return;
    ok(json_as_i64(json_get(e, "n"), &total) && total == n, "only the test split");
    const json *good = named(json_get(e, "models"), "good");
    ok(json_as_double(json_get(good, "accuracy"), &accuracy) &&
           fabs(accuracy - (double)right / n) < 1e-6,
       "accuracy of a model");
    int64_t cells = 0;
    for (const json *row = json_first(json_get(good, "confusion")); row; row = json_next(row))
        for (const json *cell = json_first(row); cell; cell = json_next(cell)) {
            int64_t count = 0;
            json_as_i64(cell, &count);
            cells += count;
        }
    ok(cells == n, "the confusion matrix counts each pair once");
    const json *full = named(json_get(e, "ensembles"), "full");
    ok(json_as_double(json_get(full, "accuracy"), &accuracy) &&
           accuracy > (double)right / n - 0.1,
       "noise and gaps do not ruin the ensemble");
    ok(json_count(json_get(e, "paired")) == 3 + 4, "each ensemble against what is before it");
    json_free(e);
}

static void test_rows(const char *folder)
{
    struct workspace w;
    struct stack s;
    medley_error err;
    int wrong = 0;
    if (!ok(workspace_open(folder, &w, &err) == MEDLEY_OK &&
                workspace_open_data(&w, &err) == MEDLEY_OK,
            "opens"))
        return;
    if (ok(stack_open(&w, SPLIT_TRAIN, &s, &err) == MEDLEY_OK, "training rows")) {
        for (size_t i = 0; i < s.n; i++) {
            wrong += w.data.example_split[s.row[i]] != SPLIT_TRAIN;
            wrong += i && s.query[i] < s.query[i - 1];
            wrong += i && s.query[i] == s.query[i - 1] && s.fold[i] != s.fold[i - 1];
            wrong += s.context[i * CONTEXT_FEATURES + CONTEXT_FEATURES - 1] != SHOP_LIST;
        }
        ok(wrong == 0, "lists stand together, in one fold, with their size");
        ok(stack_all(&s) == 7, "mask of three models");
        stack_close(&s);
    }
    unlink(at(folder, "predictions/half/probabilities.npy"));
    ok(stack_open(&w, SPLIT_TRAIN, &s, &err) == MEDLEY_ESTALE &&
           strstr(err.message, "'half'") != NULL,
       "missing predictions are named");
    workspace_close(&w);
}

int main(void)
{
    char folder[64];
    medley_error err;
    snprintf(folder, sizeof folder, "%s", tap_folder());
    ok(shop_run(folder, "", &err) == MEDLEY_OK, "all stages run");
    test_numbers(folder);
    test_rows(folder);
    return tap_done();
}
