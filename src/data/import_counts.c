/* import_counts.c: relations of the user's own, from tables of counts: query and product, or
 * two products, and how often. Repeated rows add up. Tested by test_import.c. */
#include "data/importer.h"

#include "base/error.h"
#include "base/memory.h"

#include <math.h>
#include <string.h>

struct counts {
    struct importer *im;
    struct table *t;
    struct own_relation *out;
    size_t query, query_id, product, other, count, locale; /* columns */
};

/* Two columns of products make a product-product relation, else there must be a query. */
static medley_status find_columns(struct counts *c, medley_error *err)
{
    const struct import_columns *names = &c->im->options->columns;
    const char *product = or_esci(names->product_id, "product_id");
    medley_status st = table_require(c->t, product, &c->product, err);
    if (st != MEDLEY_OK)
        return st;
    c->query = table_find(c->t, or_esci(names->query, "query"));
    c->query_id = table_find(c->t, or_esci(names->query_id, "query_id"));
    c->other = table_find(c->t, "other_product_id");
    c->count = table_find(c->t, "count");
    c->locale = table_find(c->t, or_esci(names->locale, "product_locale"));
    if (table_has_header(c->t) && c->query == TABLE_NO_COLUMN &&
        c->query_id == TABLE_NO_COLUMN && c->other == TABLE_NO_COLUMN)
        return table_fail(
            c->t, err,
            "relation '%s': expected a column query, query_id or other_product_id "
            "beside %s",
            c->out->name, product);
    return MEDLEY_OK;
}

/* JSONL has every column, so there the first row decides. */
static medley_status decide_kind(struct counts *c, medley_error *err)
{
    bool pair = table_has_header(c->t) ? c->other != TABLE_NO_COLUMN
                                       : table_field(c->t, c->other).n > 0;
    bool query = table_has_header(c->t)
                     ? c->query != TABLE_NO_COLUMN || c->query_id != TABLE_NO_COLUMN
                     : table_field(c->t, c->query).n || table_field(c->t, c->query_id).n;
    if (pair && query)
        return table_fail(c->t, err, "relation '%s' has a query and two products; it is one",
                          c->out->name);
    c->out->kind = pair ? RELATION_PRODUCT_PRODUCT : RELATION_QUERY_PRODUCT;
    return MEDLEY_OK;
}

static medley_status read_count(const struct counts *c, double *out, medley_error *err)
{
    struct str text = str_trim(table_field(c->t, c->count));
    *out = 1;
    if (text.n == 0 || (str_to_double(text, out) && *out >= 0 && *out <= 1e15))
        return MEDLEY_OK;
    return table_fail(c->t, err,
                      "relation '%s': expected a count that is not negative, not '%.*s'",
                      c->out->name, (int)text.n, text.s);
}

/* MAP_NONE, and the issue counted, when nobody knows it. */
static uint32_t known_product(const struct counts *c, uint8_t locale, size_t column)
{
    struct str id = str_trim(table_field(c->t, column));
    uint32_t found = importer_find(c->im, c->im->products, locale, id);
    if (found == MAP_NONE)
        issue_add(c->im, ISSUE_COUNT_PRODUCT, c->t, "relation '%s', product '%.*s'",
                  c->out->name, (int)id.n, id.s);
    return found;
}

static uint32_t known_query(const struct counts *c, uint8_t locale)
{
    struct importer *im = c->im;
    struct str id = str_trim(table_field(c->t, c->query_id)),
               text = str_trim(table_field(c->t, c->query));
    uint32_t row = id.n ? importer_find(im, im->query_ids, locale, id) : MAP_NONE;
    uint32_t found = row != MAP_NONE ? im->id_rows[row].query
                     : text.n        ? importer_find(im, im->queries, locale, text)
                                     : MAP_NONE;
    if (found == MAP_NONE)
        issue_add(im, ISSUE_COUNT_QUERY, c->t, "relation '%s', query '%.*s'", c->out->name,
                  (int)(text.n ? text : id).n, (text.n ? text : id).s);
    return found;
}

static medley_status add_row(struct counts *c, medley_error *err)
{
    double count;
    uint8_t locale = 0;
    bool pair = c->out->kind == RELATION_PRODUCT_PRODUCT, added = true;
    medley_status st = read_count(c, &count, err);
    if (st == MEDLEY_OK)
        st = importer_locale(c->im, c->t, table_field(c->t, c->locale), &locale, err);
    if (st != MEDLEY_OK)
        return st;
    uint32_t source = pair ? known_product(c, locale, c->other) : known_query(c, locale);
    uint32_t product = source == MAP_NONE ? MAP_NONE : known_product(c, locale, c->product);
    if (product == MAP_NONE || count == 0)
        return MEDLEY_OK;
    if (pair)
        added = edges_add_pair(&c->out->edges, source, product, (float)count);
    else
        added = edges_add(&c->out->edges, source, product, (float)count);
    return added ? MEDLEY_OK : fail_memory(err, "a relation");
}

static medley_status import_one(struct importer *im, const struct import_relation *asked,
                                struct own_relation *out, medley_error *err)
{
    struct counts c = {.im = im, .out = out};
    out->name = asked->name;
    medley_status st = table_open(asked->file, &c.t, err);
    if (st != MEDLEY_OK)
        return st;
    st = find_columns(&c, err);
    bool more = true;
    for (uint64_t row = 0; st == MEDLEY_OK && more; row++) {
        st = importer_tick("import relation", c.t, row, err);
        if (st == MEDLEY_OK)
            st = table_next(c.t, &more, err);
        if (st == MEDLEY_OK && more && row == 0)
            st = decide_kind(&c, err);
        if (st == MEDLEY_OK && more)
            st = add_row(&c, err);
    }
    importer_finish("import relation", c.t, st);
    return st;
}

medley_status import_counts(struct importer *im, medley_error *err)
{
    const struct import_options *o = im->options;
    medley_status st = MEDLEY_OK;
    if (o->n_relations == 0)
        return MEDLEY_OK;
    im->own = mem_zalloc(o->n_relations, sizeof *im->own);
    if (!im->own)
        return fail_memory(err, "relations");
    for (size_t i = 0; i < o->n_relations && st == MEDLEY_OK; i++)
        st = import_one(im, &o->relations[i], &im->own[im->n_own++], err);
    return st;
}
