/* crossfit.c: out-of-fold predictions; see crossfit.h. Each fold's predictions are a file, so
 * that a killed run repeats at most the fold it was in (and that from its checkpoint). */
#include "ensemble/crossfit.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/progress.h"
#include "data/folds.h"
#include "ensemble/answers.h"
#include "ensemble/cost.h"
#include "ensemble/guard.h"
#include "ensemble/teacher.h"

#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct crossfit {
    struct workspace *w;
    const struct model_config *config;
    const struct base_model_ops *ops;
    struct model_context context;
    char work[128];       /* models/NAME/.work-KEY, within the workspace */
    uint8_t *fold;        /* [n_examples] */
    uint32_t *fit, *rest; /* [n_examples] row lists of the moment */
    float *probabilities; /* [n_examples * K] */
    float *part;          /* [n_examples * K] predictions of one fold */
    float *teacher;       /* [n_examples * K] or NULL */
};

struct path features_path(const struct workspace *w, const char *spec)
{
    if (strcmp(spec, "hashed") == 0)
        return workspace_path(w, "features/hashed.npy");
    char name[33];
    hash_text(hash_bytes(spec, strlen(spec), (struct hash128){0, 0}), name);
    return workspace_path(w, "features/encoder-%.8s.npy", name);
}

medley_status workspace_features(const struct workspace *w, const char *spec,
                                 struct feature_encoder *out, medley_error *err)
{
    struct path folder = workspace_path(w, "%s", spec);
    bool hashed = strcmp(spec, "hashed") == 0;
    return feature_encoder_open(hashed ? spec : folder.s, &w->data, out, err);
}

size_t rows_labelled(const struct dataset *d, enum split split, uint32_t *rows)
{
    size_t n = 0;
    for (size_t i = 0; i < d->n_examples; i++)
        if (d->example_split[i] == split && d->example_label[i] != LABEL_NONE)
            rows[n++] = (uint32_t)i;
    return n;
}

medley_status model_context_open(struct workspace *w, size_t model, struct graph_inputs *graph,
                                 struct model_context *out, medley_error *err)
{
    const struct model_config *m = &w->config.models[model];
    *out = (struct model_context){.config = m, .data = &w->data};
    if (!base_model_kinds[m->kind]->needs_graph)
        return MEDLEY_OK;
    struct path p = features_path(w, m->features);
    medley_status st = graph_inputs_open(&w->data, &w->relations, m, p.s, graph, err);
    if (st)
        return st;
    out->graph = &graph->graph;
    out->features = graph->rows;
    out->width = graph->width;
    return MEDLEY_OK;
}

/* Old work of other settings is of no use to anybody. */
static medley_status remove_stale_work(const struct crossfit *x, medley_error *err)
{
    struct path folder = workspace_path(x->w, "models/%s", x->config->name);
    DIR *dir = opendir(folder.s);
    medley_status st = MEDLEY_OK;
    for (struct dirent *e; dir && !st && (e = readdir(dir));) {
        struct path p = workspace_path(x->w, "models/%s/%s", x->config->name, e->d_name);
        if (strncmp(e->d_name, ".work-", 6) == 0 && !strstr(x->work, e->d_name))
            st = remove_tree(p.s, err);
    }
    if (dir)
        closedir(dir);
    return st;
}

static medley_status fit_and_predict(struct crossfit *x, const char *part, size_t n_fit,
                                     size_t n_rest, void **model, medley_error *err)
{
    struct path checkpoint = workspace_path(x->w, "%s/%s.checkpoint", x->work, part);
    struct path log = workspace_path(x->w, "models/%s/%s.log.jsonl", x->config->name, part);
    char task[128];
    snprintf(task, sizeof task, "%s %s", x->config->name, part);
    progress_note("training %s (%zu pairs)", task, n_fit);
    medley_status st = x->ops->fit(&x->context, x->fit, n_fit, checkpoint.s, log.s, model, err);
    if (!st)
        st = x->ops->predict(&x->context, *model, x->rest, n_rest, task, x->part, err);
    if (!st)
        st = answers_check(task, x->part, n_rest, x->w->data.n_classes, err);
    return st;
}

/* part -> probabilities of the rows in x->rest. */
static void scatter(struct crossfit *x, const float *part, size_t n)
{
    size_t k = x->w->data.n_classes;
    for (size_t i = 0; i < n; i++)
        memcpy(x->probabilities + x->rest[i] * k, part + i * k, k * sizeof *part);
}

static medley_status run_fold(struct crossfit *x, unsigned fold, medley_error *err)
{
    const struct dataset *d = &x->w->data;
    size_t n_fit = 0, n_rest = 0;
    for (size_t i = 0; i < d->n_examples; i++) {
        if (x->fold[i] == FOLD_TEST || d->example_label[i] == LABEL_NONE)
            continue;
        if (x->fold[i] == fold)
            x->rest[n_rest++] = (uint32_t)i;
        else
            x->fit[n_fit++] = (uint32_t)i;
    }
    medley_status st = guard_disjoint(d, x->fit, n_fit, x->rest, n_rest, err);
    struct path done = workspace_path(x->w, "%s/fold-%u.npy", x->work, fold);
    if (st)
        return st;
    struct npy ready = {0};
    if (file_exists(done.s) && npy_open(done.s, &ready, NULL) == MEDLEY_OK) {
        bool fits = ready.rows == n_rest && ready.cols == d->n_classes;
        if (fits)
            npy_to_float(&ready, x->part);
        npy_close(&ready);
        if (fits) {
            scatter(x, x->part, n_rest);
            return MEDLEY_OK;
        }
    }
    char part[32];
    snprintf(part, sizeof part, "fold-%u", fold);
    void *model = NULL;
    st = fit_and_predict(x, part, n_fit, n_rest, &model, err);
    if (model)
        x->ops->free(model);
    if (!st)
        st = npy_write(done.s, NPY_F32, n_rest, d->n_classes, x->part, err);
    if (!st)
        scatter(x, x->part, n_rest);
    return st;
}

/* The final model: on all of the training split; predicts everything else. */
static medley_status run_final(struct crossfit *x, medley_error *err)
{
    const struct dataset *d = &x->w->data;
    struct path folder = workspace_path(x->w, "models/%s", x->config->name);
    size_t n_fit = rows_labelled(d, SPLIT_TRAIN, x->fit), n_rest = 0;
    for (size_t i = 0; i < d->n_examples; i++)
        if (d->example_split[i] != SPLIT_TRAIN || d->example_label[i] == LABEL_NONE)
            x->rest[n_rest++] = (uint32_t)i;
    void *model = NULL;
    medley_status st = fit_and_predict(x, "final", n_fit, n_rest, &model, err);
    if (!st)
        st = x->ops->save(model, folder.s, err);
    if (!st)
        st = cost_measure(x->w, &x->context, x->ops, model, &cost_quick, err);
    if (!st)
        scatter(x, x->part, n_rest);
    if (model)
        x->ops->free(model);
    return st;
}

/* Fitted elsewhere: the user's word that it did not see these pairs is tested, unless they
 * insist. */
static medley_status guard_foreign(const struct crossfit *x, medley_error *err)
{
    return x->config->trust ? MEDLEY_OK
                            : guard_table(&x->w->data, x->probabilities, x->config->name, err);
}

static medley_status collect(struct crossfit *x, medley_error *err)
{
    struct path folder = workspace_path(x->w, "models/%s", x->config->name);
    const struct dataset *d = &x->w->data;
    void *model = NULL;
    medley_status st = x->ops->collect(x->w, &x->context, folder.s, x->probabilities, err);
    if (!st)
        st = answers_check(x->config->name, x->probabilities, d->n_examples, d->n_classes, err);
    if (!st)
        st = guard_foreign(x, err);
    if (!st)
        st = x->ops->load(&x->context, folder.s, &model, err);
    if (!st)
        st = cost_measure(x->w, &x->context, x->ops, model, &cost_quick, err);
    if (model)
        x->ops->free(model);
    return st;
}

medley_status crossfit_prepare(const struct workspace *w, struct model_context *c,
                               struct path *folder, medley_error *err)
{
    const struct base_model_ops *ops = base_model_kinds[c->config->kind];
    bool done = false;
    *folder = workspace_path(w, "models/%s/prepared", c->config->name);
    medley_status st = ops->prepare ? ops->prepare(c, folder->s, &done, err) : MEDLEY_OK;
    if (!st && done)
        c->prepared = folder->s;
    return st;
}

static medley_status train_across_folds(struct crossfit *x, medley_error *err)
{
    const struct stacking_config *stacking = &x->w->config.stacking;
    struct path prepared;
    medley_status st = crossfit_prepare(x->w, &x->context, &prepared, err);
    if (!st)
        st = folds_assign(&x->w->data, stacking->folds, stacking->seed, x->fold, err);
    if (!st)
        st = make_folders(workspace_path(x->w, "%s", x->work).s, err);
    for (unsigned f = 0; f < stacking->folds && !st; f++)
        st = run_fold(x, f, err);
    if (!st)
        st = run_final(x, err);
    bool foreign = x->config->plugin.foreign || x->config->lm.frozen;
    return st || !foreign ? st : guard_foreign(x, err);
}

static medley_status write_predictions(struct crossfit *x, medley_error *err)
{
    const struct dataset *d = &x->w->data;
    struct path folder = workspace_path(x->w, "predictions/%s", x->config->name);
    struct path file =
        workspace_path(x->w, "predictions/%s/probabilities.npy", x->config->name);
    medley_status st = make_folders(folder.s, err);
    if (!st)
        st = npy_write(file.s, NPY_F32, d->n_examples, d->n_classes, x->probabilities, err);
    if (!st && x->ops->fit) {
        struct path folds = workspace_path(x->w, "predictions/%s/folds.npy", x->config->name);
        st = npy_write(folds.s, NPY_U8, d->n_examples, 0, x->fold, err);
    }
    return st ? st : remove_tree(workspace_path(x->w, "%s", x->work).s, err);
}

medley_status crossfit_model(struct workspace *w, size_t model, const char *key,
                             medley_error *err)
{
    const struct model_config *m = &w->config.models[model];
    const struct dataset *d = &w->data;
    struct graph_inputs graph = {0};
    struct crossfit x = {.w = w, .config = m, .ops = base_model_kinds[m->kind]};
    size_t cells = d->n_examples * d->n_classes;
    snprintf(x.work, sizeof x.work, "models/%s/.work-%.16s", m->name, key);
    x.fold = mem_alloc(d->n_examples, 1);
    x.fit = mem_alloc(d->n_examples, sizeof *x.fit);
    x.rest = mem_alloc(d->n_examples, sizeof *x.rest);
    x.probabilities = mem_alloc(cells, sizeof *x.probabilities);
    x.part = mem_alloc(cells, sizeof *x.part);
    struct path folder = workspace_path(w, "models/%s", m->name);
    medley_status st = x.fold && x.fit && x.rest && x.probabilities && x.part
                           ? make_folders(folder.s, err)
                           : fail_memory(err, "predictions");
    if (!st)
        st = remove_stale_work(&x, err);
    if (!st)
        st = model_context_open(w, model, &graph, &x.context, err);
    if (!st)
        st = teacher_load(w, model, &x.teacher, err);
    x.context.teacher = x.teacher;
    for (size_t i = 0; i < cells && !st; i++)
        x.probabilities[i] = NAN;
    if (!st)
        st = x.ops->fit ? train_across_folds(&x, err) : collect(&x, err);
    if (!st)
        st = write_predictions(&x, err);
    graph_inputs_close(&graph);
    mem_free(x.fold);
    mem_free(x.fit);
    mem_free(x.rest);
    mem_free(x.probabilities);
    mem_free(x.part);
    mem_free(x.teacher);
    return st;
}
