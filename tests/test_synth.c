/* test_synth.c: the synthetic shop: the same bytes for the same options, a dataset that imports
 * without surprises, truth that shows in labels and behaviour. */
#include "tests/data_help.h"

#include "data/import.h"
#include "data/relations.h"
#include "data/synth.h"

static const char *folder;
static const char *const names[5] = {"examples.csv", "products.csv", "product_metadata.csv",
                                     "colistings.csv", "events.jsonl"};

static bool same_files(const char *a, const char *b)
{
    bool same = true;
    for (int i = 0; i < 5; i++) {
        medley_error err;
        struct hash128 ha = {0, 0}, hb = {0, 0};
        char path[64];
        snprintf(path, sizeof path, "%s/%s", a, names[i]);
        same = same && hash_file(at(folder, path), &ha, &err) == MEDLEY_OK;
        snprintf(path, sizeof path, "%s/%s", b, names[i]);
        same = same && hash_file(at(folder, path), &hb, &err) == MEDLEY_OK;
        same = same && ha.low == hb.low && ha.high == hb.high;
    }
    return same;
}

static void test_bytes(void)
{
    struct synth_options o = {.seed = 4};
    medley_error err;
    ok(synth_write(at(folder, "one"), &o, &err) == MEDLEY_OK, "a shop");
    ok(synth_write(at(folder, "two"), &o, &err) == MEDLEY_OK, "again");
    ok(same_files("one", "two"), "the same options give the same bytes");
    o.seed = 5;
    synth_write(at(folder, "two"), &o, &err);
    ok(!same_files("one", "two"), "another seed gives others");
    o.products = 1;
    o.queries = 3;
    ok(synth_write(at(folder, "two"), &o, &err) == MEDLEY_OK, "a shop with one product");
    o.judged = 1e6;
    ok(synth_write(at(folder, "two"), &o, &err) == MEDLEY_EINVAL, "too many judgements: %s",
       err.message);
}

static medley_status import(const char *from, medley_error *err)
{
    static char paths[5][256], out[256];
    for (int i = 0; i < 5; i++)
        snprintf(paths[i], sizeof paths[i], "%s/%s/%s", folder, from, names[i]);
    snprintf(out, sizeof out, "%s/out", folder);
    struct import_options o = {.examples = paths[0],
                               .products = paths[1],
                               .metadata = paths[2],
                               .lists = paths[3],
                               .events = paths[4]};
    return dataset_import(&o, out, err);
}

/* Clicks per impression of judged pairs, by label. */
static void click_rates(const struct dataset *d, const struct relations *r, double rate[4])
{
    const struct relation *seen = relations_find(r, "impressions");
    const struct relation *clicks = relations_find(r, "clicks");
    double shown[4] = {0}, clicked[4] = {0};
    for (size_t i = 0; i < d->n_examples; i++) {
        uint32_t q = d->example_query[i], p = d->example_product[i];
        for (size_t k = 0; k < seen->n; k++)
            if (seen->source[k] == q && seen->target[k] == p)
                shown[d->example_label[i]] += seen->weight[k];
        for (size_t k = 0; k < clicks->n; k++)
            if (clicks->source[k] == q && clicks->target[k] == p)
                clicked[d->example_label[i]] += clicks->weight[k];
    }
    for (int c = 0; c < 4; c++)
        rate[c] = shown[c] > 0 ? clicked[c] / shown[c] : 0;
}

static void test_import(void)
{
    struct dataset d;
    struct relations r;
    medley_error err;
    size_t labels[4] = {0}, test = 0;
    double rate[4];
    ok(import("one", &err) == MEDLEY_OK, "imports: %s", err.message);
    json *root = NULL;
    json_load(at(folder, "out/summary.json"), &root, &err);
    ok(root && json_count(json_get(root, "issues")) == 0, "nothing is odd about it");
    json_free(root);
    ok(dataset_open(at(folder, "out"), &d, &err) == MEDLEY_OK &&
           relations_open(at(folder, "out"), &r, &err) == MEDLEY_OK,
       "opens");
    for (size_t i = 0; i < d.n_examples; i++) {
        labels[d.example_label[i]]++;
        test += d.example_split[i] == SPLIT_TEST;
    }
    double n = (double)d.n_examples;
    printf("# %zu examples: E %.3f S %.3f C %.3f I %.3f\n", d.n_examples, labels[0] / n,
           labels[1] / n, labels[2] / n, labels[3] / n);
    ok(d.n_products == 2000 && d.n_queries == 500 && d.n_locales == 3 && n > 4000 && n < 7500,
       "sizes as asked");
    ok(labels[0] > 0.25 * n && labels[0] < 0.6 * n && labels[1] > 0.15 * n &&
           labels[1] < 0.5 * n && labels[2] > 0.02 * n && labels[2] < 0.15 * n &&
           labels[3] > 0.1 * n && labels[3] < 0.35 * n,
       "a sane mix of labels");
    ok(test > 0.1 * n && test < 0.3 * n, "a fifth is for test");
    click_rates(&d, &r, rate);
    ok(rate[0] > 1.4 * rate[1] && rate[1] > rate[3] && rate[2] > rate[3],
       "clicks follow relevance: %.3f %.3f %.3f %.3f", rate[0], rate[1], rate[2], rate[3]);
    const char *const all[] = {"listing",   "impressions", "clicks",     "adds",
                               "purchases", "co-listed",   "same-brand", "same-category"};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        ok(relations_find(&r, all[i]) && relations_find(&r, all[i])->n > 100, "relation %s",
           all[i]);
    relations_close(&r);
    dataset_close(&d);
}

int main(void)
{
    folder = tap_folder();
    test_bytes();
    test_import();
    return tap_done();
}
