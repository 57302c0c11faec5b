/* table_parquet.h: private to the table reader: rows of one Parquet file, or of a folder of
 * part files, as fields of text. */
#ifndef DATA_TABLE_PARQUET_H
#define DATA_TABLE_PARQUET_H

#include "base/file.h"
#include "data/table_format.h"

struct parquet_rows; /* one thread */

/* Whether `path` is a folder with part files: names that end in .parquet and do not begin with
 * '_' or '.', as Spark and Hive have them. */
bool parquet_rows_folder(const char *path);
medley_status parquet_rows_open(struct table *t, medley_error *err);
void parquet_rows_close(struct parquet_rows *r); /* accepts NULL */
/* From now on a column is read; those that nobody asks for are not. */
void parquet_rows_want(struct parquet_rows *r, size_t column);
/* A hash of the part files' bytes, in order. */
medley_status parquet_rows_hash(const char *folder, struct hash128 *inout, medley_error *err);

#endif
