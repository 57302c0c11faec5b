/* test_cascade.c: models in stages, and ensembles whose models are down. */
#include "ensemble/cascade.h"
#include "ensemble/decide.h"
#include "ensemble/missing.h"
#include "tests/ensemble_shop.h"

static double worst_difference(const float *a, const float *b, size_t n)
{
    double worst = 0;
    for (size_t i = 0; i < n; i++)
        worst = fmax(worst, fabs((double)(a[i] - b[i])));
    return worst;
}

/* Stages good, half, noise. */
static struct cascade three_stages(void)
{
    struct cascade c = {.n_stages = 3, .order = {0, 2, 1}, .prefix = {1, 5, 7}, .rounds = 20};
    for (size_t j = 0; j < 3; j++)
        for (size_t k = 0; k < MAX_CLASSES; k++)
            c.threshold[j][k] = 2;
    return c;
}

static void test_expected(void)
{
    /* Two classes; labels 0 and 1 by p, chances by truth. F1 of 0: 2 * 0.6 / (1 + 0.9), of 1:
     * 2 * 0.7 / (1 + 1.1). */
    const float p[] = {0.9f, 0.1f, 0.2f, 0.8f}, truth[] = {0.6f, 0.4f, 0.3f, 0.7f};
    double wanted = 0.5 * (1.2 / 1.9 + 1.4 / 2.1);
    ok(fabs(cascade_expected_f1(p, truth, 2, 2) - wanted) < 1e-7, "expected macro-F1");
    const float sure[] = {1, 0, 0, 1};
    ok(fabs(cascade_expected_f1(p, sure, 2, 2) - 1) < 1e-12, "chances that are labels");
}

/* Two stages whose answers are written here: the path must stop those that agree, and leave the
 * others. */
static void test_search(void)
{
    enum { N = 400 };
    static float first[2 * N], second[2 * N];
    const float *stages[] = {first, second};
    const double cost[] = {1, 9};
    struct cascade c = {.n_stages = 2};
    cascade_thresholds *path = NULL;
    size_t n = 0, reached = 0;
    medley_error err;
    for (size_t i = 0; i < N; i++) { /* sure and the same, or unsure and wrong */
        float p = i % 2 ? 0.55f : 0.95f, q = 0.99f;
        bool zero = i % 4 < 2;
        first[2 * i] = zero ? p : 1 - p, first[2 * i + 1] = 1 - first[2 * i];
        second[2 * i] = zero == (i % 2 == 0) ? q : 1 - q;
        second[2 * i + 1] = 1 - second[2 * i];
    }
    if (!ok(cascade_search(&c, stages, second, N, 2, 0.98, cost, &path, &n, &err) == MEDLEY_OK,
            "searches"))
        return;
    for (size_t k = 0; k < 2; k++)
        reached += path[n - 1][0][k] > 0.1 && path[n - 1][0][k] <= 0.9 + 1e-6;
    ok(path[0][0][0] == 2 && path[0][0][1] == 2, "begins with thresholds that nobody reaches");
    ok(n > 1 && reached == 2, "ends between the sure and the unsure (%g, %g)",
       path[n - 1][0][0], path[n - 1][0][1]);
    mem_free(path);
}

static void test_play(const struct workspace *w)
{
    medley_error err = {0};
    struct stack s;
    struct cascade c = three_stages();
    struct cascade_models models;
    struct cascade_run run;
    float *answers[3];
    size_t k = 3;
    if (!ok(stack_open(w, SPLIT_TRAIN, &s, &err) == MEDLEY_OK, "opens"))
        return;
    ok(cascade_fit(&s, &c, true, &models, &err) == MEDLEY_OK, "fits");
    for (size_t j = 0; j < 3; j++) {
        answers[j] = mem_alloc(s.n, k * sizeof(float));
        ok(cascade_stage(&s, &c, &models, j, answers[j], &err) == MEDLEY_OK, "stage %zu", j);
    }
    ok(cascade_guess(&s, &c, (const float *const *)answers, &err) == MEDLEY_OK, "guesses");
    ok(cascade_play(&s, &c, &models, &run, &err) == MEDLEY_OK &&
           worst_difference(run.probabilities, answers[2], s.n * k) == 0,
       "when nobody stops, the last stage answers");
    cascade_run_free(&run);
    for (size_t i = 0; i < k; i++)
        c.threshold[0][i] = 0;
    ok(cascade_play(&s, &c, &models, &run, &err) == MEDLEY_OK &&
           worst_difference(run.probabilities, answers[0], s.n * k) == 0,
       "when all stop, the first");
    cascade_run_free(&run);
    /* In between: rows that stopped have the first stage's answer; of the others, the models of
     * later stages see only them. */
    double mean = 0;
    for (size_t i = 0; i < s.n * k; i += k)
        mean += fabs((double)(answers[0][i] - answers[0][i + 1])) / (double)s.n;
    for (size_t i = 0; i < k; i++)
        c.threshold[0][i] = mean;
    size_t stopped = 0, wrong = 0;
    if (ok(cascade_play(&s, &c, &models, &run, &err) == MEDLEY_OK, "plays")) {
        for (size_t i = 0; i < s.n; i++) {
            bool stops = cascade_stops(&c, 0, answers[0] + i * k, k);
            stopped += stops;
            wrong += (run.stage[i] == 0) != stops;
            wrong += stops &&
                     worst_difference(run.probabilities + i * k, answers[0] + i * k, k) != 0;
        }
        ok(stopped > 0 && stopped < s.n && wrong == 0, "%zu of %zu stop", stopped, s.n);
        cascade_run_free(&run);
    }
    for (size_t j = 0; j < 3; j++)
        mem_free(answers[j]);
    mem_free(c.guess);
    cascade_models_free(&models, 3);
    stack_close(&s);
}

/* An ensemble asked without a model answers as when that model's file is full of NaN. */
static void test_missing(const struct workspace *w)
{
    medley_error err = {0};
    struct stack s;
    uint32_t available[] = {7, 6, 0};
    float *out[3], *whole = NULL;
    if (!ok(stack_open(w, SPLIT_TRAIN, &s, &err) == MEDLEY_OK, "opens"))
        return;
    size_t cells = s.n * 3;
    for (size_t i = 0; i < 3; i++)
        out[i] = mem_alloc(cells, sizeof(float));
    whole = mem_alloc(cells, sizeof *whole);
    ok(missing_cross_validate(&s, 7, 20, available, 3, out, &err) == MEDLEY_OK, "asks");
    medley_gbdt *model = NULL;
    ok(stack_fit(&s, 7, 20, &model, &err) == MEDLEY_OK &&
           stack_predict(&s, 7, model, whole, &err) == MEDLEY_OK,
       "fits");
    float *missing = mem_alloc(cells, sizeof *missing);
    ok(missing_predict(&s, 7, 7, model, missing, &err) == MEDLEY_OK &&
           worst_difference(missing, whole, cells) == 0,
       "with all models, the ensemble itself");
    ok(missing_predict(&s, 7, 6, model, missing, &err) == MEDLEY_OK, "without the first");
    for (size_t i = 0; i < cells; i++)
        s.probabilities[0][i] = NAN;
    ok(stack_predict(&s, 7, model, whole, &err) == MEDLEY_OK &&
           worst_difference(missing, whole, cells) == 0,
       "as if it had said nothing");
    struct metrics all, less, none;
    metrics_compute(out[0], s.label, NULL, s.n, 3, &all);
    metrics_compute(out[1], s.label, NULL, s.n, 3, &less);
    metrics_compute(out[2], s.label, NULL, s.n, 3, &none);
    ok(all.accuracy > less.accuracy && less.accuracy > none.accuracy && none.accuracy < 0.5,
       "the fewer answer, the worse: %.2f %.2f %.2f", all.accuracy, less.accuracy,
       none.accuracy);
    for (size_t i = 0; i < 3; i++)
        mem_free(out[i]);
    mem_free(whole), mem_free(missing);
    medley_gbdt_free(model);
    stack_close(&s);
}

static double number(const json *v, const char *key)
{
    double d = NAN;
    json_as_double(json_get(v, key), &d);
    return d;
}

static void test_written(struct workspace *w, const char *folder)
{
    medley_error err = {0};
    json *c = NULL;
    struct cascade_options options = {.loss = 0.02, .save = SAVE_MODELS};
    ok(decide_cascade(w, &options, 7, &err) == MEDLEY_OK, "decides: %s", err.message);
    if (!ok(json_load(at(folder, "ensemble/cascade.json"), &c, &err) == MEDLEY_OK, "reads"))
        return;
    const json *run = json_get(c, "out_of_fold");
    double share = 0, v;
    for (const json *s = json_first(json_get(run, "stopped")); s; s = json_next(s))
        share += json_as_double(s, &v) ? v : NAN;
    ok(fabs(share - 1) < 1e-9, "every pair stops somewhere");
    ok(number(json_get(json_get(run, "against_full"), "macro_f1"), "value") >= -0.02 - 1e-9,
       "the loss is within what was allowed");
    ok(number(run, "evaluations") < 2, "noise and half are hardly asked (%.2f models a pair)",
       number(run, "evaluations"));
    ok(isfinite(number(json_get(c, "test"), "macro_f1")), "measured on the test split");
    json_free(c);
}

int main(void)
{
    char folder[64];
    medley_error err = {0};
    struct workspace w;
    snprintf(folder, sizeof folder, "%s", tap_folder());
    test_expected();
    test_search();
    ok(shop_run(folder, "", &err) == MEDLEY_OK, "all stages run: %s", err.message);
    if (ok(workspace_open(folder, &w, &err) == MEDLEY_OK &&
               workspace_open_data(&w, &err) == MEDLEY_OK,
           "opens")) {
        test_play(&w);
        test_missing(&w);
        test_written(&w, folder);
        workspace_close(&w);
    }
    return tap_done();
}
