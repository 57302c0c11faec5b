/* column.h: a column being read; private to src/parquet. column.c finds pages, values.c decodes
 * what is in them. */
#ifndef PARQUET_COLUMN_H
#define PARQUET_COLUMN_H

#include "parquet/encodings.h"
#include "parquet/parquet.h"

enum encoding {
    ENCODING_PLAIN = 0,
    ENCODING_PLAIN_DICTIONARY = 2,
    ENCODING_RLE = 3,
    ENCODING_BIT_PACKED = 4,
    ENCODING_DELTA = 5,
    ENCODING_DELTA_LENGTH = 6,
    ENCODING_DELTA_BYTES = 7,
    ENCODING_DICTIONARY = 8,
    ENCODING_STREAM_SPLIT = 9,
};

struct cursor {
    const uint8_t *at, *end;
};

struct buffer {
    uint8_t *data;
    size_t capacity;
};

struct parquet_column {
    const char *path;
    const uint8_t *file, *end; /* the pages of the whole file */
    const struct parquet_meta *meta;
    const struct parquet_leaf *leaf;
    size_t index; /* of the leaf */
    enum parquet_kind kind;

    /* the row group */
    size_t group;
    bool begun;
    struct parquet_chunk chunk;
    const uint8_t *at;   /* the next page */
    const uint8_t *kept; /* pages before this were given back; NULL: file not mapped */
    uint64_t chunk_left, page_left; /* values to come */

    /* the dictionary of the group: the array of the column's kind */
    bool has_dictionary;
    size_t n_dictionary, dictionary_capacity;
    void *dictionary; /* [n_dictionary] int64_t, double or struct str */
    struct buffer dictionary_bytes;

    /* the page */
    struct buffer page_bytes;
    struct hybrid levels;
    int64_t encoding;
    struct cursor data;
    uint64_t bit;             /* PLAIN booleans */
    struct hybrid runs;       /* dictionary indices, RLE booleans */
    struct delta deltas;      /* integers; or the lengths of bytes */
    struct delta prefixes;    /* DELTA_BYTE_ARRAY */
    struct strbuf previous;   /* its last value */
    struct strbuf joined;     /* bytes of the batch that are nowhere in the page */
    uint64_t split, split_at; /* BYTE_STREAM_SPLIT: values of the page, those read */

    /* the batch */
    uint32_t *indices; /* [PARQUET_BATCH] */
    bool *null;        /* [PARQUET_BATCH] */
    int64_t *integers; /* [PARQUET_BATCH]; lengths of bytes */
    int64_t *lengths;  /* [PARQUET_BATCH] */
    double *reals;     /* [PARQUET_BATCH] */
    struct str *bytes; /* [PARQUET_BATCH] */
};

medley_status column_damaged(const struct parquet_column *c, medley_error *err,
                             const char *what);
medley_status column_read_dictionary(struct parquet_column *c, struct cursor bytes, uint64_t n,
                                     medley_error *err);
/* Makes ready to read the values of a page; then the next n <= PARQUET_BATCH of them, densely
 * into the array of the column's kind. */
medley_status column_begin_values(struct parquet_column *c, int64_t encoding,
                                  struct cursor bytes, medley_error *err);
medley_status column_read_values(struct parquet_column *c, size_t n, medley_error *err);

#endif
