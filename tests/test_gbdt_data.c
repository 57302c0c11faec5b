/* test_gbdt_data.c: training many times from one prepared table: the same models as from
 * tables, with all features and with some, one after the other and side by side. */
#include "tests/tap.h"

#include "base/memory.h"
#include "base/pool.h"
#include "tests/gbdt_help.h"

#define SEED 20261123u
#define FEATURES 12

/* `s` without the features that `use` leaves out. */
static struct shop shop_select(const struct shop *s, const uint8_t use[FEATURES])
{
    struct shop t = shop_new(s->t.n, 4, 3, SEED); /* the same memory, filled anew */
    size_t n = 0;
    for (size_t f = 0; f < FEATURES; f++)
        n += use[f];
    for (size_t i = 0; i < s->t.n; i++) {
        size_t to = i * n;
        for (size_t f = 0; f < FEATURES; f++)
            if (use[f])
                t.x[to++] = s->x[i * FEATURES + f];
    }
    memcpy(t.y, s->y, s->t.n);
    t.t.n_features = n;
    return t;
}

/* The models are the same when feature i of `small` is the i-th used one of `full`. */
static bool same_but_numbers(medley_gbdt *small, const medley_gbdt *full,
                             const uint8_t use[FEATURES])
{
    uint32_t number[FEATURES];
    size_t n = 0;
    for (uint32_t f = 0; f < FEATURES; f++)
        if (use[f])
            number[n++] = f;
    if (small->n_features != n || full->n_features != FEATURES)
        return false;
    for (size_t k = 0; k < small->n_trees; k++)
        for (uint32_t i = 0; i + 1 < small->trees[k]->n_leaves; i++)
            small->trees[k]->nodes[i].feature = number[small->trees[k]->nodes[i].feature];
    small->n_features = FEATURES;
    return same_model(small, full);
}

static void test_subset(const char *what, medley_gbdt_options o)
{
    static const uint8_t uses[][FEATURES] = {
        {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1},
        {0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1},
        {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0},
        {1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1},
    };
    static const uint32_t players[FEATURES] = {0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3};
    struct shop s = shop_new(3000, 4, 3, SEED), v = shop_new(800, 4, 3, SEED + 1);
    medley_gbdt_data *train = NULL, *valid = NULL;
    ok(medley_gbdt_data_new(&s.t, 60, NULL, &train, NULL) == MEDLEY_OK &&
           medley_gbdt_data_new(&v.t, 0, train, &valid, NULL) == MEDLEY_OK,
       "%s: tables are prepared", what);
    for (size_t u = 0; u < sizeof uses / sizeof uses[0]; u++) {
        struct shop a = shop_select(&s, uses[u]), b = shop_select(&v, uses[u]);
        uint32_t own[FEATURES];
        medley_gbdt *small = NULL, *full = NULL;
        size_t n = 0;
        for (size_t f = 0; f < FEATURES; f++)
            if (uses[u][f])
                own[n++] = players[f] < a.t.n_features ? players[f] : 0;
        o.max_bins = 60;
        /* Players of the small table: as numbered in the full one, where they fit. */
        bool players_fit = a.t.n_features >= 4;
        o.player_of_feature = players_fit ? own : NULL;
        medley_gbdt_train(&a.t, &b.t, &o, &small, NULL);
        o.player_of_feature = players_fit ? players : NULL;
        o.use_features = uses[u];
        medley_status st = medley_gbdt_train_data(train, valid, &o, &full, NULL);
        o.use_features = NULL;
        ok(st == MEDLEY_OK && small && same_but_numbers(small, full, uses[u]),
           "%s: %zu of 12 features give the model of a table without the others", what, n);
        medley_gbdt_free(small);
        medley_gbdt_free(full);
        shop_free(&a);
        shop_free(&b);
    }
    medley_gbdt_data_free(train);
    medley_gbdt_data_free(valid);
    shop_free(&s);
    shop_free(&v);
}

struct refits {
    const medley_gbdt_data *data;
    medley_gbdt *models[8];
};

static void refit(void *context, size_t begin, size_t end, unsigned worker)
{
    (void)worker;
    struct refits *r = context;
    for (size_t i = begin; i < end; i++) {
        uint8_t use[FEATURES];
        for (size_t f = 0; f < FEATURES; f++)
            use[f] = ((i + 1) >> f / 3 & 1) != 0;
        medley_gbdt_options o = {
            .rounds = 5, .row_fraction = 0.7, .use_features = use, .seed = 1, .quiet = true};
        medley_gbdt_train_data(r->data, NULL, &o, &r->models[i], NULL);
    }
}

static void test_side_by_side(void)
{
    struct shop s = shop_new(4000, 4, 3, SEED + 2);
    struct refits alone = {0}, together = {0};
    medley_gbdt_data *data = NULL;
    bool same = true;
    medley_gbdt_data_new(&s.t, 0, NULL, &data, NULL);
    alone.data = together.data = data;
    pool_set_threads(1);
    refit(&alone, 0, 8, 0);
    pool_set_threads(4);
    parallel_for(8, 1, refit, &together);
    for (size_t i = 0; i < 8; i++) {
        same &= alone.models[i] && together.models[i] &&
                same_model(alone.models[i], together.models[i]);
        medley_gbdt_free(alone.models[i]);
        medley_gbdt_free(together.models[i]);
    }
    ok(same, "eight refits side by side give the models of refits in a row");
    medley_gbdt_data_free(data);
    shop_free(&s);
    pool_set_threads(0);
}

static void test_refusals(void)
{
    struct shop s = shop_new(200, 4, 3, SEED + 3), v = shop_new(100, 4, 3, SEED + 4);
    static const uint8_t none[FEATURES] = {0};
    medley_gbdt_options o = {.rounds = 2, .use_features = none};
    medley_gbdt_data *a = NULL, *like = NULL, *other = NULL, *bad = NULL;
    medley_gbdt *m = NULL;
    medley_error err = {0};
    medley_gbdt_data_new(&s.t, 0, NULL, &a, NULL);
    medley_gbdt_data_new(&v.t, 0, a, &like, NULL);
    medley_gbdt_data_new(&v.t, 0, NULL, &other, NULL);
    ok(medley_gbdt_train_data(a, NULL, &o, &m, &err) == MEDLEY_EINVAL && !m, "%s", err.message);
    ok(medley_gbdt_train_data(a, other, NULL, &m, &err) == MEDLEY_EINVAL && !m, "%s",
       err.message);
    ok(medley_gbdt_data_new(&s.t, 256, NULL, &bad, &err) == MEDLEY_EINVAL && !bad, "%s",
       err.message);
    v.t.n_features = 11;
    ok(medley_gbdt_data_new(&v.t, 0, a, &bad, &err) == MEDLEY_EINVAL && !bad, "%s",
       err.message);
    medley_gbdt_data_free(a);
    medley_gbdt_data_free(like);
    medley_gbdt_data_free(other);
    medley_gbdt_data_free(NULL);
    shop_free(&s);
    shop_free(&v);
}

/* All rows, or samples of them. */
static void test_memory(double row_fraction)
{
    struct shop s = shop_new(120, 4, 3, SEED + 5);
    static const uint8_t use[FEATURES] = {1, 1, 0, 1};
    medley_gbdt_options o = {.rounds = 2,
                             .num_leaves = 4,
                             .mask_rate = 0.1,
                             .early_stopping = 1,
                             .use_features = use,
                             .row_fraction = row_fraction};
    size_t n = 0;
    bool good = true, done = false;
    for (; !done && n < 1000; n++) {
        medley_gbdt_data *a = NULL, *b = NULL;
        medley_gbdt *m = NULL;
        mem_fail_after(n);
        medley_status st = medley_gbdt_data_new(&s.t, 0, NULL, &a, NULL);
        if (st == MEDLEY_OK)
            st = medley_gbdt_data_new(&s.t, 0, a, &b, NULL);
        if (st == MEDLEY_OK)
            st = medley_gbdt_train_data(a, b, &o, &m, NULL);
        mem_fail_after(SIZE_MAX);
        done = st == MEDLEY_OK;
        good &= done || st == MEDLEY_ENOMEM;
        medley_gbdt_free(m);
        medley_gbdt_data_free(a);
        medley_gbdt_data_free(b);
    }
    ok(good && done && n > 20, "each of %zu allocations may fail", n);
    shop_free(&s);
}

int main(void)
{
    medley_gbdt_options plain = {.rounds = 6, .num_leaves = 16};
    test_subset("plain", plain);
    medley_gbdt_options all = {.rounds = 50,
                               .num_leaves = 8,
                               .feature_fraction = 0.6,
                               .row_fraction = 0.8,
                               .mask_rate = 0.2,
                               .early_stopping = 50,
                               .seed = 5};
    test_subset("sampled and masked", all);
    all.trees = MEDLEY_TREES_VECTOR;
    test_subset("vector trees", all);
    test_side_by_side();
    test_refusals();
    test_memory(1);
    test_memory(0.5);
    return tap_done();
}
