/* bench_step.c: one fine-tuning step of a network shaped like MiniLM-L6 (22.7 M parameters), 32
 * pairs of 48 tokens, by number of lanes; and one forward pass. CSV on stdout. */
#include "base/cpu.h"
#include "base/memory.h"
#include "base/pool.h"
#include "nn/adamw.h"
#include "nn/lanes.h"
#include "nn/ops.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    PAIRS = 32,
    TOKENS = 48,
    LAYERS = 6,
    HIDDEN = 384,
    INNER = 1536,
    HEADS = 12,
    WORDS = 30522
};
enum { RUNS = 7 };

struct layer {
    param_id q, k, v, o, up, down, bq, bk, bv, bo, bup, bdown, gamma1, beta1, gamma2, beta2;
};

struct model {
    struct params params;
    param_id words, positions, gamma, beta, classes, bias;
    struct layer layers[LAYERS];
    int32_t ids[PAIRS * TOKENS], places[PAIRS * TOKENS];
    uint8_t labels[PAIRS];
    unsigned lanes;
};

static param_id matrix(struct params *p, size_t rows, size_t cols)
{
    return params_add(p, 2, rows, cols, INIT_NORMAL, 0.02f, "w%zu", p->count);
}

static param_id vector(struct params *p, size_t n, enum param_init init)
{
    return params_add(p, 1, 1, n, init, 0, "b%zu", p->count);
}

static void model_init(struct model *m)
{
    struct params *p = &m->params;
    params_init(p);
    m->words = matrix(p, WORDS, HIDDEN);
    m->positions = matrix(p, 512, HIDDEN);
    m->gamma = vector(p, HIDDEN, INIT_ONE);
    m->beta = vector(p, HIDDEN, INIT_ZERO);
    for (struct layer *l = m->layers; l < m->layers + LAYERS; l++) {
        param_id *square[] = {&l->q, &l->k, &l->v, &l->o};
        param_id *biases[] = {&l->bq, &l->bk, &l->bv, &l->bo, &l->bdown, &l->beta1, &l->beta2};
        for (int i = 0; i < 4; i++)
            *square[i] = matrix(p, HIDDEN, HIDDEN);
        for (int i = 0; i < 7; i++)
            *biases[i] = vector(p, HIDDEN, INIT_ZERO);
        l->up = matrix(p, INNER, HIDDEN);
        l->bup = vector(p, INNER, INIT_ZERO);
        l->down = matrix(p, HIDDEN, INNER);
        l->gamma1 = vector(p, HIDDEN, INIT_ONE);
        l->gamma2 = vector(p, HIDDEN, INIT_ONE);
    }
    m->classes = matrix(p, 4, HIDDEN);
    m->bias = vector(p, 4, INIT_ZERO);
    for (int i = 0; i < PAIRS * TOKENS; i++) {
        m->ids[i] =
            (int32_t)((uint32_t)i * 2654435761u % 5000); /* real text repeats its words */
        m->places[i] = i % TOKENS;
    }
    for (int i = 0; i < PAIRS; i++)
        m->labels[i] = (uint8_t)(i % 4);
}

static struct tensor *run_layer(struct tape *t, const struct layer *l, struct tensor *x,
                                struct ragged sequences, float dropout)
{
    struct tensor *q = op_linear(t, x, l->q, l->bq, ACT_NONE);
    struct tensor *k = op_linear(t, x, l->k, l->bk, ACT_NONE);
    struct tensor *v = op_linear(t, x, l->v, l->bv, ACT_NONE);
    struct tensor *y = op_attention(t, q, k, v, sequences, HEADS, dropout);
    y = op_dropout(t, op_linear(t, y, l->o, l->bo, ACT_NONE), dropout);
    x = op_norm(t, y, x, l->gamma1, l->beta1, 1e-12f);
    y = op_linear(t, x, l->up, l->bup, ACT_GELU);
    y = op_dropout(t, op_linear(t, y, l->down, l->bdown, ACT_NONE), dropout);
    return op_norm(t, y, x, l->gamma2, l->beta2, 1e-12f);
}

static struct tensor *body(void *context, struct tape *t, unsigned lane)
{
    const struct model *m = context;
    size_t first = (size_t)PAIRS * lane / m->lanes,
           n = (size_t)PAIRS * (lane + 1) / m->lanes - first;
    uint32_t offsets[PAIRS + 1], heads[PAIRS];
    for (size_t i = 0; i <= n; i++)
        offsets[i] = (uint32_t)(i * TOKENS);
    for (size_t i = 0; i < n; i++)
        heads[i] = offsets[i];
    struct ragged sequences = {offsets, n};
    struct tensor *x = op_embed(t, m->words, m->ids + first * TOKENS, n * TOKENS);
    struct tensor *p = op_embed(t, m->positions, m->places + first * TOKENS, n * TOKENS);
    x = op_dropout(t, op_norm(t, x, p, m->gamma, m->beta, 1e-12f), 0.1f);
    for (int i = 0; i < LAYERS; i++)
        x = run_layer(t, &m->layers[i], x, sequences, 0.1f);
    x = op_linear(t, op_rows(t, x, heads, n), m->classes, m->bias, ACT_NONE);
    x = op_softmax_loss(t, x, m->labels + first, NULL, 0);
    return op_scale(t, x, (float)n / PAIRS);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *seconds)
{
    qsort(seconds, RUNS, sizeof *seconds, by_value);
    return seconds[RUNS / 2];
}

/* Products of the layers alone, forward. */
static double flops(void)
{
    return 2.0 * PAIRS * TOKENS * LAYERS *
           (4.0 * HIDDEN * HIDDEN + 2.0 * HIDDEN * INNER + 2.0 * TOKENS * HIDDEN);
}

static int train(struct model *m, unsigned lanes)
{
    struct lanes l;
    struct adamw a;
    struct adamw_options o = {.learning_rate = 3e-5, .clip = 1, .weight_decay = 0.01};
    double run[RUNS], step[RUNS], loss = 0;
    m->lanes = lanes;
    pool_set_threads(lanes);
    if (lanes_init(&l, &m->params, lanes, NULL) || adamw_init(&a, &m->params, &o, NULL))
        return 1;
    for (int i = -2; i < RUNS; i++) {
        double start = clock_seconds();
        if (lanes_run(&l, (uint64_t)(i + 2), body, m, &loss, NULL))
            return 1;
        double middle = clock_seconds();
        adamw_step(&a, &m->params, l.grads);
        if (i >= 0) {
            run[i] = middle - start;
            step[i] = clock_seconds() - middle;
        }
    }
    double seconds = median(run);
    printf("forward and backward,%u,%.1f,%.1f\nadamw,%u,%.1f,\n", lanes, seconds * 1e3,
           3 * flops() / seconds / 1e9, lanes, median(step) * 1e3);
    fprintf(stderr, "# loss %.4f\n", loss);
    lanes_deinit(&l);
    adamw_deinit(&a);
    return 0;
}

static void infer(struct model *m)
{
    struct tape t;
    double run[RUNS];
    tape_init(&t, &m->params, NULL);
    m->lanes = 1;
    for (int i = -2; i < RUNS; i++) {
        double start = clock_seconds();
        tape_reset(&t, false, 0);
        body(m, &t, 0);
        if (i >= 0)
            run[i] = clock_seconds() - start;
    }
    double seconds = median(run);
    printf("inference,1,%.1f,%.1f\n", seconds * 1e3, flops() / seconds / 1e9);
    tape_deinit(&t);
}

int main(void)
{
    static struct model m;
    model_init(&m);
    if (params_allocate(&m.params, 1, NULL))
        return 1;
    printf("# %s, median of %d\nwhat,lanes,milliseconds,gflops\n", cpu_name(), RUNS);
    int failed = train(&m, 1) || train(&m, 2);
    infer(&m);
    params_deinit(&m.params);
    return failed;
}
