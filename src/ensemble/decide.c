/* decide.c: what the deciding stages share, and the stage that fits the ensemble of all models;
 * see decide.h. */
#include "ensemble/decide.h"

#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/npy.h"
#include "base/progress.h"

#include <math.h>
#include <string.h>

void decide_write_metrics(struct json_writer *w, const struct metrics *m)
{
    for (int i = 0; i < METRIC_COUNT; i++) {
        jw_key(w, metric_names[i]);
        jw_double(w, metrics_value(m, (enum metric_name)i));
    }
}

medley_status decide_write_file(const struct workspace *w, const char *name,
                                struct strbuf *text, medley_error *err)
{
    sb_addc(text, '\n');
    if (text->failed)
        return fail_memory(err, name);
    struct path folder = workspace_path(w, "ensemble"),
                file = workspace_path(w, "ensemble/%s", name);
    medley_status st = make_folders(folder.s, err);
    return st ? st : file_write(file.s, text->s, text->n, err);
}

static medley_status write_stack(const struct stack *s, unsigned rounds,
                                 const float *probabilities, medley_error *err)
{
    struct metrics m;
    struct strbuf text;
    struct json_writer w;
    metrics_compute(probabilities, s->label, NULL, s->n, s->n_classes, &m);
    sb_init(&text);
    jw_init(&w, &text, true);
    jw_object(&w);
    jw_key(&w, "rounds"), jw_i64(&w, rounds);
    jw_key(&w, "folds"), jw_i64(&w, s->n_folds);
    jw_key(&w, "n"), jw_i64(&w, (int64_t)s->n);
    jw_key(&w, "cross_validated"), jw_object(&w);
    decide_write_metrics(&w, &m);
    jw_object_end(&w);
    jw_object_end(&w);
    medley_status st = decide_write_file(s->w, "stack.json", &text, err);
    sb_deinit(&text);
    return st;
}

/* ensemble/out_of_fold.npy: the cross-validated ensemble, [n_examples, K] in the dataset's
 * order, NaN outside the training split: for whoever wants to calibrate or to look closer. */
static medley_status write_out_of_fold(const struct stack *s, const float *probabilities,
                                       medley_error *err)
{
    size_t n = s->w->data.n_examples, k = s->n_classes;
    float *all = mem_alloc(n, k * sizeof *all);
    if (!all)
        return fail_memory(err, "out-of-fold predictions");
    for (size_t i = 0; i < n * k; i++)
        all[i] = NAN;
    for (size_t i = 0; i < s->n; i++)
        memcpy(all + s->row[i] * k, probabilities + i * k, k * sizeof *all);
    struct path p = workspace_path(s->w, "ensemble/out_of_fold.npy");
    medley_status st = npy_write(p.s, NPY_F32, n, k, all, err);
    mem_free(all);
    return st;
}

medley_status decide_stack(struct workspace *w, medley_error *err)
{
    struct stack s = {0};
    medley_gbdt *model = NULL;
    float *probabilities = NULL;
    unsigned rounds = 0;
    medley_status st = stack_open(w, SPLIT_TRAIN, &s, err);
    if (!st && !(probabilities = mem_alloc(s.n, s.n_classes * sizeof *probabilities)))
        st = fail_memory(err, "ensemble predictions");
    if (!st) {
        progress_note("stacking %zu models on %zu out-of-fold pairs", s.n_models, s.n);
        st = stack_cross_validate(&s, stack_all(&s), &rounds, probabilities, err);
    }
    if (!st)
        st = stack_fit(&s, stack_all(&s), rounds, &model, err);
    if (!st)
        st = write_stack(&s, rounds, probabilities, err);
    if (!st)
        st = write_out_of_fold(&s, probabilities, err);
    if (!st)
        st = medley_gbdt_save(model, workspace_path(w, "ensemble/full.txt").s, err);
    medley_gbdt_free(model);
    mem_free(probabilities);
    stack_close(&s);
    return st;
}

void decide_write_names(struct json_writer *w, const struct workspace *ws, const char *key,
                        uint32_t mask)
{
    jw_key(w, key), jw_array(w);
    for (size_t m = 0; m < ws->config.n_models; m++)
        if (mask >> m & 1)
            jw_textz(w, ws->config.models[m].name);
    jw_array_end(w);
}

void decide_write_labels(struct json_writer *w, const struct workspace *ws)
{
    jw_key(w, "labels"), jw_array(w);
    for (size_t k = 0; k < ws->data.n_classes; k++)
        jw_textz(w, ws->data.class_names[k]);
    jw_array_end(w);
}

medley_status decide_rounds(const struct workspace *w, unsigned *rounds, medley_error *err)
{
    struct path p = workspace_path(w, "ensemble/stack.json");
    json *root = NULL;
    int64_t n = 0;
    medley_status st = json_load(p.s, &root, err);
    if (st)
        return st;
    if (!json_as_i64(json_get(root, "rounds"), &n) || n < 1 || n > UINT32_MAX)
        st = fail(err, MEDLEY_EFORMAT, "%s: expected rounds", p.s);
    else
        *rounds = (unsigned)n;
    json_free(root);
    return st;
}
