/* test_gbdt_golden.c: models made by LightGBM and XGBoost (tests/data/gbdt), with their own
 * margins, predictions and contributions: read, written in every format, read again. The rows
 * hold missing values and thresholds of the models. */
#include "tests/tap.h"

#include "base/memory.h"
#include "base/npy.h"
#include "medley/shapley.h"

#define DATA "tests/data/gbdt/"
enum { F = 4, ROWS = 78, MOST = 3 };

/* Float32 leaves, added in double here and in float32 by XGBoost. */
#define MARGIN_TOLERANCE 1e-6
#define VALUE_TOLERANCE 1e-5

struct golden {
    const char *name, *file;
    size_t outputs;
    enum medley_link link;
    enum medley_cover cover;
    bool contributions;
};

#define ROWS_COVER MEDLEY_COVER_ROWS
#define HESSIAN MEDLEY_COVER_HESSIAN

static const struct golden goldens[] = {
    {"lightgbm_multiclass", ".txt", 3, MEDLEY_LINK_SOFTMAX, ROWS_COVER, true},
    {"lightgbm_v3", ".txt", 3, MEDLEY_LINK_SOFTMAX, ROWS_COVER, true},
    {"lightgbm_ova", ".txt", 3, MEDLEY_LINK_SIGMOID, ROWS_COVER, true},
    {"lightgbm_forest", ".txt", 3, MEDLEY_LINK_SOFTMAX, ROWS_COVER, true},
    {"lightgbm_binary", ".txt", 1, MEDLEY_LINK_SIGMOID, ROWS_COVER, true},
    {"lightgbm_regression", ".txt", 1, MEDLEY_LINK_IDENTITY, ROWS_COVER, true},
    {"lightgbm_no_missing", ".txt", 1, MEDLEY_LINK_IDENTITY, ROWS_COVER, true},
    {"lightgbm_poisson", ".txt", 1, MEDLEY_LINK_EXP, ROWS_COVER, true},
    {"xgboost_multi", ".json", 3, MEDLEY_LINK_SOFTMAX, HESSIAN, true},
    {"xgboost_multi_ubj", ".ubj", 3, MEDLEY_LINK_SOFTMAX, HESSIAN, true},
    {"xgboost_vector", ".json", 3, MEDLEY_LINK_SOFTMAX, HESSIAN, false},
    {"xgboost_vector_ubj", ".ubj", 3, MEDLEY_LINK_SOFTMAX, HESSIAN, false},
    {"xgboost_dart", ".json", 3, MEDLEY_LINK_SOFTMAX, HESSIAN, true},
    {"xgboost_forest", ".ubj", 3, MEDLEY_LINK_SOFTMAX, HESSIAN, true},
    {"xgboost_binary", ".ubj", 1, MEDLEY_LINK_SIGMOID, HESSIAN, true},
    {"xgboost_regression", ".json", 1, MEDLEY_LINK_IDENTITY, HESSIAN, true},
    {"xgboost_poisson", ".json", 1, MEDLEY_LINK_EXP, HESSIAN, true},
    {"xgboost_targets", ".json", 2, MEDLEY_LINK_IDENTITY, HESSIAN, true},
    {"xgboost_17_binary", ".json", 1, MEDLEY_LINK_SIGMOID, HESSIAN, true},
    {"xgboost_17_multi", ".ubj", 3, MEDLEY_LINK_SOFTMAX, HESSIAN, true},
    {"xgboost_21_binary", ".ubj", 1, MEDLEY_LINK_SIGMOID, HESSIAN, true},
    /* 2.1 writes no covers for trees of several outputs */
    {"xgboost_21_vector", ".json", 3, MEDLEY_LINK_SOFTMAX, MEDLEY_COVER_NONE, false},
};

/* What the library said, cut from its table. */
struct expected {
    float x[ROWS * F], margins[ROWS * MOST], predictions[ROWS * MOST];
    float values[ROWS * F * MOST], base[ROWS * MOST];
};

static bool load_expected(const struct golden *g, struct expected *e)
{
    char path[128];
    struct npy a;
    size_t k = g->outputs, width = F + 2 * k + (F + 1) * k;
    snprintf(path, sizeof path, DATA "%s.npy", g->name);
    if (npy_open(path, &a, NULL) != MEDLEY_OK)
        return false;
    float *all = a.rows == ROWS && a.cols == width ? malloc(ROWS * width * sizeof *all) : NULL;
    if (all)
        npy_to_float(&a, all);
    for (size_t i = 0; all && i < ROWS; i++) {
        const float *row = all + i * width;
        memcpy(e->x + i * F, row, F * sizeof *row);
        memcpy(e->margins + i * k, row += F, k * sizeof *row);
        memcpy(e->predictions + i * k, row += k, k * sizeof *row);
        memcpy(e->values + i * F * k, row += k, F * k * sizeof *row);
        memcpy(e->base + i * k, row + F * k, k * sizeof *row);
    }
    free(all);
    npy_close(&a);
    return all != NULL;
}

/* The largest difference, as a part of the largest number. */
static double distance(const float *a, const float *b, size_t n)
{
    double most = 0, scale = 1;
    for (size_t i = 0; i < n; i++) {
        most = fmax(most, isfinite(a[i]) ? fabs((double)a[i] - b[i]) : INFINITY);
        scale = fmax(scale, fabs((double)b[i]));
    }
    return most / scale;
}

struct results {
    float margins[ROWS * MOST], predictions[ROWS * MOST], values[ROWS * F * MOST];
    double base[MOST];
};

static bool compute(const medley_gbdt *m, const float *x, struct results *r)
{
    medley_explainer *e = NULL;
    bool good = medley_gbdt_margins(m, x, ROWS, r->margins, NULL) == MEDLEY_OK &&
                medley_gbdt_predict(m, x, ROWS, r->predictions, NULL) == MEDLEY_OK;
    if (good && medley_gbdt_cover(m) != MEDLEY_COVER_NONE) {
        good = medley_explainer_new(m, NULL, F, &e, NULL) == MEDLEY_OK &&
               medley_explainer_values(e, x, ROWS, r->values, NULL) == MEDLEY_OK;
        if (good)
            medley_explainer_base(e, r->base);
        medley_explainer_free(e);
    }
    return good;
}

static void check_values(const struct golden *g, const medley_gbdt *m, const struct expected *e,
                         const struct results *r)
{
    size_t k = g->outputs;
    if (g->cover == MEDLEY_COVER_NONE) {
        medley_error err = {0};
        medley_explainer *none = NULL;
        ok(medley_explainer_new(m, NULL, F, &none, &err) == MEDLEY_EUNSUPPORTED, "%s: %s",
           g->name, err.message);
        return;
    }
    double most = 0;
    for (size_t i = 0; i < ROWS * k; i++) {
        double sum = r->base[i % k];
        for (size_t f = 0; f < F; f++)
            sum += r->values[(i / k * F + f) * k + i % k];
        most = fmax(most, fabs(sum - (double)r->margins[i]));
    }
    ok(most < VALUE_TOLERANCE, "%s: values add up to the margin, within %.1e", g->name, most);
    if (!g->contributions)
        return;
    double base = 0, d = distance(r->values, e->values, ROWS * F * k);
    for (size_t c = 0; c < k; c++)
        base = fmax(base, fabs(r->base[c] - (double)e->base[c]));
    ok(d < VALUE_TOLERANCE && base < VALUE_TOLERANCE,
       "%s: contributions are the library's own, within %.1e, base %.1e", g->name, d, base);
}

/* In each format and back: the same margins, and values where the cover is kept. */
static void check_round_trips(const struct golden *g, const medley_gbdt *m,
                              const struct expected *e, const struct results *r)
{
    char path[128];
    size_t k = g->outputs;
    for (int to = 0; medley_gbdt_format_name((enum medley_model_format)to); to++) {
        const char *format = medley_gbdt_format_name((enum medley_model_format)to);
        medley_error err = {0};
        medley_gbdt *back = NULL;
        struct results again;
        snprintf(path, sizeof path, "%s/model", tap_folder());
        medley_status st = medley_gbdt_save_as(m, path, (enum medley_model_format)to, &err);
        if (st == MEDLEY_EUNSUPPORTED && strcmp(g->name, "lightgbm_ova") == 0 && to >= 2) {
            ok(strstr(err.message, "sigmoid") != NULL, "%s: %s", g->name, err.message);
            continue;
        }
        if (st == MEDLEY_OK)
            st = medley_gbdt_load(path, &back, &err);
        bool good = st == MEDLEY_OK && compute(back, e->x, &again);
        double margins = good ? distance(again.margins, r->margins, ROWS * k) : INFINITY;
        double values = 0, predictions = INFINITY;
        if (good && g->cover != MEDLEY_COVER_NONE)
            values = distance(again.values, r->values, ROWS * F * k);
        if (good)
            predictions = distance(again.predictions, r->predictions, ROWS * k);
        /* The first format keeps every bit. */
        ok(margins <= (to ? MARGIN_TOLERANCE : 0) && values <= (to ? VALUE_TOLERANCE : 0) &&
               predictions <= (to ? VALUE_TOLERANCE : 0),
           "%s as %s: margins within %.1e, values %.1e %s", g->name, format, margins, values,
           err.message);
        medley_gbdt_free(back);
    }
}

static void check(const struct golden *g)
{
    static struct expected e;
    static struct results r;
    char path[128];
    medley_error err = {0};
    medley_gbdt *m = NULL;
    size_t k = g->outputs;
    snprintf(path, sizeof path, DATA "%s%s", g->name, g->file);
    medley_status st = medley_gbdt_load(path, &m, &err);
    ok(st == MEDLEY_OK && load_expected(g, &e) && medley_gbdt_features(m) == F &&
           medley_gbdt_classes(m) == k && medley_gbdt_link(m) == g->link &&
           medley_gbdt_cover(m) == g->cover && compute(m, e.x, &r),
       "%s is read %s", path, err.message);
    if (st != MEDLEY_OK)
        return;
    double margins = distance(r.margins, e.margins, ROWS * k);
    double predictions = distance(r.predictions, e.predictions, ROWS * k);
    ok(margins < MARGIN_TOLERANCE && predictions < MARGIN_TOLERANCE,
       "%s: margins within %.1e, predictions %.1e", g->name, margins, predictions);
    check_values(g, m, &e, &r);
    check_round_trips(g, m, &e, &r);
    medley_gbdt_free(m);
}

static void check_refusal(void)
{
    medley_error err = {0};
    medley_gbdt *m = NULL;
    ok(medley_gbdt_load(DATA "lightgbm_zero_missing.txt", &m, &err) == MEDLEY_EUNSUPPORTED &&
           strstr(err.message, "zero_as_missing") && !m,
       "%s", err.message);
}

int main(void)
{
    for (size_t i = 0; i < sizeof goldens / sizeof goldens[0]; i++)
        check(&goldens[i]);
    check_refusal();
    return tap_done();
}
