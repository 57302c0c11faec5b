/* meta.c: see meta.h. The footer is believed only where it fits the file: pages lie inside of
 * it, every row group has as many values as rows in each flat column, counts add up. */
#include "parquet/meta.h"

#include "base/error.h"
#include "base/memory.h"
#include "parquet/thrift.h"

#include <string.h>

static const char magic[] = "PAR1";

static const char *const physical_names[] = {
    "BOOLEAN", "INT32",  "INT64",      "INT96",
    "FLOAT",   "DOUBLE", "BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY"};
static const char *const codec_names[] = {"none",   "snappy", "gzip", "LZO",
                                          "Brotli", "LZ4",    "zstd", "LZ4 (raw)"};

const char *parquet_physical_name(enum parquet_physical p)
{
    return physical_names[p];
}

const char *parquet_codec_name(int32_t codec)
{
    return codec >= 0 && (size_t)codec < sizeof codec_names / sizeof *codec_names
               ? codec_names[codec]
               : "an unknown one";
}

/* ---- schema ---- */

struct element { /* SchemaElement */
    int64_t type, width, repetition, children, converted, scale;
    struct str name;
    enum parquet_logical logical;
    enum parquet_unit unit;
    bool utc, has_logical;
};

static void read_decimal(struct thrift *t, struct element *e)
{
    struct thrift_field f;
    for (int32_t last = 0; thrift_next(t, &last, &f);)
        if (f.id == 1)
            e->scale = thrift_integer(t, f.type);
        else
            thrift_skip(t, f.type);
}

static void read_unit(struct thrift *t, struct element *e)
{
    struct thrift_field f;
    for (int32_t last = 0; thrift_next(t, &last, &f);) {
        if (f.id >= 1 && f.id <= 3)
            e->unit = (enum parquet_unit)(f.id - 1);
        else
            t->failed = true;
        thrift_skip(t, f.type);
    }
}

static void read_time(struct thrift *t, struct element *e)
{
    struct thrift_field f;
    for (int32_t last = 0; thrift_next(t, &last, &f);)
        if (f.id == 1)
            e->utc = thrift_boolean(t, f.type);
        else if (f.id == 2 && f.type == THRIFT_STRUCT)
            read_unit(t, e);
        else
            thrift_skip(t, f.type);
}

static void read_integer_type(struct thrift *t, struct element *e)
{
    struct thrift_field f;
    for (int32_t last = 0; thrift_next(t, &last, &f);)
        if (f.id == 2)
            e->logical = thrift_boolean(t, f.type) ? LOGICAL_NONE : LOGICAL_UNSIGNED;
        else
            thrift_skip(t, f.type);
}

/* The union LogicalType. */
static void read_logical(struct thrift *t, struct element *e)
{
    static const enum parquet_logical of_id[] = {
        [1] = LOGICAL_TEXT,  [4] = LOGICAL_TEXT,  [5] = LOGICAL_DECIMAL,
        [6] = LOGICAL_DATE,  [7] = LOGICAL_TIME,  [8] = LOGICAL_TIMESTAMP,
        [12] = LOGICAL_TEXT, [14] = LOGICAL_UUID, [15] = LOGICAL_FLOAT16};
    struct thrift_field f;
    for (int32_t last = 0; thrift_next(t, &last, &f);) {
        if (f.type != THRIFT_STRUCT) {
            t->failed = true;
            return;
        }
        e->has_logical = true;
        if ((size_t)f.id < sizeof of_id / sizeof *of_id)
            e->logical = of_id[f.id];
        if (f.id == 5)
            read_decimal(t, e);
        else if (f.id == 7 || f.id == 8)
            read_time(t, e);
        else if (f.id == 10)
            read_integer_type(t, e);
        else
            thrift_skip(t, f.type);
    }
}

/* ConvertedType, which came before LogicalType. */
static void take_converted(struct element *e)
{
    if (e->has_logical)
        return;
    switch (e->converted) {
    case 0:  /* UTF8 */
    case 4:  /* ENUM */
    case 19: /* JSON */
        e->logical = LOGICAL_TEXT;
        break;
    case 5:
        e->logical = LOGICAL_DECIMAL;
        break;
    case 6:
        e->logical = LOGICAL_DATE;
        break;
    case 7:
    case 8:
        e->logical = LOGICAL_TIME;
        e->unit = e->converted == 7 ? UNIT_MILLIS : UNIT_MICROS;
        break;
    case 9:
    case 10:
        e->logical = LOGICAL_TIMESTAMP;
        e->utc = true;
        e->unit = e->converted == 9 ? UNIT_MILLIS : UNIT_MICROS;
        break;
    case 11: /* UINT_8 */
    case 12:
    case 13:
    case 14:
        e->logical = LOGICAL_UNSIGNED;
        break;
    default:
        break;
    }
}

static struct element read_element(struct thrift *t)
{
    struct element e = {.type = -1, .converted = -1};
    struct thrift_field f;
    for (int32_t last = 0; thrift_next(t, &last, &f);) {
        int64_t *number = f.id == 1   ? &e.type
                          : f.id == 2 ? &e.width
                          : f.id == 3 ? &e.repetition
                          : f.id == 5 ? &e.children
                          : f.id == 6 ? &e.converted
                          : f.id == 7 ? &e.scale
                                      : NULL;
        if (number)
            *number = thrift_integer(t, f.type);
        else if (f.id == 4)
            e.name = thrift_binary(t, f.type);
        else if (f.id == 10 && f.type == THRIFT_STRUCT)
            read_logical(t, &e);
        else
            thrift_skip(t, f.type);
    }
    take_converted(&e);
    return e;
}

struct schema_reader {
    struct thrift *t;
    struct parquet_meta *m;
    size_t left, capacity; /* elements not yet read; room for leaves */
    const char *path;
    medley_error *err;
    int depth;
};

static medley_status check_leaf(const struct schema_reader *r, const struct element *e)
{
    bool fixed = e->type == PHYSICAL_FIXED;
    int64_t least = e->logical == LOGICAL_UUID ? 16 : e->logical == LOGICAL_FLOAT16 ? 2 : 1;
    int64_t most = e->logical == LOGICAL_NONE      ? INT32_MAX
                   : e->logical == LOGICAL_DECIMAL ? PARQUET_DECIMAL_BYTES
                                                   : 16;
    if (e->type < 0 || e->type >= PHYSICAL_COUNT || e->repetition < 0 || e->repetition > 2 ||
        !e->name.n || !utf8_valid(e->name, NULL) || memchr(e->name.s, 0, e->name.n) ||
        (fixed && (e->width < least || e->width > most)) || e->scale < 0 ||
        e->scale > PARQUET_DECIMAL_DIGITS)
        return fail(r->err, MEDLEY_EFORMAT, "%s: column '%.*s': its type is not Parquet's",
                    r->path, (int)(e->name.n < 100 ? e->name.n : 100), e->name.s);
    return MEDLEY_OK;
}

static medley_status add_leaf(struct schema_reader *r, const struct element *e,
                              struct str prefix, bool nested)
{
    medley_status st = check_leaf(r, e);
    struct strbuf name;
    if (st)
        return st;
    sb_init(&name);
    if (prefix.n) {
        sb_add(&name, prefix.s, prefix.n);
        sb_addc(&name, '.');
    }
    sb_add(&name, e->name.s, e->name.n);
    char *text = sb_steal(&name);
    if (!text ||
        !mem_reserve(&r->m->leaves, &r->capacity, r->m->n_leaves + 1, sizeof *r->m->leaves)) {
        mem_free(text);
        return fail_memory(r->err, "columns");
    }
    r->m->leaves[r->m->n_leaves++] = (struct parquet_leaf){
        .name = text,
        .physical = (enum parquet_physical)e->type,
        .logical = e->logical,
        .unit = e->unit,
        .utc = e->utc,
        .width = e->type == PHYSICAL_FIXED ? (uint32_t)e->width : 0,
        .scale = (int32_t)e->scale,
        .optional = e->repetition == 1,
        .nested = nested || e->repetition == 2,
    };
    return MEDLEY_OK;
}

/* The next `n` elements and what lies below them. */
static medley_status read_children(struct schema_reader *r, int64_t n, struct str prefix,
                                   bool nested)
{
    medley_status st = MEDLEY_OK;
    if (++r->depth > 20)
        return fail(r->err, MEDLEY_EFORMAT, "%s: the schema is nested too deeply", r->path);
    for (int64_t i = 0; i < n && !st; i++) {
        if (r->left == 0 || r->t->failed)
            return fail(r->err, MEDLEY_EFORMAT, "%s: the schema is damaged", r->path);
        struct element e = read_element(r->t);
        r->left--;
        if (e.children > 0) {
            struct strbuf below;
            sb_init(&below);
            sb_addf(&below, "%.*s%s%.*s", (int)prefix.n, prefix.s, prefix.n ? "." : "",
                    (int)e.name.n, e.name.s);
            st = below.failed ? fail_memory(r->err, "columns")
                              : read_children(r, e.children, sb_str(&below), true);
            sb_deinit(&below);
        } else {
            st = add_leaf(r, &e, prefix, nested);
        }
    }
    r->depth--;
    return st;
}

static medley_status read_schema(struct thrift *t, enum thrift_type type,
                                 struct parquet_meta *m, const char *path, medley_error *err)
{
    struct schema_reader r = {
        .t = t, .m = m, .left = thrift_list(t, type, THRIFT_STRUCT), .path = path, .err = err};
    if (m->leaves || r.left == 0)
        return fail(err, MEDLEY_EFORMAT, "%s: the footer has no schema, or two", path);
    struct element root = read_element(t);
    r.left--;
    medley_status st = read_children(&r, root.children, (struct str){"", 0}, false);
    if (!st && (r.left || t->failed || m->n_leaves == 0))
        st = fail(err, MEDLEY_EFORMAT, "%s: the schema is damaged", path);
    return st;
}

/* ---- row groups ---- */

struct chunk_fields {
    int64_t type, codec, values, compressed, data_at, dictionary_at;
    bool elsewhere, encrypted, described;
};

static void read_column_meta(struct thrift *t, struct chunk_fields *c)
{
    struct thrift_field f;
    c->described = true;
    for (int32_t last = 0; thrift_next(t, &last, &f);) {
        int64_t *number = f.id == 1    ? &c->type
                          : f.id == 4  ? &c->codec
                          : f.id == 5  ? &c->values
                          : f.id == 7  ? &c->compressed
                          : f.id == 9  ? &c->data_at
                          : f.id == 11 ? &c->dictionary_at
                                       : NULL;
        if (number)
            *number = thrift_integer(t, f.type);
        else
            thrift_skip(t, f.type);
    }
}

static struct chunk_fields read_column_chunk(struct thrift *t)
{
    struct chunk_fields c = {.type = -1};
    struct thrift_field f;
    for (int32_t last = 0; thrift_next(t, &last, &f);) {
        c.elsewhere |= f.id == 1;
        c.encrypted |= f.id == 8 || f.id == 9;
        if (f.id == 3 && f.type == THRIFT_STRUCT)
            read_column_meta(t, &c);
        else
            thrift_skip(t, f.type);
    }
    return c;
}

static medley_status take_chunk(const struct chunk_fields *c, const struct parquet_leaf *leaf,
                                uint64_t file_size, const char *path, struct parquet_chunk *out,
                                medley_error *err)
{
    if (c->encrypted || c->elsewhere)
        return fail(err, MEDLEY_EUNSUPPORTED, "%s: column '%s' %s", path, leaf->name,
                    c->encrypted ? "is encrypted" : "lies in another file");
    uint64_t begin = (uint64_t)c->data_at;
    if (c->dictionary_at > 0 && c->dictionary_at < c->data_at)
        begin = (uint64_t)c->dictionary_at;
    bool empty = c->values == 0; /* some writers give no place to no pages */
    if (!c->described || c->type != (int64_t)leaf->physical || c->values < 0 ||
        (!empty && (c->data_at < 4 || c->compressed < 0 || begin > file_size ||
                    (uint64_t)c->compressed > file_size - begin)))
        return fail(err, MEDLEY_EFORMAT,
                    "%s: column '%s': what the footer says of its pages does not fit the file",
                    path, leaf->name);
    *out = (struct parquet_chunk){empty ? 0 : begin, (uint64_t)c->values, (int32_t)c->codec};
    return MEDLEY_OK;
}

static medley_status read_columns(struct thrift *t, enum thrift_type type,
                                  struct parquet_meta *m, struct parquet_chunk *chunks,
                                  uint64_t file_size, const char *path, medley_error *err)
{
    size_t n = thrift_list(t, type, THRIFT_STRUCT);
    medley_status st = MEDLEY_OK;
    if (n != m->n_leaves)
        return fail(err, MEDLEY_EFORMAT, "%s: a row group has %zu columns, the schema %zu",
                    path, n, m->n_leaves);
    for (size_t i = 0; i < n && !st; i++) {
        struct chunk_fields c = read_column_chunk(t);
        if (t->failed)
            return fail(err, MEDLEY_EFORMAT, "%s: the footer is damaged", path);
        st = take_chunk(&c, &m->leaves[i], file_size, path, &chunks[i], err);
    }
    return st;
}

static medley_status read_group(struct thrift *t, struct parquet_meta *m, size_t g,
                                uint64_t file_size, const char *path, medley_error *err)
{
    struct parquet_chunk *chunks = m->chunks + g * m->n_leaves;
    int64_t rows = -1;
    bool columns = false;
    struct thrift_field f;
    medley_status st = MEDLEY_OK;
    for (int32_t last = 0; !st && thrift_next(t, &last, &f);) {
        if (f.id == 1 && !columns) {
            columns = true;
            st = read_columns(t, f.type, m, chunks, file_size, path, err);
        } else if (f.id == 3) {
            rows = thrift_integer(t, f.type);
        } else {
            thrift_skip(t, f.type);
        }
    }
    if (st)
        return st;
    if (t->failed || rows < 0 || !columns)
        return fail(err, MEDLEY_EFORMAT, "%s: row group %zu is damaged", path, g);
    m->group_rows[g] = (uint64_t)rows;
    for (size_t i = 0; i < m->n_leaves; i++)
        if (!m->leaves[i].nested && chunks[i].values != (uint64_t)rows)
            return fail(err, MEDLEY_EFORMAT,
                        "%s: column '%s' has %llu values in a group of %llu rows", path,
                        m->leaves[i].name, (unsigned long long)chunks[i].values,
                        (unsigned long long)rows);
    return MEDLEY_OK;
}

static medley_status read_groups(struct thrift *t, enum thrift_type type,
                                 struct parquet_meta *m, uint64_t file_size, const char *path,
                                 medley_error *err)
{
    size_t n = thrift_list(t, type, THRIFT_STRUCT);
    medley_status st = MEDLEY_OK;
    if (m->chunks || !m->leaves)
        return fail(err, MEDLEY_EFORMAT, "%s: the footer is damaged", path);
    if (m->n_leaves && n > (size_t)(t->end - t->at) / m->n_leaves)
        return fail(err, MEDLEY_EFORMAT, "%s: %zu row groups do not fit the footer", path, n);
    m->n_groups = n;
    m->group_rows = mem_zalloc(n, sizeof *m->group_rows);
    m->chunks = mem_zalloc(n * m->n_leaves + 1, sizeof *m->chunks);
    if (!m->chunks || !m->group_rows)
        return fail_memory(err, "row groups");
    for (size_t g = 0; g < n && !st; g++)
        st = read_group(t, m, g, file_size, path, err);
    return st;
}

/* ---- footer ---- */

static medley_status read_footer(struct thrift *t, struct parquet_meta *m, uint64_t file_size,
                                 const char *path, medley_error *err)
{
    struct thrift_field f;
    int64_t rows = -1;
    medley_status st = MEDLEY_OK;
    for (int32_t last = 0; !st && thrift_next(t, &last, &f);) {
        if (f.id == 2)
            st = read_schema(t, f.type, m, path, err);
        else if (f.id == 3)
            rows = thrift_integer(t, f.type);
        else if (f.id == 4)
            st = read_groups(t, f.type, m, file_size, path, err);
        else if (f.id == 8)
            st = fail(err, MEDLEY_EUNSUPPORTED, "%s: the file is encrypted", path);
        else
            thrift_skip(t, f.type);
    }
    if (st)
        return st;
    for (size_t g = 0; g < m->n_groups; g++)
        m->n_rows += m->group_rows[g];
    if (t->failed || !m->chunks || rows < 0 || (uint64_t)rows != m->n_rows)
        return fail(err, MEDLEY_EFORMAT, "%s: the footer is damaged", path);
    return MEDLEY_OK;
}

medley_status parquet_meta_read(const uint8_t *data, size_t n, const char *path,
                                struct parquet_meta *out, medley_error *err)
{
    *out = (struct parquet_meta){0};
    if (n >= 4 && memcmp(data + n - 4, "PARE", 4) == 0)
        return fail(err, MEDLEY_EUNSUPPORTED, "%s: the file is encrypted", path);
    if (n < 12 || memcmp(data, magic, 4) != 0 || memcmp(data + n - 4, magic, 4) != 0)
        return fail(err, MEDLEY_EFORMAT,
                    "%s: not a whole Parquet file: it must begin and end with PAR1", path);
    uint32_t length = (uint32_t)data[n - 8] | (uint32_t)data[n - 7] << 8 |
                      (uint32_t)data[n - 6] << 16 | (uint32_t)data[n - 5] << 24;
    if (length > n - 12)
        return fail(err, MEDLEY_EFORMAT, "%s: its footer of %u bytes is larger than the file",
                    path, length);
    struct thrift t = {.at = data + n - 8 - length, .end = data + n - 8};
    out->data_end = n - 8 - length;
    medley_status st = read_footer(&t, out, n - 8 - length, path, err);
    if (st)
        parquet_meta_deinit(out);
    return st;
}

void parquet_meta_deinit(struct parquet_meta *m)
{
    for (size_t i = 0; i < m->n_leaves; i++)
        mem_free(m->leaves[i].name);
    mem_free(m->leaves);
    mem_free(m->group_rows);
    mem_free(m->chunks);
    *m = (struct parquet_meta){0};
}
