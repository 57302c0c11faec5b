/* import_products.c: the products of an import, and the categories from their metadata. Tested
 * by test_import.c. */
#include "data/importer.h"

#include "base/error.h"
#include "base/memory.h"

medley_status importer_add_product(struct importer *im, struct str id, uint8_t locale,
                                   medley_error *err)
{
    size_t n = importer_products(im);
    if (n >= UINT32_MAX - 1 ||
        !mem_reserve(&im->product_locale, &im->cap_product_locale, n,
                     sizeof *im->product_locale) ||
        !mem_reserve(&im->category_at, &im->cap_category, n, sizeof *im->category_at) ||
        !text_add(&im->product_id, id))
        return fail_memory(err, "products");
    im->product_locale[n - 1] = locale;
    im->category_at[n - 1] = NO_CATEGORY;
    return MEDLEY_OK;
}

static medley_status add_product_texts(struct importer *im, const struct table *t,
                                       const size_t column[5], medley_error *err)
{
    struct text_builder *texts[5] = {&im->title, &im->description, &im->bullets, &im->brand,
                                     &im->color};
    for (int i = 0; i < 5; i++) {
        struct str field = {"", 0};
        if (t)
            field = str_trim(table_field(t, column[i]));
        if (!text_add(texts[i], field))
            return fail_memory(err, "product texts");
    }
    return MEDLEY_OK;
}

static medley_status set_category(struct importer *im, uint32_t product, struct str category,
                                  medley_error *err)
{
    category = str_trim(category);
    if (category.n == 0 || im->category_at[product] != NO_CATEGORY)
        return MEDLEY_OK;
    if (!text_add(&im->category_raw, category))
        return fail_memory(err, "categories");
    im->category_at[product] = im->category_raw.n - 1;
    return MEDLEY_OK;
}

medley_status importer_add_empty_texts(struct importer *im, medley_error *err)
{
    static const size_t none[5] = {TABLE_NO_COLUMN, TABLE_NO_COLUMN, TABLE_NO_COLUMN,
                                   TABLE_NO_COLUMN, TABLE_NO_COLUMN};
    return add_product_texts(im, NULL, none, err);
}

struct product_columns {
    size_t id, locale, category;
    size_t texts[5]; /* title, description, bullets, brand, color */
};

static medley_status product_columns(const struct importer *im, struct table *t,
                                     struct product_columns *c, medley_error *err)
{
    const struct import_columns *n = &im->options->columns;
    const char *named[5] = {n->title, n->description, n->bullets, n->brand, n->color};
    static const char *const esci[5] = {"product_title", "product_description",
                                        "product_bullet_point", "product_brand",
                                        "product_color"};
    medley_status st = table_require(t, or_esci(n->product_id, "product_id"), &c->id, err);
    for (int i = 0; i < 5 && st == MEDLEY_OK; i++)
        st = importer_column(t, named[i], esci[i], &c->texts[i], err);
    c->locale = table_find(t, or_esci(n->locale, "product_locale"));
    if (st == MEDLEY_OK)
        st = importer_column(t, im->options->metadata ? NULL : n->category,
                             or_esci(n->category, "category"), &c->category, err);
    return st;
}

static medley_status product_row(struct importer *im, const struct table *t,
                                 const struct product_columns *c, medley_error *err)
{
    struct str id = str_trim(table_field(t, c->id));
    uint8_t locale;
    bool added;
    medley_status st = importer_locale(im, t, table_field(t, c->locale), &locale, err);
    if (st != MEDLEY_OK)
        return st;
    if (id.n == 0) {
        issue_add(im, ISSUE_NO_PRODUCT_ID, t, "a product");
        return MEDLEY_OK;
    }
    if (im->wanted && importer_find(im, im->wanted, locale, id) == MAP_NONE)
        return MEDLEY_OK;
    uint32_t product = importer_add(im, im->products, locale, id, &added);
    if (product == MAP_NONE)
        return fail_memory(err, "products");
    if (!added) {
        issue_add(im, ISSUE_DUPLICATE_PRODUCT, t, "'%.*s'", (int)id.n, id.s);
        return MEDLEY_OK;
    }
    st = importer_add_product(im, id, locale, err);
    if (st == MEDLEY_OK)
        st = add_product_texts(im, t, c->texts, err);
    return st == MEDLEY_OK ? set_category(im, product, table_field(t, c->category), err) : st;
}

medley_status import_products(struct importer *im, medley_error *err)
{
    struct table *t;
    struct product_columns c;
    bool more = true;
    medley_status st = table_open(im->options->products, &t, err);
    if (st != MEDLEY_OK)
        return st;
    st = product_columns(im, t, &c, err);
    for (uint64_t row = 0; st == MEDLEY_OK && more; row++) {
        st = table_next(t, &more, err);
        if (st == MEDLEY_OK && more)
            st = product_row(im, t, &c, err);
        if (st == MEDLEY_OK)
            st = importer_tick("import products", t, row, err);
    }
    importer_finish("import products", t, st);
    map_free(im->wanted);
    im->wanted = NULL;
    return st;
}

static medley_status metadata_rows(struct importer *im, struct table *t, medley_error *err)
{
    const struct import_columns *n = &im->options->columns;
    size_t id, locale, category;
    bool more = true;
    medley_status st = table_require(t, or_esci(n->product_id, "product_id"), &id, err);
    if (st == MEDLEY_OK)
        st = table_require(t, or_esci(n->category, "category"), &category, err);
    locale = table_find(t, or_esci(n->locale, "product_locale"));
    for (uint64_t row = 0; st == MEDLEY_OK && more; row++) {
        uint8_t l = 0;
        st = table_next(t, &more, err);
        if (st != MEDLEY_OK || !more)
            break;
        st = importer_locale(im, t, table_field(t, locale), &l, err);
        if (st != MEDLEY_OK)
            break;
        struct str text = str_trim(table_field(t, id));
        uint32_t product = importer_find(im, im->products, l, text);
        if (product == MAP_NONE)
            issue_add(im, ISSUE_METADATA_PRODUCT, t, "'%.*s'", (int)text.n, text.s);
        else
            st = set_category(im, product, table_field(t, category), err);
        if (st == MEDLEY_OK)
            st = importer_tick("import metadata", t, row, err);
    }
    return st;
}

medley_status import_metadata(struct importer *im, medley_error *err)
{
    if (!im->options->metadata)
        return MEDLEY_OK;
    struct table *t;
    medley_status st = table_open(im->options->metadata, &t, err);
    if (st != MEDLEY_OK)
        return st;
    st = metadata_rows(im, t, err);
    importer_finish("import metadata", t, st);
    return st;
}

medley_status gather_categories(struct importer *im, medley_error *err)
{
    for (size_t i = 0; i < importer_products(im); i++) {
        struct str text = {"", 0};
        if (im->category_at[i] != NO_CATEGORY)
            text = text_at(&im->category_raw, im->category_at[i]);
        if (!text_add(&im->category, text))
            return fail_memory(err, "categories");
    }
    text_deinit(&im->category_raw);
    return MEDLEY_OK;
}
