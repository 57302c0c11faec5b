/* ensemble_shop.h: a workspace whose base models are tables, so that what the ensemble's stages
 * must find is known: `good` errs on every tenth pair, `noise` knows nothing, `half` is good
 * but answers even queries only. */
#ifndef TESTS_ENSEMBLE_SHOP_H
#define TESTS_ENSEMBLE_SHOP_H

#include "base/rng.h"
#include "base/str.h"
#include "ensemble/stages.h"
#include "ensemble/workspace.h"
#include "tests/data_help.h"

enum { SHOP_QUERIES = 90, SHOP_LIST = 4, SHOP_PAIRS = SHOP_QUERIES * SHOP_LIST };

/* Every third query is of the test split. */
__attribute__((unused)) static bool shop_is_test(int pair)
{
    return pair / SHOP_LIST % 3 == 0;
}

static int shop_label(int pair)
{
    return (int)((unsigned)pair * 2654435761u >> 16) % 3;
}

static bool shop_errs(int pair)
{
    return pair % 10 == 7;
}

static void shop_table(const char *folder, const char *name, int step, bool informed)
{
    struct strbuf b;
    sb_init(&b);
    sb_addz(&b, "example_id,p_good,p_fair,p_bad\n");
    for (int i = 0; i < SHOP_PAIRS; i++) {
        if (i / SHOP_LIST % step)
            continue;
        int says = informed ? (shop_label(i) + shop_errs(i)) % 3
                            : (int)(mix64(7, (uint64_t)i, 0) % 3);
        sb_addf(&b, "%d,%s,%s,%s\n", i, says == 0 ? "0.8" : "0.1", says == 1 ? "0.8" : "0.1",
                says == 2 ? "0.8" : "0.1");
    }
    put(folder, name, b.s);
    sb_deinit(&b);
}

/* Writes the files; `budget` is a line of medley.yaml. */
static void shop_write(const char *folder, const char *budget)
{
    static const char *const names[] = {"good", "fair", "bad"};
    struct strbuf examples, products, yaml;
    sb_init(&examples), sb_init(&products), sb_init(&yaml);
    sb_addz(&examples,
            "example_id,query,query_id,product_id,product_locale,esci_label,split\n");
    sb_addz(&products, "product_id,product_locale,product_title\n");
    for (int i = 0; i < SHOP_PAIRS; i++) {
        sb_addf(&examples, "%d,query %d,%d,p%d,us,%s,%s\n", i, i / SHOP_LIST, i / SHOP_LIST, i,
                names[shop_label(i)], shop_is_test(i) ? "test" : "train");
        sb_addf(&products, "p%d,us,title %d\n", i, i);
    }
    sb_addf(&yaml,
            "data: {examples: examples.csv, products: products.csv, "
            "labels: [good, fair, bad]}\n"
            "models:\n"
            "  - {name: good, kind: table, predictions: good.csv}\n"
            "  - {name: noise, kind: table, predictions: noise.csv}\n"
            "  - {name: half, kind: table, predictions: half.csv}\n"
            "ensemble: {rounds: 40}\n"
            "%s\n",
            budget);
    put(folder, "examples.csv", examples.s);
    put(folder, "products.csv", products.s);
    put(folder, "medley.yaml", yaml.s);
    sb_deinit(&examples), sb_deinit(&products), sb_deinit(&yaml);
    shop_table(folder, "good.csv", 1, true);
    shop_table(folder, "noise.csv", 1, false);
    shop_table(folder, "half.csv", 2, true);
}

/* Writes and runs all stages. */
__attribute__((unused)) static medley_status shop_run(const char *folder, const char *budget,
                                                      medley_error *err)
{
    struct workspace w;
    shop_write(folder, budget);
    medley_status st = workspace_open(folder, &w, err);
    if (st)
        return st;
    st = stages_run(&w, err);
    workspace_close(&w);
    return st;
}

#endif
