/* writer.c: rows, row groups and the footer of a Parquet file; see writer.h. */
#include "parquet/writer_private.h"

#include "base/error.h"
#include "base/memory.h"
#include "parquet/thrift.h"

#include <string.h>

enum { GROUP_ROWS = 122880, GROUP_BYTES = 32 << 20, PAGE_BYTES = 1 << 20 };
#define TEXT_LIMIT ((size_t)256 << 20)

static const char magic[] = "PAR1";

struct parquet_writer {
    struct page_sink sink;
    struct writer_column *columns; /* [n_columns] */
    size_t n_columns;
    size_t group_rows, group_bytes;
    size_t rows, n_groups; /* of the group; groups written */
    uint64_t all_rows;
    struct strbuf groups; /* the RowGroup of each */
    const char *bad;      /* what is wrong with a value of the row */
    size_t bad_column;
};

/* ---- making ---- */

static medley_status take_columns(struct parquet_writer *w,
                                  const struct parquet_write_column *columns, size_t n,
                                  medley_error *err)
{
    w->columns = mem_zalloc(n, sizeof *w->columns);
    if (!w->columns)
        return fail_memory(err, "columns");
    for (; w->n_columns < n; w->n_columns++) {
        struct writer_column *c = &w->columns[w->n_columns];
        const struct parquet_write_column *from = &columns[w->n_columns];
        *c = (struct writer_column){.type = from->type, .optional = from->optional};
        sb_init(&c->values);
        c->name = mem_strdup(from->name);
        if (!c->name)
            return fail_memory(err, "columns");
    }
    return MEDLEY_OK;
}

medley_status parquet_writer_new(FILE *f, const struct parquet_write_column *columns, size_t n,
                                 const struct parquet_write_options *options,
                                 struct parquet_writer **out, medley_error *err)
{
    static const struct parquet_write_options defaults = {0};
    static const int32_t codecs[] = {[PARQUET_WRITE_ZSTD] = CODEC_ZSTD,
                                     [PARQUET_WRITE_SNAPPY] = CODEC_SNAPPY,
                                     [PARQUET_WRITE_PLAIN] = CODEC_NONE};
    const struct parquet_write_options *o = options ? options : &defaults;
    if (n == 0)
        return fail(err, MEDLEY_EINVAL, "a Parquet file needs a column");
    struct parquet_writer *w = mem_zalloc(1, sizeof *w);
    if (!w)
        return fail_memory(err, "a Parquet writer");
    w->sink = (struct page_sink){.f = f,
                                 .codec = codecs[o->codec],
                                 .page_bytes = o->page_bytes ? o->page_bytes : PAGE_BYTES};
    sb_init(&w->sink.page);
    sb_init(&w->sink.header);
    sb_init(&w->sink.packed);
    sb_init(&w->groups);
    w->group_rows = o->group_rows ? o->group_rows : GROUP_ROWS;
    w->group_bytes = o->group_bytes ? o->group_bytes : GROUP_BYTES;
    medley_status st = take_columns(w, columns, n, err);
    if (!st && fwrite(magic, 1, 4, f) != 4)
        st = fail(err, MEDLEY_EIO, "cannot write a Parquet file");
    w->sink.position = 4;
    if (st)
        parquet_writer_free(w);
    else
        *out = w;
    return st;
}

void parquet_writer_free(struct parquet_writer *w)
{
    if (!w)
        return;
    for (size_t i = 0; i < w->n_columns; i++) {
        struct writer_column *c = &w->columns[i];
        mem_free(c->name);
        mem_free(c->present);
        mem_free(c->starts);
        sb_deinit(&c->values);
    }
    mem_free(w->columns);
    sb_deinit(&w->sink.page);
    sb_deinit(&w->sink.header);
    sb_deinit(&w->sink.packed);
    sb_deinit(&w->groups);
    mem_free(w);
}

/* ---- values ---- */

static void refuse(struct parquet_writer *w, size_t column, const char *why)
{
    if (w->bad)
        return;
    w->bad = why;
    w->bad_column = column;
}

/* Notes whether the row has a value in the column. */
static bool begin_value(struct parquet_writer *w, size_t column, bool there)
{
    struct writer_column *c = &w->columns[column];
    if (c->rows != w->rows) {
        refuse(w, column, "two values in one row");
        return false;
    }
    if (c->optional) {
        if (!mem_reserve(&c->present, &c->present_capacity, c->rows + 1, sizeof *c->present)) {
            c->values.failed = true;
            return false;
        }
        c->present[c->rows] = there;
    } else if (!there) {
        refuse(w, column, "no value");
        return false;
    }
    c->rows++;
    c->n += there;
    return true;
}

void parquet_put_text(struct parquet_writer *w, size_t column, struct str text)
{
    struct writer_column *c = &w->columns[column];
    uint32_t length = (uint32_t)text.n;
    if (c->type != PARQUET_WRITE_TEXT)
        refuse(w, column, "a text among numbers");
    else if (text.n > TEXT_LIMIT)
        refuse(w, column, "a text of more than 256 MiB");
    else if (!utf8_valid(text, NULL))
        refuse(w, column, "a text that is not UTF-8");
    else if (!mem_reserve(&c->starts, &c->starts_capacity, c->n + 1, sizeof *c->starts))
        c->values.failed = true;
    else if (begin_value(w, column, true)) {
        c->starts[c->n - 1] = c->values.n;
        sb_add(&c->values, (const char *)&length, 4);
        if (text.n)
            sb_add(&c->values, text.s, text.n);
    }
}

void parquet_put_real(struct parquet_writer *w, size_t column, double v)
{
    struct writer_column *c = &w->columns[column];
    float single = (float)v;
    if (c->type != PARQUET_WRITE_FLOAT && c->type != PARQUET_WRITE_DOUBLE)
        refuse(w, column, "a fraction in a column of another type");
    else if (begin_value(w, column, true)) {
        bool narrow = c->type == PARQUET_WRITE_FLOAT;
        sb_add(&c->values, narrow ? (const char *)&single : (const char *)&v, narrow ? 4 : 8);
    }
}

void parquet_put_integer(struct parquet_writer *w, size_t column, int64_t v)
{
    struct writer_column *c = &w->columns[column];
    bool narrow = c->type == PARQUET_WRITE_INT32;
    int32_t small = (int32_t)v;
    if (!narrow && c->type != PARQUET_WRITE_INT64)
        refuse(w, column, "a whole number in a column of another type");
    else if (narrow && small != v)
        refuse(w, column, "a number past 32 bits");
    else if (begin_value(w, column, true))
        sb_add(&c->values, narrow ? (const char *)&small : (const char *)&v, narrow ? 4 : 8);
}

/* ---- groups ---- */

static void put_group(struct parquet_writer *w, const struct strbuf *chunks, uint64_t begin,
                      uint64_t unpacked)
{
    struct strbuf *b = &w->groups;
    int32_t last = 0;
    thrift_put_list(b, &last, 1, THRIFT_STRUCT, w->n_columns);
    sb_add(b, chunks->s, chunks->n);
    thrift_put_integer(b, &last, 2, THRIFT_I64, (int64_t)unpacked);
    thrift_put_integer(b, &last, 3, THRIFT_I64, (int64_t)w->rows);
    thrift_put_integer(b, &last, 5, THRIFT_I64, (int64_t)begin);
    thrift_put_integer(b, &last, 6, THRIFT_I64, (int64_t)(w->sink.position - begin));
    if (w->n_groups <= INT16_MAX)
        thrift_put_integer(b, &last, 7, THRIFT_I16, (int64_t)w->n_groups);
    thrift_put_stop(b);
}

static medley_status write_group(struct parquet_writer *w, medley_error *err)
{
    struct strbuf chunks;
    uint64_t begin = w->sink.position, unpacked = 0;
    medley_status st = MEDLEY_OK;
    sb_init(&chunks);
    for (size_t i = 0; i < w->n_columns && !st; i++) {
        struct writer_column *c = &w->columns[i];
        st = write_chunk(&w->sink, c, &chunks, &unpacked, err);
        c->rows = c->n = 0;
        sb_clear(&c->values);
    }
    if (!st)
        put_group(w, &chunks, begin, unpacked);
    if (!st && (chunks.failed || w->groups.failed))
        st = fail_memory(err, "a row group");
    sb_deinit(&chunks);
    w->all_rows += w->rows;
    w->rows = 0;
    w->n_groups++;
    return st;
}

medley_status parquet_writer_row(struct parquet_writer *w, medley_error *err)
{
    size_t bytes = 0;
    bool failed = false;
    for (size_t i = 0; i < w->n_columns && !w->bad; i++) {
        struct writer_column *c = &w->columns[i];
        if (c->rows == w->rows)
            begin_value(w, i, false);
        bytes += c->values.n;
        failed |= c->values.failed;
    }
    if (failed)
        return fail_memory(err, "a row");
    if (w->bad)
        return fail(err, MEDLEY_EINVAL, "row %llu, column '%s': %s",
                    (unsigned long long)w->all_rows + w->rows + 1,
                    w->columns[w->bad_column].name, w->bad);
    w->rows++;
    if (w->rows < w->group_rows && bytes < w->group_bytes)
        return MEDLEY_OK;
    return write_group(w, err);
}

/* ---- footer ---- */

static void put_text_type(struct strbuf *b, int32_t *last)
{
    int32_t logical = 0;
    thrift_put_integer(b, last, 6, THRIFT_I32, 0); /* UTF8, for old readers */
    thrift_put_field(b, last, 10, THRIFT_STRUCT);
    thrift_put_field(b, &logical, 1, THRIFT_STRUCT);
    thrift_put_stop(b);
    thrift_put_stop(b);
}

static void put_schema(struct strbuf *b, const struct parquet_writer *w)
{
    int32_t root = 0;
    thrift_put_text(b, &root, 4, "schema", 6);
    thrift_put_integer(b, &root, 5, THRIFT_I32, (int64_t)w->n_columns);
    thrift_put_stop(b);
    for (size_t i = 0; i < w->n_columns; i++) {
        const struct writer_column *c = &w->columns[i];
        int32_t last = 0;
        thrift_put_integer(b, &last, 1, THRIFT_I32, (int64_t)writer_physical(c->type));
        thrift_put_integer(b, &last, 3, THRIFT_I32, c->optional);
        thrift_put_text(b, &last, 4, c->name, strlen(c->name));
        if (c->type == PARQUET_WRITE_TEXT)
            put_text_type(b, &last);
        thrift_put_stop(b);
    }
}

/* Minima and maxima are in the order of the type: without this readers ignore them. */
static void put_orders(struct strbuf *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int32_t last = 0;
        thrift_put_field(b, &last, 1, THRIFT_STRUCT);
        thrift_put_stop(b);
        thrift_put_stop(b);
    }
}

static void put_footer(struct strbuf *b, const struct parquet_writer *w)
{
    char by[64];
    int32_t last = 0;
    /* Readers that know of faulty statistics parse this form, and else distrust them. */
    int n = snprintf(by, sizeof by, "medley version %s", medley_version());
    thrift_put_integer(b, &last, 1, THRIFT_I32, 1);
    thrift_put_list(b, &last, 2, THRIFT_STRUCT, w->n_columns + 1);
    put_schema(b, w);
    thrift_put_integer(b, &last, 3, THRIFT_I64, (int64_t)w->all_rows);
    thrift_put_list(b, &last, 4, THRIFT_STRUCT, w->n_groups);
    sb_add(b, w->groups.s ? w->groups.s : "", w->groups.n);
    thrift_put_text(b, &last, 6, by, (size_t)n);
    thrift_put_list(b, &last, 7, THRIFT_STRUCT, w->n_columns);
    put_orders(b, w->n_columns);
    thrift_put_stop(b);
}

medley_status parquet_writer_finish(struct parquet_writer *w, medley_error *err)
{
    struct strbuf footer;
    medley_status st = w->rows ? write_group(w, err) : MEDLEY_OK;
    sb_init(&footer);
    put_footer(&footer, w);
    uint32_t n = (uint32_t)footer.n;
    sb_add(&footer, (const char *)&n, 4);
    sb_addz(&footer, magic);
    if (!st && footer.failed)
        st = fail_memory(err, "a footer");
    if (!st && footer.n > INT32_MAX)
        st = fail(err, MEDLEY_EINVAL, "too many row groups for a Parquet file");
    if (!st && fwrite(footer.s, 1, footer.n, w->sink.f) != footer.n)
        st = fail(err, MEDLEY_EIO, "cannot write the footer of a Parquet file");
    sb_deinit(&footer);
    return st;
}
