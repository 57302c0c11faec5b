/* values.c: the values of a page, in each encoding, as the array of the column's kind. */
#include "parquet/column.h"

#include "base/error.h"
#include "base/memory.h"

#include <math.h>
#include <string.h>

/* The values of a batch that repeat parts of others may be so long, together. */
#define JOINED_LIMIT ((size_t)256 << 20)

static const char *const encoding_names[] = {
    "PLAIN",          "GROUP_VAR_INT",       "PLAIN_DICTIONARY",        "RLE",
    "BIT_PACKED",     "DELTA_BINARY_PACKED", "DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY",
    "RLE_DICTIONARY", "BYTE_STREAM_SPLIT"};

static medley_status short_page(const struct parquet_column *c, medley_error *err)
{
    return column_damaged(c, err, "a page ends before its values do");
}

/* Bytes of a value that all have the same number, 0 for others. */
static size_t fixed_size(const struct parquet_leaf *l)
{
    static const uint8_t sizes[PHYSICAL_COUNT] = {0, 4, 8, 12, 4, 8, 0, 0};
    return l->physical == PHYSICAL_FIXED ? l->width : sizes[l->physical];
}

/* ---- one value after the other ---- */

/* Nanoseconds since 1970 of INT96: those of the day, then the Julian day; wraps as others do.
 */
static int64_t from_int96(const uint8_t *p)
{
    uint64_t nanos;
    uint32_t day;
    memcpy(&nanos, p, 8);
    memcpy(&day, p + 8, 4);
    return (int64_t)(((uint64_t)day - 2440588) * 86400000000000u + nanos);
}

static double from_half(const uint8_t *p)
{
    unsigned bits = (unsigned)p[0] | (unsigned)p[1] << 8, exponent = bits >> 10 & 31;
    double fraction = bits & 1023, sign = bits >> 15 ? -1 : 1;
    if (exponent == 31)
        return fraction ? NAN : sign * (double)INFINITY;
    return sign *
           (exponent ? ldexp(1024 + fraction, (int)exponent - 25) : ldexp(fraction, -24));
}

/* n values of fixed size on end, into the array of the column's kind. */
static void read_fixed(const struct parquet_column *c, const uint8_t *p, size_t n,
                       int64_t *integers, double *reals, struct str *bytes)
{
    size_t size = fixed_size(c->leaf);
    switch (c->leaf->physical) {
    case PHYSICAL_INT32: {
        bool plus = c->leaf->logical == LOGICAL_UNSIGNED;
        for (size_t i = 0; i < n; i++) {
            int32_t v;
            memcpy(&v, p + i * 4, 4);
            integers[i] = plus ? (int64_t)(uint32_t)v : v;
        }
        break;
    }
    case PHYSICAL_INT64:
        memcpy(integers, p, n * 8);
        break;
    case PHYSICAL_INT96:
        for (size_t i = 0; i < n; i++)
            integers[i] = from_int96(p + i * 12);
        break;
    case PHYSICAL_FLOAT:
        for (size_t i = 0; i < n; i++) {
            float v;
            memcpy(&v, p + i * 4, 4);
            reals[i] = v;
        }
        break;
    case PHYSICAL_DOUBLE:
        memcpy(reals, p, n * 8);
        break;
    default:
        for (size_t i = 0; i < n; i++)
            if (c->kind == PARQUET_REAL)
                reals[i] = from_half(p + i * 2);
            else
                bytes[i] = (struct str){(const char *)p + i * size, size};
        break;
    }
}

static bool read_byte_arrays(struct cursor *at, size_t n, struct str *out)
{
    const uint8_t *p = at->at, *end = at->end;
    for (size_t i = 0; i < n; i++) {
        uint32_t length;
        if (end - p < 4)
            return false;
        memcpy(&length, p, 4);
        p += 4;
        if (length > (size_t)(end - p))
            return false;
        out[i] = (struct str){(const char *)p, length};
        p += length;
    }
    at->at = p;
    return true;
}

static bool read_plain(struct parquet_column *c, size_t n)
{
    size_t size = fixed_size(c->leaf), left = (size_t)(c->data.end - c->data.at);
    if (c->leaf->physical == PHYSICAL_BYTE_ARRAY)
        return read_byte_arrays(&c->data, n, c->bytes);
    if (c->leaf->physical == PHYSICAL_BOOLEAN) {
        if (n > left * 8 - c->bit)
            return false;
        for (size_t i = 0; i < n; i++, c->bit++)
            c->integers[i] = c->data.at[c->bit / 8] >> c->bit % 8 & 1;
        return true;
    }
    if (n > left / size)
        return false;
    if (n)
        read_fixed(c, c->data.at, n, c->integers, c->reals, c->bytes);
    c->data.at += n * size;
    return true;
}

/* ---- dictionaries ---- */

static size_t kind_size(enum parquet_kind kind)
{
    return kind == PARQUET_BYTES ? sizeof(struct str) : 8;
}

medley_status column_read_dictionary(struct parquet_column *c, struct cursor bytes, uint64_t n,
                                     medley_error *err)
{
    size_t size = fixed_size(c->leaf), left = (size_t)(bytes.end - bytes.at);
    bool variable = c->leaf->physical == PHYSICAL_BYTE_ARRAY;
    if (c->leaf->physical == PHYSICAL_BOOLEAN || n > left / (variable ? 4 : size ? size : 1))
        return column_damaged(c, err, "the dictionary is shorter than it says");
    if (!mem_reserve(&c->dictionary, &c->dictionary_capacity, (size_t)n, kind_size(c->kind)))
        return fail_memory(err, "a dictionary");
    if (!variable)
        read_fixed(c, bytes.at, (size_t)n, c->dictionary, c->dictionary, c->dictionary);
    else if (!read_byte_arrays(&bytes, (size_t)n, c->dictionary))
        return column_damaged(c, err, "the dictionary is shorter than it says");
    c->n_dictionary = (size_t)n;
    return MEDLEY_OK;
}

static medley_status read_indices(struct parquet_column *c, size_t n, medley_error *err)
{
    uint32_t most = 0;
    if (!hybrid_read(&c->runs, c->indices, n))
        return short_page(c, err);
    for (size_t i = 0; i < n; i++)
        most = c->indices[i] > most ? c->indices[i] : most;
    if (n && most >= c->n_dictionary)
        return column_damaged(c, err, "an index lies outside of the dictionary");
    if (c->kind == PARQUET_BYTES) {
        const struct str *words = c->dictionary;
        for (size_t i = 0; i < n; i++)
            c->bytes[i] = words[c->indices[i]];
    } else if (c->kind == PARQUET_REAL) {
        const double *numbers = c->dictionary;
        for (size_t i = 0; i < n; i++)
            c->reals[i] = numbers[c->indices[i]];
    } else {
        const int64_t *numbers = c->dictionary;
        for (size_t i = 0; i < n; i++)
            c->integers[i] = numbers[c->indices[i]];
    }
    return MEDLEY_OK;
}

/* ---- deltas ---- */

static bool read_deltas(struct parquet_column *c, size_t n)
{
    if (!delta_read(&c->deltas, c->integers, n))
        return false;
    if (c->leaf->physical == PHYSICAL_INT32) /* sums wrap at 32 bits */
        for (size_t i = 0; i < n; i++) {
            uint32_t low = (uint32_t)c->integers[i];
            c->integers[i] = c->leaf->logical == LOGICAL_UNSIGNED ? (int64_t)low : (int32_t)low;
        }
    return true;
}

/* Texts one after the other, whose lengths came before. */
static bool read_lengths(struct parquet_column *c, size_t n, struct str *out)
{
    if (!delta_read(&c->deltas, c->lengths, n))
        return false;
    for (size_t i = 0; i < n; i++) {
        if (c->lengths[i] < 0 || c->lengths[i] > c->data.end - c->data.at)
            return false;
        out[i] = (struct str){(const char *)c->data.at, (size_t)c->lengths[i]};
        c->data.at += c->lengths[i];
    }
    return true;
}

/* Each value: so many bytes of the one before, then its own. */
static medley_status read_prefixed(struct parquet_column *c, size_t n, medley_error *err)
{
    int64_t prefix;
    sb_clear(&c->joined);
    if (!read_lengths(c, n, c->bytes))
        return short_page(c, err);
    for (size_t i = 0; i < n; i++) {
        struct str rest = c->bytes[i];
        if (!delta_read(&c->prefixes, &prefix, 1) || prefix < 0 ||
            (uint64_t)prefix > c->previous.n)
            return column_damaged(c, err, "a prefix is longer than the value before");
        c->previous.n = (size_t)prefix;
        sb_add(&c->previous, rest.s, rest.n);
        if (c->previous.n > JOINED_LIMIT - c->joined.n)
            return column_damaged(c, err, "values of more than 256 MiB side by side");
        sb_add(&c->joined, c->previous.s, c->previous.n);
        if (c->previous.failed || c->joined.failed)
            return fail_memory(err, "texts");
        c->bytes[i].n = c->previous.n;
    }
    const char *at = c->joined.s;
    for (size_t i = 0; i < n; at += c->bytes[i++].n)
        c->bytes[i].s = at;
    return MEDLEY_OK;
}

/* ---- bytes of one place together ---- */

static medley_status read_split(struct parquet_column *c, size_t n, medley_error *err)
{
    size_t size = fixed_size(c->leaf);
    if (n > c->split - c->split_at)
        return short_page(c, err);
    sb_clear(&c->joined);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < size; k++)
            sb_addc(&c->joined, (char)c->data.at[k * c->split + c->split_at + i]);
    if (c->joined.failed)
        return fail_memory(err, "values");
    if (n)
        read_fixed(c, (const uint8_t *)c->joined.s, n, c->integers, c->reals, c->bytes);
    c->split_at += n;
    return MEDLEY_OK;
}

/* ---- pages ---- */

static bool encoding_fits(const struct parquet_leaf *l, int64_t encoding)
{
    enum parquet_physical p = l->physical;
    switch (encoding) {
    case ENCODING_PLAIN:
        return true;
    case ENCODING_PLAIN_DICTIONARY:
    case ENCODING_DICTIONARY:
        return p != PHYSICAL_BOOLEAN;
    case ENCODING_RLE:
        return p == PHYSICAL_BOOLEAN;
    case ENCODING_DELTA:
        return p == PHYSICAL_INT32 || p == PHYSICAL_INT64;
    case ENCODING_DELTA_LENGTH:
        return p == PHYSICAL_BYTE_ARRAY;
    case ENCODING_DELTA_BYTES:
        return p == PHYSICAL_BYTE_ARRAY || p == PHYSICAL_FIXED;
    case ENCODING_STREAM_SPLIT:
        return fixed_size(l) > 0 && p != PHYSICAL_INT96;
    default:
        return false;
    }
}

static bool begin_dictionary(struct parquet_column *c)
{
    unsigned width = 0;
    if (c->data.at < c->data.end)
        width = *c->data.at++;
    c->runs = hybrid_open(c->data.at, c->data.end, width);
    return width <= 32;
}

static bool begin_booleans(struct parquet_column *c)
{
    uint32_t n = 0;
    if (c->data.end - c->data.at >= 4) {
        memcpy(&n, c->data.at, 4);
        c->data.at += 4;
    }
    c->runs = hybrid_open(c->data.at, c->data.end, 1);
    return n <= (size_t)(c->data.end - c->data.at);
}

static bool begin_lengths(struct parquet_column *c)
{
    if (!delta_open(&c->deltas, c->data.at, c->data.end))
        return false;
    c->data.at = delta_end(&c->deltas);
    return c->data.at != NULL;
}

static bool begin_prefixed(struct parquet_column *c)
{
    sb_clear(&c->previous);
    if (!delta_open(&c->prefixes, c->data.at, c->data.end))
        return false;
    c->data.at = delta_end(&c->prefixes);
    return c->data.at && begin_lengths(c);
}

medley_status column_begin_values(struct parquet_column *c, int64_t encoding,
                                  struct cursor bytes, medley_error *err)
{
    bool good = true;
    c->encoding = encoding;
    c->data = bytes;
    c->bit = 0;
    if (!encoding_fits(c->leaf, encoding)) {
        bool known = encoding >= 0 && encoding <= ENCODING_STREAM_SPLIT;
        return fail(err, MEDLEY_EUNSUPPORTED, "%s: column '%s': %s values in encoding %s",
                    c->path, c->leaf->name, parquet_physical_name(c->leaf->physical),
                    known ? encoding_names[encoding] : "of an unknown number");
    }
    c->runs = hybrid_open(bytes.at, bytes.end, 0);
    c->deltas = c->prefixes = (struct delta){0};
    c->split = c->split_at = 0;
    if (bytes.at == bytes.end) /* nulls alone: nothing may be asked for */
        return MEDLEY_OK;
    switch (encoding) {
    case ENCODING_PLAIN_DICTIONARY:
    case ENCODING_DICTIONARY:
        good = begin_dictionary(c);
        break;
    case ENCODING_RLE:
        good = begin_booleans(c);
        break;
    case ENCODING_DELTA:
        good = delta_open(&c->deltas, bytes.at, bytes.end);
        break;
    case ENCODING_DELTA_LENGTH:
        good = begin_lengths(c);
        break;
    case ENCODING_DELTA_BYTES:
        good = begin_prefixed(c);
        break;
    case ENCODING_STREAM_SPLIT:
        c->split = (uint64_t)(bytes.end - bytes.at) / fixed_size(c->leaf);
        break;
    default:
        break;
    }
    return good ? MEDLEY_OK
                : column_damaged(c, err, "a page's values do not begin as they should");
}

static bool read_booleans(struct parquet_column *c, size_t n)
{
    if (!hybrid_read(&c->runs, c->indices, n))
        return false;
    for (size_t i = 0; i < n; i++)
        c->integers[i] = c->indices[i];
    return true;
}

/* DELTA_BYTE_ARRAY of fixed-size values: each must have the size that the schema says. */
static medley_status check_sizes(const struct parquet_column *c, size_t n, medley_error *err)
{
    for (size_t i = 0; c->leaf->physical == PHYSICAL_FIXED && i < n; i++)
        if (c->bytes[i].n != c->leaf->width)
            return column_damaged(c, err, "a value has another size than the schema says");
    return MEDLEY_OK;
}

medley_status column_read_values(struct parquet_column *c, size_t n, medley_error *err)
{
    medley_status st;
    if (n == 0)
        return MEDLEY_OK;
    switch (c->encoding) {
    case ENCODING_PLAIN_DICTIONARY:
    case ENCODING_DICTIONARY:
        return read_indices(c, n, err);
    case ENCODING_RLE:
        return read_booleans(c, n) ? MEDLEY_OK : short_page(c, err);
    case ENCODING_DELTA:
        return read_deltas(c, n) ? MEDLEY_OK : short_page(c, err);
    case ENCODING_DELTA_LENGTH:
        return read_lengths(c, n, c->bytes) ? MEDLEY_OK : short_page(c, err);
    case ENCODING_DELTA_BYTES:
        st = read_prefixed(c, n, err);
        return st ? st : check_sizes(c, n, err);
    case ENCODING_STREAM_SPLIT:
        return read_split(c, n, err);
    default:
        return read_plain(c, n) ? MEDLEY_OK : short_page(c, err);
    }
}
