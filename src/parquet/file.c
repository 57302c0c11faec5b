/* file.c: a Parquet file and its columns, opened and closed. */
#include "parquet/column.h"

#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"

#include <string.h>

struct parquet_file {
    char *path;
    struct mapping map;
    bool mapped; /* else the bytes are somebody else's */
    struct parquet_meta meta;
};

static medley_status open_file(const char *path, const struct mapping *bytes,
                               struct parquet_file **out, medley_error *err)
{
    medley_status st = MEDLEY_OK;
    struct parquet_file *f = mem_zalloc(1, sizeof *f);
    if (!f || !(f->path = mem_strdup(path))) {
        mem_free(f);
        return fail_memory(err, "a file");
    }
    if (bytes) {
        f->map = *bytes;
    } else {
        st = mapping_open(path, &f->map, err);
        f->mapped = !st;
    }
    if (!st)
        st = parquet_meta_read(f->map.data, f->map.n, path, &f->meta, err);
    if (st)
        parquet_close(f);
    else
        *out = f;
    return st;
}

medley_status parquet_open(const char *path, struct parquet_file **out, medley_error *err)
{
    return open_file(path, NULL, out, err);
}

medley_status parquet_open_bytes(const uint8_t *data, size_t n, const char *name,
                                 struct parquet_file **out, medley_error *err)
{
    return open_file(name, &(struct mapping){data, n}, out, err);
}

void parquet_close(struct parquet_file *f)
{
    if (!f)
        return;
    parquet_meta_deinit(&f->meta);
    if (f->mapped)
        mapping_close(&f->map);
    mem_free(f->path);
    mem_free(f);
}

const struct parquet_meta *parquet_meta(const struct parquet_file *f)
{
    return &f->meta;
}

size_t parquet_find(const struct parquet_file *f, const char *name)
{
    for (size_t i = 0; i < f->meta.n_leaves; i++)
        if (strcmp(f->meta.leaves[i].name, name) == 0)
            return i;
    return SIZE_MAX;
}

enum parquet_kind parquet_kind_of(const struct parquet_leaf *leaf)
{
    switch (leaf->physical) {
    case PHYSICAL_FLOAT:
    case PHYSICAL_DOUBLE:
        return PARQUET_REAL;
    case PHYSICAL_FIXED:
        return leaf->logical == LOGICAL_FLOAT16 ? PARQUET_REAL : PARQUET_BYTES;
    case PHYSICAL_BYTE_ARRAY:
        return PARQUET_BYTES;
    default:
        return PARQUET_INTEGER;
    }
}

static bool take_memory(struct parquet_column *c)
{
    c->indices = mem_alloc(PARQUET_BATCH, sizeof *c->indices);
    c->null = mem_alloc(PARQUET_BATCH, sizeof *c->null);
    if (c->kind == PARQUET_INTEGER)
        c->integers = mem_alloc(PARQUET_BATCH, sizeof *c->integers);
    else if (c->kind == PARQUET_REAL)
        c->reals = mem_alloc(PARQUET_BATCH, sizeof *c->reals);
    else
        c->bytes = mem_alloc(PARQUET_BATCH, sizeof *c->bytes);
    if (c->kind == PARQUET_BYTES)
        c->lengths = mem_alloc(PARQUET_BATCH, sizeof *c->lengths);
    return c->indices && c->null && (c->integers || c->reals || (c->bytes && c->lengths));
}

medley_status parquet_column_open(const struct parquet_file *f, size_t leaf,
                                  struct parquet_column **out, medley_error *err)
{
    const struct parquet_leaf *l = &f->meta.leaves[leaf];
    if (l->nested)
        return fail(err, MEDLEY_EUNSUPPORTED,
                    "%s: column '%s' is nested (a list, map or struct); only flat columns are "
                    "read",
                    f->path, l->name);
    struct parquet_column *c = mem_zalloc(1, sizeof *c);
    if (!c)
        return fail_memory(err, "a column");
    c->path = f->path;
    c->file = f->map.data;
    c->end = f->map.data + f->meta.data_end;
    c->kept = f->mapped ? f->map.data : NULL;
    c->meta = &f->meta;
    c->leaf = l;
    c->index = leaf;
    c->kind = parquet_kind_of(l);
    sb_init(&c->previous);
    sb_init(&c->joined);
    if (!take_memory(c)) {
        parquet_column_close(c);
        return fail_memory(err, "a column");
    }
    *out = c;
    return MEDLEY_OK;
}

void parquet_column_close(struct parquet_column *c)
{
    if (!c)
        return;
    sb_deinit(&c->previous);
    sb_deinit(&c->joined);
    mem_free(c->dictionary);
    mem_free(c->dictionary_bytes.data);
    mem_free(c->page_bytes.data);
    mem_free(c->indices);
    mem_free(c->null);
    mem_free(c->integers);
    mem_free(c->lengths);
    mem_free(c->reals);
    mem_free(c->bytes);
    mem_free(c);
}
