/* write_chunk.c: the pages of one column in one row group, and what the footer says of them.
 * The whole group is at hand, so that the dictionary is taken exactly where it is smaller. */
#include "parquet/writer_private.h"

#include "base/error.h"
#include "base/memory.h"
#include "parquet/column.h"
#include "parquet/thrift.h"

#include <math.h>
#include <string.h>
#include <zlib.h>

enum {
    PAGE_ROWS = 20000,
    DICTIONARY_LIMIT = 1 << 20, /* bytes: readers hold it as long as the chunk */
    STATISTICS_LIMIT = 64,      /* bytes of a text in the statistics */
};

/* Present once a dictionary pays. */
struct dictionary {
    uint32_t *index;     /* [n] of the values */
    struct strbuf plain; /* its values */
    size_t count;
};

struct chunk {
    struct page_sink *sink;
    const struct writer_column *c;
    struct dictionary dictionary;
    bool has_dictionary;
    unsigned width; /* bits of an index */
    uint64_t begin, data_at, unpacked;
};

enum parquet_physical writer_physical(enum parquet_write_type type)
{
    static const enum parquet_physical of[] = {
        [PARQUET_WRITE_TEXT] = PHYSICAL_BYTE_ARRAY, [PARQUET_WRITE_FLOAT] = PHYSICAL_FLOAT,
        [PARQUET_WRITE_DOUBLE] = PHYSICAL_DOUBLE,   [PARQUET_WRITE_INT32] = PHYSICAL_INT32,
        [PARQUET_WRITE_INT64] = PHYSICAL_INT64,
    };
    return of[type];
}

size_t writer_width(enum parquet_write_type type)
{
    if (type == PARQUET_WRITE_TEXT)
        return 0;
    return type == PARQUET_WRITE_FLOAT || type == PARQUET_WRITE_INT32 ? 4 : 8;
}

/* Where value i begins in PLAIN; i = n is the end. */
static size_t plain_at(const struct writer_column *c, size_t i)
{
    size_t width = writer_width(c->type);
    if (width)
        return i * width;
    return i < c->n ? c->starts[i] : c->values.n;
}

struct str writer_value(const struct writer_column *c, size_t i)
{
    size_t skip = writer_width(c->type) ? 0 : 4, from = plain_at(c, i) + skip;
    return (struct str){c->values.s + from, plain_at(c, i + 1) - from};
}

/* ---- dictionary ---- */

static unsigned bits_for(size_t count)
{
    unsigned bits = 1;
    while ((count - 1) >> bits)
        bits++;
    return bits;
}

static bool pays(const struct writer_column *c, const struct dictionary *d)
{
    return d->plain.n + c->n * bits_for(d->count ? d->count : 1) / 8 < c->values.n;
}

/* *better is false as soon as it is clear that PLAIN is smaller. */
static medley_status fill_dictionary(const struct writer_column *c, struct map *seen,
                                     struct dictionary *d, bool *better, medley_error *err)
{
    *better = true;
    for (size_t i = 0; i < c->n && *better; i++) {
        bool added;
        uint32_t id = map_add(seen, writer_value(c, i), &added);
        if (id == MAP_NONE)
            return fail_memory(err, "a dictionary");
        d->index[i] = id;
        if (added)
            sb_add(&d->plain, c->values.s + plain_at(c, i),
                   plain_at(c, i + 1) - plain_at(c, i));
        *better = d->plain.n <= DICTIONARY_LIMIT &&
                  (i % 1024 != 1023 || map_count(seen) <= (i + 1) / 4 * 3);
    }
    d->count = map_count(seen);
    *better = *better && pays(c, d);
    return d->plain.failed ? fail_memory(err, "a dictionary") : MEDLEY_OK;
}

static medley_status make_dictionary(struct chunk *k, medley_error *err)
{
    struct dictionary *d = &k->dictionary;
    struct map *seen = map_new(1024);
    sb_init(&d->plain);
    d->index = mem_alloc(k->c->n + 1, sizeof *d->index);
    medley_status st = seen && d->index
                           ? fill_dictionary(k->c, seen, d, &k->has_dictionary, err)
                           : fail_memory(err, "a dictionary");
    if (!st && k->has_dictionary)
        k->width = bits_for(d->count);
    map_free(seen);
    return st;
}

/* ---- pages ---- */

static void put_header(struct strbuf *b, bool dictionary, size_t values, size_t unpacked,
                       const struct strbuf *packed, bool indices)
{
    int32_t last = 0, within = 0;
    uint32_t crc = (uint32_t)crc32_z(0, (const Bytef *)packed->s, packed->n);
    sb_clear(b);
    thrift_put_integer(b, &last, 1, THRIFT_I32, dictionary ? 2 : 0);
    thrift_put_integer(b, &last, 2, THRIFT_I32, (int64_t)unpacked);
    thrift_put_integer(b, &last, 3, THRIFT_I32, (int64_t)packed->n);
    thrift_put_integer(b, &last, 4, THRIFT_I32, (int32_t)crc);
    thrift_put_field(b, &last, dictionary ? 7 : 5, THRIFT_STRUCT);
    thrift_put_integer(b, &within, 1, THRIFT_I32, (int64_t)values);
    thrift_put_integer(b, &within, 2, THRIFT_I32,
                       indices ? ENCODING_DICTIONARY : ENCODING_PLAIN);
    if (!dictionary) {
        thrift_put_integer(b, &within, 3, THRIFT_I32, ENCODING_RLE);
        thrift_put_integer(b, &within, 4, THRIFT_I32, ENCODING_RLE);
    }
    thrift_put_stop(b);
    thrift_put_stop(b);
}

static medley_status put_bytes(struct page_sink *s, const struct strbuf *b, medley_error *err)
{
    if (b->failed)
        return fail_memory(err, "a page");
    if (b->n && fwrite(b->s, 1, b->n, s->f) != b->n)
        return fail(err, MEDLEY_EIO, "cannot write a Parquet page");
    s->position += b->n;
    return MEDLEY_OK;
}

/* sink->page as a page of so many values. */
static medley_status put_page(struct chunk *k, bool dictionary, size_t values, bool indices,
                              medley_error *err)
{
    struct page_sink *s = k->sink;
    if (s->page.failed || !parquet_compress(s->codec, sb_str(&s->page), &s->packed))
        return fail_memory(err, "a page");
    put_header(&s->header, dictionary, values, s->page.n, &s->packed, indices);
    medley_status st = put_bytes(s, &s->header, err);
    k->unpacked += s->header.n + s->page.n;
    return st ? st : put_bytes(s, &s->packed, err);
}

static medley_status put_dictionary(struct chunk *k, medley_error *err)
{
    sb_clear(&k->sink->page);
    sb_add(&k->sink->page, k->dictionary.plain.s, k->dictionary.plain.n);
    return put_page(k, true, k->dictionary.count, false, err);
}

/* Rows [row, end) with values [from, to). */
static medley_status put_data(struct chunk *k, size_t row, size_t end, size_t from, size_t to,
                              medley_error *err)
{
    const struct writer_column *c = k->c;
    struct strbuf *page = &k->sink->page;
    sb_clear(page);
    if (c->optional) {
        uint32_t n = 0;
        sb_add(page, (const char *)&n, 4);
        runs_put(page, c->present + row, end - row, 1);
        n = (uint32_t)(page->n - 4);
        if (!page->failed)
            memcpy(page->s, &n, 4);
    }
    if (k->has_dictionary) {
        sb_addc(page, (char)k->width);
        runs_put(page, k->dictionary.index + from, to - from, k->width);
    } else {
        sb_add(page, c->values.s + plain_at(c, from), plain_at(c, to) - plain_at(c, from));
    }
    return put_page(k, false, end - row, k->has_dictionary, err);
}

static medley_status put_pages(struct chunk *k, medley_error *err)
{
    const struct writer_column *c = k->c;
    medley_status st = MEDLEY_OK;
    for (size_t row = 0, from = 0; row < c->rows && !st;) {
        size_t end = row, to = from;
        while (end < c->rows && end - row < PAGE_ROWS &&
               (end == row || plain_at(c, to) - plain_at(c, from) < k->sink->page_bytes)) {
            to += c->optional ? c->present[end] : 1;
            end++;
        }
        st = put_data(k, row, end, from, to, err);
        row = end;
        from = to;
    }
    return st;
}

/* ---- statistics ---- */

struct range {
    struct str least, greatest;
    bool any;
};

static double number_of(enum parquet_write_type type, struct str v)
{
    float single;
    double real;
    if (type == PARQUET_WRITE_FLOAT) {
        memcpy(&single, v.s, 4);
        return (double)single;
    }
    memcpy(&real, v.s, 8);
    return real;
}

static int64_t integer_of(enum parquet_write_type type, struct str v)
{
    int32_t narrow;
    int64_t wide;
    if (type == PARQUET_WRITE_INT32) {
        memcpy(&narrow, v.s, 4);
        return narrow;
    }
    memcpy(&wide, v.s, 8);
    return wide;
}

static bool less(enum parquet_write_type type, struct str a, struct str b)
{
    if (type == PARQUET_WRITE_TEXT) {
        int order = memcmp(a.s, b.s, a.n < b.n ? a.n : b.n);
        return order ? order < 0 : a.n < b.n;
    }
    if (type == PARQUET_WRITE_FLOAT || type == PARQUET_WRITE_DOUBLE)
        return number_of(type, a) < number_of(type, b);
    return integer_of(type, a) < integer_of(type, b);
}

static bool is_nan(enum parquet_write_type type, struct str v)
{
    return (type == PARQUET_WRITE_FLOAT || type == PARQUET_WRITE_DOUBLE) &&
           isnan(number_of(type, v));
}

/* NaN counts for neither end, as parquet.thrift asks. */
static struct range find_range(const struct writer_column *c)
{
    struct range r = {0};
    for (size_t i = 0; i < c->n; i++) {
        struct str v = writer_value(c, i);
        if (is_nan(c->type, v))
            continue;
        if (!r.any || less(c->type, v, r.least))
            r.least = v;
        if (!r.any || less(c->type, r.greatest, v))
            r.greatest = v;
        r.any = true;
    }
    return r;
}

/* A zero may be of either sign: the least is written as -0, the greatest as +0. */
static void put_end(struct strbuf *b, int32_t *last, int32_t id, struct str v,
                    enum parquet_write_type type)
{
    char bytes[8] = {0};
    bool real = type == PARQUET_WRITE_FLOAT || type == PARQUET_WRITE_DOUBLE;
    if (real && number_of(type, v) == 0) {
        bytes[v.n - 1] = id == 6 ? (char)0x80 : 0;
        v.s = bytes;
    }
    thrift_put_text(b, last, id, v.s, v.n);
}

/* A long text's beginning, cut where a character ends, is not above it. */
static struct str cut_least(struct str v)
{
    if (v.n <= STATISTICS_LIMIT)
        return v;
    v.n = STATISTICS_LIMIT;
    while (v.n && ((unsigned char)v.s[v.n] & 0xC0) == 0x80)
        v.n--;
    return v;
}

/* The same with its last ASCII character raised is above it; false: there is none. */
static bool cut_greatest(struct str v, char out[STATISTICS_LIMIT], size_t *n)
{
    size_t at = v.n < STATISTICS_LIMIT ? v.n : STATISTICS_LIMIT;
    memcpy(out, v.s, at);
    *n = at;
    if (v.n <= STATISTICS_LIMIT)
        return true;
    while (at && (unsigned char)v.s[at - 1] >= 0x7E)
        at--;
    if (at == 0)
        return false;
    out[at - 1]++;
    *n = at;
    return true;
}

static void put_statistics(struct strbuf *b, const struct writer_column *c)
{
    struct range r = find_range(c);
    char greatest[STATISTICS_LIMIT];
    struct str low = r.least, high = r.greatest;
    int32_t last = 0;
    if (c->type == PARQUET_WRITE_TEXT && r.any) {
        low = cut_least(r.least);
        high.s = greatest;
        r.any = cut_greatest(r.greatest, greatest, &high.n);
    }
    thrift_put_integer(b, &last, 3, THRIFT_I64, (int64_t)(c->rows - c->n));
    if (r.any) {
        put_end(b, &last, 5, high, c->type);
        put_end(b, &last, 6, low, c->type);
        thrift_put_field(b, &last, 7,
                         r.greatest.n > STATISTICS_LIMIT ? THRIFT_FALSE : THRIFT_TRUE);
        thrift_put_field(b, &last, 8,
                         r.least.n > STATISTICS_LIMIT ? THRIFT_FALSE : THRIFT_TRUE);
    }
    thrift_put_stop(b);
}

/* ---- the chunk ---- */

static void put_number(struct strbuf *b, int64_t v) /* of a list */
{
    thrift_put_varint(b, (uint64_t)v << 1 ^ (uint64_t)(v >> 63));
}

static void put_meta(struct strbuf *b, const struct chunk *k)
{
    const struct writer_column *c = k->c;
    int32_t chunk = 0, last = 0;
    thrift_put_integer(b, &chunk, 2, THRIFT_I64, 0); /* file_offset, which nobody uses */
    thrift_put_field(b, &chunk, 3, THRIFT_STRUCT);
    thrift_put_integer(b, &last, 1, THRIFT_I32, (int64_t)writer_physical(c->type));
    thrift_put_list(b, &last, 2, THRIFT_I32, k->has_dictionary ? 3 : 2);
    put_number(b, ENCODING_PLAIN);
    put_number(b, ENCODING_RLE);
    if (k->has_dictionary)
        put_number(b, ENCODING_DICTIONARY);
    thrift_put_list(b, &last, 3, THRIFT_BINARY, 1);
    thrift_put_varint(b, strlen(c->name));
    sb_addz(b, c->name);
    thrift_put_integer(b, &last, 4, THRIFT_I32, k->sink->codec);
    thrift_put_integer(b, &last, 5, THRIFT_I64, (int64_t)c->rows);
    thrift_put_integer(b, &last, 6, THRIFT_I64, (int64_t)k->unpacked);
    thrift_put_integer(b, &last, 7, THRIFT_I64, (int64_t)(k->sink->position - k->begin));
    thrift_put_integer(b, &last, 9, THRIFT_I64, (int64_t)k->data_at);
    if (k->has_dictionary)
        thrift_put_integer(b, &last, 11, THRIFT_I64, (int64_t)k->begin);
    thrift_put_field(b, &last, 12, THRIFT_STRUCT);
    put_statistics(b, c);
    thrift_put_stop(b);
    thrift_put_stop(b);
}

medley_status write_chunk(struct page_sink *sink, const struct writer_column *c,
                          struct strbuf *meta, uint64_t *unpacked, medley_error *err)
{
    struct chunk k = {.sink = sink, .c = c, .begin = sink->position};
    medley_status st = make_dictionary(&k, err);
    if (!st && k.has_dictionary)
        st = put_dictionary(&k, err);
    k.data_at = sink->position;
    if (!st)
        st = put_pages(&k, err);
    if (!st)
        put_meta(meta, &k);
    *unpacked += k.unpacked;
    mem_free(k.dictionary.index);
    sb_deinit(&k.dictionary.plain);
    return st;
}
