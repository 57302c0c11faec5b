/* import_examples.c: the judged pairs of an import: labels, queries, splits, repeats. Tested by
 * test_import.c. */
#include "data/importer.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/rng.h"
#include "data/dataset_file.h"

#include <string.h>
#include <strings.h>

struct example_columns {
    size_t id, query, query_id, product_id, locale, label, split, version;
};

static medley_status example_columns(const struct importer *im, struct table *t,
                                     struct example_columns *c, medley_error *err)
{
    const struct import_columns *n = &im->options->columns;
    medley_status st = table_require(t, or_esci(n->query, "query"), &c->query, err);
    if (st == MEDLEY_OK)
        st = table_require(t, or_esci(n->product_id, "product_id"), &c->product_id, err);
    if (st == MEDLEY_OK)
        st = table_require(t, or_esci(n->label, "esci_label"), &c->label, err);
    if (st == MEDLEY_OK)
        st = importer_column(t, n->example_id, "example_id", &c->id, err);
    if (st == MEDLEY_OK)
        st = importer_column(t, n->query_id, "query_id", &c->query_id, err);
    if (st == MEDLEY_OK)
        st = importer_column(t, n->locale, "product_locale", &c->locale, err);
    if (st == MEDLEY_OK)
        st = importer_column(t, n->split, "split", &c->split, err);
    if (st == MEDLEY_OK)
        st = esci_version_column(im, t, &c->version, err);
    return st;
}

static bool same_label(struct str text, const char *name)
{
    double a, b;
    if (text.n == strlen(name) && strncasecmp(text.s, name, text.n) == 0)
        return true;
    return str_to_double(text, &a) && str_to_double(str_of(name), &b) && a == b; /* 3 and 3.0 */
}

static medley_status find_label(const struct importer *im, const struct table *t,
                                struct str text, uint8_t *out, medley_error *err)
{
    for (size_t i = 0; i < im->n_labels; i++) {
        bool same = same_label(text, im->labels[i].name);
        const char *const *alias = im->labels[i].aliases;
        for (; !same && alias && *alias; alias++)
            same = same_label(text, *alias);
        if (same) {
            *out = (uint8_t)i;
            return MEDLEY_OK;
        }
    }
    struct strbuf expected;
    sb_init(&expected);
    for (size_t i = 0; i < im->n_labels; i++)
        sb_addf(&expected, "%s%s", i ? ", " : "", im->labels[i].name);
    table_fail(t, err, "unknown label '%.*s' (expected one of %s)", (int)text.n, text.s,
               expected.s ? expected.s : "");
    sb_deinit(&expected);
    return MEDLEY_EFORMAT;
}

/* SPLIT_TRAIN, SPLIT_TEST, or -1 for an empty field. */
static medley_status find_split(const struct table *t, struct str text, int *out,
                                medley_error *err)
{
    if (text.n == 0)
        *out = -1;
    else if (text.n == 5 && strncasecmp(text.s, "train", 5) == 0)
        *out = SPLIT_TRAIN;
    else if (text.n == 4 && strncasecmp(text.s, "test", 4) == 0)
        *out = SPLIT_TEST;
    else
        return table_fail(t, err, "unknown split '%.*s' (expected train or test)", (int)text.n,
                          text.s);
    return MEDLEY_OK;
}

/* The product of an example: *out is MAP_NONE when the pair is to be dropped. */
static medley_status resolve_product(struct importer *im, const struct table *t, struct str id,
                                     uint8_t locale, uint32_t *out, medley_error *err)
{
    *out = importer_find(im, im->products, locale, id);
    if (*out != MAP_NONE)
        return MEDLEY_OK;
    bool skip = im->options->skip_unknown_products, added;
    issue_add(im, skip ? ISSUE_UNKNOWN_DROPPED : ISSUE_UNKNOWN_KEPT, t, "'%.*s'", (int)id.n,
              id.s);
    if (skip)
        return MEDLEY_OK;
    *out = importer_add(im, im->products, locale, id, &added);
    if (*out == MAP_NONE)
        return fail_memory(err, "products");
    medley_status st = importer_add_product(im, id, locale, err);
    return st == MEDLEY_OK ? importer_add_empty_texts(im, err) : st;
}

static uint8_t drawn_split(const struct importer *im, struct str text, struct str locale)
{
    double share = im->options->test_share > 0 ? im->options->test_share : 0.2;
    uint64_t h = mix64(im->options->seed, dataset_key(locale, text), 0x73706c6974);
    return (double)(h >> 11) * 0x1p-53 < share ? SPLIT_TEST : SPLIT_TRAIN;
}

/* A query is one text in one locale, whatever ids it came under, so that no text can be in both
 * splits, or in two folds. */
static medley_status resolve_query(struct importer *im, struct str text, struct str id,
                                   uint8_t locale, uint32_t *out, medley_error *err)
{
    bool added;
    uint32_t q = importer_add(im, im->queries, locale, text, &added);
    if (q == MAP_NONE || q >= UINT32_MAX - 1)
        return fail_memory(err, "queries");
    *out = q;
    if (!added)
        return MEDLEY_OK;
    if (!mem_reserve(&im->query_rows, &im->cap_queries, (size_t)q + 1,
                     sizeof *im->query_rows) ||
        !text_add(&im->query_text, text) || !text_add(&im->query_id, id.n ? id : text))
        return fail_memory(err, "queries");
    im->query_rows[q] = (struct query_row){
        .locale = locale,
        .split = drawn_split(im, text, map_key(im->locales, locale)),
    };
    return MEDLEY_OK;
}

/* Notes the id that a row gives its query, and what is odd about it. *row is MAP_NONE without
 * one. */
static medley_status resolve_query_id(struct importer *im, const struct table *t, struct str id,
                                      uint32_t query, uint32_t *row, medley_error *err)
{
    *row = MAP_NONE;
    if (id.n == 0)
        return MEDLEY_OK;
    bool added;
    uint32_t i = importer_add(im, im->query_ids, im->query_rows[query].locale, id, &added);
    if (i == MAP_NONE ||
        !mem_reserve(&im->id_rows, &im->cap_ids, (size_t)i + 1, sizeof *im->id_rows))
        return fail_memory(err, "query ids");
    if (added) {
        im->id_rows[i] = (struct id_row){.query = query};
        struct str first = text_at(&im->query_id, query);
        if (!str_eq(first, id))
            issue_add(im, ISSUE_MERGED_QUERY, t, "'%.*s' and '%.*s'", (int)first.n, first.s,
                      (int)id.n, id.s);
    } else if (im->id_rows[i].query != query) {
        issue_add(im, ISSUE_SHARED_QUERY_ID, t, "'%.*s'", (int)id.n, id.s);
    }
    *row = i;
    return MEDLEY_OK;
}

static medley_status leak(const struct table *t, const char *what, struct str name, int split,
                          uint64_t other_line, medley_error *err)
{
    static const char *const names[] = {"train", "test"};
    return table_fail(
        t, err,
        "%s '%.*s' is in both splits: %s here, %s in line %llu; what is learnt from "
        "its train pairs would leak into the test, so give each query one split",
        what, (int)name.n, name.s, names[split], names[!split], (unsigned long long)other_line);
}

/* Takes note of a split given in the file, and refuses one that contradicts an earlier row. */
static medley_status settle_split(struct importer *im, const struct table *t, uint32_t query,
                                  uint32_t id_row, int split, medley_error *err)
{
    if (split < 0)
        return MEDLEY_OK;
    struct query_row *q = &im->query_rows[query];
    if (q->split_line && q->split != split)
        return leak(t, "query", text_at(&im->query_text, query), split, q->split_line, err);
    if (!q->split_line)
        *q = (struct query_row){table_line(t), q->locale, (uint8_t)split};
    if (id_row == MAP_NONE)
        return MEDLEY_OK;
    struct id_row *id = &im->id_rows[id_row];
    if (id->split_line && id->split != split) {
        struct str name = map_key(im->query_ids, id_row);
        return leak(t, "query id", (struct str){name.s + 1, name.n - 1}, split, id->split_line,
                    err);
    }
    id->split = (uint8_t)split;
    if (!id->split_line)
        id->split_line = table_line(t);
    return MEDLEY_OK;
}

static medley_status append_example(struct importer *im, const struct table *t, struct str id,
                                    uint64_t row, medley_error *err)
{
    char number[24];
    size_t n = im->n_examples + 1;
    bool added = true;
    if (id.n && map_add(im->example_ids, id, &added) == MAP_NONE)
        return fail_memory(err, "example ids");
    if (!added)
        issue_add(im, ISSUE_DUPLICATE_ID, t, "'%.*s'", (int)id.n, id.s);
    if (id.n == 0) {
        snprintf(number, sizeof number, "%llu", (unsigned long long)row);
        id = str_of(number);
    }
    if (!mem_reserve(&im->example_query, &im->cap_query, n, sizeof *im->example_query) ||
        !mem_reserve(&im->example_product, &im->cap_product, n, sizeof *im->example_product) ||
        !mem_reserve(&im->example_label, &im->cap_label, n, sizeof *im->example_label) ||
        !mem_reserve(&im->example_split, &im->cap_split, n, sizeof *im->example_split) ||
        !text_add(&im->example_id, id))
        return fail_memory(err, "examples");
    im->n_examples = n;
    return MEDLEY_OK;
}

/* Adds the pair unless it came before. */
static medley_status add_pair(struct importer *im, const struct table *t, struct str id,
                              uint64_t row, const uint32_t pair[2], uint8_t label,
                              medley_error *err)
{
    bool added;
    uint32_t i = map_add(im->pairs, (struct str){(const char *)pair, 2 * sizeof *pair}, &added);
    if (i == MAP_NONE)
        return fail_memory(err, "pairs");
    if (!added) {
        struct str query = text_at(&im->query_text, pair[0]);
        struct str product = text_at(&im->product_id, pair[1]);
        const char *first = im->labels[im->example_label[i]].name;
        bool same = im->example_label[i] == label;
        issue_add(im, same ? ISSUE_DUPLICATE_PAIR : ISSUE_CONFLICT, t,
                  "query '%.*s', product '%.*s': %s, first %s", (int)query.n, query.s,
                  (int)product.n, product.s, im->labels[label].name, first);
        return MEDLEY_OK;
    }
    medley_status st = append_example(im, t, id, row, err);
    if (st != MEDLEY_OK)
        return st;
    im->example_query[i] = pair[0];
    im->example_product[i] = pair[1];
    im->example_label[i] = label;
    if (!edges_add(&im->relations[BUILT_LISTING], pair[0], pair[1], 1.0f))
        return fail_memory(err, "the listing relation");
    return MEDLEY_OK;
}

static medley_status example_row(struct importer *im, const struct table *t,
                                 const struct example_columns *c, uint64_t row,
                                 medley_error *err)
{
    struct str query = str_trim(table_field(t, c->query));
    struct str product_id = str_trim(table_field(t, c->product_id));
    struct str label_text = str_trim(table_field(t, c->label));
    struct str query_id = str_trim(table_field(t, c->query_id));
    uint8_t label = 0, locale = 0;
    uint32_t pair[2], id_row = MAP_NONE;
    int split = -1;
    bool kept;
    if (esci_kept(t, c->version, &kept, err))
        return MEDLEY_EFORMAT;
    if (!kept)
        return MEDLEY_OK;
    if (query.n == 0 || product_id.n == 0 || label_text.n == 0) {
        issue_add(im,
                  query.n == 0        ? ISSUE_EMPTY_QUERY
                  : product_id.n == 0 ? ISSUE_NO_PRODUCT_ID
                                      : ISSUE_NO_LABEL,
                  t, "query '%.*s', product '%.*s'", (int)query.n, query.s, (int)product_id.n,
                  product_id.s);
        return MEDLEY_OK;
    }
    medley_status st = find_label(im, t, label_text, &label, err);
    if (st == MEDLEY_OK)
        st = find_split(t, str_trim(table_field(t, c->split)), &split, err);
    if (st == MEDLEY_OK)
        st = importer_locale(im, t, table_field(t, c->locale), &locale, err);
    if (st == MEDLEY_OK)
        st = resolve_product(im, t, product_id, locale, &pair[1], err);
    if (st != MEDLEY_OK || pair[1] == MAP_NONE)
        return st;
    st = resolve_query(im, query, query_id, locale, &pair[0], err);
    if (st == MEDLEY_OK)
        st = resolve_query_id(im, t, query_id, pair[0], &id_row, err);
    if (st == MEDLEY_OK)
        st = settle_split(im, t, pair[0], id_row, split, err);
    if (st == MEDLEY_OK)
        st = add_pair(im, t, str_trim(table_field(t, c->id)), row, pair, label, err);
    return st;
}

medley_status import_examples(struct importer *im, medley_error *err)
{
    struct table *t;
    struct example_columns c;
    bool more = true;
    medley_status st = table_open(im->options->examples, &t, err);
    if (st != MEDLEY_OK)
        return st;
    st = example_columns(im, t, &c, err);
    for (uint64_t row = 0; st == MEDLEY_OK && more; row++) {
        st = table_next(t, &more, err);
        if (st == MEDLEY_OK && more)
            st = example_row(im, t, &c, row, err);
        if (st == MEDLEY_OK)
            st = importer_tick("import examples", t, row, err);
    }
    importer_finish("import examples", t, st);
    if (st == MEDLEY_OK && im->n_examples == 0)
        st = fail(err, MEDLEY_EFORMAT, "'%s' holds no usable example", im->options->examples);
    if (st != MEDLEY_OK)
        return st;
    for (size_t i = 0; i < im->n_examples; i++)
        im->example_split[i] = im->query_rows[im->example_query[i]].split;
    return MEDLEY_OK;
}
