/* run.c: threads of the process, and Ctrl-C: a training that would take minutes ends within a
 * moment. The program interrupts itself, as a signal would.
 *
 *     cc -std=c11 run.c $(pkg-config --cflags --libs medley) -o run && ./run */
#include "medley/run.h"
#include "medley/gbdt.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

enum { N = 4000, F = 8 };

static void on_signal(int number)
{
    (void)number;
    medley_interrupt(true); /* safe in a signal handler */
}

int main(void)
{
    static float x[N * F];
    static uint8_t y[N];
    for (size_t i = 0; i < sizeof x / sizeof *x; i++)
        x[i] = (float)rand() / (float)RAND_MAX;
    for (size_t i = 0; i < N; i++)
        y[i] = x[i * F] > x[i * F + 1];
    medley_table table = {.features = x, .labels = y, .n = N, .n_features = F, .n_classes = 2};
    medley_gbdt_options options = {.rounds = 1000000};
    medley_gbdt *model = NULL;
    medley_error err;

    medley_set_threads(2);
    printf("threads: %u\n", medley_threads());
    signal(SIGINT, on_signal);
    raise(SIGINT);
    if (medley_gbdt_train(&table, NULL, &options, &model, &err) != MEDLEY_EINTERRUPTED)
        return 1;
    printf("stopped: %s\n", err.message);

    medley_interrupt(false); /* or all that begins is stopped as well */
    options.rounds = 20;
    if (medley_gbdt_train(&table, NULL, &options, &model, &err))
        return fprintf(stderr, "run: %s\n", err.message), 1;
    printf("trained: %zu rounds\n", medley_gbdt_rounds(model));
    medley_gbdt_free(model);
    return 0;
}
