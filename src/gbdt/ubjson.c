/* ubjson.c: a recursive walk over UBJSON that writes JSON. Numbers are big-endian; an array may
 * state its element type ($) and count (#). Proof: tests/test_gbdt_xgboost.c,
 * fuzz/fuzz_xgboost_ubj.c. */
#include "gbdt/ubjson.h"

#include "base/error.h"
#include "base/json.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#define MAX_DEPTH 64

struct walk {
    const char *name;
    const uint8_t *start, *p, *end;
    struct json_writer w;
    int depth;
    medley_error *err;
};

static medley_status bad(struct walk *s, const char *problem)
{
    return fail(s->err, MEDLEY_EFORMAT, "%s: byte %zu: %s", s->name, (size_t)(s->p - s->start),
                problem);
}

static bool take(struct walk *s, char marker)
{
    if (s->p == s->end || *s->p != (uint8_t)marker)
        return false;
    s->p++;
    return true;
}

static medley_status take_marker(struct walk *s, char *out)
{
    do {
        if (s->p == s->end)
            return bad(s, "truncated");
        *out = (char)*s->p++;
    } while (*out == 'N'); /* no operation */
    return MEDLEY_OK;
}

/* Bytes of a number or single character; 0: another kind of value. */
static size_t width_of(char type)
{
    switch (type) {
    case 'i':
    case 'U':
    case 'C':
        return 1;
    case 'I':
        return 2;
    case 'l':
    case 'd':
        return 4;
    case 'L':
    case 'D':
        return 8;
    default:
        return 0;
    }
}

static uint64_t take_bits(struct walk *s, size_t width)
{
    uint64_t v = 0;
    for (size_t i = 0; i < width; i++)
        v = v << 8 | *s->p++;
    return v;
}

static int64_t as_integer(char type, uint64_t bits)
{
    switch (type) {
    case 'i':
        return (int8_t)bits;
    case 'I':
        return (int16_t)bits;
    case 'l':
        return (int32_t)bits;
    default:
        return (int64_t)bits;
    }
}

static medley_status put_number(struct walk *s, char type)
{
    size_t width = width_of(type);
    if ((size_t)(s->end - s->p) < width)
        return bad(s, "truncated");
    uint64_t bits = take_bits(s, width);
    if (type == 'd') {
        uint32_t half = (uint32_t)bits;
        float v;
        memcpy(&v, &half, sizeof v);
        jw_float(&s->w, v);
    } else if (type == 'D') {
        double v;
        memcpy(&v, &bits, sizeof v);
        jw_double(&s->w, v);
    } else if (type == 'C') {
        char c = (char)bits;
        jw_text(&s->w, (struct str){&c, 1});
    } else {
        jw_i64(&s->w, as_integer(type, bits));
    }
    return MEDLEY_OK;
}

/* A count of things that take at least `least` bytes each (0: none, for values that are in
 * their type, which are refused unless there are none of them). */
static medley_status take_count(struct walk *s, size_t *out)
{
    char type = 0;
    medley_status st = take_marker(s, &type);
    if (st != MEDLEY_OK)
        return st;
    size_t width = width_of(type);
    if (width == 0 || type == 'd' || type == 'D' || type == 'C')
        return bad(s, "a count is not a whole number");
    if ((size_t)(s->end - s->p) < width)
        return bad(s, "truncated");
    int64_t n = as_integer(type, take_bits(s, width));
    if (n < 0 || (uint64_t)n > (uint64_t)(s->end - s->p))
        return bad(s, "a count is larger than the file");
    *out = (size_t)n;
    return MEDLEY_OK;
}

static medley_status take_text(struct walk *s, struct str *out)
{
    size_t n = 0;
    medley_status st = take_count(s, &n);
    if (st != MEDLEY_OK)
        return st;
    *out = (struct str){(const char *)s->p, n};
    s->p += n;
    return memchr(out->s, 0, n) ? bad(s, "a text holds a zero byte") : MEDLEY_OK;
}

static medley_status walk_value(struct walk *s, char type);

static medley_status walk_typed(struct walk *s)
{
    char type = 0;
    size_t n = 0;
    medley_status st = take_marker(s, &type);
    if (st == MEDLEY_OK && width_of(type) == 0)
        return bad(s, "an array's type is not a number");
    if (st == MEDLEY_OK && !take(s, '#'))
        return bad(s, "an array has a type but no count");
    if (st == MEDLEY_OK)
        st = take_count(s, &n);
    if (st == MEDLEY_OK && n > (size_t)(s->end - s->p) / width_of(type))
        return bad(s, "an array is larger than the file");
    for (size_t i = 0; st == MEDLEY_OK && i < n; i++)
        st = put_number(s, type);
    return st;
}

static medley_status walk_array(struct walk *s)
{
    char type = 0;
    size_t n = 0;
    medley_status st = MEDLEY_OK;
    if (take(s, '$'))
        return walk_typed(s);
    if (!take(s, '#')) {
        while (st == MEDLEY_OK && (st = take_marker(s, &type)) == MEDLEY_OK && type != ']')
            st = walk_value(s, type);
        return st;
    }
    st = take_count(s, &n);
    for (size_t i = 0; st == MEDLEY_OK && i < n; i++) {
        st = take_marker(s, &type);
        if (st == MEDLEY_OK)
            st = walk_value(s, type);
    }
    return st;
}

static medley_status walk_member(struct walk *s)
{
    struct str key;
    char type = 0;
    medley_status st = take_text(s, &key);
    char name[128];
    if (st == MEDLEY_OK && key.n >= sizeof name)
        return bad(s, "a key is longer than 127 bytes");
    if (st == MEDLEY_OK) {
        memcpy(name, key.s, key.n);
        name[key.n] = 0;
        jw_key(&s->w, name);
        st = take_marker(s, &type);
    }
    return st == MEDLEY_OK ? walk_value(s, type) : st;
}

static medley_status walk_object(struct walk *s)
{
    medley_status st = MEDLEY_OK;
    size_t n = 0;
    if (s->p < s->end && *s->p == '$')
        return bad(s, "an object has a type");
    if (take(s, '#')) {
        st = take_count(s, &n);
        for (size_t i = 0; st == MEDLEY_OK && i < n; i++)
            st = walk_member(s);
        return st;
    }
    while (st == MEDLEY_OK && !take(s, '}'))
        st = walk_member(s);
    return st;
}

static medley_status walk_container(struct walk *s, bool object)
{
    if (s->depth == MAX_DEPTH)
        return bad(s, "nested too deeply");
    s->depth++;
    object ? jw_object(&s->w) : jw_array(&s->w);
    medley_status st = object ? walk_object(s) : walk_array(s);
    object ? jw_object_end(&s->w) : jw_array_end(&s->w);
    s->depth--;
    return st;
}

static medley_status walk_value(struct walk *s, char type)
{
    struct str text;
    medley_status st;
    switch (type) {
    case '{':
    case '[':
        return walk_container(s, type == '{');
    case 'S':
        st = take_text(s, &text);
        if (st == MEDLEY_OK)
            jw_text(&s->w, text);
        return st;
    case 'Z':
        jw_null(&s->w);
        return MEDLEY_OK;
    case 'T':
    case 'F':
        jw_bool(&s->w, type == 'T');
        return MEDLEY_OK;
    default:
        return width_of(type) ? put_number(s, type) : bad(s, "an unknown type of value");
    }
}

medley_status ubjson_to_json(struct str data, const char *name, struct strbuf *out,
                             medley_error *err)
{
    const uint8_t *p = (const uint8_t *)data.s;
    struct walk s = {.name = name, .start = p, .p = p, .end = p + data.n, .err = err};
    char type = 0;
    jw_init(&s.w, out, false);
    medley_status st = take_marker(&s, &type);
    if (st == MEDLEY_OK)
        st = walk_value(&s, type);
    return st == MEDLEY_OK && s.p != s.end ? bad(&s, "bytes after the end") : st;
}
