/* test_diff.c: two bundles side by side. */
#include "ensemble/bundle_diff.h"
#include "ensemble/bundle_write.h"
#include "ensemble/stack.h"
#include "tests/ensemble_shop.h"

enum { K = 3 };

static double number(const json *object, const char *key)
{
    double v = NAN;
    json_as_double(json_get(object, key), &v);
    return v;
}

static const char *text(const json *object, const char *key)
{
    const char *v = "";
    json_as_text(json_get(object, key), &v);
    return v;
}

/* All pairs of the dataset, as their queries and product ids. */
static size_t list_pairs(const struct dataset *d, struct diff_pair *pairs)
{
    for (size_t i = 0; i < d->n_examples; i++)
        pairs[i] = (struct diff_pair){
            .pair = {{.query = column_at(&d->query_text, d->example_query[i]),
                      .locale = STR("us")},
                     column_at(&d->product_id, d->example_product[i])},
            .example_id = column_at(&d->example_id, i),
            .title = column_at(&d->title, d->example_product[i]),
            .label = d->example_label[i]};
    return d->n_examples;
}

static json *compare(const medley_bundle *a, const medley_bundle *b,
                     const struct diff_pair *pairs, size_t n, struct diff_counts *counts)
{
    struct strbuf out;
    medley_error err = {0};
    json *root = NULL;
    sb_init(&out);
    ok(bundle_diff(a, b, pairs, n, &out, counts, &err) == MEDLEY_OK, "compares: %s",
       err.message);
    ok(json_parse(sb_str(&out), "diff", &root, &err) == MEDLEY_OK, "in JSON: %s", err.message);
    sb_deinit(&out);
    return root;
}

/* Every sum of a turned pair: over players, of classes and of the growth. */
static void check_pair(const json *p, size_t *wrong, size_t *uncaused)
{
    double sum = 0, most = 0;
    const char *cause = "calibration";
    for (const json *t = json_first(json_get(p, "toward")); t; t = json_next(t)) {
        double v = NAN;
        json_as_double(t, &v);
        sum += v;
        if (v > most)
            most = v, cause = json_key(t);
    }
    *wrong += !(fabs(sum - number(p, "grew")) < 1e-12);
    *uncaused += number(p, "grew") > 0 && strcmp(cause, text(p, "cause")) != 0;
    const json *a = json_get(p, "a"), *b = json_get(p, "b");
    for (const json *c = json_first(json_get(a, "margins")); c; c = json_next(c)) {
        double before = NAN, total = 0;
        json_as_double(c, &before);
        for (const json *x = json_first(json_get(p, "changes")); x; x = json_next(x))
            total += number(x, json_key(c));
        double after = number(json_get(b, "margins"), json_key(c));
        *wrong += !(fabs(after - before - total) < 1e-12);
    }
    double grew = number(json_get(b, "margins"), text(b, "label")) -
                  number(json_get(b, "margins"), text(a, "label")) -
                  number(json_get(a, "margins"), text(b, "label")) +
                  number(json_get(a, "margins"), text(a, "label"));
    *wrong += !(fabs(grew - number(p, "grew")) < 1e-12);
}

static void test_changes(const json *d, size_t n, const struct diff_counts *counts)
{
    size_t wrong = 0, uncaused = 0, turned = 0, caused = 0;
    double cells = 0, off = 0, v, last = INFINITY;
    for (const json *p = json_first(json_get(d, "pairs")); p; p = json_next(p), turned++) {
        check_pair(p, &wrong, &uncaused);
        wrong += number(p, "grew") > last;
        last = number(p, "grew");
    }
    size_t row = 0;
    for (const json *r = json_first(json_get(d, "counts")); r; r = json_next(r), row++) {
        size_t column = 0;
        for (const json *c = json_first(r); c; c = json_next(c), column++) {
            json_as_double(c, &v);
            cells += v;
            off += row != column ? v : 0;
        }
    }
    for (const json *p = json_first(json_get(d, "players")); p; p = json_next(p))
        caused += (size_t)number(p, "caused");
    ok(turned > 0 && counts->changed == turned && (size_t)off == turned && (size_t)cells == n,
       "%zu of %zu labels changed", turned, n);
    ok(wrong == 0, "differences of contributions sum to those of margins, the largest first");
    ok(uncaused == 0 && caused + (size_t)number(d, "caused_by_calibration") == turned,
       "every turned label has its cause");
    const json *truth = json_get(d, "truth");
    double gained = number(truth, "fixed") - number(truth, "broken");
    double a = number(json_get(truth, "a"), "accuracy"),
           b = number(json_get(truth, "b"), "accuracy");
    ok(fabs(gained / (double)n - (b - a)) < 1e-9, "what was fixed and broken is the gain");
}

static void test_players(const json *d)
{
    static const char *const wanted[][2] = {
        {"noise", "both"}, {"good", "b"}, {"half", "b"}, {"context", "both"}, {"base", "both"}};
    size_t i = 0;
    for (const json *p = json_first(json_get(d, "players")); p && i < 5;
         p = json_next(p), i++) {
        is_text(text(p, "name"), wanted[i][0], "a player");
        is_text(text(p, "in"), wanted[i][1], "and where it is");
    }
    ok(i == 5, "five players");
}

int main(void)
{
    char folder[64];
    medley_error err = {0};
    struct workspace w;
    medley_bundle *one = NULL, *all = NULL;
    struct diff_pair pairs[SHOP_PAIRS];
    struct diff_counts counts = {0, 0};
    snprintf(folder, sizeof folder, "%s", tap_folder());
    ok(shop_run(folder, "budget: {top: 1, pin: [noise]}\ndecide: {cascade_loss: 0.2}", &err) ==
           MEDLEY_OK,
       "all stages run: %s", err.message);
    ok(medley_bundle_open(at(folder, "bundle/current"), &one, &err) == MEDLEY_OK,
       "a bundle of one model: %s", err.message);
    shop_write(folder, "budget: {pin: [good, noise, half]}\n"
                       "decide: {cascade: true, calibrate: true, cascade_loss: 0.2}");
    if (!ok(workspace_open(folder, &w, &err) == MEDLEY_OK &&
                stages_run(&w, &err) == MEDLEY_OK &&
                workspace_open_data(&w, &err) == MEDLEY_OK &&
                medley_bundle_open(at(folder, "bundle/current"), &all, &err) == MEDLEY_OK,
            "one of all, in stages: %s", err.message))
        return tap_done();
    size_t n = list_pairs(&w.data, pairs);
    json *d = compare(one, all, pairs, n, &counts);
    test_changes(d, n, &counts);
    test_players(d);
    json_free(d);
    d = compare(all, all, pairs, n, &counts);
    ok(counts.changed == 0 && counts.n == n && json_count(json_get(d, "pairs")) == 0,
       "a bundle is as itself");
    json_free(d);
    medley_bundle_close(one), medley_bundle_close(all);
    workspace_close(&w);
    return tap_done();
}
