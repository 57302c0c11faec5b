/* cascade.c: orders the selected models, chooses thresholds out of fold, measures on the test
 * split, and writes ensemble/cascade.json; see cascade.h and decide.h. */
#include "ensemble/cascade.h"

#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/progress.h"
#include "ensemble/calibrate.h"
#include "ensemble/cascade_file.h"
#include "ensemble/cost.h"
#include "ensemble/decide.h"
#include "ensemble/refits.h"

#include <limits.h>
#include <math.h>
#include <string.h>

/* What a pass came to. */
struct outcome_of_run {
    struct metrics metrics;
    double evaluations, cost_ms; /* a pair */
    double share[MEDLEY_MAX_MODELS];
    struct paired_difference lost[METRIC_ROOM]; /* cascade less full */
    double expected_f1; /* macro-F1, if the full answers were the chances of every label */
};

enum { MOST_POINTS = 60 };

/* Thresholds, and what they came to out of fold and, only to be told, on the test split. */
struct point {
    cascade_thresholds threshold;
    struct outcome_of_run train, test;
};

struct making {
    struct workspace *w;
    const struct cascade_options *options;
    enum cascade_save order_by; /* the order is by value for this */
    struct stack train, test;
    struct cascade c;
    struct cascade_models by_fold, final;
    float *stage[MEDLEY_MAX_MODELS]; /* [n*K] out of fold, every row, calibrated */
    float *full, *full_test;         /* [n*K] all stages on all rows, out of fold and test */
    double expected_f1,
        so_far[MEDLEY_MAX_MODELS][2]; /* macro-F1 and accuracy of whole stages */
    struct point *points;             /* [n_points] of the paths that were played */
    size_t n_points, chosen;
};

/* ---- order ---- */

/* log-loss of each coalition in list, out of fold. */
static medley_status losses_of(struct making *x, const uint64_t *list, size_t n, double *out,
                               medley_error *err)
{
    struct players players = {0};
    struct slices slices = {0};
    struct refits r = {0};
    struct refit_options o = {.rounds = x->c.rounds, .seed = x->w->config.stacking.seed};
    bool all = x->train.n_models <= 12; /* then all were played for ranking or selection */
    if (!all) {
        o.resamples = UINT_MAX;
        o.list = list;
        o.n_list = n;
    }
    medley_status st = players_open(&x->train, PLAYERS_MODEL, &players, err);
    if (!st)
        st = slices_open(&x->train, &slices, err);
    if (!st)
        st = refits_play(&x->train, &players, &slices, &o, &r, err);
    for (size_t i = 0; i < n && !st; i++)
        out[i] = r.worth[refits_find(&r, list[i]) * r.n_slices * r.n_values + VALUE_LOG_LOSS];
    refits_close(&r);
    players_close(&players);
    slices_close(&slices);
    return st;
}

/* Next comes the model that takes off most log-loss for its cost, given those before it. */
static medley_status put_in_order(struct making *x, uint32_t mask, medley_error *err)
{
    struct cascade *c = &x->c;
    uint32_t prefix = 0;
    uint64_t list[MEDLEY_MAX_MODELS + 1] = {0};
    double loss[MEDLEY_MAX_MODELS + 1];
    medley_status st = MEDLEY_OK;
    c->n_stages = (size_t)__builtin_popcount(mask);
    for (size_t j = 0; j < c->n_stages && !st; j++) {
        size_t model[MEDLEY_MAX_MODELS], n = 0, best = 0;
        double most = -INFINITY;
        list[0] = prefix;
        for (size_t m = 0; m < x->train.n_models; m++)
            if ((mask & ~prefix) >> m & 1) {
                model[n] = m;
                list[++n] = prefix | UINT64_C(1) << m;
            }
        st = losses_of(x, list, n + 1, loss, err);
        for (size_t i = 0; i < n && !st; i++) {
            double worth =
                (loss[0] - loss[i + 1]) / (x->order_by == SAVE_TIME ? c->cost_ms[model[i]] : 1);
            if (worth > most)
                most = worth, best = i;
        }
        if (st)
            break;
        prefix |= UINT32_C(1) << model[best];
        c->order[j] = model[best];
        c->prefix[j] = prefix;
        c->value[j] = loss[0] - loss[best + 1];
    }
    return st;
}

/* ---- passes ---- */

static medley_status sum_up(struct making *x, const struct stack *s, const float *full,
                            const struct cascade_run *r, struct outcome_of_run *out,
                            medley_error *err)
{
    struct outcome_of_run o = {.evaluations = 0};
    double ms = 0;
    o.expected_f1 = cascade_expected_f1(r->probabilities, full, s->n, s->n_classes);
    metrics_compute(r->probabilities, s->label, NULL, s->n, s->n_classes, &o.metrics);
    for (size_t i = 0; i < s->n; i++)
        o.share[r->stage[i]] += 1 / (double)s->n;
    for (size_t j = 0; j < x->c.n_stages; j++) {
        ms += x->c.cost_ms[x->c.order[j]];
        o.evaluations += (double)(j + 1) * o.share[j];
        o.cost_ms += ms * o.share[j];
    }
    medley_status st = metrics_paired(r->probabilities, full, s->label, s->query, NULL, s->n,
                                      s->n_classes, 0, x->w->config.stacking.seed, o.lost, err);
    if (!st)
        *out = o;
    return st;
}

/* One pass over the training rows, out of fold, and one over the test rows. */
static medley_status play_both(struct making *x, struct point *p, medley_error *err)
{
    struct cascade_run train = {0}, test = {0};
    medley_status st = cascade_play(&x->train, &x->c, &x->by_fold, &train, err);
    if (!st)
        st = sum_up(x, &x->train, x->full, &train, &p->train, err);
    if (!st)
        st = cascade_play(&x->test, &x->c, &x->final, &test, err);
    if (!st)
        st = sum_up(x, &x->test, x->full_test, &test, &p->test, err);
    cascade_run_free(&train);
    cascade_run_free(&test);
    return st;
}

/* Ensembles of all stages, calibrated, and what they say of every row. */
static medley_status fit_stages(struct making *x, medley_error *err)
{
    const struct stack *s = &x->train;
    struct cascade *c = &x->c;
    cascade_models_free(&x->by_fold, c->n_stages);
    medley_status st = cascade_fit(s, c, true, &x->by_fold, err);
    for (size_t j = 0; j < c->n_stages && !st; j++) {
        c->temperature[j] = 0;
        st = cascade_stage(s, c, &x->by_fold, j, x->stage[j], err);
        if (st)
            break;
        c->temperature[j] = temperature_fit(x->stage[j], s->label, NULL, s->n, s->n_classes);
        temperature_apply(c->temperature[j], x->stage[j], s->n, s->n_classes);
    }
    if (!st)
        st = cascade_guess(s, c, (const float *const *)x->stage, err);
    return st;
}

static double saved_cost(const struct making *x, const struct outcome_of_run *o)
{
    return x->options->save == SAVE_TIME ? o->cost_ms : o->evaluations;
}

/* Thresholds along one path, counting what `by` counts as saved. */
static medley_status try_path(struct making *x, enum cascade_save by, medley_error *err)
{
    enum { LOSS_PAST = 10 }; /* the path is followed to so many times the loss, for the curve */
    cascade_thresholds *path = NULL;
    double cost[MEDLEY_MAX_MODELS];
    size_t n = 0;
    double floor = x->expected_f1 - fmax(LOSS_PAST * x->options->loss, 0.02);
    for (size_t j = 0; j < x->c.n_stages; j++)
        cost[j] = by == SAVE_MODELS ? 1 : x->c.cost_ms[x->c.order[j]];
    medley_status st =
        cascade_search(&x->c, (const float *const *)x->stage, x->full, x->train.n,
                       x->train.n_classes, floor, cost, &path, &n, err);
    for (size_t i = 0; i < n && !st; i++) {
        /* Every step, as long as there are not too many to wait for; the first and last always.
         */
        if (n > MOST_POINTS && i % (n / MOST_POINTS + 1) && i + 1 < n)
            continue;
        struct point *p = &x->points[x->n_points++];
        memcpy(x->c.threshold, path[i], sizeof *path);
        memcpy(p->threshold, path[i], sizeof *path);
        progress_step("cascade", i + 1, n, "passes");
        st = play_both(x, p, err);
        double lost = fmax(-p->train.lost[METRIC_MACRO_F1].difference,
                           x->expected_f1 - p->train.expected_f1);
        if (!st && lost <= x->options->loss + 1e-9 &&
            saved_cost(x, &p->train) < saved_cost(x, &x->points[x->chosen].train))
            x->chosen = x->n_points - 1;
    }
    progress_end("cascade");
    mem_free(path);
    return st;
}

/* Plays paths of thresholds out of fold, and takes the point that saves most within the loss.
 * The search looks at the stages one by one and takes one step at a time; only a pass says what
 * a point really loses. A path that counts the other cost now and then comes further. */
static medley_status choose(struct making *x, medley_error *err)
{
    medley_status st = try_path(x, SAVE_TIME, err);
    if (!st)
        st = try_path(x, SAVE_MODELS, err);
    if (!st)
        memcpy(x->c.threshold, x->points[x->chosen].threshold, sizeof x->c.threshold);
    return st;
}

/* What all stages together say of every row: what the cascade is measured against. */
static medley_status full_answers(struct making *x, medley_error *err)
{
    struct cascade *c = &x->c;
    const struct stack *s = &x->train;
    size_t k = s->n_classes, last = c->n_stages - 1;
    bool good = (x->full = mem_alloc(s->n, k * sizeof *x->full)) != NULL;
    good &= (x->full_test = mem_alloc(x->test.n, k * sizeof *x->full_test)) != NULL;
    good &= (x->points = mem_zalloc(2 * MOST_POINTS + 4, sizeof *x->points)) != NULL;
    for (size_t j = 0; j < c->n_stages; j++)
        good &= (x->stage[j] = mem_alloc(s->n, k * sizeof **x->stage)) != NULL;
    medley_status st = good ? fit_stages(x, err) : fail_memory(err, "stages");
    if (!st)
        st = cascade_fit(s, c, false, &x->final, err);
    if (!st)
        st = cascade_stage(&x->test, c, &x->final, last, x->full_test, err);
    if (!st) {
        struct metrics m;
        memcpy(x->full, x->stage[last], s->n * k * sizeof *x->full);
        x->expected_f1 = cascade_expected_f1(x->full, x->full, s->n, k);
        for (size_t j = 0; j < c->n_stages; j++) {
            metrics_compute(x->stage[j], s->label, NULL, s->n, k, &m);
            x->so_far[j][0] = m.macro_f1;
            x->so_far[j][1] = m.accuracy;
        }
    }
    return st;
}

static medley_status open_rows(struct making *x, uint32_t mask, unsigned rounds,
                               medley_error *err)
{
    struct model_cost *costs = mem_zalloc(MEDLEY_MAX_MODELS, sizeof *costs);
    medley_status st = costs ? costs_load(x->w, costs, err) : fail_memory(err, "costs");
    for (size_t m = 0; m < x->w->config.n_models && !st; m++)
        x->c.cost_ms[m] = fmax(costs[m].cpu_ms_per_pair, 1e-6);
    mem_free(costs);
    x->c.rounds = rounds;
    if (!st)
        st = stack_open(x->w, SPLIT_TRAIN, &x->train, err);
    if (!st)
        st = stack_open(x->w, SPLIT_TEST, &x->test, err);
    return st ? st : put_in_order(x, mask, err);
}

/* ---- writing ---- */

static void write_run(struct json_writer *w, const struct making *x, const char *key,
                      const struct outcome_of_run *o)
{
    double full_ms = 0;
    for (size_t j = 0; j < x->c.n_stages; j++)
        full_ms += x->c.cost_ms[x->c.order[j]];
    jw_key(w, key), jw_object(w);
    decide_write_metrics(w, &o->metrics);
    jw_key(w, "against_full"), jw_object(w);
    for (int i = 0; i < METRIC_COUNT; i++) {
        jw_key(w, metric_names[i]), jw_object(w);
        jw_key(w, "value"), jw_double(w, o->lost[i].difference);
        jw_key(w, "low"), jw_double(w, o->lost[i].low);
        jw_key(w, "high"), jw_double(w, o->lost[i].high);
        jw_key(w, "p_value"), jw_double(w, o->lost[i].p_value);
        jw_object_end(w);
    }
    jw_object_end(w);
    jw_key(w, "expected_macro_f1"), jw_double(w, o->expected_f1);
    jw_key(w, "evaluations"), jw_double(w, o->evaluations);
    jw_key(w, "evaluations_full"), jw_double(w, (double)x->c.n_stages);
    jw_key(w, "cost_ms"), jw_double(w, o->cost_ms);
    jw_key(w, "cost_ms_full"), jw_double(w, full_ms);
    jw_key(w, "stopped"), jw_array(w);
    for (size_t j = 0; j < x->c.n_stages; j++)
        jw_double(w, o->share[j]);
    jw_array_end(w);
    jw_object_end(w);
}

static void write_stages(struct json_writer *w, const struct making *x)
{
    const struct cascade *c = &x->c;
    jw_key(w, "stages"), jw_array(w);
    for (size_t j = 0; j < c->n_stages; j++) {
        jw_object(w);
        jw_key(w, "model"), jw_textz(w, x->w->config.models[c->order[j]].name);
        jw_key(w, "cost_ms"), jw_double(w, c->cost_ms[c->order[j]]);
        jw_key(w, "log_loss_gain"), jw_double(w, c->value[j]);
        jw_key(w, "temperature"), jw_double(w, c->temperature[j]);
        jw_key(w, "macro_f1"), jw_double(w, x->so_far[j][0]);
        jw_key(w, "accuracy"), jw_double(w, x->so_far[j][1]);
        jw_key(w, "thresholds"), jw_object(w);
        for (size_t i = 0; i < x->train.n_classes; i++) {
            jw_key(w, x->w->data.class_names[i]);
            if (j + 1 == c->n_stages)
                jw_double(w, 0);
            else if (c->threshold[j][i] > 1)
                jw_null(w);
            else
                jw_double(w, c->threshold[j][i]);
        }
        jw_object_end(w);
        jw_object_end(w);
    }
    jw_array_end(w);
}

static void write_curve(struct json_writer *w, const struct making *x)
{
    jw_key(w, "curve"), jw_array(w);
    for (size_t i = 0; i < x->n_points; i++) {
        jw_object(w);
        jw_key(w, "chosen"), jw_bool(w, i == x->chosen);
        write_run(w, x, "out_of_fold", &x->points[i].train);
        write_run(w, x, "test", &x->points[i].test);
        jw_object_end(w);
    }
    jw_array_end(w);
}

static medley_status write_cascade(const struct making *x, medley_error *err)
{
    struct strbuf text;
    struct json_writer w;
    sb_init(&text);
    jw_init(&w, &text, true);
    jw_object(&w);
    decide_write_labels(&w, x->w);
    decide_write_names(&w, x->w, "models", x->c.prefix[x->c.n_stages - 1]);
    jw_key(&w, "loss"), jw_double(&w, x->options->loss);
    jw_key(&w, "save"), jw_textz(&w, x->options->save == SAVE_TIME ? "time" : "models");
    write_stages(&w, x);
    write_run(&w, x, "out_of_fold", &x->points[x->chosen].train);
    write_run(&w, x, "test", &x->points[x->chosen].test);
    write_curve(&w, x);
    jw_object_end(&w);
    medley_status st = decide_write_file(x->w, "cascade.json", &text, err);
    sb_deinit(&text);
    return st;
}

static void making_free(struct making *x)
{
    if (!x)
        return;
    for (size_t j = 0; j < MEDLEY_MAX_MODELS; j++)
        mem_free(x->stage[j]);
    mem_free(x->full);
    mem_free(x->full_test);
    mem_free(x->points);
    mem_free(x->c.guess);
    cascade_models_free(&x->by_fold, x->c.n_stages);
    cascade_models_free(&x->final, x->c.n_stages);
    stack_close(&x->train);
    stack_close(&x->test);
    mem_free(x);
}

/* The best cascade whose order goes by value for `order_by`; NULL when that is the order of
 * `other`. */
static medley_status make(struct workspace *w, const struct cascade_options *options,
                          uint32_t mask, unsigned rounds, enum cascade_save order_by,
                          const struct making *other, struct making **out, medley_error *err)
{
    struct making *x = mem_zalloc(1, sizeof *x);
    if (!x)
        return fail_memory(err, "a cascade");
    x->w = w;
    x->options = options;
    x->order_by = order_by;
    medley_status st = open_rows(x, mask, rounds, err);
    bool same = !st && other && memcmp(x->c.order, other->c.order, sizeof x->c.order) == 0;
    if (!st && !same)
        st = full_answers(x, err);
    if (!st && !same)
        st = choose(x, err);
    if (st || same)
        making_free(x);
    else
        *out = x;
    return st;
}

medley_status decide_cascade(struct workspace *w, const struct cascade_options *options,
                             uint32_t mask, medley_error *err)
{
    static const enum cascade_save other[] = {
        [SAVE_TIME] = SAVE_MODELS, [SAVE_MODELS] = SAVE_TIME};
    struct making *x = NULL, *y = NULL;
    unsigned rounds = 0;
    medley_status st = MEDLEY_OK;
    if (mask == 0)
        st = selection_load(w, &mask, &rounds, err);
    if (!st)
        st = decide_rounds(w, &rounds, err); /* as in the refits that the order comes from */
    if (!st)
        st = make(w, options, mask, rounds, options->save, NULL, &x, err);
    if (!st)
        st = make(w, options, mask, rounds, other[options->save], x, &y, err);
    const struct making *best = x;
    if (!st && y &&
        saved_cost(y, &y->points[y->chosen].train) < saved_cost(x, &x->points[x->chosen].train))
        best = y;
    if (!st)
        st = cascade_save(w, &best->c, &best->final, err);
    if (!st)
        st = write_cascade(best, err);
    making_free(x);
    making_free(y);
    return st;
}
