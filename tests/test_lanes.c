/* test_lanes.c: lanes add up to the whole batch; the result depends on the number of lanes,
 * never of threads; failures leave no gradient behind. */
#include "nn/lanes.h"

#include "base/memory.h"
#include "base/pool.h"
#include "nn/ops.h"
#include "tests/tap.h"

enum { ROWS = 24, D = 10, K = 3 };

struct batch {
    struct params params;
    param_id table, w;
    int32_t ids[ROWS];
    uint8_t labels[ROWS];
    unsigned lanes;
    float dropout;
    unsigned broken; /* this lane runs out of memory; UINT32_MAX: none */
};

static void batch_init(struct batch *b)
{
    *b = (struct batch){.broken = UINT32_MAX};
    params_init(&b->params);
    b->table = params_add(&b->params, 2, 9000, D, INIT_NORMAL, 1, "table"); /* several chunks */
    b->w = params_add(&b->params, 2, K, D, INIT_NORMAL, 1, "w");
    params_allocate(&b->params, 1, NULL);
    for (int i = 0; i < ROWS; i++) {
        b->ids[i] = i * i * 15 % 9000;
        b->labels[i] = (uint8_t)(i % K);
    }
}

static struct tensor *body(void *context, struct tape *t, unsigned lane)
{
    const struct batch *b = context;
    size_t first = (size_t)ROWS * lane / b->lanes,
           n = (size_t)ROWS * (lane + 1) / b->lanes - first;
    if (n == 0)
        return NULL;
    if (lane == b->broken)
        t->failed = true;
    struct tensor *x = op_embed(t, b->table, b->ids + first, n);
    x = op_dropout(t, op_activation(t, x, ACT_TANH), b->dropout);
    x = op_linear(t, x, b->w, PARAM_NONE, ACT_NONE);
    x = op_softmax_loss(t, x, b->labels + first, NULL, 0);
    return op_scale(t, x, (float)n / ROWS);
}

/* Gradients of one run with fresh lanes, to be freed. */
static float *gradients(struct batch *b, unsigned lanes, unsigned threads, uint64_t seed,
                        double *loss)
{
    struct lanes l;
    b->lanes = lanes;
    pool_set_threads(threads);
    if (lanes_init(&l, &b->params, lanes, NULL) != MEDLEY_OK ||
        lanes_run(&l, seed, body, b, loss, NULL) != MEDLEY_OK)
        return NULL;
    float *g = mem_alloc(b->params.total, sizeof *g);
    memcpy(g, l.grads, b->params.total * sizeof *g);
    lanes_deinit(&l);
    return g;
}

static double difference(const float *a, const float *b, size_t n)
{
    double worst = 0;
    for (size_t i = 0; i < n; i++)
        worst = fmax(worst, fabs((double)a[i] - b[i]));
    return worst;
}

static void test_sums(void)
{
    struct batch b;
    double loss1, loss3, loss40;
    batch_init(&b);
    float *one = gradients(&b, 1, 1, 7, &loss1), *three = gradients(&b, 3, 1, 7, &loss3);
    float *many = gradients(&b, 40, 2, 7, &loss40);
    ok(difference(one, three, b.params.total) < 1e-7, "3 lanes add up to the batch");
    ok(difference(one, many, b.params.total) < 1e-7, "more lanes than rows: some have nothing");
    ok(fabs(loss1 - loss3) < 1e-6 && fabs(loss1 - loss40) < 1e-6 && loss1 > 0.5,
       "losses add up (%.4f)", loss1);
    mem_free(one);
    mem_free(three);
    mem_free(many);
    params_deinit(&b.params);
}

static void test_threads(void)
{
    struct batch b;
    double loss[3];
    batch_init(&b);
    b.dropout = 0.5f;
    float *one = gradients(&b, 4, 1, 7, &loss[0]), *three = gradients(&b, 4, 3, 7, &loss[1]);
    float *other = gradients(&b, 4, 3, 8, &loss[2]);
    size_t bytes = b.params.total * sizeof *one;
    ok(memcmp(one, three, bytes) == 0 && loss[0] == loss[1],
       "the same bits with 1 and 3 threads");
    ok(memcmp(one, other, bytes) != 0, "another seed drops others");
    mem_free(one);
    mem_free(three);
    mem_free(other);
    params_deinit(&b.params);
}

static void test_accumulates(void)
{
    struct batch b;
    struct lanes l;
    double loss;
    batch_init(&b);
    b.lanes = 2;
    float *once = gradients(&b, 2, 2, 7, &loss);
    lanes_init(&l, &b.params, 2, NULL);
    lanes_run(&l, 7, body, &b, &loss, NULL);
    lanes_run(&l, 7, body, &b, &loss, NULL);
    for (size_t i = 0; i < b.params.total; i++)
        once[i] *= 2;
    ok(difference(once, l.grads, b.params.total) < 1e-7, "two runs add up");
    lanes_deinit(&l);
    mem_free(once);
    params_deinit(&b.params);
}

static bool all_zero(const struct lanes *l, size_t n)
{
    for (unsigned lane = 0; lane < l->count; lane++)
        for (size_t i = 0; i < n; i++)
            if (l->tapes[lane].grads[i] != 0)
                return false;
    return true;
}

static void test_failures(void)
{
    struct batch b;
    struct lanes l;
    double loss = 9;
    medley_error err;
    batch_init(&b);
    b.lanes = 3;
    b.broken = 1;
    lanes_init(&l, &b.params, 3, NULL);
    ok(lanes_run(&l, 1, body, &b, &loss, &err) == MEDLEY_ENOMEM && loss == 9,
       "a lane without memory: %s", err.message);
    ok(all_zero(&l, b.params.total), "no gradient is left");
    b.broken = UINT32_MAX;
    mem_fail_after(0);
    ok(lanes_run(&l, 1, body, &b, &loss, &err) == MEDLEY_ENOMEM, "no memory for the results");
    mem_fail_after(SIZE_MAX);
    ok(lanes_run(&l, 1, body, &b, &loss, &err) == MEDLEY_OK, "works again");
    lanes_deinit(&l);
    bool good = true;
    for (size_t i = 0; i < 4; i++) {
        mem_fail_after(i);
        good = good && lanes_init(&l, &b.params, 3, &err) == MEDLEY_ENOMEM;
        mem_fail_after(SIZE_MAX);
    }
    ok(good, "lanes_init reports want of memory");
    params_deinit(&b.params);
}

int main(void)
{
    test_sums();
    test_threads();
    test_accumulates();
    test_failures();
    return tap_done();
}
