/* test_coalition.c: the coalition game: the definition on tables of values (all orders of
 * players walked one by one, the axioms), sampling and its standard error, and games of refits:
 * metrics of a coalition are those of trees that never saw the other columns; twins, dummies,
 * threads, stopping, faults. */
#include "tests/tap.h"

#include "base/memory.h"
#include "base/pool.h"
#include "base/rng.h"
#include "data/metrics.h"
#include "shapley/coalition.h"
#include "tests/gbdt_help.h"

#define SEED 20261123u
enum { MOST = 16 };

/* ---- values from tables ---- */

static double *random_worth(size_t players, uint64_t seed)
{
    struct rng r;
    size_t n = (size_t)1 << players;
    double *worth = malloc(n * sizeof *worth);
    rng_init(&r, seed, players);
    for (size_t i = 0; i < n; i++)
        worth[i] = rng_normal(&r);
    return worth;
}

static size_t factorial(size_t n)
{
    return n < 2 ? 1 : n * factorial(n - 1);
}

/* The mean over all orders of what a player adds: not the sum over coalitions that is tested.
 */
static void over_all_orders(const double *worth, size_t players, double *out)
{
    size_t orders = factorial(players);
    memset(out, 0, players * sizeof *out);
    for (size_t o = 0; o < orders; o++) {
        size_t left[MOST], joined = 0, code = o;
        for (size_t i = 0; i < players; i++)
            left[i] = i;
        for (size_t i = players; i > 0; i--) {
            size_t at = code % i, player = left[at];
            code /= i;
            left[at] = left[i - 1];
            out[player] +=
                (worth[joined | (size_t)1 << player] - worth[joined]) / (double)orders;
            joined |= (size_t)1 << player;
        }
    }
}

static void solve(size_t players, const double *worth, double *shapley)
{
    struct coalition_plan p;
    double errors[MOST];
    coalition_plan_exact(players, &p, NULL);
    coalition_shapley(&p, worth, 1, shapley, errors);
    coalition_plan_deinit(&p);
}

static void test_definition(void)
{
    for (size_t players = 1; players <= 7; players++) {
        double got[MOST], wanted[MOST], worst = 0;
        double *worth = random_worth(players, SEED);
        solve(players, worth, got);
        over_all_orders(worth, players, wanted);
        for (size_t i = 0; i < players; i++)
            worst = fmax(worst, fabs(got[i] - wanted[i]));
        ok(worst < 1e-12, "%zu players: the mean over all %zu orders (off by %g)", players,
           factorial(players), worst);
        free(worth);
    }
}

static void test_axioms(void)
{
    enum { M = 10, DUMMY = 3, TWIN_A = 2, TWIN_B = 7 };
    double *a = random_worth(M, SEED), *b = random_worth(M, SEED + 1);
    double *sum = malloc(sizeof *sum << M), va[M], vb[M], vs[M], total = 0, worst = 0;
    for (size_t c = 0; c < (size_t)1 << M; c++) { /* a dummy, and twins */
        size_t without = c & ~((size_t)1 << DUMMY);
        size_t swapped = (c >> TWIN_A & 1) != (c >> TWIN_B & 1) && (c >> TWIN_B & 1)
                             ? c ^ ((size_t)1 << TWIN_A | (size_t)1 << TWIN_B)
                             : c;
        a[c] = c != without ? a[without] + 0.25 : swapped != c ? a[swapped] : a[c];
    }
    for (size_t c = 0; c < (size_t)1 << M; c++)
        sum[c] = 2 * a[c] - 3 * b[c];
    solve(M, a, va);
    solve(M, b, vb);
    solve(M, sum, vs);
    for (size_t i = 0; i < M; i++) {
        total += va[i];
        worst = fmax(worst, fabs(2 * va[i] - 3 * vb[i] - vs[i]));
    }
    ok(fabs(total - (a[(1 << M) - 1] - a[0])) < 1e-12, "values add up to all less none");
    ok(worst < 1e-12, "values of a sum of games are the sum of values");
    ok(fabs(va[DUMMY] - 0.25) < 1e-12, "who always adds the same is worth that");
    ok(fabs(va[TWIN_A] - va[TWIN_B]) < 1e-12, "twins are worth the same");
    free(a);
    free(b);
    free(sum);
}

/* ---- sampling ---- */

static void test_plan(void)
{
    struct coalition_plan p;
    bool ascending = true, complements = true;
    uint64_t all = ((uint64_t)1 << 24) - 1;
    ok(coalition_plan_sampled(24, 1000, SEED, &p, NULL) == MEDLEY_OK,
       "24 players, 1000 refits");
    ok(p.n_orders == 21 && p.n_coalitions > 900 && p.n_coalitions <= 1000, "%zu coalitions",
       p.n_coalitions);
    for (size_t i = 0; i < p.n_coalitions; i++) {
        ascending = ascending && (i == 0 || p.coalitions[i] > p.coalitions[i - 1]);
        complements = complements && coalition_find(&p, all & ~p.coalitions[i]) != SIZE_MAX;
    }
    ok(ascending, "ascending, without repetition");
    ok(complements, "and the other half of each coalition, for orders run backwards");
    ok(p.coalitions[0] == 0 && p.coalitions[p.n_coalitions - 1] == all, "from none to all");
    ok(coalition_find(&p, all + 1) == SIZE_MAX, "what is not there is not found");
    coalition_plan_deinit(&p);
    ok(coalition_plan_sampled(64, 1, SEED, &p, NULL) == MEDLEY_OK && p.n_orders == 2 &&
           p.coalitions[p.n_coalitions - 1] == UINT64_MAX,
       "64 players, and two pairs at least");
    coalition_plan_deinit(&p);
}

/* Sampled values of a game given as a table of all 2^M. */
static void sample(size_t players, const double *worth, uint64_t seed, double *values,
                   double *errors)
{
    struct coalition_plan p;
    coalition_plan_sampled(players, 800, seed, &p, NULL);
    double *some = malloc(p.n_coalitions * sizeof *some);
    for (size_t i = 0; i < p.n_coalitions; i++)
        some[i] = worth[p.coalitions[i]];
    coalition_shapley(&p, some, 1, values, errors);
    coalition_plan_deinit(&p);
    free(some);
}

static void test_sampling(void)
{
    enum { M = 13, TIMES = 200 };
    double truth[M], values[M], errors[M], mean[M] = {0}, sum = 0, worst = 0;
    double *worth = random_worth(M, SEED);
    size_t covered = 0;
    for (size_t c = 0; c < (size_t)1 << M;
         c++) /* growing, with diminishing returns, and noise */
        worth[c] = 0.1 * worth[c] + sqrt((double)__builtin_popcountll(c & 0x0ff0)) +
                   0.1 * (double)__builtin_popcountll(c);
    solve(M, worth, truth);
    for (uint64_t t = 0; t < TIMES; t++) {
        sample(M, worth, SEED + t, values, errors);
        for (size_t i = 0; i < M; i++) {
            covered += fabs(values[i] - truth[i]) < 1.96 * errors[i];
            mean[i] += values[i] / TIMES;
        }
    }
    for (size_t i = 0; i < M; i++) {
        sum += values[i];
        worst = fmax(worst, fabs(mean[i] - truth[i]));
    }
    /* 95% with infinitely many pairs; 33 of them and 2,600 trials leave it between these. */
    double share = (double)covered / (TIMES * M);
    ok(share > 0.91 && share < 0.975, "1.96 standard errors cover the truth in %.1f%%",
       100 * share);
    ok(worst < 0.01, "no bias (%g)", worst);
    ok(fabs(sum - (worth[(1 << M) - 1] - worth[0])) < 1e-12, "sampled values add up, too");
    for (size_t c = 0; c < (size_t)1 << M; c++)
        worth[c] = (double)c; /* additive */
    sample(M, worth, SEED, values, errors);
    ok(fabs(values[5] - 32) < 1e-9 && errors[5] < 1e-9, "an additive game has no error");
    free(worth);
}

/* ---- games of refits ---- */

static const medley_gbdt_options few = {.rounds = 12, .num_leaves = 8, .learning_rate = 0.2};

/* Two halves of a shop whose model `twin_of` stands twice, side by side, and that has a last
 * column without information. */
struct world {
    struct shop shop;
    medley_table train, held_out;
    float *x;
    uint32_t owner[64];
    size_t players, columns;
};

static struct world world_new(void)
{
    enum { N = 3000, MODELS = 3, K = 3 };
    struct world w = {.shop = shop_new(N, MODELS, K, SEED), .players = 5, .columns = 13};
    w.x = malloc(N * w.columns * sizeof *w.x);
    for (size_t i = 0; i < N; i++) {
        const float *from = w.shop.x + i * 9;
        float *to = w.x + i * w.columns;
        memcpy(to, from, 6 * sizeof *to);         /* models 0 and 1 */
        memcpy(to + 6, from + 3, 3 * sizeof *to); /* 1 again */
        memcpy(to + 9, from + 6, 3 * sizeof *to); /* 2 */
        to[12] = 5;
    }
    for (uint32_t f = 0; f < w.columns; f++)
        w.owner[f] = f / 3;
    w.train = (medley_table){w.x, w.shop.y, NULL, 2000, w.columns, K};
    w.held_out =
        (medley_table){w.x + 2000 * w.columns, w.shop.y + 2000, NULL, 1000, w.columns, K};
    return w;
}

static void world_free(struct world *w)
{
    free(w->x);
    shop_free(&w->shop);
}

static medley_coalition *play(const struct world *w, const medley_coalition_options *o)
{
    medley_coalition *g = NULL;
    medley_error err;
    if (medley_coalition_play(&w->train, &w->held_out, w->owner, w->players, &few, o, &g,
                              &err) != MEDLEY_OK)
        printf("# %s\n", err.message);
    return g;
}

/* Log-loss of trees on the first columns alone, as if the others had never been. */
static double loss_of_columns(const struct world *w, size_t columns)
{
    float *x = malloc(3000 * columns * sizeof *x), *out = malloc(1000 * 3 * sizeof *out);
    medley_gbdt *model = NULL;
    struct metrics m;
    for (size_t i = 0; i < 3000; i++)
        memcpy(x + i * columns, w->x + i * w->columns, columns * sizeof *x);
    medley_table t = {x, w->shop.y, NULL, 2000, columns, 3};
    medley_gbdt_options every = few;
    every.feature_fraction = 1; /* what a game takes unless told */
    medley_gbdt_train(&t, NULL, &every, &model, NULL);
    medley_gbdt_predict(model, x + 2000 * columns, 1000, out, NULL);
    metrics_compute(out, w->shop.y + 2000, NULL, 1000, 3, &m);
    medley_gbdt_free(model);
    free(x);
    free(out);
    return m.log_loss;
}

static double loss_of_prior(const struct world *w)
{
    double shares[3] = {0}, loss = 0;
    for (size_t i = 0; i < 2000; i++)
        shares[w->shop.y[i]] += 1.0 / 2000;
    for (size_t i = 2000; i < 3000; i++)
        loss -= log(shares[w->shop.y[i]]) / 1000;
    return loss;
}

static void test_refits(const struct world *w)
{
    medley_coalition *g = play(w, NULL);
    double none, some, all, values[5], errors[5], sum;
    ok(g && medley_coalition_exact(g) && medley_coalition_refits(g) == 31 &&
           medley_coalition_players(g) == 5,
       "five players: 31 refits");
    for (int m = 0; m < MEDLEY_METRICS && g; m++) {
        medley_coalition_metric(g, (enum medley_metric)m, 0, &none);
        medley_coalition_metric(g, (enum medley_metric)m, 31, &all);
        medley_coalition_values(g, (enum medley_metric)m, values, errors);
        sum = values[0] + values[1] + values[2] + values[3] + values[4];
        ok(fabs(sum - (all - none)) < 1e-12 && all != none, "%s: values add up to %g",
           medley_metric_name((enum medley_metric)m), all - none);
        /* the class shares of trees that found no split are rounded otherwise than ours */
        ok(fabs(values[4]) < 1e-7, "a column without information is worth nothing");
        ok(fabs(values[1] - values[2]) < 1e-12, "twins are worth the same (%g)", values[1]);
        ok(fabs(values[0]) > fabs(values[1]), "and share what one would have");
    }
    medley_coalition_metric(g, MEDLEY_METRIC_LOG_LOSS, 0, &none);
    ok(fabs(none - loss_of_prior(w)) < 1e-6, "none: the class shares");
    medley_coalition_metric(g, MEDLEY_METRIC_LOG_LOSS, 3, &some);
    ok(some == loss_of_columns(w, 6), "a coalition is trees that never saw the other columns");
    medley_coalition_metric(g, MEDLEY_METRIC_LOG_LOSS, 31, &all);
    ok(all == loss_of_columns(w, 13) && all < some, "and all are trees on all columns");
    ok(!medley_coalition_metric(g, MEDLEY_METRIC_LOG_LOSS, 32, &all), "no such coalition");
    medley_coalition_free(g);
}

static void test_always_there(struct world *w)
{
    double none;
    uint32_t saved[64];
    memcpy(saved, w->owner, sizeof saved);
    for (uint32_t f = 0; f < w->columns; f++)
        w->owner[f] = f < 3 ? MEDLEY_NO_PLAYER : w->owner[f] - 1;
    w->players = 4;
    medley_coalition *g = play(w, NULL);
    ok(g && medley_coalition_refits(g) == 16, "columns of no player are always there");
    ok(g && medley_coalition_metric(g, MEDLEY_METRIC_LOG_LOSS, 0, &none) &&
           none == loss_of_columns(w, 3),
       "also where no player is");
    medley_coalition_free(g);
    memcpy(w->owner, saved, sizeof saved);
    w->players = 5;
}

struct watch {
    size_t calls, last, total, stop_at;
    bool in_order;
};

static bool watch_step(void *context, size_t done, size_t total)
{
    struct watch *watch = context;
    watch->calls++;
    watch->in_order = watch->in_order && done == watch->last + 1;
    watch->last = done;
    watch->total = total;
    return done != watch->stop_at;
}

static void test_threads(const struct world *w)
{
    medley_coalition_options o = {.exact_players = 3, .refits = 30, .seed = 5};
    double one[5], many[5], errors[5], errors_many[5], sum = 0, none, all;
    pool_set_threads(1);
    medley_coalition *a = play(w, &o);
    pool_set_threads(3);
    medley_coalition *b = play(w, &o);
    pool_set_threads(0);
    ok(a && b && !medley_coalition_exact(a), "more players than exact_players: sampled");
    medley_coalition_values(a, MEDLEY_METRIC_MACRO_F1, one, errors);
    medley_coalition_values(b, MEDLEY_METRIC_MACRO_F1, many, errors_many);
    ok(!memcmp(one, many, sizeof one) && !memcmp(errors, errors_many, sizeof errors),
       "the same bits on one thread and on three");
    medley_coalition_metric(a, MEDLEY_METRIC_MACRO_F1, 0, &none);
    medley_coalition_metric(a, MEDLEY_METRIC_MACRO_F1, 31, &all);
    for (int i = 0; i < 5; i++)
        sum += one[i];
    ok(fabs(sum - (all - none)) < 1e-12 && errors[0] > 0 && errors[4] == 0,
       "sampled refits add up; the dummy has no error");
    medley_coalition_free(a);
    medley_coalition_free(b);
}

static void test_stopping(const struct world *w)
{
    struct watch watch = {.in_order = true};
    medley_coalition_options o = {.progress = watch_step, .progress_context = &watch};
    medley_error err;
    medley_coalition *g = play(w, &o), *stopped = NULL;
    ok(g && watch.calls == 32 && watch.in_order && watch.total == 32, "each refit is told of");
    medley_coalition_free(g);
    watch = (struct watch){.in_order = true, .stop_at = 4};
    ok(medley_coalition_play(&w->train, &w->held_out, w->owner, 5, &few, &o, &stopped, &err) ==
               MEDLEY_EINTERRUPTED &&
           !stopped && watch.calls == 4,
       "stopped by the caller: %s", err.message);
    interrupt_request();
    ok(medley_coalition_play(&w->train, &w->held_out, w->owner, 5, &few, NULL, &stopped,
                             &err) == MEDLEY_EINTERRUPTED &&
           !stopped,
       "interrupted: %s", err.message);
    interrupt_clear();
}

static void refused(const struct world *w, size_t players, const medley_gbdt_options *trees,
                    const medley_coalition_options *o, const char *why)
{
    medley_error err = {0};
    medley_coalition *g = NULL;
    ok(medley_coalition_play(&w->train, &w->held_out, w->owner, players, trees, o, &g, &err) ==
               MEDLEY_EINVAL &&
           !g && strstr(err.message, why),
       "refused: %s", err.message);
}

static void test_refusals(const struct world *w)
{
    struct world odd = *w;
    medley_gbdt_options stopping = few, chosen = few, wild = few;
    medley_coalition_options large = {.exact_players = 21};
    uint8_t label = 9;
    stopping.early_stopping = 5;
    chosen.use_features = w->shop.y;
    wild.learning_rate = -1;
    refused(w, 4, &few, NULL, "belongs to player 4 of 4");
    refused(w, 6, &few, NULL, "player 5 has no features");
    refused(w, 0, &few, NULL, "0 players");
    refused(w, 65, &few, NULL, "65 players");
    refused(w, 5, &stopping, NULL, "early stopping");
    refused(w, 5, &chosen, NULL, "use_features");
    refused(w, 5, &wild, NULL, "learning_rate");
    refused(w, 5, &few, &large, "exact_players");
    odd.held_out.n = 0;
    refused(&odd, 5, &few, NULL, "no held-out rows");
    odd.held_out = (medley_table){w->x, &label, NULL, 1, w->columns, 3};
    refused(&odd, 5, &few, NULL, "label 9");
    odd.held_out = w->held_out;
    odd.held_out.n_features = 4;
    refused(&odd, 5, &few, NULL, "4 features");
    odd = *w;
    odd.train.labels = (const uint8_t[]){7};
    odd.train.n = 1;
    refused(&odd, 5, &few, NULL, "label 7");
}

static void test_faults(const struct world *w)
{
    struct world small = *w;
    medley_gbdt_options one = {.rounds = 1, .num_leaves = 2};
    medley_coalition_options o = {.exact_players = 1, .refits = 1};
    medley_status st = MEDLEY_ENOMEM;
    size_t at = 0, odd = 0;
    small.train.n = 40;
    small.held_out.n = 10;
    pool_set_threads(1);
    for (; st != MEDLEY_OK && at < 5000; at += 1 + at / 50) {
        medley_coalition *g = NULL;
        mem_fail_after(at);
        st = medley_coalition_play(&small.train, &small.held_out, small.owner, 5, &one, &o, &g,
                                   NULL);
        mem_fail_after(SIZE_MAX);
        odd += st != MEDLEY_OK && (st != MEDLEY_ENOMEM || g);
        medley_coalition_free(g);
    }
    pool_set_threads(0);
    ok(st == MEDLEY_OK && odd == 0 && at > 20, "each allocation may fail (%zu tried)", at);
    medley_coalition_free(NULL);
}

int main(void)
{
    printf("# seed %u\n", SEED);
    test_definition();
    test_axioms();
    test_plan();
    test_sampling();
    struct world w = world_new();
    test_refits(&w);
    test_always_there(&w);
    test_threads(&w);
    test_stopping(&w);
    test_refusals(&w);
    test_faults(&w);
    world_free(&w);
    return tap_done();
}
