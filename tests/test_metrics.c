/* test_metrics.c: metrics against values worked out by hand from scikit-learn's definitions
 * (zero_division=0, labels 0..k-1); bootstrap intervals against what statistics says of them.
 */
#include "tests/tap.h"

#include "base/pool.h"
#include "base/rng.h"
#include "data/metrics.h"

static bool near(double a, double b, double tolerance)
{
    if (fabs(a - b) <= tolerance)
        return true;
    printf("# got %.9g, wanted %.9g\n", a, b);
    return false;
}

static const float small_p[8 * 3] = {.7f,  .2f,  .1f, .1f,  .8f, .1f, .3f, .3f,
                                     .4f,  .25f, .5f, .25f, .4f, .4f, .2f, .05f,
                                     .05f, .9f,  .6f, .3f,  .1f, .2f, .3f, .5f};
static const uint8_t small_y[8] = {0, 1, 2, 0, 1, 2, 1, 0};

static void test_by_hand(void)
{
    struct metrics m;
    metrics_compute(small_p, small_y, NULL, 8, 3, &m);
    /* Predictions 0 1 2 1 0 2 0 2: row 4 is a tie, which goes to the lower class. */
    ok(m.n == 8 && m.n_classes == 3 && near(m.accuracy, 0.5, 1e-12), "accuracy 4/8");
    ok(near(m.per_class[0].precision, 1.0 / 3, 1e-12) &&
           near(m.per_class[0].recall, 1.0 / 3, 1e-12) &&
           near(m.per_class[0].f1, 1.0 / 3, 1e-12) && m.per_class[0].support == 3,
       "class 0: 1 of 3 predicted, 1 of 3 there");
    ok(near(m.per_class[1].precision, 0.5, 1e-12) && near(m.per_class[1].f1, 0.4, 1e-12),
       "class 1");
    ok(near(m.per_class[2].recall, 1, 1e-12) && near(m.per_class[2].f1, 0.8, 1e-12), "class 2");
    ok(near(m.macro_f1, 23.0 / 45, 1e-12), "macro-F1 (1/3 + 2/5 + 4/5) / 3");
    ok(near(m.weighted_f1, 0.475, 1e-12), "weighted F1 (3/3 + 6/5 + 8/5) / 8");
    ok(near(m.log_loss, 0.8396831940673758, 1e-7), "log-loss (to float32)");
    ok(m.confusion[0][0] == 1 && m.confusion[0][1] == 1 && m.confusion[0][2] == 1 &&
           m.confusion[1][0] == 2 && m.confusion[2][2] == 2,
       "the confusion matrix");
    ok(metrics_value(&m, METRIC_MACRO_F1) == m.macro_f1 &&
           metrics_value(&m, METRIC_LOG_LOSS) == m.log_loss &&
           strcmp(metric_names[METRIC_ACCURACY], "accuracy") == 0,
       "metrics by name");
}

static void test_edges(void)
{
    struct metrics m;
    const uint32_t index[3] = {5, 1, 0};
    metrics_compute(small_p, small_y, index, 3, 3, &m);
    ok(m.n == 3 && m.accuracy == 1 && m.macro_f1 == 1, "rows through an index");
    const float certain[4] = {0, 1, 1, 0};
    const uint8_t wrong[2] = {0, 0};
    metrics_compute(certain, wrong, NULL, 2, 2, &m);
    ok(near(m.log_loss, -log(1e-15) / 2, 1e-9), "log-loss clips at 1e-15");
    ok(m.per_class[1].f1 == 0 && m.per_class[1].support == 0 && m.per_class[0].precision == 1,
       "a class that never was scores 0");
    const float missing[6] = {NAN, NAN, NAN, .8f, .1f, .1f};
    metrics_compute(missing, wrong, NULL, 2, 3, &m);
    ok(m.n == 2 && m.accuracy == 0.5 && near(m.log_loss, (log(3) - log(.8f)) / 2, 1e-9),
       "a missing prediction is wrong, at the loss of not knowing");
    ok(m.per_class[0].precision == 1 && m.per_class[0].recall == 0.5 &&
           m.per_class[0].support == 2,
       "and in no column of the confusion matrix");
    metrics_compute(small_p, small_y, NULL, 0, 3, &m);
    ok(m.n == 0 && m.accuracy == 0 && m.log_loss == 0, "no rows at all");
}

static void test_ndcg(void)
{
    const double gains[4] = {1, .1, .01, 0};
    const uint32_t group[9] = {7, 2, 7, 2, 7, 2, 4, 5, 5};
    const float score[9] = {3, 1, 2, 1, 1, 0, 1, 2, 1};
    const uint8_t labels[9] = {1, 0, 0, 3, 3, 1, 0, 3, 3};
    /* Query 7: gains .1, 1, 0 in order of score. Query 2: 1 and 0 tie, then .1. Query 4 has one
     * product, query 5 no gain. */
    double d[3] = {1, 1 / log2(3), 0.5};
    double q7 = (.1 + d[1]) / (1 + .1 * d[1]);
    double q2 = (.5 * (1 + d[1]) + .1 * d[2]) / (1 + .1 * d[1]);
    ok(near(metrics_ndcg(score, labels, group, 9, gains, 4, 0), (q7 + q2) / 2, 1e-12),
       "NDCG with ties, single products and queries without gain");
    ok(near(metrics_ndcg(score, labels, group, 9, gains, 4, 1), (.1 + .5) / 2, 1e-12),
       "NDCG@1");
    ok(isnan(metrics_ndcg(score, labels, group, 1, gains, 4, 0)), "no query to rank");
}

enum { QUERIES = 400, EACH = 5, ROWS = QUERIES * EACH };
static float big_a[ROWS * 2], big_b[ROWS * 2], big_values[ROWS];
static uint8_t big_y[ROWS];
static uint32_t big_group[ROWS];

/* Set a is right for 80% of the rows, b for 60%, independently. */
static void make_big(void)
{
    struct rng r;
    rng_init(&r, 5, 0);
    for (int i = 0; i < ROWS; i++) {
        big_group[i] = (uint32_t)(i % QUERIES) * 3;
        big_y[i] = (uint8_t)rng_below(&r, 2);
        float pa = rng_uniform(&r) < 0.8 ? 0.9f : 0.1f,
              pb = rng_uniform(&r) < 0.6 ? 0.9f : 0.1f;
        big_a[2 * i + big_y[i]] = pa;
        big_a[2 * i + !big_y[i]] = 1 - pa;
        big_b[2 * i + big_y[i]] = pb;
        big_b[2 * i + !big_y[i]] = 1 - pb;
        big_values[i] = (float)rng_normal(&r);
    }
}

static void test_bootstrap(void)
{
    struct interval one[METRIC_ROOM] = {0}, again[METRIC_ROOM] = {0}, other[METRIC_ROOM] = {0};
    struct metrics m;
    medley_error err;
    metrics_compute(big_a, big_y, NULL, ROWS, 2, &m);
    pool_set_threads(1);
    ok(metrics_bootstrap(big_a, big_y, big_group, NULL, ROWS, 2, 0, 1, one, &err) == MEDLEY_OK,
       "an interval");
    /* 2000 independent rows at 0.8: standard error 0.00894, so the interval is 0.0351 wide. */
    double width = one[METRIC_ACCURACY].high - one[METRIC_ACCURACY].low;
    ok(one[METRIC_ACCURACY].low < m.accuracy && m.accuracy < one[METRIC_ACCURACY].high &&
           width > 0.028 && width < 0.042,
       "of the width that statistics expects (%g)", width);
    ok(one[METRIC_COUNT].low < m.per_class[0].f1 &&
           m.per_class[0].f1 < one[METRIC_COUNT].high &&
           one[METRIC_COUNT + 1].low < m.per_class[1].f1 &&
           m.per_class[1].f1 < one[METRIC_COUNT + 1].high,
       "and of F1 of each class");
    pool_set_threads(4);
    metrics_bootstrap(big_a, big_y, big_group, NULL, ROWS, 2, 1000, 1, again, &err);
    ok(memcmp(one, again, sizeof one) == 0, "the same with four threads");
    metrics_bootstrap(big_a, big_y, big_group, NULL, ROWS, 2, 1000, 2, other, &err);
    ok(memcmp(one, other, sizeof one) != 0, "another with another seed");
    ok(metrics_bootstrap(big_a, big_y, big_group, NULL, 0, 2, 10, 1, other, &err) ==
           MEDLEY_EINVAL,
       "no rows: %s", err.message);
}

/* Rows of one query that all say the same are one piece of evidence, not five. */
static void test_groups_matter(void)
{
    static float copies[ROWS];
    static uint32_t own[ROWS];
    struct interval grouped, naive;
    double mean, same = 0;
    medley_error err;
    for (int i = 0; i < ROWS; i++) {
        copies[i] = big_values[i % QUERIES];
        own[i] = (uint32_t)i;
    }
    ok(mean_bootstrap(copies, big_group, NULL, ROWS, 0, 3, &mean, &grouped, &err) ==
               MEDLEY_OK &&
           mean_bootstrap(copies, own, NULL, ROWS, 0, 3, &same, &naive, &err) == MEDLEY_OK,
       "intervals of a mean");
    double ratio = (grouped.high - grouped.low) / (naive.high - naive.low);
    ok(near(mean, same, 1e-12) && ratio > 1.9 && ratio < 2.6, "wider by about sqrt(5): %g",
       ratio);
    const uint32_t index[2] = {3, 9};
    mean_bootstrap(big_values, big_group, index, 2, 50, 3, &mean, &grouped, &err);
    ok(near(mean, ((double)big_values[3] + big_values[9]) / 2, 1e-12),
       "a mean through an index");
}

static void test_paired(void)
{
    struct paired_difference d[METRIC_ROOM], zero[METRIC_ROOM];
    struct metrics a, b;
    medley_error err;
    metrics_compute(big_a, big_y, NULL, ROWS, 2, &a);
    metrics_compute(big_b, big_y, NULL, ROWS, 2, &b);
    ok(metrics_paired(big_a, big_b, big_y, big_group, NULL, ROWS, 2, 0, 1, d, &err) ==
           MEDLEY_OK,
       "a paired comparison");
    ok(near(d[METRIC_ACCURACY].difference, a.accuracy - b.accuracy, 1e-12) &&
           d[METRIC_ACCURACY].low > 0.1 && d[METRIC_ACCURACY].high < 0.3 &&
           d[METRIC_ACCURACY].p_value < 0.01 && d[METRIC_LOG_LOSS].high < 0,
       "tells 80%% from 60%%");
    ok(near(d[METRIC_COUNT + 1].difference, a.per_class[1].f1 - b.per_class[1].f1, 1e-12) &&
           d[METRIC_COUNT + 1].low > 0.1,
       "in F1 of a class too");
    metrics_paired(big_a, big_a, big_y, big_group, NULL, ROWS, 2, 200, 1, zero, &err);
    ok(zero[METRIC_MACRO_F1].difference == 0 && zero[METRIC_MACRO_F1].low == 0 &&
           zero[METRIC_MACRO_F1].p_value == 1,
       "a set does not differ from itself");
}

int main(void)
{
    test_by_hand();
    test_edges();
    test_ndcg();
    make_big();
    test_bootstrap();
    test_groups_matter();
    test_paired();
    return tap_done();
}
