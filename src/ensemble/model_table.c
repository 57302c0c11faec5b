/* model_table.c: predictions made elsewhere as a base model. It has an answer for the pairs of
 * its table and is missing for every other pair. The saved form is predictions.npy,
 * [n_examples, K] in the dataset's order. */
#include "base/error.h"
#include "base/memory.h"
#include "base/map.h"
#include "base/npy.h"
#include "data/import.h"
#include "ensemble/base_model.h"

#include <math.h>
#include <string.h>

struct table {
    float *rows; /* [n * k] by example */
    size_t n, k;
    struct map *pairs; /* (query, product) -> position in `example` */
    uint32_t *example; /* [map_count(pairs)] */
};

static void table_free(void *model)
{
    struct table *t = model;
    if (!t)
        return;
    map_free(t->pairs);
    mem_free(t->example);
    mem_free(t->rows);
    mem_free(t);
}

static struct str pair_key(const uint32_t pair[2])
{
    return (struct str){(const char *)pair, 2 * sizeof *pair};
}

static medley_status index_pairs(struct table *t, const struct dataset *d, medley_error *err)
{
    t->pairs = map_new(d->n_examples);
    t->example = mem_alloc(d->n_examples, sizeof *t->example);
    if (!t->pairs || !t->example)
        return fail_memory(err, "a prediction table");
    for (size_t i = 0; i < d->n_examples; i++) {
        uint32_t pair[2] = {d->example_query[i], d->example_product[i]};
        bool added;
        uint32_t id = map_add(t->pairs, pair_key(pair), &added);
        if (id == MAP_NONE)
            return fail_memory(err, "a prediction table");
        if (added)
            t->example[id] = (uint32_t)i;
    }
    return MEDLEY_OK;
}

static medley_status table_load(const struct model_context *c, const char *folder, void **model,
                                medley_error *err)
{
    char path[1100];
    snprintf(path, sizeof path, "%s/predictions.npy", folder);
    struct npy a;
    medley_status st = npy_open(path, &a, err);
    if (st)
        return st;
    struct table *t = mem_zalloc(1, sizeof *t);
    const struct dataset *d = c->data;
    if (a.rows != d->n_examples || a.cols != d->n_classes) {
        st = fail(err, MEDLEY_EFORMAT, "%s: expected %zu x %zu probabilities, found %zu x %zu",
                  path, d->n_examples, d->n_classes, a.rows, a.cols);
    } else if (!t || !(t->rows = mem_alloc(a.rows, a.cols * sizeof *t->rows))) {
        st = fail_memory(err, "a prediction table");
    } else {
        t->n = a.rows;
        t->k = a.cols;
        npy_to_float(&a, t->rows);
        st = index_pairs(t, d, err);
    }
    npy_close(&a);
    if (st)
        table_free(t);
    else
        *model = t;
    return st;
}

static medley_status table_collect(const struct workspace *w, const struct model_context *c,
                                   const char *folder, float *probabilities, medley_error *err)
{
    const struct dataset *d = c->data;
    struct path source = workspace_path(w, "%s", c->config->predictions);
    char path[1100];
    snprintf(path, sizeof path, "%s/predictions.npy", folder);
    medley_status st = predictions_read(source.s, d, c->config->logits, probabilities, err);
    return st ? st : npy_write(path, NPY_F32, d->n_examples, d->n_classes, probabilities, err);
}

static medley_status table_save(const void *model, const char *folder, medley_error *err)
{
    const struct table *t = model;
    char path[1100];
    snprintf(path, sizeof path, "%s/predictions.npy", folder);
    medley_status st = make_folders(folder, err);
    return st ? st : npy_write(path, NPY_F32, t->n, t->k, t->rows, err);
}

static size_t table_memory(const void *model)
{
    const struct table *t = model;
    return t->n * t->k * sizeof *t->rows + t->n * 32;
}

static medley_status table_predict(const struct model_context *c, const void *model,
                                   const uint32_t *rows, size_t n, const char *task,
                                   float *probabilities, medley_error *err)
{
    const struct table *t = model;
    (void)c;
    (void)task;
    (void)err;
    for (size_t i = 0; i < n; i++)
        memcpy(probabilities + i * t->k, t->rows + rows[i] * t->k, t->k * sizeof *t->rows);
    return MEDLEY_OK;
}

static medley_status table_answer(const struct model_context *c, const void *model,
                                  const struct model_request *r, float *probabilities,
                                  medley_error *err)
{
    const struct table *t = model;
    (void)c;
    (void)err;
    for (size_t i = 0; i < r->n; i++) {
        uint32_t pair[2] = {r->query, r->product[i]};
        uint32_t id = map_find(t->pairs, pair_key(pair));
        for (size_t k = 0; k < t->k; k++)
            probabilities[i * t->k + k] =
                id == MAP_NONE ? NAN : t->rows[(size_t)t->example[id] * t->k + k];
    }
    return MEDLEY_OK;
}

const struct base_model_ops table_kind = {
    .kind = "table",
    .collect = table_collect,
    .save = table_save,
    .load = table_load,
    .free = table_free,
    .memory = table_memory,
    .predict = table_predict,
    .answer = table_answer,
};
