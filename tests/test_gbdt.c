/* test_gbdt.c: kernels against their definitions; bins; trees against an exhaustive search;
 * determinism over threads; options; prediction; faults. */
#include "tests/tap.h"

#include "base/memory.h"
#include "base/pool.h"
#include "gbdt/boost.h"
#include "tests/gbdt_help.h"

#include <float.h>

#define SEED 20240606u

/* ---- bins ---- */

/* By column and by row. */
static bool make_binned(const struct bins *b, const float *x, size_t n, struct binned *t)
{
    struct binned rows;
    if (binned_new(b, x, n, t, NULL) != MEDLEY_OK ||
        binned_room(n, b->n_features, false, true, &rows, NULL) != MEDLEY_OK)
        return false;
    binned_turn(t, b->n_features, 0, n, &rows);
    t->rows = rows.rows;
    return true;
}

static void test_bins(void)
{
    /* Feature 0: three values and missing; 1: constant; 2: all missing; 3: many values. */
    enum { N = 3000 };
    float *x = malloc(N * 4 * sizeof *x);
    struct rng r;
    rng_init(&r, SEED, 1);
    for (size_t i = 0; i < N; i++) {
        x[i * 4] = i % 4 == 3 ? NAN : (float)(i % 4) - 1;
        x[i * 4 + 1] = 7;
        x[i * 4 + 2] = NAN;
        x[i * 4 + 3] = i % 3 == 0 ? 0.25f : (float)rng_normal(&r);
    }
    struct bins b = {0};
    struct binned t = {0};
    ok(bins_fit(x, N, 4, 50, &b, NULL) == MEDLEY_OK && make_binned(&b, x, N, &t),
       "bins are made");
    ok(b.n_cuts[0] == 2 && b.n_cuts[1] == 0 && b.n_cuts[2] == 0,
       "2, 0 and 0 cuts for three values, one and none");
    ok(b.n_cuts[3] >= 40 && b.n_cuts[3] <= 49, "%d cuts of at most 49", b.n_cuts[3]);
    bool same = true, missing = true, columns = true;
    size_t filled[256] = {0};
    for (size_t i = 0; i < N; i++) {
        const uint8_t *row = t.rows + i * t.stride;
        for (size_t f = 0; f < 4; f++) {
            float v = x[i * 4 + f];
            missing &= (row[f] == 0) == (v != v);
            columns &= t.columns[f * t.pitch + i] == row[f];
            for (unsigned bin = 1; v == v && bin <= b.n_cuts[f] + 1u; bin++)
                same &= (v <= bins_threshold(&b, f, bin)) == (row[f] <= bin);
        }
        filled[row[3]]++;
    }
    ok(missing && columns, "bin 0 is missing, columns equal rows");
    ok(same, "a bin is at most b exactly where the value is at most the threshold of b");
    size_t most = 0, least = N;
    for (unsigned bin = 1; bin <= b.n_cuts[3] + 1u; bin++) {
        most = filled[bin] > most ? filled[bin] : most;
        least = filled[bin] < least ? filled[bin] : least;
    }
    ok(most >= N / 3 && most < N / 3 + 60 && least > 10,
       "the frequent value has its own bin (%zu rows), others share the rest (at least %zu)",
       most, least);
    binned_deinit(&t);
    bins_deinit(&b);
    free(x);
}

static void test_extreme_values(void)
{
    float x[8] = {-FLT_MAX, FLT_MAX, -0.0f, 0.0f, 1e-45f, -1e-45f, 1, nextafterf(1, 2)};
    struct bins b = {0};
    struct binned t = {0};
    bins_fit(x, 8, 1, 255, &b, NULL);
    make_binned(&b, x, 8, &t);
    ok(b.n_cuts[0] == 6, "the two zeros are one value");
    bool ordered = true;
    for (size_t i = 0; i < 8; i++)
        for (size_t j = 0; j < 8; j++)
            ordered &= (x[i] < x[j]) == (t.rows[i * t.stride] < t.rows[j * t.stride]);
    ok(ordered, "neighbouring, tiny and huge numbers keep their order");
    binned_deinit(&t);
    bins_deinit(&b);
}

/* ---- kernels ---- */

static void fill_random_cells(struct rng *r, int64_t *cells, size_t n)
{
    for (size_t i = 0; i < n; i++)
        cells[i] =
            cell_pack((int32_t)rng_below(r, 2001) - 1000, 1 + (int32_t)rng_below(r, 300));
}

static void test_histograms(size_t features, unsigned lanes)
{
    struct rng r;
    rng_init(&r, SEED, 10 + features);
    size_t n = 777;
    float *x = malloc(n * features * sizeof *x);
    random_rows(&r, n * features, x);
    struct bins b = {0};
    struct binned t = {0};
    bins_fit(x, n, features, 100, &b, NULL);
    make_binned(&b, x, n, &t);
    size_t cells = histogram_cells(&b) * lanes;
    int64_t *gradients = mem_alloc64(n * lanes, sizeof *gradients);
    int64_t *wanted = mem_alloc64(cells, sizeof *wanted),
            *got = mem_alloc64(cells, sizeof *got);
    uint32_t *index = malloc(n * sizeof *index);
    fill_random_cells(&r, gradients, n * lanes);
    for (size_t i = 0; i < n; i++)
        index[i] = rng_below(&r, (uint32_t)n);
    for (const struct histogram_impl *impl = histogram_impls + 1; impl->name; impl++) {
        bool same = true;
        for (int mode = 0; impl->usable() && mode < 3; mode++) {
            struct histogram_job job = {.bins = &b,
                                        .table = &t,
                                        .group_end = b.n_groups,
                                        .group_begin = mode == 2 && b.n_groups > 1,
                                        .index = mode ? index : NULL,
                                        .begin = mode ? 0 : 13,
                                        .n = mode ? n - (size_t)mode : n - 13,
                                        .gradients = gradients,
                                        .lanes = lanes};
            memset(wanted, 0, cells * sizeof *wanted);
            memset(got, 0, cells * sizeof *got);
            job.cells = wanted;
            histogram_impls[0].add(&job);
            job.cells = got;
            impl->add(&job);
            for (size_t i = 0; i < cells; i++) {
                size_t group =
                    i / lanes / 8 < b.group_first[b.n_groups - 1] ? 0 : b.n_groups - 1;
                bool there = group * 8 + i / lanes % 8 < features;
                same &= !there || wanted[i] == got[i];
            }
        }
        ok(same, "histograms of %zu features, %u lanes: %s equals the definition", features,
           lanes, impl->name);
    }
    mem_free(gradients);
    mem_free(wanted);
    mem_free(got);
    free(index);
    binned_deinit(&t);
    bins_deinit(&b);
    free(x);
}

static bool equal_splits(const struct split *a, const struct split *b)
{
    return a->gain == b->gain && a->feature == b->feature && a->bin == b->bin &&
           a->missing_left == b->missing_left && a->missing_seen == b->missing_seen;
}

/* Histograms of real rows, so that features agree on their totals. */
/* A leaf of `rows` of 500 rows: with few of them most bins are empty. */
static void test_split_search(size_t features, unsigned outputs, bool missing, size_t rows)
{
    struct rng r;
    rng_init(&r, SEED, 20 + features);
    size_t n = 500;
    float *x = malloc(n * features * sizeof *x);
    random_rows(&r, n * features, x);
    for (size_t i = 0; !missing && i < n * features; i++)
        x[i] = x[i] == x[i] ? x[i] : 0.5f;
    struct bins b = {0};
    struct binned t = {0};
    bins_fit(x, n, features, 60, &b, NULL);
    make_binned(&b, x, n, &t);
    size_t cells = histogram_cells(&b);
    int64_t *h = mem_alloc64(cells * outputs, sizeof *h), totals[16] = {0};
    int64_t *gradients = mem_alloc64(n, sizeof *gradients);
    uint8_t allowed[8];
    memset(h, 0, cells * outputs * sizeof *h);
    for (unsigned o = 0; o < outputs; o++) {
        fill_random_cells(&r, gradients, n);
        struct histogram_job job = {.bins = &b,
                                    .table = &t,
                                    .group_end = b.n_groups,
                                    .n = rows,
                                    .gradients = gradients,
                                    .lanes = 1,
                                    .cells = h + o * cells};
        histogram_add(&job);
        for (size_t i = 0; i < job.n; i++)
            totals[o] += gradients[i];
    }
    for (const struct split_impl *impl = split_impls + 1; impl->name; impl++) {
        bool same = true, found = false;
        if (!impl->usable())
            continue;
        rng_init(&r, SEED, 21);
        for (int i = 0; i < 40; i++) {
            struct split wanted, got;
            struct split_search s = {.bins = &b,
                                     .cells = h,
                                     .output_stride = cells,
                                     .outputs = outputs,
                                     .totals = totals,
                                     .lambda = i % 3 * 50.0,
                                     .min_gain = i % 5 * 10.0,
                                     .min_hessian =
                                         0.5 + (double)rng_below(&r, (uint32_t)rows * 6),
                                     .allowed = allowed};
            for (size_t g = 0; g < b.n_groups; g++)
                allowed[g] = (uint8_t)(rng_below(&r, 255) + 1);
            if (features % 8)
                allowed[b.n_groups - 1] &= (uint8_t)((1u << features % 8) - 1);
            split_impls[0].find(&s, &wanted);
            impl->find(&s, &got);
            same &= equal_splits(&wanted, &got);
            found |= wanted.gain > 0;
        }
        ok(same && found,
           "splits of %zu rows, %zu features, %u outputs%s: %s equals the definition", rows,
           features, outputs, missing ? ", missing values" : "", impl->name);
    }
    mem_free(h);
    mem_free(gradients);
    binned_deinit(&t);
    bins_deinit(&b);
    free(x);
}

static void test_partition(void)
{
    struct rng r;
    rng_init(&r, SEED, 30);
    uint8_t column[600];
    uint32_t index[600], wanted[600], got[600], other[620];
    for (size_t i = 0; i < 600; i++)
        column[i] = rng_below(&r, 4) ? (uint8_t)rng_below(&r, 256) : 0;
    for (const struct partition_impl *impl = partition_impls + 1; impl->name; impl++) {
        bool same = true;
        for (size_t n = 0; impl->usable() && n < 597; n += n < 70 ? 1 : 31) {
            struct partition_job job = {.column = column,
                                        .bin = (uint8_t)(1 + n % 255),
                                        .missing_left = n & 1,
                                        .other = other,
                                        .n = n};
            for (size_t i = 0; i < n; i++)
                index[i] = rng_below(&r, 597);
            memcpy(wanted, index, sizeof index);
            memcpy(got, index, sizeof index);
            job.index = wanted;
            size_t left = partition_impls[0].run(&job);
            job.index = got;
            same &= impl->run(&job) == left && memcmp(wanted, got, n * sizeof *got) == 0;
        }
        ok(same, "partition at every tail length: %s equals the definition", impl->name);
    }
}

static void test_gradients(size_t classes)
{
    enum { N = 160 };
    struct rng r;
    rng_init(&r, SEED, 40 + classes);
    unsigned lanes = classes <= 4 ? 4 : classes <= 8 ? 8 : 16;
    float *scores = mem_alloc64(N * classes, sizeof *scores);
    float *weights = mem_alloc64(N, sizeof *weights);
    uint8_t *labels = mem_alloc64(N, 1);
    int64_t *arrays = mem_alloc64(2 * N * (classes + lanes), sizeof *arrays);
    for (size_t i = 0; i < N; i++) {
        labels[i] = (uint8_t)rng_below(&r, (uint32_t)classes);
        weights[i] = (float)rng_uniform(&r);
        for (size_t c = 0; c < classes; c++)
            scores[c * N + i] = (float)rng_normal(&r) * (i % 7 == 0 ? 60 : 3);
    }
    struct softmax_job job = {classes, N,     scores, labels, weights,
                              20000,   40000, lanes,  arrays, arrays + N * lanes};
    const int64_t *first = NULL;
    softmax_impls[0].gradients(&job, 0, N);
    for (const struct softmax_impl *impl = softmax_impls + 1; impl->name; impl++) {
        struct softmax_job own = job;
        double worst = 0;
        if (!impl->usable())
            continue;
        int64_t *room = mem_zalloc(N * (classes + lanes), sizeof *room);
        own.packed = room;
        own.by_class = room + N * lanes;
        impl->gradients(&own, 0, N);
        bool agree = true;
        for (size_t i = 0; i < N * classes; i++) {
            int64_t a = job.by_class[i], b = own.by_class[i];
            worst = fmax(worst, fabs((double)cell_gradient(a) - cell_gradient(b)));
            worst = fmax(worst, fabs((double)cell_hessian(a) - cell_hessian(b)));
            agree &= own.packed[i % N * lanes + i / N] == b;
            agree &= !first || first[i] == b;
        }
        /* One unit for rounding; float32 softmax over 20,000 units adds less than another. */
        ok(worst <= 1 && agree, "%zu classes: %s within %g units, one layout, one result",
           classes, impl->name, worst);
        if (!first)
            first = own.by_class;
        else
            mem_free(room);
    }
    mem_free((void *)(first - N * lanes));
    mem_free(scores);
    mem_free(weights);
    mem_free(labels);
    mem_free(arrays);
}

/* ---- prediction ---- */

static void test_prediction(void)
{
    struct rng r;
    rng_init(&r, SEED, 50);
    for (int kind = 0; kind < 2; kind++)
        for (int chain = 0; chain < 2; chain++) {
            medley_gbdt *m = random_model(&r, 5, 7, 3, (enum medley_trees)kind, chain);
            float x[200 * 7], got[200 * 3], one[3], p[200 * 3];
            double worst = 0, sums = 0;
            bool same = true;
            random_rows(&r, 200 * 7, x);
            medley_gbdt_margins(m, x, 200, got, NULL);
            medley_gbdt_predict(m, x, 200, p, NULL);
            for (size_t i = 0; i < 200; i++) {
                double wanted[3] = {m->base[0], m->base[1], m->base[2]}, total = 0;
                for (size_t t = 0; t < m->n_trees; t++)
                    for (uint32_t o = 0; o < m->trees[t]->n_outputs; o++)
                        wanted[m->trees[t]->first_class + o] +=
                            m->trees[t]->values[tree_leaf(m->trees[t], x + i * 7) *
                                                    m->trees[t]->n_outputs +
                                                o];
                medley_gbdt_margins(m, x + i * 7, 1, one, NULL);
                for (size_t c = 0; c < 3; c++) {
                    worst = fmax(worst, fabs(wanted[c] - got[i * 3 + c]));
                    same &= one[c] == got[i * 3 + c];
                    total += p[i * 3 + c];
                }
                sums = fmax(sums, fabs(total - 1));
                same &= (got[i * 3] > got[i * 3 + 1]) == (p[i * 3] > p[i * 3 + 1]);
            }
            ok(worst < 1e-5 && same && sums < 1e-6,
               "%s trees, %s: margins as by walking, one row as many, probabilities sum to 1",
               kind ? "vector" : "class", chain ? "long paths" : "bushy");
            medley_gbdt_free(m);
        }
}

/* ---- training ---- */

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

/* The first split against every cut of every feature, with exact gradients in double. */
static void test_first_split(void)
{
    struct shop s = shop_new(400, 2, 2, SEED);
    medley_gbdt_options o = {
        .rounds = 1, .num_leaves = 2, .min_data_in_leaf = 1, .learning_rate = 1};
    medley_gbdt *m = NULL;
    medley_gbdt_train(&s.t, NULL, &o, &m, NULL);
    const struct tree *t = m->trees[0];
    double share = 1 / (1 + exp(m->base[1] - m->base[0])), best = -1, own = -1, value = 0;
    for (size_t f = 0; f < 4; f++)
        for (size_t at = 0; at < 400; at++)
            for (int missing_left = 0; missing_left < 2; missing_left++) {
                double g[2] = {0}, h[2] = {0};
                bool is_own =
                    f == t->nodes[0].feature && missing_left == t->nodes[0].missing_left;
                for (size_t i = 0; i < 400; i++) {
                    float v = s.x[i * 4 + f], cut = s.x[at * 4 + f];
                    bool left = v <= cut || (v != v && missing_left);
                    is_own &= v != v || (v <= cut) == (v <= t->nodes[0].threshold);
                    g[!left] += share - (s.y[i] == 0);
                    h[!left] += 2 * share * (1 - share);
                }
                if (h[0] <= 0 || h[1] <= 0)
                    continue;
                double gain = g[0] * g[0] / h[0] + g[1] * g[1] / h[1];
                best = fmax(best, gain);
                if (is_own) {
                    own = gain;
                    value = -g[0] / h[0];
                }
            }
    float margin[2];
    float x[4] = {NAN, NAN, NAN, NAN};
    x[t->nodes[0].feature] = -1;
    medley_gbdt_margins(m, x, 1, margin, NULL);
    /* Bins may miss the very best cut of 400 values by a little; gradients are quantised. */
    ok(own > 0 && own >= best * 0.9999, "first split gains %.4f, the best there is %.4f", own,
       best);
    ok(fabs(margin[0] - m->base[0] - value) < 1e-4, "its left leaf is Newton's step %.5f",
       value);
    medley_gbdt_free(m);
    shop_free(&s);
}

static void test_threads(void)
{
    static const uint32_t players[12] = {0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2};
    struct shop s = shop_new(2000, 3, 4, SEED + 1), v = shop_new(500, 3, 4, SEED + 2);
    struct shop big = shop_new(40000, 1, 3, SEED + 3);
    for (int mode = 0; mode < 5; mode++) {
        medley_gbdt_options o = {.rounds = mode == 4 ? 3 : 50, .seed = 5};
        struct shop *table = mode == 4 ? &big : &s;
        medley_gbdt *models[3] = {NULL};
        bool same = true;
        if (mode == 1)
            o.row_fraction = o.feature_fraction = 0.6;
        o.trees = mode == 2 ? MEDLEY_TREES_VECTOR : MEDLEY_TREES_PER_CLASS;
        if (mode == 3) {
            o.mask_rate = 0.2;
            o.player_of_feature = players;
            o.early_stopping = 30;
            table->t.weights = table->weights;
        }
        for (unsigned i = 0; i < 3; i++) {
            pool_set_threads(1 + 2 * i);
            medley_gbdt_train(&table->t, mode == 3 ? &v.t : NULL, &o, &models[i], NULL);
            same &= models[i] && same_model(models[0], models[i]);
        }
        ok(same, "1, 3 and 5 threads give one model: %s",
           (const char *[]){"plain", "sampled", "vector", "masked, weighted, stopped early",
                            "rows shared out"}[mode]);
        o.seed = 6;
        medley_gbdt *other = NULL;
        medley_gbdt_train(&table->t, NULL, &o, &other, NULL);
        if (mode == 1 || mode == 3)
            ok(!same_model(models[0], other), "another seed gives another");
        for (int i = 0; i < 3; i++)
            medley_gbdt_free(models[i]);
        medley_gbdt_free(other);
    }
    pool_set_threads(0);
    shop_free(&s);
    shop_free(&v);
    shop_free(&big);
}

static void test_learning(void)
{
    struct shop s = shop_new(3000, 4, 4, SEED + 4), v = shop_new(2000, 4, 4, SEED + 5);
    double prior = log(4), loss[2], stopped;
    size_t early;
    for (int kind = 0; kind < 2; kind++) {
        medley_gbdt_options o = {.rounds = 60, .trees = (enum medley_trees)kind};
        medley_gbdt *m = NULL;
        medley_gbdt_train(&s.t, NULL, &o, &m, NULL);
        loss[kind] = log_loss(m, &v);
        ok(medley_gbdt_rounds(m) == 60 && medley_gbdt_features(m) == 16 &&
               medley_gbdt_classes(m) == 4 && medley_gbdt_memory(m) > 10000,
           "a model knows its shape");
        medley_gbdt_free(m);
    }
    ok(loss[0] < 0.55 * prior && loss[1] < 0.55 * prior,
       "held-out log-loss %.3f, vector trees %.3f, chance %.3f", loss[0], loss[1], prior);
    medley_gbdt_options o = {.rounds = 2000, .early_stopping = 20, .learning_rate = 0.3};
    medley_gbdt *m = NULL, *best = NULL;
    medley_gbdt_train(&s.t, &v.t, &o, &m, NULL);
    early = medley_gbdt_rounds(m);
    stopped = log_loss(m, &v);
    o.early_stopping = 0;
    o.rounds = (unsigned)early + 20;
    medley_gbdt_train(&s.t, NULL, &o, &best, NULL);
    ok(early < 500 && stopped < log_loss(best, &v), "stopped after %zu rounds at %.4f", early,
       stopped);
    gbdt_truncate(best, early);
    ok(same_model(m, best), "and kept exactly the rounds up to the best");
    medley_gbdt_free(m);
    medley_gbdt_free(best);
    shop_free(&s);
    shop_free(&v);
}

/* Loss when a model's features are gone altogether. */
static void test_masking(void)
{
    struct shop s = shop_new(4000, 3, 3, SEED + 6), v = shop_new(2000, 3, 3, SEED + 7);
    static const uint32_t players[9] = {0, 0, 0, 1, 1, 1, 2, 2, 2};
    double loss[2];
    for (int masked = 0; masked < 2; masked++) {
        medley_gbdt_options o = {.rounds = 100,
                                 .mask_rate = masked ? 0.2 : 0,
                                 .player_of_feature = players,
                                 .seed = 3};
        medley_gbdt *m = NULL;
        medley_gbdt_train(&s.t, NULL, &o, &m, NULL);
        for (size_t i = 0; i < 2000; i++)
            for (size_t f = 0; f < 6; f++)
                v.x[i * 9 + f] = NAN;
        loss[masked] = log_loss(m, &v);
        medley_gbdt_free(m);
    }
    ok(loss[1] < loss[0], "two of three models gone: log-loss %.3f, trained with masks %.3f",
       loss[0], loss[1]);
    shop_free(&s);
    shop_free(&v);
}

static void test_limits(void)
{
    struct shop s = shop_new(1500, 2, 3, SEED + 8);
    s.t.weights = s.weights;
    for (size_t i = 0; i < 300; i++)
        s.weights[i] = 0;
    double classes[3] = {1, 2, 0.5};
    medley_gbdt_options o = {.rounds = 10,
                             .num_leaves = 12,
                             .max_depth = 3,
                             .class_weights = classes,
                             .max_bins = 16,
                             .lambda_l2 = 1,
                             .min_gain = 0.01};
    medley_gbdt *m = NULL;
    medley_gbdt_train(&s.t, NULL, &o, &m, NULL);
    bool counted = true, shallow = true, grown = false;
    for (size_t i = 0; i < m->n_trees; i++) {
        const struct tree *t = m->trees[i];
        unsigned depth[255] = {0}, deepest = 0;
        uint32_t rows = 0;
        for (uint32_t n = 0; n + 1 < t->n_leaves; n++) {
            int32_t children[2] = {t->nodes[n].left, t->nodes[n].right};
            counted &= t->nodes[n].count ==
                       tree_child_count(t, children[0]) + tree_child_count(t, children[1]);
            for (int c = 0; c < 2; c++)
                if (children[c] >= 0)
                    depth[children[c]] = depth[n] + 1;
            deepest = depth[n] + 1 > deepest ? depth[n] + 1 : deepest;
        }
        for (uint32_t l = 0; l < t->n_leaves; l++)
            rows += t->counts[l];
        counted &= rows == 1200;
        shallow &= deepest <= 3 && t->n_leaves <= 8;
        grown |= t->n_leaves == 8;
    }
    ok(counted, "counts add up to the rows of weight above 0");
    ok(shallow && grown, "max_depth 3 gives at most 8 leaves");
    medley_gbdt_free(m);
    shop_free(&s);
}

/* Nothing to learn: constant features, one class, one row. */
static void test_degenerate(void)
{
    float x[6] = {NAN, 1, NAN, 1, NAN, 1}, margins[2];
    uint8_t y[3] = {1, 1, 1};
    medley_table t = {.features = x, .labels = y, .n = 3, .n_features = 2, .n_classes = 2};
    medley_gbdt_options o = {.rounds = 3, .min_data_in_leaf = 1};
    medley_gbdt *m = NULL;
    ok(medley_gbdt_train(&t, NULL, &o, &m, NULL) == MEDLEY_OK,
       "one class, nothing to split on");
    medley_gbdt_margins(m, x, 1, margins, NULL);
    ok(isfinite(margins[0]) && margins[1] > margins[0] + 1, "margins are finite: %.2f %.2f",
       (double)margins[0], (double)margins[1]);
    medley_gbdt_free(m);
    m = NULL;
    t.n = 1;
    ok(medley_gbdt_train(&t, NULL, NULL, &m, NULL) == MEDLEY_OK && medley_gbdt_rounds(m) == 200,
       "one row, default options");
    medley_gbdt_free(m);
    /* Only missing against present tells the classes apart. */
    float z[200];
    uint8_t w[200];
    m = NULL;
    for (size_t i = 0; i < 200; i++) {
        z[i] = i % 2 ? NAN : 1;
        w[i] = i % 2;
    }
    t = (medley_table){.features = z, .labels = w, .n = 200, .n_features = 1, .n_classes = 2};
    o = (medley_gbdt_options){.rounds = 60};
    medley_gbdt_train(&t, NULL, &o, &m, NULL);
    float p[4], rows[2] = {NAN, 1e30f};
    medley_gbdt_predict(m, rows, 2, p, NULL);
    ok(p[1] > 0.9 && p[2] > 0.9, "missing against present is a split: %.2f %.2f", (double)p[1],
       (double)p[2]);
    medley_gbdt_free(m);
}

/* A node whose rows all have the feature sends missing to the child with more rows. */
static void test_unseen_missing(void)
{
    float x[100], missing = NAN, few = 0, many = 1, m0[2], m1[2], m2[2];
    uint8_t y[100];
    for (size_t i = 0; i < 100; i++) {
        x[i] = i < 30 ? 0 : 1;
        y[i] = i < 30;
    }
    medley_table t = {.features = x, .labels = y, .n = 100, .n_features = 1, .n_classes = 2};
    medley_gbdt_options o = {.rounds = 5};
    medley_gbdt *m = NULL;
    medley_gbdt_train(&t, NULL, &o, &m, NULL);
    medley_gbdt_margins(m, &few, 1, m0, NULL);
    medley_gbdt_margins(m, &many, 1, m1, NULL);
    medley_gbdt_margins(m, &missing, 1, m2, NULL);
    ok(m0[0] != m1[0] && m2[0] == m1[0],
       "missing, never seen in training, goes with most rows");
    medley_gbdt_free(m);
}

static void test_refusals(void)
{
    struct shop s = shop_new(50, 1, 2, SEED);
    medley_error err = {0};
    medley_gbdt *m = NULL;
    static const uint32_t players[2] = {0, 2};
    double weights[2] = {1, NAN};
    medley_gbdt_options bad[] = {
        {.num_leaves = 1},
        {.num_leaves = 256},
        {.max_bins = 256},
        {.learning_rate = -1},
        {.lambda_l2 = NAN},
        {.row_fraction = 1.5},
        {.mask_rate = 1},
        {.trees = (enum medley_trees)2},
        {.class_weights = weights},
        {.min_gain = -1},
        {.player_of_feature = players},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ok(medley_gbdt_train(&s.t, NULL, &bad[i], &m, &err) == MEDLEY_EINVAL && !m, "%s",
           err.message);
    medley_table t = s.t;
    t.n_classes = 1;
    ok(medley_gbdt_train(&t, NULL, NULL, &m, &err) == MEDLEY_EINVAL && !m, "%s", err.message);
    t = s.t;
    t.n = 0;
    ok(medley_gbdt_train(&t, NULL, NULL, &m, &err) == MEDLEY_EINVAL && !m, "%s", err.message);
    t.n = 50;
    ok(medley_gbdt_train(&s.t, &(medley_table){.n = 1, .n_features = 3, .n_classes = 2}, NULL,
                         &m, &err) == MEDLEY_EINVAL &&
           !m,
       "%s", err.message);
    s.t.weights = s.weights;
    memset(s.weights, 0, 50 * sizeof *s.weights);
    ok(medley_gbdt_train(&s.t, NULL, NULL, &m, &err) == MEDLEY_EINVAL && !m, "%s", err.message);
    s.weights[3] = -1;
    ok(medley_gbdt_train(&s.t, NULL, NULL, &m, &err) == MEDLEY_EINVAL && !m, "%s", err.message);
    s.t.weights = NULL;
    s.x[7] = INFINITY;
    ok(medley_gbdt_train(&s.t, NULL, NULL, &m, &err) == MEDLEY_EINVAL &&
           strstr(err.message, "row 3") && !m,
       "%s", err.message);
    s.x[7] = 0;
    s.y[9] = 2;
    ok(medley_gbdt_train(&s.t, NULL, NULL, &m, &err) == MEDLEY_EINVAL && !m, "%s", err.message);
    s.y[9] = 1;
    interrupt_request();
    ok(medley_gbdt_train(&s.t, NULL, NULL, &m, &err) == MEDLEY_EINTERRUPTED && !m, "%s",
       err.message);
    interrupt_clear();
    shop_free(&s);
}

static void test_memory(void)
{
    struct shop s = shop_new(120, 1, 3, SEED + 9);
    static const uint32_t players[3] = {0, 0, 0};
    medley_gbdt_options o = {.rounds = 2,
                             .num_leaves = 4,
                             .mask_rate = 0.1,
                             .early_stopping = 1,
                             .player_of_feature = players};
    size_t n = 0;
    bool good = true, done = false;
    float p[120 * 3];
    for (; !done && n < 1000; n++) {
        medley_gbdt *m = NULL;
        mem_fail_after(n);
        medley_status st = medley_gbdt_train(&s.t, &s.t, &o, &m, NULL);
        if (st == MEDLEY_OK)
            st = medley_gbdt_predict(m, s.x, 120, p, NULL);
        mem_fail_after(SIZE_MAX);
        done = st == MEDLEY_OK;
        good &= done || st == MEDLEY_ENOMEM;
        medley_gbdt_free(m);
    }
    ok(good && done && n > 20, "each of %zu allocations may fail", n);
    shop_free(&s);
}

int main(void)
{
    test_bins();
    test_extreme_values();
    for (size_t features = 3; features < 30; features += 8)
        for (unsigned lanes = 1; lanes <= 16; lanes = lanes == 1 ? 4 : lanes * 2)
            test_histograms(features, lanes);
    for (size_t features = 5; features < 25; features += 6) {
        test_split_search(features, 1, true, 500);
        test_split_search(features, 1, true, 12);
        test_split_search(features, 1, false, 500);
        test_split_search(features, 1, false, 30);
        test_split_search(features, 4, true, 500);
    }
    test_partition();
    for (size_t classes = 2; classes <= 16; classes += 7)
        test_gradients(classes);
    test_prediction();
    test_first_split();
    test_threads();
    test_learning();
    test_masking();
    test_limits();
    test_degenerate();
    test_unseen_missing();
    test_refusals();
    test_memory();
    return tap_done();
}
