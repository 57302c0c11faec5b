/* column.c: a column's pages, one after the other, as batches of values. */
#include "parquet/column.h"

#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "parquet/codec.h"
#include "parquet/thrift.h"

#include <string.h>
#include <zlib.h>

/* A page that claims more is taken for damaged. */
#define PAGE_LIMIT ((int64_t)1 << 30)

enum page_type { PAGE_DATA, PAGE_INDEX, PAGE_DICTIONARY, PAGE_DATA_2 };

struct page {
    int64_t type, unpacked, packed, values, encoding, level_encoding;
    int64_t definition_bytes, repetition_bytes; /* version 2 */
    uint32_t crc;
    bool has_crc, compressed;
    const uint8_t *data; /* [packed] */
};

medley_status column_damaged(const struct parquet_column *c, medley_error *err,
                             const char *what)
{
    return fail(err, MEDLEY_EFORMAT, "%s: column '%s', row group %zu: %s", c->path,
                c->leaf->name, c->group, what);
}

/* ---- headers ---- */

static void read_data_header(struct thrift *t, struct page *p)
{
    struct thrift_field f;
    for (int32_t last = 0; thrift_next(t, &last, &f);)
        if (f.id == 1)
            p->values = thrift_integer(t, f.type);
        else if (f.id == 2)
            p->encoding = thrift_integer(t, f.type);
        else if (f.id == 3 && f.type == THRIFT_I32) /* a dictionary's is "sorted" */
            p->level_encoding = thrift_integer(t, f.type);
        else
            thrift_skip(t, f.type);
}

static void read_data_header_2(struct thrift *t, struct page *p)
{
    struct thrift_field f;
    p->level_encoding = ENCODING_RLE;
    for (int32_t last = 0; thrift_next(t, &last, &f);) {
        int64_t *number = f.id == 1   ? &p->values
                          : f.id == 4 ? &p->encoding
                          : f.id == 5 ? &p->definition_bytes
                          : f.id == 6 ? &p->repetition_bytes
                                      : NULL;
        if (number)
            *number = thrift_integer(t, f.type);
        else if (f.id == 7)
            p->compressed = thrift_boolean(t, f.type);
        else
            thrift_skip(t, f.type);
    }
}

static bool read_header(struct thrift *t, struct page *p)
{
    struct thrift_field f;
    *p = (struct page){.type = -1, .values = -1, .encoding = -1, .compressed = true};
    for (int32_t last = 0; thrift_next(t, &last, &f);) {
        int64_t *number = f.id == 1   ? &p->type
                          : f.id == 2 ? &p->unpacked
                          : f.id == 3 ? &p->packed
                                      : NULL;
        bool within = f.type == THRIFT_STRUCT;
        if (number) {
            *number = thrift_integer(t, f.type);
        } else if (f.id == 4) {
            p->crc = (uint32_t)thrift_integer(t, f.type);
            p->has_crc = true;
        } else if (within && (f.id == 5 || f.id == 7)) {
            read_data_header(t, p); /* a dictionary's begins with the same two fields */
        } else if (within && f.id == 8) {
            read_data_header_2(t, p);
        } else {
            thrift_skip(t, f.type);
        }
    }
    p->data = t->at;
    return !t->failed && p->packed >= 0 && p->unpacked >= 0 && p->unpacked <= PAGE_LIMIT &&
           p->packed <= t->end - t->at;
}

/* ---- contents ---- */

/* The page's bytes from `skip` on, decompressed when they are compressed. */
static medley_status page_bytes(struct parquet_column *c, const struct page *p, size_t skip,
                                struct buffer *room, struct cursor *out, medley_error *err)
{
    size_t packed = (size_t)p->packed - skip, unpacked = (size_t)p->unpacked - skip;
    *out = (struct cursor){p->data + skip, p->data + p->packed};
    if (c->chunk.codec == CODEC_NONE || !p->compressed)
        return p->packed == p->unpacked ? MEDLEY_OK
                                        : column_damaged(c, err, "a page's size is wrong");
    *out = (struct cursor){NULL, NULL};
    if (unpacked == 0) /* of nulls alone; some writers compress even nothing */
        return MEDLEY_OK;
    if (!mem_reserve(&room->data, &room->capacity, unpacked, 1))
        return fail_memory(err, "a page");
    if (!parquet_decompress(c->chunk.codec, p->data + skip, packed, room->data, unpacked))
        return column_damaged(c, err, "a page does not decompress");
    *out = (struct cursor){room->data, room->data + unpacked};
    return MEDLEY_OK;
}

static medley_status take_dictionary(struct parquet_column *c, const struct page *p,
                                     medley_error *err)
{
    struct cursor bytes;
    if (c->has_dictionary)
        return column_damaged(c, err, "two dictionaries");
    if (p->encoding != ENCODING_PLAIN && p->encoding != ENCODING_PLAIN_DICTIONARY)
        return column_damaged(c, err, "a dictionary that is not PLAIN");
    medley_status st = page_bytes(c, p, 0, &c->dictionary_bytes, &bytes, err);
    if (st)
        return st;
    c->has_dictionary = true;
    return column_read_dictionary(c, bytes, (uint64_t)p->values, err);
}

/* Definition levels of a page of version 1: their length stands before them. */
static medley_status take_levels(struct parquet_column *c, const struct page *p,
                                 struct cursor *bytes, medley_error *err)
{
    uint32_t n;
    if (p->level_encoding != ENCODING_RLE)
        return column_damaged(c, err, "levels are not in RLE");
    if (bytes->end - bytes->at < 4)
        return column_damaged(c, err, "a page ends within its levels");
    memcpy(&n, bytes->at, 4);
    bytes->at += 4;
    if (n > (size_t)(bytes->end - bytes->at))
        return column_damaged(c, err, "a page ends within its levels");
    c->levels = hybrid_open(bytes->at, bytes->at + n, 1);
    bytes->at += n;
    return MEDLEY_OK;
}

static medley_status take_data(struct parquet_column *c, const struct page *p,
                               medley_error *err)
{
    struct cursor bytes;
    if (p->values < 0 || (uint64_t)p->values > c->chunk_left)
        return column_damaged(c, err, "more values than the footer says");
    medley_status st = page_bytes(c, p, 0, &c->page_bytes, &bytes, err);
    if (!st && c->leaf->optional)
        st = take_levels(c, p, &bytes, err);
    if (!st)
        st = column_begin_values(c, p->encoding, bytes, err);
    if (!st)
        c->page_left = (uint64_t)p->values;
    return st;
}

static medley_status take_data_2(struct parquet_column *c, const struct page *p,
                                 medley_error *err)
{
    struct cursor bytes;
    int64_t most = p->packed < p->unpacked ? p->packed : p->unpacked;
    if (p->values < 0 || (uint64_t)p->values > c->chunk_left)
        return column_damaged(c, err, "more values than the footer says");
    if (p->definition_bytes < 0 || p->repetition_bytes < 0 || p->definition_bytes > most ||
        p->repetition_bytes > most - p->definition_bytes)
        return column_damaged(c, err, "a page ends within its levels");
    size_t skip = (size_t)(p->definition_bytes + p->repetition_bytes);
    medley_status st = page_bytes(c, p, skip, &c->page_bytes, &bytes, err);
    if (c->leaf->optional)
        c->levels = hybrid_open(p->data + p->repetition_bytes, p->data + skip, 1);
    if (!st)
        st = column_begin_values(c, p->encoding, bytes, err);
    if (!st)
        c->page_left = (uint64_t)p->values;
    return st;
}

/* Of a mapped file the pages that were read leave our memory again: a column chunk may be the
 * whole of a column. Values of the batch before are no longer valid; the rest is mapped anew
 * should somebody look. */
static void give_back(struct parquet_column *c)
{
    enum { PIECE = 4 << 20 };
    if (!c->kept || c->at - c->kept < PIECE)
        return;
    mapping_give_back(c->kept, (size_t)(c->at - c->kept));
    c->kept = c->at;
}

static medley_status next_page(struct parquet_column *c, medley_error *err)
{
    struct thrift t = {.at = c->at, .end = c->end};
    struct page p;
    give_back(c);
    if (!read_header(&t, &p))
        return column_damaged(c, err, "the header of a page is damaged, or the page cut off");
    c->at = p.data + p.packed;
    if (p.has_crc && crc32_z(0, p.data, (size_t)p.packed) != p.crc)
        return column_damaged(c, err, "the checksum of a page does not fit");
    switch (p.type) {
    case PAGE_DATA:
        return take_data(c, &p, err);
    case PAGE_DATA_2:
        return take_data_2(c, &p, err);
    case PAGE_DICTIONARY:
        return take_dictionary(c, &p, err);
    default: /* indices, and what a later version may bring, are passed over */
        return MEDLEY_OK;
    }
}

/* ---- batches ---- */

static medley_status begin_group(struct parquet_column *c, medley_error *err)
{
    c->chunk = c->meta->chunks[c->group * c->meta->n_leaves + c->index];
    c->at = c->file + c->chunk.begin;
    if (c->kept)
        c->kept = c->at;
    c->chunk_left = c->chunk.values;
    c->has_dictionary = false;
    c->n_dictionary = 0;
    if (parquet_codec_known(c->chunk.codec))
        return MEDLEY_OK;
    return fail(err, MEDLEY_EUNSUPPORTED,
                "%s: column '%s' is compressed with %s (read are none, snappy, gzip, zstd)",
                c->path, c->leaf->name, parquet_codec_name(c->chunk.codec));
}

/* Until there is a value: false at the end of the file. */
static medley_status find_values(struct parquet_column *c, bool *more, medley_error *err)
{
    medley_status st = MEDLEY_OK;
    while (!st && c->page_left == 0) {
        if (c->chunk_left == 0) {
            if (c->begun)
                c->group++;
            c->begun = true;
            *more = c->group < c->meta->n_groups;
            if (!*more) {
                c->begun = false;
                return MEDLEY_OK;
            }
            st = begin_group(c, err);
        } else {
            st = next_page(c, err);
        }
    }
    *more = true;
    return st;
}

/* Which of the next n values are there; how many. */
static medley_status read_levels(struct parquet_column *c, size_t n, size_t *present,
                                 medley_error *err)
{
    uint64_t run;
    uint32_t level;
    *present = n;
    if (!c->leaf->optional)
        return MEDLEY_OK;
    if (hybrid_run(&c->levels, &run, &level) && run >= n && level == 1) {
        hybrid_skip(&c->levels, n);
        return MEDLEY_OK;
    }
    if (!hybrid_read(&c->levels, c->indices, n))
        return column_damaged(c, err, "a page has too few levels");
    *present = 0;
    for (size_t i = 0; i < n; i++) {
        c->null[i] = c->indices[i] == 0;
        *present += c->indices[i];
    }
    return MEDLEY_OK;
}

/* Moves the values that are there to their places, from the last on. */
static void spread(struct parquet_column *c, size_t n, size_t present)
{
    for (size_t i = n; i-- > 0;) {
        bool null = c->null[i];
        if (!null)
            present--;
        if (c->kind == PARQUET_INTEGER)
            c->integers[i] = null ? 0 : c->integers[present];
        else if (c->kind == PARQUET_REAL)
            c->reals[i] = null ? 0 : c->reals[present];
        else
            c->bytes[i] = null ? (struct str){"", 0} : c->bytes[present];
    }
}

medley_status parquet_column_next(struct parquet_column *c, size_t most,
                                  struct parquet_batch *out, medley_error *err)
{
    bool more;
    size_t present;
    *out = (struct parquet_batch){0};
    medley_status st = find_values(c, &more, err);
    if (st || !more)
        return st;
    size_t n = most < PARQUET_BATCH ? most : PARQUET_BATCH;
    if (n > c->page_left)
        n = (size_t)c->page_left;
    st = read_levels(c, n, &present, err);
    if (!st)
        st = column_read_values(c, present, err);
    if (st)
        return st;
    if (present < n)
        spread(c, n, present);
    c->page_left -= n;
    c->chunk_left -= n;
    out->n = n;
    out->null = present < n ? c->null : NULL;
    out->integers = c->kind == PARQUET_INTEGER ? c->integers : NULL;
    out->reals = c->kind == PARQUET_REAL ? c->reals : NULL;
    out->bytes = c->kind == PARQUET_BYTES ? c->bytes : NULL;
    return MEDLEY_OK;
}

uint64_t parquet_column_position(const struct parquet_column *c)
{
    return c->at ? (uint64_t)(c->at - c->file) : 0;
}
