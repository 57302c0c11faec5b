/* test_forest.c: every prediction kernel against walking the trees, bit for bit: small and
 * large trees, chains, vector leaves, odd thresholds, missing and odd values, all block tails.
 */
#include "tests/tap.h"

#include "base/memory.h"
#include "base/pool.h"
#include "gbdt/predict.h"
#include "gbdt/single.h"
#include "tests/gbdt_help.h"

#include <float.h>
#include <pthread.h>

#define SEED 20240914u

static const float odd[] = {0.0f,    -0.0f,    1e-45f, -1e-45f,  FLT_MIN,   1e-39f,
                            FLT_MAX, -FLT_MAX, 0.5f,   INFINITY, -INFINITY, 0.25f};
#define N_ODD (sizeof odd / sizeof odd[0])

/* Thresholds and values on a grid of sixteenths, so that they meet; some odd ones. */
static float grid_value(struct rng *r)
{
    if (rng_below(r, 10) == 0)
        return odd[rng_below(r, N_ODD)];
    return (float)rng_below(r, 16) / 16;
}

struct shape {
    const char *name;
    size_t trees, features, classes;
    uint32_t least, most; /* leaves */
    bool vector, chain;
    bool single; /* kernels for one row take it */
};

static medley_gbdt *forest_model(struct rng *r, const struct shape *s)
{
    medley_gbdt *m = gbdt_new(s->features, s->classes,
                              s->vector ? MEDLEY_TREES_VECTOR : MEDLEY_TREES_PER_CLASS);
    for (size_t c = 0; c < s->classes; c++)
        m->base[c] = rng_normal(r);
    for (size_t i = 0; i < s->trees; i++) {
        uint32_t leaves = s->least + rng_below(r, s->most - s->least + 1);
        struct tree *t =
            random_tree(r, leaves, s->features, s->vector ? (uint32_t)s->classes : 1,
                        s->vector ? 0 : (uint32_t)(i % s->classes), s->chain);
        for (uint32_t n = 0; n + 1 < leaves; n++)
            t->nodes[n].threshold = grid_value(r);
        t->values[0] = i % 3 ? t->values[0] : -0.0f;
        gbdt_add_tree(m, t);
    }
    return m;
}

static void grid_rows(struct rng *r, size_t n, float *x)
{
    for (size_t i = 0; i < n; i++)
        x[i] = rng_below(r, 4) == 0 ? NAN : grid_value(r);
}

/* The definition once more, from forest.h: groups of 8 in float, groups in double. */
static void walk(const medley_gbdt *m, const float *x, double *margins)
{
    memcpy(margins, m->base, m->n_classes * sizeof *margins);
    for (size_t c = 0; c < m->n_classes; c++) {
        float sum = 0;
        size_t in_group = 0;
        for (size_t i = 0; i < m->n_trees; i++) {
            const struct tree *t = m->trees[i];
            if (t->n_outputs == 1 && t->first_class != c)
                continue;
            sum += t->values[tree_leaf(t, x) * t->n_outputs + (t->n_outputs > 1 ? c : 0)];
            if (++in_group % FOREST_GROUP == 0) {
                margins[c] += sum;
                sum = 0;
            }
        }
        margins[c] += sum;
    }
}

static bool block_agrees(const struct forest *f, const struct forest_impl *impl,
                         struct forest_space *s, const float *x, size_t n)
{
    const medley_gbdt *m = f->model;
    bool same = true;
    impl->run(f, s, x, n);
    for (size_t i = 0; i < n; i++) {
        double wanted[GBDT_MAX_CLASSES];
        walk(m, x + i * m->n_features, wanted);
        for (size_t c = 0; c < m->n_classes; c++) {
            double got = s->margins[c * 64 * impl->words + forest_row(impl, i)];
            same &= memcmp(&got, &wanted[c], sizeof got) == 0;
        }
    }
    return same;
}

static bool singles_agree(const struct forest *f, const struct single_impl *impl,
                          const float *x)
{
    const medley_gbdt *m = f->model;
    bool same = true;
    for (size_t i = 0; i < 512; i++) {
        double wanted[GBDT_MAX_CLASSES], got[GBDT_MAX_CLASSES];
        walk(m, x + i * m->n_features, wanted);
        impl->run(f, x + i * m->n_features, got);
        same &= memcmp(got, wanted, m->n_classes * sizeof *got) == 0;
    }
    return same;
}

static void test_kernels(const struct shape *shape)
{
    struct rng r;
    rng_init(&r, SEED, shape->most + shape->trees);
    medley_gbdt *m = forest_model(&r, shape);
    struct forest *f = NULL;
    float *x = malloc(512 * shape->features * sizeof *x);
    grid_rows(&r, 512 * shape->features, x);
    medley_status st = forest_new(m, &f, NULL);
    ok(st == MEDLEY_OK, "%s: made ready", shape->name);
    for (const struct forest_impl *impl = forest_impls; impl->name; impl++) {
        struct forest_space *s = NULL;
        if (!impl->usable())
            continue;
        forest_space_new(f, impl, &s, NULL);
        bool same = block_agrees(f, impl, s, x, 64 * impl->words);
        for (size_t n = 1; n < 64 * impl->words; n += n < 70 ? 7 : 61)
            same &= block_agrees(f, impl, s, x + (512 - n) * shape->features, n);
        ok(same, "%s: %s gives the bits of the walk", shape->name, impl->name);
        forest_space_free(s);
    }
    ok((f->single != NULL) == shape->single, "%s: %s for single rows", shape->name,
       shape->single ? "laid out" : "too much");
    for (const struct single_impl *impl = single_impls; f->single && impl->name; impl++)
        if (impl->usable())
            ok(singles_agree(f, impl, x), "%s: one row, %s gives the bits of the walk",
               shape->name, impl->name);
    forest_free(f);
    medley_gbdt_free(m);
    free(x);
}

/* Through the public door: many rows, one row, any number in between, any number of threads. */
static void test_door(const struct shape *shape)
{
    enum { N = 1300 };
    struct rng r;
    rng_init(&r, SEED, 7 + shape->trees);
    size_t k = shape->classes, w = shape->features;
    medley_gbdt *m = forest_model(&r, shape);
    float *x = malloc(N * w * sizeof *x), *all = malloc(N * k * sizeof *all);
    float *some = malloc(N * k * sizeof *some), *p = malloc(N * k * sizeof *p);
    grid_rows(&r, N * w, x);
    pool_set_threads(3);
    bool good = medley_gbdt_margins(m, x, N, all, NULL) == MEDLEY_OK;
    for (size_t i = 0; i < N; i++) {
        double wanted[GBDT_MAX_CLASSES];
        walk(m, x + i * w, wanted);
        for (size_t c = 0; c < k; c++)
            good &= all[i * k + c] == (float)wanted[c];
    }
    ok(good, "%s: margins of many rows", shape->name);
    bool same = true;
    pool_set_threads(1);
    medley_gbdt_predict(m, x, N, p, NULL);
    for (size_t n = 0; n < N; n += n < 52 ? 3 : 127) {
        size_t at = (N - n) / 2;
        some[n * k] = 77;
        medley_gbdt_margins(m, x + at * w, n, some, NULL);
        same &= memcmp(some, all + at * k, n * k * sizeof *some) == 0 && some[n * k] == 77;
        medley_gbdt_predict(m, x + at * w, n, some, NULL);
        same &= memcmp(some, p + at * k, n * k * sizeof *some) == 0 && some[n * k] == 77;
    }
    ok(same, "%s: the same for any number of rows and threads", shape->name);
    pool_set_threads(0);
    medley_gbdt_free(m);
    free(x);
    free(all);
    free(some);
    free(p);
}

static void test_probabilities(size_t k)
{
    struct rng r;
    rng_init(&r, SEED, k);
    double m[16 * 64], worst = 0;
    float wanted[16 * 64], got[16 * 64];
    for (size_t i = 0; i < 16 * 64; i++)
        m[i] = rng_normal(&r) * (i % 5 == 0 ? 500 : i % 7 ? 3 : 0);
    probabilities_impls[0].run(m, k, 64, 64, wanted);
    for (size_t i = 0; i < 64; i++) {
        double most = -INFINITY, sum = 0;
        for (size_t c = 0; c < k; c++)
            most = fmax(most, m[c * 64 + i]);
        for (size_t c = 0; c < k; c++)
            sum += exp(m[c * 64 + i] - most);
        for (size_t c = 0; c < k; c++)
            worst = fmax(worst, fabs(wanted[c * 64 + i] - exp(m[c * 64 + i] - most) / sum));
    }
    ok(worst < 3.1e-8, "softmax of %zu classes: off by %.1e, half a unit of float", k, worst);
    for (const struct probabilities_impl *impl = probabilities_impls; impl->name; impl++)
        if (impl->usable()) {
            impl->run(m, k, 64, 64, got);
            ok(memcmp(got, wanted, k * 64 * sizeof *got) == 0, "%s gives the same bits",
               impl->name);
        }
}

/* Threads that ask a fresh model at once: one of them makes it ready, all get the same. */
struct asker {
    const medley_gbdt *model;
    const float *x;
    float out[600 * 3];
    pthread_t thread;
};

static void *ask(void *context)
{
    struct asker *a = context;
    for (int i = 0; i < 5; i++) {
        medley_gbdt_margins(a->model, a->x, 1, a->out, NULL);
        medley_gbdt_margins(a->model, a->x, 600, a->out, NULL);
    }
    return NULL;
}

static void test_host_threads(void)
{
    enum { ASKERS = 4 };
    struct rng r;
    rng_init(&r, SEED, 5);
    struct shape shape = {"", 60, 6, 3, 2, 40, false, false, true};
    static struct asker askers[ASKERS];
    static float x[600 * 6], wanted[600 * 3];
    medley_gbdt *m = forest_model(&r, &shape);
    grid_rows(&r, 600 * 6, x);
    for (int i = 0; i < ASKERS; i++) {
        askers[i].model = m;
        askers[i].x = x;
        pthread_create(&askers[i].thread, NULL, ask, &askers[i]);
    }
    bool same = true;
    for (int i = 0; i < ASKERS; i++)
        pthread_join(askers[i].thread, NULL);
    medley_gbdt_margins(m, x, 600, wanted, NULL);
    for (int i = 0; i < ASKERS; i++)
        same &= memcmp(askers[i].out, wanted, sizeof wanted) == 0;
    ok(same, "%d threads of the host share a model from its first prediction on", ASKERS);
    medley_gbdt_free(m);
}

static void test_changes(void)
{
    struct rng r;
    rng_init(&r, SEED, 3);
    struct shape shape = {"", 6, 4, 2, 9, 9, false, false, true};
    medley_gbdt *m = forest_model(&r, &shape);
    float x[4] = {0.1f, 0.6f, NAN, 0}, before[2], after[2], again[2];
    size_t cold = medley_gbdt_memory(m);
    ok(medley_gbdt_prepare(m, NULL) == MEDLEY_OK && medley_gbdt_memory(m) > cold,
       "the memory of a model counts what prediction adds");
    medley_gbdt_margins(m, x, 1, before, NULL);
    gbdt_add_tree(m, random_tree(&r, 5, 4, 1, 0, false));
    gbdt_add_tree(m, random_tree(&r, 5, 4, 1, 1, false));
    medley_gbdt_margins(m, x, 1, after, NULL);
    gbdt_truncate(m, 3);
    medley_gbdt_margins(m, x, 1, again, NULL);
    ok(before[0] != after[0] && before[0] == again[0],
       "trees added and taken away change the prediction");
    medley_gbdt_free(m);
}

static void test_memory(void)
{
    struct rng r;
    rng_init(&r, SEED, 4);
    struct shape shape = {"", 6, 4, 2, 100, 100, false, false, true};
    medley_gbdt *m = forest_model(&r, &shape);
    float x[4 * 60] = {0}, p[120];
    size_t n = 0;
    bool good = true, done = false;
    pool_set_threads(1);
    for (; !done && n < 1000; n++) {
        mem_fail_after(n);
        medley_status st = medley_gbdt_predict(m, x, 60, p, NULL);
        mem_fail_after(SIZE_MAX);
        done = st == MEDLEY_OK;
        good &= done || st == MEDLEY_ENOMEM;
    }
    ok(good && done && n > 15, "each of %zu allocations may fail", n);
    pool_set_threads(0);
    medley_gbdt_free(m);
}

int main(void)
{
    const struct shape shapes[] = {
        {"no trees", 0, 2, 2, 1, 1, false, false, true},
        {"stumps and single leaves", 30, 3, 2, 1, 2, false, false, true},
        {"up to 32 leaves", 67, 9, 3, 1, 32, false, false, true},
        {"32 leaves", 16, 9, 2, 32, 32, false, false, true},
        {"vector leaves", 19, 9, 5, 1, 32, true, false, true},
        {"16 classes", 40, 5, 16, 20, 31, true, false, true},
        {"chains of 32", 24, 5, 3, 30, 32, false, true, true},
        {"33 to 70 leaves", 24, 7, 3, 33, 70, false, false, true},
        {"255 leaves", 10, 30, 2, 250, 255, false, false, true},
        {"255 leaves, vector", 9, 30, 4, 250, 255, true, false, true},
        {"chains of 255", 9, 4, 3, 255, 255, false, true, false},
        {"many features", 20, 200, 2, 31, 31, false, false, false},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        test_kernels(&shapes[i]);
    test_door(&shapes[2]);
    test_door(&shapes[4]);
    test_door(&shapes[8]);
    for (size_t k = 2; k <= 16; k += 7)
        test_probabilities(k);
    test_host_threads();
    test_changes();
    test_memory();
    return tap_done();
}
