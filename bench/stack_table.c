/* stack_table.c: writes a synthetic stacking table, the workload of the tree engine's
 * benchmarks: n rows x (M base models x K = 4 class probabilities), float32, and the labels.
 * Not itself a benchmark, so not called bench_*.
 *
 * A row has a class (priors .65 .22 .03 .10), a clarity and a region (say, a kind of query).
 * What a model sees is its class's prototype times clarity and the model's skill in that
 * region, plus noise that all models share, noise of the model's family (even and odd models)
 * and noise of its own; its probabilities are the softmax of that, sharpened or flattened and
 * tilted by a calibration of its own. 5% of the rows miss one model, all of its probabilities
 * (NaN).
 *
 * Row i depends on (seed, models, i) alone, not on how many rows there are or who computes it:
 * `--first` cuts training and test tables out of one endless table. The strength of the signal
 * was chosen so that LightGBM, 200 rounds of 31 leaves at rate 0.05, ends near log-loss 0.511
 * at 100k x 24. */
#include "base/cpu.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/npy.h"
#include "base/pool.h"
#include "base/rng.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { K = 4, MAX_MODELS = 64, REGIONS = 4, FAMILIES = 2 };

#define STRENGTH 2.15     /* of the signal of a model of skill 1 */
#define MISSING_SHARE 0.05 /* rows that miss a model */

static const double priors[K] = {0.65, 0.22, 0.03, 0.10};

/* How much a pair of class y looks like class k: substitutes lie between exact matches and the
 * rest, complements look like substitutes. */
static const double prototype[K][K] = {
    {1.00, 0.35, 0.00, -0.10},
    {0.40, 1.00, 0.15, 0.10},
    {0.00, 0.45, 1.00, 0.30},
    {-0.10, 0.15, 0.25, 1.00},
};

/* Standard deviations of the noise: shared by all, by a family, a model's own. */
static const double shared_noise = 0.95, family_noise = 0.55, own_noise = 0.9;

struct base_model {
    double skill[REGIONS]; /* 0.45 .. 1.4 */
    double noise;          /* factor on its own noise */
    double sharpness;      /* of its probabilities: below 1 timid, above 1 overconfident */
    double tilt[K];        /* its calibration error, in logits */
};

struct table {
    struct base_model models[MAX_MODELS];
    size_t n, n_models;
    uint64_t seed, first;
    float *x; /* [n, M * K] */
    uint8_t *y;
};

static void invent_models(struct table *t)
{
    for (size_t m = 0; m < t->n_models; m++) {
        struct base_model *b = &t->models[m];
        struct rng r;
        rng_init(&r, t->seed, UINT64_MAX - m);
        double quality = 0.6 + 0.5 * rng_uniform(&r);
        for (int i = 0; i < REGIONS; i++)
            b->skill[i] = quality * (0.75 + 0.5 * rng_uniform(&r));
        b->noise = 0.8 + 0.6 * rng_uniform(&r);
        b->sharpness = exp(0.4 * rng_normal(&r));
        for (int k = 0; k < K; k++)
            b->tilt[k] = 0.5 * log(priors[k]) + 0.3 * rng_normal(&r);
    }
}

static uint8_t draw_class(struct rng *r)
{
    double u = rng_uniform(r);
    uint8_t y = 0;
    while (y + 1 < K && u >= priors[y])
        u -= priors[y++];
    return y;
}

static void draw_noise(struct rng *r, double deviation, double *out)
{
    for (int k = 0; k < K; k++)
        out[k] = deviation * rng_normal(r);
}

static void softmax(const double *logits, float *out)
{
    double most = logits[0], sum = 0, e[K];
    for (int k = 1; k < K; k++)
        most = fmax(most, logits[k]);
    for (int k = 0; k < K; k++)
        sum += e[k] = exp(logits[k] - most);
    for (int k = 0; k < K; k++)
        out[k] = (float)(e[k] / sum);
}

static void write_row(const struct table *t, size_t i)
{
    double shared[K], family[FAMILIES][K], own[K], logits[K];
    float *out = t->x + i * t->n_models * K;
    struct rng r;
    rng_init(&r, t->seed, t->first + i);
    uint8_t y = t->y[i] = draw_class(&r);
    uint32_t region = rng_below(&r, REGIONS);
    double clarity = STRENGTH * exp(0.4 * rng_normal(&r));
    draw_noise(&r, shared_noise, shared);
    for (int f = 0; f < FAMILIES; f++)
        draw_noise(&r, family_noise, family[f]);
    for (size_t m = 0; m < t->n_models; m++) {
        const struct base_model *b = &t->models[m];
        draw_noise(&r, own_noise * b->noise, own);
        for (int k = 0; k < K; k++)
            logits[k] = b->sharpness * (clarity * b->skill[region] * prototype[y][k] +
                                        shared[k] + family[m % FAMILIES][k] + own[k]) +
                        b->tilt[k];
        softmax(logits, out + m * K);
    }
    if (rng_uniform(&r) < MISSING_SHARE) {
        float *missed = out + K * rng_below(&r, (uint32_t)t->n_models);
        for (int k = 0; k < K; k++)
            missed[k] = NAN;
    }
}

static void write_rows(void *context, size_t begin, size_t end, unsigned worker)
{
    (void)worker;
    for (size_t i = begin; i < end; i++)
        write_row(context, i);
}

static medley_status save(const struct table *t, const char *folder, medley_error *err)
{
    char path[4096];
    medley_status st = make_folders(folder, err);
    snprintf(path, sizeof path, "%s/X.npy", folder);
    if (st == MEDLEY_OK)
        st = npy_write(path, NPY_F32, t->n, t->n_models * K, t->x, err);
    snprintf(path, sizeof path, "%s/y.npy", folder);
    if (st == MEDLEY_OK)
        st = npy_write(path, NPY_U8, t->n, 0, t->y, err);
    return st;
}

static uint64_t number(const char *option, const char *text, uint64_t least, uint64_t most)
{
    char *end;
    unsigned long long v = strtoull(text ? text : "", &end, 10);
    if (!text || *text < '0' || *text > '9' || *end || v < least || v > most) {
        fprintf(stderr, "stack_table: %s: '%s' is not a number from %llu to %llu\n", option,
                text ? text : "", (unsigned long long)least, (unsigned long long)most);
        exit(2);
    }
    return v;
}

static const char *parse(int argc, char **argv, struct table *t)
{
    const char *folder = NULL;
    for (int i = 1; i < argc; i += 2) {
        if (strcmp(argv[i], "--rows") == 0)
            t->n = number("--rows", argv[i + 1], 1, 1000000000);
        else if (strcmp(argv[i], "--models") == 0)
            t->n_models = number("--models", argv[i + 1], 1, MAX_MODELS);
        else if (strcmp(argv[i], "--seed") == 0)
            t->seed = number("--seed", argv[i + 1], 0, UINT64_MAX);
        else if (strcmp(argv[i], "--first") == 0)
            t->first = number("--first", argv[i + 1], 0, UINT64_MAX / 2);
        else if (strcmp(argv[i], "-o") == 0)
            folder = argv[i + 1];
        else
            return NULL;
    }
    return folder;
}

int main(int argc, char **argv)
{
    struct table t = {.n = 100000, .n_models = 6, .seed = 1};
    medley_error err;
    const char *folder = parse(argc, argv, &t);
    if (!folder) {
        fprintf(stderr, "usage: stack_table [--rows N] [--models M] [--seed S] [--first ROW] "
                        "-o FOLDER\n"
                        "Writes FOLDER/X.npy [N, 4 M] and FOLDER/y.npy [N].\n");
        return 2;
    }
    double start = clock_seconds();
    t.x = mem_alloc(t.n, t.n_models * K * sizeof *t.x);
    t.y = mem_alloc(t.n, 1);
    invent_models(&t);
    medley_status st = t.x && t.y ? MEDLEY_OK : fail_memory(&err, "the table");
    if (st == MEDLEY_OK) {
        parallel_for(t.n, 1024, write_rows, &t);
        st = save(&t, folder, &err);
    }
    if (st == MEDLEY_OK)
        fprintf(stderr, "%s: %zu rows x %zu features in %.1f s\n", folder, t.n, t.n_models * K,
                clock_seconds() - start);
    else
        fprintf(stderr, "stack_table: %s\n", err.message);
    mem_free(t.x);
    mem_free(t.y);
    return st != MEDLEY_OK;
}
