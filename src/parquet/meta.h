/* meta.h: what a Parquet file says of itself: its columns and where their pages lie. Source:
 * parquet.thrift of Apache Parquet 2.11. */
#ifndef PARQUET_META_H
#define PARQUET_META_H

#include "base/str.h"
#include "medley/status.h"

enum parquet_physical {
    PHYSICAL_BOOLEAN,
    PHYSICAL_INT32,
    PHYSICAL_INT64,
    PHYSICAL_INT96,
    PHYSICAL_FLOAT,
    PHYSICAL_DOUBLE,
    PHYSICAL_BYTE_ARRAY,
    PHYSICAL_FIXED,
    PHYSICAL_COUNT
};

enum parquet_logical {
    LOGICAL_NONE,
    LOGICAL_TEXT, /* strings, enums, JSON */
    LOGICAL_DECIMAL,
    LOGICAL_DATE,
    LOGICAL_TIME,
    LOGICAL_TIMESTAMP,
    LOGICAL_UNSIGNED,
    LOGICAL_UUID,
    LOGICAL_FLOAT16,
};

/* The widest decimals: 256 bits. */
enum { PARQUET_DECIMAL_BYTES = 32, PARQUET_DECIMAL_DIGITS = 76 };

enum parquet_unit { UNIT_MILLIS, UNIT_MICROS, UNIT_NANOS };

/* A leaf of the schema. */
struct parquet_leaf {
    char *name; /* with dots where it is nested */
    enum parquet_physical physical;
    enum parquet_logical logical;
    enum parquet_unit unit; /* of times */
    bool utc;               /* of timestamps */
    uint32_t width;         /* bytes of PHYSICAL_FIXED */
    int32_t scale;          /* of decimals */
    bool optional;          /* values may be null */
    bool nested;            /* lists, maps, structs: not read */
};

/* The pages of one column in one row group. Their number follows from that of the values: old
 * writers left the dictionary's header out of the sum of bytes, which is not relied on. */
struct parquet_chunk {
    uint64_t begin;  /* in the file; the dictionary's page, if there is one */
    uint64_t values; /* nulls among them */
    int32_t codec;
};

struct parquet_meta {
    struct parquet_leaf *leaves; /* [n_leaves] */
    size_t n_leaves;
    uint64_t n_rows;
    uint64_t data_end; /* bytes of the file before the footer */
    size_t n_groups;
    uint64_t *group_rows;         /* [n_groups] */
    struct parquet_chunk *chunks; /* [n_groups * n_leaves] */
};

/* Reads the footer of a whole file in memory; `path` is for messages. */
medley_status parquet_meta_read(const uint8_t *data, size_t n, const char *path,
                                struct parquet_meta *out, medley_error *err);
void parquet_meta_deinit(struct parquet_meta *m);

const char *parquet_codec_name(int32_t codec);
const char *parquet_physical_name(enum parquet_physical p);

#endif
