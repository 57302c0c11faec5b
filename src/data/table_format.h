/* table_format.h: private to the table reader: what a format implements. A new format is one
 * file and one line in the table of table_reader.c. */
#ifndef DATA_TABLE_FORMAT_H
#define DATA_TABLE_FORMAT_H

#include "data/table_reader.h"

/* A row longer than this is taken for a mistake (most often a quote that is never closed). */
#define TABLE_ROW_LIMIT ((size_t)64 << 20)

struct table_format {
    const char *name, *ending;
    bool has_header; /* the first row names the columns */
    char delimiter;
    /* Reads one row into t->text and the spans; *more is false at the end. */
    medley_status (*next)(struct table *t, bool *more, medley_error *err);
};

medley_status csv_next(struct table *t, bool *more, medley_error *err);
medley_status parquet_next(struct table *t, bool *more, medley_error *err);
medley_status jsonl_next(struct table *t, bool *more, medley_error *err);

struct span {
    size_t begin, end; /* into t->text */
};

struct table {
    const struct table_format *format;
    struct parquet_rows *parquet; /* NULL: rows come from f */
    char *path;
    FILE *f;
    bool owns_stream;
    char *block;    /* input, read a block at a time */
    size_t at, end; /* unread part of the block */
    bool at_eof;
    uint64_t bytes, size; /* read so far; of the file, 0 when unknown */
    uint64_t line;        /* of the next unread byte, from 1 */
    uint64_t row_line;    /* of the first byte of the current row */
    struct strbuf text;   /* the current row */
    struct span *spans;   /* [n_fields] */
    size_t n_fields, spans_capacity;
    char **names;   /* [n_names] columns */
    bool *required; /* [n_names] JSONL: a row without this key is an error */
    size_t n_names, names_capacity, required_capacity;
};

/* Makes t->block[t->at .. t->end) non-empty, unless the file has ended (then t->at == t->end).
 */
medley_status table_fill(struct table *t, medley_error *err);
/* Ends the field that began at text offset `begin`. */
medley_status table_add_span(struct table *t, size_t begin, medley_error *err);
/* Appends to the current row, within TABLE_ROW_LIMIT. */
medley_status table_add_text(struct table *t, const char *s, size_t n, medley_error *err);
medley_status table_add_name(struct table *t, struct str name, medley_error *err);

#endif
