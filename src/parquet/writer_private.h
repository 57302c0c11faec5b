/* writer_private.h: shared by writer.c (rows, groups, the footer), write_chunk.c (the pages of
 * a column) and write_runs.c (runs of levels and indices). */
#ifndef PARQUET_WRITER_PRIVATE_H
#define PARQUET_WRITER_PRIVATE_H

#include "base/map.h"
#include "parquet/codec.h"
#include "parquet/meta.h"
#include "parquet/writer.h"

/* The values of one column in the current row group. */
struct writer_column {
    char *name;
    enum parquet_write_type type;
    bool optional;
    size_t rows, n;       /* rows put; values among them that are not null */
    uint32_t *present;    /* [rows] 1 or 0; only of optional columns */
    struct strbuf values; /* PLAIN: texts after their length, numbers as they are */
    size_t *starts;       /* [n] of texts in `values`, each at its length */
    size_t present_capacity, starts_capacity;
};

/* A file being written, as the pages of a chunk need it. */
struct page_sink {
    FILE *f;
    uint64_t position; /* in the file */
    int32_t codec;
    size_t page_bytes;
    struct strbuf page, header, packed; /* scratch */
};

/* Writes the pages of the column's group, appends its ColumnChunk to `meta`, and adds what they
 * took to *unpacked (with headers) and to sink->position. */
medley_status write_chunk(struct page_sink *sink, const struct writer_column *c,
                          struct strbuf *meta, uint64_t *unpacked, medley_error *err);

enum parquet_physical writer_physical(enum parquet_write_type type);
size_t writer_width(enum parquet_write_type type); /* bytes of a number; 0: texts */
struct str writer_value(const struct writer_column *c, size_t i); /* without its length */

/* The hybrid of runs and packed groups of values below 2^width, 1 <= width <= 32. */
void runs_put(struct strbuf *out, const uint32_t *values, size_t n, unsigned width);

#endif
