/* table_writer.h: tables as CSV, TSV, JSONL or Parquet, row by row, in the memory of one row
 * (of one row group for Parquet). A file is replaced whole, once all is written.
 *
 * Numbers in text are the shortest that read back the same; what is missing is an empty field,
 * null in JSONL and Parquet. Tested by test_table_writer.c. */
#ifndef DATA_TABLE_WRITER_H
#define DATA_TABLE_WRITER_H

#include "base/str.h"
#include "medley/status.h"

#include <stdbool.h>

enum table_type { TABLE_TEXT, TABLE_FLOAT, TABLE_INTEGER };

struct table_column {
    const char *name;
    enum table_type type;
    bool optional; /* may be missing */
};

struct table_writer; /* opaque; one thread */

/* The names of formats, "csv, tsv, jsonl, parquet"; and whether `name` is one. */
const char *table_formats(void);
bool table_format_known(const char *name);

/* `path` NULL or "-" is standard output. `format` NULL: by the ending of path, CSV where that
 * says nothing. The names of columns are copied. */
medley_status table_writer_open(const char *path, const char *format,
                                const struct table_column *columns, size_t n,
                                struct table_writer **out, medley_error *err);

/* The fields of a row, in order, each once. */
void table_put_text(struct table_writer *w, struct str text);
void table_put_real(struct table_writer *w, float v); /* NaN: missing */
void table_put_integer(struct table_writer *w, int64_t v);
medley_status table_writer_row(struct table_writer *w, medley_error *err);

/* Puts the file into place; without this call nothing is. */
medley_status table_writer_commit(struct table_writer *w, medley_error *err);
void table_writer_free(struct table_writer *w); /* accepts NULL */

#endif
