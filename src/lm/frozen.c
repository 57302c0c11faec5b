/* frozen.c: see frozen.h. */
#include "lm/frozen.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/npy.h"
#include "base/pool.h"
#include "base/progress.h"
#include "lm/cross_encoder_model.h"
#include "nn/logistic.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

#define LOGITS_FILE "logits.npy"
#define BLOCK_PREFIX "block-"
enum { BLOCK_PAIRS = 2048 }; /* between what a killed run keeps */
#define RIDGE 1.0

static medley_status open_classifier(const struct lm_options *o, struct cross_encoder **out,
                                     medley_error *err)
{
    struct cross_encoder *m = NULL;
    enum precision precision;
    medley_status st =
        precision_parse(o->precision ? o->precision : "float32", &precision, err);
    if (!st)
        st = cross_encoder_open(o->pretrained, &m, err);
    if (!st)
        st = cross_encoder_set_precision(m, precision, err);
    if (st) {
        cross_encoder_free(m);
        return st;
    }
    if (o->max_tokens && o->max_tokens < m->options.max_tokens)
        m->options.max_tokens = o->max_tokens;
    *out = m;
    return MEDLEY_OK;
}

/* ---- logits ---- */

struct reading {
    const struct cross_encoder *m;
    const struct dataset *d;
    const char *folder;
    struct hash128 seed; /* of the model */
    struct lm_inputs inputs;
    char (*used)[40]; /* [blocks] names of files */
};

static medley_status block_path(const struct reading *r, size_t block, char **path,
                                medley_error *err)
{
    *path = path_join(r->folder, r->used[block]);
    return *path ? MEDLEY_OK : fail_memory(err, "a path");
}

/* Logits [pairs of the block * labels]: from the file of the same tokens, or read now. */
static medley_status read_block(struct reading *r, size_t begin, size_t end, float *logits,
                                medley_error *err)
{
    const struct lm_inputs *in = &r->inputs;
    size_t block = begin / BLOCK_PAIRS, n = end - begin, labels = r->m->n_classes;
    char text[33], *path;
    struct npy kept = {0};
    lm_inputs_clear(&r->inputs);
    for (size_t i = begin; i < end; i++) {
        struct pair_text pair =
            dataset_pair(r->d, r->d->example_query[i], r->d->example_product[i]);
        lm_inputs_add_pair(&r->inputs, r->m, &pair);
    }
    if (in->failed)
        return fail_memory(err, "texts");
    struct hash128 h = hash_bytes(in->ids, in->n_tokens * sizeof *in->ids, r->seed);
    h = hash_bytes(in->types, in->n_tokens * sizeof *in->types, h);
    hash_text(hash_bytes(in->offsets, (in->n + 1) * sizeof *in->offsets, h), text);
    snprintf(r->used[block], sizeof r->used[block], BLOCK_PREFIX "%.24s.npy", text);
    medley_status st = block_path(r, block, &path, err);
    if (st)
        return st;
    bool there = file_exists(path) && npy_open(path, &kept, NULL) == MEDLEY_OK &&
                 kept.rows == n && kept.cols == labels;
    if (there)
        npy_to_float(&kept, logits);
    else if (!(st = lm_logits_inputs(r->m, in, logits, err)))
        st = npy_write(path, NPY_F32, n, labels, logits, err);
    npy_close(&kept);
    mem_free(path);
    return st;
}

static medley_status read_all(struct reading *r, const char *task, float *logits,
                              medley_error *err)
{
    size_t n = r->d->n_examples;
    medley_status st = MEDLEY_OK;
    progress_step(task, 0, n, "pairs");
    for (size_t begin = 0; begin < n && !st; begin += BLOCK_PAIRS) {
        size_t end = n - begin < BLOCK_PAIRS ? n : begin + BLOCK_PAIRS;
        st = read_block(r, begin, end, logits + begin * r->m->n_classes, err);
        if (!st)
            progress_step(task, end, n, "pairs");
    }
    progress_end(task);
    return st;
}

/* Blocks of other texts or of another model. */
static medley_status remove_others(const struct reading *r, size_t blocks, medley_error *err)
{
    DIR *dir = opendir(r->folder);
    medley_status st = MEDLEY_OK;
    for (struct dirent *e; dir && !st && (e = readdir(dir));) {
        bool ours = strncmp(e->d_name, BLOCK_PREFIX, strlen(BLOCK_PREFIX)) != 0;
        for (size_t b = 0; b < blocks && !ours; b++)
            ours = strcmp(e->d_name, r->used[b]) == 0;
        char *path = ours ? NULL : path_join(r->folder, e->d_name);
        if (path)
            st = remove_tree(path, err);
        mem_free(path);
    }
    if (dir)
        closedir(dir);
    return st;
}

/* Of all that makes logits of tokens. */
static medley_status hash_model(const struct cross_encoder *m, const char *folder,
                                struct hash128 *out, medley_error *err)
{
    char *path = path_join(folder, "config.json");
    *out = (struct hash128){(uint64_t)m->precision, (uint64_t)m->head};
    medley_status st = path ? hash_file(path, out, err) : fail_memory(err, "a path");
    *out = hash_bytes(m->params.values, m->params.total * sizeof *m->params.values, *out);
    mem_free(path);
    return st;
}

medley_status frozen_read(const struct lm_options *options, const struct dataset *d,
                          const char *folder, const char *task, medley_error *err)
{
    struct cross_encoder *m = NULL;
    medley_status st = make_folders(folder, err);
    if (!st)
        st = open_classifier(options, &m, err);
    if (st)
        return st;
    struct reading r = {.m = m, .d = d, .folder = folder};
    st = hash_model(m, options->pretrained, &r.seed, err);
    size_t blocks = (d->n_examples + BLOCK_PAIRS - 1) / BLOCK_PAIRS;
    char *path = path_join(folder, LOGITS_FILE);
    float *logits = mem_alloc(d->n_examples, m->n_classes * sizeof *logits);
    r.used = mem_zalloc(blocks, sizeof *r.used);
    lm_inputs_init(&r.inputs);
    if (!st && (!path || !logits || !r.used))
        st = fail_memory(err, "logits");
    if (!st)
        st = read_all(&r, task, logits, err);
    if (!st)
        st = npy_write(path, NPY_F32, d->n_examples, m->n_classes, logits, err);
    if (!st)
        st = remove_others(&r, blocks, err);
    lm_inputs_deinit(&r.inputs);
    mem_free(path);
    mem_free(logits);
    mem_free(r.used);
    cross_encoder_free(m);
    return st;
}

/* Those of rows[n]: *out [n * labels], which the caller frees. */
static medley_status take_logits(const char *folder, const uint32_t *rows, size_t n,
                                 size_t labels, float **out, medley_error *err)
{
    struct npy file = {0};
    float *all = NULL, *some = NULL;
    char *path = path_join(folder, LOGITS_FILE);
    medley_status st = path ? npy_open(path, &file, err) : fail_memory(err, "a path");
    if (!st && file.cols != labels)
        st = fail(err, MEDLEY_EFORMAT, "%s: expected %zu columns, found %zu", path, labels,
                  file.cols);
    if (!st) {
        all = mem_alloc(file.rows, labels * sizeof *all);
        some = mem_alloc(n, labels * sizeof *some);
        if (!all || !some)
            st = fail_memory(err, "logits");
    }
    if (!st)
        npy_to_float(&file, all);
    for (size_t i = 0; i < n && !st; i++) {
        if (rows[i] < file.rows)
            memcpy(some + i * labels, all + rows[i] * labels, labels * sizeof *all);
        else
            st = fail(err, MEDLEY_EFORMAT, "%s: no row %u", path, rows[i]);
    }
    npy_close(&file);
    mem_free(path);
    mem_free(all);
    if (st)
        mem_free(some);
    else
        *out = some;
    return st;
}

/* ---- fitting ---- */

static medley_status fit_map(struct cross_encoder *m, const struct lm_options *o,
                             const struct dataset *d, const char *folder, const uint32_t *rows,
                             size_t n, medley_error *err)
{
    struct class_weights given;
    double weights[MAX_CLASSES];
    size_t counts[MAX_CLASSES] = {0};
    float *logits = NULL;
    uint8_t *labels = mem_alloc(n, 1);
    m->n_logits = m->n_classes;
    m->logit_map = mem_alloc(d->n_classes * (m->n_classes + 1), sizeof *m->logit_map);
    medley_status st = class_weights_parse(o->class_weights, d->n_classes, &given, err);
    if (!st && (!labels || !m->logit_map))
        st = fail_memory(err, "labels");
    if (!st)
        st = take_logits(folder, rows, n, m->n_classes, &logits, err);
    for (size_t i = 0; i < n && !st; i++)
        counts[labels[i] = d->example_label[rows[i]]]++;
    if (!st) {
        class_weights_fill(&given, counts, d->n_classes, weights);
        st = logistic_fit(&(struct logistic_data){.x = logits,
                                                  .y = labels,
                                                  .class_weights = weights,
                                                  .n = n,
                                                  .n_inputs = m->n_classes,
                                                  .n_classes = d->n_classes},
                          RIDGE, m->logit_map, err);
    }
    mem_free(logits);
    mem_free(labels);
    return st;
}

/* The classifier's rows of the new parameters: the map after the old classifier. */
static void map_classifier(struct params *to, const struct params *from, param_id weight,
                           param_id bias, const double *map)
{
    size_t labels = from->items[weight].rows, width = from->items[weight].cols;
    size_t classes = to->items[weight].rows;
    const float *w = params_value(from, weight), *b = params_value(from, bias);
    float *out = params_value(to, weight), *out_bias = params_value(to, bias);
    for (size_t c = 0; c < classes; c++) {
        const double *of = map + c * (labels + 1);
        double shift = of[labels];
        for (size_t l = 0; l < labels; l++)
            shift += of[l] * (double)b[l];
        out_bias[c] = (float)shift;
        for (size_t j = 0; j < width; j++) {
            double sum = 0;
            for (size_t l = 0; l < labels; l++)
                sum += of[l] * (double)w[l * width + j];
            out[c * width + j] = (float)sum;
        }
    }
}

/* Its parameters, with room for the dataset's classes. */
static medley_status replace_classifier(struct cross_encoder *m, const struct dataset *d,
                                        medley_error *err)
{
    struct params old = m->params;
    struct encoder encoder = {.family = m->encoder.family, .config = m->encoder.config};
    param_id weight, bias;
    lm_unseal(m);
    params_init(&m->params);
    encoder_deinit(&m->encoder);
    m->encoder = encoder;
    m->encoder.config.problem = PROBLEM_SINGLE_LABEL;
    m->recipe.sigmoid = 0;
    while (m->n_classes)
        mem_free(m->class_names[--m->n_classes]);
    medley_status st = lm_take_classes(m, d->class_names, d->n_classes, err);
    if (!st)
        st = m->encoder.family->declare(&m->encoder, &m->params, d->n_classes, err);
    if (!st)
        st = lm_head_declare(m, err);
    for (param_id i = 0; i < m->params.count; i++)
        m->params.items[i].init = INIT_ZERO;
    if (!st)
        st = params_allocate(&m->params, 0, err);
    if (!st) {
        lm_head_classifier(m, &weight, &bias);
        for (param_id i = 0; i < m->params.count; i++)
            if (i != weight && i != bias)
                memcpy(params_value(&m->params, i), params_value(&old, i),
                       old.items[i].rows * old.items[i].cols * sizeof(float));
        map_classifier(&m->params, &old, weight, bias, m->logit_map);
        st = lm_seal(m, err);
    }
    params_deinit(&old);
    return st;
}

medley_status frozen_fit(const struct lm_options *options, const struct dataset *d,
                         const char *folder, const uint32_t *rows, size_t n,
                         struct cross_encoder **out, medley_error *err)
{
    struct cross_encoder *m = NULL;
    medley_status st = open_classifier(options, &m, err);
    if (!st)
        st = fit_map(m, options, d, folder, rows, n, err);
    if (!st)
        st = replace_classifier(m, d, err);
    if (st)
        cross_encoder_free(m);
    else
        *out = m;
    return st;
}

medley_status frozen_predict(const struct cross_encoder *m, const char *folder,
                             const uint32_t *rows, size_t n, float *probabilities,
                             medley_error *err)
{
    float *logits = NULL;
    medley_status st = take_logits(folder, rows, n, m->n_logits, &logits, err);
    for (size_t i = 0; i < n && !st; i++)
        logistic_predict(m->logit_map, m->n_logits, m->n_classes, logits + i * m->n_logits,
                         probabilities + i * m->n_classes);
    mem_free(logits);
    return st;
}
