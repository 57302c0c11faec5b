/* table_writer.c: see table_writer.h. A format is a row of `formats`. */
#include "data/table_writer.h"

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "parquet/writer.h"

#include <math.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

struct format {
    const char *name, *ending;
    char delimiter; /* 0: not a format of fields between delimiters */
    medley_status (*begin)(struct table_writer *w, medley_error *err);
    void (*text)(struct table_writer *w, struct str text);
    void (*real)(struct table_writer *w, float v);
    void (*integer)(struct table_writer *w, int64_t v);
    medley_status (*row)(struct table_writer *w, medley_error *err);
    medley_status (*finish)(struct table_writer *w, medley_error *err);
};

struct table_writer {
    const struct format *format;
    struct outfile file;
    FILE *f; /* file.f or stdout */
    struct table_column *columns;
    size_t n_columns, at; /* the next field's column */
    struct strbuf line;
    struct json_writer json;
    struct parquet_writer *parquet;
};

/* ---- text ---- */

static medley_status write_line(struct table_writer *w, medley_error *err)
{
    sb_addc(&w->line, '\n');
    if (w->line.failed)
        return fail_memory(err, "a row");
    size_t n = fwrite(w->line.s, 1, w->line.n, w->f);
    medley_status st = n == w->line.n ? MEDLEY_OK : fail(err, MEDLEY_EIO, "cannot write a row");
    sb_clear(&w->line);
    return st;
}

static void begin_field(struct table_writer *w)
{
    if (w->at)
        sb_addc(&w->line, w->format->delimiter);
}

static void field_text(struct table_writer *w, struct str text)
{
    bool quoted = false;
    begin_field(w);
    for (size_t i = 0; i < text.n && !quoted; i++)
        quoted = text.s[i] == w->format->delimiter || text.s[i] == '"' || text.s[i] == '\n' ||
                 text.s[i] == '\r';
    if (!quoted) {
        if (text.n)
            sb_add(&w->line, text.s, text.n);
        return;
    }
    sb_addc(&w->line, '"');
    for (size_t i = 0; i < text.n; i++) {
        if (text.s[i] == '"')
            sb_addc(&w->line, '"');
        sb_addc(&w->line, text.s[i]);
    }
    sb_addc(&w->line, '"');
}

static void field_real(struct table_writer *w, float v)
{
    begin_field(w);
    if (!isnan(v))
        sb_addf(&w->line, "%.9g", (double)v);
}

static void field_integer(struct table_writer *w, int64_t v)
{
    begin_field(w);
    sb_addf(&w->line, "%lld", (long long)v);
}

static medley_status fields_begin(struct table_writer *w, medley_error *err)
{
    for (w->at = 0; w->at < w->n_columns; w->at++)
        field_text(w, str_of(w->columns[w->at].name));
    w->at = 0;
    return write_line(w, err);
}

/* ---- JSONL ---- */

static void json_begin_value(struct table_writer *w)
{
    if (w->at == 0) {
        jw_init(&w->json, &w->line, false);
        jw_object(&w->json);
    }
    jw_key(&w->json, w->columns[w->at].name);
}

static void json_put_text(struct table_writer *w, struct str text)
{
    json_begin_value(w);
    jw_text(&w->json, text);
}

static void json_put_real(struct table_writer *w, float v)
{
    json_begin_value(w);
    if (isnan(v))
        jw_null(&w->json);
    else
        jw_float(&w->json, v);
}

static void json_put_integer(struct table_writer *w, int64_t v)
{
    json_begin_value(w);
    jw_i64(&w->json, v);
}

static medley_status json_row(struct table_writer *w, medley_error *err)
{
    jw_object_end(&w->json);
    return write_line(w, err);
}

/* ---- Parquet ---- */

static medley_status parquet_begin(struct table_writer *w, medley_error *err)
{
    static const enum parquet_write_type types[] = {[TABLE_TEXT] = PARQUET_WRITE_TEXT,
                                                    [TABLE_FLOAT] = PARQUET_WRITE_FLOAT,
                                                    [TABLE_INTEGER] = PARQUET_WRITE_INT32};
    struct parquet_write_column *columns = mem_alloc(w->n_columns, sizeof *columns);
    if (!columns)
        return fail_memory(err, "columns");
    for (size_t i = 0; i < w->n_columns; i++)
        columns[i] = (struct parquet_write_column){
            w->columns[i].name, types[w->columns[i].type], w->columns[i].optional};
    medley_status st = parquet_writer_new(w->f, columns, w->n_columns, NULL, &w->parquet, err);
    mem_free(columns);
    return st;
}

static void put_text(struct table_writer *w, struct str text)
{
    parquet_put_text(w->parquet, w->at, text);
}

static void put_real(struct table_writer *w, float v)
{
    if (!isnan(v))
        parquet_put_real(w->parquet, w->at, (double)v);
}

static void put_integer(struct table_writer *w, int64_t v)
{
    parquet_put_integer(w->parquet, w->at, v);
}

static medley_status put_row(struct table_writer *w, medley_error *err)
{
    return parquet_writer_row(w->parquet, err);
}

static medley_status parquet_finish(struct table_writer *w, medley_error *err)
{
    return parquet_writer_finish(w->parquet, err);
}

/* ---- formats ---- */

/* clang-format off */
static const struct format formats[] = {
    {"csv", ".csv", ',', fields_begin, field_text, field_real, field_integer, write_line, NULL},
    {"tsv", ".tsv", '\t', fields_begin, field_text, field_real, field_integer, write_line, NULL},
    {"jsonl", ".jsonl", 0, NULL, json_put_text, json_put_real, json_put_integer, json_row, NULL},
    {"parquet", ".parquet", 0, parquet_begin, put_text, put_real, put_integer, put_row, parquet_finish},
};
/* clang-format on */
enum { N_FORMATS = sizeof formats / sizeof *formats };

const char *table_formats(void)
{
    return "csv, tsv, jsonl, parquet";
}

static const struct format *format_named(const char *name)
{
    for (size_t i = 0; i < N_FORMATS; i++)
        if (strcmp(name, formats[i].name) == 0)
            return &formats[i];
    return NULL;
}

bool table_format_known(const char *name)
{
    return format_named(name) != NULL;
}

static const struct format *format_of(const char *path)
{
    size_t n = strlen(path);
    for (size_t i = 0; i < N_FORMATS; i++) {
        size_t m = strlen(formats[i].ending);
        if (n > m && strcasecmp(path + n - m, formats[i].ending) == 0)
            return &formats[i];
    }
    return &formats[0];
}

static medley_status copy_columns(struct table_writer *w, const struct table_column *columns,
                                  size_t n, medley_error *err)
{
    w->columns = mem_zalloc(n, sizeof *w->columns);
    if (!w->columns)
        return fail_memory(err, "columns");
    for (; w->n_columns < n; w->n_columns++) {
        w->columns[w->n_columns] = columns[w->n_columns];
        w->columns[w->n_columns].name = mem_strdup(columns[w->n_columns].name);
        if (!w->columns[w->n_columns].name)
            return fail_memory(err, "columns");
    }
    return MEDLEY_OK;
}

medley_status table_writer_open(const char *path, const char *format,
                                const struct table_column *columns, size_t n,
                                struct table_writer **out, medley_error *err)
{
    bool to_stdout = !path || strcmp(path, "-") == 0;
    const struct format *chosen = format ? format_named(format) : format_of(path ? path : "-");
    if (!chosen)
        return fail(err, MEDLEY_EINVAL, "no format is called '%s' (expected one of %s)", format,
                    table_formats());
    if (to_stdout && chosen->begin == parquet_begin && isatty(STDOUT_FILENO))
        return fail(err, MEDLEY_EINVAL, "Parquet is not for a terminal: name a file for it");
    struct table_writer *w = mem_zalloc(1, sizeof *w);
    if (!w)
        return fail_memory(err, "a table");
    w->format = chosen;
    w->f = stdout;
    sb_init(&w->line);
    medley_status st = copy_columns(w, columns, n, err);
    if (!st && !to_stdout) {
        st = outfile_open(&w->file, path, err);
        w->f = w->file.f;
    }
    if (!st && chosen->begin)
        st = chosen->begin(w, err);
    if (st)
        table_writer_free(w);
    else
        *out = w;
    return st;
}

void table_writer_free(struct table_writer *w)
{
    if (!w)
        return;
    for (size_t i = 0; i < w->n_columns; i++)
        mem_free((char *)(uintptr_t)w->columns[i].name);
    mem_free(w->columns);
    parquet_writer_free(w->parquet);
    outfile_abort(&w->file);
    sb_deinit(&w->line);
    mem_free(w);
}

/* ---- rows ---- */

void table_put_text(struct table_writer *w, struct str text)
{
    w->format->text(w, text);
    w->at++;
}

void table_put_real(struct table_writer *w, float v)
{
    w->format->real(w, v);
    w->at++;
}

void table_put_integer(struct table_writer *w, int64_t v)
{
    w->format->integer(w, v);
    w->at++;
}

medley_status table_writer_row(struct table_writer *w, medley_error *err)
{
    w->at = 0;
    return w->format->row(w, err);
}

medley_status table_writer_commit(struct table_writer *w, medley_error *err)
{
    medley_status st = w->format->finish ? w->format->finish(w, err) : MEDLEY_OK;
    if (st)
        return st;
    if (w->file.f)
        return outfile_commit(&w->file, err);
    return fflush(stdout) == 0 ? MEDLEY_OK : fail(err, MEDLEY_EIO, "cannot write to stdout");
}
