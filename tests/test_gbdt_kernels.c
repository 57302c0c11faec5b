/* test_gbdt_kernels.c: the kernels of a sweep over the training rows against their definitions:
 * adding trees to margins, sampling by gradient; what a sample promises. */
#include "tests/tap.h"

#include "base/memory.h"
#include "base/pool.h"
#include "gbdt/histogram.h"
#include "gbdt/quantise.h"
#include "gbdt/score.h"
#include "gbdt/softmax.h"
#include "tests/gbdt_help.h"

#include <float.h>

#define SEED 20261124u

/* ---- numbers to bins ---- */

static void test_quantise(void)
{
    struct rng r;
    rng_init(&r, SEED, 1);
    for (const struct quantise_impl *impl = quantise_impls + 1; impl->name; impl++) {
        bool same = true;
        for (unsigned n_cuts = 0; impl->usable() && n_cuts <= 254; n_cuts++) {
            float cuts[256], x[3 * 100];
            uint8_t wanted[100], got[101];
            size_t n = n_cuts % 100;
            for (unsigned i = 0; i < 256; i++)
                cuts[i] = i < n_cuts ? (float)i - 100 : INFINITY;
            random_rows(&r, 300, x);
            for (size_t i = 0; i < 300; i++) /* every other one on a cut */
                x[i] = i % 2 ? x[i] * 300 - 120 : (float)rng_below(&r, 300) - 120;
            x[0] = FLT_MAX;
            x[3] = -FLT_MAX;
            struct quantise_job job = {.cuts = cuts, .x = x, .stride = 3, .n = n};
            got[n] = 77;
            job.out = wanted;
            quantise_impls[0].run(&job);
            job.out = got;
            impl->run(&job);
            same &= memcmp(wanted, got, n) == 0 && got[n] == 77;
        }
        ok(same, "0 to 254 cuts, every tail length: bins of %s equal the definition",
           impl->name);
    }
}

/* ---- adding trees to margins ---- */

enum { SCORE_ROWS = 192, SCORE_FEATURES = 9 };

/* A random tree whose nodes compare bins. */
static struct tree *binned_tree(struct rng *r, uint32_t leaves, uint32_t outputs)
{
    struct tree *t = random_tree(r, leaves, SCORE_FEATURES, outputs, 1, false);
    for (uint32_t i = 0; i + 1 < leaves; i++)
        t->nodes[i].bin = (uint8_t)(1 + rng_below(r, 255));
    return t;
}

static void test_scores(uint32_t outputs)
{
    struct rng r;
    struct binned table;
    rng_init(&r, SEED, outputs);
    binned_room(SCORE_ROWS, SCORE_FEATURES, true, false, &table, NULL);
    for (size_t i = 0; i < SCORE_FEATURES * table.pitch; i++)
        table.columns[i] = rng_below(&r, 4) ? (uint8_t)rng_below(&r, 256) : 0;
    float *weights = mem_alloc64(SCORE_ROWS, sizeof *weights);
    for (size_t i = 0; i < SCORE_ROWS; i++)
        weights[i] = rng_below(&r, 5) ? 1 : 0;
    size_t n = (outputs + 1) * SCORE_ROWS;
    float *wanted = mem_alloc64(n, sizeof *wanted), *got = mem_alloc64(n, sizeof *got);
    for (const struct score_impl *impl = score_impls + 1; impl->name; impl++) {
        bool same = true;
        for (uint32_t leaves = 1; impl->usable() && leaves <= 255;
             leaves += leaves < 36 ? 1 : 73) {
            struct tree *trees[2] = {binned_tree(&r, leaves, outputs),
                                     binned_tree(&r, leaves, outputs)};
            uint32_t a[2 * GBDT_MAX_LEAVES] = {0}, b[2 * GBDT_MAX_LEAVES] = {0};
            struct score_job job = {.trees = trees,
                                    .n_trees = 2,
                                    .table = &table,
                                    .stride = SCORE_ROWS,
                                    .weights = weights};
            for (size_t i = 0; i < n; i++)
                wanted[i] = got[i] = (float)rng_normal(&r);
            job.scores = wanted;
            job.counts = a;
            score_impls[0].add(&job, 64, SCORE_ROWS);
            job.scores = got;
            job.counts = b;
            impl->add(&job, 64, SCORE_ROWS);
            same &= memcmp(wanted, got, n * sizeof *got) == 0 && memcmp(a, b, sizeof a) == 0;
            tree_free(trees[0]);
            tree_free(trees[1]);
        }
        ok(same, "trees of 1 to 255 leaves, %u outputs, on margins: %s equals the definition",
           outputs, impl->name);
    }
    mem_free(wanted);
    mem_free(got);
    mem_free(weights);
    binned_deinit(&table);
}

/* ---- sampling ---- */

enum { SAMPLE_ROWS = 6400 };

struct sampled {
    struct softmax_job job;
    uint32_t kept[SAMPLE_ROWS], spread[SPREAD_BINS];
    size_t n;
};

static struct sampled *sampled_new(size_t classes)
{
    struct sampled *s = mem_zalloc(1, sizeof *s);
    unsigned lanes = classes <= 4 ? 4 : 8;
    s->job = (struct softmax_job){.n_classes = classes,
                                  .stride = SAMPLE_ROWS,
                                  .gradient_scale = 20000,
                                  .hessian_scale = 40000,
                                  .lanes = lanes,
                                  .packed = mem_zalloc(SAMPLE_ROWS * lanes, 8),
                                  .by_class = mem_zalloc(SAMPLE_ROWS * classes, 8)};
    return s;
}

static void sampled_free(struct sampled *s)
{
    mem_free(s->job.packed);
    mem_free(s->job.by_class);
    mem_free(s);
}

static void run_sample(const struct softmax_impl *impl, const struct softmax_job *rows,
                       float threshold, float row_fraction, struct sampled *s)
{
    struct softmax_sample how = {threshold, row_fraction, {77, 99}, s->kept, s->spread};
    s->job.scores = rows->scores;
    s->job.labels = rows->labels;
    s->job.weights = rows->weights;
    memset(s->spread, 0, sizeof s->spread);
    s->n = impl->sample(&s->job, &how, 0, SAMPLE_ROWS);
}

/* No cell off by more than a unit of gradient or hessian; large ones by a 100,000th more. */
static bool close_cells(const struct sampled *a, const struct sampled *b)
{
    bool close = a->n == b->n && memcmp(a->kept, b->kept, a->n * sizeof *a->kept) == 0;
    for (size_t c = 0; close && c < a->job.n_classes; c++)
        for (size_t i = 0; i < a->n; i++) {
            int64_t x = a->job.by_class[c * SAMPLE_ROWS + i];
            int64_t y = b->job.by_class[c * SAMPLE_ROWS + i];
            double g = abs(cell_gradient(x)), h = cell_hessian(x);
            close &= fabs((double)cell_gradient(x) - cell_gradient(y)) <= 1 + 1e-5 * g &&
                     fabs(h - cell_hessian(y)) <= 1 + 1e-5 * h &&
                     b->job.packed[i * b->job.lanes + c] == y;
        }
    return close;
}

static bool same_cells(const struct sampled *a, const struct sampled *b)
{
    return a->n == b->n && memcmp(a->kept, b->kept, a->n * sizeof *a->kept) == 0 &&
           memcmp(a->spread, b->spread, sizeof a->spread) == 0 &&
           memcmp(a->job.by_class, b->job.by_class,
                  SAMPLE_ROWS * a->job.n_classes * sizeof *a->job.by_class) == 0;
}

/* Sums over the sample against sums over all rows, in deviations of the estimate. */
static double worst_deviation(const struct sampled *all, const struct sampled *some,
                              float threshold)
{
    double worst = 0;
    for (size_t c = 0; c < all->job.n_classes; c++) {
        double sum = 0, estimate = 0, variance = 0;
        for (size_t i = 0; i < all->n; i++) {
            double g = cell_gradient(all->job.by_class[c * SAMPLE_ROWS + i]);
            sum += g;
            variance += fabs(g) * threshold * all->job.gradient_scale;
        }
        for (size_t i = 0; i < some->n; i++)
            estimate += cell_gradient(some->job.by_class[c * SAMPLE_ROWS + i]);
        worst = fmax(worst, fabs(estimate - sum) / sqrt(variance));
    }
    return worst;
}

static void test_sampling(size_t classes)
{
    struct rng r;
    rng_init(&r, SEED, 10 + classes);
    float *scores = mem_alloc64(SAMPLE_ROWS * classes, sizeof *scores);
    float *weights = mem_alloc64(SAMPLE_ROWS, sizeof *weights);
    uint8_t *labels = mem_alloc64(SAMPLE_ROWS, 1);
    size_t alive = 0;
    for (size_t i = 0; i < SAMPLE_ROWS; i++) {
        labels[i] = (uint8_t)rng_below(&r, (uint32_t)classes);
        weights[i] = i % 10 == 3 ? 0 : (float)(0.5 + rng_uniform(&r));
        alive += weights[i] > 0;
        for (size_t c = 0; c < classes; c++)
            scores[c * SAMPLE_ROWS + i] =
                (float)(rng_normal(&r) + 4 * (c == labels[i]) * rng_uniform(&r));
    }
    struct softmax_job rows = {.scores = scores, .labels = labels, .weights = weights};
    struct sampled *all = sampled_new(classes), *wanted = sampled_new(classes);
    struct sampled *first = sampled_new(classes), *got = sampled_new(classes);
    run_sample(&softmax_impls[0], &rows, 0, 1, all);
    ok(all->n == alive, "threshold 0 keeps every row of weight above 0");
    float threshold = softmax_threshold(all->spread, 0.2 * SAMPLE_ROWS / 4, 100);
    run_sample(&softmax_impls[0], &rows, threshold, 1, wanted);
    /* A quarter of the rows is looked at, bins of an eighth of an octave of s^2. */
    ok(fabs((double)wanted->n / SAMPLE_ROWS - 0.2) < 0.02,
       "threshold %.3f for a fifth of the rows keeps %.3f", (double)threshold,
       (double)wanted->n / SAMPLE_ROWS);
    double off = worst_deviation(all, wanted, threshold);
    ok(off < 4, "%zu classes: sums over the sample are off by %.1f deviations", classes, off);
    for (const struct softmax_impl *impl = softmax_impls + 1; impl->name; impl++) {
        if (!impl->usable())
            continue;
        run_sample(impl, &rows, threshold, 1, impl == softmax_impls + 1 ? first : got);
        ok(close_cells(wanted, first) && (impl == softmax_impls + 1 || same_cells(first, got)),
           "%zu classes: the sample of %s", classes, impl->name);
    }
    run_sample(&softmax_impls[0], &rows, 0, 0.5, wanted);
    run_sample(&softmax_impls[1], &rows, 0, 0.5, first);
    ok(close_cells(wanted, first) && fabs((double)wanted->n / (double)alive - 0.5) < 0.03,
       "half the rows, whatever their gradients: %zu of %zu", wanted->n, alive);
    sampled_free(all);
    sampled_free(wanted);
    sampled_free(first);
    sampled_free(got);
    mem_free(scores);
    mem_free(weights);
    mem_free(labels);
}

static void test_threshold(void)
{
    uint32_t spread[SPREAD_BINS] = {0};
    spread[127 << 3] = 100; /* s^2 from 1 to 1.125 */
    ok(softmax_threshold(spread, 100, 9) == 0 && softmax_threshold(spread, 200, 9) == 0,
       "nothing to leave out");
    float t = softmax_threshold(spread, 25, 9);
    ok(fabs((double)t - 4) < 0.2, "equal rows, a quarter wanted: %.2f", (double)t);
    ok(softmax_threshold(spread, 1e-9, 9) == 9, "a threshold has a limit");
    spread[121 << 3] = 1000; /* s of 1/8 */
    t = softmax_threshold(spread, 100 + 1000 * 0.125, 9);
    ok(t >= 0.95f && t <= 1.1f, "large rows surely, small ones by chance: %.2f", (double)t);
}

/* ---- trained on samples ---- */

static double log_loss(const medley_gbdt *m, const struct shop *s)
{
    size_t n = s->t.n, k = s->t.n_classes;
    float *p = malloc(n * k * sizeof *p);
    double sum = 0;
    medley_gbdt_predict(m, s->x, n, p, NULL);
    for (size_t i = 0; i < n; i++)
        sum -= log(fmax(p[i * k + s->y[i]], 1e-30));
    free(p);
    return sum / (double)n;
}

static void test_training(enum medley_trees kind)
{
    struct shop s = shop_new(20000, 3, 3, SEED + 1), v = shop_new(5000, 3, 3, SEED + 2);
    medley_gbdt_options o = {
        .rounds = 25, .learning_rate = 0.2, .num_leaves = 8, .trees = kind};
    double losses[2];
    medley_gbdt *models[3] = {NULL};
    for (int i = 0; i < 3; i++) {
        o.gradient_fraction = i ? 0.3 : 1;
        pool_set_threads(i == 2 ? 3 : 1);
        medley_gbdt_train(&s.t, NULL, &o, &models[i], NULL);
    }
    pool_set_threads(0);
    losses[0] = log_loss(models[0], &v);
    losses[1] = log_loss(models[1], &v);
    ok(losses[1] < losses[0] * 1.01, "%s trees, log-loss %.4f from all rows, %.4f from 0.3",
       kind ? "vector" : "class", losses[0], losses[1]);
    ok(same_model(models[1], models[2]), "one thread or three: the same model");
    bool counted = true;
    for (size_t k = 0; k < models[1]->n_trees; k++) {
        const struct tree *t = models[1]->trees[k];
        uint32_t rows = 0, counts[255] = {0};
        for (size_t i = 0; i < s.t.n; i++)
            counts[tree_leaf(t, s.x + i * 9)]++;
        for (uint32_t i = 0; i < t->n_leaves; i++) {
            rows += t->counts[i];
            counted &= counts[i] == t->counts[i];
        }
        counted &= rows == s.t.n && (t->n_leaves == 1 || t->nodes[0].count == s.t.n);
    }
    ok(counted, "covers count all rows");
    for (int i = 0; i < 3; i++)
        medley_gbdt_free(models[i]);
    shop_free(&s);
    shop_free(&v);
}

int main(void)
{
    test_quantise();
    test_scores(1);
    test_scores(3);
    test_sampling(2);
    test_sampling(4);
    test_sampling(7);
    test_threshold();
    test_training(MEDLEY_TREES_PER_CLASS);
    test_training(MEDLEY_TREES_VECTOR);
    return tap_done();
}
