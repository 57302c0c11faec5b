/* coalition.c: what each player is worth: the metric on held-out rows of trees that are
 * refitted with every coalition of them. "twin" copies "good": either alone makes up for the
 * other, so the two share one worth. "noise" is worth nothing.
 *
 *     cc -std=c11 coalition.c $(pkg-config --cflags --libs medley) -o coalition && ./coalition
 */
#include "medley/coalition.h"

#include <stdio.h>

enum { N = 2000, F = 3, HALF = N / 2 };

int main(void)
{
    static const uint32_t player_of_feature[F] = {0, 1, 2};
    static const char *const players[F] = {"good", "twin", "noise"};
    static float x[N * F];
    static uint8_t y[N];
    unsigned state = 7;
    for (size_t i = 0; i < N; i++) {
        float u[3]; /* the label shows in `good`, with an error that is not small */
        for (size_t k = 0; k < 3; k++) {
            state = state * 1664525u + 1013904223u;
            u[k] = (float)(state >> 8) / (float)(1u << 24);
        }
        y[i] = u[0] > 0.5f;
        x[i * F] = x[i * F + 1] = (float)y[i] + 1.5f * u[1];
        x[i * F + 2] = u[2];
    }
    medley_table train = {
        .features = x, .labels = y, .n = HALF, .n_features = F, .n_classes = 2};
    medley_table held_out = train;
    held_out.features = x + HALF * F;
    held_out.labels = y + HALF;

    medley_gbdt_options trees = {.rounds = 30, .quiet = true};
    medley_coalition *game = NULL;
    medley_error err;
    double values[F], all = 0, none = 0;
    if (medley_coalition_play(&train, &held_out, player_of_feature, F, &trees, NULL, &game,
                              &err)) {
        fprintf(stderr, "coalition: %s\n", err.message);
        return 1;
    }
    medley_coalition_values(game, MEDLEY_METRIC_ACCURACY, values, NULL);
    for (size_t p = 0; p < F; p++)
        printf("%s: %+.4f\n", players[p], values[p]);
    medley_coalition_metric(game, MEDLEY_METRIC_ACCURACY, 0, &none);
    medley_coalition_metric(game, MEDLEY_METRIC_ACCURACY, 7, &all);
    printf("%s: %.4f with none, %.4f with all, %zu refits\n",
           medley_metric_name(MEDLEY_METRIC_ACCURACY), none, all,
           medley_coalition_refits(game));
    medley_coalition_free(game);
    return 0;
}
