/* thrift.c: see thrift.h. Thrift, "Compact protocol encoding". */
#include "parquet/thrift.h"

#include <string.h>

enum { MOST_DEPTH = 24 };

static void refuse(struct thrift *t)
{
    t->failed = true;
    t->at = t->end;
}

bool varint_read(const uint8_t **at, const uint8_t *end, uint64_t *out)
{
    uint64_t v = 0;
    for (unsigned shift = 0; *at < end && shift < 64; shift += 7) {
        uint8_t byte = *(*at)++;
        if (shift == 63 && byte > 1)
            return false;
        v |= (uint64_t)(byte & 127) << shift;
        if (!(byte & 128)) {
            *out = v;
            return true;
        }
    }
    return false;
}

static uint64_t varint(struct thrift *t)
{
    uint64_t v = 0;
    if (!varint_read(&t->at, t->end, &v)) {
        refuse(t);
        return 0;
    }
    return v;
}

bool thrift_next(struct thrift *t, int32_t *last, struct thrift_field *f)
{
    *f = (struct thrift_field){THRIFT_STOP, 0};
    if (t->at == t->end) {
        refuse(t);
        return false;
    }
    uint8_t head = *t->at++;
    if (head == THRIFT_STOP)
        return false;
    f->type = head & 15;
    int64_t id = head >> 4 ? *last + (head >> 4) : zigzag(varint(t));
    if (t->failed || f->type == THRIFT_STOP || f->type >= THRIFT_TYPE_COUNT || id < 0 ||
        id > INT16_MAX) {
        refuse(t);
        return false;
    }
    *last = f->id = (int32_t)id;
    return true;
}

/* Elements of lists and maps: a boolean takes a byte there. */
static void skip_element(struct thrift *t, enum thrift_type type)
{
    if (type == THRIFT_TRUE || type == THRIFT_FALSE) {
        if (t->at == t->end)
            refuse(t);
        else
            t->at++;
    } else {
        thrift_skip(t, type);
    }
}

static void skip_bytes(struct thrift *t, uint64_t n)
{
    if (n > (uint64_t)(t->end - t->at))
        refuse(t);
    else
        t->at += n;
}

static size_t list_head(struct thrift *t, enum thrift_type *element)
{
    *element = THRIFT_STOP;
    if (t->at == t->end) {
        refuse(t);
        return 0;
    }
    uint8_t head = *t->at++;
    uint64_t n = head >> 4 == 15 ? varint(t) : head >> 4;
    *element = head & 15;
    bool no_type = n && *element == THRIFT_STOP; /* some writers give none to no elements */
    if (t->failed || n > (uint64_t)(t->end - t->at) || no_type ||
        *element >= THRIFT_TYPE_COUNT) {
        refuse(t);
        return 0;
    }
    return (size_t)n;
}

static void skip_map(struct thrift *t)
{
    uint64_t n = varint(t);
    if (n == 0)
        return;
    if (t->at == t->end || n > (uint64_t)(t->end - t->at)) {
        refuse(t);
        return;
    }
    uint8_t types = *t->at++;
    for (uint64_t i = 0; i < n && !t->failed; i++) {
        skip_element(t, types >> 4);
        skip_element(t, types & 15);
    }
}

static void skip_struct(struct thrift *t)
{
    struct thrift_field f;
    for (int32_t last = 0; thrift_next(t, &last, &f);)
        thrift_skip(t, f.type);
}

static void skip_list(struct thrift *t)
{
    enum thrift_type element;
    size_t n = list_head(t, &element);
    for (size_t i = 0; i < n && !t->failed; i++)
        skip_element(t, element);
}

void thrift_skip(struct thrift *t, enum thrift_type type)
{
    if (t->depth == MOST_DEPTH) {
        refuse(t);
        return;
    }
    t->depth++;
    switch (type) {
    case THRIFT_TRUE:
    case THRIFT_FALSE:
        break;
    case THRIFT_I8:
        skip_bytes(t, 1);
        break;
    case THRIFT_I16:
    case THRIFT_I32:
    case THRIFT_I64:
        varint(t);
        break;
    case THRIFT_DOUBLE:
        skip_bytes(t, 8);
        break;
    case THRIFT_BINARY:
        skip_bytes(t, varint(t));
        break;
    case THRIFT_LIST:
    case THRIFT_SET:
        skip_list(t);
        break;
    case THRIFT_MAP:
        skip_map(t);
        break;
    case THRIFT_STRUCT:
        skip_struct(t);
        break;
    case THRIFT_STOP:
    case THRIFT_TYPE_COUNT:
        refuse(t);
        break;
    }
    t->depth--;
}

int64_t thrift_integer(struct thrift *t, enum thrift_type type)
{
    if (type == THRIFT_I8 && t->at < t->end)
        return (int8_t)*t->at++;
    if (type == THRIFT_I16 || type == THRIFT_I32 || type == THRIFT_I64)
        return zigzag(varint(t));
    refuse(t);
    return 0;
}

bool thrift_boolean(struct thrift *t, enum thrift_type type)
{
    if (type != THRIFT_TRUE && type != THRIFT_FALSE)
        refuse(t);
    return type == THRIFT_TRUE;
}

struct str thrift_binary(struct thrift *t, enum thrift_type type)
{
    uint64_t n = type == THRIFT_BINARY ? varint(t) : UINT64_MAX;
    struct str none = {"", 0};
    if (t->failed || n > (uint64_t)(t->end - t->at)) {
        refuse(t);
        return none;
    }
    struct str s = {(const char *)t->at, (size_t)n};
    t->at += n;
    return s;
}

size_t thrift_list(struct thrift *t, enum thrift_type type, enum thrift_type element)
{
    enum thrift_type found;
    size_t n = 0;
    if (type == THRIFT_LIST)
        n = list_head(t, &found);
    if (type != THRIFT_LIST || (n && found != element)) {
        refuse(t);
        return 0;
    }
    return n;
}

/* ---- writing ---- */

void thrift_put_varint(struct strbuf *b, uint64_t v)
{
    for (; v > 127; v >>= 7)
        sb_addc(b, (char)(v | 128));
    sb_addc(b, (char)v);
}

void thrift_put_field(struct strbuf *b, int32_t *last, int32_t id, enum thrift_type type)
{
    int32_t step = id - *last;
    if (step >= 1 && step <= 15) {
        sb_addc(b, (char)(step << 4 | (int)type));
    } else {
        sb_addc(b, (char)type);
        thrift_put_varint(b, (uint64_t)id << 1);
    }
    *last = id;
}

void thrift_put_integer(struct strbuf *b, int32_t *last, int32_t id, enum thrift_type type,
                        int64_t v)
{
    thrift_put_field(b, last, id, type);
    thrift_put_varint(b, (uint64_t)v << 1 ^ (uint64_t)(v >> 63));
}

void thrift_put_text(struct strbuf *b, int32_t *last, int32_t id, const char *s, size_t n)
{
    thrift_put_field(b, last, id, THRIFT_BINARY);
    thrift_put_varint(b, n);
    sb_add(b, s, n);
}

void thrift_put_list(struct strbuf *b, int32_t *last, int32_t id, enum thrift_type element,
                     size_t n)
{
    thrift_put_field(b, last, id, THRIFT_LIST);
    if (n < 15) {
        sb_addc(b, (char)(n << 4 | (unsigned)element));
    } else {
        sb_addc(b, (char)(0xF0 | (unsigned)element));
        thrift_put_varint(b, n);
    }
}

void thrift_put_stop(struct strbuf *b)
{
    sb_addc(b, THRIFT_STOP);
}
