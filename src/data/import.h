/* import.h: outside files to a dataset folder. Streams: memory is bounded by the columns kept.
 *
 * What import does with what it finds (each is counted in summary.json, the first 20 listed):
 * - A query is one text (trimmed) in one locale; further ids of the same text are merged under
 * the first. A query, or a query id, in both splits is refused: that is a leak.
 * - Dropped: pairs with an empty query, product id or label; a pair that came before (the first
 * label stays); a product that came before. Products without examples are kept, as nodes of the
 * graph.
 * - Refused with file and line: unknown labels and splits, invalid UTF-8, NUL bytes, ragged
 * rows.
 * - Without the columns: example_id is the row number from 0, query_id the query text, the
 * split is drawn by hash of the query. Relations: "listing" has every judged pair; "co-listed"
 * weighs two products by the lists they share, of at most 50 products each (by hash); in
 * "same-brand" and "same-category" (equal but for case, within a locale) each product is linked
 * to at most 10 others, neighbours in order of a hash; "impressions", "clicks", "adds",
 * "purchases", "consumes" count events; "co-viewed" (clicked, watched) and "co-purchased" count
 * sessions in which two products met, among the last 16 of a session and the last 65,536
 * sessions. A line that says the same as one before it, time included, counts once (see ubi.c).
 */
#ifndef DATA_IMPORT_H
#define DATA_IMPORT_H

#include "data/dataset.h"

/* Which column of the user's file plays which part; NULL means the ESCI name (see formats). The
 * same struct is filled from `data.columns:` in medley.yaml. */
struct import_columns {
    const char *example_id, *query, *query_id, *product_id, *locale, *label, *split;
    const char *title, *description, *bullets, *brand, *color, *category;
};

/* A relation of the user's own: a table of query (or query_id), product_id, count; or of
 * product_id, other_product_id, count. Without counts each row counts 1;
 * repeated rows add up. */
struct import_relation {
    const char *name, *file;
};

struct import_label { /* one class of the label set */
    const char *name;
    const char *const *aliases; /* other spellings, NULL-terminated; may be NULL */
    double gain;
};

/* The files of the Shopping Queries Dataset in its folder: shopping_queries_dataset_examples,
 * _products and, if it is there, _sources; also without that prefix; .parquet (or a folder of
 * parts of that name), .csv, .tsv or .jsonl. The caller frees them with esci_free. */
enum esci_file { ESCI_EXAMPLES, ESCI_PRODUCTS, ESCI_SOURCES, ESCI_FILES };
medley_status esci_find(const char *folder, char *out[ESCI_FILES], medley_error *err);
void esci_free(char *files[ESCI_FILES]);

/* All-zero means the ESCI defaults; examples and products are required, or esci. Paths end in
 * .csv, .tsv, .jsonl or .parquet (the ending decides the format). */
struct import_options {
    const char *examples, *products;
    const char *esci;     /* in place of both: the folder of the Shopping Queries Dataset. Only
                             products that its examples name are taken */
    const char *version;  /* of it: "small" or "large"; NULL: large */
    const char *metadata; /* optional: product_id, product_locale, category */
    const char *lists;    /* optional: list_id, product_id, product_locale -> co-listed */
    const struct import_relation *relations; /* optional, [n_relations] */
    size_t n_relations;
    const char *events;       /* optional: UBI events JSONL -> impressions, clicks, adds, ... */
    const char *events_until; /* a time: later events are not used, nor are those without one;
                                 NULL: all are */
    double events_half_life;  /* days in which an event's weight halves, up to the last one; 0:
                                 events weigh 1 */
    struct import_columns columns;
    const struct import_label *labels; /* NULL: E, S, C, I with their long names as aliases */
    size_t n_labels;                   /* 2..16 when labels is given */
    const char *default_locale;        /* when the file has no locale column; NULL: "us" */
    double test_share; /* when the file has no split column: share of queries held out for
                          test, by hash of the query; 0 means 0.2 */
    uint64_t seed;
    bool skip_unknown_products; /* pairs naming an unknown product: drop and count (true) or
                                   keep with empty product text and count (false) */
};

/* Imports into `folder` (replacing it atomically, file by file), writing also summary.json:
 * {"examples","queries","products","labels":{name:count},"locales":{tag:count},
 *  "splits":{"train":n,"test":n},"sources":{name:queries} (where esci says),
 *  "relations":{name:edges},
 *  "issues":[{"kind","count","handled":"...","first":[{"file","line","detail"}]}]} */
medley_status dataset_import(const struct import_options *options, const char *folder,
                             medley_error *err);

/* Unlabelled or labelled pairs for `predict --pairs`: columns query, product_id,
 * product_locale, optional example_id and product text columns. Rows refer to products by id or
 * carry text. */
struct pairs {
    size_t n;
    struct str_column example_id, product_id; /* [n] */
    struct pair_text *texts;       /* [n]; product text empty when only an id is given */
    struct pairs_storage *storage; /* private */
};
medley_status pairs_read(const char *path, const struct import_columns *columns,
                         struct pairs *out, medley_error *err);
void pairs_free(struct pairs *p);

/* A prediction table made elsewhere: example_id and one column per class, CSV/TSV/JSONL or NPY
 * ([n_examples, K] in dataset order). out[n_examples*K]; rows not given become NaN. Columns are
 * p_<class> in any case (p_e, p_E); `logits` applies softmax first. Refuses NaN, negative
 * probabilities, and rows that do not sum to 1 within 1e-3, by file:line. */
medley_status predictions_read(const char *path, const struct dataset *d, bool logits,
                               float *out, medley_error *err);

#endif
