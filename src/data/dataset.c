/* dataset.c: opening a dataset: maps the file, checks every array and index against the others,
 * and hands out views. Tested by test_dataset.c. */
#include "data/dataset.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/safetensors.h"
#include "data/dataset_file.h"

#include <math.h>
#include <string.h>

struct dataset_storage {
    struct st_file *file;
    char *path;
    char **names; /* [n_names] class names, then locale names, terminated */
    size_t n_names;
    const uint64_t *query_key, *product_key; /* sorted */
    const uint32_t *query_at, *product_at;
};

uint64_t dataset_key(struct str locale, struct str text)
{
    struct hash128 h = hash_bytes(locale.s, locale.n, (struct hash128){0, 0});
    return hash_bytes(text.s, text.n, h).low;
}

/* Entry `name` of n elements, usable in place; *n is read from the file when it is SIZE_MAX. */
static medley_status require(const struct st_file *f, const char *path, const char *name,
                             enum st_type type, size_t *n, const void **out, medley_error *err)
{
    const struct st_entry *e;
    uint64_t shape[1] = {*n};
    medley_status st = st_require(f, name, type, *n == SIZE_MAX ? -1 : 1, shape, &e, err);
    if (st != MEDLEY_OK)
        return st;
    if (e->dims != 1)
        return fail(err, MEDLEY_EFORMAT, "%s: '%s' has %d dimensions instead of 1", path, name,
                    e->dims);
    if (e->count && (uintptr_t)e->data % st_type_size(type) != 0)
        return fail(err, MEDLEY_EFORMAT, "%s: '%s' is not aligned", path, name);
    *n = e->count;
    *out = e->data;
    return MEDLEY_OK;
}

static medley_status require_text(const struct st_file *f, const char *path, const char *name,
                                  size_t *n, struct str_column *out, medley_error *err)
{
    char entry[64];
    const void *offsets, *bytes;
    size_t n_offsets = *n == SIZE_MAX ? SIZE_MAX : *n + 1, n_bytes = SIZE_MAX;
    snprintf(entry, sizeof entry, "%s.offsets", name);
    medley_status st = require(f, path, entry, ST_U64, &n_offsets, &offsets, err);
    if (st != MEDLEY_OK)
        return st;
    snprintf(entry, sizeof entry, "%s.bytes", name);
    st = require(f, path, entry, ST_U8, &n_bytes, &bytes, err);
    if (st != MEDLEY_OK)
        return st;
    const uint64_t *o = offsets;
    bool good = n_offsets > 0 && o[0] == 0 && o[n_offsets - 1] == n_bytes;
    for (size_t i = 1; good && i < n_offsets; i++)
        good = o[i - 1] <= o[i];
    if (!good)
        return fail(err, MEDLEY_EFORMAT, "%s: '%s.offsets' do not fit '%s.bytes'", path, name,
                    name);
    *n = n_offsets - 1;
    out->offsets = o;
    out->bytes = n_bytes ? bytes : "";
    return MEDLEY_OK;
}

static medley_status check_u32(const char *path, const char *name, const uint32_t *v, size_t n,
                               size_t bound, medley_error *err)
{
    for (size_t i = 0; i < n; i++)
        if (v[i] >= bound)
            return fail(err, MEDLEY_EFORMAT, "%s: '%s' row %zu is %u, past the end (%zu)", path,
                        name, i, v[i], bound);
    return MEDLEY_OK;
}

static medley_status check_u8(const char *path, const char *name, const uint8_t *v, size_t n,
                              size_t bound, int also, medley_error *err)
{
    for (size_t i = 0; i < n; i++)
        if (v[i] >= bound && v[i] != also)
            return fail(err, MEDLEY_EFORMAT, "%s: '%s' row %zu is %u, past the end (%zu)", path,
                        name, i, v[i], bound);
    return MEDLEY_OK;
}

/* Copies the strings of a small column, terminated, into storage; out[n]. */
static medley_status copy_names(struct dataset_storage *s, const struct str_column *c, size_t n,
                                const char **out, medley_error *err)
{
    for (size_t i = 0; i < n; i++) {
        struct str name = column_at(c, i);
        if (name.n == 0 || memchr(name.s, 0, name.n))
            return fail(err, MEDLEY_EFORMAT, "%s: class or locale %zu has no usable name",
                        s->path, i);
        char *copy = mem_strndup(name.s, name.n);
        if (!copy)
            return fail_memory(err, "names of classes and locales");
        s->names[s->n_names++] = copy;
        out[i] = copy;
    }
    return MEDLEY_OK;
}

static medley_status load_names(struct dataset *d, medley_error *err)
{
    struct dataset_storage *s = d->storage;
    struct str_column classes, locales;
    d->n_classes = d->n_locales = SIZE_MAX;
    medley_status st = require_text(s->file, s->path, "class", &d->n_classes, &classes, err);
    if (st == MEDLEY_OK)
        st = require_text(s->file, s->path, "locale", &d->n_locales, &locales, err);
    if (st != MEDLEY_OK)
        return st;
    if (d->n_classes < 2 || d->n_classes > MAX_CLASSES || d->n_locales > 255)
        return fail(err, MEDLEY_EFORMAT,
                    "%s: %zu classes and %zu locales (limits: 2 to %d, 255)", s->path,
                    d->n_classes, d->n_locales, MAX_CLASSES);
    const void *gains;
    st = require(s->file, s->path, "class_gains", ST_F64, &d->n_classes, &gains, err);
    if (st != MEDLEY_OK)
        return st;
    memcpy(d->class_gains, gains, d->n_classes * sizeof *d->class_gains);
    s->names = mem_zalloc(d->n_classes + d->n_locales, sizeof *s->names);
    d->locale_names = mem_zalloc(d->n_locales + 1, sizeof *d->locale_names);
    if (!s->names || !d->locale_names)
        return fail_memory(err, "names of classes and locales");
    st = copy_names(s, &classes, d->n_classes, d->class_names, err);
    return st == MEDLEY_OK ? copy_names(s, &locales, d->n_locales, d->locale_names, err) : st;
}

/* The columns of numbers; sets the three counts. */
static medley_status load_numbers(struct dataset *d, medley_error *err)
{
    struct dataset_storage *s = d->storage;
    const struct {
        const char *name;
        enum st_type type;
        size_t *n;
        const void **out;
    } columns[] = {
        {"example_query", ST_U32, &d->n_examples, (const void **)&d->example_query},
        {"example_product", ST_U32, &d->n_examples, (const void **)&d->example_product},
        {"example_label", ST_U8, &d->n_examples, (const void **)&d->example_label},
        {"example_split", ST_U8, &d->n_examples, (const void **)&d->example_split},
        {"query_locale", ST_U8, &d->n_queries, (const void **)&d->query_locale},
        {"query_key", ST_U64, &d->n_queries, (const void **)&s->query_key},
        {"query_at", ST_U32, &d->n_queries, (const void **)&s->query_at},
        {"product_locale", ST_U8, &d->n_products, (const void **)&d->product_locale},
        {"product_key", ST_U64, &d->n_products, (const void **)&s->product_key},
        {"product_at", ST_U32, &d->n_products, (const void **)&s->product_at},
    };
    d->n_examples = d->n_queries = d->n_products = SIZE_MAX;
    medley_status st = MEDLEY_OK;
    for (size_t i = 0; i < sizeof columns / sizeof *columns && st == MEDLEY_OK; i++)
        st = require(s->file, s->path, columns[i].name, columns[i].type, columns[i].n,
                     columns[i].out, err);
    if (st == MEDLEY_OK && (d->n_queries >= UINT32_MAX || d->n_products >= UINT32_MAX))
        st = fail(err, MEDLEY_EFORMAT, "%s: too many queries or products", s->path);
    return st;
}

static medley_status load_texts(struct dataset *d, medley_error *err)
{
    struct dataset_storage *s = d->storage;
    medley_status st = MEDLEY_OK;
#define LOAD(name, rows) \
    if (st == MEDLEY_OK) \
        st = require_text(s->file, s->path, #name, &d->rows, &d->name, err);
    DATASET_TEXTS(LOAD)
#undef LOAD
    return st;
}

static medley_status check_indices(const struct dataset *d, medley_error *err)
{
    const struct dataset_storage *s = d->storage;
    const char *p = s->path;
    medley_status st =
        check_u32(p, "example_query", d->example_query, d->n_examples, d->n_queries, err);
    if (st == MEDLEY_OK)
        st = check_u32(p, "example_product", d->example_product, d->n_examples, d->n_products,
                       err);
    if (st == MEDLEY_OK)
        st = check_u32(p, "query_at", s->query_at, d->n_queries, d->n_queries, err);
    if (st == MEDLEY_OK)
        st = check_u32(p, "product_at", s->product_at, d->n_products, d->n_products, err);
    if (st == MEDLEY_OK)
        st = check_u8(p, "example_label", d->example_label, d->n_examples, d->n_classes,
                      LABEL_NONE, err);
    if (st == MEDLEY_OK)
        st = check_u8(p, "example_split", d->example_split, d->n_examples, SPLIT_TEST + 1, -1,
                      err);
    if (st == MEDLEY_OK)
        st = check_u8(p, "query_locale", d->query_locale, d->n_queries, d->n_locales, -1, err);
    if (st == MEDLEY_OK)
        st = check_u8(p, "product_locale", d->product_locale, d->n_products, d->n_locales, -1,
                      err);
    return st;
}

static medley_status open_file(const char *folder, struct dataset_storage *s, medley_error *err)
{
    s->path = path_join(folder, DATASET_FILE);
    if (!s->path)
        return fail_memory(err, "a path");
    if (!file_exists(s->path))
        return fail(err, MEDLEY_ENOTFOUND, "no dataset in '%s' (run 'medley import' first)",
                    folder);
    medley_status st = st_open(s->path, &s->file, err);
    if (st != MEDLEY_OK)
        return st;
    const char *format = st_metadata(s->file, "format");
    if (!format || strcmp(format, DATASET_FORMAT) != 0)
        return fail(err, MEDLEY_EFORMAT, "%s: format '%s' instead of '%s' (import it again)",
                    s->path, format ? format : "", DATASET_FORMAT);
    return MEDLEY_OK;
}

medley_status dataset_open(const char *folder, struct dataset *out, medley_error *err)
{
    struct dataset d = {0};
    d.storage = mem_zalloc(1, sizeof *d.storage);
    if (!d.storage)
        return fail_memory(err, "a dataset");
    medley_status st = open_file(folder, d.storage, err);
    if (st == MEDLEY_OK)
        st = load_names(&d, err);
    if (st == MEDLEY_OK)
        st = load_numbers(&d, err);
    if (st == MEDLEY_OK)
        st = load_texts(&d, err);
    if (st == MEDLEY_OK)
        st = check_indices(&d, err);
    if (st == MEDLEY_OK)
        *out = d;
    else
        dataset_close(&d);
    return st;
}

void dataset_close(struct dataset *d)
{
    struct dataset_storage *s = d->storage;
    if (s) {
        for (size_t i = 0; i < s->n_names; i++)
            mem_free(s->names[i]);
        mem_free(s->names);
        mem_free(s->path);
        st_close(s->file);
        mem_free(s);
    }
    mem_free(d->locale_names);
    *d = (struct dataset){0};
}

struct str column_at(const struct str_column *c, size_t i)
{
    return (struct str){c->bytes + c->offsets[i], (size_t)(c->offsets[i + 1] - c->offsets[i])};
}

struct product_text dataset_product(const struct dataset *d, uint32_t product)
{
    return (struct product_text){
        .title = column_at(&d->title, product),
        .description = column_at(&d->description, product),
        .bullets = column_at(&d->bullets, product),
        .brand = column_at(&d->brand, product),
        .color = column_at(&d->color, product),
        .category = column_at(&d->category, product),
    };
}

struct pair_text dataset_pair(const struct dataset *d, uint32_t query, uint32_t product)
{
    return (struct pair_text){
        .query = column_at(&d->query_text, query),
        .locale = str_of(d->locale_names[d->query_locale[query]]),
        .product = dataset_product(d, product),
    };
}

/* The sorted hashes of one kind of row, and where the rows are. */
struct index {
    const uint64_t *key; /* [n] sorted */
    const uint32_t *at;  /* [n] */
    size_t n;
    const struct str_column *text;
    const uint8_t *locale;
};

static uint32_t find_row(const struct dataset *d, const struct index *index, struct str text,
                         struct str locale)
{
    uint64_t key = dataset_key(locale, text);
    size_t low = 0, high = index->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (index->key[middle] < key)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < index->n && index->key[low] == key; low++) {
        uint32_t row = index->at[low];
        if (str_eq(column_at(index->text, row), text) &&
            str_is(locale, d->locale_names[index->locale[row]]))
            return row;
    }
    return UINT32_MAX;
}

uint32_t dataset_find_product(const struct dataset *d, struct str product_id, struct str locale)
{
    const struct index index = {d->storage->product_key, d->storage->product_at, d->n_products,
                                &d->product_id, d->product_locale};
    return find_row(d, &index, product_id, locale);
}

uint32_t dataset_find_query(const struct dataset *d, struct str text, struct str locale)
{
    const struct index index = {d->storage->query_key, d->storage->query_at, d->n_queries,
                                &d->query_text, d->query_locale};
    return find_row(d, &index, text, locale);
}
