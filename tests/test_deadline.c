/* test_deadline.c: medley_bundle_classify with a deadline: what has arrived is what counts,
 * whole or in a cascade, and an encoder is stopped on its way. */
#include "base/cpu.h"
#include "base/pool.h"
#include "tests/plugged_shop.h"
#include "tests/tap.h"

#include <math.h>

enum { LIST = 1000 };

struct list {
    char titles[LIST][64];
    medley_product products[LIST];
    medley_result results[LIST];
};

static medley_status ask(const medley_bundle *b, struct list *l, double deadline_ms,
                         uint32_t models, float *contributions, double *seconds)
{
    medley_error err = {0};
    medley_classify_options o = {
        .deadline_ms = deadline_ms, .models = models, .contributions = contributions};
    double start = clock_seconds();
    medley_status st =
        medley_bundle_classify(b, (medley_text){"red1 shoe1 big1", 15}, (medley_text){"us", 2},
                               l->products, LIST, &o, l->results, &err);
    *seconds = clock_seconds() - start;
    return st;
}

static bool all_late(const struct list *l, uint32_t late)
{
    for (size_t i = 0; i < LIST; i++) {
        float sum = 0;
        for (size_t k = 0; k < 3; k++)
            sum += l->results[i].probabilities[k];
        if (l->results[i].models_late != late || l->results[i].models_used & late ||
            fabsf(sum - 1) > 1e-4f)
            return false;
    }
    return true;
}

static void test_bundle(const char *folder, bool cascade)
{
    static struct list whole, timed;
    static float contributions[LIST * 4 * 3];
    medley_bundle *b = NULL;
    medley_error err = {0};
    double all, seconds;
    if (!ok(medley_bundle_open(at(folder, "bundle/current"), &b, &err) == MEDLEY_OK,
            "opens: %s", err.message))
        return;
    for (int i = 0; i < LIST; i++) {
        snprintf(whole.titles[i], sizeof whole.titles[i], "red%d shoe%d thing box%d", i, i % 7,
                 i);
        whole.products[i] = (medley_product){
            .has_text = true, .title = {whole.titles[i], strlen(whole.titles[i])}};
    }
    timed = whole;
    for (int i = 0; i < LIST; i++)
        timed.products[i].title.s = timed.titles[i];
    uint32_t lm = 0;
    for (size_t m = 0; m < medley_bundle_models(b); m++)
        if (strcmp(medley_bundle_model_kind(b, m), "lm") == 0)
            lm |= 1u << m;
    ok((medley_bundle_stages(b) > 0) == cascade, "a bundle %s cascade",
       cascade ? "with a" : "without");
    ask(b, &whole, 0, 0, NULL, &all);
    ok(ask(b, &timed, 6e5, 0, NULL, &seconds) == MEDLEY_OK &&
           memcmp(timed.results, whole.results, sizeof whole.results) == 0,
       "a late deadline changes no bit");
    ok(ask(b, &timed, 1e-6, 0, NULL, &seconds) == MEDLEY_OK &&
           all_late(&timed, timed.results[0].models_late) && timed.results[0].models_late,
       "time over at once: answered without models");
    ok(ask(b, &timed, all * 1e3 / 8, lm, contributions, &seconds) == MEDLEY_OK &&
           all_late(&timed, lm),
       "models that are asked for by name, stopped on their way");
    ok(seconds < all, "in %.1f of %.1f ms", seconds * 1e3, all * 1e3);
    ok(ask(b, &timed, 0, 0, NULL, &seconds) == MEDLEY_OK &&
           memcmp(timed.results, whole.results, sizeof whole.results) == 0 && time_limit() == 0,
       "nothing of it stays behind");
    medley_bundle_close(b);
}

int main(void)
{
    medley_error err = {0};
    char folder[64];
    snprintf(folder, sizeof folder, "%s", tap_folder());
    static const char models[] =
        "  - {name: mine, kind: lm, layers: 4, hidden: 64, vocabulary: 400, epochs: 1, "
        "max_tokens: 32}\n";
    plugged_write(folder, models);
    if (ok(plugged_run(folder, true, &err) == MEDLEY_OK, "all stages: %s", err.message))
        test_bundle(folder, false);
    plugged_write(folder, models);
    struct strbuf more;
    char *yaml = NULL;
    size_t n = 0;
    sb_init(&more);
    file_read(at(folder, "medley.yaml"), 1 << 16, &yaml, &n, &err);
    sb_add(&more, yaml, n);
    sb_addz(&more, "decide: {cascade: true}\n");
    put(folder, "medley.yaml", more.s);
    sb_deinit(&more);
    mem_free(yaml);
    if (ok(plugged_run(folder, true, &err) == MEDLEY_OK, "with a cascade: %s", err.message))
        test_bundle(folder, true);
    return tap_done();
}
