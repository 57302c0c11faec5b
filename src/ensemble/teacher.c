/* teacher.c: see teacher.h. A student of fold f learns from teachers of the other folds' pairs,
 * which have seen the labels of fold f: what could come back that way is the little that a
 * model's probabilities for one query tell of another query's labels. To be rid of that, too,
 * every pair of folds would need a teacher of its own. */
#include "ensemble/teacher.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/npy.h"
#include "ensemble/guard.h"

#include <string.h>

size_t teacher_model(const struct config *c, const char *teacher)
{
    for (size_t i = 0; i < c->n_models; i++)
        if (strcmp(c->models[i].name, teacher) == 0)
            return i;
    return SIZE_MAX;
}

static medley_status read_model(const struct workspace *w, const char *name, float *out,
                                medley_error *err)
{
    struct path p = workspace_path(w, "predictions/%s/probabilities.npy", name);
    struct npy a;
    medley_status st = npy_open(p.s, &a, err);
    if (st)
        return st;
    if (a.rows == w->data.n_examples && a.cols == w->data.n_classes)
        npy_to_float(&a, out);
    else
        st = fail(err, MEDLEY_EFORMAT, "%s: expected %zu x %zu probabilities", p.s,
                  w->data.n_examples, w->data.n_classes);
    npy_close(&a);
    return st;
}

static medley_status read_file(const struct workspace *w, const char *file, float *out,
                               medley_error *err)
{
    medley_status st =
        predictions_read(workspace_path(w, "%s", file).s, &w->data, false, out, err);
    return st ? st : guard_table(&w->data, out, file, err);
}

static medley_status add_teachers(const struct workspace *w, const char *const *teachers,
                                  float *sum, float *one, medley_error *err)
{
    size_t cells = w->data.n_examples * w->data.n_classes, n = 0;
    medley_status st = MEDLEY_OK;
    for (; teachers[n] && !st; n++) {
        bool model = teacher_model(&w->config, teachers[n]) != SIZE_MAX;
        st = model ? read_model(w, teachers[n], one, err) : read_file(w, teachers[n], one, err);
        for (size_t i = 0; i < cells && !st; i++)
            sum[i] += one[i];
    }
    for (size_t i = 0; i < cells && !st; i++)
        sum[i] /= (float)n;
    return st;
}

medley_status teacher_load(const struct workspace *w, size_t model, float **out,
                           medley_error *err)
{
    const struct model_config *m = &w->config.models[model];
    size_t cells = w->data.n_examples * w->data.n_classes;
    *out = NULL;
    if (!m->teachers)
        return MEDLEY_OK;
    float *sum = mem_zalloc(cells, sizeof *sum), *one = mem_alloc(cells, sizeof *one);
    medley_status st =
        sum && one ? add_teachers(w, m->teachers, sum, one, err) : fail_memory(err, "teachers");
    mem_free(one);
    if (st)
        mem_free(sum);
    else
        *out = sum;
    return st;
}
