/* table_parquet.c: see table_parquet.h. */
#include "data/table_parquet.h"

#include "base/error.h"
#include "base/memory.h"
#include "parquet/parquet.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#define NOT_THERE SIZE_MAX

struct field {
    bool wanted;
    struct parquet_column *column; /* NULL until the first row, and when not wanted */
    struct parquet_batch batch;
    size_t at, leaf;
};

struct parquet_rows {
    char **paths; /* [n_paths] parts by name */
    size_t n_paths, capacity, part;
    struct parquet_file *file; /* paths[part] */
    struct field *fields;      /* [n_fields] as the first part has them */
    size_t n_fields;
    bool begun;        /* columns of this part are open */
    uint64_t size;     /* bytes of this part */
    uint64_t row;      /* of this part, rows given */
    uint64_t finished; /* bytes of the parts before */
};

/* ---- parts ---- */

static bool is_part(const char *name)
{
    size_t n = strlen(name);
    return n > 8 && strcasecmp(name + n - 8, ".parquet") == 0 && name[0] != '_' &&
           name[0] != '.';
}

bool parquet_rows_folder(const char *path)
{
    DIR *folder = opendir(path);
    bool found = false;
    if (!folder)
        return false;
    for (struct dirent *e; !found && (e = readdir(folder));)
        found = is_part(e->d_name);
    closedir(folder);
    return found;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static medley_status add_path(struct parquet_rows *r, char *path, medley_error *err)
{
    if (!path || !mem_reserve(&r->paths, &r->capacity, r->n_paths + 1, sizeof *r->paths)) {
        mem_free(path);
        return fail_memory(err, "part files");
    }
    r->paths[r->n_paths++] = path;
    return MEDLEY_OK;
}

static medley_status list_parts(struct parquet_rows *r, const char *path, medley_error *err)
{
    medley_status st = MEDLEY_OK;
    if (!folder_exists(path))
        return add_path(r, mem_strdup(path), err);
    DIR *folder = opendir(path);
    if (!folder)
        return fail(err, MEDLEY_EIO, "cannot open '%s': %s", path, strerror(errno));
    for (struct dirent *e; !st && (e = readdir(folder));)
        if (is_part(e->d_name))
            st = add_path(r, path_join(path, e->d_name), err);
    closedir(folder);
    if (!st)
        qsort(r->paths, r->n_paths, sizeof *r->paths, by_name);
    return st;
}

static uint64_t size_of(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0 ? (uint64_t)s.st_size : 0;
}

static void close_part(struct parquet_rows *r)
{
    for (size_t i = 0; i < r->n_fields; i++) {
        parquet_column_close(r->fields[i].column);
        r->fields[i].column = NULL;
        r->fields[i].batch.n = r->fields[i].at = 0;
    }
    parquet_close(r->file);
    r->file = NULL;
    r->begun = false;
}

void parquet_rows_close(struct parquet_rows *r)
{
    if (!r)
        return;
    close_part(r);
    for (size_t i = 0; i < r->n_paths; i++)
        mem_free(r->paths[i]);
    mem_free(r->paths);
    mem_free(r->fields);
    mem_free(r);
}

void parquet_rows_want(struct parquet_rows *r, size_t column)
{
    r->fields[column].wanted = true;
}

/* ---- columns ---- */

static medley_status name_columns(struct table *t, struct parquet_rows *r, medley_error *err)
{
    const struct parquet_meta *m = parquet_meta(r->file);
    medley_status st = MEDLEY_OK;
    r->fields = mem_zalloc(m->n_leaves, sizeof *r->fields);
    if (!r->fields)
        return fail_memory(err, "columns");
    r->n_fields = m->n_leaves;
    for (size_t i = 0; i < m->n_leaves && !st; i++) {
        if (parquet_find(r->file, m->leaves[i].name) != i)
            return fail(err, MEDLEY_EFORMAT, "%s: two columns are called '%s'", t->path,
                        m->leaves[i].name);
        st = table_add_name(t, str_of(m->leaves[i].name), err);
    }
    return st;
}

static medley_status open_part(struct table *t, struct parquet_rows *r, medley_error *err)
{
    char *path = mem_strdup(r->paths[r->part]);
    if (!path)
        return fail_memory(err, "a path");
    mem_free(t->path);
    t->path = path; /* messages name the part */
    r->row = 0;
    r->size = size_of(path);
    return parquet_open(path, &r->file, err);
}

medley_status parquet_rows_open(struct table *t, medley_error *err)
{
    struct parquet_rows *r = t->parquet = mem_zalloc(1, sizeof *r);
    if (!r)
        return fail_memory(err, "a table reader");
    medley_status st = list_parts(r, t->path, err);
    for (size_t i = 0; i < r->n_paths; i++)
        t->size += size_of(r->paths[i]);
    if (!st)
        st = open_part(t, r, err);
    return st ? st : name_columns(t, r, err);
}

/* Nobody asked for any: all that can be read. */
static void want_flat(struct parquet_rows *r)
{
    const struct parquet_meta *m = parquet_meta(r->file);
    for (size_t i = 0; i < r->n_fields; i++)
        if (r->fields[i].wanted)
            return;
    for (size_t i = 0; i < r->n_fields; i++)
        r->fields[i].wanted = !m->leaves[i].nested;
}

static medley_status begin_part(struct table *t, struct parquet_rows *r, medley_error *err)
{
    medley_status st = MEDLEY_OK;
    if (r->part == 0)
        want_flat(r);
    for (size_t i = 0; i < r->n_fields && !st; i++) {
        struct field *f = &r->fields[i];
        if (!f->wanted)
            continue;
        f->leaf = parquet_find(r->file, t->names[i]);
        if (f->leaf == NOT_THERE)
            return fail(err, MEDLEY_EFORMAT, "%s: no column '%s', which '%s' has", t->path,
                        t->names[i], r->paths[0]);
        st = parquet_column_open(r->file, f->leaf, &f->column, err);
    }
    r->begun = true;
    return st;
}

/* ---- rows ---- */

/* Until a part has a row left. */
static medley_status find_row(struct table *t, struct parquet_rows *r, bool *more,
                              medley_error *err)
{
    medley_status st = MEDLEY_OK;
    while (!st) {
        if (!r->begun)
            st = begin_part(t, r, err);
        if (st || r->row < parquet_meta(r->file)->n_rows)
            break;
        *more = r->part + 1 < r->n_paths;
        if (!*more)
            return MEDLEY_OK;
        r->finished += r->size;
        close_part(r);
        r->part++;
        st = open_part(t, r, err);
    }
    *more = true;
    return st;
}

static medley_status add_field(struct table *t, struct parquet_rows *r, struct field *f,
                               medley_error *err)
{
    const struct parquet_leaf *leaf = &parquet_meta(r->file)->leaves[f->leaf];
    size_t begin = t->text.n;
    if (f->at == f->batch.n) {
        medley_status st = parquet_column_next(f->column, PARQUET_BATCH, &f->batch, err);
        if (st)
            return st;
        f->at = 0;
        if (f->batch.n == 0)
            return table_fail(t, err, "column '%s' ends before the others", leaf->name);
    }
    parquet_text(leaf, &f->batch, f->at++, &t->text);
    if (t->text.n > TABLE_ROW_LIMIT)
        return table_fail(t, err, "row longer than %zu MiB", TABLE_ROW_LIMIT >> 20);
    return t->text.failed ? fail_memory(err, "a row") : table_add_span(t, begin, err);
}

medley_status parquet_next(struct table *t, bool *more, medley_error *err)
{
    struct parquet_rows *r = t->parquet;
    medley_status st = find_row(t, r, more, err);
    if (st || !*more)
        return st;
    sb_clear(&t->text);
    t->n_fields = 0;
    t->row_line = ++r->row;
    for (size_t i = 0; i < r->n_fields && !st; i++)
        st = r->fields[i].column ? add_field(t, r, &r->fields[i], err)
                                 : table_add_span(t, t->text.n, err);
    double share = (double)r->row / (double)parquet_meta(r->file)->n_rows;
    t->bytes = r->finished + (uint64_t)(share * (double)r->size);
    return st;
}

medley_status parquet_rows_hash(const char *folder, struct hash128 *inout, medley_error *err)
{
    struct parquet_rows r = {0};
    medley_status st = list_parts(&r, folder, err);
    for (size_t i = 0; i < r.n_paths && !st; i++)
        st = hash_file(r.paths[i], inout, err);
    for (size_t i = 0; i < r.n_paths; i++)
        mem_free(r.paths[i]);
    mem_free(r.paths);
    return st;
}
