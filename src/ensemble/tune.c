/* tune.c: calibrates the selected ensemble and finds how to decide with it; see decide.h and
 * calibrate.h. Everything is fitted on out-of-fold predictions; what it is worth is measured on
 * folds that it was not fitted on, and on the test split. Writes ensemble/calibration.json. */
#include "ensemble/decide.h"

#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/progress.h"
#include "ensemble/calibrator.h"
#include "ensemble/missing.h"

#include <math.h>
#include <string.h>

/* What a way of changing probabilities is, fitted. */
struct change {
    enum calibration_method method;
    struct calibrator calibrator;
    bool has_offsets;
    double offsets[MAX_CLASSES];
    const double *costs; /* [K*K] or NULL */
};

struct tuning {
    struct workspace *w;
    struct stack train, test;
    float *out_of_fold, *on_test; /* [n*K] of the selected ensemble, as it is */
    uint32_t *index;              /* [train.n] */
    enum calibration_method best;
    const double *costs;
};

static medley_status fit_change(const struct tuning *t, const uint32_t *index, size_t n,
                                struct change *c, medley_error *err)
{
    const struct stack *s = &t->train;
    size_t k = s->n_classes;
    medley_status st =
        calibrator_fit(c->method, t->out_of_fold, s->label, index, n, k, &c->calibrator, err);
    if (!st && c->has_offsets)
        st = offsets_fit(t->out_of_fold, s->label, index, n, k, c->offsets, err);
    return st;
}

static void apply_change(const struct change *c, float *p, size_t n, size_t k)
{
    calibrator_apply(&c->calibrator, p, n, k);
    if (c->has_offsets)
        offsets_apply(c->offsets, p, n, k);
    if (c->costs)
        costs_apply(c->costs, p, n, k);
}

/* Of the training rows: each fold changed by what the other folds fitted. NULL: out of memory.
 */
static medley_status cross_fit(const struct tuning *t, const struct change *kind, float *out,
                               medley_error *err)
{
    const struct stack *s = &t->train;
    size_t k = s->n_classes;
    medley_status st = MEDLEY_OK;
    memcpy(out, t->out_of_fold, s->n * k * sizeof *out);
    for (unsigned f = 0; f < s->n_folds && !st; f++) {
        struct change c = *kind;
        size_t n = 0;
        for (size_t i = 0; i < s->n; i++)
            if (s->fold[i] != f)
                t->index[n++] = (uint32_t)i;
        st = fit_change(t, t->index, n, &c, err);
        for (size_t i = 0; i < s->n && !st; i++)
            if (s->fold[i] == f)
                apply_change(&c, out + i * k, 1, k);
        calibrator_free(&c.calibrator);
    }
    return st;
}

/* Both sets of rows changed: training rows cross-fitted, test rows by what all training rows
 * fitted, which is left in *kind. out[2]: the caller's, to be freed. */
static medley_status change_both(const struct tuning *t, struct change *kind, float *out[2],
                                 medley_error *err)
{
    size_t k = t->train.n_classes;
    out[0] = mem_alloc(t->train.n, k * sizeof **out);
    out[1] = mem_alloc(t->test.n, k * sizeof **out);
    medley_status st =
        out[0] && out[1] ? cross_fit(t, kind, out[0], err) : fail_memory(err, "calibration");
    if (!st)
        st = fit_change(t, NULL, t->train.n, kind, err);
    if (st)
        return st;
    memcpy(out[1], t->on_test, t->test.n * k * sizeof **out);
    apply_change(kind, out[1], t->test.n, k);
    return MEDLEY_OK;
}

static void free_both(float *out[2])
{
    mem_free(out[0]);
    mem_free(out[1]);
    out[0] = out[1] = NULL;
}

/* ---- writing ---- */

static medley_status write_quality(struct json_writer *w, const char *key,
                                   const struct stack *s, const float *p, bool bins,
                                   medley_error *err)
{
    struct reliability r;
    struct metrics m;
    metrics_compute(p, s->label, NULL, s->n, s->n_classes, &m);
    medley_status st = reliability_of(p, s->label, NULL, s->n, s->n_classes, &r, err);
    if (st)
        return st;
    jw_key(w, key), jw_object(w);
    jw_key(w, "log_loss"), jw_double(w, m.log_loss);
    jw_key(w, "ece"), jw_double(w, r.ece);
    jw_key(w, "classwise_ece"), jw_double(w, r.classwise_ece);
    if (bins) {
        jw_key(w, "bins"), jw_array(w);
        for (size_t b = 0; b < r.n_bins; b++) {
            jw_object(w);
            jw_key(w, "confidence"), jw_double(w, r.bins[b].confidence);
            jw_key(w, "accuracy"), jw_double(w, r.bins[b].accuracy);
            jw_key(w, "n"), jw_i64(w, (int64_t)r.bins[b].n);
            jw_object_end(w);
        }
        jw_array_end(w);
    }
    jw_object_end(w);
    return MEDLEY_OK;
}

/* The method of the least cross-fitted log-loss becomes t->best. */
static medley_status write_methods(struct json_writer *w, struct tuning *t, medley_error *err)
{
    double least = INFINITY, temperature = 1;
    medley_status st = MEDLEY_OK;
    jw_key(w, "methods"), jw_array(w);
    for (enum calibration_method m = CALIBRATION_NONE; m < CALIBRATION_METHODS && !st; m++) {
        struct change c = {.method = m};
        float *out[2] = {NULL, NULL};
        struct metrics metrics;
        st = change_both(t, &c, out, err);
        if (!st) {
            metrics_compute(out[0], t->train.label, NULL, t->train.n, t->train.n_classes,
                            &metrics);
            if (metrics.log_loss < least)
                least = metrics.log_loss, t->best = m;
            if (m == CALIBRATION_TEMPERATURE)
                temperature = c.calibrator.temperature;
            jw_object(w);
            jw_key(w, "name"), jw_textz(w, calibration_method_names[m]);
            st = write_quality(w, "cross_fitted", &t->train, out[0], true, err);
        }
        if (!st)
            st = write_quality(w, "test", &t->test, out[1], true, err);
        if (!st)
            jw_object_end(w);
        free_both(out);
        calibrator_free(&c.calibrator);
    }
    jw_array_end(w);
    jw_key(w, "method"), jw_textz(w, calibration_method_names[t->best]);
    jw_key(w, "temperature"), jw_double(w, temperature);
    return st;
}

static medley_status write_gain(struct json_writer *w, const char *key, const struct stack *s,
                                const float *a, const float *b, medley_error *err)
{
    struct paired_difference d[METRIC_ROOM];
    struct metrics m;
    metrics_compute(a, s->label, NULL, s->n, s->n_classes, &m);
    medley_status st = metrics_paired(a, b, s->label, s->query, NULL, s->n, s->n_classes, 0,
                                      s->w->config.stacking.seed, d, err);
    jw_key(w, key), jw_object(w);
    for (int i = 0; i < METRIC_LOG_LOSS && !st; i++) {
        jw_key(w, metric_names[i]), jw_object(w);
        jw_key(w, "decided"), jw_double(w, metrics_value(&m, (enum metric_name)i));
        jw_key(w, "value"), jw_double(w, d[i].difference);
        jw_key(w, "low"), jw_double(w, d[i].low);
        jw_key(w, "high"), jw_double(w, d[i].high);
        jw_key(w, "p_value"), jw_double(w, d[i].p_value);
        jw_object_end(w);
    }
    jw_object_end(w);
    return st;
}

/* Offsets for macro-F1: what they are, and gain on rows that they were not fitted on. */
static medley_status write_offsets(struct json_writer *w, const struct tuning *t,
                                   medley_error *err)
{
    struct change c = {.has_offsets = true};
    float *out[2] = {NULL, NULL};
    medley_status st = change_both(t, &c, out, err);
    jw_key(w, "offsets"), jw_object(w);
    jw_key(w, "for"), jw_textz(w, "macro_f1");
    jw_key(w, "values"), jw_object(w);
    for (size_t i = 0; i < t->train.n_classes && !st; i++)
        jw_key(w, t->w->data.class_names[i]), jw_double(w, c.offsets[i]);
    jw_object_end(w);
    if (!st)
        st = write_gain(w, "cross_fitted", &t->train, out[0], t->out_of_fold, err);
    if (!st)
        st = write_gain(w, "test", &t->test, out[1], t->on_test, err);
    jw_object_end(w);
    free_both(out);
    return st;
}

static double mean_cost(const struct stack *s, const float *p, const double *costs)
{
    double sum = 0;
    for (size_t i = 0; i < s->n; i++) {
        size_t best = 0;
        for (size_t c = 1; c < s->n_classes; c++)
            if (p[i * s->n_classes + c] > p[i * s->n_classes + best])
                best = c;
        sum += costs[s->label[i] * s->n_classes + best];
    }
    return sum / (double)s->n;
}

/* Decisions of the least expected cost, by the calibrated probabilities. */
static medley_status write_costs(struct json_writer *w, const struct tuning *t,
                                 medley_error *err)
{
    struct change c = {.method = t->best, .costs = t->costs};
    float *out[2] = {NULL, NULL};
    medley_status st = MEDLEY_OK;
    jw_key(w, "costs");
    if (!t->costs) {
        jw_null(w);
        return MEDLEY_OK;
    }
    st = change_both(t, &c, out, err);
    jw_object(w);
    if (!st) {
        jw_key(w, "cross_fitted"), jw_double(w, mean_cost(&t->train, out[0], t->costs));
        jw_key(w, "cross_fitted_most_probable"),
            jw_double(w, mean_cost(&t->train, t->out_of_fold, t->costs));
        jw_key(w, "test"), jw_double(w, mean_cost(&t->test, out[1], t->costs));
        jw_key(w, "test_most_probable"),
            jw_double(w, mean_cost(&t->test, t->on_test, t->costs));
    }
    jw_object_end(w);
    free_both(out);
    calibrator_free(&c.calibrator);
    return st;
}

static medley_status write_tuning(struct tuning *t, uint32_t mask, medley_error *err)
{
    struct strbuf text;
    struct json_writer w;
    sb_init(&text);
    jw_init(&w, &text, true);
    jw_object(&w);
    decide_write_labels(&w, t->w);
    decide_write_names(&w, t->w, "models", mask);
    jw_key(&w, "n"), jw_i64(&w, (int64_t)t->train.n);
    jw_key(&w, "n_test"), jw_i64(&w, (int64_t)t->test.n);
    medley_status st = write_methods(&w, t, err);
    if (!st)
        st = write_offsets(&w, t, err);
    if (!st)
        st = write_costs(&w, t, err);
    jw_object_end(&w);
    if (!st)
        st = decide_write_file(t->w, "calibration.json", &text, err);
    sb_deinit(&text);
    return st;
}

static medley_status ask_ensemble(struct tuning *t, uint32_t mask, unsigned rounds,
                                  medley_error *err)
{
    size_t k = t->train.n_classes;
    medley_gbdt *model = NULL;
    t->out_of_fold = mem_alloc(t->train.n, k * sizeof(float));
    t->on_test = mem_alloc(t->test.n, k * sizeof(float));
    t->index = mem_alloc(t->train.n, sizeof *t->index);
    medley_status st =
        t->out_of_fold && t->on_test && t->index
            ? missing_cross_validate(&t->train, mask, rounds, &mask, 1, &t->out_of_fold, err)
            : fail_memory(err, "calibration");
    if (!st)
        st = medley_gbdt_load(workspace_path(t->w, "ensemble/selected.txt").s, &model, err);
    if (!st)
        st = stack_predict(&t->test, mask, model, t->on_test, err);
    medley_gbdt_free(model);
    return st;
}

/* ensemble/calibrator.json: the best method, fitted on all training rows, as bundles take it.
 */
static medley_status write_calibrator(const struct tuning *t, medley_error *err)
{
    const struct stack *s = &t->train;
    struct calibrator c = {.method = CALIBRATION_NONE};
    struct strbuf text;
    struct json_writer w;
    medley_status st =
        calibrator_fit(t->best, t->out_of_fold, s->label, NULL, s->n, s->n_classes, &c, err);
    sb_init(&text);
    jw_init(&w, &text, false);
    if (!st) {
        calibrator_write(&w, &c, s->n_classes);
        st = decide_write_file(t->w, "calibrator.json", &text, err);
    }
    sb_deinit(&text);
    calibrator_free(&c);
    return st;
}

medley_status decide_calibrate(struct workspace *w, medley_error *err)
{
    struct tuning t = {.w = w, .costs = w->config.decide.costs};
    uint32_t mask = 0;
    unsigned rounds = 0;
    size_t k = w->data.n_classes, given = w->config.decide.n_costs;
    if (given && given != k * k)
        return fail(err, MEDLEY_EINVAL,
                    "decide.costs has %zu numbers, but there are %zu classes", given, k);
    t.costs = given ? t.costs : NULL;
    progress_note("calibrating the selected ensemble");
    medley_status st = selection_load(w, &mask, &rounds, err);
    if (!st)
        st = stack_open(w, SPLIT_TRAIN, &t.train, err);
    if (!st)
        st = stack_open(w, SPLIT_TEST, &t.test, err);
    if (!st)
        st = ask_ensemble(&t, mask, rounds, err);
    if (!st)
        st = write_tuning(&t, mask, err);
    if (!st)
        st = write_calibrator(&t, err);
    mem_free(t.out_of_fold);
    mem_free(t.on_test);
    mem_free(t.index);
    stack_close(&t.train);
    stack_close(&t.test);
    return st;
}
