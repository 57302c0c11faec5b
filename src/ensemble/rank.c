/* rank.c: fits the full ensemble and ranks its models by exact Shapley values; see decide.h. */
#include "ensemble/decide.h"

#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/npy.h"
#include "base/progress.h"
#include "medley/shapley.h"

#include <math.h>
#include <stdlib.h>
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

/* One player of the ranking. */
struct ranked {
    size_t player;
    double mean; /* |contribution| summed over classes, mean over rows */
    struct interval interval;
    double per_class[MAX_CLASSES];
};

static int by_mean(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->mean != y->mean)
        return x->mean < y->mean ? 1 : -1;
    return x->player < y->player ? -1 : 1;
}

static medley_status rank_player(const struct stack *s, const float *values, size_t players,
                                 size_t player, float *sum, struct ranked *out,
                                 medley_error *err)
{
    size_t k = s->n_classes;
    out->player = player;
    for (size_t c = 0; c < k; c++)
        out->per_class[c] = 0;
    for (size_t i = 0; i < s->n; i++) {
        const float *v = values + (i * players + player) * k;
        sum[i] = 0;
        for (size_t c = 0; c < k; c++) {
            sum[i] += fabsf(v[c]);
            out->per_class[c] += (double)fabsf(v[c]) / (double)s->n;
        }
    }
    return mean_bootstrap(sum, s->query, NULL, s->n, 0, s->w->config.stacking.seed, &out->mean,
                          &out->interval, err);
}

static void write_ranked(struct json_writer *w, const struct stack *s, const struct ranked *r)
{
    const struct config *c = &s->w->config;
    bool context = r->player == s->n_models;
    jw_object(w);
    jw_key(w, "name"), jw_textz(w, context ? "context" : c->models[r->player].name);
    jw_key(w, "kind"), jw_textz(w, context ? "context" : c->models[r->player].kind_name);
    jw_key(w, "mean_abs_contribution"), jw_double(w, r->mean);
    jw_key(w, "ci95"), jw_array(w);
    jw_double(w, r->interval.low), jw_double(w, r->interval.high);
    jw_array_end(w);
    jw_key(w, "per_class"), jw_object(w);
    for (size_t k = 0; k < s->n_classes; k++)
        jw_key(w, s->w->data.class_names[k]), jw_double(w, r->per_class[k]);
    jw_object_end(w);
    jw_object_end(w);
}

static medley_status write_ranking(const struct stack *s, const struct ranked *r, size_t n,
                                   const char *split, medley_error *err)
{
    struct strbuf text;
    struct json_writer w;
    sb_init(&text);
    jw_init(&w, &text, true);
    jw_object(&w);
    jw_key(&w, "split"), jw_textz(&w, split);
    jw_key(&w, "n"), jw_i64(&w, (int64_t)s->n);
    jw_key(&w, "labels"), jw_array(&w);
    for (size_t k = 0; k < s->n_classes; k++)
        jw_textz(&w, s->w->data.class_names[k]);
    jw_array_end(&w);
    jw_key(&w, "models"), jw_array(&w);
    for (size_t i = 0; i < n; i++)
        write_ranked(&w, s, &r[i]);
    jw_array_end(&w);
    jw_object_end(&w);
    medley_status st = decide_write_file(s->w, "ranking.json", &text, err);
    sb_deinit(&text);
    return st;
}

/* values[n, players, K] of the full ensemble on the rows of s. */
static medley_status explain_rows(const struct stack *s, size_t players, float **values,
                                  medley_error *err)
{
    struct design_shape shape = stack_shape(s, stack_all(s));
    size_t f = design_columns(&shape);
    medley_gbdt *model = NULL;
    medley_explainer *explainer = NULL;
    float *x = NULL;
    uint32_t *player = mem_alloc(f, sizeof *player);
    *values = mem_alloc(s->n, players * s->n_classes * sizeof **values);
    medley_status st =
        player && *values
            ? medley_gbdt_load(workspace_path(s->w, "ensemble/full.txt").s, &model, err)
            : fail_memory(err, "contributions");
    if (!st && medley_gbdt_features(model) != f)
        st = fail(err, MEDLEY_ESTALE,
                  "ensemble/full.txt is of other models (run 'medley stack')");
    if (!st) {
        design_player_of_feature(&shape, player);
        st = medley_explainer_new(model, player, players, &explainer, err);
    }
    if (!st)
        st = stack_design(s, stack_all(s), &x, err);
    if (!st)
        st = medley_explainer_values(explainer, x, s->n, *values, err);
    medley_explainer_free(explainer);
    medley_gbdt_free(model);
    mem_free(player);
    mem_free(x);
    return st;
}

medley_status decide_rank(struct workspace *w, medley_error *err)
{
    struct stack s = {0};
    float *values = NULL, *sum = NULL;
    struct ranked ranked[MEDLEY_MAX_MODELS + 1];
    const char *split = "test";
    medley_status st = stack_open(w, SPLIT_TEST, &s, err);
    if (st == MEDLEY_EINVAL) { /* no test split */
        split = "train";
        st = stack_open(w, SPLIT_TRAIN, &s, err);
    }
    if (st)
        return st;
    size_t players = s.n_models + (s.context ? 1 : 0);
    st = explain_rows(&s, s.n_models + 1, &values, err);
    if (!st && !(sum = mem_alloc(s.n, sizeof *sum)))
        st = fail_memory(err, "contributions");
    for (size_t p = 0; p < players && !st; p++)
        st = rank_player(&s, values, s.n_models + 1, p, sum, &ranked[p], err);
    if (!st) { /* the context stays last: it is no model that could be dropped */
        qsort(ranked, s.n_models, sizeof *ranked, by_mean);
        st = write_ranking(&s, ranked, players, split, err);
    }
    mem_free(values);
    mem_free(sum);
    stack_close(&s);
    return st;
}
