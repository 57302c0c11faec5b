/* evaluate.c: metrics of base models and ensembles on the test split, with intervals by
 * bootstrap over queries; see decide.h. Nothing here feeds back into training or selection. */
#include "ensemble/decide.h"

#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/progress.h"

#include <string.h>

enum { CONTESTANTS = MEDLEY_MAX_MODELS + 2 + EVALUATE_SUBSETS };

/* Something that gives probabilities for every row of the stack. */
struct contestant {
    const char *name, *kind;
    const float *probabilities; /* [n * K] borrowed */
    uint32_t mask;              /* ensembles: the models inside */
};

struct evaluation {
    const struct stack *s;
    struct contestant all[CONTESTANTS];
    size_t n_models, n;                    /* base models first, then ensembles */
    float *ensemble[2 + EVALUATE_SUBSETS]; /* owned probabilities */
    uint32_t *index;                       /* [n] rows of one locale */
};

static void write_interval(struct json_writer *w, const char *key, struct interval x)
{
    jw_key(w, key), jw_array(w);
    jw_double(w, x.low), jw_double(w, x.high);
    jw_array_end(w);
}

/* f1[K]: intervals. */
static void write_class_metrics(struct json_writer *w, const struct stack *s,
                                const struct metrics *m, const struct interval *f1)
{
    jw_key(w, "per_class"), jw_object(w);
    for (size_t k = 0; k < m->n_classes; k++) {
        const struct class_metrics *c = &m->per_class[k];
        jw_key(w, s->w->data.class_names[k]), jw_object(w);
        jw_key(w, "precision"), jw_double(w, c->precision);
        jw_key(w, "recall"), jw_double(w, c->recall);
        jw_key(w, "f1"), jw_double(w, c->f1);
        write_interval(w, "f1_ci95", f1[k]);
        jw_key(w, "support"), jw_i64(w, (int64_t)c->support);
        jw_object_end(w);
    }
    jw_object_end(w);
}

static void write_confusion(struct json_writer *w, const struct metrics *m)
{
    jw_key(w, "confusion"), jw_array(w);
    for (size_t i = 0; i < m->n_classes; i++) {
        jw_array(w);
        for (size_t j = 0; j < m->n_classes; j++)
            jw_i64(w, m->confusion[i][j]);
        jw_array_end(w);
    }
    jw_array_end(w);
}

static void write_names(struct json_writer *w, const struct stack *s, uint32_t mask)
{
    jw_key(w, "models"), jw_array(w);
    for (size_t m = 0; m < s->n_models; m++)
        if (mask >> m & 1)
            jw_textz(w, s->w->config.models[m].name);
    jw_array_end(w);
}

/* One contestant on all rows (index NULL; with intervals and classes) or on some. */
static medley_status write_contestant(struct json_writer *w, const struct evaluation *e,
                                      const struct contestant *c, const uint32_t *index,
                                      size_t n, medley_error *err)
{
    const struct stack *s = e->s;
    struct metrics m;
    struct interval interval[METRIC_ROOM] = {{0, 0}};
    metrics_compute(c->probabilities, s->label, index, n, s->n_classes, &m);
    jw_object(w);
    jw_key(w, "name"), jw_textz(w, c->name);
    jw_key(w, "kind"), jw_textz(w, c->kind);
    decide_write_metrics(w, &m);
    medley_status st = MEDLEY_OK;
    if (!index) {
        st = metrics_bootstrap(c->probabilities, s->label, s->query, NULL, n, s->n_classes, 0,
                               s->w->config.stacking.seed, interval, err);
        jw_key(w, "ci95"), jw_object(w);
        for (int i = 0; i < METRIC_COUNT; i++)
            write_interval(w, metric_names[i], interval[i]);
        jw_object_end(w);
        write_class_metrics(w, s, &m, interval + METRIC_COUNT);
    }
    if (!index || c->mask)
        write_confusion(w, &m);
    if (c->mask)
        write_names(w, s, c->mask);
    jw_object_end(w);
    return st;
}

static medley_status write_group(struct json_writer *w, const struct evaluation *e,
                                 const uint32_t *index, size_t n, medley_error *err)
{
    medley_status st = MEDLEY_OK;
    jw_key(w, "models"), jw_array(w);
    for (size_t i = 0; i < e->n_models && !st; i++)
        st = write_contestant(w, e, &e->all[i], index, n, err);
    jw_array_end(w);
    jw_key(w, "ensembles"), jw_array(w);
    for (size_t i = e->n_models; i < e->n && !st; i++)
        st = write_contestant(w, e, &e->all[i], index, n, err);
    jw_array_end(w);
    return st;
}

static medley_status write_locales(struct json_writer *w, const struct evaluation *e,
                                   medley_error *err)
{
    const struct dataset *d = &e->s->w->data;
    medley_status st = MEDLEY_OK;
    jw_key(w, "per_locale"), jw_object(w);
    for (size_t l = 0; l < d->n_locales && !st; l++) {
        size_t n = 0;
        for (size_t i = 0; i < e->s->n; i++)
            if (d->query_locale[e->s->query[i]] == l)
                e->index[n++] = (uint32_t)i;
        if (n == 0)
            continue;
        jw_key(w, d->locale_names[l]), jw_object(w);
        jw_key(w, "n"), jw_i64(w, (int64_t)n);
        st = write_group(w, e, e->index, n, err);
        jw_object_end(w);
    }
    jw_object_end(w);
    return st;
}

static void write_difference(struct json_writer *w, const char *key,
                             const struct paired_difference *d)
{
    jw_key(w, key), jw_object(w);
    jw_key(w, "difference"), jw_double(w, d->difference);
    jw_key(w, "low"), jw_double(w, d->low);
    jw_key(w, "high"), jw_double(w, d->high);
    jw_key(w, "p_value"), jw_double(w, d->p_value);
    jw_object_end(w);
}

/* Each ensemble against each base model and each ensemble before it. */
static medley_status write_paired(struct json_writer *w, const struct evaluation *e,
                                  medley_error *err)
{
    const struct stack *s = e->s;
    struct paired_difference difference[METRIC_ROOM];
    medley_status st = MEDLEY_OK;
    jw_key(w, "paired"), jw_array(w);
    for (size_t a = e->n_models; a < e->n; a++) {
        for (size_t b = 0; b < a && !st; b++) {
            st = metrics_paired(e->all[a].probabilities, e->all[b].probabilities, s->label,
                                s->query, NULL, s->n, s->n_classes, 0,
                                s->w->config.stacking.seed, difference, err);
            jw_object(w);
            jw_key(w, "a"), jw_textz(w, e->all[a].name);
            jw_key(w, "b"), jw_textz(w, e->all[b].name);
            for (int i = 0; i < METRIC_COUNT && !st; i++)
                write_difference(w, metric_names[i], &difference[i]);
            jw_key(w, "f1"), jw_object(w);
            for (size_t k = 0; k < s->n_classes && !st; k++)
                write_difference(w, s->w->data.class_names[k], &difference[METRIC_COUNT + k]);
            jw_object_end(w);
            jw_object_end(w);
        }
    }
    jw_array_end(w);
    return st;
}

static medley_status write_evaluation(const struct evaluation *e, const char *file,
                                      medley_error *err)
{
    const struct stack *s = e->s;
    struct strbuf text;
    struct json_writer w;
    sb_init(&text);
    jw_init(&w, &text, true);
    jw_object(&w);
    jw_key(&w, "split"), jw_textz(&w, "test");
    jw_key(&w, "n"), jw_i64(&w, (int64_t)s->n);
    jw_key(&w, "labels"), jw_array(&w);
    for (size_t k = 0; k < s->n_classes; k++)
        jw_textz(&w, s->w->data.class_names[k]);
    jw_array_end(&w);
    medley_status st = write_group(&w, e, NULL, s->n, err);
    if (!st)
        st = write_locales(&w, e, err);
    if (!st)
        st = write_paired(&w, e, err);
    jw_object_end(&w);
    if (!st)
        st = decide_write_file(s->w, file, &text, err);
    sb_deinit(&text);
    return st;
}

static medley_status add_ensemble(struct evaluation *e, const char *name, uint32_t mask,
                                  const medley_gbdt *model, medley_error *err)
{
    const struct stack *s = e->s;
    float *p = mem_alloc(s->n, s->n_classes * sizeof *p);
    e->ensemble[e->n - e->n_models] = p;
    medley_status st =
        p ? stack_predict(s, mask, model, p, err) : fail_memory(err, "ensemble predictions");
    if (!st)
        e->all[e->n++] = (struct contestant){name, "ensemble", p, mask};
    return st;
}

static medley_status add_stored(struct evaluation *e, const char *name, uint32_t mask,
                                medley_error *err)
{
    medley_gbdt *model = NULL;
    medley_status st =
        medley_gbdt_load(workspace_path(e->s->w, "ensemble/%s.txt", name).s, &model, err);
    if (!st)
        st = add_ensemble(e, name, mask, model, err);
    medley_gbdt_free(model);
    return st;
}

/* Fitted here, on out-of-fold predictions of the training split alone. */
static medley_status add_subset(struct evaluation *e, const struct stack *train,
                                const struct evaluate_subset *subset, medley_error *err)
{
    medley_gbdt *model = NULL;
    unsigned rounds;
    medley_status st = stack_cross_validate(train, subset->mask, &rounds, NULL, err);
    if (!st)
        st = stack_fit(train, subset->mask, rounds, &model, err);
    if (!st)
        st = add_ensemble(e, subset->name, subset->mask, model, err);
    medley_gbdt_free(model);
    return st;
}

static medley_status add_subsets(struct evaluation *e, const struct evaluate_subset *subsets,
                                 size_t n, medley_error *err)
{
    struct stack train = {0};
    if (n == 0)
        return MEDLEY_OK;
    if (n > EVALUATE_SUBSETS)
        return fail(err, MEDLEY_EINVAL, "%zu ensembles to evaluate, at most %d", n,
                    EVALUATE_SUBSETS);
    medley_status st = stack_open(e->s->w, SPLIT_TRAIN, &train, err);
    for (size_t i = 0; i < n && !st; i++)
        st = add_subset(e, &train, &subsets[i], err);
    stack_close(&train);
    return st;
}

medley_status decide_evaluate(struct workspace *w, const struct evaluate_subset *subsets,
                              size_t n_subsets, medley_error *err)
{
    struct stack s = {0};
    struct evaluation e = {.s = &s};
    uint32_t selected = 0;
    unsigned rounds = 0;
    medley_status st = stack_open(w, SPLIT_TEST, &s, err);
    if (st)
        return st;
    progress_note("evaluating on %zu pairs of the test split", s.n);
    for (size_t m = 0; m < s.n_models; m++)
        e.all[e.n++] = (struct contestant){
            w->config.models[m].name, w->config.models[m].kind_name, s.probabilities[m], 0};
    e.n_models = e.n;
    if (!(e.index = mem_alloc(s.n, sizeof *e.index)))
        st = fail_memory(err, "rows of a locale");
    if (!st)
        st = selection_load(w, &selected, &rounds, err);
    if (!st)
        st = add_stored(&e, "full", stack_all(&s), err);
    if (!st)
        st = add_stored(&e, "selected", selected, err);
    if (!st)
        st = add_subsets(&e, subsets, n_subsets, err);
    if (!st)
        st = write_evaluation(&e, n_subsets ? "evaluation-subsets.json" : "evaluation.json",
                              err);
    mem_free(e.index);
    for (size_t i = 0; i < 2 + EVALUATE_SUBSETS; i++)
        mem_free(e.ensemble[i]);
    stack_close(&s);
    return st;
}
