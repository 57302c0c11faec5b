/* test_import.c: outside tables to a dataset, what is done with odd rows, and what is refused.
 */
#include "tests/data_help.h"

#include "data/import.h"
#include "data/relations.h"

static const char *folder;

#define PRODUCTS                                                                       \
    "product_id,product_title,product_description,product_bullet_point,product_brand," \
    "product_color,product_locale\n"                                                   \
    "p1,Red mug,A mug,\"Holds tea\nHolds more\",Acme,red,us\n"                         \
    "p2,Blue mug,,,ACME,blue,us\n"                                                     \
    "p3,Taza roja,,,Acme,rojo,es\n"                                                    \
    "p4,Spoon,,,Zeta,,us\n"

#define HEADER "example_id,query,query_id,product_id,product_locale,esci_label,split\n"

static struct import_options options(void)
{
    static char examples[256], products[256];
    snprintf(examples, sizeof examples, "%s/examples.csv", folder);
    snprintf(products, sizeof products, "%s/products.csv", folder);
    return (struct import_options){.examples = examples, .products = products};
}

static medley_status import(const struct import_options *o, medley_error *err)
{
    static char out[256];
    snprintf(out, sizeof out, "%s/out", folder);
    err->message[0] = 0;
    return dataset_import(o, out, err);
}

/* Imports `rows` below the usual header; "" or the message without the folder. */
static const char *import_rows(const char *rows)
{
    static medley_error err;
    static char text[8192];
    snprintf(text, sizeof text, HEADER "%s", rows);
    put(folder, "examples.csv", text);
    put(folder, "products.csv", PRODUCTS);
    struct import_options o = options();
    if (import(&o, &err) == MEDLEY_OK)
        return "";
    size_t n = strlen(folder);
    return strncmp(err.message, folder, n) == 0 ? err.message + n + 1 : err.message;
}

static json *summary(void)
{
    json *root = NULL;
    medley_error err;
    if (json_load(at(folder, "out/summary.json"), &root, &err) != MEDLEY_OK)
        printf("# %s\n", err.message);
    return root;
}

/* summary[a][b], -1 when absent. */
static long number(const json *root, const char *a, const char *b)
{
    int64_t n = -1;
    const json *v = json_get(root, a);
    json_as_i64(b && v ? json_get(v, b) : v, &n);
    return (long)n;
}

/* "count handled line detail" of the issue `kind`, of its first row; "" when there is none. */
static const char *issue(const char *kind)
{
    static char text[512];
    json *root = summary();
    text[0] = 0;
    for (const json *i = json_first(json_get(root, "issues")); i; i = json_next(i)) {
        const char *name = "", *handled = "", *detail = "", *file = "";
        int64_t count = 0, line = 0;
        json_as_text(json_get(i, "kind"), &name);
        if (strcmp(name, kind) != 0)
            continue;
        const json *first = json_first(json_get(i, "first"));
        json_as_text(json_get(i, "handled"), &handled);
        json_as_i64(json_get(i, "count"), &count);
        json_as_i64(json_get(first, "line"), &line);
        json_as_text(json_get(first, "detail"), &detail);
        json_as_text(json_get(first, "file"), &file);
        snprintf(text, sizeof text, "%lld; %s; %s:%lld; %s", (long long)count, handled,
                 strncmp(file, folder, strlen(folder)) ? file : file + strlen(folder) + 1,
                 (long long)line, detail);
    }
    json_free(root);
    return text;
}

static void test_plain(void)
{
    struct dataset d;
    struct relations r;
    medley_error err;
    is_text(import_rows("7,red mug,1,p1,us,E,train\n"
                        "8,red mug,1,p2,us,substitute,train\n"
                        "9,taza,2,p3,es,exact,test\n"),
            "", "a plain import");
    ok(dataset_open(at(folder, "out"), &d, &err) == MEDLEY_OK, "opens");
    ok(d.n_examples == 3 && d.n_queries == 2 && d.n_products == 4 && d.n_classes == 4 &&
           d.n_locales == 2,
       "counts; the product without examples stays");
    ok(d.example_label[0] == 0 && d.example_label[1] == 1 && d.example_label[2] == 0,
       "labels and their long names");
    ok(d.class_gains[0] == 1 && d.class_gains[1] == 0.1 && d.class_gains[3] == 0, "gains");
    ok(d.example_split[1] == SPLIT_TRAIN && d.example_split[2] == SPLIT_TEST, "splits");
    struct pair_text p = dataset_pair(&d, d.example_query[0], d.example_product[0]);
    ok(str_is(p.query, "red mug") && str_is(p.locale, "us") &&
           str_is(p.product.title, "Red mug") &&
           str_is(p.product.bullets, "Holds tea\nHolds more") &&
           str_is(p.product.brand, "Acme") && p.product.category.n == 0,
       "the text of a pair");
    ok(str_is(column_at(&d.example_id, 2), "9") && str_is(column_at(&d.query_id, 1), "2"),
       "ids");
    ok(relations_open(at(folder, "out"), &r, &err) == MEDLEY_OK, "relations open");
    const struct relation *listing = relations_find(&r, "listing");
    ok(listing && listing->n == 3 && listing->kind == RELATION_QUERY_PRODUCT &&
           listing->weight[0] == 1,
       "every judged pair is listed");
    const struct relation *brand = relations_find(&r, "same-brand");
    ok(brand && brand->n == 1 && brand->source[0] == 0 && brand->target[0] == 1 &&
           brand->weight[0] == 1,
       "one brand but for case, within a locale");
    ok(!relations_find(&r, "clicks"), "no clicks without events");
    json *root = summary();
    ok(number(root, "examples", NULL) == 3 && number(root, "labels", "E") == 2 &&
           number(root, "labels", "C") == 0 && number(root, "locales", "es") == 1 &&
           number(root, "splits", "test") == 1 && number(root, "relations", "listing") == 3 &&
           json_count(json_get(root, "issues")) == 0,
       "the summary");
    json_free(root);
    relations_close(&r);
    dataset_close(&d);
}

static void test_odd_rows(void)
{
    is_text(import_rows("1,mug,1,p1,us,E,train\n"
                        "2,mug,1,p1,us,E,train\n"
                        "3,mug,1,p1,us,S,train\n"
                        "4,,1,p2,us,S,train\n"
                        "5,mug,1,p9,us,S,train\n"
                        "6,mug,1,,us,S,train\n"
                        "7,mug,1,p2,us,,train\n"
                        "1,mug,1,p2,us,I,train\n"
                        "8,mug,5,p4,us,I,train\n"
                        "9,big mug,1,p4,us,I,train\n"),
            "", "odd rows do not stop an import");
    is_text(issue("duplicate pair"),
            "1; dropped, the label is the same; examples.csv:3; query 'mug', product 'p1': E, "
            "first E",
            "a repeated pair");
    is_text(issue("conflicting labels"),
            "1; the first label kept; examples.csv:4; query 'mug', product 'p1': S, first E",
            "a pair with two labels");
    is_text(issue("empty query"), "1; pair dropped; examples.csv:5; query '', product 'p2'",
            "an empty query");
    is_text(issue("unknown product"), "1; kept with empty product text; examples.csv:6; 'p9'",
            "an unknown product");
    is_text(issue("no product id"), "1; row dropped; examples.csv:7; query 'mug', product ''",
            "no product id");
    is_text(issue("no label"), "1; pair dropped; examples.csv:8; query 'mug', product 'p2'",
            "no label");
    is_text(issue("duplicate example id"),
            "1; kept; a prediction goes to the first; examples.csv:9; '1'",
            "a repeated example id");
    is_text(issue("one query under several ids"),
            "1; merged under the first id; examples.csv:10; '1' and '5'", "one text, two ids");
    is_text(issue("one query id with several texts"),
            "1; kept as separate queries; examples.csv:11; '1'", "one id, two texts");
    json *root = summary();
    ok(number(root, "examples", NULL) == 5 && number(root, "queries", NULL) == 2 &&
           number(root, "products", NULL) == 5,
       "what is left of them");
    json_free(root);
}

static void test_skip_unknown(void)
{
    struct import_options o = options();
    medley_error err;
    put(folder, "examples.csv", HEADER "1,mug,1,p9,us,E,train\n2,mug,1,p1,us,S,train\n");
    put(folder, "products.csv", PRODUCTS "p1,Again,,,,,us\n,No id,,,,,us\n");
    o.skip_unknown_products = true;
    ok(import(&o, &err) == MEDLEY_OK, "unknown products skipped on request");
    is_text(issue("unknown product"), "1; pair dropped; examples.csv:2; 'p9'", "and counted");
    is_text(issue("duplicate product"), "1; the first kept; products.csv:7; 'p1'",
            "a product that comes twice");
    is_text(issue("no product id"), "1; row dropped; products.csv:8; a product",
            "a product without an id");
}

static void test_many_issues(void)
{
    char rows[4096] = "0,mug,1,p1,us,E,train\n";
    for (int i = 0; i < 25; i++)
        snprintf(rows + strlen(rows), sizeof rows - strlen(rows), "%d,,1,p1,us,E,train\n", i);
    is_text(import_rows(rows), "", "many odd rows of a kind");
    json *root = summary();
    const json *first = json_first(json_get(root, "issues"));
    ok(number(first, "count", NULL) == 25 && json_count(json_get(first, "first")) == 20,
       "all counted, twenty shown");
    json_free(root);
}

static void test_refusals(void)
{
    is_text(import_rows("1,mug,1,p1,us,E,train\n2,mug,1,p2,us,Q,train\n"),
            "examples.csv:3: unknown label 'Q' (expected one of E, S, C, I)",
            "an unknown label");
    is_text(import_rows("1,mug,1,p1,us,E,dev\n"),
            "examples.csv:2: unknown split 'dev' (expected train or test)", "an unknown split");
    is_text(
        import_rows("1,mug,1,p1,us,E,train\n2,mug,1,p2,us,E,test\n"),
        "examples.csv:3: query 'mug' is in both splits: test here, train in line 2; what is "
        "learnt from its train pairs would leak into the test, so give each query one split",
        "a query in both splits");
    is_text(
        import_rows("1,mug,1,p1,us,E,test\n2,mugs,1,p2,us,E,train\n"),
        "examples.csv:3: query id '1' is in both splits: train here, test in line 2; what is "
        "learnt from its train pairs would leak into the test, so give each query one split",
        "a query id in both splits");
    is_text(import_rows("1,mug,1,p1,us,E,train\n2,m\xC3(g,1,p2,us,E,train\n"),
            "examples.csv:3: invalid UTF-8 at byte 2 of column 'query'", "invalid UTF-8");
    is_text(import_rows("1,mug,1,p1,us,E\n"), "examples.csv:2: 6 fields where the header has 7",
            "a ragged row");
    is_text(import_rows("1,\"mug,1,p1,us,E,train\n"),
            "examples.csv:2: the quote of field 2, opened in line 2, is never closed",
            "an open quote");
    ok(strstr(import_rows(",,,,,,\n"), "examples.csv' holds no usable example"),
       "nothing usable");
}

static void test_refused_files(void)
{
    struct import_options o = options();
    medley_error err;
    put(folder, "products.csv", PRODUCTS);
    put(folder, "examples.csv", "query,product,esci_label\nmug,p1,E\n");
    ok(import(&o, &err) == MEDLEY_EFORMAT &&
           says(&err, folder,
                "examples.csv: no column 'product_id' (found: query, product, esci_label)"),
       "a missing column");
    put(folder, "examples.csv", "query,query,product_id,esci_label\n");
    ok(import(&o, &err) == MEDLEY_EFORMAT &&
           says(&err, folder, "examples.csv:1: two columns are called 'query'"),
       "a repeated column");
    put(folder, "examples.csv", "query,product_id,esci_label\nmug,p1,E\n");
    o.columns.split = "part";
    ok(import(&o, &err) == MEDLEY_EFORMAT &&
           says(&err, folder,
                "examples.csv: no column 'part' (found: query, product_id, esci_label)"),
       "a named column must be there");
    o = options();
    put(folder, "products.csv", "id,title\n");
    ok(import(&o, &err) == MEDLEY_EFORMAT &&
           says(&err, folder, "products.csv: no column 'product_id' (found: id, title)"),
       "products without an id");
    put_bytes(folder, "products.csv", "product_id,product_title\np1,a\0b\n", 32);
    ok(import(&o, &err) == MEDLEY_EFORMAT &&
           says(&err, folder, "products.csv:2: NUL byte in column 'product_title'"),
       "a NUL byte");
    o.products = NULL;
    ok(import(&o, &err) == MEDLEY_EINVAL &&
           strcmp(err.message, "import needs a file of examples and one of products") == 0,
       "no products");
    o = options();
    o.test_share = 1.5;
    ok(import(&o, &err) == MEDLEY_EINVAL &&
           strcmp(err.message, "test_share 1.5 is not in [0, 1)") == 0,
       "a test share of more than all");
}

static void test_bare_columns(void)
{
    struct dataset d;
    struct import_options o = options();
    medley_error err;
    char text[16384] = "query,product_id,esci_label\n";
    for (int i = 0; i < 500; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "query %d,p%d,E\n", i,
                 1 + i % 2);
    put(folder, "examples.csv", text);
    put(folder, "products.csv", "product_id\np1\np2\n");
    ok(import(&o, &err) == MEDLEY_OK, "only the columns that must be there");
    ok(dataset_open(at(folder, "out"), &d, &err) == MEDLEY_OK, "opens");
    size_t test = 0;
    for (size_t i = 0; i < d.n_examples; i++)
        test += d.example_split[i] == SPLIT_TEST;
    /* 500 draws of 0.2: standard deviation 9 */
    ok(test > 60 && test < 140, "a fifth of the queries is drawn for test (%zu of 500)", test);
    ok(str_is(column_at(&d.example_id, 3), "3") &&
           str_is(column_at(&d.query_id, 3), "query 3") && strcmp(d.locale_names[0], "us") == 0,
       "row numbers, query texts and the default locale stand in");
    dataset_close(&d);
    o.test_share = 0.5;
    o.seed = 9;
    o.default_locale = "de";
    ok(import(&o, &err) == MEDLEY_OK, "other shares");
    json *root = summary();
    ok(number(root, "splits", "test") > 200 && number(root, "splits", "test") < 300 &&
           number(root, "locales", "de") == 500,
       "a half, in another locale");
    json_free(root);
}

static void test_own_labels(void)
{
    static const char *const half[] = {"partial", "2.0", NULL};
    const struct import_label labels[] = {
        {"1", NULL, 0}, {"middle", half, 0.5}, {"3", NULL, 1}};
    struct import_options o = options();
    struct dataset d;
    medley_error err;
    o.labels = labels;
    o.n_labels = 3;
    o.columns = (struct import_columns){
        .query = "search_term", .product_id = "uid", .label = "relevance", .title = "name"};
    put(folder, "examples.csv",
        "search_term,uid,relevance\nmug,1,3.00\nmug,2,2\nmug,3,PARTIAL\n");
    put(folder, "products.csv",
        "uid,name,category\n1,One,Home > Mugs\n2,Two,home > mugs\n3,Three,\n");
    ok(import(&o, &err) == MEDLEY_OK, "own labels and columns");
    ok(dataset_open(at(folder, "out"), &d, &err) == MEDLEY_OK && d.n_classes == 3, "open");
    ok(d.example_label[0] == 2 && d.example_label[1] == 1 && d.example_label[2] == 1,
       "numbers and aliases are matched");
    ok(strcmp(d.class_names[1], "middle") == 0 && d.class_gains[1] == 0.5, "names and gains");
    ok(str_is(column_at(&d.title, 1), "Two") &&
           str_is(column_at(&d.category, 0), "Home > Mugs"),
       "titles and categories by other names");
    dataset_close(&d);
    o.n_labels = 17;
    ok(import(&o, &err) == MEDLEY_EINVAL &&
           strcmp(err.message, "17 labels; expected 2 to 16") == 0,
       "too many labels");
    const struct import_label same[] = {{"a", NULL, 0}, {"A", NULL, 0}};
    o.labels = same;
    o.n_labels = 2;
    ok(import(&o, &err) == MEDLEY_EINVAL &&
           strcmp(err.message, "two labels are called 'A'") == 0,
       "labels that are the same");
}

static void test_jsonl(void)
{
    struct import_options o = options();
    medley_error err;
    put(folder, "examples.jsonl",
        "{\"query\":\"mug\",\"product_id\":1,\"esci_label\":\"E\",\"split\":\"train\"}\n"
        "{\"query\":\"cup\",\"product_id\":2,\"esci_label\":\"S\",\"split\":\"test\"}\n");
    put(folder, "products.jsonl",
        "{\"product_id\":1,\"product_bullet_point\":[\"a\",\"b\"]}\n{\"product_id\":2}\n");
    static char examples[256], products[256];
    snprintf(examples, sizeof examples, "%s/examples.jsonl", folder);
    snprintf(products, sizeof products, "%s/products.jsonl", folder);
    o.examples = examples;
    o.products = products;
    struct dataset d;
    ok(import(&o, &err) == MEDLEY_OK && dataset_open(at(folder, "out"), &d, &err) == MEDLEY_OK,
       "JSONL");
    ok(d.n_examples == 2 && str_is(column_at(&d.bullets, 0), "a\nb"), "arrays become lines");
    dataset_close(&d);
}

static void test_lists_and_metadata(void)
{
    struct import_options o = options();
    medley_error err;
    struct relations r;
    static char lists[256], metadata[256];
    snprintf(lists, sizeof lists, "%s/lists.csv", folder);
    snprintf(metadata, sizeof metadata, "%s/meta.csv", folder);
    o.lists = lists;
    o.metadata = metadata;
    put(folder, "products.csv", PRODUCTS);
    put(folder, "examples.csv", HEADER "1,mug,1,p1,us,E,train\n");
    put(folder, "lists.csv",
        "list_id,product_id,product_locale\nA,p1,us\nB,p2,us\nA,p2,us\nB,p1,us\nB,p4,us\nA,p9,"
        "us\n"
        "C,p4,us\nA,p1,us\n");
    put(folder, "meta.csv",
        "product_id,product_locale,category\np1,us,Home > Mugs\np2,us,home > MUGS\np9,us,x\n");
    ok(import(&o, &err) == MEDLEY_OK, "lists and metadata");
    is_text(issue("list with an unknown product"),
            "1; product ignored; lists.csv:7; list 'A', product 'p9'",
            "an unknown product in a list");
    is_text(issue("metadata of an unknown product"), "1; ignored; meta.csv:4; 'p9'",
            "metadata of an unknown product");
    ok(relations_open(at(folder, "out"), &r, &err) == MEDLEY_OK, "open");
    const struct relation *c = relations_find(&r, "co-listed");
    ok(c && c->n == 3 && c->kind == RELATION_PRODUCT_PRODUCT && c->source[0] == 0 &&
           c->target[0] == 1 && c->weight[0] == 2 && c->target[1] == 3 && c->weight[1] == 1,
       "weights count the lists two products share; repeats in a list count once");
    const struct relation *s = relations_find(&r, "same-category");
    ok(s && s->n == 1 && s->source[0] == 0 && s->target[0] == 1, "one category but for case");
    relations_close(&r);
}

static void test_counts(void)
{
    static char clicks[256], bought[256];
    const struct import_relation own[] = {{"wished", clicks}, {"bought-with", bought}};
    struct import_options o = options();
    medley_error err;
    struct relations r;
    snprintf(clicks, sizeof clicks, "%s/wished.csv", folder);
    snprintf(bought, sizeof bought, "%s/bought.csv", folder);
    o.relations = own;
    o.n_relations = 2;
    put(folder, "products.csv", PRODUCTS);
    put(folder, "examples.csv", HEADER "1,mug,7,p1,us,E,train\n");
    put(folder, "wished.csv",
        "query,query_id,product_id,count\nmug,,p2,3\n,7,p1,2\nmug,,p2,0.5\ncup,,p1,9\nmug,,p9,"
        "9\nmug,,p1,0\n");
    put(folder, "bought.csv", "product_id,other_product_id,count\np2,p1,4\np1,p2,1\np1,p1,5\n");
    ok(import(&o, &err) == MEDLEY_OK, "tables of counts: %s", err.message);
    is_text(issue("count of an unknown query"),
            "1; ignored; wished.csv:5; relation 'wished', query 'cup'", "an unknown query");
    is_text(issue("count of an unknown product"),
            "1; ignored; wished.csv:6; relation 'wished', product 'p9'", "an unknown product");
    ok(relations_open(at(folder, "out"), &r, &err) == MEDLEY_OK, "open");
    const struct relation *w = relations_find(&r, "wished"),
                          *b = relations_find(&r, "bought-with");
    ok(w && w->kind == RELATION_QUERY_PRODUCT && w->n == 2 && w->weight[0] == 2 &&
           w->weight[1] == 3.5f,
       "by query or its id; repeated rows add up, zeros are left out");
    ok(b && b->kind == RELATION_PRODUCT_PRODUCT && b->n == 1 && b->source[0] == 0 &&
           b->target[0] == 1 && b->weight[0] == 5,
       "two products, either way round; not one with itself");
    relations_close(&r);
    put(folder, "wished.csv", "query,product_id,count\nmug,p2,-3\n");
    ok(import(&o, &err) == MEDLEY_EFORMAT && strstr(err.message, "wished.csv:2: "),
       "a negative count: %s", err.message);
    put(folder, "wished.csv", "product_id,count\np2,3\n");
    ok(import(&o, &err) == MEDLEY_EFORMAT, "no query and one product: %s", err.message);
    put(folder, "wished.csv", "query,product_id,other_product_id\nmug,p2,p1\n");
    ok(import(&o, &err) == MEDLEY_EFORMAT, "both: %s", err.message);
    const struct import_relation twice[] = {{"clicks", clicks}};
    o.relations = twice;
    o.n_relations = 1;
    ok(import(&o, &err) == MEDLEY_EINVAL, "a name that is taken: %s", err.message);
}

/* A list and a brand of 200 products. */
static void test_caps(void)
{
    struct import_options o = options();
    medley_error err;
    struct relations r;
    char text[32768] = "product_id,product_brand\n", rows[16384] = "list_id,product_id\n";
    static char lists[256];
    snprintf(lists, sizeof lists, "%s/lists.csv", folder);
    o.lists = lists;
    for (int i = 0; i < 200; i++) {
        snprintf(text + strlen(text), sizeof text - strlen(text), "p%d,Acme\n", i);
        snprintf(rows + strlen(rows), sizeof rows - strlen(rows), "L,p%d\n", i);
    }
    put(folder, "products.csv", text);
    put(folder, "lists.csv", rows);
    put(folder, "examples.csv", HEADER "1,mug,1,p1,us,E,train\n");
    ok(import(&o, &err) == MEDLEY_OK, "a long list, a big brand");
    is_text(issue("list of more than 50 products"),
            "1; 50 taken, by hash; lists.csv:202; list 'L' has 200 products",
            "the list is cut");
    ok(relations_open(at(folder, "out"), &r, &err) == MEDLEY_OK, "open");
    ok(relations_find(&r, "co-listed")->n == 50 * 49 / 2, "to 50 products");
    const struct relation *b = relations_find(&r, "same-brand");
    unsigned degree[200] = {0}, most = 0;
    for (size_t i = 0; i < b->n; i++) {
        degree[b->source[i]]++;
        degree[b->target[i]]++;
    }
    for (int i = 0; i < 200; i++)
        most = degree[i] > most ? degree[i] : most;
    ok(b->n == 1000 && most == 10, "each product has ten others of its brand");
    relations_close(&r);
}

static float weight_of(const struct relations *r, const char *name, uint32_t s, uint32_t t)
{
    const struct relation *x = relations_find(r, name);
    for (size_t i = 0; x && i < x->n; i++)
        if (x->source[i] == s && x->target[i] == t)
            return x->weight[i];
    return 0;
}

#define OBJECT(id) "\"event_attributes\":{\"object\":{\"object_id\":" id "},\"position\":{}}"

static void test_events(void)
{
    struct import_options o = options();
    medley_error err;
    struct relations r;
    static char events[256];
    snprintf(events, sizeof events, "%s/events.jsonl", folder);
    o.events = events;
    put(folder, "products.csv", PRODUCTS);
    put(folder, "examples.csv", HEADER "1,red mug,1,p1,us,E,train\n2,taza,2,p3,es,E,train\n");
    put(folder, "events.jsonl",
        "{\"action_name\":\"click\",\"timestamp\":\"t\",\"query_id\":\"1\"," OBJECT(
            "\"p1\"") "}\n"
                      "{\"action_name\":\"CLICK\",\"user_query\":\"red mug\"," OBJECT(
                          "\"p1\"") "}\n"
                                    "{\"action_name\":\"add_to_cart\",\"user_query\":"
                                    "\"taza\"," OBJECT(
                                        "\"p3\"") "}\n"
                                                  "{\"user_query\":\"red "
                                                  "mug\",\"query_id\":\"u-1\",\"query_response_"
                                                  "hit_ids\":[\"p1\",\"p2\"]}\n"
                                                  "{\"action_name\":\"purchase\",\"query_id\":"
                                                  "\"u-1\"," OBJECT(
                                                      "\"p2\"") "}\n"
                                                                "{\"action_name\":\"view\","
                                                                "\"query_id\":\"u-1\",\"object_"
                                                                "id\":\"p4\"}\n"
                                                                "{\"action_name\":\"click\","
                                                                "\"query_id\":\"zzz\"," OBJECT(
                                                                    "\"p1\"") "}\n"
                                                                              "{\"action_"
                                                                              "name\":"
                                                                              "\"click\","
                                                                              "\"query_id\":"
                                                                              "\"1\"," OBJECT(
                                                                                  "\"p9\"") "}"
                                                                                            "\n"
                                                                                            "{"
                                                                                            "\""
                                                                                            "ac"
                                                                                            "ti"
                                                                                            "on"
                                                                                            "_n"
                                                                                            "am"
                                                                                            "e"
                                                                                            "\""
                                                                                            ":"
                                                                                            "\""
                                                                                            "cl"
                                                                                            "ic"
                                                                                            "k"
                                                                                            "\""
                                                                                            ","
                                                                                            "\""
                                                                                            "qu"
                                                                                            "er"
                                                                                            "y_"
                                                                                            "id"
                                                                                            "\""
                                                                                            ":"
                                                                                            "\""
                                                                                            "1"
                                                                                            "\""
                                                                                            ","
                                                                                            "\""
                                                                                            "ev"
                                                                                            "en"
                                                                                            "t_"
                                                                                            "at"
                                                                                            "tr"
                                                                                            "ib"
                                                                                            "ut"
                                                                                            "es"
                                                                                            "\""
                                                                                            ":{"
                                                                                            "\""
                                                                                            "ob"
                                                                                            "je"
                                                                                            "ct"
                                                                                            "\""
                                                                                            ":n"
                                                                                            "ul"
                                                                                            "l}"
                                                                                            "}"
                                                                                            "\n"
                                                                                            "{"
                                                                                            "\""
                                                                                            "ac"
                                                                                            "ti"
                                                                                            "on"
                                                                                            "_n"
                                                                                            "am"
                                                                                            "e"
                                                                                            "\""
                                                                                            ":"
                                                                                            "\""
                                                                                            "sc"
                                                                                            "ro"
                                                                                            "ll"
                                                                                            "\""
                                                                                            ","
                                                                                            "\""
                                                                                            "qu"
                                                                                            "er"
                                                                                            "y_"
                                                                                            "id"
                                                                                            "\""
                                                                                            ":"
                                                                                            "\""
                                                                                            "1"
                                                                                            "\""
                                                                                            "," OBJECT(
                                                                                                "\"p1\"") "}\n"
                                                                                                          "{\"timestamp\":\"t\"}\n");
    ok(import(&o, &err) == MEDLEY_OK, "events: %s", err.message);
    is_text(issue("event with an unknown query"),
            "1; ignored; events.jsonl:7; query id 'zzz', text ''", "an unknown query");
    is_text(issue("event with an unknown product"), "1; ignored; events.jsonl:8; 'p9'",
            "an unknown product");
    is_text(issue("event without action, query or object"),
            "2; ignored; events.jsonl:9; 'click' without an object", "missing parts");
    is_text(issue("event with an unknown action"), "1; ignored; events.jsonl:10; 'scroll'",
            "an unknown action");
    ok(relations_open(at(folder, "out"), &r, &err) == MEDLEY_OK, "open");
    ok(weight_of(&r, "clicks", 0, 0) == 2, "clicks by id and by text add up");
    ok(weight_of(&r, "adds", 1, 2) == 1, "a text is looked for in every locale");
    ok(weight_of(&r, "impressions", 0, 0) == 1 && weight_of(&r, "impressions", 0, 1) == 1,
       "hits of a search are impressions");
    ok(weight_of(&r, "purchases", 0, 1) == 1 && weight_of(&r, "consumes", 0, 3) == 1,
       "later events name the search");
    relations_close(&r);
    put(folder, "events.jsonl", "{\"action_name\":\"click\"}\n{\"action\n");
    ok(import(&o, &err) == MEDLEY_EFORMAT && strstr(err.message, "events.jsonl:2: "),
       "a line that is no JSON is refused: %s", err.message);
}

static void test_esci(void)
{
    const char *esci = "../shared/data/esci";
    if (!folder_exists(esci)) {
        skip("no ESCI extract beside the repository");
        return;
    }
    struct import_options o = {.examples = "../shared/data/esci/examples.csv",
                               .products = "../shared/data/esci/products.csv",
                               .metadata = "../shared/data/esci/product_metadata.csv",
                               .lists = "../shared/data/esci/colistings.csv"};
    medley_error err;
    ok(import(&o, &err) == MEDLEY_OK, "the ESCI extract: %s", err.message);
    json *root = summary();
    ok(number(root, "examples", NULL) == 7831 && number(root, "queries", NULL) == 2370 &&
           number(root, "products", NULL) == 9651,
       "its examples, queries and products");
    ok(number(root, "labels", "E") == 4123 && number(root, "labels", "S") == 2162 &&
           number(root, "labels", "I") == 1239 && number(root, "labels", "C") == 307,
       "its labels");
    ok(number(root, "locales", "us") == 7073 && number(root, "locales", "jp") == 431 &&
           number(root, "locales", "es") == 327,
       "its locales");
    ok(number(root, "splits", "train") == 6415 && number(root, "splits", "test") == 1416,
       "its splits");
    ok(number(root, "relations", "listing") == 7831 &&
           number(root, "relations", "co-listed") > 1000 &&
           number(root, "relations", "same-brand") > 1000 &&
           number(root, "relations", "same-category") > 1000,
       "its relations: co-listed %ld, same-brand %ld, same-category %ld",
       number(root, "relations", "co-listed"), number(root, "relations", "same-brand"),
       number(root, "relations", "same-category"));
    ok(json_count(json_get(root, "issues")) == 0, "nothing is odd about it");
    json_free(root);
}

int main(void)
{
    folder = tap_folder();
    test_plain();
    test_odd_rows();
    test_skip_unknown();
    test_many_issues();
    test_refusals();
    test_refused_files();
    test_bare_columns();
    test_own_labels();
    test_jsonl();
    test_lists_and_metadata();
    test_counts();
    test_caps();
    test_events();
    test_esci();
    return tap_done();
}
