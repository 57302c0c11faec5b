/* single_row.c: microseconds for the margins of one row with the model hot, Medley against a
 * peer's own C interface on the same model file, taking turns in one process and one thread:
 *
 *   single_row lightgbm lib_lightgbm.so model.txt X.npy
 *   single_row xgboost libxgboost.so model.json X.npy
 *
 * Every call gets another row. LightGBM goes through its fastest door, made for this
 * (...SingleRowFast: configuration parsed once), XGBoost through its in-place one. Prints one
 * line of JSON. The peers' declarations are written out here: their headers are in no package.
 */
#include "base/cpu.h"
#include "base/memory.h"
#include "base/npy.h"
#include "medley/gbdt.h"

#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TURNS = 7, MAX_CLASSES = 16, CHECKED = 1000 };
#define TURN_SECONDS 0.2

static size_t n_rows, n_features, n_classes;
static float *rows;
static medley_gbdt *model;
static medley_error err;

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "single_row: %s\n", what);
    exit(1);
}

typedef void predict_row(const float *x, double *margins);

static void medley_row(const float *x, double *margins)
{
    float out[MAX_CLASSES];
    if (medley_gbdt_margins(model, x, 1, out, &err) != MEDLEY_OK)
        die(err.message);
    for (size_t c = 0; c < n_classes; c++)
        margins[c] = out[c];
}

/* ---- the peers ---- */

static void *library;

static void find(const char *name, void *function)
{
    void *found = dlsym(library, name);
    if (!found)
        die(name);
    memcpy(function, &found, sizeof found);
}

static int (*lightgbm_predict)(void *config, const void *data, int64_t *n, double *out);
static void *lightgbm_config;

static void lightgbm_row(const float *x, double *margins)
{
    int64_t n;
    if (lightgbm_predict(lightgbm_config, x, &n, margins) != 0)
        die("LightGBM failed");
}

static void lightgbm_open(const char *path)
{
    int (*create)(const char *, int *, void **);
    int (*init)(void *, int, int, int, int, int32_t, const char *, void **);
    int rounds;
    void *booster;
    enum { RAW_SCORE = 1, FLOAT32 = 0 };
    find("LGBM_BoosterCreateFromModelfile", &create);
    find("LGBM_BoosterPredictForMatSingleRowFastInit", &init);
    find("LGBM_BoosterPredictForMatSingleRowFast", &lightgbm_predict);
    if (create(path, &rounds, &booster) != 0 ||
        init(booster, RAW_SCORE, 0, -1, FLOAT32, (int32_t)n_features, "num_threads=1",
             &lightgbm_config) != 0)
        die("LightGBM cannot load the model");
}

static int (*xgboost_predict)(void *, const char *, const char *, void *, const uint64_t **,
                              uint64_t *, const float **);
static void *xgboost_booster;
static float *xgboost_input;
static char xgboost_array[256];

static void xgboost_row(const float *x, double *margins)
{
    static const char config[] = "{\"type\": 1, \"training\": false, \"iteration_begin\": 0, "
                                 "\"iteration_end\": 0, \"strict_shape\": false, "
                                 "\"missing\": NaN, \"cache_id\": 0}";
    const uint64_t *shape;
    const float *out;
    uint64_t dims;
    memcpy(xgboost_input, x, n_features * sizeof *x);
    if (xgboost_predict(xgboost_booster, xgboost_array, config, NULL, &shape, &dims, &out) != 0)
        die("XGBoost failed");
    for (size_t c = 0; c < n_classes; c++)
        margins[c] = (double)out[c];
}

static void xgboost_open(const char *path)
{
    int (*create)(const void *, uint64_t, void **);
    int (*load)(void *, const char *);
    int (*set)(void *, const char *, const char *);
    find("XGBoosterCreate", &create);
    find("XGBoosterLoadModel", &load);
    find("XGBoosterSetParam", &set);
    find("XGBoosterPredictFromDense", &xgboost_predict);
    if (create(NULL, 0, &xgboost_booster) != 0 || load(xgboost_booster, path) != 0 ||
        set(xgboost_booster, "nthread", "1") != 0)
        die("XGBoost cannot load the model");
    xgboost_input = mem_alloc64(n_features, sizeof *xgboost_input);
    if (!xgboost_input)
        die("out of memory");
    snprintf(xgboost_array, sizeof xgboost_array,
             "{\"data\": [%zu, false], \"shape\": [1, %zu], \"typestr\": \"<f4\", "
             "\"version\": 3}",
             (size_t)xgboost_input, n_features);
}

/* ---- measuring ---- */

static double turn(predict_row *predict)
{
    double margins[MAX_CLASSES], start = clock_seconds(), now;
    size_t calls = 0;
    do {
        for (int i = 0; i < 64; i++)
            predict(rows + calls++ % n_rows * n_features, margins);
        now = clock_seconds();
    } while (now - start < TURN_SECONDS);
    return (now - start) / (double)calls * 1e6;
}

/* The largest difference of margins; the models' bases are theirs to define. */
static double difference(predict_row *peer)
{
    double most = 0, a[MAX_CLASSES], b[MAX_CLASSES];
    for (size_t i = 0; i < n_rows && i < CHECKED; i++) {
        medley_row(rows + i * n_features, a);
        peer(rows + i * n_features, b);
        for (size_t c = 0; c < n_classes; c++)
            most = fmax(most, fabs(a[c] - b[c]));
    }
    return most;
}

static void load(const char *model_path, const char *x_path)
{
    struct npy a;
    if (medley_gbdt_load(model_path, &model, &err) != MEDLEY_OK ||
        npy_open(x_path, &a, &err) != MEDLEY_OK)
        die(err.message);
    n_rows = a.rows < 10000 ? a.rows : 10000;
    n_features = a.cols;
    n_classes = medley_gbdt_classes(model);
    if (a.type != NPY_F32 || a.cols != medley_gbdt_features(model))
        die("the rows do not fit the model");
    rows = mem_alloc(n_rows, n_features * sizeof *rows);
    if (!rows)
        die("out of memory");
    memcpy(rows, a.data, n_rows * n_features * sizeof *rows);
    npy_close(&a);
}

int main(int argc, char **argv)
{
    if (argc != 5)
        die("expected: PEER LIBRARY MODEL X.npy");
    bool lightgbm = strcmp(argv[1], "lightgbm") == 0;
    predict_row *peer = lightgbm ? lightgbm_row : xgboost_row;
    load(argv[3], argv[4]);
    library = dlopen(argv[2], RTLD_NOW);
    if (!library)
        die(dlerror());
    (lightgbm ? lightgbm_open : xgboost_open)(argv[3]);
    double ours[TURNS], theirs[TURNS], off = difference(peer);
    for (int i = 0; i < TURNS; i++) {
        ours[i] = turn(medley_row);
        theirs[i] = turn(peer);
    }
    printf("{\"difference\": %.3g, \"runs\": [", off);
    for (int i = 0; i < TURNS; i++)
        printf("%s[%.4f, %.4f]", i ? ", " : "", ours[i], theirs[i]);
    printf("]}\n");
    return 0;
}
