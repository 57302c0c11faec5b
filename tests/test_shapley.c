/* test_shapley.c: values of features and of players against brute force over all coalitions, on
 * random trees with missing values, repeated features and players, for every kernel;
 * additivity; quadrature; faults. */
#include "tests/tap.h"

#include "base/memory.h"
#include "base/pool.h"
#include "shapley/explainer.h"
#include "tests/gbdt_help.h"

#define SEED 20240605u

/* All trees through one kernel, in double between trees; those without games are walked.
 * values[rows <= 64][P][K]. */
static void run_impl(const struct game_impl *impl, const medley_explainer *e, const float *x,
                     size_t rows, double *values)
{
    size_t P = e->n_players, K = e->n_classes, F = e->model->n_features;
    float *part = mem_alloc64(K * P * 64, sizeof *part);
    uint64_t *slots = mem_alloc64(e->most_slots + 1, GAME_WORDS * sizeof *slots);
    double *walk = mem_alloc64(walk_space_size(e), sizeof *walk);
    struct conditions_space answers;
    conditions_space_init(e->conditions, GAME_WORDS, &answers, NULL);
    conditions_answer(e->conditions, &answers, x, rows);
    memset(values, 0, rows * P * K * sizeof *values);
    for (size_t t = 0; t < e->n_order; t++) {
        const struct game_tree *g = &e->trees[e->order[t]];
        struct game_job job = {e, g, slots, 1, 0, part};
        memset(part, 0, K * P * 64 * sizeof *part);
        impl->slots(e, g, answers.masks, slots);
        impl->play(&job);
        for (size_t i = 0; i < rows; i++)
            for (size_t p = 0; p < P; p++)
                for (size_t o = 0; o < g->tree->n_outputs; o++)
                    values[(i * P + p) * K + g->tree->first_class + o] +=
                        part[(o * P + p) * 64 + game_place(i)];
    }
    for (size_t i = 0; i < rows; i++)
        walk_row(e, x + i * F, WALK_WITHOUT_GAMES, walk, values + i * P * K);
    conditions_space_deinit(&answers);
    mem_free(part);
    mem_free(slots);
    mem_free(walk);
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

/* Kernels: the same bits. Tables of every size, parts of both sizes. */
static void test_kernels(void)
{
    struct rng r;
    rng_init(&r, SEED, 6);
    for (int round = 0; round < 12; round++) {
        size_t F = 6 + 5 * (size_t)(round % 4), P = round % 3 ? F : F / 3;
        medley_gbdt *m = random_model(&r, 6, F, 3, round % 2, round % 5 == 4);
        medley_explainer *e = NULL;
        uint32_t players[32];
        float *x = malloc(64 * F * sizeof *x);
        double *wanted = malloc(64 * P * 3 * sizeof *wanted);
        double *got = malloc(64 * P * 3 * sizeof *got);
        for (size_t f = 0; f < F; f++)
            players[f] = (uint32_t)(f % P);
        random_rows(&r, 64 * F, x);
        medley_explainer_new(m, players, P, &e, NULL);
        run_impl(&game_impls[0], e, x, 64, wanted);
        for (const struct game_impl *impl = game_impls + 1; impl->name; impl++) {
            if (!impl->usable())
                continue;
            run_impl(impl, e, x, 64, got);
            ok(memcmp(got, wanted, 64 * P * 3 * sizeof *got) == 0,
               "model %d, %s: the definition's bits (seed %u)", round, impl->name, SEED);
        }
        medley_explainer_free(e);
        medley_gbdt_free(m);
        free(x);
        free(wanted);
        free(got);
    }
}

/* What one call gives against a definition, for rows one by one and together; the largest
 * difference over the largest value. */
struct compared {
    double worst, largest;
};
static void compare(struct compared *c, const float *got, const double *wanted, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        c->largest = fmax(c->largest, fabs(wanted[i]));
        c->worst = fmax(c->worst, fabs(got[i] - wanted[i]));
    }
}

enum { BACKGROUND = 70, SOME = 6 };

/* Rows alone, rows in tables, no room for tables, interactions, interventional. */
static void test_games(void)
{
    static const struct {
        size_t features, players, classes;
        enum medley_trees kind;
        bool chain;
        const char *name;
    } cases[] = {
        {9, 4, 3, MEDLEY_TREES_PER_CLASS, false, "players of several features"},
        {8, 8, 2, MEDLEY_TREES_PER_CLASS, false, "each feature a player"},
        {7, 3, 4, MEDLEY_TREES_VECTOR, false, "vector trees"},
        {10, 10, 2, MEDLEY_TREES_PER_CLASS, true, "long paths"},
        {6, 1, 2, MEDLEY_TREES_VECTOR, true, "one player"},
        {8, 5, 1, MEDLEY_TREES_PER_CLASS, false, "one output"},
    };
    struct rng r;
    rng_init(&r, SEED, 7);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t F = cases[i].features, P = cases[i].players, K = cases[i].classes;
        uint32_t players[16];
        float x[SOME * 16], background[BACKGROUND * 16], got[SOME * 16 * 16 * 4];
        double wanted[16 * 16 * 4], base[16], own[16];
        struct compared alone = {0, 1}, tables = alone, walked = alone, pairs = alone,
                        mixed = alone;
        medley_gbdt *m = random_model(&r, 2, F, K, cases[i].kind, cases[i].chain);
        for (size_t f = 0; f < F; f++)
            players[f] = f < P ? (uint32_t)f : rng_below(&r, (uint32_t)P);
        random_rows(&r, SOME * F, x);
        random_rows(&r, BACKGROUND * F, background);
        medley_explainer *e = NULL, *small = NULL, *against = NULL;
        medley_explainer_options o = {.player_of_feature = players, .n_players = P};
        medley_explainer_make(m, &o, &e, NULL);
        o.table_bytes = 1;
        medley_explainer_make(m, &o, &small, NULL);
        o.table_bytes = 0;
        o.background = background;
        o.n_background = BACKGROUND;
        medley_explainer_make(m, &o, &against, NULL);
        for (size_t row = 0; row < SOME; row++) {
            const float *v = x + row * F;
            shapley_by_coalitions(m, players, P, v, wanted, base);
            medley_explainer_values(e, v, 1, got, NULL);
            compare(&alone, got, wanted, P * K);
            medley_explainer_values(e, x, SOME, got, NULL);
            compare(&tables, got + row * P * K, wanted, P * K);
            medley_explainer_values(small, x, SOME, got, NULL);
            compare(&walked, got + row * P * K, wanted, P * K);
            interactions_by_coalitions(m, players, P, v, wanted);
            medley_explainer_interactions(e, x, SOME, got, NULL);
            compare(&pairs, got + row * P * P * K, wanted, P * P * K);
            interventional_by_coalitions(m, players, P, v, background, BACKGROUND, wanted,
                                         base);
            medley_explainer_values(against, x, SOME, got, NULL);
            compare(&mixed, got + row * P * K, wanted, P * K);
            medley_explainer_base(against, own);
            for (size_t c = 0; c < K; c++)
                mixed.worst = fmax(mixed.worst, fabs(base[c] - own[c]));
        }
        ok(alone.worst < TOLERANCE * alone.largest, "%s, alone: %.1e", cases[i].name,
           alone.worst);
        ok(tables.worst < TOLERANCE * tables.largest, "%s, by tables: %.1e", cases[i].name,
           tables.worst);
        ok(walked.worst < TOLERANCE * walked.largest && small->n_games == 0,
           "%s, without tables: %.1e", cases[i].name, walked.worst);
        ok(pairs.worst < TOLERANCE * pairs.largest, "%s, interactions: %.1e", cases[i].name,
           pairs.worst);
        ok(mixed.worst < TOLERANCE * mixed.largest,
           "%s, interventional: %.1e (%zu leaves without tables)", cases[i].name, mixed.worst,
           (size_t)(against->trees[m->n_trees - 1].first_slow +
                    against->trees[m->n_trees - 1].n_slow));
        ok(medley_explainer_interactions(against, x, 1, got, NULL) == MEDLEY_EUNSUPPORTED,
           "no interactions against a background");
        medley_explainer_free(e);
        medley_explainer_free(small);
        medley_explainer_free(against);
        medley_gbdt_free(m);
    }
}

/* Adds a leaf's values by its polynomial: with c_s the coefficient of z^s in prod_{i != j} (r_i
 * + met_i z), phi_j = v (met_j - r_j) sum over s of s! (k - 1 - s)! / k! c_s. */
static void add_polynomial(const struct tree_paths *p, uint32_t leaf, const float *x,
                           double value, long double *phi)
{
    long double r[128], met[128], weight = 0;
    uint32_t player[128], k = 0;
    for (uint32_t s = p->leaf_up[leaf]; s; s = p->node_up[slot_node(s)]) {
        const struct tree_node *n = &p->tree->nodes[slot_node(s)];
        double left = tree_child_count(p->tree, n->left);
        double right = tree_child_count(p->tree, n->right);
        bool is_right = s == slot_of(slot_node(s), true);
        uint32_t i = 0;
        while (i < k && player[i] != n->feature)
            i++;
        if (i == k) {
            player[k] = n->feature;
            r[k] = met[k] = 1;
            k++;
        }
        r[i] *= (is_right ? right : left) / ((long double)left + right);
        met[i] *= node_goes_left(n, x[n->feature]) != is_right;
    }
    for (uint32_t j = 0; j < k; j++) {
        long double c[128] = {1}, sum = 0;
        for (uint32_t i = 0, degree = 0; i < k; i++) {
            if (i == j)
                continue;
            for (uint32_t s = ++degree; s > 0; s--)
                c[s] = c[s] * r[i] + c[s - 1] * met[i];
            c[0] *= r[i];
        }
        for (uint32_t s = 0; s < k; s++) {
            weight = s ? weight * s / (k - s) : 1.0L / k;
            sum += weight * c[s];
        }
        phi[player[j]] += value * (met[j] - r[j]) * sum;
    }
}

/* Paths of some 45 players, far past brute force and tables. */
static void test_deep(void)
{
    enum { F = 60, ROWS = 20 };
    struct rng r;
    rng_init(&r, SEED, 8);
    medley_gbdt *m = gbdt_new(F, 1, MEDLEY_TREES_PER_CLASS);
    struct tree_paths paths = {0};
    medley_explainer *e = NULL;
    float x[ROWS * F], got[ROWS * F];
    double worst = 0, worst_float = 0, largest = 0;
    for (int i = 0; i < 3; i++)
        gbdt_add_tree(m, random_tree(&r, 90, F, 1, 0, i < 2));
    random_rows(&r, ROWS * F, x);
    medley_explainer_new(m, NULL, F, &e, NULL);
    double *space = mem_alloc64(walk_space_size(e), sizeof *space);
    medley_explainer_values(e, x, ROWS, got, NULL);
    for (size_t row = 0; row < ROWS; row++) {
        long double wanted[F] = {0};
        double values[F] = {0};
        for (size_t t = 0; t < 3; t++) {
            paths_of(&paths, m->trees[t], NULL);
            for (uint32_t l = 0; l < m->trees[t]->n_leaves; l++)
                add_polynomial(&paths, l, x + row * F, m->trees[t]->values[l], wanted);
        }
        walk_row(e, x + row * F, WALK_ALL, space, values);
        for (size_t f = 0; f < F; f++) {
            largest = fmax(largest, fabs((double)wanted[f]));
            worst = fmax(worst, fabs((double)wanted[f] - values[f]));
            worst_float = fmax(worst_float, fabs((double)wanted[f] - got[row * F + f]));
        }
    }
    ok(e->trees[0].most_players > 30 && e->trees[0].walked && !e->trees[2].walked,
       "%u players on a path are walked, %u are not", e->trees[0].most_players,
       e->trees[2].most_players);
    ok(worst < 1e-13 * largest, "deep trees in double: %.1e of %.1f", worst, largest);
    ok(worst_float < 1e-6 * largest, "deep trees: %.1e", worst_float);
    paths_deinit(&paths);
    mem_free(space);
    medley_explainer_free(e);
    medley_gbdt_free(m);
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
    double base[16], worst = 0, largest = 0, same = 0, apart = 0;
    medley_gbdt *m = NULL;
    medley_explainer *e = NULL;
    float *some = malloc(700 * 12 * sizeof *some);
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
        size_t n = 5 + i % 64 < 700 - i ? 5 + i % 64 : 700 - i;
        medley_explainer_values(e, s.x + i * 12, n, some, NULL);
        same += memcmp(some, values + i * 12, n * 12 * sizeof *some) == 0;
        medley_explainer_values(e, s.x + i * 12, 1, one, NULL);
        for (size_t j = 0; j < 12; j++)
            apart = fmax(apart, fabs(one[j] - values[i * 12 + j]));
    }
    ok(same == 8, "rows have the bits that they have among others");
    ok(apart < 1e-6 * fmax(1, largest), "a row alone differs by rounding: %.1e", apart);
    pool_set_threads(1);
    medley_explainer_values(e, s.x, 700, some, NULL);
    ok(memcmp(some, values, 700 * 12 * sizeof *some) == 0, "one thread, the same bits");
    pool_set_threads(0);
    ok(medley_explainer_memory(e) > e->n_numbers * sizeof(float), "%zu bytes held",
       medley_explainer_memory(e));
    free(some);
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
    float x[20], values[40], pairs[32];
    medley_explainer_options against = {.background = x, .n_background = 5};
    size_t n = 0;
    bool good = true, done = false, both = false;
    random_rows(&r, 20, x);
    for (; !(both && done) && n < 1000; n++) {
        both = done;
        medley_explainer *e = NULL;
        mem_fail_after(n);
        medley_status st = medley_explainer_make(m, n % 2 ? &against : NULL, &e, NULL);
        if (st == MEDLEY_OK)
            st = medley_explainer_values(e, x, 5, values, NULL);
        if (st == MEDLEY_OK && !e->background)
            st = medley_explainer_interactions(e, x, 1, pairs, NULL);
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
    test_kernels();
    test_games();
    test_deep();
    test_many_players();
    test_trained();
    test_players_are_not_sums();
    test_quadrature();
    test_refusals();
    test_memory();
    return tap_done();
}
