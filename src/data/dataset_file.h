/* dataset_file.h: private to src/data: how a dataset lies in dataset.safetensors.
 *
 * Entries, wide ones first so that all are aligned: F64 class_gains[K]; U64 NAME.offsets[n+1]
 * for each string column; U64 query_key[Q], product_key[P]: sorted hashes of (locale, text or
 * id), for look-ups without building anything; U32 example_query, example_product, query_at,
 * product_at (the rows that the sorted hashes stand for); U8 example_label, example_split,
 * query_locale, product_locale and NAME.bytes. String columns: class, locale, example_id,
 * query_id, query_text, product_id, title, description, bullets, brand, color, category. */
#ifndef DATA_DATASET_FILE_H
#define DATA_DATASET_FILE_H

#include "data/dataset.h"

#define DATASET_FILE "dataset.safetensors"
#define DATASET_FORMAT "medley-dataset-1"

/* X(name, rows): the string columns that struct dataset holds under the same name. */
#define DATASET_TEXTS(X)       \
    X(example_id, n_examples)  \
    X(query_id, n_queries)     \
    X(query_text, n_queries)   \
    X(product_id, n_products)  \
    X(title, n_products)       \
    X(description, n_products) \
    X(bullets, n_products)     \
    X(brand, n_products)       \
    X(color, n_products)       \
    X(category, n_products)

/* The key under which (locale, text) is found. */
uint64_t dataset_key(struct str locale, struct str text);

/* Writes every column of *d (storage is ignored) to `folder`, atomically. `spilled` says, in
 * the order of DATASET_TEXTS, whose bytes are a mapped file (text_builder.h); NULL: none. */
medley_status dataset_write(const struct dataset *d, const bool *spilled, const char *folder,
                            medley_error *err);

#endif
