/* gbdt.c: the tree engine from C, without a workspace: train on a table in memory, predict, ask
 * how much each base model drove a row, hand the model to XGBoost and back.
 *
 *     cc -std=c11 examples/gbdt.c $(pkg-config --cflags --libs medley) -o gbdt && ./gbdt FOLDER
 *
 * Two base models, "bert" and "sage", give 3 class probabilities each; sage is missing in every
 * fifth row, which is normal. tests/test_gbdt_example.c runs this program. */
#include "medley/gbdt.h"
#include "medley/shapley.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { N = 1000, K = 3, F = 2 * K };

/* A noisy opinion on the class: K probabilities. */
static void opinion(unsigned *state, unsigned label, double trust, float *p)
{
    double sum = 0, e[K];
    for (unsigned c = 0; c < K; c++) {
        *state = *state * 1664525u + 1013904223u; /* Numerical Recipes' generator */
        e[c] = exp(trust * (c == label) + 2.0 * (*state >> 8) / (1u << 24));
        sum += e[c];
    }
    for (unsigned c = 0; c < K; c++)
        p[c] = (float)(e[c] / sum);
}

static int complain(const medley_error *err)
{
    fprintf(stderr, "gbdt: %s\n", err->message);
    return 1;
}

int main(int argc, char **argv)
{
    static float x[N * F], p[N * K];
    static uint8_t y[N];
    static const uint32_t player_of_feature[F] = {0, 0, 0, 1, 1, 1};
    static const char *const players[] = {"bert", "sage"};
    unsigned state = 1;
    for (size_t i = 0; i < N; i++) {
        y[i] = (uint8_t)(i * 7 % K);
        opinion(&state, y[i], 1.5, x + i * F);
        opinion(&state, y[i], 0.8, x + i * F + K);
        for (size_t c = 0; i % 5 == 0 && c < K; c++)
            x[i * F + K + c] = NAN;
    }

    medley_table table = {.features = x, .labels = y, .n = N, .n_features = F, .n_classes = K};
    medley_gbdt_options options = {.rounds = 50}; /* zero means the default */
    medley_gbdt *model = NULL, *again = NULL;
    medley_explainer *explainer = NULL;
    medley_error err;
    char path[512];
    int status = 0;
    snprintf(path, sizeof path, "%s/model.json", argc > 1 ? argv[1] : ".");
    if (medley_gbdt_train(&table, NULL, &options, &model, &err) ||
        medley_gbdt_predict(model, x, N, p, &err)) {
        status = complain(&err);
        goto done;
    }
    size_t right = 0;
    for (size_t i = 0; i < N; i++) {
        const float *row = p + i * K;
        unsigned best = row[1] > row[0] ? 1 : 0;
        right += (row[2] > row[best] ? 2 : best) == y[i];
    }
    printf("right: %zu of %d\n", right, N);

    float values[2 * K]; /* [players, classes] of one row */
    if (medley_explainer_new(model, player_of_feature, 2, &explainer, &err) ||
        medley_explainer_values(explainer, x + F, 1, values, &err)) {
        status = complain(&err);
        goto done;
    }
    for (size_t i = 0; i < 2; i++)
        printf("%s: %+.3f to the margin of class %u\n", players[i],
               (double)values[i * K + y[1]], y[1]);

    if (medley_gbdt_save_as(model, path, MEDLEY_MODEL_XGBOOST_JSON, &err) ||
        medley_gbdt_load(path, &again, &err)) {
        status = complain(&err);
        goto done;
    }
    float q[K];
    medley_gbdt_predict(again, x, 1, q, NULL);
    printf("%s: %.4f, from XGBoost's file %.4f\n", path, (double)p[0], (double)q[0]);
done:
    medley_explainer_free(explainer);
    medley_gbdt_free(again);
    medley_gbdt_free(model);
    return status;
}
