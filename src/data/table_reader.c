/* table_reader.c: what all table formats share: opening, blocks of input, columns, checks of
 * rows. The formats themselves are csv.c, jsonl.c and
 * table_parquet.c. Tested by test_csv.c, test_parquet.c. */
#include "data/table_format.h"

#include "base/error.h"
#include "base/memory.h"
#include "data/table_parquet.h"

#include <errno.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#define BLOCK_SIZE ((size_t)256 << 10)

static const struct table_format formats[] = {
    {"CSV", ".csv", true, ',', csv_next},           {"TSV", ".tsv", true, '\t', csv_next},
    {"JSONL", ".jsonl", false, 0, jsonl_next},      {"JSONL", ".ndjson", false, 0, jsonl_next},
    {"Parquet", ".parquet", true, 0, parquet_next},
};
#define PARQUET (&formats[sizeof formats / sizeof *formats - 1])

static const struct table_format *format_of(const char *path)
{
    if (strcmp(path, "-") == 0)
        return &formats[0];
    size_t n = strlen(path);
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        size_t m = strlen(formats[i].ending);
        if (n > m && strcasecmp(path + n - m, formats[i].ending) == 0)
            return &formats[i];
    }
    return parquet_rows_folder(path) ? PARQUET : NULL;
}

medley_status table_fail(const struct table *t, medley_error *err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfail(err, MEDLEY_EFORMAT, format, args);
    va_end(args);
    fail_within(err, MEDLEY_EFORMAT, "%s:%llu", t->path, (unsigned long long)t->row_line);
    return MEDLEY_EFORMAT;
}

medley_status table_fill(struct table *t, medley_error *err)
{
    if (t->at < t->end || t->at_eof)
        return MEDLEY_OK;
    t->at = 0;
    t->end = fread(t->block, 1, BLOCK_SIZE, t->f);
    t->bytes += t->end;
    if (t->end == 0) {
        if (ferror(t->f))
            return fail(err, MEDLEY_EIO, "cannot read '%s': %s", t->path, strerror(errno));
        t->at_eof = true;
    }
    return MEDLEY_OK;
}

medley_status table_add_span(struct table *t, size_t begin, medley_error *err)
{
    if (!mem_reserve(&t->spans, &t->spans_capacity, t->n_fields + 1, sizeof *t->spans))
        return fail_memory(err, "the fields of a row");
    t->spans[t->n_fields++] = (struct span){begin, t->text.n};
    return MEDLEY_OK;
}

medley_status table_add_text(struct table *t, const char *s, size_t n, medley_error *err)
{
    if (n > TABLE_ROW_LIMIT - t->text.n)
        return table_fail(t, err, "row longer than %zu MiB (a quote that is never closed?)",
                          TABLE_ROW_LIMIT >> 20);
    sb_add(&t->text, s, n);
    return t->text.failed ? fail_memory(err, "a row") : MEDLEY_OK;
}

medley_status table_add_name(struct table *t, struct str name, medley_error *err)
{
    char *copy = mem_strndup(name.s ? name.s : "", name.n);
    if (!copy ||
        !mem_reserve(&t->names, &t->names_capacity, t->n_names + 1, sizeof *t->names) ||
        !mem_reserve(&t->required, &t->required_capacity, t->n_names + 1,
                     sizeof *t->required)) {
        mem_free(copy);
        return fail_memory(err, "column names");
    }
    t->required[t->n_names] = false;
    t->names[t->n_names++] = copy;
    return MEDLEY_OK;
}

static size_t find_name(const struct table *t, struct str name)
{
    for (size_t i = 0; i < t->n_names; i++)
        if (str_is(name, t->names[i]))
            return i;
    return TABLE_NO_COLUMN;
}

/* Skips a UTF-8 byte order mark and names the encodings that spreadsheets save by mistake. */
static medley_status skip_mark(struct table *t, medley_error *err)
{
    medley_status st = table_fill(t, err);
    if (st != MEDLEY_OK)
        return st;
    const char *b = t->block;
    if (t->end >= 3 && memcmp(b, "\xEF\xBB\xBF", 3) == 0)
        t->at = 3;
    else if (t->end >= 2 && (memcmp(b, "\xFF\xFE", 2) == 0 || memcmp(b, "\xFE\xFF", 2) == 0))
        return fail(err, MEDLEY_EFORMAT, "'%s' is UTF-16; save it as UTF-8", t->path);
    return MEDLEY_OK;
}

static medley_status check_text(const struct table *t, medley_error *err)
{
    for (size_t i = 0; i < t->n_fields; i++) {
        struct str field = table_field(t, i);
        size_t bad = 0;
        const char *name = i < t->n_names ? t->names[i] : "?";
        if (field.n && memchr(field.s, 0, field.n))
            return table_fail(t, err, "NUL byte in column '%s'", name);
        if (!utf8_valid(field, &bad))
            return table_fail(t, err, "invalid UTF-8 at byte %zu of column '%s'", bad + 1,
                              name);
    }
    return MEDLEY_OK;
}

static medley_status read_header(struct table *t, medley_error *err)
{
    bool more;
    medley_status st = t->format->next(t, &more, err);
    if (st != MEDLEY_OK)
        return st;
    if (!more)
        return fail(err, MEDLEY_EFORMAT, "'%s' is empty; expected a header line", t->path);
    for (size_t i = 0; i < t->n_fields; i++) {
        struct str name = str_trim(table_field(t, i));
        if (name.n && find_name(t, name) != TABLE_NO_COLUMN)
            return table_fail(t, err, "two columns are called '%.*s'", (int)name.n, name.s);
        st = table_add_name(t, name, err);
        if (st != MEDLEY_OK)
            return st;
    }
    return check_text(t, err);
}

medley_status table_open_stream(FILE *f, const char *name, struct table **out,
                                medley_error *err)
{
    const struct table_format *format = format_of(name);
    if (!format)
        return fail(err, MEDLEY_EUNSUPPORTED,
                    "'%s' does not end in .csv, .tsv, .jsonl or .parquet, so its format is "
                    "unknown",
                    name);
    if (format == PARQUET)
        return fail(err, MEDLEY_EUNSUPPORTED, "'%s': Parquet is not read from a stream", name);
    struct table *t = mem_zalloc(1, sizeof *t);
    if (!t)
        return fail_memory(err, "a table reader");
    t->format = format;
    t->f = f;
    t->line = t->row_line = 1;
    sb_init(&t->text);
    struct stat info;
    int fd = fileno(f);
    if (fd >= 0 && fstat(fd, &info) == 0 && S_ISREG(info.st_mode))
        t->size = (uint64_t)info.st_size;
    medley_status st = MEDLEY_OK;
    t->path = mem_strdup(name);
    t->block = mem_alloc(BLOCK_SIZE, 1);
    if (!t->path || !t->block)
        st = fail_memory(err, "a table reader");
    if (st == MEDLEY_OK)
        st = skip_mark(t, err);
    if (st == MEDLEY_OK && format->has_header)
        st = read_header(t, err);
    if (st == MEDLEY_OK)
        *out = t;
    else
        table_close(t);
    return st;
}

static medley_status open_parquet(const char *path, struct table **out, medley_error *err)
{
    struct table *t = mem_zalloc(1, sizeof *t);
    if (!t || !(t->path = mem_strdup(path))) {
        mem_free(t);
        return fail_memory(err, "a table reader");
    }
    t->format = PARQUET;
    t->row_line = 1;
    sb_init(&t->text);
    medley_status st = parquet_rows_open(t, err);
    if (st == MEDLEY_OK)
        *out = t;
    else
        table_close(t);
    return st;
}

medley_status table_open(const char *path, struct table **out, medley_error *err)
{
    if (format_of(path) == PARQUET)
        return open_parquet(path, out, err);
    if (!format_of(path)) /* before a missing file, so that a folder gets the clearer message */
        return table_open_stream(NULL, path, out, err);
    bool standard = strcmp(path, "-") == 0;
    FILE *f = standard ? stdin : fopen(path, "rb");
    if (!f)
        return fail(err, MEDLEY_EIO, "cannot open '%s': %s", path, strerror(errno));
    struct table *t = NULL;
    medley_status st = table_open_stream(f, path, &t, err);
    if (st != MEDLEY_OK) {
        if (!standard)
            fclose(f);
        return st;
    }
    t->owns_stream = !standard;
    *out = t;
    return MEDLEY_OK;
}

void table_close(struct table *t)
{
    if (!t)
        return;
    parquet_rows_close(t->parquet);
    for (size_t i = 0; i < t->n_names; i++)
        mem_free(t->names[i]);
    mem_free(t->names);
    mem_free(t->required);
    mem_free(t->spans);
    mem_free(t->block);
    mem_free(t->path);
    sb_deinit(&t->text);
    if (t->owns_stream)
        fclose(t->f);
    mem_free(t);
}

size_t table_find(struct table *t, const char *name)
{
    size_t i = find_name(t, str_of(name));
    if (i == TABLE_NO_COLUMN && !t->format->has_header &&
        table_add_name(t, str_of(name), NULL) == MEDLEY_OK)
        i = t->n_names - 1;
    if (t->parquet && i != TABLE_NO_COLUMN)
        parquet_rows_want(t->parquet, i);
    return i;
}

medley_status table_require(struct table *t, const char *name, size_t *column,
                            medley_error *err)
{
    size_t i = table_find(t, name);
    if (i != TABLE_NO_COLUMN) {
        t->required[i] = true;
        *column = i;
        return MEDLEY_OK;
    }
    if (!t->format->has_header)
        return fail_memory(err, "column names");
    struct strbuf found;
    sb_init(&found);
    for (size_t k = 0; k < t->n_names; k++)
        sb_addf(&found, "%s%s", k ? ", " : "", t->names[k]);
    fail(err, MEDLEY_EFORMAT, "%s: no column '%s' (found: %s)", t->path, name,
         found.s ? found.s : "");
    sb_deinit(&found);
    return MEDLEY_EFORMAT;
}

bool table_has_header(const struct table *t)
{
    return t->format->has_header;
}

size_t table_columns(const struct table *t)
{
    return t->n_names;
}

struct str table_column_name(const struct table *t, size_t column)
{
    return str_of(t->names[column]);
}

medley_status table_next(struct table *t, bool *more, medley_error *err)
{
    medley_status st = t->format->next(t, more, err);
    if (st != MEDLEY_OK || !*more)
        return st;
    if (t->format->has_header && t->n_fields != t->n_names)
        return table_fail(t, err, "%zu field%s where the header has %zu", t->n_fields,
                          t->n_fields == 1 ? "" : "s", t->n_names);
    return check_text(t, err);
}

struct str table_field(const struct table *t, size_t column)
{
    struct span span = {0, 0};
    if (column < t->n_fields)
        span = t->spans[column];
    if (span.begin == span.end)
        return (struct str){"", 0};
    return (struct str){t->text.s + span.begin, span.end - span.begin};
}

uint64_t table_line(const struct table *t)
{
    return t->row_line;
}

const char *table_path(const struct table *t)
{
    return t->path;
}

void table_position(const struct table *t, uint64_t *done, uint64_t *total)
{
    *done = t->bytes - (t->end - t->at);
    *total = t->size;
}

medley_status table_hash(const char *path, struct hash128 *inout, medley_error *err)
{
    return folder_exists(path) ? parquet_rows_hash(path, inout, err)
                               : hash_file(path, inout, err);
}
