/* safetensors.c: the container of named arrays. A file is believed only when its header is
 * strict JSON, every name is new, every shape multiplies to its number of bytes and the arrays
 * cover the data without overlap or hole. Proof: tests/test_base_safetensors.c (faults, bit
 * flips, files of the reference library), fuzz/fuzz_safetensors.c. */
#include "base/safetensors.h"

#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MAX_HEADER ((uint64_t)100 << 20) /* the reference library's limit */
#define METADATA "__metadata__"

static const struct {
    const char *name;
    size_t size;
} st_types[] = {
    [ST_BOOL] = {"BOOL", 1}, [ST_U8] = {"U8", 1},   [ST_I8] = {"I8", 1},
    [ST_U16] = {"U16", 2},   [ST_I16] = {"I16", 2}, [ST_F16] = {"F16", 2},
    [ST_BF16] = {"BF16", 2}, [ST_U32] = {"U32", 4}, [ST_I32] = {"I32", 4},
    [ST_F32] = {"F32", 4},   [ST_U64] = {"U64", 8}, [ST_I64] = {"I64", 8},
    [ST_F64] = {"F64", 8},
};
enum { N_TYPES = sizeof st_types / sizeof st_types[0] };

size_t st_type_size(enum st_type t)
{
    return st_types[t].size;
}

const char *st_type_name(enum st_type t)
{
    return st_types[t].name;
}

/* ---- reading
 * --------------------------------------------------------------------------------- */

struct st_file {
    struct mapping map;
    char *path;               /* for messages */
    json *header;             /* owns names and metadata */
    struct map *index;        /* name -> position in entries */
    struct st_entry *entries; /* by offset */
    size_t n;
};

/* One array while the header is read. */
struct draft {
    struct st_entry entry;
    uint64_t begin, end;
};

static medley_status refuse(const char *path, const char *name, const char *problem,
                            medley_error *err)
{
    return fail(err, MEDLEY_EFORMAT, "%s: array '%s': %s", path, name, problem);
}

static bool read_u64(const json *v, uint64_t *out)
{
    int64_t i;
    if (!json_as_i64(v, &i) || i < 0)
        return false;
    *out = (uint64_t)i;
    return true;
}

static medley_status read_type(const json *v, const char *path, struct st_entry *e,
                               medley_error *err)
{
    const char *text;
    if (!json_as_text(v, &text))
        return refuse(path, e->name, "no dtype", err);
    for (size_t i = 0; i < N_TYPES; i++)
        if (strcmp(text, st_types[i].name) == 0) {
            e->type = (enum st_type)i;
            return MEDLEY_OK;
        }
    return fail(err, MEDLEY_EUNSUPPORTED, "%s: array '%s': dtype '%s'", path, e->name, text);
}

/* Shape, count and bytes. */
static medley_status read_shape(const json *v, const char *path, struct st_entry *e,
                                medley_error *err)
{
    if (json_kind_of(v) != JSON_ARRAY)
        return refuse(path, e->name, "no shape", err);
    e->count = 1;
    for (const json *d = json_first(v); d; d = json_next(d)) {
        uint64_t extent;
        if (e->dims == ST_MAX_DIMS)
            return fail(err, MEDLEY_EUNSUPPORTED, "%s: array '%s': more than %d dimensions",
                        path, e->name, ST_MAX_DIMS);
        if (!read_u64(d, &extent))
            return refuse(path, e->name, "shape is not a list of whole numbers", err);
        if (__builtin_mul_overflow(e->count, extent, &e->count))
            return refuse(path, e->name, "shape is too large", err);
        e->shape[e->dims++] = extent;
    }
    if (__builtin_mul_overflow(e->count, st_type_size(e->type), &e->bytes))
        return refuse(path, e->name, "shape is too large", err);
    return MEDLEY_OK;
}

static medley_status read_entry(const json *member, const char *path, uint64_t data_bytes,
                                struct draft *d, medley_error *err)
{
    *d = (struct draft){.entry.name = json_key(member)};
    const json *offsets = json_get(member, "data_offsets");
    medley_status st = read_type(json_get(member, "dtype"), path, &d->entry, err);
    if (st == MEDLEY_OK)
        st = read_shape(json_get(member, "shape"), path, &d->entry, err);
    if (st)
        return st;
    const json *begin = json_kind_of(offsets) == JSON_ARRAY ? json_first(offsets) : NULL;
    const json *end = json_next(begin);
    if (!read_u64(begin, &d->begin) || !read_u64(end, &d->end) || json_next(end))
        return refuse(path, d->entry.name, "data_offsets are not two whole numbers", err);
    if (d->begin > d->end || d->end > data_bytes)
        return refuse(path, d->entry.name, "data_offsets lie outside the file", err);
    if (d->end - d->begin != d->entry.bytes)
        return fail(err, MEDLEY_EFORMAT,
                    "%s: array '%s': shape needs %zu bytes, data_offsets hold %" PRIu64, path,
                    d->entry.name, d->entry.bytes, d->end - d->begin);
    return MEDLEY_OK;
}

static int by_offset(const void *a, const void *b)
{
    const struct draft *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

/* Moves the drafts, in order of offset, into f->entries. */
static medley_status place(struct st_file *f, struct draft *drafts, const uint8_t *data,
                           uint64_t data_bytes, medley_error *err)
{
    uint64_t at = 0;
    qsort(drafts, f->n, sizeof *drafts, by_offset);
    for (size_t i = 0; i < f->n; i++) {
        struct draft *d = &drafts[i];
        bool added;
        if (d->begin != at)
            return refuse(f->path, d->entry.name,
                          d->begin > at ? "there is a hole before its data"
                                        : "its data overlap another array's",
                          err);
        at = d->end;
        d->entry.data = data + d->begin;
        f->entries[i] = d->entry;
        if (map_add(f->index, str_of(d->entry.name), &added) == MAP_NONE)
            return fail_memory(err, f->path);
        if (!added)
            return refuse(f->path, d->entry.name, "the name occurs twice", err);
    }
    if (at != data_bytes)
        return fail(err, MEDLEY_EFORMAT, "%s: %" PRIu64 " bytes of data belong to no array",
                    f->path, data_bytes - at);
    return MEDLEY_OK;
}

static medley_status check_metadata(const json *metadata, const char *path, medley_error *err)
{
    const char *text;
    if (!metadata)
        return MEDLEY_OK;
    bool good = json_kind_of(metadata) == JSON_OBJECT;
    for (const json *v = json_first(metadata); v; v = json_next(v))
        good = good && json_as_text(v, &text);
    return good ? MEDLEY_OK
                : fail(err, MEDLEY_EFORMAT, "%s: " METADATA " is not a map of texts", path);
}

static medley_status read_arrays(struct st_file *f, uint64_t data_start, medley_error *err)
{
    uint64_t data_bytes = f->map.n - data_start;
    size_t members = json_count(f->header);
    struct draft *drafts = mem_alloc(members, sizeof *drafts);
    f->entries = mem_alloc(members, sizeof *f->entries);
    f->index = map_new(members);
    medley_status st = MEDLEY_OK;
    if (!drafts || !f->entries || !f->index)
        st = fail_memory(err, f->path);
    bool has_metadata = false;
    for (const json *m = json_first(f->header); m && st == MEDLEY_OK; m = json_next(m)) {
        if (strcmp(json_key(m), METADATA) != 0) {
            st = read_entry(m, f->path, data_bytes, &drafts[f->n], err);
            f->n++;
        } else if (has_metadata) {
            st = fail(err, MEDLEY_EFORMAT, "%s: " METADATA " occurs twice", f->path);
        } else {
            has_metadata = true;
            st = check_metadata(m, f->path, err);
        }
    }
    if (st == MEDLEY_OK)
        st = place(f, drafts, f->map.data + data_start, data_bytes, err);
    mem_free(drafts);
    return st;
}

static medley_status read_header(struct st_file *f, medley_error *err)
{
    uint64_t length;
    if (f->map.n < sizeof length)
        return fail(err, MEDLEY_EFORMAT, "%s: not a safetensors file: %zu bytes", f->path,
                    f->map.n);
    memcpy(&length, f->map.data, sizeof length);
    if (length > MAX_HEADER || length > f->map.n - sizeof length)
        return fail(err, MEDLEY_EFORMAT,
                    "%s: not a safetensors file, or truncated: header of %" PRIu64 " bytes",
                    f->path, length);
    struct str text = {(const char *)f->map.data + sizeof length, length};
    medley_status st = json_parse(text, f->path, &f->header, err);
    if (st)
        return st;
    if (json_kind_of(f->header) != JSON_OBJECT)
        return fail(err, MEDLEY_EFORMAT, "%s: the header is not a JSON object", f->path);
    return read_arrays(f, sizeof length + length, err);
}

medley_status st_open(const char *path, struct st_file **out, medley_error *err)
{
    medley_status st;
    struct st_file *f = mem_zalloc(1, sizeof *f);
    if (!f)
        return fail_memory(err, path);
    f->path = mem_strdup(path);
    st = f->path ? mapping_open(path, &f->map, err) : fail_memory(err, path);
    if (st == MEDLEY_OK)
        st = read_header(f, err);
    if (st == MEDLEY_OK)
        *out = f;
    else
        st_close(f);
    return st;
}

void st_close(struct st_file *f)
{
    if (!f)
        return;
    map_free(f->index);
    json_free(f->header);
    mapping_close(&f->map);
    mem_free(f->entries);
    mem_free(f->path);
    mem_free(f);
}

size_t st_count(const struct st_file *f)
{
    return f->n;
}

const struct st_entry *st_at(const struct st_file *f, size_t i)
{
    return &f->entries[i];
}

const struct st_entry *st_find(const struct st_file *f, const char *name)
{
    uint32_t i = map_find(f->index, str_of(name));
    return i == MAP_NONE ? NULL : &f->entries[i];
}

static void print_shape(struct strbuf *b, int dims, const uint64_t *shape)
{
    sb_addc(b, '[');
    for (int i = 0; i < dims; i++)
        sb_addf(b, "%s%" PRIu64, i ? ", " : "", shape[i]);
    sb_addc(b, ']');
}

medley_status st_require(const struct st_file *f, const char *name, enum st_type type, int dims,
                         const uint64_t *shape, const struct st_entry **out, medley_error *err)
{
    const struct st_entry *e = st_find(f, name);
    if (!e)
        return fail(err, MEDLEY_EFORMAT, "%s: no array '%s'", f->path, name);
    if (e->type != type)
        return fail(err, MEDLEY_EFORMAT, "%s: array '%s' is %s (expected %s)", f->path, name,
                    st_type_name(e->type), st_type_name(type));
    bool same = dims < 0 || e->dims == dims;
    for (int i = 0; i < dims && same; i++)
        same = e->shape[i] == shape[i];
    if (same) {
        *out = e;
        return MEDLEY_OK;
    }
    struct strbuf text;
    sb_init(&text);
    print_shape(&text, e->dims, e->shape);
    sb_addz(&text, " (expected ");
    print_shape(&text, dims, shape);
    medley_status st = fail(err, MEDLEY_EFORMAT, "%s: array '%s' has shape %s)", f->path, name,
                            sb_str(&text).s);
    sb_deinit(&text);
    return st;
}

const char *st_metadata(const struct st_file *f, const char *key)
{
    const char *text = NULL;
    json_as_text(json_get(json_get(f->header, METADATA), key), &text);
    return text;
}

/* ---- to float32
 * ------------------------------------------------------------------------------ */

static float float_of_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static float half_to_float(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 0x1F;
    uint32_t mantissa = half & 0x3FF;
    if (exponent == 0x1F) /* infinity, NaN */
        return float_of_bits(sign | 0x7F800000u | mantissa << 13);
    if (exponent == 0) { /* zero, subnormal: mantissa * 2^-24, exact in float32 */
        float magnitude = (float)mantissa * 0x1p-24f;
        return sign ? -magnitude : magnitude;
    }
    return float_of_bits(sign | (exponent + 112) << 23 | mantissa << 13);
}

bool st_to_float(const struct st_entry *e, float *out)
{
    const uint8_t *p = e->data;
    size_t size = st_type_size(e->type);
    if (e->type == ST_F32) {
        if (e->bytes)
            memcpy(out, p, e->bytes);
        return true;
    }
    if (e->type != ST_F16 && e->type != ST_BF16 && e->type != ST_F64)
        return false;
    for (size_t i = 0; i < e->count; i++, p += size) {
        uint16_t half;
        double f64;
        if (e->type == ST_F64) {
            memcpy(&f64, p, sizeof f64);
            out[i] = (float)f64;
            continue;
        }
        memcpy(&half, p, sizeof half);
        out[i] = e->type == ST_F16 ? half_to_float(half) : float_of_bits((uint32_t)half << 16);
    }
    return true;
}

/* ---- writing
 * --------------------------------------------------------------------------------- */

struct pair {
    char *key, *value; /* owned */
};

struct st_writer {
    struct st_entry *entries; /* name and data borrowed from the caller */
    bool *mapped;             /* [n] lies in a shared mapping */
    size_t n, capacity, mapped_capacity;
    struct pair *metadata;
    size_t n_metadata, metadata_capacity;
    medley_status failure; /* the first, told at commit */
};

struct st_writer *st_writer_new(void)
{
    return mem_zalloc(1, sizeof(struct st_writer));
}

void st_writer_free(struct st_writer *w)
{
    if (!w)
        return;
    for (size_t i = 0; i < w->n_metadata; i++) {
        mem_free(w->metadata[i].key);
        mem_free(w->metadata[i].value);
    }
    mem_free(w->metadata);
    mem_free(w->entries);
    mem_free(w->mapped);
    mem_free(w);
}

void st_writer_metadata(struct st_writer *w, const char *key, const char *value)
{
    struct pair p = {mem_strdup(key), mem_strdup(value)};
    if (p.key && p.value &&
        mem_reserve(&w->metadata, &w->metadata_capacity, w->n_metadata + 1, sizeof p)) {
        w->metadata[w->n_metadata++] = p;
        return;
    }
    w->failure = MEDLEY_ENOMEM;
    mem_free(p.key);
    mem_free(p.value);
}

void st_writer_add(struct st_writer *w, const char *name, enum st_type type, int dims,
                   const uint64_t *shape, const void *data)
{
    struct st_entry e = {.name = name, .type = type, .dims = dims, .count = 1, .data = data};
    bool good = dims >= 0 && dims <= ST_MAX_DIMS && (size_t)type < N_TYPES;
    for (int i = 0; i < dims && good; i++) {
        e.shape[i] = shape[i];
        good = !__builtin_mul_overflow(e.count, shape[i], &e.count);
    }
    good = good && !__builtin_mul_overflow(e.count, st_type_size(type), &e.bytes);
    if (!good)
        w->failure = MEDLEY_EINVAL;
    else if (!mem_reserve(&w->entries, &w->capacity, w->n + 1, sizeof e) ||
             !mem_reserve(&w->mapped, &w->mapped_capacity, w->n + 1, sizeof *w->mapped))
        w->failure = MEDLEY_ENOMEM;
    else {
        w->mapped[w->n] = false;
        w->entries[w->n++] = e;
    }
}

void st_writer_mapped(struct st_writer *w)
{
    if (w->n)
        w->mapped[w->n - 1] = true;
}

static void write_metadata(const struct st_writer *w, struct json_writer *j)
{
    if (w->n_metadata == 0)
        return;
    jw_key(j, METADATA);
    jw_object(j);
    for (size_t i = 0; i < w->n_metadata; i++) {
        jw_key(j, w->metadata[i].key);
        jw_textz(j, w->metadata[i].value);
    }
    jw_object_end(j);
}

/* The length field and the JSON, padded with spaces so that the data start at a multiple of 64.
 */
static void make_header(const struct st_writer *w, struct strbuf *b)
{
    struct json_writer j;
    uint64_t length = 0, at = 0;
    sb_add(b, (const char *)&length, sizeof length);
    jw_init(&j, b, false);
    jw_object(&j);
    write_metadata(w, &j);
    for (size_t i = 0; i < w->n; i++) {
        const struct st_entry *e = &w->entries[i];
        jw_key(&j, e->name);
        jw_object(&j);
        jw_key(&j, "dtype");
        jw_textz(&j, st_type_name(e->type));
        jw_key(&j, "shape");
        jw_array(&j);
        for (int d = 0; d < e->dims; d++)
            jw_i64(&j, (int64_t)e->shape[d]);
        jw_array_end(&j);
        jw_key(&j, "data_offsets");
        jw_array(&j);
        jw_i64(&j, (int64_t)at);
        jw_i64(&j, (int64_t)(at += e->bytes));
        jw_array_end(&j);
        jw_object_end(&j);
    }
    jw_object_end(&j);
    while (!b->failed && b->n % 64 != 0)
        sb_addc(b, ' ');
    length = b->n - sizeof length;
    if (!b->failed)
        memcpy(b->s, &length, sizeof length);
}

static medley_status check_names(const struct st_writer *w, const char *path, medley_error *err)
{
    struct map *names = map_new(w->n);
    medley_status st = names ? MEDLEY_OK : fail_memory(err, path);
    for (size_t i = 0; i < w->n && st == MEDLEY_OK; i++) {
        struct str name = str_of(w->entries[i].name);
        bool added;
        if (map_add(names, name, &added) == MAP_NONE)
            st = fail_memory(err, path);
        else if (!added || str_is(name, METADATA) || !utf8_valid(name, NULL))
            st = fail(err, MEDLEY_EINVAL, "%s: array name '%s' is taken, reserved or not UTF-8",
                      path, name.s);
    }
    map_free(names);
    return st;
}

/* By pieces, so that of a mapped entry no more than one is held in memory. */
static void write_entry(const struct st_entry *e, bool mapped, FILE *f)
{
    const size_t piece = (size_t)16 << 20;
    for (size_t at = 0; at < e->bytes; at += piece) {
        const char *from = (const char *)e->data + at;
        size_t n = e->bytes - at < piece ? e->bytes - at : piece;
        fwrite(from, 1, n, f);
        if (mapped)
            mapping_give_back((const uint8_t *)from, n);
    }
}

medley_status st_writer_commit(struct st_writer *w, const char *path, medley_error *err)
{
    struct strbuf header;
    struct outfile o = {0};
    medley_status st = w->failure;
    if (st)
        return fail(err, st, "%s: %s", path,
                    st == MEDLEY_ENOMEM ? "out of memory for its header"
                                        : "an array is too large");
    st = check_names(w, path, err);
    if (st)
        return st;
    sb_init(&header);
    make_header(w, &header);
    st = header.failed ? fail_memory(err, path) : outfile_open(&o, path, err);
    if (st == MEDLEY_OK) {
        fwrite(header.s, 1, header.n, o.f);
        for (size_t i = 0; i < w->n; i++)
            write_entry(&w->entries[i], w->mapped[i], o.f);
        st = outfile_commit(&o, err);
    }
    sb_deinit(&header);
    return st;
}
