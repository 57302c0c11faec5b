/* pairs.c: the pairs that a user wants decided, from a table of ids or of texts. Tested by
 * test_import.c. */
#include "data/import.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/pool.h"
#include "data/table_reader.h"
#include "data/text_builder.h"

enum field {
    QUERY,
    PRODUCT_ID,
    LOCALE,
    EXAMPLE_ID,
    TITLE,
    DESCRIPTION,
    BULLETS,
    BRAND,
    COLOR,
    CATEGORY,
    FIELDS
};

struct pairs_storage {
    struct text_builder columns[FIELDS];
};

/* Finds the columns; which of them must be there is `required`. */
static medley_status find_columns(struct table *t, const struct import_columns *c,
                                  size_t column[FIELDS], medley_error *err)
{
    static const struct import_columns none = {0};
    if (!c)
        c = &none;
    const char *const named[FIELDS] = {c->query, c->product_id,  c->locale,  c->example_id,
                                       c->title, c->description, c->bullets, c->brand,
                                       c->color, c->category};
    static const char *const esci[FIELDS] = {"query",
                                             "product_id",
                                             "product_locale",
                                             "example_id",
                                             "product_title",
                                             "product_description",
                                             "product_bullet_point",
                                             "product_brand",
                                             "product_color",
                                             "category"};
    for (int i = 0; i < FIELDS; i++)
        column[i] = table_find(t, named[i] ? named[i] : esci[i]);
    size_t query;
    medley_status st = table_require(t, named[QUERY] ? named[QUERY] : esci[QUERY], &query, err);
    if (st == MEDLEY_OK && column[PRODUCT_ID] == TABLE_NO_COLUMN &&
        column[TITLE] == TABLE_NO_COLUMN)
        st = table_require(t, named[PRODUCT_ID] ? named[PRODUCT_ID] : esci[PRODUCT_ID], &query,
                           err);
    return st;
}

static medley_status add_row(struct pairs_storage *s, const struct table *t,
                             const size_t column[FIELDS], uint64_t row, medley_error *err)
{
    char number[24];
    struct str fields[FIELDS];
    for (int i = 0; i < FIELDS; i++)
        fields[i] = str_trim(table_field(t, column[i]));
    if (fields[QUERY].n == 0)
        return table_fail(t, err, "empty query");
    if (fields[PRODUCT_ID].n == 0 && fields[TITLE].n == 0)
        return table_fail(t, err, "neither a product id nor a title");
    if (fields[LOCALE].n == 0)
        fields[LOCALE] = STR("us");
    if (fields[EXAMPLE_ID].n == 0) {
        snprintf(number, sizeof number, "%llu", (unsigned long long)row);
        fields[EXAMPLE_ID] = str_of(number);
    }
    for (int i = 0; i < FIELDS; i++)
        if (!text_add(&s->columns[i], fields[i]))
            return fail_memory(err, "pairs");
    return MEDLEY_OK;
}

static medley_status fill_texts(struct pairs *p, medley_error *err)
{
    const struct text_builder *c = p->storage->columns;
    p->n = c[QUERY].n;
    p->example_id = text_column(&c[EXAMPLE_ID]);
    p->product_id = text_column(&c[PRODUCT_ID]);
    p->texts = mem_alloc(p->n, sizeof *p->texts);
    if (p->n && !p->texts)
        return fail_memory(err, "pairs");
    for (size_t i = 0; i < p->n; i++)
        p->texts[i] = (struct pair_text){
            .query = text_at(&c[QUERY], i),
            .locale = text_at(&c[LOCALE], i),
            .product = {text_at(&c[TITLE], i), text_at(&c[DESCRIPTION], i),
                        text_at(&c[BULLETS], i), text_at(&c[BRAND], i), text_at(&c[COLOR], i),
                        text_at(&c[CATEGORY], i)},
        };
    return MEDLEY_OK;
}

medley_status pairs_read(const char *path, const struct import_columns *columns,
                         struct pairs *out, medley_error *err)
{
    struct table *t = NULL;
    struct pairs p = {0};
    size_t column[FIELDS];
    bool more = true;
    p.storage = mem_zalloc(1, sizeof *p.storage);
    if (!p.storage)
        return fail_memory(err, "pairs");
    medley_status st = table_open(path, &t, err);
    if (st == MEDLEY_OK)
        st = find_columns(t, columns, column, err);
    for (uint64_t row = 0; st == MEDLEY_OK; row++) {
        st = table_next(t, &more, err);
        if (st != MEDLEY_OK || !more)
            break;
        st = add_row(p.storage, t, column, row, err);
        if (st == MEDLEY_OK && row % 1024 == 0 && interrupted())
            st = fail(err, MEDLEY_EINTERRUPTED, "reading of '%s' interrupted", path);
    }
    if (st == MEDLEY_OK)
        st = fill_texts(&p, err);
    table_close(t);
    if (st == MEDLEY_OK)
        *out = p;
    else
        pairs_free(&p);
    return st;
}

void pairs_free(struct pairs *p)
{
    if (p->storage)
        for (int i = 0; i < FIELDS; i++)
            text_deinit(&p->storage->columns[i]);
    mem_free(p->storage);
    mem_free(p->texts);
    *p = (struct pairs){0};
}
