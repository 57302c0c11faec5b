/* parquet.h: reading the flat columns of Parquet files, a column at a time and in batches:
 * memory is that of one page and its dictionary, whatever the size of the file.
 *
 * Read are: data pages of both versions; PLAIN, RLE, RLE_DICTIONARY and PLAIN_DICTIONARY,
 * DELTA_BINARY_PACKED, DELTA_LENGTH_BYTE_ARRAY, DELTA_BYTE_ARRAY, BYTE_STREAM_SPLIT;
 * uncompressed, snappy, gzip, zstd; required and optional columns. Lists, maps and structs,
 * encryption, other codecs are refused with the column's name when such a column is asked for.
 * Checksums are checked where there are any. Proof: tests/test_parquet.c, fuzz/fuzz_parquet.c.
 */
#ifndef PARQUET_PARQUET_H
#define PARQUET_PARQUET_H

#include "base/str.h"
#include "medley/status.h"
#include "parquet/meta.h"

struct parquet_file; /* any number of columns and threads may read from one */

medley_status parquet_open(const char *path, struct parquet_file **out, medley_error *err);
/* The same of bytes in memory, which stay the caller's and must outlive the file. */
medley_status parquet_open_bytes(const uint8_t *data, size_t n, const char *name,
                                 struct parquet_file **out, medley_error *err);
void parquet_close(struct parquet_file *f); /* accepts NULL; after its columns */
const struct parquet_meta *parquet_meta(const struct parquet_file *f);
/* SIZE_MAX when there is none of that name. */
size_t parquet_find(const struct parquet_file *f, const char *name);

/* What values become. */
enum parquet_kind {
    PARQUET_INTEGER, /* booleans, integers, dates, times (INT96: nanoseconds since 1970) */
    PARQUET_REAL,    /* halves, floats, doubles */
    PARQUET_BYTES,   /* texts, fixed-size bytes */
};
enum parquet_kind parquet_kind_of(const struct parquet_leaf *leaf);

/* Values valid until the column's next call. One of the three arrays is not NULL; the value of
 * a null is 0 or empty. */
struct parquet_batch {
    size_t n;
    const bool *null; /* [n]; NULL: none */
    const int64_t *integers;
    const double *reals;
    const struct str *bytes;
};
enum { PARQUET_BATCH = 4096 }; /* the most of one call */

struct parquet_column; /* one thread */
medley_status parquet_column_open(const struct parquet_file *f, size_t leaf,
                                  struct parquet_column **out, medley_error *err);
/* The next values, at most `most`; n = 0 at the end of the file. */
medley_status parquet_column_next(struct parquet_column *c, size_t most,
                                  struct parquet_batch *out, medley_error *err);
uint64_t parquet_column_position(const struct parquet_column *c); /* bytes of its pages read */
void parquet_column_close(struct parquet_column *c);              /* accepts NULL */

/* Value i of a batch as text: numbers in their shortest form that reads back the same, true and
 * false, dates as 2024-02-29, times of day as 12:34:56.000001, timestamps with both (and Z
 * where the column says UTC), decimals with their scale, UUIDs with hyphens, bytes as they are.
 * A null is empty. */
void parquet_text(const struct parquet_leaf *leaf, const struct parquet_batch *b, size_t i,
                  struct strbuf *out);

#endif
