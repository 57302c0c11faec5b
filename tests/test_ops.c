/* test_ops.c: every operation against finite differences; values against plain definitions;
 * what a failed tape, frozen parameters and inference do. */
#include "nn/ops.h"
#include "nn/recompute.h"

#include "base/memory.h"
#include "tests/tap.h"

enum { N = 7, D = 6, O = 5, K = 4, VOCABULARY = 9, HEADS = 2 };

static const uint32_t offsets[] = {0, 3, 3, 7}; /* the second sequence is empty */
static const struct ragged sequences = {offsets, 3};
static const int32_t ids[] = {2, 0, 8, 2, 2, 5};
static const uint32_t picked[] = {6, 1, 1, 0};
static const uint8_t labels[N] = {0, 3, 1, 1, 2, 0, 3};
static const float label_weights[N] = {1, 0.5f, 2, 0, 1, 1, 3};

/* What the cases work on. */
struct world {
    struct params params;
    param_id table, w, b, w2, gamma, beta, conv_w, conv_b;
    float x[3][N * D];
    float *grads;
};

static float away_from_zero(double v)
{
    return (float)(v < 0 ? v - 0.2 : v + 0.2);
}

static void world_init(struct world *w, uint64_t seed)
{
    struct params *p = &w->params;
    params_init(p);
    w->table = params_add(p, 2, VOCABULARY, D, INIT_NORMAL, 1, "table");
    w->w = params_add(p, 2, O, D, INIT_NORMAL, 0.1f, "w");
    w->b = params_add(p, 1, 1, O, INIT_NORMAL, 0.1f, "b");
    w->w2 = params_add(p, 2, D, O, INIT_GLOROT, 1, "w%d", 2);
    w->gamma = params_add(p, 1, 1, D, INIT_NORMAL, 1, "gamma");
    w->beta = params_add(p, 1, 1, D, INIT_NORMAL, 1, "beta");
    w->conv_w =
        params_add(p, 3, 4, D / 2 * 3, INIT_NORMAL, 0.5f, "conv"); /* 4 outputs, 2 groups */
    w->conv_b = params_add(p, 1, 1, 4, INIT_NORMAL, 0.5f, "conv bias");
    p->items[w->conv_w].taps = 3;
    params_allocate(p, seed, NULL);
    for (int i = 0; i < O; i++) /* keeps x w + b off the kinks of ReLU and ELU */
        params_value(p, w->b)[i] += i % 2 ? 1.5f : -1.5f;
    struct rng r;
    rng_init(&r, seed, 99);
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < N * D; j++)
            w->x[i][j] = away_from_zero(0.7 * rng_normal(&r));
    w->grads = mem_zalloc(p->total, sizeof *w->grads);
}

static void world_deinit(struct world *w)
{
    params_deinit(&w->params);
    mem_free(w->grads);
}

/* ---- cases: build y from inputs a, b, c, each [N, D] ---- */

struct in {
    const struct world *w;
    struct tensor *a, *b, *c;
};
typedef struct tensor *build(struct tape *t, struct in in);

static struct tensor *embed(struct tape *t, struct in in)
{
    return op_embed(t, in.w->table, ids, sizeof ids / sizeof *ids);
}

#define LINEAR_CASE(name, act)                                       \
    static struct tensor *name(struct tape *t, struct in in)         \
    {                                                                \
        return op_linear(t, in.a, in.w->w, in.w->b, act);            \
    }                                                                \
    static struct tensor *name##_alone(struct tape *t, struct in in) \
    {                                                                \
        return op_activation(t, in.a, act);                          \
    }
LINEAR_CASE(linear_none, ACT_NONE)
LINEAR_CASE(linear_relu, ACT_RELU)
LINEAR_CASE(linear_gelu, ACT_GELU)
LINEAR_CASE(linear_gelu_tanh, ACT_GELU_TANH)
LINEAR_CASE(linear_tanh, ACT_TANH)
LINEAR_CASE(linear_elu, ACT_ELU)
LINEAR_CASE(linear_silu, ACT_SILU)

static struct tensor *linear_bare(struct tape *t, struct in in)
{
    return op_linear(t, in.a, in.w->w, PARAM_NONE, ACT_NONE);
}

static struct tensor *norm(struct tape *t, struct in in)
{
    return op_norm(t, in.a, NULL, in.w->gamma, in.w->beta, 1e-5f);
}

static struct tensor *norm_residual(struct tape *t, struct in in)
{
    return op_norm(t, in.a, in.b, in.w->gamma, in.w->beta, 1e-5f);
}

static struct tensor *norm_unshifted(struct tape *t, struct in in)
{
    return op_norm(t, in.a, NULL, in.w->gamma, PARAM_NONE, 1e-5f);
}

static struct tensor *attention(struct tape *t, struct in in)
{
    return op_attention(t, in.a, in.b, in.c, sequences, HEADS, 0);
}

static struct tensor *attention_dropout(struct tape *t, struct in in)
{
    return op_attention(t, in.a, in.b, in.c, sequences, HEADS, 0.3f);
}

static struct tensor *attention_self(struct tape *t, struct in in)
{
    return op_attention(t, in.a, in.a, in.a, sequences, HEADS, 0);
}

/* Distances -4 .. 4 in five buckets. */
static const uint16_t bucket[] = {0, 0, 1, 1, 2, 3, 3, 4, 4};

/* Every term at once; bias and tables are rows of a and b, their first five. */
static struct tensor *attention_terms(struct tape *t, struct in in)
{
    static const uint32_t five[] = {0, 1, 2, 3, 4};
    struct attention_terms terms = {.scale = 0.4f,
                                    .bucket = bucket,
                                    .reach = 4,
                                    .bias = op_columns(t, op_rows(t, in.c, five, 5), 1, HEADS),
                                    .key_at = op_rows(t, in.a, five, 5),
                                    .query_at = op_rows(t, in.b, five, 5)};
    return op_attention_with(t, in.a, in.b, in.c, sequences, HEADS, 0, &terms);
}

static void hide_next(const void *context, size_t sequence, size_t head, float *scores,
                      size_t n)
{
    (void)context;
    (void)sequence;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            if (j == i + 1 + head)
                scores[i * n + j] = ATTENTION_UNSEEN;
}

static struct tensor *attention_masked(struct tape *t, struct in in)
{
    return op_attention_with(t, in.a, in.b, in.c, sequences, HEADS, 0,
                             &(struct attention_terms){.mask = hide_next});
}

static struct tensor *rotary(struct tape *t, struct in in)
{
    static const int32_t positions[N] = {0, 1, 2, 0, 1, 2, 3};
    /* One head of six; heads of three would be odd. */
    return op_rotary(t, in.a, positions, 1, 100);
}

static struct tensor *conv(struct tape *t, struct in in)
{
    return op_conv(t, in.a, in.w->conv_w, in.w->conv_b, sequences, 3, 2);
}

static struct tensor *columns(struct tape *t, struct in in)
{
    return op_columns(t, in.a, 2, 3);
}

static struct tensor *table(struct tape *t, struct in in)
{
    return op_linear(t, op_table(t, in.w->table), in.w->w, PARAM_NONE, ACT_TANH);
}

static struct tensor *loss_sigmoid(struct tape *t, struct in in)
{
    static const float targets[N * D] = {1, 0, 0.5f, 1, [20] = 1, [33] = 0.25f};
    return op_sigmoid_loss(t, in.a, targets);
}

static struct tensor *loss_square(struct tape *t, struct in in)
{
    static const float targets[N * D] = {1, 0, -3, 1, [20] = 1, [33] = 0.25f};
    return op_square_loss(t, in.a, targets);
}

static struct tensor *dropout(struct tape *t, struct in in)
{
    return op_dropout(t, in.a, 0.4f);
}

static struct tensor *add(struct tape *t, struct in in)
{
    return op_add(t, in.a, op_add(t, in.b, in.b));
}

static struct tensor *sub(struct tape *t, struct in in)
{
    return op_sub(t, in.a, in.b);
}

static struct tensor *mul(struct tape *t, struct in in)
{
    return op_mul(t, op_mul(t, in.a, in.b), in.a);
}

static struct tensor *scale(struct tape *t, struct in in)
{
    return op_scale(t, in.a, -1.7f);
}

static struct tensor *rows(struct tape *t, struct in in)
{
    return op_rows(t, in.a, picked, sizeof picked / sizeof *picked);
}

static struct tensor *concat(struct tape *t, struct in in)
{
    struct tensor *parts[] = {in.a, in.b, in.a, linear_none(t, in)};
    return op_concat(t, parts, 4);
}

static struct tensor *mean_pool(struct tape *t, struct in in)
{
    return op_mean_pool(t, in.a, sequences);
}

static struct tensor *l2_normalize(struct tape *t, struct in in)
{
    return op_l2_normalize(t, in.a);
}

static struct tensor *loss_plain(struct tape *t, struct in in)
{
    return op_softmax_loss(t, in.a, labels, NULL, 0);
}

static struct tensor *loss_weighted(struct tape *t, struct in in)
{
    return op_softmax_loss(t, in.a, labels, label_weights, 0.1f);
}

static struct tensor *loss_mixed(struct tape *t, struct in in)
{
    return op_label_loss(t, in.a, labels, &(struct label_loss){label_weights, 0.1f, 0.4f});
}

static struct tensor *recomputed(const void *context, struct tape *t, struct tensor *x)
{
    const struct world *w = *(const struct world *const *)context;
    struct tensor *h = op_linear(t, op_dropout(t, x, 0.3f), w->w, w->b, ACT_GELU);
    return op_linear(t, h, w->w2, PARAM_NONE, ACT_NONE);
}

static struct tensor *recompute(struct tape *t, struct in in)
{
    struct tensor *h = op_dropout(t, op_scale(t, in.a, 1), 0.2f);
    h = op_recompute(t, h, recomputed, &in.w, sizeof in.w);
    return op_recompute(t, h, recomputed, &in.w, sizeof in.w);
}

/* A transformer block in small: the ops feeding one another, several times from one tensor. */
static struct tensor *block(struct tape *t, struct in in)
{
    struct tensor *h = op_attention(t, in.a, in.b, in.c, sequences, HEADS, 0.1f);
    h = op_norm(t, op_dropout(t, h, 0.1f), in.a, in.w->gamma, in.w->beta, 1e-5f);
    struct tensor *f = op_linear(t, h, in.w->w, in.w->b, ACT_GELU);
    f = op_linear(t, f, in.w->w2, PARAM_NONE, ACT_NONE);
    h = op_norm(t, f, h, in.w->gamma, in.w->beta, 1e-5f);
    return op_softmax_loss(t, op_mean_pool(t, h, sequences), labels, NULL, 0);
}

#define CASE(f) \
    {           \
#f, f   \
    }
static const struct {
    const char *name;
    build *build;
} cases[] = {
    CASE(embed),
    CASE(table),
    CASE(linear_none),
    CASE(linear_bare),
    CASE(linear_relu),
    CASE(linear_gelu),
    CASE(linear_gelu_tanh),
    CASE(linear_tanh),
    CASE(linear_elu),
    CASE(linear_silu),
    CASE(linear_relu_alone),
    CASE(linear_gelu_alone),
    CASE(linear_gelu_tanh_alone),
    CASE(linear_tanh_alone),
    CASE(linear_elu_alone),
    CASE(linear_silu_alone),
    CASE(linear_none_alone),
    CASE(norm),
    CASE(norm_residual),
    CASE(norm_unshifted),
    CASE(attention),
    CASE(attention_dropout),
    CASE(attention_self),
    CASE(attention_terms),
    CASE(attention_masked),
    CASE(rotary),
    CASE(conv),
    CASE(columns),
    CASE(loss_sigmoid),
    CASE(loss_square),
    CASE(dropout),
    CASE(add),
    CASE(sub),
    CASE(mul),
    CASE(scale),
    CASE(rows),
    CASE(concat),
    CASE(mean_pool),
    CASE(l2_normalize),
    CASE(loss_plain),
    CASE(loss_weighted),
    CASE(loss_mixed),
    CASE(recompute),
    CASE(block),
};
enum { CASES = sizeof cases / sizeof *cases };

/* ---- finite differences ---- */

/* Recorded after y: sum of y by fixed weights, in double; its way back fills y.grad. */
struct weighted {
    struct tensor *y, *loss;
    double value;
};

static double weight_of(size_t i)
{
    return sin(1.0 + 2.3 * (double)i);
}

static void weighted_back(struct tape *t, void *context)
{
    (void)t;
    struct weighted *s = context;
    for (size_t i = 0; i < s->y->rows * s->y->cols; i++)
        s->y->grad[i] += s->loss->grad[0] * (float)weight_of(i);
}

static struct weighted *weighted_sum(struct tape *t, struct tensor *y)
{
    struct weighted *s = y ? tape_alloc(t, 1, sizeof *s) : NULL;
    struct tensor *loss = tape_tensor(t, 1, 1, y && y->grad);
    if (!s || !loss)
        return NULL;
    *s = (struct weighted){y, loss, 0};
    for (size_t i = 0; i < y->rows * y->cols; i++)
        s->value += weight_of(i) * y->value[i];
    if (y->grad)
        tape_record(t, weighted_back, s);
    return s;
}

static struct weighted *run(struct tape *t, const struct world *w, build *make, struct in *in)
{
    tape_reset(t, true, 42);
    *in = (struct in){.w = w};
    in->a = tape_input(t, w->x[0], N, D, true);
    in->b = tape_input(t, w->x[1], N, D, true);
    in->c = tape_input(t, w->x[2], N, D, true);
    return weighted_sum(t, make(t, *in));
}

static double value_at(struct tape *t, struct world *w, build *make, float *place, double v)
{
    struct in in;
    *place = (float)v;
    return run(t, w, make, &in)->value;
}

/* Five-point central difference: with h = 1/32 (exact in float) truncation is about 1e-6
 * f'''''/30 and rounding of y (6e-8) brings about 1e-5. */
static double slope_at(struct tape *t, struct world *w, build *make, float *place)
{
    double at = *place, h = 1.0 / 32;
    double near = value_at(t, w, make, place, at + h) - value_at(t, w, make, place, at - h);
    double far =
        value_at(t, w, make, place, at + 2 * h) - value_at(t, w, make, place, at - 2 * h);
    *place = (float)at;
    return (8 * near - far) / (12 * h);
}

static double worst_slope(struct tape *t, struct world *w, build *make, float *values,
                          const float *grads, size_t n)
{
    double worst = 0;
    for (size_t i = 0; i < n; i++) {
        double wanted = slope_at(t, w, make, values + i);
        worst = fmax(worst, fabs(wanted - (double)grads[i]) / (1 + fabs(wanted)));
    }
    return worst;
}

static void test_gradient(const char *name, build *make)
{
    struct world w;
    struct tape t;
    struct in in;
    world_init(&w, 3);
    tape_init(&t, &w.params, w.grads);
    struct weighted *s = run(&t, &w, make, &in);
    ok(tape_backward(&t, s->loss, 1, NULL) == MEDLEY_OK, "%s: runs backward", name);
    float inputs[3][N * D], *params = mem_alloc(w.params.total, sizeof *params);
    memcpy(inputs[0], in.a->grad, sizeof inputs[0]);
    memcpy(inputs[1], in.b->grad, sizeof inputs[1]);
    memcpy(inputs[2], in.c->grad, sizeof inputs[2]);
    memcpy(params, w.grads, w.params.total * sizeof *params);
    double worst = 0;
    for (int i = 0; i < 3; i++)
        worst = fmax(worst, worst_slope(&t, &w, make, w.x[i], inputs[i], N * D));
    worst = fmax(worst, worst_slope(&t, &w, make, w.params.values, params, w.params.total));
    ok(worst < 3e-4, "%s: gradients agree with differences to %.1e", name, worst);
    mem_free(params);
    tape_deinit(&t);
    world_deinit(&w);
}

/* ---- failures ---- */

static void test_no_memory(const char *name, build *make)
{
    struct world w;
    struct in in;
    world_init(&w, 3);
    bool good = true, finished = false;
    for (size_t fail_at = 0; fail_at < 40 && !finished; fail_at++) {
        struct tape t;
        tape_init(&t, &w.params, w.grads);
        t.arena.block_size = 256; /* so that an op allocates several times */
        mem_fail_after(fail_at);
        struct weighted *s = run(&t, &w, make, &in);
        finished = s && !t.failed;
        good = good &&
               (finished || (t.failed && tape_backward(&t, NULL, 1, NULL) == MEDLEY_ENOMEM));
        mem_fail_after(SIZE_MAX);
        tape_deinit(&t);
    }
    ok(good && finished, "%s: each allocation may fail", name);
    world_deinit(&w);
}

/* On a failed tape, and for NULL inputs, an op gives NULL; without training no gradient. */
static void test_not_training(const char *name, build *make)
{
    struct world w;
    struct tape t;
    world_init(&w, 3);
    tape_init(&t, &w.params, w.grads);
    struct in in;
    double trained = run(&t, &w, make, &in)->value;
    tape_reset(&t, false, 42);
    in = (struct in){&w, tape_input(&t, w.x[0], N, D, true), tape_input(&t, w.x[1], N, D, true),
                     tape_input(&t, w.x[2], N, D, true)};
    struct tensor *y = make(&t, in);
    double value = weighted_sum(&t, y)->value;
    bool drops =
        strstr(name, "dropout") || strcmp(name, "block") == 0 || strcmp(name, "recompute") == 0;
    ok(!y->grad && !t.entries, "%s: inference records nothing", name);
    ok(drops ? value != trained : fabs(value - trained) < 1e-6 * (1 + fabs(trained)),
       "%s: inference gives %s value", name, drops ? "another" : "the same");
    t.failed = true;
    ok(!make(&t, in), "%s: NULL on a failed tape", name);
    tape_deinit(&t);
    world_deinit(&w);
}

static void test_null_inputs(void)
{
    struct world w;
    struct tape t;
    world_init(&w, 1);
    tape_init(&t, &w.params, w.grads);
    int count = 0;
    for (int i = 2; i < CASES; i++) /* the first two have no inputs */
        count += cases[i].build(&t, (struct in){.w = &w}) == NULL;
    ok(count == CASES - 2, "NULL in, NULL out");
    tape_deinit(&t);
    world_deinit(&w);
}

/* ---- frozen parameters ---- */

static void test_frozen(void)
{
    struct world w;
    struct tape t;
    world_init(&w, 3);
    tape_init(&t, &w.params, w.grads);
    for (size_t i = 0; i < w.params.count; i++)
        w.params.items[i].frozen = true;
    tape_reset(&t, true, 1);
    struct in in = {&w, tape_input(&t, w.x[0], N, D, false),
                    tape_input(&t, w.x[1], N, D, false), tape_input(&t, w.x[2], N, D, false)};
    struct tensor *y = block(&t, in);
    ok(y && !y->grad && !t.entries, "all frozen: nothing is recorded");
    ok(tape_backward(&t, y, 1, NULL) == MEDLEY_OK, "all frozen: backward has nothing to do");
    w.params.items[w.w2].frozen = false;
    tape_reset(&t, true, 1);
    in.a = tape_input(&t, w.x[0], N, D, false);
    in.b = tape_input(&t, w.x[1], N, D, false);
    in.c = tape_input(&t, w.x[2], N, D, false);
    y = block(&t, in);
    ok(tape_backward(&t, y, 1, NULL) == MEDLEY_OK, "one thawed: backward runs");
    bool only = true, some = false;
    for (size_t i = 0; i < w.params.total; i++) {
        size_t at = w.params.items[w.w2].offset;
        bool inside = i >= at && i < at + O * D;
        some = some || (inside && w.grads[i] != 0);
        only = only && (inside || w.grads[i] == 0);
    }
    ok(some && only, "one thawed: it alone has a gradient");
    tape_deinit(&t);
    world_deinit(&w);
}

/* ---- values ---- */

/* One head of one sequence by the book (Vaswani et al. 2017, eq. 1). */
static double attention_value(const struct world *w, size_t row, size_t column)
{
    size_t d = D / HEADS, head = column / d * d, s = row < 3 ? 0 : 2;
    double sum = 0, out = 0;
    for (size_t j = offsets[s]; j < offsets[s + 1]; j++) {
        double score = 0;
        for (size_t i = 0; i < d; i++)
            score += (double)w->x[0][row * D + head + i] * w->x[1][j * D + head + i];
        double e = exp(score / sqrt((double)d));
        sum += e;
        out += e * w->x[2][j * D + column];
    }
    return out / sum;
}

static void test_attention_value(void)
{
    struct world w;
    struct tape t;
    struct in in;
    world_init(&w, 8);
    tape_init(&t, &w.params, w.grads);
    struct tensor *y = run(&t, &w, attention, &in)->y;
    double worst = 0;
    for (size_t i = 0; i < N * D; i++)
        worst = fmax(worst, fabs(attention_value(&w, i / D, i % D) - (double)y->value[i]));
    ok(worst < 1e-6, "attention equals its definition to %.1e", worst);
    tape_deinit(&t);
    world_deinit(&w);
}

/* First tokens alone attend as among all. */
static void test_attention_first(void)
{
    static const uint32_t begins[] = {0, 3, N};
    struct ragged two = {begins, 2};
    struct world w;
    struct tape t;
    world_init(&w, 8);
    tape_init(&t, &w.params, NULL);
    tape_reset(&t, false, 0);
    struct tensor *q = tape_input(&t, w.x[0], N, D, false);
    struct tensor *k = tape_input(&t, w.x[1], N, D, false);
    struct tensor *v = tape_input(&t, w.x[2], N, D, false);
    struct tensor *all = op_attention(&t, q, k, v, two, HEADS, 0);
    struct tensor *first = op_attention_first(&t, op_rows(&t, q, begins, 2), k, v, two, HEADS);
    double worst = first ? 0 : INFINITY;
    for (size_t s = 0; first && s < 2; s++)
        for (size_t c = 0; c < D; c++)
            worst = fmax(worst,
                         fabs((double)first->value[s * D + c] - all->value[begins[s] * D + c]));
    ok(worst < 1e-6, "attention of first tokens alone: %.1e", worst);
    t.failed = true;
    ok(!op_attention_first(&t, q, k, v, two, HEADS), "nothing from a failed tape");
    tape_deinit(&t);
    world_deinit(&w);
}

static void test_linear_value(void)
{
    struct world w;
    struct tape t;
    struct in in;
    world_init(&w, 8);
    tape_init(&t, &w.params, w.grads);
    struct tensor *y = run(&t, &w, linear_gelu, &in)->y;
    double worst = 0;
    for (size_t i = 0; i < N * O; i++) {
        double z = (double)params_value(&w.params, w.b)[i % O];
        for (size_t j = 0; j < D; j++)
            z += (double)w.x[0][i / O * D + j] * params_value(&w.params, w.w)[i % O * D + j];
        worst = fmax(worst, fabs(0.5 * z * (1 + erf(z / sqrt(2))) - (double)y->value[i]));
    }
    ok(worst < 1e-6, "linear with GELU equals its definition to %.1e", worst);
    tape_deinit(&t);
    world_deinit(&w);
}

static void test_loss_value(void)
{
    struct params none = {0};
    float grads[1], logits[] = {1, 2, 3, 0, 0, 0}, weights[] = {3, 1}, out[6];
    static const uint8_t two[] = {2, 0};
    struct tape t;
    tape_init(&t, &none, grads);
    tape_reset(&t, true, 0);
    struct tensor *z = tape_input(&t, logits, 2, 3, false);
    double first = log(exp(-2) + exp(-1) + 1), second = log(3);
    float got = op_softmax_loss(&t, z, two, weights, 0)->value[0];
    ok(fabs(got - (3 * first + second) / 4) < 1e-6, "weighted cross-entropy");
    got = op_softmax_loss(&t, z, two, NULL, 0.3f)->value[0];
    double smooth = 0.7 * first + 0.1 * (first + (first + 1) + (first + 2));
    ok(fabs(got - (smooth + second) / 2) < 1e-6, "smoothed cross-entropy");
    static const float nothing[] = {0, 0};
    got = op_softmax_loss(&t, z, two, nothing, 0)->value[0];
    ok(got == 0, "no weight, no loss");
    softmax_rows(logits, 2, 3, out);
    ok(fabs(out[2] - exp(-first)) < 1e-7 && fabs(out[5] - 1.0 / 3) < 1e-7, "softmax of rows");
    tape_deinit(&t);
}

static void test_shapes(void)
{
    struct world w;
    struct tape t;
    struct in in;
    world_init(&w, 8);
    tape_init(&t, &w.params, w.grads);
    struct tensor *y = run(&t, &w, embed, &in)->y;
    ok(y->rows == 6 && memcmp(y->value + 2 * D, params_value(&w.params, w.table) + 8 * D,
                              D * sizeof *y->value) == 0,
       "embedding copies its row");
    y = run(&t, &w, rows, &in)->y;
    ok(y->rows == 4 && memcmp(y->value, w.x[0] + 6 * D, D * sizeof *y->value) == 0, "rows");
    y = run(&t, &w, concat, &in)->y;
    ok(y->cols == 3 * D + O && y->value[y->cols + D] == w.x[1][D], "concat");
    y = run(&t, &w, mean_pool, &in)->y;
    ok(y->rows == 3 && y->value[D] == 0 &&
           fabs(y->value[1] - (w.x[0][1] + w.x[0][D + 1] + w.x[0][2 * D + 1]) / 3) < 1e-6,
       "mean of rows, 0 for an empty sequence");
    y = run(&t, &w, l2_normalize, &in)->y;
    double sum = 0;
    for (int i = 0; i < D; i++)
        sum += (double)y->value[i] * y->value[i];
    ok(fabs(sum - 1) < 1e-6, "a row of length 1");
    struct tensor *one = tape_tensor(&t, 2, 2, false);
    ok(one && tape_backward(&t, one, 1, NULL) == MEDLEY_EINVAL, "a loss must be one number");
    tape_deinit(&t);
    world_deinit(&w);
}

/* Rate, independence of position, and the same mask for the same seed only. */
static void test_dropout(void)
{
    enum { COUNT = 20000 };
    struct params none = {0};
    float grads[1], *ones = mem_alloc(COUNT, sizeof *ones);
    for (size_t i = 0; i < COUNT; i++)
        ones[i] = 1;
    struct tape t[2];
    size_t kept = 0, pairs = 0, equal = 0;
    bool scaled = true;
    struct tensor *y[2];
    for (int i = 0; i < 2; i++) {
        tape_init(&t[i], &none, grads);
        tape_reset(&t[i], true, 10 + (uint64_t)i);
        y[i] = op_dropout(&t[i], tape_input(&t[i], ones, 100, COUNT / 100, false), 0.25f);
    }
    for (size_t i = 0; i < COUNT; i++) {
        const float *v = y[0]->value;
        scaled = scaled && (v[i] == 0 || fabs(v[i] - 1 / 0.75) < 1e-6);
        kept += v[i] != 0;
        pairs += i > 0 && v[i] != 0 && v[i - 1] != 0;
        equal += (v[i] != 0) == (y[1]->value[i] != 0);
    }
    ok(scaled, "kept elements are scaled by 1 / (1 - rate)");
    ok(fabs((double)kept / COUNT - 0.75) < 0.02, "a quarter is dropped (kept %zu)", kept);
    ok(fabs((double)pairs / COUNT - 0.5625) < 0.02, "neighbours are independent (%zu)", pairs);
    ok(fabs((double)equal / COUNT - 0.625) < 0.02, "seeds are independent (%zu)", equal);
    for (int i = 0; i < 2; i++)
        tape_deinit(&t[i]);
    mem_free(ones);
}

static void test_params(void)
{
    struct params p, q;
    params_init(&p);
    params_init(&q);
    params_add(&q, 2, 3, 5, INIT_NORMAL, 1, "other");
    param_id a = params_add(&p, 2, 3, 5, INIT_NORMAL, 2, "layer.%d", 7);
    param_id b = params_add(&q, 2, 3, 5, INIT_NORMAL, 2, "layer.%d", 7);
    ok(params_allocate(&p, 4, NULL) == MEDLEY_OK && params_allocate(&q, 4, NULL) == MEDLEY_OK,
       "allocates");
    ok(params_find(&p, "layer.7") == a && params_find(&p, "layer") == PARAM_NONE,
       "found by name");
    ok(memcmp(params_value(&p, a), params_value(&q, b), 15 * sizeof(float)) == 0,
       "a parameter's start does not depend on the others");
    ok((uintptr_t)params_value(&q, b) % 64 == 0, "aligned to cache lines");
    params_add(&p, 2, SIZE_MAX / 4, 8, INIT_ZERO, 0, "huge");
    ok(p.failed && params_allocate(&p, 4, NULL) == MEDLEY_ENOMEM, "a size that overflows");
    params_deinit(&p);
    params_deinit(&q);
    bool good = true;
    for (size_t i = 0; i < 3; i++) {
        params_init(&p);
        mem_fail_after(i);
        params_add(&p, 2, 3, 5, INIT_NORMAL, 2, "w");
        good = good && params_allocate(&p, 4, NULL) == MEDLEY_ENOMEM;
        mem_fail_after(SIZE_MAX);
        params_deinit(&p);
    }
    ok(good, "out of memory is reported");
}

static void test_params_file(void)
{
    char path[128];
    snprintf(path, sizeof path, "%s/m.safetensors", tap_folder());
    struct world w, u;
    world_init(&w, 1);
    world_init(&u, 2);
    struct st_writer *writer = st_writer_new();
    params_write(&w.params, NULL, writer);
    medley_error err;
    ok(st_writer_commit(writer, path, &err) == MEDLEY_OK, "written");
    st_writer_free(writer);
    struct st_file *f = NULL;
    bool loaded[8];
    ok(st_open(path, &f, &err) == MEDLEY_OK &&
           params_load(&u.params, f, "", loaded, &err) == MEDLEY_OK,
       "read back");
    ok(memcmp(w.params.values, u.params.values, w.params.total * sizeof(float)) == 0 &&
           loaded[5],
       "the same values");
    ok(params_load(&u.params, f, "bert.", loaded, &err) == MEDLEY_OK && !loaded[0],
       "another prefix: nothing is there");
    u.params.items[1].rows--;
    ok(params_load(&u.params, f, "", NULL, &err) == MEDLEY_EFORMAT &&
           strstr(err.message, "'w'"),
       "a shape that differs: %s", err.message);
    st_close(f);
    params_value(&w.params, w.gamma)[2] = NAN;
    writer = st_writer_new();
    params_write(&w.params, NULL, writer);
    st_writer_commit(writer, path, NULL);
    st_writer_free(writer);
    u.params.items[1].rows++;
    ok(st_open(path, &f, &err) == MEDLEY_OK &&
           params_load(&u.params, f, "", NULL, &err) == MEDLEY_EFORMAT,
       "not a number: %s", err.message);
    st_close(f);
    remove(path);
    world_deinit(&w);
    world_deinit(&u);
}

int main(void)
{
    for (int i = 0; i < CASES; i++) {
        test_gradient(cases[i].name, cases[i].build);
        test_no_memory(cases[i].name, cases[i].build);
        test_not_training(cases[i].name, cases[i].build);
    }
    test_null_inputs();
    test_frozen();
    test_attention_value();
    test_attention_first();
    test_linear_value();
    test_loss_value();
    test_shapes();
    test_dropout();
    test_params();
    test_params_file();
    return tap_done();
}
