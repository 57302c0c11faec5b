/* test_gbdt_large.c: models of other programs with trees far past what training grows:
 * thousands of leaves, thousands of nodes deep; and files written under a locale with decimal
 * commas. */
#include "tests/tap.h"

#include "base/memory.h"
#include "medley/shapley.h"
#include "tests/gbdt_help.h"

#include <locale.h>

#define SEED 20261123u

enum { F = 9, K = 3, ROWS = 70, LEAVES = 5000, DEPTH = 1500 };

static char path[128];

/* A bushy tree of LEAVES and a chain of DEPTH for each class. */
static medley_gbdt *large_model(uint64_t stream)
{
    struct rng r;
    rng_init(&r, SEED, stream);
    medley_gbdt *m = gbdt_new(F, K, MEDLEY_TREES_PER_CLASS);
    for (int round = 0; round < 2; round++)
        for (uint32_t c = 0; c < K; c++)
            gbdt_add_tree(m, random_tree(&r, round ? DEPTH : LEAVES, F, 1, c, round));
    return m;
}

static void fill_rows(float *x)
{
    struct rng r;
    rng_init(&r, SEED, 7);
    for (size_t i = 0; i < ROWS * F; i++)
        x[i] = rng_below(&r, 10) ? (float)rng_uniform(&r) : NAN;
}

static void walk(const medley_gbdt *m, const float *x, double *margins)
{
    for (size_t i = 0; i < ROWS; i++) {
        memcpy(margins + i * K, m->base, K * sizeof *margins);
        for (size_t t = 0; t < m->n_trees; t++)
            margins[i * K + m->trees[t]->first_class] +=
                (double)m->trees[t]->values[tree_leaf(m->trees[t], x + i * F)];
    }
}

static double furthest(const float *got, const double *wanted)
{
    double worst = 0;
    for (size_t i = 0; i < ROWS * K; i++)
        worst = fmax(worst, fabs((double)got[i] - wanted[i]));
    return worst;
}

static void test_margins(const medley_gbdt *m, const float *x, const double *wanted)
{
    float got[ROWS * K], one[ROWS * K];
    medley_error err = {0};
    ok(medley_gbdt_margins(m, x, ROWS, got, &err) == MEDLEY_OK && furthest(got, wanted) < 1e-5,
       "rows together take the way that walking takes %s", err.message);
    for (size_t i = 0; i < ROWS; i++)
        medley_gbdt_margins(m, x + i * F, 1, one + i * K, NULL);
    ok(memcmp(got, one, sizeof got) == 0, "and so does each alone");
}

static void test_contributions(const medley_gbdt *m, const float *x, const double *wanted)
{
    medley_explainer *e = NULL;
    medley_error err = {0};
    float values[ROWS * F * K];
    double base[K], worst = 0;
    ok(medley_explainer_new(m, NULL, F, &e, &err) == MEDLEY_OK &&
           medley_explainer_values(e, x, ROWS, values, &err) == MEDLEY_OK,
       "such trees are explained %s", err.message);
    medley_explainer_base(e, base);
    for (size_t i = 0; i < ROWS; i++)
        for (size_t c = 0; c < K; c++) {
            double sum = base[c];
            for (size_t f = 0; f < F; f++)
                sum += (double)values[(i * F + f) * K + c];
            worst = fmax(worst, fabs(sum - wanted[i * K + c]));
        }
    ok(worst < 1e-4, "contributions add up to the margins within %.1e", worst);
    medley_explainer_free(e);
}

static void test_formats(const medley_gbdt *m, const float *x, const double *wanted)
{
    static const enum medley_model_format formats[] = {
        MEDLEY_MODEL_MEDLEY, MEDLEY_MODEL_LIGHTGBM, MEDLEY_MODEL_XGBOOST_JSON,
        MEDLEY_MODEL_XGBOOST_UBJ};
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        medley_gbdt *back = NULL;
        medley_error err = {0};
        float got[ROWS * K] = {0};
        bool good = medley_gbdt_save_as(m, path, formats[i], &err) == MEDLEY_OK &&
                    medley_gbdt_load(path, &back, &err) == MEDLEY_OK &&
                    medley_gbdt_margins(back, x, ROWS, got, &err) == MEDLEY_OK;
        ok(good && furthest(got, wanted) < 1e-5, "format %zu: written and read %s", i,
           err.message);
        medley_gbdt_free(back);
    }
}

int main(void)
{
    static float x[ROWS * F];
    static double wanted[ROWS * K];
    const char *folder = tap_folder();
    snprintf(path, sizeof path, "%s/model", folder);
    fill_rows(x);
    medley_gbdt *m = large_model(1);
    walk(m, x, wanted);
    test_margins(m, x, wanted);
    test_contributions(m, x, wanted);
    test_formats(m, x, wanted);
    const char *commas[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "de_DE", NULL};
    size_t i = 0;
    while (commas[i] && !setlocale(LC_NUMERIC, commas[i]))
        i++;
    if (commas[i])
        test_formats(m, x, wanted);
    else
        skip("no locale with decimal commas is installed");
    medley_gbdt_free(m);
    unlink(path);
    rmdir(folder);
    return tap_done();
}
