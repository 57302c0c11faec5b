/* dataset_write.c: columns in memory to dataset.safetensors. Tested by test_dataset.c. */
#include "data/dataset_file.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/safetensors.h"
#include "data/text_builder.h"

#include <stdlib.h>

struct keyed {
    uint64_t key;
    uint32_t row;
};

static int by_key(const void *a, const void *b)
{
    const struct keyed *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

/* Fills key[n], at[n] in order of the hash of (locale, text). */
static medley_status build_index(const struct dataset *d, const struct str_column *text,
                                 const uint8_t *locale, size_t n, uint64_t *key, uint32_t *at,
                                 medley_error *err)
{
    struct keyed *rows = mem_alloc(n, sizeof *rows);
    if (n && !rows)
        return fail_memory(err, "an index of rows");
    for (size_t i = 0; i < n; i++)
        rows[i] = (struct keyed){
            dataset_key(str_of(d->locale_names[locale[i]]), column_at(text, i)), (uint32_t)i};
    if (n)
        qsort(rows, n, sizeof *rows, by_key);
    for (size_t i = 0; i < n; i++) {
        key[i] = rows[i].key;
        at[i] = rows[i].row;
    }
    mem_free(rows);
    return MEDLEY_OK;
}

struct columns {
    struct text_builder classes, locales;
    uint64_t *query_key, *product_key;
    uint32_t *query_at, *product_at;
};

static medley_status build_columns(const struct dataset *d, struct columns *c,
                                   medley_error *err)
{
    bool good = true;
    for (size_t i = 0; i < d->n_classes; i++)
        good = good && text_add(&c->classes, str_of(d->class_names[i]));
    for (size_t i = 0; i < d->n_locales; i++)
        good = good && text_add(&c->locales, str_of(d->locale_names[i]));
    c->query_key = mem_alloc(d->n_queries, sizeof *c->query_key);
    c->query_at = mem_alloc(d->n_queries, sizeof *c->query_at);
    c->product_key = mem_alloc(d->n_products, sizeof *c->product_key);
    c->product_at = mem_alloc(d->n_products, sizeof *c->product_at);
    if (!good || (d->n_queries && (!c->query_key || !c->query_at)) ||
        (d->n_products && (!c->product_key || !c->product_at)))
        return fail_memory(err, "the columns of a dataset");
    medley_status st = build_index(d, &d->query_text, d->query_locale, d->n_queries,
                                   c->query_key, c->query_at, err);
    if (st != MEDLEY_OK)
        return st;
    return build_index(d, &d->product_id, d->product_locale, d->n_products, c->product_key,
                       c->product_at, err);
}

static void columns_deinit(struct columns *c)
{
    text_deinit(&c->classes);
    text_deinit(&c->locales);
    mem_free(c->query_key);
    mem_free(c->query_at);
    mem_free(c->product_key);
    mem_free(c->product_at);
}

static void add(struct st_writer *w, const char *name, enum st_type type, size_t n,
                const void *data)
{
    uint64_t shape[1] = {n};
    st_writer_add(w, name, type, 1, shape, data);
}

/* Wide types first: the format allows no holes, so this order is what keeps arrays aligned. */
static void declare(struct st_writer *w, const struct dataset *d, const struct columns *c,
                    const bool *spilled)
{
    size_t text = 0;
    struct str_column classes = text_column(&c->classes), locales = text_column(&c->locales);
    add(w, "class_gains", ST_F64, d->n_classes, d->class_gains);
    add(w, "class.offsets", ST_U64, d->n_classes + 1, classes.offsets);
    add(w, "locale.offsets", ST_U64, d->n_locales + 1, locales.offsets);
#define OFFSETS(name, rows) add(w, #name ".offsets", ST_U64, d->rows + 1, d->name.offsets);
    DATASET_TEXTS(OFFSETS)
#undef OFFSETS
    add(w, "query_key", ST_U64, d->n_queries, c->query_key);
    add(w, "product_key", ST_U64, d->n_products, c->product_key);
    add(w, "example_query", ST_U32, d->n_examples, d->example_query);
    add(w, "example_product", ST_U32, d->n_examples, d->example_product);
    add(w, "query_at", ST_U32, d->n_queries, c->query_at);
    add(w, "product_at", ST_U32, d->n_products, c->product_at);
    add(w, "example_label", ST_U8, d->n_examples, d->example_label);
    add(w, "example_split", ST_U8, d->n_examples, d->example_split);
    add(w, "query_locale", ST_U8, d->n_queries, d->query_locale);
    add(w, "product_locale", ST_U8, d->n_products, d->product_locale);
    add(w, "class.bytes", ST_U8, text_bytes(&c->classes), classes.bytes);
    add(w, "locale.bytes", ST_U8, text_bytes(&c->locales), locales.bytes);
#define BYTES(name, rows)                                                   \
    add(w, #name ".bytes", ST_U8, d->name.offsets[d->rows], d->name.bytes); \
    if (spilled && spilled[text++])                                         \
        st_writer_mapped(w);
    DATASET_TEXTS(BYTES)
#undef BYTES
}

medley_status dataset_write(const struct dataset *d, const bool *spilled, const char *folder,
                            medley_error *err)
{
    medley_status st = MEDLEY_OK;
    struct columns c = {0};
    struct st_writer *w = st_writer_new();
    char *path = path_join(folder, DATASET_FILE);
    if (!w || !path)
        st = fail_memory(err, "a dataset writer");
    if (st == MEDLEY_OK)
        st = build_columns(d, &c, err);
    if (st == MEDLEY_OK) {
        st_writer_metadata(w, "format", DATASET_FORMAT);
        declare(w, d, &c, spilled);
        st = st_writer_commit(w, path, err);
    }
    columns_deinit(&c);
    st_writer_free(w);
    mem_free(path);
    return st;
}
