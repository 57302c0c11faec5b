/* boost.c: the rounds of gradient boosting: a sweep over all rows (sweep.c), root histograms of
 * all classes in one pass over the rows it kept, one tree per class (or one vector tree).
 *
 * The classes of a round are independent tasks with no barrier inside a tree. All sums over
 * rows are integers, or doubles added chunk by chunk in order, so a model does not depend on
 * the number of threads. Proof: tests/test_gbdt.c. */
#include "gbdt/boost.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/pool.h"
#include "base/progress.h"
#include "base/rng.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define WORTH_A_BAR 4000000u /* rows times rounds below which fitting takes about a second */

/* Streams of mix64: which decision a random number is for. */
enum { STREAM_FEATURES = 2 }; /* 1: sweep.c, 3: mask.c */

static size_t padded(size_t n)
{
    return (n + SCORE_BLOCK - 1) / SCORE_BLOCK * SCORE_BLOCK;
}

/* ---- setting up ---- */

void boost_start_scores(const struct boost *b, struct boost_rows *r)
{
    for (size_t c = 0; c < b->n_classes; c++)
        for (size_t i = 0; i < r->stride; i++)
            r->scores[c * r->stride + i] = (float)b->model->base[c];
}

static void rows_deinit(struct boost_rows *r)
{
    if (r->owned)
        binned_deinit(&r->table);
    mem_free(r->scores);
    mem_free(r->labels);
    mem_free(r->weights);
}

static medley_status rows_init(struct boost *b, const medley_gbdt_data *t, bool training,
                               struct boost_rows *r, medley_error *err)
{
    r->n = t->n;
    r->stride = padded(t->n);
    r->table = t->table;
    if (b->features) {
        size_t n = b->bins.n_features;
        medley_status st = binned_select(&t->table, b->features, n, &r->table, err);
        if (st != MEDLEY_OK)
            return st;
        r->owned = true;
    }
    r->scores = mem_alloc64(r->stride * b->n_classes, sizeof *r->scores);
    r->labels = mem_alloc64(r->stride, sizeof *r->labels);
    r->weights = mem_alloc64(r->stride, sizeof *r->weights);
    if (!r->scores || !r->labels || !r->weights)
        return fail_memory(err, "scores of the training rows");
    memset(r->labels, 0, r->stride);
    memcpy(r->labels, t->labels, t->n);
    for (size_t i = 0; i < r->stride; i++)
        r->weights[i] = i < t->n ? (t->weights ? t->weights[i] : 1.0f) : 0.0f;
    for (size_t i = 0; training && b->options.class_weights && i < t->n; i++)
        r->weights[i] *= (float)b->options.class_weights[t->labels[i]];
    return MEDLEY_OK;
}

/* Log of the weighted class shares; a class without rows gets the share of half a row. */
static medley_status set_base(struct boost *b, medley_error *err)
{
    double sums[GBDT_MAX_CLASSES] = {0}, total = 0, most = 0;
    const struct boost_rows *r = &b->train;
    for (size_t i = 0; i < r->n; i++) {
        sums[r->labels[i]] += r->weights[i];
        most = r->weights[i] > most ? r->weights[i] : most;
    }
    for (size_t c = 0; c < b->n_classes; c++)
        total += sums[c];
    if (!(total > 0) || total > FLT_MAX)
        return fail(err, MEDLEY_EINVAL, "the weights of the training rows add up to %g", total);
    double half_a_row = 0.5 * total / (double)r->n;
    for (size_t c = 0; c < b->n_classes; c++)
        b->model->base[c] = (float)log(fmax(sums[c], half_a_row) / total);
    /* |gradient| <= weight, hessian <= weight / 2: both sums stay below 2^31, rounding
     * included, and one row below 2^22, where float rounding to integers is exact. A sample by
     * gradient adds up to the same but for chance, and is many rows: twice is out of reach. */
    b->most_weight = most;
    if (b->options.gradient_fraction < 1) {
        total *= 2;
        most *= SWEEP_MOST_WORTH;
    }
    double scale = fmin((double)(1u << 20) / most, (2147483647.0 - (double)r->n) / total);
    b->gradient_scale = (float)scale;
    b->hessian_scale = (float)(2 * scale);
    return MEDLEY_OK;
}

size_t boost_features_wanted(const struct boost *b)
{
    size_t n = b->bins.n_features;
    size_t want = (size_t)ceil(b->options.feature_fraction * (double)n);
    return want < n ? want : n;
}

static medley_status spaces_init(struct boost *b, medley_error *err)
{
    size_t cells = histogram_cells(&b->bins);
    size_t groups = b->bins.n_groups, trees = b->trees_per_round;
    b->lanes = b->n_classes <= 4 ? 4 : b->n_classes <= 8 ? 8 : 16;
    /* Few wide groups and many rows: a part of the rows per thread; else groups share out. */
    b->parts = b->train.n < 32768 || groups >= 2 * pool_threads() ? 1 : pool_threads();
    b->root = mem_alloc64(cells * b->lanes, b->parts * sizeof *b->root);
    b->allowed = mem_alloc(trees, groups);
    b->drawn = mem_alloc(b->bins.n_features, sizeof *b->drawn);
    b->spaces = mem_zalloc(trees, sizeof *b->spaces);
    b->grown = mem_zalloc(trees, sizeof *b->grown);
    b->results = mem_zalloc(trees, sizeof *b->results);
    if (!b->root || !b->allowed || !b->drawn || !b->spaces || !b->grown || !b->results)
        return fail_memory(err, "space for training");
    medley_status st = MEDLEY_OK;
    for (size_t k = 0; k < trees && st == MEDLEY_OK; k++)
        st = grow_space_init(&b->spaces[k], b->train.n, b->options.num_leaves, err);
    return st;
}

static void limits_init(struct boost *b)
{
    const medley_gbdt_options *o = &b->options;
    b->limits = (struct grow_limits){.num_leaves = o->num_leaves,
                                     .max_depth = o->max_depth,
                                     .min_rows = o->min_data_in_leaf,
                                     .min_hessian = o->min_sum_hessian,
                                     .min_gain = o->min_gain,
                                     .lambda = o->lambda_l2,
                                     .learning_rate = o->learning_rate,
                                     .gradient_unit = 1.0 / b->gradient_scale,
                                     .hessian_unit = 1.0 / b->hessian_scale};
}

/* The bins of the features that are used. */
static medley_status choose_features(struct boost *b, const medley_gbdt_data *train,
                                     medley_error *err)
{
    const uint8_t *use = b->options.use_features;
    size_t n = 0;
    for (size_t f = 0; use && f < train->n_features; f++)
        n += use[f] != 0;
    if (!use || n == train->n_features)
        return bins_copy(&train->bins, &b->bins, err);
    b->features = mem_alloc(n, sizeof *b->features);
    if (!b->features)
        return fail_memory(err, "the features used");
    n = 0;
    for (size_t f = 0; f < train->n_features; f++)
        if (use[f])
            b->features[n++] = (uint32_t)f;
    return bins_select(&train->bins, b->features, n, &b->bins, err);
}

medley_status boost_init(struct boost *b, const medley_gbdt_data *train,
                         const medley_gbdt_data *validation, const medley_gbdt_options *options,
                         medley_error *err)
{
    *b = (struct boost){.options = *options, .n_classes = train->n_classes};
    b->trees_per_round = options->trees == MEDLEY_TREES_VECTOR ? 1 : train->n_classes;
    b->model = gbdt_new(train->n_features, train->n_classes, options->trees);
    if (!b->model)
        return fail_memory(err, "a model");
    medley_status st = choose_features(b, train, err);
    if (st == MEDLEY_OK)
        st = rows_init(b, train, true, &b->train, err);
    if (st == MEDLEY_OK && validation)
        st = rows_init(b, validation, false, &b->valid, err);
    if (st == MEDLEY_OK)
        st = set_base(b, err);
    if (st == MEDLEY_OK)
        st = spaces_init(b, err);
    if (st == MEDLEY_OK && options->mask_rate > 0)
        st = mask_init(b, err);
    if (st == MEDLEY_OK)
        st = sweep_init(b, err);
    if (st != MEDLEY_OK)
        return st;
    limits_init(b);
    boost_start_scores(b, &b->train);
    if (validation)
        boost_start_scores(b, &b->valid);
    return MEDLEY_OK;
}

void boost_deinit(struct boost *b)
{
    sweep_deinit(b);
    for (size_t k = 0; b->spaces && k < b->trees_per_round; k++)
        grow_space_deinit(&b->spaces[k]);
    for (size_t k = 0; b->grown && k < b->trees_per_round; k++)
        tree_free(b->grown[k]);
    rows_deinit(&b->train);
    rows_deinit(&b->valid);
    if (b->unmasked_owned)
        binned_deinit(&b->unmasked);
    bins_deinit(&b->bins);
    mem_free(b->features);
    mem_free(b->root);
    mem_free(b->allowed);
    mem_free(b->drawn);
    mem_free(b->spaces);
    mem_free(b->grown);
    mem_free(b->results);
    medley_gbdt_free(b->model);
}

/* ---- one round ---- */

/* `left` of n features, upwards, each set of them as likely as any other. */
static void draw(uint64_t seed, uint64_t stream, size_t n, size_t left, uint32_t *out)
{
    struct rng rng;
    if (left < n)
        rng_init(&rng, seed, stream << 8 | STREAM_FEATURES);
    for (size_t f = 0; f < n; f++)
        if (left == n - f || (left && rng_below(&rng, (uint32_t)(n - f)) < left)) {
            *out++ = (uint32_t)f;
            left--;
        }
}

static void allow(uint8_t *allowed, const uint32_t *features, size_t n)
{
    for (size_t i = 0; i < n; i++)
        allowed[features ? features[i] / BINS_GROUP : i / BINS_GROUP] |=
            (uint8_t)(1u << (features ? features[i] : i) % BINS_GROUP);
}

/* Features for each tree where all rows are used; where a sample is gathered, the same ones for
 * all classes, so that the others need not be gathered. */
static medley_status draw_features(struct boost *b, medley_error *err)
{
    size_t n = b->bins.n_features, want = boost_features_wanted(b), trees = b->trees_per_round;
    size_t groups = b->sample.bins.n_groups;
    struct boost_sample *s = &b->sample;
    memset(b->allowed, 0, trees * groups);
    if (!s->all) {
        struct bins chosen;
        draw(b->options.seed, b->round, n, want, s->features);
        medley_status st = bins_select(&b->bins, s->features, want, &chosen, err);
        if (st != MEDLEY_OK)
            return st;
        bins_deinit(&s->bins);
        s->bins = chosen;
        for (size_t k = 0; k < trees; k++)
            allow(b->allowed + k * groups, NULL, want);
        return MEDLEY_OK;
    }
    for (size_t k = 0; k < trees; k++) {
        draw(b->options.seed, b->round * trees + k, n, want, b->drawn);
        allow(b->allowed + k * groups, b->drawn, want);
    }
    return MEDLEY_OK;
}

/* Task t: group t % groups of part t / groups of the chunks. */
static void root_task(void *context, size_t begin, size_t end, unsigned worker)
{
    (void)worker;
    struct boost *b = context;
    const struct boost_sample *s = &b->sample;
    size_t cells = histogram_cells(&s->bins) * b->lanes, groups = s->bins.n_groups;
    for (size_t t = begin; t < end; t++) {
        size_t part = t / groups, g = t % groups;
        struct histogram_job job = {.bins = &s->bins,
                                    .table = &s->table,
                                    .group_begin = g,
                                    .group_end = g + 1,
                                    .gradients = s->packed,
                                    .lanes = b->lanes,
                                    .cells = b->root + part * cells};
        size_t from = s->bins.group_first[g], to = s->bins.group_first[g + 1];
        memset(job.cells + from * BINS_GROUP * b->lanes, 0,
               (to - from) * BINS_GROUP * b->lanes * sizeof *job.cells);
        for (size_t c = s->n_chunks * part / b->parts; c < s->n_chunks * (part + 1) / b->parts;
             c++) {
            job.begin = c * s->chunk;
            job.n = s->chunk_rows[c];
            histogram_add(&job);
        }
    }
}

static void root_histograms(struct boost *b)
{
    size_t cells = histogram_cells(&b->sample.bins) * b->lanes;
    parallel_for(b->parts * b->sample.bins.n_groups, 1, root_task, b);
    for (size_t part = 1; part < b->parts; part++)
        for (size_t i = 0; i < cells; i++)
            b->root[i] += b->root[part * cells + i];
}

/* From places among chosen features to their numbers; NULL: the same. */
static void rename_features(struct tree *t, const uint32_t *numbers)
{
    for (uint32_t i = 0; numbers && i + 1 < t->n_leaves; i++)
        t->nodes[i].feature = numbers[t->nodes[i].feature];
}

static void grow_one(struct boost *b, size_t k)
{
    bool vector = b->options.trees == MEDLEY_TREES_VECTOR;
    struct grow_job job = {.bins = &b->sample.bins,
                           .table = &b->sample.table,
                           .gradients = b->sample.by_class + k * b->train.stride,
                           .gradient_stride = b->train.stride,
                           .outputs = vector ? (unsigned)b->n_classes : 1,
                           .first_class = (unsigned)k,
                           .root = b->root,
                           .root_lanes = b->lanes,
                           .root_lane = (unsigned)k,
                           .allowed = b->allowed + k * b->sample.bins.n_groups,
                           .limits = &b->limits};
    memcpy(b->spaces[k].index, b->sample.index, b->sample.n * sizeof *b->sample.index);
    b->results[k] = grow_tree(&job, &b->spaces[k], b->sample.n, &b->grown[k], NULL);
    if (b->results[k] == MEDLEY_OK)
        rename_features(b->grown[k], b->sample.features);
}

static void grow_trees(void *context, size_t begin, size_t end, unsigned worker)
{
    (void)worker;
    for (size_t k = begin; k < end; k++)
        grow_one(context, k);
}

/* Moves the round's trees into the model, or reports the first failure. */
static medley_status collect(struct boost *b, medley_error *err)
{
    for (size_t k = 0; k < b->trees_per_round; k++)
        if (b->results[k] != MEDLEY_OK)
            return fail_memory(err, "a tree");
    for (size_t k = 0; k < b->trees_per_round; k++) {
        if (!gbdt_add_tree(b->model, b->grown[k]))
            return fail_memory(err, "the model's trees");
        b->grown[k] = NULL;
    }
    b->pending = true;
    return MEDLEY_OK;
}

static medley_status one_round(struct boost *b, size_t round, medley_error *err)
{
    b->round = round;
    if (b->options.mask_rate > 0)
        mask_round(b, round);
    if (round == 0 || b->options.feature_fraction < 1) {
        medley_status st = draw_features(b, err);
        if (st != MEDLEY_OK)
            return st;
    }
    sweep_round(b);
    root_histograms(b);
    if (b->trees_per_round == 1)
        grow_one(b, 0); /* not inside parallel_for: the tree itself may use all threads */
    else
        parallel_for(b->trees_per_round, 1, grow_trees, b);
    return collect(b, err);
}

/* ---- all rounds ---- */

medley_status boost_run(struct boost *b, medley_error *err)
{
    size_t rounds = b->options.rounds, patience = b->options.early_stopping, best_round = 0;
    bool stopping = b->valid.n > 0 && patience > 0;
    bool bar = !b->options.quiet && b->train.n * rounds >= WORTH_A_BAR;
    double best_loss = INFINITY;
    for (size_t round = 0; round < rounds; round++) {
        double loss = 0;
        if (interrupted())
            return fail(err, MEDLEY_EINTERRUPTED, "interrupted in round %zu of %zu", round,
                        rounds);
        medley_status st = one_round(b, round, err);
        if (st == MEDLEY_OK && stopping)
            st = valid_round(b, &loss, err);
        if (st != MEDLEY_OK)
            return st;
        if (bar)
            progress_step("train gbdt", round + 1, rounds, "rounds");
        if (stopping && loss < best_loss) {
            best_loss = loss;
            best_round = round;
        } else if (stopping && round - best_round >= patience) {
            break;
        }
    }
    sweep_settle(b);
    if (stopping)
        gbdt_truncate(b->model, best_round + 1);
    if (bar)
        progress_end("train gbdt");
    for (size_t k = 0; k < b->model->n_trees; k++)
        rename_features(b->model->trees[k], b->features);
    return MEDLEY_OK;
}
