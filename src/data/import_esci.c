/* import_esci.c: the folder of the Shopping Queries Dataset as it was published: which files it
 * has, which of its products are needed, and where its queries come from. Tested by
 * test_import_esci.c. */
#include "data/importer.h"

#include "base/error.h"
#include "base/memory.h"

#include <strings.h>

/* As published, and as extracts of it are called. */
static const char *const stems[ESCI_FILES][2] = {
    [ESCI_EXAMPLES] = {"shopping_queries_dataset_examples", "examples"},
    [ESCI_PRODUCTS] = {"shopping_queries_dataset_products", "products"},
    [ESCI_SOURCES] = {"shopping_queries_dataset_sources", "sources"},
};

static bool there(const char *folder, const char *stem, struct strbuf *out)
{
    static const char *const endings[] = {"parquet", "csv", "tsv", "jsonl"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        sb_clear(out);
        sb_addf(out, "%s/%s.%s", folder, stem, endings[i]);
        if (out->failed || file_exists(out->s) || folder_exists(out->s))
            return true;
    }
    return false;
}

medley_status esci_find(const char *folder, char *out[ESCI_FILES], medley_error *err)
{
    medley_status st = MEDLEY_OK;
    for (size_t i = 0; i < ESCI_FILES; i++)
        out[i] = NULL;
    if (!folder_exists(folder))
        return fail(err, MEDLEY_ENOTFOUND, "no folder '%s'", folder);
    for (size_t i = 0; i < ESCI_FILES && !st; i++) {
        struct strbuf path;
        sb_init(&path);
        if (there(folder, stems[i][0], &path) || there(folder, stems[i][1], &path)) {
            out[i] = sb_steal(&path);
            st = out[i] ? MEDLEY_OK : fail_memory(err, "a path");
        } else if (i != ESCI_SOURCES) {
            st = fail(err, MEDLEY_ENOTFOUND,
                      "'%s' has neither %s.parquet nor %s.parquet (or .csv, .tsv, .jsonl)",
                      folder, stems[i][0], stems[i][1]);
        }
        sb_deinit(&path);
    }
    if (st)
        esci_free(out);
    return st;
}

void esci_free(char *files[ESCI_FILES])
{
    for (size_t i = 0; i < ESCI_FILES; i++) {
        mem_free(files[i]);
        files[i] = NULL;
    }
}

medley_status esci_version_column(const struct importer *im, struct table *t, size_t *out,
                                  medley_error *err)
{
    const char *version = im->options->version;
    *out = TABLE_NO_COLUMN;
    if (!im->options->esci)
        return MEDLEY_OK;
    bool small = version && strcasecmp(version, "small") == 0;
    return table_require(t, small ? "small_version" : "large_version", out, err);
}

medley_status esci_kept(const struct table *t, size_t column, bool *kept, medley_error *err)
{
    *kept = true;
    if (column == TABLE_NO_COLUMN)
        return MEDLEY_OK;
    struct str v = str_trim(table_field(t, column));
    double number;
    if (str_is(v, "true") || (str_to_double(v, &number) && number == 1))
        return MEDLEY_OK;
    *kept = false;
    if (str_is(v, "false") || (str_to_double(v, &number) && number == 0))
        return MEDLEY_OK;
    return table_fail(t, err, "small_version and large_version are 0 or 1, not '%.*s'",
                      v.n > 40 ? 40 : (int)v.n, v.s);
}

static medley_status wanted_rows(struct importer *im, struct table *t, medley_error *err)
{
    size_t id, locale, version;
    bool more = true, kept, added;
    medley_status st = table_require(t, "product_id", &id, err);
    if (!st)
        st = table_require(t, "product_locale", &locale, err);
    if (!st)
        st = esci_version_column(im, t, &version, err);
    for (uint64_t row = 0; !st; row++) {
        uint8_t l;
        st = table_next(t, &more, err);
        if (st || !more)
            break;
        st = esci_kept(t, version, &kept, err);
        if (!st && kept)
            st = importer_locale(im, t, table_field(t, locale), &l, err);
        if (!st && kept &&
            importer_add(im, im->wanted, l, str_trim(table_field(t, id)), &added) == MAP_NONE)
            st = fail_memory(err, "product ids");
        if (!st)
            st = importer_tick("read examples", t, row, err);
    }
    return st;
}

medley_status import_wanted(struct importer *im, medley_error *err)
{
    struct table *t;
    if (!im->options->esci)
        return MEDLEY_OK;
    im->wanted = map_new(1024);
    if (!im->wanted)
        return fail_memory(err, "product ids");
    medley_status st = table_open(im->options->examples, &t, err);
    if (st)
        return st;
    st = wanted_rows(im, t, err);
    importer_finish("read examples", t, st);
    if (!st && map_count(im->wanted) == 0)
        st = fail(err, MEDLEY_EFORMAT, "'%s' has no example of the %s version",
                  im->options->examples, im->options->version ? im->options->version : "large");
    return st;
}

/* The query that was read under this id, in whatever locale; MAP_NONE: none. */
static uint32_t query_of_id(struct importer *im, struct str id)
{
    for (size_t l = 0; l < map_count(im->locales); l++) {
        uint32_t row = importer_find(im, im->query_ids, (uint8_t)l, id);
        if (row != MAP_NONE)
            return im->id_rows[row].query;
    }
    return MAP_NONE;
}

static medley_status source_rows(struct importer *im, struct table *t, medley_error *err)
{
    size_t id, source;
    bool more = true, added;
    medley_status st = table_require(t, "query_id", &id, err);
    if (!st)
        st = table_require(t, "source", &source, err);
    for (uint64_t row = 0; !st; row++) {
        st = table_next(t, &more, err);
        if (st || !more)
            break;
        struct str name = str_trim(table_field(t, source));
        if (query_of_id(im, str_trim(table_field(t, id))) == MAP_NONE || name.n == 0)
            continue; /* of another version */
        uint32_t i = map_add(im->sources, name, &added);
        if (i == MAP_NONE || !mem_reserve(&im->source_queries, &im->cap_sources, (size_t)i + 1,
                                          sizeof *im->source_queries))
            return fail_memory(err, "sources");
        im->source_queries[i] = added ? 1 : im->source_queries[i] + 1;
        st = importer_tick("import sources", t, row, err);
    }
    return st;
}

medley_status import_sources(struct importer *im, medley_error *err)
{
    struct table *t;
    if (!im->esci[ESCI_SOURCES])
        return MEDLEY_OK;
    im->sources = map_new(8);
    if (!im->sources)
        return fail_memory(err, "sources");
    medley_status st = table_open(im->esci[ESCI_SOURCES], &t, err);
    if (st)
        return st;
    st = source_rows(im, t, err);
    importer_finish("import sources", t, st);
    return st;
}
