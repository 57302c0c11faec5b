/* test_import_esci.c: the folder of the Shopping Queries Dataset as it was published: which
 * files are found, which examples belong to a version, which products are taken, what is
 * refused. */
#include "tests/data_help.h"

#include "data/dataset.h"
#include "data/import.h"
#include "data/table_writer.h"

#include <sys/stat.h>

static const char *folder; /* of the test; the dataset is in its esci/ */

/* A line "a|b|c" of each row; a type letter of each column: t text, i integer, o text that may
 * be missing (an empty field). */
static void write_table(const char *name, const char *types, const char *const *columns,
                        const char *const *rows, size_t n_rows)
{
    struct table_column c[16];
    struct table_writer *w = NULL;
    medley_error err = {MEDLEY_OK, ""};
    size_t n = strlen(types);
    for (size_t i = 0; i < n; i++)
        c[i] = (struct table_column){columns[i], types[i] == 'i' ? TABLE_INTEGER : TABLE_TEXT,
                                     types[i] == 'o'};
    medley_status st = table_writer_open(at(folder, name), NULL, c, n, &w, &err);
    for (size_t r = 0; r < n_rows && !st; r++) {
        const char *p = rows[r];
        for (size_t i = 0; i < n; i++) {
            size_t length = strcspn(p, "|");
            struct str field = {p, length};
            int64_t number = 0;
            if (types[i] == 'i' && str_to_i64(field, &number))
                table_put_integer(w, number);
            else
                table_put_text(w, field);
            p += length + (p[length] == '|');
        }
        st = table_writer_row(w, &err);
    }
    if (!st)
        st = table_writer_commit(w, &err);
    if (st)
        printf("Bail out! %s: %s\n", name, err.message), exit(1);
    table_writer_free(w);
}

#define COUNT(list) (sizeof(list) / sizeof *(list))

static const char *const example_columns[] = {"example_id",    "query",          "query_id",
                                              "product_id",    "product_locale", "esci_label",
                                              "small_version", "large_version",  "split"};

static void write_examples(const char *name, size_t from, size_t to)
{
    static const char *const rows[] = {
        "0|red mug|10|p1|us|E|1|1|train", "1|red mug|10|p2|us|S|1|1|train",
        "2|mug|11|p2|us|E|0|1|test",      "3|mug|11|p4|us|I|0|1|test",
        "4|taza|12|p3|es|E|1|1|train",    "5|taza|12|p1|es|C|1|1|train",
        "6|spoon|13|p4|us|E|0|1|train",
    };
    write_table(name, "ititttiit", example_columns, rows + from, to - from);
}

static void write_products(const char *name)
{
    static const char *const columns[] = {
        "product_id",    "product_title", "product_description", "product_bullet_point",
        "product_brand", "product_color", "product_locale"};
    static const char *const rows[] = {
        "p1|Red mug|A mug|Holds tea|Acme|red|us",
        "p2|Blue mug||||blue|us",
        "p3|Taza roja|||Acme||es",
        "p4|Spoon||||silver|us",
        "p9|Nobody judged this|||Acme||us",
        "p1|Taza|||Acme|rojo|es",
    };
    write_table(name, "tooooot", columns, rows, COUNT(rows));
}

static void write_sources(void)
{
    put(folder, "esci/shopping_queries_dataset_sources.csv",
        "query_id,source\n10,behavioral\n11,other\n12,behavioral\n13,negations\n99,other\n");
}

/* "" or the message, without the folder at its begin. */
static const char *import(const char *version, struct dataset *out)
{
    static char esci[256];
    static medley_error err;
    snprintf(esci, sizeof esci, "%s/esci", folder);
    struct import_options o = {.esci = esci, .version = version};
    *out = (struct dataset){0};
    err.message[0] = 0;
    medley_status st = dataset_import(&o, at(folder, "out"), &err);
    if (!st)
        st = dataset_open(at(folder, "out"), out, &err);
    size_t n = strlen(folder);
    const char *hit = strstr(err.message, folder);
    if (hit)
        memmove((char *)hit, hit + n + 1, strlen(hit + n + 1) + 1);
    return st ? err.message : "";
}

static long source_queries(const char *source)
{
    json *root = NULL;
    int64_t n = -1;
    if (json_load(at(folder, "out/summary.json"), &root, NULL) == MEDLEY_OK)
        json_as_i64(json_get(json_get(root, "sources"), source), &n);
    json_free(root);
    return (long)n;
}

static void test_versions(void)
{
    struct dataset d;
    is_text(import(NULL, &d), "", "the large version, which is the default");
    ok(d.n_examples == 7 && d.n_queries == 4 && d.n_products == 5,
       "%zu examples, %zu queries, %zu products that an example names", d.n_examples,
       d.n_queries, d.n_products);
    ok(source_queries("behavioral") == 2 && source_queries("other") == 1 &&
           source_queries("negations") == 1,
       "where queries come from");
    dataset_close(&d);
    is_text(import("small", &d), "", "the small version");
    ok(d.n_examples == 4 && d.n_queries == 2 && d.n_products == 4,
       "%zu examples, %zu queries, %zu products", d.n_examples, d.n_queries, d.n_products);
    ok(source_queries("behavioral") == 2 && source_queries("other") == -1, "their sources");
    dataset_close(&d);
}

static void test_forms(void)
{
    struct dataset d;
    remove(at(folder, "esci/shopping_queries_dataset_sources.csv"));
    remove(at(folder, "esci/shopping_queries_dataset_examples.parquet"));
    mkdir(at(folder, "esci/shopping_queries_dataset_examples.parquet"), 0777);
    write_examples("esci/shopping_queries_dataset_examples.parquet/part-0.parquet", 0, 3);
    write_examples("esci/shopping_queries_dataset_examples.parquet/part-1.parquet", 3, 7);
    is_text(import(NULL, &d), "", "a folder of parts, and no file of sources");
    ok(d.n_examples == 7 && d.n_products == 5, "the same examples");
    dataset_close(&d);
    write_examples("esci/examples.csv", 0, 7);
    remove(at(folder, "esci/shopping_queries_dataset_examples.parquet/part-0.parquet"));
    remove(at(folder, "esci/shopping_queries_dataset_examples.parquet/part-1.parquet"));
    remove(at(folder, "esci/shopping_queries_dataset_examples.parquet"));
    is_text(import("small", &d), "", "without the prefix, as CSV");
    ok(d.n_examples == 4, "the same small version");
    dataset_close(&d);
}

static void test_refused(void)
{
    struct dataset d;
    medley_error err = {MEDLEY_OK, ""};
    put(folder, "esci/examples.csv",
        "example_id,query,query_id,product_id,product_locale,esci_label,split,small_version,"
        "large_version\n1,q,1,p1,us,E,train,1,yes\n");
    is_text(import(NULL, &d),
            "esci/examples.csv:2: small_version and large_version are 0 or 1, not 'yes'",
            "a flag that is none");
    put(folder, "esci/examples.csv",
        "example_id,query,query_id,product_id,product_locale,esci_label,split,small_version,"
        "large_version\n1,q,1,p1,us,E,train,0,1\n");
    is_text(import("small", &d), "'esci/examples.csv' has no example of the small version",
            "nothing left");
    put(folder, "esci/examples.csv",
        "example_id,query,query_id,product_id,product_locale,esci_label,split\n"
        "1,q,1,p1,us,E,train\n");
    const char *message = import("small", &d);
    ok(strstr(message, "small_version"), "an extract without versions: %s", message);
    is_text(import("medium", &d), "version 'medium' is neither small nor large", "a version");
    remove(at(folder, "esci/examples.csv"));
    is_text(import(NULL, &d),
            "'esci' has neither shopping_queries_dataset_examples.parquet nor "
            "examples.parquet (or .csv, .tsv, .jsonl)",
            "no examples");
    struct import_options both = {.esci = folder, .examples = "a.csv"};
    ok(dataset_import(&both, at(folder, "out"), &err) == MEDLEY_EINVAL, "%s", err.message);
    struct import_options nowhere = {.esci = "/nonexistent"};
    ok(dataset_import(&nowhere, at(folder, "out"), &err) == MEDLEY_ENOTFOUND, "%s",
       err.message);
}

int main(void)
{
    folder = tap_folder();
    mkdir(at(folder, "esci"), 0777);
    write_examples("esci/shopping_queries_dataset_examples.parquet", 0, 7);
    write_products("esci/shopping_queries_dataset_products.parquet");
    write_sources();
    test_versions();
    test_forms();
    test_refused();
    return tap_done();
}
