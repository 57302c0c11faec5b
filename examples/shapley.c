/* shapley.c: how much each base model drove a row. Two models give 3 class scores each;
 * "sage" knows little and is missing in every fifth row. Players, not features, share the
 * margin.
 *
 *     cc -std=c11 shapley.c $(pkg-config --cflags --libs medley) -lm -o shapley && ./shapley */
#include "medley/shapley.h"

#include <math.h>
#include <stdio.h>

enum { N = 1000, K = 3, F = 2 * K, PLAYERS = 2 };

static void opinion(unsigned *state, unsigned label, float trust, float *p)
{
    for (unsigned c = 0; c < K; c++) {
        *state = *state * 1664525u + 1013904223u;
        p[c] = trust * (c == label) + (float)(*state >> 8) / (1 << 24);
    }
}

int main(void)
{
    static const uint32_t player_of_feature[F] = {0, 0, 0, 1, 1, 1};
    static const char *const players[PLAYERS] = {"bert", "sage"};
    static float x[N * F];
    static uint8_t y[N];
    unsigned state = 1;
    for (size_t i = 0; i < N; i++) {
        y[i] = (uint8_t)(i * 7 % K);
        opinion(&state, y[i], 0.7f, x + i * F);
        opinion(&state, y[i], 0.1f, x + i * F + K);
        for (size_t c = 0; i % 5 == 0 && c < K; c++)
            x[i * F + K + c] = NAN;
    }
    medley_table table = {.features = x, .labels = y, .n = N, .n_features = F, .n_classes = K};
    medley_gbdt_options options = {.rounds = 50};
    medley_gbdt *model = NULL;
    medley_explainer *explainer = NULL;
    medley_error err;
    float values[PLAYERS * K], margins[K];
    double base[K];
    int failed = medley_gbdt_train(&table, NULL, &options, &model, &err) ||
                 medley_gbdt_margins(model, x + F, 1, margins, &err) ||
                 medley_explainer_new(model, player_of_feature, PLAYERS, &explainer, &err) ||
                 medley_explainer_values(explainer, x + F, 1, values, &err);
    if (failed)
        fprintf(stderr, "shapley: %s\n", err.message);
    else
        medley_explainer_base(explainer, base);
    for (unsigned i = 0; i < PLAYERS && !failed; i++)
        printf("%s: %+.3f\n", players[i], (double)values[i * K + y[1]]);
    if (!failed)
        printf("base %+.3f, margin of class %u: %+.3f\n", base[y[1]], y[1],
               (double)margins[y[1]]);
    medley_explainer_free(explainer); /* before the model that it borrows */
    medley_gbdt_free(model);
    return failed;
}
