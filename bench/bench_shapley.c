/* bench_shapley.c: rows per second of exact Shapley values, and microseconds of one row; CSV on
 * stdout.
 *
 *   bench_shapley MODEL FEATURES.npy [PLAYER [PASSES]]   players are runs of PLAYER features
 * [4] bench_shapley                                        trains a small model first
 *
 * Each pass takes all that is measured in turn, so that a busy neighbour slows all alike;
 * quoted are the median and the best over passes of CPU time, one thread. */
#include "medley/shapley.h"
#include "shapley/explainer.h"

#include "base/cpu.h"
#include "base/memory.h"
#include "base/npy.h"
#include "base/pool.h"
#include "base/rng.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST_PASSES = 51, ROWS = 4096, SINGLES = 200, PAIRS = 64, BACKGROUND = 100, SETS = 3 };

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

static void report(const char *set, const char *what, size_t rows, double *seconds, int n)
{
    qsort(seconds, (size_t)n, sizeof *seconds, by_value);
    printf("%s,%s,%zu,%.0f,%.0f,%.4g\n", set, what, rows, (double)rows / seconds[n / 2],
           (double)rows / seconds[0], 1e6 * seconds[n / 2] / (double)rows);
    fflush(stdout);
}

struct data {
    medley_gbdt *model;
    const float *x;
    size_t n, width;
};

/* One way of dividing features into players. */
struct set {
    const char *name;
    medley_explainer *e;
    float *values, *pairs;
    double many[MOST_PASSES], one[MOST_PASSES], two[MOST_PASSES];
};

static double time_many(const struct set *s, const struct data *d)
{
    double start = cpu_seconds();
    medley_explainer_values(s->e, d->x, d->n, s->values, NULL);
    return cpu_seconds() - start;
}

static double time_single(const struct set *s, const struct data *d)
{
    double start = cpu_seconds();
    for (size_t i = 0; i < SINGLES; i++)
        medley_explainer_values(s->e, d->x + i * 7919 % d->n * d->width, 1, s->values, NULL);
    return cpu_seconds() - start;
}

static double time_pairs(const struct set *s, const struct data *d)
{
    double start = cpu_seconds();
    medley_explainer_interactions(s->e, d->x, PAIRS, s->pairs, NULL);
    return cpu_seconds() - start;
}

/* Base and values add up to the margin: the largest difference. */
static double additivity(const struct set *s, const struct data *d)
{
    size_t k = medley_gbdt_classes(d->model), players = medley_explainer_players(s->e);
    float *margins = malloc(d->n * k * sizeof *margins);
    double base[GBDT_MAX_CLASSES], worst = 0;
    medley_explainer_base(s->e, base);
    medley_explainer_values(s->e, d->x, d->n, s->values, NULL);
    medley_gbdt_margins(d->model, d->x, d->n, margins, NULL);
    for (size_t i = 0; i < d->n * k; i++) {
        double sum = base[i % k];
        for (size_t p = 0; p < players; p++)
            sum += s->values[(i / k * players + p) * k + i % k];
        worst = fmax(worst, fabs(sum - margins[i]));
    }
    free(margins);
    return worst;
}

static bool make(struct set *s, const struct data *d, size_t player, size_t background)
{
    size_t players = (d->width + player - 1) / player, k = medley_gbdt_classes(d->model);
    uint32_t *of = malloc(d->width * sizeof *of);
    for (size_t f = 0; f < d->width; f++)
        of[f] = (uint32_t)(f / player);
    double start = cpu_seconds();
    medley_error err = {0};
    medley_explainer_options o = {.player_of_feature = of,
                                  .n_players = players,
                                  .background = background ? d->x : NULL,
                                  .n_background = background};
    medley_status st = medley_explainer_make(d->model, &o, &s->e, &err);
    double made = cpu_seconds() - start;
    free(of);
    if (st != MEDLEY_OK) {
        fprintf(stderr, "%s\n", err.message);
        return false;
    }
    s->values = malloc(d->n * players * k * sizeof *s->values);
    s->pairs = malloc(PAIRS * players * players * k * sizeof *s->pairs);
    fprintf(stderr,
            "%s: made in %.0f ms, %.1f MB, %zu games for %zu leaves, %zu trees walked; ",
            s->name, 1e3 * made, 1e-6 * (double)medley_explainer_memory(s->e), s->e->n_games,
            s->e->n_nodes + d->model->n_trees, s->e->n_walked);
    fprintf(stderr, "adds up within %.1e\n", additivity(s, d));
    return true;
}

static void bench(const struct data *d, size_t player, int passes)
{
    static struct set sets[SETS] = {
        {.name = "feature"}, {.name = "player"}, {.name = "player_against_100_rows"}};
    pool_set_threads(1);
    if (!make(&sets[0], d, 1, 0) || !make(&sets[1], d, player, 0) ||
        !make(&sets[2], d, player, d->n < BACKGROUND ? d->n : BACKGROUND))
        return;
    for (int p = 0; p < passes; p++)
        for (int i = 0; i < SETS; i++) {
            sets[i].many[p] = time_many(&sets[i], d);
            sets[i].one[p] = time_single(&sets[i], d);
            if (i == 2)
                continue; /* interactions are path-dependent */
            sets[i].two[p] = p < 3 ? time_pairs(&sets[i], d) : sets[i].two[p - 1];
        }
    for (int i = 0; i < SETS; i++) {
        report(sets[i].name, "many_rows", d->n, sets[i].many, passes);
        report(sets[i].name, "one_row", SINGLES, sets[i].one, passes);
        if (i != 2)
            report(sets[i].name, "interactions", PAIRS, sets[i].two, passes);
        medley_explainer_free(sets[i].e);
        free(sets[i].values);
        free(sets[i].pairs);
    }
}

/* 24 columns: 4 class probabilities of 6 base models, one row in 20 without one. */
static int bench_trained(int passes)
{
    size_t n = ROWS, models = 6;
    float *x = malloc(n * models * 4 * sizeof *x);
    uint8_t *y = malloc(n);
    medley_gbdt *m = NULL;
    struct rng r;
    rng_init(&r, 11, models);
    for (size_t i = 0; i < n; i++) {
        double u = rng_uniform(&r);
        y[i] = u < 0.65 ? 0 : u < 0.87 ? 1 : u < 0.9 ? 2 : 3;
        size_t gone = rng_below(&r, 20) == 0 ? rng_below(&r, (uint32_t)models) : models;
        for (size_t c = 0; c < models * 4; c++)
            x[i * models * 4 + c] =
                c / 4 == gone ? NAN : (float)((c % 4 == y[i]) * 1.2 + 1.1 * rng_normal(&r));
    }
    medley_table t = {
        .features = x, .labels = y, .n = n, .n_features = models * 4, .n_classes = 4};
    medley_gbdt_options o = {.rounds = 200, .num_leaves = 31};
    if (medley_gbdt_train(&t, NULL, &o, &m, NULL) == MEDLEY_OK)
        bench(&(struct data){m, x, n, models * 4}, 4, passes);
    medley_gbdt_free(m);
    free(x);
    free(y);
    return m == NULL;
}

int main(int argc, char **argv)
{
    int passes = argc > 4 ? atoi(argv[4]) : 5;
    int player = argc > 3 ? atoi(argv[3]) : 4;
    passes = passes < 1 ? 1 : passes > MOST_PASSES ? MOST_PASSES : passes;
    fprintf(stderr, "%s\n", cpu_name());
    puts("players,what,rows,rows_per_s,best_rows_per_s,us_per_row");
    if (argc < 3)
        return bench_trained(passes);
    struct npy a = {0};
    struct data d = {0};
    float *x = NULL;
    medley_error err = {.message = "the model has other features"};
    if (medley_gbdt_load(argv[1], &d.model, &err) == MEDLEY_OK &&
        npy_open(argv[2], &a, &err) == MEDLEY_OK && a.cols == medley_gbdt_features(d.model))
        x = malloc(a.rows * a.cols * sizeof *x);
    if (x) {
        npy_to_float(&a, x);
        d = (struct data){d.model, x, a.rows < ROWS ? a.rows : ROWS, a.cols};
        bench(&d, player > 0 ? (size_t)player : 1, passes);
    } else {
        fprintf(stderr, "%s\n", err.message);
    }
    npy_close(&a);
    medley_gbdt_free(d.model);
    free(x);
    return !x;
}
