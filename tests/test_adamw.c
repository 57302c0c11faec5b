/* test_adamw.c: against torch.optim.AdamW written out in double, clipping, schedules,
 * independence of threads, state in a file. */
#include "nn/adamw.h"

#include "base/memory.h"
#include "base/pool.h"
#include "tests/tap.h"

enum { STEPS = 12 };

static void add_params(struct params *p)
{
    params_init(p);
    params_add(p, 2, 37, 61, INIT_NORMAL, 1, "weight");
    params_add(p, 1, 1, 61, INIT_NORMAL, 1, "bias");
    param_id frozen = params_add(p, 2, 5, 5, INIT_NORMAL, 1, "frozen");
    param_id fast = params_add(p, 2, 301, 700, INIT_NORMAL, 1, "fast"); /* crosses chunks */
    params_allocate(p, 1, NULL);
    p->items[frozen].frozen = true;
    p->items[fast].rate = 3;
}

/* Gradients of one step; rows of zeros as in an embedding. */
static void make_gradients(const struct params *p, uint64_t step, float *g)
{
    struct rng r;
    rng_init(&r, 5, step);
    for (size_t i = 0; i < p->count; i++)
        for (size_t j = 0; j < p->items[i].rows * p->items[i].cols; j++)
            g[p->items[i].offset + j] =
                p->items[i].frozen || j % 7 < 3 ? 0 : (float)(0.01 * rng_normal(&r));
}

static const struct adamw_options usual = {.learning_rate = 1e-2,
                                           .weight_decay = 0.1,
                                           .clip = 1,
                                           .warmup = 0.25,
                                           .total_steps = STEPS};

/* The reference's own state, in double. */
struct reference {
    double *p, *m, *v;
};

static void reference_step(struct reference *r, const struct params *p, const float *g,
                           int step)
{
    double norm = 0, warm = 3, rate = 1e-2;
    for (size_t i = 0; i < p->total; i++)
        norm += (double)g[i] * g[i];
    double clip = fmin(1, 1 / (sqrt(norm) + 1e-6));
    rate *= step < warm ? (step + 1) / warm : (STEPS - step) / (STEPS - warm);
    double c1 = 1 - pow(0.9, step + 1), c2 = 1 - pow(0.999, step + 1);
    for (size_t k = 0; k < p->count; k++) {
        const struct param *item = &p->items[k];
        double own = rate * (double)item->rate;
        for (size_t i = item->offset; i < item->offset + item->rows * item->cols; i++) {
            if (item->frozen)
                continue;
            double d = g[i] * clip;
            r->p[i] *= 1 - own * (item->decay ? 0.1 : 0);
            r->m[i] = 0.9 * r->m[i] + 0.1 * d;
            r->v[i] = 0.999 * r->v[i] + 0.001 * d * d;
            r->p[i] -= own / c1 * r->m[i] / (sqrt(r->v[i]) / sqrt(c2) + 1e-8);
        }
    }
}

static void test_reference(void)
{
    struct params p;
    struct adamw a;
    add_params(&p);
    struct reference r = {mem_zalloc(p.total, sizeof(double)),
                          mem_zalloc(p.total, sizeof(double)),
                          mem_zalloc(p.total, sizeof(double))};
    float *g = mem_zalloc(p.total, sizeof *g);
    for (size_t i = 0; i < p.total; i++)
        r.p[i] = p.values[i];
    float still = params_value(&p, 2)[7];
    ok(adamw_init(&a, &p, &usual, NULL) == MEDLEY_OK, "starts");
    double norm = 0, wanted_norm = 0;
    for (int step = 0; step < STEPS; step++) {
        make_gradients(&p, (uint64_t)step, g);
        reference_step(&r, &p, g, step);
        wanted_norm = 0;
        for (size_t i = 0; i < p.total; i++)
            wanted_norm += (double)g[i] * g[i];
        norm = adamw_step(&a, &p, g);
    }
    ok(fabs(norm / sqrt(wanted_norm) - 1) < 1e-6, "returns the norm of the gradients (%.4f)",
       norm);
    double worst = 0, left = 0;
    for (size_t i = 0; i < p.total; i++) {
        worst = fmax(worst, fabs(r.p[i] - (double)p.values[i]) / (1 + fabs(r.p[i])));
        left = fmax(left, fabs(g[i]));
    }
    /* 12 steps of about 3e-2, each rounded to 2^-24 of parameters up to 4 */
    ok(worst < 2e-6, "%d steps follow the reference to %.1e", STEPS, worst);
    ok(left == 0, "gradients are zeroed");
    ok(params_value(&p, 2)[7] == still, "a frozen parameter stays");
    mem_free(r.p);
    mem_free(r.m);
    mem_free(r.v);
    mem_free(g);
    adamw_deinit(&a);
    params_deinit(&p);
}

static void run_steps(struct adamw *a, struct params *p, float *g, int from, int to)
{
    for (int step = from; step < to; step++) {
        make_gradients(p, (uint64_t)step, g);
        adamw_step(a, p, g);
    }
}

/* The same bits for any number of threads, without memory, and after a pause on disk. */
static void test_same_bits(void)
{
    char path[128];
    snprintf(path, sizeof path, "%s/state", tap_folder());
    struct params p[3];
    struct adamw a[3];
    float *g = NULL;
    for (int i = 0; i < 3; i++) {
        add_params(&p[i]);
        if (!g)
            g = mem_zalloc(p[i].total, sizeof *g);
        adamw_init(&a[i], &p[i], &usual, NULL);
    }
    pool_set_threads(1);
    run_steps(&a[0], &p[0], g, 0, 6);
    pool_set_threads(3);
    run_steps(&a[1], &p[1], g, 0, 3);
    struct st_writer *w = st_writer_new();
    adamw_write(&a[1], w);
    ok(st_writer_commit(w, path, NULL) == MEDLEY_OK, "state is written");
    st_writer_free(w);
    memcpy(p[2].values, p[1].values, p[1].total * sizeof *g);
    struct st_file *f = NULL;
    ok(st_open(path, &f, NULL) == MEDLEY_OK && adamw_read(&a[2], f, NULL) == MEDLEY_OK,
       "state is read");
    run_steps(&a[1], &p[1], g, 3, 6);
    size_t bytes = p[0].total * sizeof *g;
    ok(memcmp(p[0].values, p[1].values, bytes) == 0, "the same bits with 1 and 3 threads");
    make_gradients(&p[2], 3, g);
    mem_fail_after(0);
    adamw_step(&a[2], &p[2], g);
    mem_fail_after(SIZE_MAX);
    run_steps(&a[2], &p[2], g, 4, 6);
    ok(memcmp(p[0].values, p[2].values, bytes) == 0,
       "resumed, and short of memory: the same bits");
    struct params other;
    medley_error err;
    params_init(&other);
    params_add(&other, 1, 1, 4, INIT_ZERO, 0, "x");
    params_allocate(&other, 0, NULL);
    struct adamw small;
    adamw_init(&small, &other, &usual, NULL);
    ok(adamw_read(&small, f, &err) == MEDLEY_EFORMAT, "another model's state: %s", err.message);
    adamw_deinit(&small);
    st_close(f);
    remove(path);
    params_deinit(&other);
    for (int i = 0; i < 3; i++) {
        adamw_deinit(&a[i]);
        params_deinit(&p[i]);
    }
    mem_free(g);
}

static void test_not_finite(void)
{
    struct params p;
    struct adamw a;
    add_params(&p);
    adamw_init(&a, &p, &usual, NULL);
    float *g = mem_zalloc(p.total, sizeof *g), first = p.values[0];
    g[5] = INFINITY;
    ok(!isfinite(adamw_step(&a, &p, g)) && a.step == 0 && p.values[0] == first && g[5] == 0,
       "gradients that are not finite change nothing");
    mem_free(g);
    adamw_deinit(&a);
    params_deinit(&p);
}

static void test_schedules(void)
{
    struct adamw a = {.options = {.learning_rate = 2, .warmup = 0.2, .total_steps = 10}};
    static const double linear[] = {1, 2, 2, 1.75, 1.5, 1.25, 1, 0.75, 0.5, 0.25, 0, 0};
    bool good = true;
    for (a.step = 0; a.step < 12; a.step++)
        good = good && fabs(adamw_rate(&a) - linear[a.step]) < 1e-12;
    ok(good, "warm-up, then linear to 0");
    a.options.schedule = SCHEDULE_COSINE;
    a.step = 6;
    ok(fabs(adamw_rate(&a) - 1) < 1e-12, "cosine: half of it half way");
    a.step = 4;
    ok(fabs(adamw_rate(&a) - (1 + cos(3.14159265358979 / 4))) < 1e-9, "cosine: a quarter");
    a.options.schedule = SCHEDULE_CONSTANT;
    ok(adamw_rate(&a) == 2, "constant");
    a.options.total_steps = 0;
    a.options.schedule = SCHEDULE_LINEAR;
    ok(adamw_rate(&a) == 2, "no number of steps: constant");
}

int main(void)
{
    test_reference();
    test_same_bits();
    test_not_finite();
    test_schedules();
    struct params p;
    struct adamw a;
    add_params(&p);
    bool good = true;
    for (size_t i = 0; i < 2; i++) {
        mem_fail_after(i);
        good = good && adamw_init(&a, &p, &usual, NULL) == MEDLEY_ENOMEM;
        mem_fail_after(SIZE_MAX);
    }
    ok(good, "out of memory is reported");
    params_deinit(&p);
    return tap_done();
}
