/* bench_predict.c: rows per second of prediction, and microseconds of one row; CSV on stdout.
 *
 *   bench_predict MODEL FEATURES.npy [PASSES]     a model and rows of one's own
 *   bench_predict                                 trains a small model per shape first
 *
 * Each pass takes the kernels in turn, so that a busy neighbour slows all alike; quoted are the
 * median and the best over passes of CPU time (one thread) or wall time (all threads). */
#include "gbdt/predict.h"
#include "medley/gbdt.h"

#include "base/cpu.h"
#include "base/npy.h"
#include "base/pool.h"
#include "base/rng.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST_PASSES = 51, ROWS = 20480, SINGLES = 2000 };

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void report(const char *what, const char *kernel, size_t rows, double *seconds, int n,
                   const char *unit)
{
    qsort(seconds, (size_t)n, sizeof *seconds, by_value);
    printf("%s,%s,%zu,%.0f,%.0f,%.4g,%s\n", what, kernel, rows, (double)rows / seconds[n / 2],
           (double)rows / seconds[0], 1e6 * seconds[n / 2] / (double)rows, unit);
    fflush(stdout);
}

/* ---- what is measured ---- */

struct data {
    medley_gbdt *model;
    const float *x;
    size_t n, width;
};

/* Rows through one kernel, from floats to margins in the kernel's order. */
static double time_kernel(const struct forest *f, const struct forest_impl *impl,
                          struct forest_space *s, const struct data *d)
{
    size_t block = 64 * impl->words, n = impl->lanes ? d->n : d->n / 16;
    double start = cpu_seconds();
    for (size_t i = 0; i < n; i += block)
        impl->run(f, s, d->x + i * d->width, n - i < block ? n - i : block);
    return (cpu_seconds() - start) * (double)d->n / (double)n;
}

static void bench_kernels(const struct data *d, int passes)
{
    struct forest *f = NULL;
    struct forest_space *spaces[8] = {NULL};
    static double seconds[8][MOST_PASSES];
    double start = cpu_seconds();
    if (forest_new(d->model, &f, NULL) != MEDLEY_OK)
        return;
    fprintf(stderr, "%zu conditions, %zu parts, %zu selects; made ready in %.1f ms, %.1f MB\n",
            f->conditions->n_conditions, f->n_parts, f->n_selects,
            1e3 * (cpu_seconds() - start), 1e-6 * (double)forest_memory(f));
    for (int i = 0; forest_impls[i].name; i++)
        if (forest_impls[i].usable())
            forest_space_new(f, &forest_impls[i], &spaces[i], NULL);
    for (int p = 0; p < passes; p++)
        for (int i = 0; forest_impls[i].name; i++)
            if (spaces[i])
                seconds[i][p] = time_kernel(f, &forest_impls[i], spaces[i], d);
    for (int i = 0; forest_impls[i].name; i++)
        if (spaces[i])
            report("kernel", forest_impls[i].name, d->n, seconds[i], passes, "cpu");
    for (int i = 0; forest_impls[i].name; i++)
        forest_space_free(spaces[i]);
    forest_free(f);
}

/* Floats to conditions alone. */
static void bench_answers(const struct data *d, int passes)
{
    struct conditions *c = NULL;
    struct conditions_space s;
    double seconds[MOST_PASSES];
    if (conditions_new(d->model, &c, NULL) != MEDLEY_OK ||
        conditions_space_init(c, CONDITIONS_WORDS, &s, NULL) != MEDLEY_OK)
        return;
    for (int p = 0; p < passes; p++) {
        double start = cpu_seconds();
        for (size_t i = 0; i + 512 <= d->n; i += 512)
            conditions_answer(c, &s, d->x + i * d->width, 512);
        seconds[p] = cpu_seconds() - start;
    }
    report("conditions", "best", d->n, seconds, passes, "cpu");
    conditions_space_deinit(&s);
    conditions_free(c);
}

static void bench_door(const struct data *d, unsigned threads, int passes)
{
    size_t k = medley_gbdt_classes(d->model);
    float *out = malloc(d->n * k * sizeof *out);
    double seconds[MOST_PASSES];
    pool_set_threads(threads);
    for (int p = 0; out && p < passes; p++) {
        double start = threads == 1 ? cpu_seconds() : clock_seconds();
        medley_gbdt_predict(d->model, d->x, d->n, out, NULL);
        seconds[p] = (threads == 1 ? cpu_seconds() : clock_seconds()) - start;
    }
    report(threads == 1 ? "many_rows_1_thread" : "many_rows_2_threads", "best", d->n, seconds,
           passes, threads == 1 ? "cpu" : "wall");
    pool_set_threads(0);
    free(out);
}

/* One call per row, rows in a scattered order; the median over rows, then over passes. */
static void bench_single(const struct data *d, int passes, bool probabilities)
{
    float out[16];
    double all[MOST_PASSES];
    static double each[SINGLES];
    for (int p = 0; p < passes; p++) {
        for (size_t i = 0; i < SINGLES; i++) {
            const float *x = d->x + i * 7919 % d->n * d->width;
            double start = clock_seconds();
            if (probabilities)
                medley_gbdt_predict(d->model, x, 1, out, NULL);
            else
                medley_gbdt_margins(d->model, x, 1, out, NULL);
            each[i] = clock_seconds() - start;
        }
        qsort(each, SINGLES, sizeof *each, by_value);
        all[p] = each[SINGLES / 2];
    }
    report(probabilities ? "one_row_probabilities" : "one_row_margins", "best", 1, all, passes,
           "wall");
}

static void bench_all(const struct data *d, int passes)
{
    bench_kernels(d, passes);
    bench_answers(d, passes);
    bench_door(d, 1, passes);
    bench_door(d, 2, passes);
    bench_single(d, passes, false);
    bench_single(d, passes, true);
}

/* ---- a model of its own ---- */

/* 24 or 96 columns: 4 class probabilities of each base model, one row in 20 without one. */
static void make_rows(size_t n, size_t models, float *x, uint8_t *y)
{
    struct rng r;
    rng_init(&r, 11, models);
    for (size_t i = 0; i < n; i++) {
        double u = rng_uniform(&r);
        y[i] = u < 0.65 ? 0 : u < 0.87 ? 1 : u < 0.9 ? 2 : 3;
        size_t gone = rng_below(&r, 20) == 0 ? rng_below(&r, (uint32_t)models) : models;
        for (size_t m = 0; m < models; m++) {
            double e[4], sum = 0;
            for (int c = 0; c < 4; c++)
                sum += e[c] = exp((c == y[i]) * 1.2 + 1.1 * rng_normal(&r));
            for (int c = 0; c < 4; c++)
                x[(i * models + m) * 4 + (size_t)c] = m == gone ? NAN : (float)(e[c] / sum);
        }
    }
}

static void bench_shape(size_t models, unsigned rounds, unsigned leaves, enum medley_trees kind,
                        int passes)
{
    float *x = malloc(ROWS * models * 4 * sizeof *x);
    uint8_t *y = malloc(ROWS);
    medley_gbdt *m = NULL;
    if (x && y) {
        make_rows(ROWS, models, x, y);
        medley_table t = {
            .features = x, .labels = y, .n = ROWS, .n_features = models * 4, .n_classes = 4};
        medley_gbdt_options o = {.rounds = rounds, .num_leaves = leaves, .trees = kind};
        fprintf(stderr, "%zu features, %u rounds of %u leaves, %s\n", models * 4, rounds,
                leaves, kind ? "vector" : "per class");
        if (medley_gbdt_train(&t, NULL, &o, &m, NULL) == MEDLEY_OK)
            bench_all(&(struct data){m, x, ROWS, models * 4}, passes);
    }
    medley_gbdt_free(m);
    free(x);
    free(y);
}

static int bench_files(const char *model, const char *features, int passes)
{
    struct npy a = {0};
    struct data d = {0};
    float *x = NULL;
    medley_error err = {0};
    if (medley_gbdt_load(model, &d.model, &err) == MEDLEY_OK &&
        npy_open(features, &a, &err) == MEDLEY_OK)
        x = malloc(a.rows * a.cols * sizeof *x);
    if (x && a.cols == medley_gbdt_features(d.model)) {
        npy_to_float(&a, x);
        d = (struct data){d.model, x, a.rows, a.cols};
        bench_all(&d, passes);
    } else {
        fprintf(stderr, "%s\n", x ? "the model has other features" : err.message);
    }
    bool done = d.x != NULL;
    npy_close(&a);
    medley_gbdt_free(d.model);
    free(x);
    return !done;
}

int main(int argc, char **argv)
{
    int passes = argc > 3 ? atoi(argv[3]) : 9;
    passes = passes < 1 ? 1 : passes > MOST_PASSES ? MOST_PASSES : passes;
    fprintf(stderr, "%s\n", cpu_name());
    puts("what,kernel,rows,rows_per_s,best_rows_per_s,us_per_row,clock");
    if (argc < 3) {
        bench_shape(6, 200, 31, MEDLEY_TREES_PER_CLASS, passes);
        return 0;
    }
    return bench_files(argv[1], argv[2], passes);
}
