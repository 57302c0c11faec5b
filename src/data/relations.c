/* relations.c: reading and writing relations.safetensors. For each relation NAME the arrays
 * U32 "NAME.source", U32 "NAME.target", F32 "NAME.weight"; metadata "NAME.kind" is
 * query-product, product-product or query-query. Tested by test_dataset.c. */
#include "data/relations.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/safetensors.h"
#include "data/dataset_file.h"
#include "data/edges.h"

#include <math.h>
#include <string.h>

#define RELATIONS_FORMAT "medley-relations-1"

static const char *const kind_names[] = {"query-product", "product-product", "query-query"};

/* --- writing --- */

struct arrays {
    uint32_t *source, *target;
    float *weight;
    char names[3][96];
};

static medley_status split_edges(const struct named_edges *r, struct arrays *a,
                                 medley_error *err)
{
    size_t n = r->edges->n;
    a->source = mem_alloc(n, sizeof *a->source);
    a->target = mem_alloc(n, sizeof *a->target);
    a->weight = mem_alloc(n, sizeof *a->weight);
    if (!a->source || !a->target || !a->weight)
        return fail_memory(err, "a relation");
    for (size_t i = 0; i < n; i++) {
        a->source[i] = r->edges->items[i].source;
        a->target[i] = r->edges->items[i].target;
        a->weight[i] = r->edges->items[i].weight;
    }
    return MEDLEY_OK;
}

static void declare(struct st_writer *w, const struct named_edges *r, struct arrays *a)
{
    static const char *const parts[3] = {"source", "target", "weight"};
    const void *data[3] = {a->source, a->target, a->weight};
    uint64_t shape[1] = {r->edges->n};
    for (int p = 0; p < 3; p++) {
        snprintf(a->names[p], sizeof a->names[p], "%s.%s", r->name, parts[p]);
        st_writer_add(w, a->names[p], p == 2 ? ST_F32 : ST_U32, 1, shape, data[p]);
    }
    char key[96];
    snprintf(key, sizeof key, "%s.kind", r->name);
    st_writer_metadata(w, key, kind_names[r->kind]);
}

medley_status relations_write(const struct named_edges *list, size_t n, const char *folder,
                              medley_error *err)
{
    medley_status st = MEDLEY_OK;
    struct st_writer *w = st_writer_new();
    struct arrays *arrays = mem_zalloc(n, sizeof *arrays);
    char *path = path_join(folder, RELATIONS_FILE);
    if (!w || !arrays || !path)
        st = fail_memory(err, "a relations writer");
    else
        st_writer_metadata(w, "format", RELATIONS_FORMAT);
    for (size_t i = 0; i < n && st == MEDLEY_OK; i++) {
        edges_merge(list[i].edges);
        if (list[i].edges->n == 0)
            continue;
        st = split_edges(&list[i], &arrays[i], err);
        if (st == MEDLEY_OK)
            declare(w, &list[i], &arrays[i]);
    }
    if (st == MEDLEY_OK)
        st = st_writer_commit(w, path, err);
    for (size_t i = 0; arrays && i < n; i++) {
        mem_free(arrays[i].source);
        mem_free(arrays[i].target);
        mem_free(arrays[i].weight);
    }
    mem_free(arrays);
    mem_free(path);
    st_writer_free(w);
    return st;
}

/* --- reading --- */

/* How many queries and products the dataset beside the relations has. */
static medley_status count_rows(const char *folder, uint64_t *queries, uint64_t *products,
                                medley_error *err)
{
    char *path = path_join(folder, DATASET_FILE);
    if (!path)
        return fail_memory(err, "a path");
    struct st_file *f = NULL;
    const struct st_entry *q, *p;
    medley_status st = st_open(path, &f, err);
    if (st == MEDLEY_OK)
        st = st_require(f, "query_locale", ST_U8, -1, NULL, &q, err);
    if (st == MEDLEY_OK)
        st = st_require(f, "product_locale", ST_U8, -1, NULL, &p, err);
    if (st == MEDLEY_OK) {
        *queries = q->count;
        *products = p->count;
    }
    st_close(f);
    mem_free(path);
    return st;
}

static medley_status check_edges(const struct relation *r, const char *path, uint64_t queries,
                                 uint64_t products, medley_error *err)
{
    uint64_t sources = r->kind == RELATION_PRODUCT_PRODUCT ? products : queries,
             targets = r->kind == RELATION_QUERY_QUERY ? queries : products;
    for (size_t i = 0; i < r->n; i++) {
        uint32_t s = r->source[i], t = r->target[i];
        bool ordered =
            i == 0 || r->source[i - 1] < s || (r->source[i - 1] == s && r->target[i - 1] < t);
        if (r->kind != RELATION_QUERY_PRODUCT && s >= t)
            ordered = false;
        if (s >= sources || t >= targets)
            return fail(err, MEDLEY_EFORMAT,
                        "%s: edge %zu of '%s' points outside the dataset (import it again)",
                        path, i, r->name);
        if (!ordered || !isfinite(r->weight[i]) || r->weight[i] <= 0)
            return fail(err, MEDLEY_EFORMAT,
                        "%s: edge %zu of '%s' is out of order or has no weight", path, i,
                        r->name);
    }
    return MEDLEY_OK;
}

static medley_status read_array(const struct st_file *f, const char *path, const char *relation,
                                const char *part, enum st_type type, size_t *n,
                                const void **out, medley_error *err)
{
    char name[160];
    snprintf(name, sizeof name, "%s.%s", relation, part);
    const struct st_entry *e;
    medley_status st = st_require(f, name, type, -1, NULL, &e, err);
    if (st != MEDLEY_OK)
        return st;
    if (e->dims != 1 || (*n != SIZE_MAX && e->count != *n) ||
        (e->count && (uintptr_t)e->data % st_type_size(type) != 0))
        return fail(err, MEDLEY_EFORMAT, "%s: the shape of '%s' does not fit", path, name);
    *n = e->count;
    *out = e->data;
    return MEDLEY_OK;
}

/* Reads the relation called `name`, which has been checked to be short. */
static medley_status read_relation(const struct st_file *f, const char *path, const char *name,
                                   struct relation *r, medley_error *err)
{
    char key[160];
    snprintf(key, sizeof key, "%s.kind", name);
    const char *kind = st_metadata(f, key);
    size_t k = 0, kinds = sizeof kind_names / sizeof *kind_names;
    while (k < kinds && !(kind && strcmp(kind, kind_names[k]) == 0))
        k++;
    if (k == kinds)
        return fail(err, MEDLEY_EFORMAT, "%s: relation '%s' has no known kind", path, name);
    r->kind = (enum relation_kind)k;
    r->n = SIZE_MAX;
    medley_status st =
        read_array(f, path, name, "source", ST_U32, &r->n, (const void **)&r->source, err);
    if (st == MEDLEY_OK)
        st = read_array(f, path, name, "target", ST_U32, &r->n, (const void **)&r->target, err);
    if (st == MEDLEY_OK)
        st = read_array(f, path, name, "weight", ST_F32, &r->n, (const void **)&r->weight, err);
    return st;
}

/* "clicks" from "clicks.source"; NULL for other entries. The caller frees. */
static char *relation_name(const struct st_entry *e)
{
    static const char ending[] = ".source";
    size_t n = strlen(e->name), m = sizeof ending - 1;
    if (n <= m || n - m >= 96 || strcmp(e->name + n - m, ending) != 0)
        return NULL;
    return mem_strndup(e->name, n - m);
}

static medley_status read_all(struct relations *r, const char *path, uint64_t queries,
                              uint64_t products, medley_error *err)
{
    medley_status st = MEDLEY_OK;
    r->items = mem_zalloc(st_count(r->file), sizeof *r->items);
    if (st_count(r->file) && !r->items)
        return fail_memory(err, "relations");
    for (size_t i = 0; i < st_count(r->file) && st == MEDLEY_OK; i++) {
        char *name = relation_name(st_at(r->file, i));
        if (!name)
            continue;
        struct relation *item = &r->items[r->count++];
        item->name = name;
        st = read_relation(r->file, path, name, item, err);
        if (st == MEDLEY_OK)
            st = check_edges(item, path, queries, products, err);
    }
    return st;
}

medley_status relations_open(const char *folder, struct relations *out, medley_error *err)
{
    char *path = path_join(folder, RELATIONS_FILE);
    uint64_t queries = 0, products = 0;
    medley_status st = path ? MEDLEY_OK : fail_memory(err, "a path");
    *out = (struct relations){0};
    if (st == MEDLEY_OK && file_exists(path)) {
        st = count_rows(folder, &queries, &products, err);
        if (st == MEDLEY_OK)
            st = relations_open_beside(folder, queries, products, out, err);
    }
    mem_free(path);
    return st;
}

medley_status relations_open_beside(const char *folder, size_t queries, size_t products,
                                    struct relations *out, medley_error *err)
{
    struct relations r = {0};
    char *path = path_join(folder, RELATIONS_FILE);
    medley_status st = path ? st_open(path, &r.file, err) : fail_memory(err, "a path");
    if (st == MEDLEY_OK)
        st = read_all(&r, path, queries, products, err);
    if (st == MEDLEY_OK)
        *out = r;
    else
        relations_close(&r);
    mem_free(path);
    return st;
}

void relations_close(struct relations *r)
{
    for (size_t i = 0; i < r->count; i++)
        mem_free((char *)r->items[i].name);
    mem_free(r->items);
    st_close(r->file);
    *r = (struct relations){0};
}

const struct relation *relations_find(const struct relations *r, const char *name)
{
    for (size_t i = 0; i < r->count; i++)
        if (strcmp(r->items[i].name, name) == 0)
            return &r->items[i];
    return NULL;
}
