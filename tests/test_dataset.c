/* test_dataset.c: opening datasets and relations, look-ups, and files that were damaged. */
#include "tests/data_help.h"

#include "base/npy.h"
#include "base/rng.h"
#include "data/dataset.h"
#include "data/import.h"
#include "data/relations.h"

static const char *folder;

static void make(void)
{
    static char examples[256], products[256];
    medley_error err;
    put(folder, "products.csv",
        "product_id,product_title,product_brand,product_locale\n"
        "p1,Red mug,Acme,us\np2,Blue mug,Acme,us\np1,Taza roja,,es\np3,Cuchara,,es\n");
    put(folder, "examples.csv",
        "example_id,query,query_id,product_id,product_locale,esci_label,split\n"
        "a,red mug,1,p1,us,E,train\nb,red mug,1,p2,us,S,train\nc,taza,2,p1,es,E,test\n"
        "d,blue mug,3,p2,us,E,train\n");
    snprintf(examples, sizeof examples, "%s/examples.csv", folder);
    snprintf(products, sizeof products, "%s/products.csv", folder);
    struct import_options o = {.examples = examples, .products = products};
    ok(dataset_import(&o, at(folder, "out"), &err) == MEDLEY_OK, "a small dataset");
}

static void test_find(void)
{
    struct dataset d;
    medley_error err;
    ok(dataset_open(at(folder, "out"), &d, &err) == MEDLEY_OK, "opens");
    ok(dataset_find_product(&d, STR("p1"), STR("us")) == 0 &&
           dataset_find_product(&d, STR("p1"), STR("es")) == 2 &&
           dataset_find_product(&d, STR("p3"), STR("es")) == 3,
       "products by id and locale");
    ok(dataset_find_product(&d, STR("p3"), STR("us")) == UINT32_MAX &&
           dataset_find_product(&d, STR("p1"), STR("xx")) == UINT32_MAX,
       "absent products");
    ok(dataset_find_query(&d, STR("taza"), STR("es")) == 1 &&
           dataset_find_query(&d, STR("taza"), STR("us")) == UINT32_MAX,
       "queries by text and locale");
    struct product_text p = dataset_product(&d, 3);
    ok(str_is(p.title, "Cuchara") && p.brand.n == 0 && p.description.n == 0, "texts");
    dataset_close(&d);
    dataset_close(&d);
    ok(d.n_examples == 0, "closing twice is fine");
    ok(dataset_open(at(folder, "none"), &d, &err) == MEDLEY_ENOTFOUND &&
           strstr(err.message, "run 'medley import' first"),
       "no dataset: %s", err.message);
}

/* Opens what is in folder/hurt and reads all of it; true when that was refused. */
static bool refused(void)
{
    struct dataset d;
    struct relations r;
    medley_error err;
    uint64_t sum = 0;
    if (dataset_open(at(folder, "hurt"), &d, &err) != MEDLEY_OK)
        return true;
    for (size_t i = 0; i < d.n_examples; i++) {
        struct pair_text p = dataset_pair(&d, d.example_query[i], d.example_product[i]);
        sum += p.query.n + p.product.title.n + p.product.category.n +
               column_at(&d.example_id, i).n;
    }
    sum += dataset_find_product(&d, STR("p1"), STR("es"));
    sum += dataset_find_query(&d, STR("taza"), STR("es"));
    medley_status st = relations_open(at(folder, "hurt"), &r, &err);
    if (st == MEDLEY_OK) {
        for (size_t k = 0; k < r.count; k++)
            for (size_t i = 0; i < r.items[k].n; i++)
                sum += d.query_locale[r.items[k].kind == RELATION_QUERY_PRODUCT
                                          ? r.items[k].source[i]
                                          : 0] +
                       d.product_locale[r.items[k].target[i]];
        relations_close(&r);
    }
    dataset_close(&d);
    return st != MEDLEY_OK && sum < UINT64_MAX;
}

/* Under AddressSanitizer this also shows that whatever is not refused is safe to use. */
static void test_damage(const char *name)
{
    medley_error err;
    char *good[2];
    size_t n[2];
    const char *names[2] = {"dataset.safetensors", "relations.safetensors"};
    uint64_t seed = 77;
    struct rng r;
    printf("# seed %llu\n", (unsigned long long)seed);
    rng_init(&r, seed, 0);
    int which = strcmp(name, names[1]) == 0;
    make_folders(at(folder, "hurt"), &err);
    for (int i = 0; i < 2; i++) {
        char from[64];
        snprintf(from, sizeof from, "out/%s", names[i]);
        file_read(at(folder, from), 1 << 20, &good[i], &n[i], &err);
        snprintf(from, sizeof from, "hurt/%s", names[i]);
        put_bytes(folder, from, good[i], n[i]);
    }
    ok(!refused(), "a copy of %s opens", name);
    char path[64];
    snprintf(path, sizeof path, "hurt/%s", name);
    size_t cut = 0, tried = 0, flips = 0;
    for (size_t keep = 0; keep < n[which]; keep += 1 + n[which] / 150, tried++) {
        put_bytes(folder, path, good[which], keep);
        cut += refused();
    }
    ok(cut == tried, "every truncation is refused (%zu of %zu)", cut, tried);
    for (int i = 0; i < 400; i++) {
        size_t where = rng_below(&r, (uint32_t)n[which]);
        char kept = good[which][where];
        good[which][where] = (char)(kept ^ (1 << rng_below(&r, 8)));
        put_bytes(folder, path, good[which], n[which]);
        flips += refused();
        good[which][where] = kept;
    }
    ok(flips > 50 && flips < 400, "flipped bits are refused or harmless (%zu of 400 refused)",
       flips);
    mem_free(good[0]);
    mem_free(good[1]);
}

static void test_pairs(void)
{
    struct pairs p;
    medley_error err;
    put(folder, "pairs.csv", "query,product_id,product_locale\nmug,p1,es\ncup,p2,\n");
    ok(pairs_read(at(folder, "pairs.csv"), NULL, &p, &err) == MEDLEY_OK && p.n == 2,
       "pairs by id");
    ok(str_is(p.texts[0].query, "mug") && str_is(p.texts[0].locale, "es") &&
           str_is(p.texts[1].locale, "us") && str_is(column_at(&p.product_id, 1), "p2") &&
           str_is(column_at(&p.example_id, 1), "1") && p.texts[0].product.title.n == 0,
       "ids, locales, row numbers");
    pairs_free(&p);
    const struct import_columns columns = {.query = "q", .title = "name"};
    put(folder, "pairs.jsonl", "{\"q\":\"mug\",\"name\":\"Red mug\",\"example_id\":\"x\"}\n");
    ok(pairs_read(at(folder, "pairs.jsonl"), &columns, &p, &err) == MEDLEY_OK && p.n == 1 &&
           str_is(p.texts[0].product.title, "Red mug") &&
           str_is(column_at(&p.example_id, 0), "x") && column_at(&p.product_id, 0).n == 0,
       "pairs by text");
    pairs_free(&p);
    put(folder, "pairs.csv", "query,product_id\nmug,p1\n,p1\n");
    ok(pairs_read(at(folder, "pairs.csv"), NULL, &p, &err) == MEDLEY_EFORMAT &&
           says(&err, folder, "pairs.csv:3: empty query"),
       "an empty query");
    put(folder, "pairs.csv", "query,product_id,product_title\nmug,,\n");
    ok(pairs_read(at(folder, "pairs.csv"), NULL, &p, &err) == MEDLEY_EFORMAT &&
           says(&err, folder, "pairs.csv:2: neither a product id nor a title"),
       "no product");
    put(folder, "pairs.csv", "query,brand\nmug,x\n");
    ok(pairs_read(at(folder, "pairs.csv"), NULL, &p, &err) == MEDLEY_EFORMAT &&
           says(&err, folder, "pairs.csv: no column 'product_id' (found: query, brand)"),
       "no product column");
    put(folder, "pairs.csv", "query,product_id\n");
    ok(pairs_read(at(folder, "pairs.csv"), NULL, &p, &err) == MEDLEY_OK && p.n == 0,
       "no pairs");
    pairs_free(&p);
}

static float out[16];

static bool predictions_refused(const char *text, const char *wanted)
{
    struct dataset d;
    medley_error err;
    dataset_open(at(folder, "out"), &d, &err);
    put(folder, "p.csv", text);
    medley_status st = predictions_read(at(folder, "p.csv"), &d, false, out, &err);
    dataset_close(&d);
    return st == MEDLEY_EFORMAT && says(&err, folder, wanted);
}

static void test_predictions(void)
{
    struct dataset d;
    medley_error err;
    dataset_open(at(folder, "out"), &d, &err);
    put(folder, "p.csv",
        "example_id,p_I,p_e,P_S,p_c\nc,0.1,0.6,0.2,0.1\na,0,1,0,0\nzz,0,1,0,0\n");
    ok(predictions_read(at(folder, "p.csv"), &d, false, out, &err) == MEDLEY_OK, "predictions");
    ok(out[0] == 1 && out[8] == 0.6f && out[9] == 0.2f && out[11] == 0.1f && isnan(out[4]) &&
           isnan(out[15]),
       "by id, columns in any order and case, NaN where none was given");
    put(folder, "p.csv", "example_id,p_e,p_s,p_c,p_i\na,1000,0,0,1000\nb,-3,-3,-3,-3\n");
    ok(predictions_read(at(folder, "p.csv"), &d, true, out, &err) == MEDLEY_OK &&
           out[0] == 0.5f && out[1] == 0 && out[4] == 0.25f,
       "logits");
    put(folder, "p.jsonl",
        "{\"example_id\":\"b\",\"p_e\":0.5,\"p_S\":0.5,\"p_c\":0,\"p_I\":0}\n");
    ok(predictions_read(at(folder, "p.jsonl"), &d, false, out, &err) == MEDLEY_OK &&
           out[4] == 0.5f && out[5] == 0.5f && out[7] == 0 && isnan(out[0]),
       "JSONL, in any case");
    dataset_close(&d);
#define HEADER "example_id,p_e,p_s,p_c,p_i\n"
    ok(predictions_refused(
           HEADER "a,1,0,0,0\nb,0.5,0.2,0.1,0.1\n",
           "p.csv:3: example 'b': the probabilities do not sum to 1 (are they logits?)"),
       "a wrong sum");
    ok(predictions_refused(HEADER "a,1.5,-0.5,0,0\n",
                           "p.csv:2: example 'a': a probability is negative"),
       "a negative probability");
    ok(predictions_refused(HEADER "a,nan,0,0,1\n", "p.csv:2: p_E 'nan' is not a finite number"),
       "NaN");
    ok(predictions_refused(HEADER "a,1,0,0,0\na,1,0,0,0\n",
                           "p.csv:3: example 'a' comes twice, first in line 2"),
       "a repeated example");
    ok(predictions_refused(HEADER "zz,1,0,0,0\n",
                           "p.csv: no row names an example of the dataset"),
       "nothing known");
    ok(predictions_refused("example_id,p_e,p_s\n",
                           "p.csv: no column 'p_C' (found: example_id, p_e, p_s)"),
       "a missing class");
}

#undef HEADER
static void test_arrays(void)
{
    struct dataset d;
    medley_error err;
    float given[16] = {1, 0, 0, 0, NAN, NAN, NAN, NAN, .25f, .25f, .25f, .25f, 0, 0, 0, 1};
    dataset_open(at(folder, "out"), &d, &err);
    npy_write(at(folder, "p.npy"), NPY_F32, 4, 4, given, &err);
    ok(predictions_read(at(folder, "p.npy"), &d, false, out, &err) == MEDLEY_OK &&
           out[0] == 1 && isnan(out[4]) && isnan(out[7]) && out[15] == 1,
       "an array, with a row that was not predicted");
    given[5] = 1;
    npy_write(at(folder, "p.npy"), NPY_F32, 4, 4, given, &err);
    ok(predictions_read(at(folder, "p.npy"), &d, false, out, &err) == MEDLEY_EFORMAT &&
           says(&err, folder, "p.npy: row 1: a value is not a finite number"),
       "a row that is part NaN");
    npy_write(at(folder, "p.npy"), NPY_F32, 2, 4, given, &err);
    ok(predictions_read(at(folder, "p.npy"), &d, false, out, &err) == MEDLEY_EFORMAT &&
           says(&err, folder, "p.npy: shape [2, 4] instead of [4, 4]"),
       "an array of another shape");
    dataset_close(&d);
}

/* Import with the n-th allocation failing says so, or goes through where the failure is
 * survived. */
static void test_memory(void)
{
    static char examples[256], products[256];
    snprintf(examples, sizeof examples, "%s/examples.csv", folder);
    snprintf(products, sizeof products, "%s/products.csv", folder);
    struct import_options o = {.examples = examples, .products = products, .lists = NULL};
    size_t n = 0, odd = 0;
    medley_status st;
    do {
        medley_error err;
        mem_fail_after(n++);
        st = dataset_import(&o, at(folder, "memory"), &err);
        mem_fail_after(SIZE_MAX);
        /* EIO: a folder whose path could not be allocated cannot be synced either */
        if (st != MEDLEY_OK && st != MEDLEY_ENOMEM && st != MEDLEY_EIO && ++odd)
            printf("# %s\n", err.message);
    } while (st != MEDLEY_OK && n < 5000);
    ok(st == MEDLEY_OK && n > 50 && odd == 0, "import survives each of %zu failing allocations",
       n);
    struct dataset d;
    n = 0;
    do {
        medley_error err;
        mem_fail_after(n++);
        st = dataset_open(at(folder, "memory"), &d, &err);
        mem_fail_after(SIZE_MAX);
        if (st != MEDLEY_OK && st != MEDLEY_ENOMEM && st != MEDLEY_EIO && ++odd)
            printf("# %s\n", err.message);
    } while (st != MEDLEY_OK && n < 1000);
    ok(st == MEDLEY_OK && n > 5 && odd == 0, "opening survives each of %zu", n);
    dataset_close(&d);
}

int main(void)
{
    folder = tap_folder();
    make();
    test_find();
    test_damage("dataset.safetensors");
    test_damage("relations.safetensors");
    test_pairs();
    test_predictions();
    test_arrays();
    test_memory();
    return tap_done();
}
