/* table_reader.h: one row at a time from CSV, TSV, JSONL or Parquet, in constant memory.
 *
 * CSV is RFC 4180 (quoted newlines, doubled quotes, LF or CRLF) with an optional UTF-8 byte
 * order mark; blank lines are skipped, white space around header names is ignored, a quote
 * inside an unquoted field is text. TSV is the same with tabs. JSONL has one object a line; a
 * column is a key, or a path of keys joined by dots; null and absent keys are empty, numbers
 * and booleans are their text, arrays of plain values are joined by newlines.
 *
 * Parquet is a file, or a folder of part files with the same columns, read in the order of
 * their names; fields are text as parquet/parquet.h says, nulls are empty, "lines" are rows.
 * Only columns that were looked for before the first row are read (all flat ones when none
 * was).
 *
 * Errors name the file, the line on which the row starts and the column. Tested by test_csv.c.
 */
#ifndef DATA_TABLE_READER_H
#define DATA_TABLE_READER_H

#include "base/file.h"
#include "base/str.h"
#include "medley/status.h"

#include <stdio.h>

#define TABLE_NO_COLUMN SIZE_MAX

struct table; /* opaque; one thread */

/* The ending of `path` (.csv .tsv .jsonl .ndjson .parquet, in any case) decides the format; "-"
 * is CSV on standard input. `path` is copied. */
medley_status table_open(const char *path, struct table **out, medley_error *err);
/* The same from an open stream, which stays the caller's; `name` is used for its ending and in
 * messages. */
medley_status table_open_stream(FILE *f, const char *name, struct table **out,
                                medley_error *err);
void table_close(struct table *t); /* accepts NULL */

/* The index of a column, or TABLE_NO_COLUMN. A JSONL file has every column (of empty fields,
 * where its rows lack the key). Case-sensitive. */
size_t table_find(struct table *t, const char *name);
/* The same for a column that must be there: fails listing the columns found. For JSONL the
 * check is made for each row as it is read. */
medley_status table_require(struct table *t, const char *name, size_t *column,
                            medley_error *err);
bool table_has_header(const struct table *t); /* false for JSONL */
/* Names in file order, for formats that have a header; for JSONL those asked for so far. */
size_t table_columns(const struct table *t);
struct str table_column_name(const struct table *t, size_t column); /* borrowed, terminated */

/* Reads the next row; *more is false at the end. Fields are valid until the next call. */
medley_status table_next(struct table *t, bool *more, medley_error *err);
struct str table_field(const struct table *t, size_t column); /* empty for TABLE_NO_COLUMN */
uint64_t table_line(const struct table *t); /* where the current row starts, from 1 */
const char *table_path(const struct table *t);

/* Bytes read so far and the size of the file (0 when unknown), for progress. */
void table_position(const struct table *t, uint64_t *done, uint64_t *total);

/* A hash of all bytes that reading `path` would read. */
medley_status table_hash(const char *path, struct hash128 *inout, medley_error *err);

/* Fails with "path:line: " before the message. */
medley_status table_fail(const struct table *t, medley_error *err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
