/* test_explain.c: one decision explained: its sums, with and without a cascade, and as a page.
 */
#include "ensemble/decide.h"
#include "ensemble/explain.h"
#include "report/report.h"
#include "tests/ensemble_shop.h"

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

static json *explain(const medley_bundle *b, int query, int which, uint32_t models)
{
    medley_product products[SHOP_LIST];
    char ids[SHOP_LIST][16], line[32];
    struct strbuf out;
    struct json_writer w;
    medley_error err = {0};
    json *root = NULL;
    for (int i = 0; i < SHOP_LIST; i++) {
        snprintf(ids[i], sizeof *ids, "p%d", query * SHOP_LIST + i);
        products[i] = (medley_product){.id = {ids[i], strlen(ids[i])}};
    }
    snprintf(line, sizeof line, "query %d", query);
    struct explain_ask ask = {.query = {line, strlen(line)},
                              .locale = {"us", 2},
                              .products = products,
                              .n = SHOP_LIST,
                              .which = (size_t)which,
                              .models = models,
                              .tokens = true,
                              .neighbours = 3};
    sb_init(&out);
    jw_init(&w, &out, true);
    medley_status st = bundle_explain(b, &ask, &w, &err);
    if (!st)
        st = json_parse(sb_str(&out), "explanation", &root, &err);
    if (st)
        ok(false, "explains: %s", err.message);
    sb_deinit(&out);
    return root;
}

/* How far base and contributions are from the margin. */
static double gap_of(const json *e)
{
    double gap = 0;
    for (const json *c = json_first(json_get(e, "margins")); c; c = json_next(c)) {
        double margin = NAN, sum = number(json_get(e, "base"), json_key(c));
        json_as_double(c, &margin);
        for (const json *m = json_first(json_get(e, "contributions")); m; m = json_next(m))
            sum += number(m, json_key(c));
        gap = fmax(gap, isnan(sum) ? 1 : fabs(sum - margin));
    }
    return gap;
}

static void test_whole(const medley_bundle *b)
{
    double gap = 0, wrong = 0;
    size_t silent = 0;
    for (int q = 0; q < 12; q++) {
        json *e = explain(b, q, q % SHOP_LIST, 7);
        gap = fmax(gap, gap_of(e));
        const json *good = json_first(json_get(e, "models")), *noise = json_next(good),
                   *half = json_next(noise);
        int pair = q * SHOP_LIST + q % SHOP_LIST;
        static const char *const names[] = {"good", "fair", "bad"};
        wrong +=
            strcmp(text(good, "label"), names[(shop_label(pair) + shop_errs(pair)) % 3]) != 0;
        wrong +=
            fabs(number(json_get(good, "probabilities"), text(good, "label")) - 0.8) > 1e-6;
        silent += json_kind_of(json_get(half, "probabilities")) == JSON_NULL;
        wrong += json_kind_of(json_get(e, "cascade")) != JSON_NULL;
        wrong += json_count(json_get(e, "neighbours")) != 0;
        wrong += json_kind_of(json_get(e, "tokens")) != JSON_NULL;
        wrong += number(e, "list_size") != SHOP_LIST;
        json_free(e);
    }
    ok(gap < 1e-5, "base and contributions sum to the margins (%.1e)", gap);
    ok(wrong == 0, "each model's own probabilities; no graph, no words here");
    ok(silent == 6, "a model without an answer has none (%zu of 12)", silent);
}

/* Interactions of a player with all others and itself sum to its contribution; those told are
 * twice the half, the largest first. */
static void test_interactions(const medley_bundle *b)
{
    enum { P = 4, K = 3 };
    float pairs[P][P][K], values[P][K];
    medley_result r;
    medley_product product = {.id = {"p3", 2}};
    medley_classify_options how = {
        .models = 7, .contributions = &values[0][0], .interactions = &pairs[0][0][0]};
    medley_error err = {0};
    double worst = 0, last = INFINITY;
    ok(medley_bundle_classify(b, (medley_text){"query 0", 7}, (medley_text){"us", 2}, &product,
                              1, &how, &r, &err) == MEDLEY_OK,
       "classifies: %s", err.message);
    for (size_t p = 0; p < P; p++)
        for (size_t c = 0; c < K; c++) {
            double sum = 0;
            for (size_t q = 0; q < P; q++)
                sum += (double)pairs[p][q][c];
            worst = fmax(worst, fabs(sum - (double)values[p][c]));
        }
    ok(worst < 1e-5, "rows of interactions sum to contributions (%.1e)", worst);
    json *e = explain(b, 1, 2, 7);
    bool sorted = json_count(json_get(e, "interactions")) > 0;
    for (const json *t = json_first(json_get(e, "interactions")); t; t = json_next(t)) {
        double size = fabs(number(json_get(t, "values"), text(e, "label")));
        sorted &= size <= last && json_count(json_get(t, "players")) == 2;
        last = size;
    }
    ok(sorted, "the largest first");
    json_free(e);
}

static void test_staged(const medley_bundle *b, const char *folder)
{
    size_t stopped = 0, wrong = 0;
    double gap = 0;
    medley_error err = {0};
    for (int q = 0; q < 30; q++) {
        json *e = explain(b, q, 1, 0);
        const json *cascade = json_get(e, "cascade");
        gap = fmax(gap, gap_of(e));
        wrong +=
            number(cascade, "stage") + (double)json_count(json_get(cascade, "not_asked")) !=
            number(cascade, "of");
        if (json_count(json_get(cascade, "not_asked")))
            stopped++;
        for (const json *n = json_first(json_get(cascade, "not_asked")); n; n = json_next(n)) {
            const char *name = "";
            json_as_text(n, &name);
            for (const json *c = json_first(json_get(json_get(e, "contributions"), name)); c;
                 c = json_next(c)) {
                double v = NAN;
                json_as_double(c, &v);
                wrong += v != 0;
            }
        }
        if (q == 7) {
            const char *path = at(folder, "why.html");
            char *page = NULL;
            size_t n = 0;
            ok(explanation_write(e, path, &err) == MEDLEY_OK, "a page: %s", err.message);
            if (ok(file_read(path, 1 << 20, &page, &n, &err) == MEDLEY_OK, "reads")) {
                ok(strstr(page, "Why this label") && strstr(page, "</html>") &&
                       strstr(page, "query 7: title 29") && strstr(page, "id=\"why-plot-t\""),
                   "with its parts");
                ok(!strstr(page, "http:") && !strstr(page, "https:") &&
                       !strstr(page, "<script"),
                   "no network and no script");
            }
            mem_free(page);
        }
        json_free(e);
    }
    ok(gap < 1e-5, "in stages too contributions sum to the margins (%.1e)", gap);
    ok(stopped > 0 && wrong == 0, "%zu of 30 stop early; who was not asked has no part",
       stopped);
}

/* Whatever allocation fails, the answer is that memory is short, and nothing is lost. */
static void test_memory(const medley_bundle *b, uint32_t models)
{
    static const char *const ids[] = {"p4", "p5", "p6", "p7"};
    medley_product products[SHOP_LIST];
    medley_status st = MEDLEY_ENOMEM;
    size_t n = 0;
    for (int i = 0; i < SHOP_LIST; i++)
        products[i] = (medley_product){.id = {ids[i], 2}};
    struct explain_ask ask = {.query = {"query 1", 7},
                              .locale = {"us", 2},
                              .products = products,
                              .n = SHOP_LIST,
                              .models = models};
    bool cut = true;
    for (; n < 2000 && (st == MEDLEY_ENOMEM || cut); n++) {
        struct strbuf out;
        struct json_writer w;
        sb_init(&out);
        jw_init(&w, &out, true);
        mem_fail_after(n);
        st = bundle_explain(b, &ask, &w, NULL);
        mem_fail_after(SIZE_MAX);
        cut = out.failed;
        sb_deinit(&out);
    }
    ok(st == MEDLEY_OK && n > 10, "each of %zu allocations may fail", n - 1);
}

/* The report's hardest queries: in order, and explained by the bundle as they were evaluated.
 */
static void test_hardest(const char *folder)
{
    medley_error err = {0};
    json *h = NULL;
    size_t wrong = 0, n = 0;
    double last = INFINITY, gap = 0;
    if (!ok(json_load(at(folder, "ensemble/hardest.json"), &h, &err) == MEDLEY_OK, "reads: %s",
            err.message))
        return;
    for (const json *q = json_first(json_get(h, "queries")); q; q = json_next(q), n++) {
        const json *worst = json_get(q, "worst"), *e = json_get(q, "explanation");
        double surprise = number(q, "surprise"), count = number(q, "n");
        double wanted = (number(q, "log_loss") - number(h, "log_loss")) * sqrt(count);
        wrong += surprise > last || fabs(surprise - wanted) > 1e-9;
        last = surprise;
        wrong += -log(number(worst, "probability")) < number(q, "log_loss") - 1e-6;
        wrong += strcmp(text(worst, "label"), text(e, "label")) != 0;
        wrong += strcmp(text(worst, "product"), text(e, "product")) != 0;
        wrong += fabs(number(json_get(e, "probabilities"), text(worst, "truth")) -
                      number(worst, "probability")) > 1e-5;
        wrong += number(e, "list_size") != count;
        gap = fmax(gap, gap_of(e));
    }
    ok(n == 8 && wrong == 0, "%zu hardest queries, each as it was evaluated", n);
    ok(gap < 1e-5, "their contributions sum (%.1e)", gap);
    json_free(h);
}

/* A bundle that does not open costs the report its explanations, not more. */
static void test_outdated(const char *folder)
{
    struct workspace w;
    medley_error err = {0};
    json *h = NULL;
    put(folder, "bundle/current/bundle.json", "{}");
    if (!ok(workspace_open(folder, &w, &err) == MEDLEY_OK &&
                workspace_open_data(&w, &err) == MEDLEY_OK,
            "opens"))
        return;
    ok(decide_hardest(&w, &err) == MEDLEY_OK &&
           json_load(at(folder, "ensemble/hardest.json"), &h, &err) == MEDLEY_OK,
       "the hardest queries without the bundle: %s", err.message);
    const json *first = json_first(json_get(h, "queries"));
    ok(json_kind_of(json_get(first, "explanation")) == JSON_NULL &&
           json_kind_of(json_get(first, "worst")) == JSON_OBJECT,
       "not explained, but told");
    json_free(h);
    workspace_close(&w);
}

int main(void)
{
    char folder[64];
    medley_error err = {0};
    medley_bundle *b = NULL;
    snprintf(folder, sizeof folder, "%s", tap_folder());
    ok(shop_run(folder,
                "budget: {pin: [good, noise, half]}\n"
                "decide: {cascade: true, save: models, cascade_loss: 0.05}",
                &err) == MEDLEY_OK,
       "all stages run: %s", err.message);
    if (ok(medley_bundle_open(at(folder, "bundle/current"), &b, &err) == MEDLEY_OK, "opens: %s",
           err.message)) {
        test_whole(b);
        test_interactions(b);
        test_staged(b, folder);
        test_hardest(folder);
        test_outdated(folder);
        test_memory(b, 0);
        test_memory(b, 7);
    }
    medley_bundle_close(b);
    return tap_done();
}
