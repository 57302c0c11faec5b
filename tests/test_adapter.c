/* test_adapter.c: a linear layer with an adapter: its value by hand, its gradients by finite
 * differences, what may learn. Fine-tuning with adapters: test_lm_options.c. */
#include "tests/tap.h"

#include "base/memory.h"
#include "nn/adapter.h"

enum { ROWS = 7, IN = 5, OUT = 6, RANK = 2 };

struct world {
    struct params p;
    param_id w, b;
    float x[ROWS * IN], targets[ROWS * OUT], *grads;
};

static void world_init(struct world *v)
{
    struct rng r;
    rng_init(&r, 31, 0);
    *v = (struct world){0};
    params_init(&v->p);
    v->w = params_add(&v->p, 2, OUT, IN, INIT_NORMAL, 0.5f, "attention.weight");
    v->p.items[v->w].linear = true;
    v->b = params_add(&v->p, 1, 1, OUT, INIT_NORMAL, 0.5f, "attention.bias");
    struct adapter_options o = {.rank = RANK, .alpha = 3, .attention_only = true};
    ok(adapters_declare(&v->p, 0, 2, &o) == 1 && v->p.count == 4, "one weight is adapted");
    params_allocate(&v->p, 5, NULL);
    for (size_t i = 0; i < v->p.total; i++)
        v->p.values[i] += (float)(0.3 * rng_normal(&r));
    for (size_t i = 0; i < ROWS * IN; i++)
        v->x[i] = (float)rng_normal(&r);
    for (size_t i = 0; i < ROWS * OUT; i++)
        v->targets[i] = (float)rng_normal(&r);
}

static double loss_of(struct world *v, struct tape *t, struct tensor **x, bool training)
{
    tape_reset(t, training, 0);
    *x = tape_input(t, v->x, ROWS, IN, true);
    struct tensor *y = adapted_linear(t, *x, v->w, v->b, ACT_GELU);
    struct tensor *loss = op_square_loss(t, y, v->targets);
    if (training)
        tape_backward(t, loss, 1, NULL);
    return (double)loss->value[0];
}

static double slope_at(struct world *v, struct tape *t, float *at)
{
    struct tensor *x;
    float was = *at, step = 4e-3f;
    *at = was + step;
    double up = loss_of(v, t, &x, false);
    *at = was - step;
    double down = loss_of(v, t, &x, false);
    *at = was;
    return (up - down) / (2 * (double)step);
}

/* With everything free to learn, or the weight and its bias frozen as adapters leave them. */
static void test_gradients(struct world *v, bool frozen)
{
    struct tape t, numeric;
    struct tensor *x;
    double worst = 0;
    for (int i = 0; i < 2; i++)
        v->p.items[i].frozen = frozen;
    struct param_span span = params_trainable(&v->p);
    v->grads = mem_zalloc(v->p.total, sizeof *v->grads);
    tape_init(&t, &v->p, v->grads);
    tape_init(&numeric, &v->p, NULL);
    loss_of(v, &t, &x, true);
    for (size_t i = 0; i < ROWS * IN; i++)
        worst = fmax(worst, fabs(slope_at(v, &numeric, &v->x[i]) - (double)x->grad[i]));
    for (size_t i = 0; i < v->p.count; i++) {
        const struct param *p = &v->p.items[i];
        for (size_t j = 0; !p->frozen && j < p->rows * p->cols; j++)
            worst = fmax(worst, fabs(slope_at(v, &numeric, v->p.values + p->offset + j) -
                                     (double)v->grads[p->offset + j - span.begin]));
    }
    ok(worst < 2e-4, "gradients, %s: %.1e", frozen ? "adapter alone" : "all", worst);
    ok(frozen ? span.begin == v->p.items[2].offset : span.begin == 0, "over what learns");
    tape_deinit(&t);
    tape_deinit(&numeric);
    mem_free(v->grads);
}

static void test_value(struct world *v)
{
    struct tape t;
    double worst = 0;
    tape_init(&t, &v->p, NULL);
    tape_reset(&t, false, 0);
    struct tensor *y =
        adapted_linear(&t, tape_input(&t, v->x, ROWS, IN, false), v->w, v->b, ACT_NONE);
    const float *w = params_value(&v->p, v->w), *b = params_value(&v->p, v->b);
    const float *a = params_value(&v->p, 2), *up = params_value(&v->p, 3);
    for (size_t i = 0; i < ROWS; i++)
        for (size_t o = 0; o < OUT; o++) {
            double sum = (double)b[o];
            for (size_t k = 0; k < IN; k++) {
                double weight = (double)w[o * IN + k];
                for (size_t q = 0; q < RANK; q++)
                    weight += 1.5 * (double)up[o * RANK + q] * (double)a[q * IN + k];
                sum += (double)v->x[i * IN + k] * weight;
            }
            worst = fmax(worst, fabs(sum - (double)y->value[i * OUT + o]));
        }
    ok(worst < 1e-5, "x (W + alpha / r B A)^T + b: %.1e", worst);
    tape_deinit(&t);
}

int main(void)
{
    struct world v;
    world_init(&v);
    test_value(&v);
    test_gradients(&v, false);
    test_gradients(&v, true);
    params_deinit(&v.p);
    return tap_done();
}
