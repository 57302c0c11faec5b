/* writer.h: writing flat tables as Parquet, row by row. Memory is that of one row group,
 * whatever the number of rows: a group ends at `group_rows` rows or `group_bytes` of values.
 *
 * What is written is what every reader knows: data pages of version 1, PLAIN or RLE_DICTIONARY
 * (whichever is smaller), zstd, a checksum for each page, the least and greatest value of each
 * chunk. Proof: tests/test_parquet_write.c, and bench/peers/parquet_check.py with other
 * readers. */
#ifndef PARQUET_WRITER_H
#define PARQUET_WRITER_H

#include "base/str.h"
#include "medley/status.h"

#include <stdio.h>

enum parquet_write_type {
    PARQUET_WRITE_TEXT, /* UTF-8 */
    PARQUET_WRITE_FLOAT,
    PARQUET_WRITE_DOUBLE,
    PARQUET_WRITE_INT32,
    PARQUET_WRITE_INT64,
};

struct parquet_write_column {
    const char *name; /* copied */
    enum parquet_write_type type;
    bool optional; /* values may be null */
};

enum parquet_write_codec { PARQUET_WRITE_ZSTD, PARQUET_WRITE_SNAPPY, PARQUET_WRITE_PLAIN };

struct parquet_write_options { /* all-zero: the defaults */
    enum parquet_write_codec codec;
    size_t group_rows;  /* [122880] */
    size_t group_bytes; /* of values, before compression [32 MiB] */
    size_t page_bytes;  /* the same of a page [1 MiB] */
};

struct parquet_writer; /* opaque; one thread */

/* `f` stays the caller's, and need not be seekable; the file begins where f stands. `options`
 * may be NULL. */
medley_status parquet_writer_new(FILE *f, const struct parquet_write_column *columns, size_t n,
                                 const struct parquet_write_options *options,
                                 struct parquet_writer **out, medley_error *err);

/* The current row, each column at most once; columns that are left out are null. Numbers are
 * rounded to the column's type. What does not fit (a text in a column of numbers, a text that
 * is not UTF-8 or longer than 256 MiB) is told by parquet_writer_row. */
void parquet_put_text(struct parquet_writer *w, size_t column, struct str text);
void parquet_put_real(struct parquet_writer *w, size_t column, double v);
void parquet_put_integer(struct parquet_writer *w, size_t column, int64_t v);
/* Ends the row, and writes the group when it is full. */
medley_status parquet_writer_row(struct parquet_writer *w, medley_error *err);

/* Writes what is left and the footer: without this call there is no file. */
medley_status parquet_writer_finish(struct parquet_writer *w, medley_error *err);
void parquet_writer_free(struct parquet_writer *w); /* accepts NULL */

#endif
