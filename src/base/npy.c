/* npy.c: reading and writing NumPy's .npy. The header is a Python dict literal; only the three
 * keys that the format defines are taken, in any order. Proof: tests/test_base_npy.c (numpy's
 * own bytes, faults), fuzz/fuzz_npy.c. */
#include "base/npy.h"

#include "base/error.h"
#include "base/memory.h"

#include <inttypes.h>
#include <string.h>

static const struct {
    const char *descr;
    enum npy_type type;
    size_t size;
} npy_types[] = {
    {"<f4", NPY_F32, 4}, {"<f8", NPY_F64, 8}, {"<i4", NPY_I32, 4},
    {"<i8", NPY_I64, 8}, {"|u1", NPY_U8, 1},  {"|b1", NPY_U8, 1},
};
enum { N_TYPES = sizeof npy_types / sizeof npy_types[0] };

static size_t type_size(enum npy_type type)
{
    for (size_t i = 0; i < N_TYPES; i++)
        if (npy_types[i].type == type)
            return npy_types[i].size;
    return 0;
}

/* ---- the header's dict literal
 * --------------------------------------------------------------- */

struct header {
    struct str descr;
    bool fortran, has_fortran, has_shape;
    uint64_t shape[2];
    int dims;
};

static void skip_space(struct str *s)
{
    while (s->n && (*s->s == ' ' || *s->s == '\n' || *s->s == '\t')) {
        s->s++;
        s->n--;
    }
}

static bool take(struct str *s, char c)
{
    skip_space(s);
    if (s->n == 0 || *s->s != c)
        return false;
    s->s++;
    s->n--;
    return true;
}

static bool take_word(struct str *s, const char *word)
{
    size_t n = strlen(word);
    skip_space(s);
    if (s->n < n || memcmp(s->s, word, n) != 0)
        return false;
    *s = (struct str){s->s + n, s->n - n};
    return true;
}

/* 'text' or "text", without escapes. */
static bool take_string(struct str *s, struct str *out)
{
    skip_space(s);
    char quote = s->n ? *s->s : 0;
    if (quote != '\'' && quote != '"')
        return false;
    const char *close = memchr(s->s + 1, quote, s->n - 1);
    if (!close)
        return false;
    *out = (struct str){s->s + 1, (size_t)(close - s->s) - 1};
    s->n -= (size_t)(close + 1 - s->s);
    s->s = close + 1;
    return true;
}

/* (3,) or (3, 4). More dimensions are counted, not kept. */
static bool take_shape(struct str *s, struct header *h)
{
    if (!take(s, '('))
        return false;
    for (;;) {
        if (take(s, ')'))
            return true;
        skip_space(s);
        size_t digits = 0;
        while (digits < s->n && s->s[digits] >= '0' && s->s[digits] <= '9')
            digits++;
        uint64_t value;
        if (h->dims >= 64 || !str_to_u64((struct str){s->s, digits}, &value))
            return false;
        *s = (struct str){s->s + digits, s->n - digits};
        if (h->dims < 2)
            h->shape[h->dims] = value;
        h->dims++;
        if (!take(s, ','))
            return take(s, ')') && h->dims > 1; /* (3) is a number in Python */
    }
}

static bool take_member(struct str *s, struct header *h)
{
    struct str key;
    if (!take_string(s, &key) || !take(s, ':'))
        return false;
    if (str_is(key, "descr") && !h->descr.s)
        return take_string(s, &h->descr);
    if (str_is(key, "shape") && !h->has_shape)
        return h->has_shape = take_shape(s, h);
    if (!str_is(key, "fortran_order") || h->has_fortran)
        return false;
    h->has_fortran = true;
    h->fortran = take_word(s, "True");
    return h->fortran || take_word(s, "False");
}

static bool parse_dict(struct str s, struct header *h)
{
    *h = (struct header){.shape = {0, 1}};
    if (!take(&s, '{'))
        return false;
    while (!take(&s, '}')) {
        if (!take_member(&s, h))
            return false;
        if (!take(&s, ',')) {
            if (!take(&s, '}'))
                return false;
            break;
        }
    }
    skip_space(&s);
    return s.n == 0 && h->descr.s && h->has_fortran && h->has_shape;
}

/* ---- reading
 * --------------------------------------------------------------------------------- */

/* Finds the dict and where the data start. */
static medley_status split(struct str file, const char *path, struct str *dict, size_t *data,
                           medley_error *err)
{
    const unsigned char *p = (const unsigned char *)file.s;
    if (file.n < 10 || memcmp(p, "\x93NUMPY", 6) != 0)
        return fail(err, MEDLEY_EFORMAT, "%s: not a .npy file", path);
    if (p[6] < 1 || p[6] > 3)
        return fail(err, MEDLEY_EUNSUPPORTED, "%s: .npy version %d.%d (expected 1.0 to 3.0)",
                    path, p[6], p[7]);
    size_t start = 10, length = p[8] | (size_t)p[9] << 8;
    if (p[6] > 1) {
        start = 12;
        if (file.n < start)
            return fail(err, MEDLEY_EFORMAT, "%s: truncated in the header", path);
        length |= (size_t)p[10] << 16 | (size_t)p[11] << 24;
    }
    if (length > file.n - start)
        return fail(err, MEDLEY_EFORMAT, "%s: truncated in the header", path);
    *dict = (struct str){file.s + start, length};
    *data = start + length;
    return MEDLEY_OK;
}

static medley_status interpret(const struct header *h, const char *path, struct npy *a,
                               medley_error *err)
{
    size_t i = 0;
    while (i < N_TYPES && !str_is(h->descr, npy_types[i].descr))
        i++;
    if (i == N_TYPES)
        return fail(err, MEDLEY_EUNSUPPORTED,
                    "%s: dtype '%.*s' (expected <f4, <f8, <i4, <i8, |u1 or |b1)", path,
                    (int)(h->descr.n < 40 ? h->descr.n : 40), h->descr.s);
    if (h->dims < 1 || h->dims > 2)
        return fail(err, MEDLEY_EUNSUPPORTED, "%s: %d dimensions (expected 1 or 2)", path,
                    h->dims);
    if (h->fortran && h->dims == 2 && h->shape[0] != 1 && h->shape[1] != 1)
        return fail(
            err, MEDLEY_EUNSUPPORTED,
            "%s: columns are stored first (fortran_order); save numpy.ascontiguousarray(a)",
            path);
    a->type = npy_types[i].type;
    a->rows = h->shape[0];
    a->cols = h->shape[1];
    a->dims = h->dims;
    return MEDLEY_OK;
}

static medley_status check_size(const struct npy *a, const char *path, size_t left,
                                medley_error *err)
{
    size_t bytes;
    if (__builtin_mul_overflow(a->rows, a->cols, &bytes) ||
        __builtin_mul_overflow(bytes, type_size(a->type), &bytes) || bytes != left)
        return fail(err, MEDLEY_EFORMAT,
                    "%s: shape (%zu, %zu) does not agree with %zu bytes of data", path, a->rows,
                    a->cols, left);
    return MEDLEY_OK;
}

medley_status npy_open(const char *path, struct npy *out, medley_error *err)
{
    struct npy a = {0};
    struct str dict;
    struct header h;
    size_t data = 0;
    medley_status st = mapping_open(path, &a.map, err);
    if (st)
        return st;
    st = split((struct str){(const char *)a.map.data, a.map.n}, path, &dict, &data, err);
    if (st == MEDLEY_OK && !parse_dict(dict, &h))
        st = fail(err, MEDLEY_EFORMAT, "%s: malformed .npy header", path);
    if (st == MEDLEY_OK)
        st = interpret(&h, path, &a, err);
    if (st == MEDLEY_OK)
        st = check_size(&a, path, a.map.n - data, err);
    if (st == MEDLEY_OK) {
        a.data = a.map.data + data;
        *out = a;
    } else {
        mapping_close(&a.map);
    }
    return st;
}

void npy_close(struct npy *a)
{
    mapping_close(&a->map);
    *a = (struct npy){0};
}

void npy_to_float(const struct npy *a, float *out)
{
    const uint8_t *p = a->data;
    size_t n = a->rows * a->cols, size = type_size(a->type);
    for (size_t i = 0; i < n; i++, p += size) {
        double f64;
        int32_t i32;
        int64_t i64;
        switch (a->type) {
        case NPY_F32:
            memcpy(&out[i], p, sizeof out[i]);
            break;
        case NPY_F64:
            memcpy(&f64, p, sizeof f64);
            out[i] = (float)f64;
            break;
        case NPY_I32:
            memcpy(&i32, p, sizeof i32);
            out[i] = (float)i32;
            break;
        case NPY_I64:
            memcpy(&i64, p, sizeof i64);
            out[i] = (float)i64;
            break;
        case NPY_U8:
            out[i] = *p;
            break;
        }
    }
}

/* ---- writing
 * --------------------------------------------------------------------------------- */

/* As numpy.save does: version 1.0, data at a multiple of 64. */
static void write_header(struct strbuf *b, enum npy_type type, size_t rows, size_t cols)
{
    const char *descr = npy_types[0].descr;
    for (size_t i = N_TYPES; i-- > 0;)
        if (npy_types[i].type == type)
            descr = npy_types[i].descr; /* the first of its type: |u1 before |b1 */
    sb_add(b, "\x93NUMPY\x01\x00\x00\x00", 10);
    sb_addf(b, "{'descr': '%s', 'fortran_order': False, 'shape': (%zu,", descr, rows);
    if (cols)
        sb_addf(b, " %zu", cols);
    sb_addz(b, "), }");
    while (!b->failed && b->n % 64 != 63)
        sb_addc(b, ' ');
    sb_addc(b, '\n');
    if (b->failed)
        return;
    size_t length = b->n - 10; /* at most some 100: two numbers */
    b->s[8] = (char)(length & 0xFF);
    b->s[9] = (char)(length >> 8);
}

medley_status npy_write(const char *path, enum npy_type type, size_t rows, size_t cols,
                        const void *data, medley_error *err)
{
    struct strbuf header;
    struct outfile o = {0};
    size_t n;
    if (__builtin_mul_overflow(rows, cols ? cols : 1, &n) || n > PTRDIFF_MAX / 8)
        return fail(err, MEDLEY_EINVAL, "'%s' would have %zu x %zu cells", path, rows, cols);
    sb_init(&header);
    write_header(&header, type, rows, cols);
    medley_status st = header.failed ? fail_memory(err, path) : outfile_open(&o, path, err);
    if (st == MEDLEY_OK) {
        fwrite(header.s, 1, header.n, o.f);
        if (n)
            fwrite(data, type_size(type), n, o.f);
        st = outfile_commit(&o, err);
    }
    sb_deinit(&header);
    return st;
}
