/* test_select.c: choosing models under a budget, and the bundle that is left. */
#include "medley/bundle.h"
#include "tests/ensemble_shop.h"

static double number(const json *v, const char *key)
{
    double d = NAN;
    json_as_double(json_get(v, key), &d);
    return d;
}

static bool flag(const json *v, const char *key)
{
    bool b = false;
    json_as_bool(json_get(v, key), &b);
    return b;
}

static void test_front(const json *s)
{
    const json *subsets = json_get(s, "subsets");
    int wrong = 0;
    ok(json_count(subsets) == 7, "every subset of three models was refitted");
    for (const json *a = json_first(subsets); a; a = json_next(a)) {
        bool beaten = false;
        for (const json *b = json_first(subsets); b; b = json_next(b)) {
            double cost = number(b, "latency_ms") - number(a, "latency_ms");
            double gain = number(b, "macro_f1") - number(a, "macro_f1");
            beaten |= cost <= 0 && gain >= 0 && (cost < 0 || gain > 0);
        }
        wrong += beaten == flag(a, "pareto");
        wrong += flag(a, "within_budget") != (json_count(json_get(a, "models")) <= 1);
    }
    ok(wrong == 0, "front and budget are marked as defined");
    ok(fabs(number(json_get(s, "full"), "accuracy") -
            number(json_get(s, "chosen"), "accuracy") -
            number(json_get(s, "lost"), "accuracy")) < 1e-9,
       "lost is full minus chosen");
}

static void test_top(const char *folder)
{
    medley_error err;
    json *s = NULL;
    const char *name = NULL;
    ok(shop_run(folder, "budget: {top: 1}", &err) == MEDLEY_OK, "all stages run");
    if (!ok(json_load(at(folder, "ensemble/selection.json"), &s, &err) == MEDLEY_OK, "reads"))
        return;
    ok(json_count(json_get(s, "selected")) == 1, "one model is kept");
    json_as_text(json_first(json_get(s, "selected")), &name);
    is_text(name, "good", "the one that knows most");
    test_front(s);
    json_free(s);
}

static void test_impossible(const char *folder)
{
    medley_error err;
    char *before = NULL, *after = NULL;
    size_t n = 0, m = 0;
    char file[128];
    snprintf(file, sizeof file, "%s/ensemble/selection.json", folder);
    ok(file_read(file, 1 << 20, &before, &n, &err) == MEDLEY_OK, "a selection is there");
    ok(shop_run(folder, "budget: {latency_ms: 1e-12}", &err) == MEDLEY_EINVAL,
       "a budget that nobody meets is refused");
    ok(strstr(err.message, "fits the budget of 1e-12 ms: the fastest takes ") != NULL,
       "with the least that is needed: %s", err.message);
    ok(file_read(file, 1 << 20, &after, &m, &err) == MEDLEY_OK && n == m &&
           memcmp(before, after, n) == 0,
       "the old selection stays");
    mem_free(before);
    mem_free(after);
}

static void test_bundle(const char *folder)
{
    static const char *const members[] = {"bundle/current/bundle.json",
                                          "bundle/current/ensemble.txt"};
    medley_error err;
    medley_bundle *b = NULL;
    if (ok(medley_bundle_open(at(folder, "bundle/current"), &b, &err) == MEDLEY_OK,
           "the bundle opens")) {
        ok(medley_bundle_classes(b) == 3 && medley_bundle_models(b) == 1, "its shape");
        is_text(medley_bundle_model(b, 0), "good", "its model");
        medley_bundle_close(b);
    }
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        char path[128]; /* at() reuses its buffers */
        snprintf(path, sizeof path, "%s/%s", folder, members[i]);
        char *whole = NULL;
        size_t n = 0;
        int accepted = 0;
        if (!ok(file_read(path, 1 << 24, &whole, &n, &err) == MEDLEY_OK, "%s", members[i]))
            continue;
        for (size_t cut = 0; cut < 8; cut++) {
            if (file_write(path, whole, n * cut / 8, &err) != MEDLEY_OK)
                ok(false, "%s", err.message);
            b = NULL;
            accepted += medley_bundle_open(at(folder, "bundle/current"), &b, &err) == MEDLEY_OK;
            medley_bundle_close(b);
        }
        ok(accepted == 0, "%s cut short is refused", members[i]);
        file_write(path, whole, n, &err);
        mem_free(whole);
    }
}

/* Serving needs the bundle, which only selecting writes. */
static void test_bundle_gone(const char *folder)
{
    medley_error err;
    ok(remove_tree(at(folder, "bundle"), &err) == MEDLEY_OK, "the bundle goes");
    ok(shop_run(folder, "budget: {top: 1}", &err) == MEDLEY_OK &&
           file_exists(at(folder, "bundle/current/bundle.json")),
       "and the next run makes it again");
}

static json *selected_with(const char *folder, const char *budget)
{
    medley_error err = {0};
    json *s = NULL;
    ok(shop_run(folder, budget, &err) == MEDLEY_OK, "%s: %s", budget, err.message);
    json_load(at(folder, "ensemble/selection.json"), &s, &err);
    return s;
}

/* What is told about the choice: neighbours, front, and who may be down. */
static void test_told(const char *folder)
{
    json *s = selected_with(folder, "budget: {prefer: best, core_hour: 1}");
    const json *subsets = json_get(s, "subsets");
    size_t kept = json_count(json_get(s, "selected"));
    ok(json_count(json_get(s, "drop")) + json_count(json_get(s, "add")) == (kept == 1 ? 2 : 3),
       "every model to drop or to add");
    ok(json_count(json_get(s, "when_down")) == (size_t)1 << kept, "every subset may be down");
    const json *up = json_first(json_get(s, "when_down"));
    ok(json_count(json_get(up, "down")) == 0 &&
           fabs(number(up, "macro_f1") - number(json_get(s, "chosen"), "macro_f1")) < 0.02,
       "nobody down is the chosen ensemble");
    ok(number(json_first(subsets), "price") > 0, "processor time has a price");
    ok(isfinite(number(json_get(s, "search"), "optimism")), "what choosing flatters by");
    json_free(s);

    s = selected_with(folder, "budget: {prefer: cheapest}");
    double best = 0, cheapest = 0;
    for (const json *a = json_first(json_get(s, "subsets")); a; a = json_next(a)) {
        best = fmax(best, number(a, "macro_f1"));
        if (json_count(json_get(a, "models")) == json_count(json_get(s, "selected")))
            cheapest = fmax(cheapest, number(a, "macro_f1"));
    }
    ok(json_count(json_get(s, "selected")) < 3 && best - cheapest < 0.05,
       "the cheapest that is as good drops noise");
    json_free(s);
}

static void select_again(const char *folder, char **text)
{
    medley_error err = {0};
    struct workspace w;
    size_t n = 0;
    *text = NULL;
    if (!ok(workspace_open(folder, &w, &err) == MEDLEY_OK, "%s", err.message))
        return;
    ok(stages_run_group(&w, STAGE_SELECT, NULL, true, &err) == MEDLEY_OK &&
           file_read(at(folder, "ensemble/selection.json"), 1 << 24, text, &n, &err) ==
               MEDLEY_OK,
       "selects again: %s", err.message);
    workspace_close(&w);
}

/* What was refitted is kept, and is no more than a shortcut. */
static void test_searched_again(const char *folder)
{
    medley_error err = {0};
    char *first, *again, *after, *kept = NULL, *kept_after = NULL;
    size_t n = 0, n_after = 0;
    select_again(folder, &first);
    file_read(at(folder, "ensemble/searched.bin"), 1 << 24, &kept, &n, &err);
    ok(n > 1000, "subsets are kept");
    select_again(folder, &again);
    ok(first && again && strcmp(first, again) == 0, "the same selection from what is kept");
    kept[n / 2] ^= 1;
    file_write(at(folder, "ensemble/searched.bin"), kept, n, &err);
    select_again(folder, &after);
    ok(first && after && strcmp(first, after) == 0, "and from a damaged file");
    file_read(at(folder, "ensemble/searched.bin"), 1 << 24, &kept_after, &n_after, &err);
    kept[n / 2] ^= 1;
    ok(n == n_after && memcmp(kept, kept_after, n) == 0, "which is written anew");
    mem_free(first), mem_free(again), mem_free(after);
    mem_free(kept), mem_free(kept_after);
}

/* Thirteen models are too many to try all: a search, which must find the three that know. */
static void test_search(const char *folder)
{
    medley_error err = {0};
    struct workspace w;
    struct strbuf b;
    json *s = NULL;
    char *yaml = NULL;
    size_t n = 0;
    bool searched = false;
    shop_write(folder, "budget: {top: 2}");
    sb_init(&b);
    file_read(at(folder, "medley.yaml"), 1 << 16, &yaml, &n, &err);
    const char *cut = strstr(yaml, "ensemble: {rounds: 40}");
    sb_add(&b, yaml, (size_t)(cut - yaml));
    for (int i = 0; i < 10; i++)
        sb_addf(&b, "  - {name: noise%d, kind: table, predictions: noise.csv}\n", i);
    sb_addz(&b, "ensemble: {rounds: 5, plain: true}\nbudget: {top: 2}\n");
    put(folder, "medley.yaml", b.s);
    sb_deinit(&b);
    mem_free(yaml);
    if (!ok(workspace_open(folder, &w, &err) == MEDLEY_OK, "%s", err.message))
        return;
    medley_status st = MEDLEY_OK;
    for (enum stage_group g = STAGE_IMPORT; g <= STAGE_SELECT && !st; g++)
        if (g != STAGE_RANK && g != STAGE_FEATURES && g != STAGE_NEIGHBOURS)
            st = stages_run_group(&w, g, NULL, false, &err);
    workspace_close(&w);
    ok(st == MEDLEY_OK, "thirteen models: %s", err.message);
    if (!ok(json_load(at(folder, "ensemble/selection.json"), &s, &err) == MEDLEY_OK, "reads"))
        return;
    json_as_bool(json_get(s, "exact"), &searched);
    ok(!searched && number(json_get(s, "search"), "tried") < 800 &&
           number(json_get(s, "search"), "of") == 8191,
       "%g of %g tried", number(json_get(s, "search"), "tried"),
       number(json_get(s, "search"), "of"));
    ok(number(json_get(s, "search"), "gap") >= 0, "with its gap");
    const char *first = NULL;
    json_as_text(json_first(json_get(s, "selected")), &first);
    is_text(first, "good", "and finds who knows most");
    ok(json_count(json_get(s, "selected")) <= 2, "within the budget");
    json_free(s);
    test_searched_again(folder);
}

int main(void)
{
    char folder[64];
    snprintf(folder, sizeof folder, "%s", tap_folder());
    test_top(folder);
    test_bundle(folder);
    test_bundle_gone(folder);
    test_impossible(folder);
    test_told(folder);
    test_search(folder);
    return tap_done();
}
