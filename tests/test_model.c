/* test_model.c: models plugged into medley.yaml and taken away, line by line; and the verdict
 * on a new one. */
#include "base/memory.h"
#include "ensemble/decide.h"
#include "ensemble/model_edit.h"
#include "ensemble/verdict.h"
#include "tests/ensemble_shop.h"

static char *yaml_of(const char *folder)
{
    char *text = NULL;
    size_t n = 0;
    medley_error err;
    return file_read(at(folder, "medley.yaml"), 1 << 20, &text, &n, &err) ? NULL : text;
}

static void test_edit(const char *folder)
{
    static const char yaml[] = "# a shop\n"
                               "data: {examples: examples.csv, products: products.csv}\n"
                               "models:\n"
                               "  # the first\n"
                               "  - name: good\n"
                               "    kind: table\n"
                               "    predictions: good.csv # here\n"
                               "\n"
                               "  # the second\n"
                               "  - {name: noise, kind: table, predictions: noise.csv}\n"
                               "\n"
                               "# what it may cost\n"
                               "budget:\n"
                               "  top: 2\n";
    medley_error err = {0};
    put(folder, "medley.yaml", yaml);
    ok(model_add(folder, STR("name: half\nkind: table\n\n# c\npredictions: half.csv\n"),
                 &err) == MEDLEY_OK,
       "adds: %s", err.message);
    char *text = yaml_of(folder);
    ok(text && strstr(text, "noise.csv}\n"
                            "  - name: half\n"
                            "    kind: table\n"
                            "    predictions: half.csv\n"
                            "\n# what it may cost\nbudget:\n"),
       "after the last model, as the others are written");
    mem_free(text);
    ok(model_remove(folder, "half", &err) == MEDLEY_OK, "removes");
    text = yaml_of(folder);
    is_text(text, yaml, "and all is as it was");
    mem_free(text);
    ok(model_remove(folder, "good", &err) == MEDLEY_OK, "removes the first");
    text = yaml_of(folder);
    ok(text && strstr(text, "  # the first\n\n  # the second\n  - {name: noise"),
       "comments stay");
    mem_free(text);
    ok(model_remove(folder, "noise", &err) == MEDLEY_EINVAL, "not the last: %s", err.message);
    ok(model_remove(folder, "nobody", &err) == MEDLEY_ENOTFOUND, "nobody: %s", err.message);
    ok(model_add(folder, STR("name: noise\nkind: table\npredictions: x.csv\n"), &err) ==
           MEDLEY_EFORMAT,
       "twice: %s", err.message);
    ok(model_add(folder, STR("kind: table\n"), &err) == MEDLEY_EFORMAT, "no name: %s",
       err.message);
    ok(model_add(folder, STR("\n# nothing\n"), &err) == MEDLEY_EINVAL, "nothing: %s",
       err.message);
    ok(model_pin(folder, "noise", true, &err) == MEDLEY_OK, "pins");
    text = yaml_of(folder);
    ok(text && strstr(text, "budget:\n  pin: [noise]\n  top: 2\n"), "into the budget");
    mem_free(text);
    ok(model_pin(folder, "noise", false, &err) == MEDLEY_OK, "unpins");
    text = yaml_of(folder);
    ok(text && strstr(text, "budget:\n  pin: []\n  top: 2\n"), "out of it");
    mem_free(text);
    ok(model_pin(folder, "nobody", true, &err) == MEDLEY_ENOTFOUND, "nobody: %s", err.message);

    put(folder, "medley.yaml",
        "data: {examples: examples.csv, products: products.csv}\n"
        "models: [{name: good, kind: table, predictions: good.csv}, {name: noise, kind: table, "
        "predictions: x}]");
    ok(model_add(folder, STR("name: half\nkind: table\npredictions: half.csv\n"), &err) ==
           MEDLEY_EUNSUPPORTED,
       "all in one line: %s", err.message);
    ok(model_remove(folder, "noise", &err) == MEDLEY_EUNSUPPORTED, "also when removing");
    ok(model_pin(folder, "good", true, &err) == MEDLEY_OK, "a budget where there was none: %s",
       err.message);
    text = yaml_of(folder);
    ok(text && strstr(text, "\nbudget:\n  pin: [good]\n"), "at the end");
    mem_free(text);
}

static double number(const json *v, const char *key)
{
    double d = NAN;
    json_as_double(json_get(v, key), &d);
    return d;
}

/* `good` comes to noise and half: it is worth most, and half is no longer needed. */
static void test_verdict(const char *folder)
{
    medley_error err = {0};
    struct workspace w;
    json *v = NULL;
    if (!ok(shop_run(folder, "", &err) == MEDLEY_OK &&
                workspace_open(folder, &w, &err) == MEDLEY_OK &&
                workspace_open_data(&w, &err) == MEDLEY_OK,
            "all stages run: %s", err.message))
        return;
    ok(decide_verdict(&w, 0, &err) == MEDLEY_OK, "judges: %s", err.message);
    if (ok(json_load(at(folder, "ensemble/verdict-good.json"), &v, &err) == MEDLEY_OK,
           "reads")) {
        bool redundant = false;
        const json *gain = json_get(json_get(v, "gain"), "macro_f1");
        ok(number(v, "place") == 1 && number(v, "coverage") == 1, "first, of all pairs");
        ok(number(gain, "low") > 0 && number(gain, "p_value") < 0.05, "the ensemble gains");
        for (const json *o = json_first(json_get(v, "others")); o; o = json_next(o)) {
            const char *name = "";
            bool is = false;
            json_as_text(json_get(o, "name"), &name);
            json_as_bool(json_get(o, "made_redundant"), &is);
            redundant |= is && strcmp(name, "half") == 0;
        }
        ok(redundant, "half is made redundant");
        ok(number(json_get(v, "best_with"), "macro_f1") >
               number(json_get(v, "best_without"), "macro_f1") + 0.1,
           "the best subset is better with it");
        json_free(v);
        v = NULL;
    }
    ok(decide_verdict(&w, 2, &err) == MEDLEY_OK &&
           json_load(at(folder, "ensemble/verdict-half.json"), &v, &err) == MEDLEY_OK,
       "half");
    ok(fabs(number(v, "coverage") - 0.5) < 0.05 && number(v, "place") == 2,
       "answers half of the pairs and is second");
    json_free(v);
    workspace_close(&w);
}

/* The deciding stages with an allocation that fails, now early, now late: a status, and under
 * the sanitizers neither crash nor leak. */
static medley_status decide(struct workspace *w, int which, medley_error *err)
{
    struct rank_options rank = {.players = PLAYERS_MODEL, .seeds = 1};
    struct cascade_options cascade = {.loss = 0.01};
    switch (which) {
    case 0:
        return decide_rank(w, &rank, err);
    case 1:
        return decide_verdict(w, 0, err);
    case 2:
        return decide_cascade(w, &cascade, 7, err);
    case 3:
        return decide_calibrate(w, err);
    default:
        return decide_select(w, err);
    }
}

static void test_memory(const char *folder)
{
    static const char *const names[] = {"rank", "verdict", "cascade", "calibrate", "select"};
    medley_error err = {0};
    struct workspace w;
    if (!ok(workspace_open(folder, &w, &err) == MEDLEY_OK &&
                workspace_open_data(&w, &err) == MEDLEY_OK,
            "opens"))
        return;
    for (int which = 0; which < 5; which++) {
        medley_status st = MEDLEY_ENOMEM;
        size_t n = 0, runs = 0;
        for (; st == MEDLEY_ENOMEM && runs < 80; n += 1 + n / 4, runs++) {
            remove_tree(at(folder, "ensemble/refits-model.bin"), NULL);
            mem_fail_after(n);
            st = decide(&w, which, &err);
            mem_fail_after(SIZE_MAX);
        }
        ok(st == MEDLEY_OK && runs > 10, "%s: %zu times out of memory (%s)", names[which],
           runs - 1, st ? err.message : "then done");
    }
    workspace_close(&w);
}

int main(void)
{
    char folder[64];
    snprintf(folder, sizeof folder, "%s", tap_folder());
    test_edit(folder);
    test_verdict(folder);
    test_memory(folder);
    return tap_done();
}
