/* thrift.h: reading and writing Thrift's compact protocol, in which Parquet's footers and page
 * headers are written. Reading is strict: whatever does not fit ends in `failed`, after which
 * every read gives zero. */
#ifndef PARQUET_THRIFT_H
#define PARQUET_THRIFT_H

#include "base/str.h"

enum thrift_type {
    THRIFT_STOP,
    THRIFT_TRUE,
    THRIFT_FALSE,
    THRIFT_I8,
    THRIFT_I16,
    THRIFT_I32,
    THRIFT_I64,
    THRIFT_DOUBLE,
    THRIFT_BINARY,
    THRIFT_LIST,
    THRIFT_SET,
    THRIFT_MAP,
    THRIFT_STRUCT,
    THRIFT_TYPE_COUNT
};

struct thrift {
    const uint8_t *at, *end;
    bool failed;
    int depth; /* of structs and lists being read */
};

/* One field of a struct; `boolean` for the two types that carry their value. */
struct thrift_field {
    enum thrift_type type;
    int32_t id;
};

/* Begins a struct, gives its fields one by one; false at its end (or failure). Every field must
 * be read, or skipped, before the next is asked for. `last` starts at 0. */
bool thrift_next(struct thrift *t, int32_t *last, struct thrift_field *f);
void thrift_skip(struct thrift *t, enum thrift_type type);

/* Values of a field; of another type than expected: failure. */
int64_t thrift_integer(struct thrift *t, enum thrift_type type); /* I8 to I64 */
bool thrift_boolean(struct thrift *t, enum thrift_type type);
struct str thrift_binary(struct thrift *t, enum thrift_type type); /* borrowed */
/* The number of elements, of which none takes less than a byte, so that a count past what is
 * left is refused. */
size_t thrift_list(struct thrift *t, enum thrift_type type, enum thrift_type element);

/* One unsigned LEB128 number of at most 64 bits from at..end; false when it does not end. */
bool varint_read(const uint8_t **at, const uint8_t *end, uint64_t *out);
static inline int64_t zigzag(uint64_t v)
{
    return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

/* Writing into a growing buffer. A struct's fields in ascending order; `last` starts at 0. */
void thrift_put_varint(struct strbuf *b, uint64_t v);
void thrift_put_field(struct strbuf *b, int32_t *last, int32_t id, enum thrift_type type);
void thrift_put_integer(struct strbuf *b, int32_t *last, int32_t id, enum thrift_type type,
                        int64_t v);
void thrift_put_text(struct strbuf *b, int32_t *last, int32_t id, const char *s, size_t n);
void thrift_put_list(struct strbuf *b, int32_t *last, int32_t id, enum thrift_type element,
                     size_t n);
void thrift_put_stop(struct strbuf *b);

#endif
