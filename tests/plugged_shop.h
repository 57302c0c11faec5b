/* plugged_shop.h: a shop of two locales whose titles repeat all, some or none of the query's
 * words, so that a model that counts words knows the label; beside it stands a table of noise.
 */
#ifndef TESTS_PLUGGED_SHOP_H
#define TESTS_PLUGGED_SHOP_H

#include "base/rng.h"
#include "base/str.h"
#include "ensemble/stages.h"
#include "medley/bundle.h"
#include "tests/data_help.h"

enum {
    PLUGGED_QUERIES = 120,
    PLUGGED_LIST = 3,
    PLUGGED_PAIRS = PLUGGED_QUERIES * PLUGGED_LIST
};

__attribute__((unused)) static const char *plugged_locale(int pair)
{
    return pair / PLUGGED_LIST % 2 ? "es" : "us";
}

/* 0 good, 1 fair, 2 bad; every eleventh label is not what the title says. */
static int plugged_label(int pair)
{
    return (pair + pair / PLUGGED_LIST + (pair % 11 == 5)) % 3;
}

static void plugged_title(int pair, struct strbuf *out)
{
    int q = pair / PLUGGED_LIST, says = (pair + q) % 3;
    if (says == 0)
        sb_addf(out, "red%d shoe%d big%d", q, q, q);
    else if (says == 1)
        sb_addf(out, "red%d thing box%d", q, pair);
    else
        sb_addf(out, "thing box%d lamp", pair);
}

/* `models`: lines below "models:", with one called mine, which is kept whatever it is worth. */
__attribute__((unused)) static void plugged_write(const char *folder, const char *models)
{
    static const char *const names[] = {"good", "fair", "bad"};
    struct strbuf e, p, t, y;
    sb_init(&e), sb_init(&p), sb_init(&t), sb_init(&y);
    sb_addz(&e, "example_id,query,query_id,product_id,product_locale,esci_label,split\n");
    sb_addz(&p, "product_id,product_locale,product_title\n");
    sb_addz(&t, "example_id,p_good,p_fair,p_bad\n");
    for (int i = 0; i < PLUGGED_PAIRS; i++) {
        int q = i / PLUGGED_LIST, guess = (int)(mix64(7, (uint64_t)i, 0) % 3);
        sb_addf(&e, "%d,red%d shoe%d big%d,%d,p%d,%s,%s,%s\n", i, q, q, q, q, i,
                plugged_locale(i), names[plugged_label(i)], q % 3 == 0 ? "test" : "train");
        sb_addf(&p, "p%d,%s,", i, plugged_locale(i));
        plugged_title(i, &p);
        sb_addc(&p, '\n');
        sb_addf(&t, "%d,%s,%s,%s\n", i, guess == 0 ? "0.6" : "0.2", guess == 1 ? "0.6" : "0.2",
                guess == 2 ? "0.6" : "0.2");
    }
    sb_addf(&y,
            "data: {examples: examples.csv, products: products.csv, "
            "labels: [good, fair, bad]}\n"
            "models:\n  - {name: noise, kind: table, predictions: noise.csv}\n%s"
            "ensemble: {rounds: 30}\nbudget: {pin: [mine]}\n",
            models);
    put(folder, "examples.csv", e.s), put(folder, "products.csv", p.s);
    put(folder, "noise.csv", t.s), put(folder, "medley.yaml", y.s);
    sb_deinit(&e), sb_deinit(&p), sb_deinit(&t), sb_deinit(&y);
}

/* Imports and trains; with `all`, the stages after that. */
__attribute__((unused)) static medley_status plugged_run(const char *folder, bool all,
                                                         medley_error *err)
{
    struct workspace w;
    medley_status st = workspace_open(folder, &w, err);
    if (st)
        return st;
    if (all)
        st = stages_run(&w, err);
    else if (!(st = stages_run_group(&w, STAGE_IMPORT, NULL, false, err)))
        st = stages_run_group(&w, STAGE_TRAIN, NULL, false, err);
    workspace_close(&w);
    return st;
}

/* Pairs of the first lists asked of a bundle; how many labels are right, or -1. */
__attribute__((unused)) static int plugged_ask(const medley_bundle *b, int lists,
                                               const char *traceparent, medley_result *last)
{
    int right = 0;
    for (int q = 0; q < lists; q++) {
        char query[64], id[PLUGGED_LIST][16];
        medley_product products[PLUGGED_LIST] = {{.has_text = false}};
        medley_result results[PLUGGED_LIST];
        medley_error err = {0};
        medley_classify_options o = {.traceparent = traceparent};
        snprintf(query, sizeof query, "red%d shoe%d big%d", q, q, q);
        for (int i = 0; i < PLUGGED_LIST; i++) {
            snprintf(id[i], sizeof id[i], "p%d", q * PLUGGED_LIST + i);
            products[i].id = (medley_text){id[i], strlen(id[i])};
        }
        if (medley_bundle_classify(b, (medley_text){query, strlen(query)},
                                   (medley_text){plugged_locale(q * PLUGGED_LIST), 2}, products,
                                   PLUGGED_LIST, &o, results, &err)) {
            printf("# %s\n", err.message);
            return -1;
        }
        for (int i = 0; i < PLUGGED_LIST; i++)
            right += results[i].label == plugged_label(q * PLUGGED_LIST + i);
        *last = results[PLUGGED_LIST - 1];
    }
    return right;
}

#endif
