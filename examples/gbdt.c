/* gbdt.c: the tree engine from C, without a workspace: train on a table in memory, predict,
 * hand the model to XGBoost and back.
 *
 *     cc -std=c11 gbdt.c $(pkg-config --cflags --libs medley) -o gbdt && ./gbdt FOLDER */
#include "medley/gbdt.h"

#include <math.h>
#include <stdio.h>

enum { N = 1000, K = 3, F = 4 };

int main(int argc, char **argv)
{
    static float x[N * F], p[N * K], q[N * K];
    static uint8_t y[N];
    unsigned state = 1;
    for (size_t i = 0; i < N * F; i++) {
        state = state * 1664525u + 1013904223u; /* Numerical Recipes' generator */
        x[i] = i % 21 ? (float)(state >> 8) / (float)(1u << 24) : NAN; /* missing is normal */
    }
    for (size_t i = 0; i < N; i++) /* a comparison with NaN is false */
        y[i] = (uint8_t)((x[i * F] > 0.4f) + (x[i * F + 1] > 0.6f));

    medley_table table = {.features = x, .labels = y, .n = N, .n_features = F, .n_classes = K};
    medley_gbdt_options options = {.rounds = 50}; /* zero means the default */
    medley_gbdt *model = NULL, *again = NULL;
    medley_error err;
    char path[512];
    size_t right = 0;
    snprintf(path, sizeof path, "%s/model.json", argc > 1 ? argv[1] : ".");
    if (medley_gbdt_train(&table, NULL, &options, &model, &err) ||
        medley_gbdt_predict(model, x, N, p, &err) ||
        medley_gbdt_save_as(model, path, MEDLEY_MODEL_XGBOOST_JSON, &err) ||
        medley_gbdt_load(path, &again, &err) || /* it finds out which format that is */
        medley_gbdt_predict(again, x, N, q, &err)) {
        fprintf(stderr, "gbdt: %s\n", err.message);
        medley_gbdt_free(model);
        medley_gbdt_free(again);
        return 1;
    }
    for (size_t i = 0; i < N; i++) {
        const float *row = p + i * K;
        unsigned best = row[1] > row[0] ? 1 : 0;
        right += (row[2] > row[best] ? 2 : best) == y[i];
    }
    printf("right: %zu of %d\n", right, N);
    printf("%s: %.4f, from XGBoost's file %.4f\n", path, (double)p[0], (double)q[0]);
    medley_gbdt_free(model);
    medley_gbdt_free(again);
    return 0;
}
