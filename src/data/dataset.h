/* dataset.h: labelled (query, product, locale) examples in columns, read-only and mmapped.
 *
 * A dataset lives in a folder: dataset.safetensors (all columns), relations.safetensors (edge
 * lists, see relations.h) and summary.json (counts, and what import did with odd rows). */
#ifndef DATA_DATASET_H
#define DATA_DATASET_H

#include "base/str.h"
#include "medley/status.h"

#define MAX_CLASSES 16
#define LABEL_NONE 255 /* the label of a pair that has none */

enum split { SPLIT_TRAIN = 0, SPLIT_TEST = 1 };

/* The text of one product; any field may be empty. Borrowed. */
struct product_text {
    struct str title, description, bullets, brand, color, category;
};

/* One (query, product) pair as text: what language models read. Borrowed. */
struct pair_text {
    struct str query;
    struct str locale; /* "us", "es", "jp", or any tag */
    struct product_text product;
};

/* A column of strings: value i is bytes[offsets[i] .. offsets[i+1]). */
struct str_column {
    const uint64_t *offsets; /* [n+1] */
    const char *bytes;
};

/* All arrays are borrowed from the mapping and live as long as the dataset. */
struct dataset {
    size_t n_examples, n_queries, n_products, n_classes, n_locales;

    const uint32_t *example_query;   /* [n_examples] index into queries */
    const uint32_t *example_product; /* [n_examples] index into products */
    const uint8_t *example_label;    /* [n_examples] class index, or LABEL_NONE */
    const uint8_t *example_split;    /* [n_examples] enum split */
    const uint8_t *query_locale;     /* [n_queries] index into locales */
    const uint8_t *product_locale;   /* [n_products] */

    struct str_column example_id;  /* [n_examples] as given by the user */
    struct str_column query_id;    /* [n_queries] */
    struct str_column query_text;  /* [n_queries] */
    struct str_column product_id;  /* [n_products]; unique together with the locale */
    struct str_column title, description, bullets, brand, color, category; /* [n_products] */

    const char *class_names[MAX_CLASSES]; /* [n_classes] */
    double class_gains[MAX_CLASSES];      /* relevance gain of each class, for ranking metrics */
    const char **locale_names;            /* [n_locales] */

    struct dataset_storage *storage; /* private */
};

/* Opens and validates a dataset folder. Threads may share the result. */
medley_status dataset_open(const char *folder, struct dataset *out, medley_error *err);
void dataset_close(struct dataset *d); /* a zeroed struct is fine */

struct str column_at(const struct str_column *c, size_t i);
struct product_text dataset_product(const struct dataset *d, uint32_t product);
struct pair_text dataset_pair(const struct dataset *d, uint32_t query, uint32_t product);
/* UINT32_MAX when absent. */
uint32_t dataset_find_product(const struct dataset *d, struct str product_id, struct str locale);
uint32_t dataset_find_query(const struct dataset *d, struct str text, struct str locale);

#endif
