/* test_shapley.c: values of features and of players against brute force over all coalitions, on
 * random trees with missing values, repeated features and players, for every kernel;
 * additivity; quadrature; faults. */
#include "tests/tap.h"

#include "base/memory.h"
#include "base/pool.h"
#include "shapley/explainer.h"
#include "tests/gbdt_help.h"

#define SEED 20240605u

/* All trees through one kernel, in double between trees. values[rows <= 64][P][K]. */
static void run_impl(const struct game_impl *impl, const medley_explainer *e, const float *x,
                     size_t rows, double *values)
{
    size_t F = e->model->n_features, P = e->n_players, K = e->n_classes;
    float *columns = mem_alloc64(F * 64, sizeof *columns);
    float *part = mem_alloc64(K * P * 64, sizeof *part);
    for (size_t f = 0; f < F; f++)
        for (size_t i = 0; i < 64; i++)
            columns[f * 64 + i] = x[(i < rows ? i : 0) * F + f];
    memset(values, 0, rows * P * K * sizeof *values);
    for (size_t t = 0; t < e->model->n_trees; t++) {
        struct game_job job = {e, t, t + 1, columns, part};
        memset(part, 0, K * P * 64 * sizeof *part);
        impl->add(&job);
        for (size_t i = 0; i < rows; i++)
            for (size_t p = 0; p < P; p++)
                for (size_t c = 0; c < K; c++)
                    values[(i * P + p) * K + c] += part[(c * P + p) * 64 + i];
    }
    mem_free(columns);
    mem_free(part);
}

/* Largest difference between a kernel and brute force, relative to the largest value. */
static double worst_of(const struct game_impl *impl, const medley_gbdt *m,
                       const uint32_t *players, size_t P, const float *x, size_t rows)
{
    size_t K = m->n_classes, F = m->n_features;
    double *got = calloc(rows * P * K, sizeof *got), *wanted = calloc(P * K, sizeof *wanted);
    double base[16], own[16], worst = 0, largest = 1;
    medley_explainer *e = NULL;
    if (medley_explainer_new(m, players, P, &e, NULL) != MEDLEY_OK)
        return INFINITY;
    medley_explainer_base(e, own);
    run_impl(impl, e, x, rows, got);
    for (size_t i = 0; i < rows; i++) {
        shapley_by_coalitions(m, players, P, x + i * F, wanted, base);
        for (size_t j = 0; j < P * K; j++) {
            largest = fmax(largest, fabs(wanted[j]));
            worst = fmax(worst, fabs(got[i * P * K + j] - wanted[j]));
        }
    }
    for (size_t c = 0; c < K; c++)
        worst = fmax(worst, fabs(base[c] - own[c]));
    medley_explainer_free(e);
    free(got);
    free(wanted);
    return worst / largest;
}

/* Values are sums of some hundred float32 terms of order 1: 1e-6 relative, times 20 for room.
 */
#define TOLERANCE 2e-6

static void test_brute_force(void)
{
    static const struct {
        size_t rounds, features, players, classes;
        enum medley_trees kind;
        bool chain;
        const char *name;
    } cases[] = {
        {3, 5, 5, 3, MEDLEY_TREES_PER_CLASS, false, "each feature a player"},
        {3, 10, 4, 4, MEDLEY_TREES_PER_CLASS, false, "players of several features"},
        {2, 9, 9, 2, MEDLEY_TREES_VECTOR, false, "vector trees"},
        {2, 12, 3, 5, MEDLEY_TREES_VECTOR, false, "vector trees, few players"},
        {1, 13, 13, 2, MEDLEY_TREES_PER_CLASS, true, "long paths, by quadrature"},
        {1, 12, 12, 2, MEDLEY_TREES_VECTOR, true, "long paths of vector trees"},
        {2, 7, 1, 3, MEDLEY_TREES_PER_CLASS, false, "a single player"},
    };
    struct rng r;
    rng_init(&r, SEED, 1);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint32_t players[16];
        float x[6 * 16];
        medley_gbdt *m = random_model(&r, cases[i].rounds, cases[i].features, cases[i].classes,
                                      cases[i].kind, cases[i].chain);
        for (size_t f = 0; f < cases[i].features; f++)
            players[f] =
                f < cases[i].players ? (uint32_t)f : rng_below(&r, (uint32_t)cases[i].players);
        random_rows(&r, 6 * cases[i].features, x);
        for (const struct game_impl *impl = game_impls; impl->name; impl++) {
            if (!impl->usable())
                continue;
            double worst = worst_of(impl, m, players, cases[i].players, x, 6);
            ok(worst < TOLERANCE, "%s, %s: %.1e off brute force (seed %u)", cases[i].name,
               impl->name, worst, SEED);
        }
        medley_gbdt_free(m);
    }
}

/* Brute force cannot reach 60 players; kernels must still agree and add up. */
static void test_many_players(void)
{
    struct rng r;
    rng_init(&r, SEED, 2);
    medley_gbdt *m = random_model(&r, 2, 60, 2, MEDLEY_TREES_PER_CLASS, true);
    medley_explainer *e = NULL;
    float *x = malloc(64 * 60 * sizeof *x), margins[64 * 2];
    double *values = malloc(64 * 60 * 2 * sizeof *values), base[16];
    random_rows(&r, 64 * 60, x);
    medley_explainer_new(m, NULL, 60, &e, NULL);
    medley_explainer_base(e, base);
    medley_gbdt_margins(m, x, 64, margins, NULL);
    for (const struct game_impl *impl = game_impls; impl->name; impl++) {
        double worst = 0;
        if (!impl->usable())
            continue;
        run_impl(impl, e, x, 64, values);
        for (size_t i = 0; i < 64 * 2; i++) {
            double sum = base[i % 2];
            for (size_t p = 0; p < 60; p++)
                sum += values[(i / 2 * 60 + p) * 2 + i % 2];
            worst = fmax(worst, fabs(sum - margins[i]));
        }
        ok(worst < 1e-5, "paths of 29 conditions over 60 players, %s: sums within %.1e",
           impl->name, worst);
    }
    medley_explainer_free(e);
    medley_gbdt_free(m);
    free(x);
    free(values);
}

static void test_trained(void)
{
    struct shop s = shop_new(700, 3, 4, SEED);
    medley_gbdt_options o = {.rounds = 40, .num_leaves = 15, .learning_rate = 0.1};
    uint32_t players[12];
    float *values = malloc(700 * 3 * 4 * sizeof *values), margins[700 * 4], one[12];
    double base[16], worst = 0, largest = 0, same = 0;
    medley_gbdt *m = NULL;
    medley_explainer *e = NULL;
    for (uint32_t f = 0; f < 12; f++)
        players[f] = f / 4;
    medley_gbdt_train(&s.t, NULL, &o, &m, NULL);
    medley_explainer_new(m, players, 3, &e, NULL);
    ok(medley_explainer_players(e) == 3, "three players");
    medley_explainer_values(e, s.x, 700, values, NULL);
    medley_explainer_base(e, base);
    medley_gbdt_margins(m, s.x, 700, margins, NULL);
    for (size_t i = 0; i < 700; i++)
        for (size_t c = 0; c < 4; c++) {
            double sum = base[c];
            for (size_t p = 0; p < 3; p++)
                sum += values[(i * 3 + p) * 4 + c];
            worst = fmax(worst, fabs(sum - margins[i * 4 + c]));
            largest = fmax(largest, fabs(margins[i * 4 + c]));
        }
    ok(worst < 1e-6 * fmax(1, largest), "trained model: sums within %.1e of margins up to %.1f",
       worst, largest);
    for (size_t i = 0; i < 700; i += 97) {
        medley_explainer_values(e, s.x + i * 12, 1, one, NULL);
        same += memcmp(one, values + i * 12, sizeof one) == 0;
    }
    ok(same == 8, "a row alone has the bits it has among others");
    medley_explainer_free(e);
    medley_gbdt_free(m);
    free(values);
    shop_free(&s);
}

/* A player's value is not the sum of its features' values (the reason this exists). */
static void test_players_are_not_sums(void)
{
    struct rng r;
    rng_init(&r, SEED, 3);
    medley_gbdt *m = random_model(&r, 4, 6, 2, MEDLEY_TREES_PER_CLASS, false);
    uint32_t players[6] = {0, 0, 0, 1, 1, 1};
    float x[6], by_feature[12], by_player[4];
    medley_explainer *features = NULL, *grouped = NULL;
    random_rows(&r, 6, x);
    medley_explainer_new(m, NULL, 6, &features, NULL);
    medley_explainer_new(m, players, 2, &grouped, NULL);
    medley_explainer_values(features, x, 1, by_feature, NULL);
    medley_explainer_values(grouped, x, 1, by_player, NULL);
    double sum = by_feature[0] + by_feature[2] + by_feature[4];
    ok(fabs(sum - by_player[0]) > 1e-3, "player 0: %.3f, the sum of its features: %.3f",
       by_player[0], sum);
    medley_explainer_free(features);
    medley_explainer_free(grouped);
    medley_gbdt_free(m);
}

static void test_quadrature(void)
{
    double worst = 0, y[128], w[128];
    for (unsigned n = 1; n <= 127; n += 1)
        for (unsigned degree = 0; degree < 2 * n; degree += n) {
            double sum = 0;
            gauss_legendre(n, y, w);
            for (unsigned i = 0; i < n; i++)
                sum += w[i] * pow(y[i], degree);
            worst = fmax(worst, fabs(sum - 1.0 / (degree + 1)));
        }
    ok(worst < 1e-13, "n points integrate y^d, d < 2n, within %.1e", worst);
}

static void test_refusals(void)
{
    struct rng r;
    rng_init(&r, SEED, 4);
    medley_gbdt *m = random_model(&r, 1, 4, 2, MEDLEY_TREES_PER_CLASS, false);
    uint32_t players[4] = {0, 1, 2, 1};
    medley_explainer *e = NULL;
    medley_error err = {0};
    ok(medley_explainer_new(m, players, 2, &e, &err) == MEDLEY_EINVAL && !e,
       "player 2 of 2: %s", err.message);
    ok(medley_explainer_new(m, NULL, 3, &e, &err) == MEDLEY_EINVAL && !e,
       "3 players, 4 features: %s", err.message);
    ok(medley_explainer_new(m, players, 0, &e, &err) == MEDLEY_EINVAL && !e, "0 players: %s",
       err.message);
    interrupt_request();
    float x[4] = {0}, values[12];
    players[2] = 0;
    medley_explainer_new(m, players, 2, &e, NULL);
    ok(medley_explainer_values(e, x, 1, values, &err) == MEDLEY_EINTERRUPTED, "interrupted");
    interrupt_clear();
    medley_explainer_free(e);
    medley_gbdt_free(m);
}

static void test_memory(void)
{
    struct rng r;
    rng_init(&r, SEED, 5);
    medley_gbdt *m = random_model(&r, 1, 4, 2, MEDLEY_TREES_PER_CLASS, true);
    float x[4], values[8];
    size_t n = 0;
    bool good = true, done = false;
    random_rows(&r, 4, x);
    for (; !done && n < 1000; n++) {
        medley_explainer *e = NULL;
        mem_fail_after(n);
        medley_status st = medley_explainer_new(m, NULL, 4, &e, NULL);
        if (st == MEDLEY_OK)
            st = medley_explainer_values(e, x, 1, values, NULL);
        mem_fail_after(SIZE_MAX);
        done = st == MEDLEY_OK;
        good &= done || st == MEDLEY_ENOMEM;
        medley_explainer_free(e);
    }
    ok(good && done && n > 5, "each of %zu allocations may fail", n);
    medley_gbdt_free(m);
}

int main(void)
{
    test_brute_force();
    test_many_players();
    test_trained();
    test_players_are_not_sums();
    test_quadrature();
    test_refusals();
    test_memory();
    return tap_done();
}
