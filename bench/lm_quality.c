/* lm_quality.c: one language model of a workspace, trained on its training split with a given
 * seed, and what it says of the test split; driven by bench/peers/lm_quality.py.
 *
 *   lm_quality inputs WORKSPACE MODEL FOLDER
 *      what the model reads, for others to read the same
 *   lm_quality train WORKSPACE MODEL SEED OUT
 *      probabilities [labelled test pairs, K] into OUT.npy; with weights of other precisions
 *      into OUT.bfloat16.npy and OUT.int8.npy */
#include "base/error.h"
#include "base/memory.h"
#include "base/npy.h"
#include "ensemble/crossfit.h"
#include "ensemble/teacher.h"
#include "lm/cross_encoder_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct job {
    struct workspace w;
    size_t model;
    uint32_t *fit, *test; /* rows of the training split, of the test split */
    size_t n_fit, n_test;
};

static medley_status job_open(struct job *j, const char *root, const char *model,
                              medley_error *err)
{
    medley_status st = workspace_open(root, &j->w, err);
    if (!st)
        st = workspace_open_data(&j->w, err);
    if (st)
        return st;
    const struct dataset *d = &j->w.data;
    while (j->model < j->w.config.n_models &&
           strcmp(j->w.config.models[j->model].name, model) != 0)
        j->model++;
    if (j->model == j->w.config.n_models || j->w.config.models[j->model].kind != KIND_LM)
        return fail(err, MEDLEY_ENOTFOUND, "no language model is called '%s'", model);
    j->fit = mem_alloc(d->n_examples, sizeof *j->fit);
    j->test = mem_alloc(d->n_examples, sizeof *j->test);
    if (!j->fit || !j->test)
        return fail_memory(err, "rows");
    j->n_fit = rows_labelled(d, SPLIT_TRAIN, j->fit);
    j->n_test = rows_labelled(d, SPLIT_TEST, j->test);
    return MEDLEY_OK;
}

static void job_close(struct job *j)
{
    mem_free(j->fit);
    mem_free(j->test);
    workspace_close(&j->w);
}

static medley_status write_array(const char *folder, const char *name, enum npy_type type,
                                 size_t n, const void *data, medley_error *err)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s.npy", folder, name);
    return npy_write(path, type, n, 0, data, err);
}

static medley_status write_rows(const struct job *j, const struct lm_inputs *in,
                                const char *folder, medley_error *err)
{
    const struct dataset *d = &j->w.data;
    size_t n = j->n_fit + j->n_test;
    uint8_t *label = mem_alloc(n, 1), *split = mem_alloc(n, 1);
    int32_t *query = mem_alloc(n, sizeof *query), *offset = mem_alloc(n + 1, sizeof *offset);
    medley_status st = label && split && query && offset ? MEDLEY_OK : fail_memory(err, "rows");
    for (size_t i = 0; i < n && !st; i++) {
        uint32_t row = i < j->n_fit ? j->fit[i] : j->test[i - j->n_fit];
        label[i] = d->example_label[row];
        split[i] = d->example_split[row];
        query[i] = (int32_t)d->example_query[row];
    }
    for (size_t i = 0; i <= n && !st; i++)
        offset[i] = (int32_t)in->offsets[i];
    if (!st)
        st = write_array(folder, "ids", NPY_I32, in->n_tokens, in->ids, err);
    if (!st)
        st = write_array(folder, "types", NPY_I32, in->n_tokens, in->types, err);
    if (!st)
        st = write_array(folder, "offsets", NPY_I32, n + 1, offset, err);
    if (!st)
        st = write_array(folder, "labels", NPY_U8, n, label, err);
    if (!st)
        st = write_array(folder, "split", NPY_U8, n, split, err);
    if (!st)
        st = write_array(folder, "queries", NPY_I32, n, query, err);
    mem_free(label);
    mem_free(split);
    mem_free(query);
    mem_free(offset);
    return st;
}

static medley_status write_inputs(struct job *j, const char *folder, medley_error *err)
{
    const struct dataset *d = &j->w.data;
    struct cross_encoder *m = NULL;
    struct lm_inputs in;
    lm_inputs_init(&in);
    medley_status st = make_folders(folder, err);
    if (!st)
        st = cross_encoder_new(&j->w.config.models[j->model].lm, d, &m, err);
    for (size_t i = 0; i < j->n_fit + j->n_test && !st; i++) {
        uint32_t row = i < j->n_fit ? j->fit[i] : j->test[i - j->n_fit];
        struct pair_text pair = dataset_pair(d, d->example_query[row], d->example_product[row]);
        lm_inputs_add_pair(&in, m, &pair);
    }
    if (!st && in.failed)
        st = fail_memory(err, "inputs");
    if (!st)
        st = write_rows(j, &in, folder, err);
    lm_inputs_deinit(&in);
    cross_encoder_free(m);
    return st;
}

/* What the trained model says of the test split, in each precision of its weights. */
static medley_status write_predictions(const struct job *j, const struct model_context *context,
                                       struct cross_encoder *m, const char *out,
                                       medley_error *err)
{
    const struct base_model_ops *ops = base_model_kinds[KIND_LM];
    size_t n_classes = j->w.data.n_classes;
    char path[1024];
    float *p = mem_alloc(j->n_test, n_classes * sizeof *p);
    medley_status st = p ? MEDLEY_OK : fail_memory(err, "predictions");
    for (int i = PRECISION_FLOAT32; i < PRECISION_COUNT && !st; i++) {
        bool full = i == PRECISION_FLOAT32;
        snprintf(path, sizeof path, "%s%s%s.npy", out, full ? "" : ".",
                 full ? "" : precision_names[i]);
        st = cross_encoder_set_precision(m, (enum precision)i, err);
        if (!st)
            st = ops->predict(context, m, j->test, j->n_test, "test", p, err);
        if (!st)
            st = npy_write(path, NPY_F32, j->n_test, n_classes, p, err);
    }
    mem_free(p);
    return st;
}

static medley_status train(struct job *j, uint64_t seed, const char *out, medley_error *err)
{
    struct model_config *config = &j->w.config.models[j->model];
    const struct base_model_ops *ops = base_model_kinds[KIND_LM];
    struct graph_inputs graph = {0};
    struct model_context context = {0};
    struct path prepared;
    float *teacher = NULL;
    void *model = NULL;
    config->lm.seed = seed;
    medley_status st = model_context_open(&j->w, j->model, &graph, &context, err);
    if (!st)
        st = teacher_load(&j->w, j->model, &teacher, err);
    context.teacher = teacher;
    if (!st)
        st = crossfit_prepare(&j->w, &context, &prepared, err);
    if (!st)
        st = ops->fit(&context, j->fit, j->n_fit, NULL, NULL, &model, err);
    if (!st)
        st = write_predictions(j, &context, model, out, err);
    if (model)
        ops->free(model);
    mem_free(teacher);
    return st;
}

int main(int argc, char **argv)
{
    struct job j = {.model = 0};
    medley_error err = {0};
    bool inputs = argc == 5 && strcmp(argv[1], "inputs") == 0;
    if (!inputs && !(argc == 6 && strcmp(argv[1], "train") == 0)) {
        fputs("usage: lm_quality inputs WORKSPACE MODEL FOLDER\n"
              "       lm_quality train WORKSPACE MODEL SEED OUT\n",
              stderr);
        return 2;
    }
    medley_status st = job_open(&j, argv[2], argv[3], &err);
    if (!st)
        st = inputs ? write_inputs(&j, argv[4], &err)
                    : train(&j, strtoull(argv[4], NULL, 10), argv[5], &err);
    job_close(&j);
    if (st)
        fprintf(stderr, "lm_quality: %s\n", err.message);
    return st ? 1 : 0;
}
