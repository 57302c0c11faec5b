/* sweep.c: what is done once a round for every training row, chunk by chunk while its columns
 * and margins are in cache: add the trees grown last, count their leaves' rows, compute
 * gradients, keep all rows or a sample of them.
 *
 * Which rows are kept, and all sums, do not depend on who takes which chunk. The threshold of a
 * round's sample comes from the gradients of the round before; that of the first from a look at
 * the margins before any tree. Proof: tests/test_gbdt.c, tests/test_gbdt_kernels.c. */
#include "gbdt/boost.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/pool.h"
#include "base/rng.h"

#include <string.h>

/* Rows a chunk. A chunk's part of the sample's arrays should be many pages, of which the sample
 * touches the first; few rows need enough chunks for all threads. */
#define CHUNK 4096
#define LARGE_CHUNK 16384
#define LARGE 262144

#define LEAST_SAMPLE 2000 /* rows; below, sampling saves nothing */

enum { STREAM_ROWS = 1 }; /* of mix64; 2: boost.c, 3: mask.c */

/* ---- setting up ---- */

static bool sampled_by_gradient(const struct boost *b)
{
    double kept = b->options.gradient_fraction * (double)b->train.n;
    return b->options.gradient_fraction < 1 && kept >= LEAST_SAMPLE;
}

static bool all_rows(const struct boost *b)
{
    for (size_t i = 0; i < b->train.n; i++)
        if (!(b->train.weights[i] > 0))
            return false;
    return b->options.row_fraction >= 1 && !sampled_by_gradient(b);
}

/* The rows of all features, again when masks have changed. */
static void turn_chunks(void *context, size_t begin, size_t end, unsigned worker)
{
    (void)worker;
    struct boost *b = context;
    binned_turn(&b->train.table, b->bins.n_features, begin, end, &b->sample.table);
}

static void turn_all(struct boost *b)
{
    parallel_for(b->train.n, CHUNK, turn_chunks, b);
}

/* A table of all rows: the columns are the training rows' own. */
static medley_status all_room(struct boost *b, struct boost_sample *s, medley_error *err)
{
    medley_status st = binned_room(b->train.n, b->bins.n_features, false, true, &s->table, err);
    s->table.columns = b->train.table.columns;
    if (st == MEDLEY_OK)
        st = bins_copy(&b->bins, &s->bins, err);
    if (st == MEDLEY_OK)
        turn_all(b);
    return st;
}

static medley_status sample_room(struct boost *b, struct boost_sample *s, medley_error *err)
{
    size_t features = boost_features_wanted(b);
    s->kept = mem_alloc(b->train.stride, sizeof *s->kept);
    s->features = mem_alloc(features, sizeof *s->features);
    if (sampled_by_gradient(b))
        s->spread = mem_zalloc(pool_threads(), SPREAD_BINS * sizeof *s->spread);
    if (!s->kept || !s->features || (sampled_by_gradient(b) && !s->spread))
        return fail_memory(err, "a sample of the training rows");
    for (size_t f = 0; f < features; f++)
        s->features[f] = (uint32_t)f;
    medley_status st = bins_select(&b->bins, s->features, features, &s->bins, err);
    if (st == MEDLEY_OK)
        st = binned_room(b->train.stride, features, true, true, &s->table, err);
    return st;
}

medley_status sweep_init(struct boost *b, medley_error *err)
{
    struct boost_sample *s = &b->sample;
    s->all = all_rows(b);
    s->chunk = b->train.n < LARGE ? CHUNK : LARGE_CHUNK;
    s->n_chunks = (b->train.n + s->chunk - 1) / s->chunk;
    s->chunk_rows = mem_zalloc(s->n_chunks, sizeof *s->chunk_rows);
    s->packed = mem_alloc64(b->train.stride * b->lanes, sizeof *s->packed);
    s->by_class = mem_alloc64(b->train.stride * b->n_classes, sizeof *s->by_class);
    s->index = mem_alloc(b->train.n, sizeof *s->index);
    b->counts = mem_zalloc(b->trees_per_round, GBDT_MAX_LEAVES * sizeof *b->counts);
    if (!s->chunk_rows || !s->packed || !s->by_class || !s->index || !b->counts)
        return fail_memory(err, "gradients of the training rows");
    if (b->lanes > b->n_classes) /* lanes of no class are added up too */
        memset(s->packed, 0, b->train.stride * b->lanes * sizeof *s->packed);
    return s->all ? all_room(b, s, err) : sample_room(b, s, err);
}

void sweep_deinit(struct boost *b)
{
    struct boost_sample *s = &b->sample;
    if (s->all)
        s->table.columns = NULL;
    binned_deinit(&s->table);
    bins_deinit(&s->bins);
    mem_free(s->features);
    mem_free(s->chunk_rows);
    mem_free(s->packed);
    mem_free(s->by_class);
    mem_free(s->index);
    mem_free(s->kept);
    mem_free(s->spread);
    mem_free(b->counts);
}

/* ---- a chunk ---- */

static size_t chunk_end(const struct boost *b, size_t chunk)
{
    size_t end = (chunk + 1) * b->sample.chunk;
    return end < b->train.stride ? end : b->train.stride;
}

/* The trees of the last round; all of them when `from` is 0. */
static struct score_job scoring(struct boost *b, size_t from)
{
    return (struct score_job){.trees = b->model->trees + from,
                              .n_trees = b->model->n_trees - from,
                              .table = &b->train.table,
                              .scores = b->train.scores,
                              .stride = b->train.stride,
                              .weights = b->train.weights};
}

/* Leaves of trees grown from a sample are counted over all rows: Shapley values need the cover.
 */
static void add_pending(struct boost *b, size_t begin, size_t end)
{
    uint32_t counts[GBDT_MAX_LEAVES];
    size_t first = b->model->n_trees - b->trees_per_round;
    for (size_t k = 0; k < b->trees_per_round; k++) {
        struct score_job job = scoring(b, first + k);
        job.n_trees = 1;
        if (!b->sample.all) {
            memset(counts, 0, sizeof counts);
            job.counts = counts;
        }
        score_add(&job, begin, end);
        for (size_t i = 0; job.counts && i < job.trees[0]->n_leaves; i++)
            atomic_fetch_add_explicit(&b->counts[k * GBDT_MAX_LEAVES + i], counts[i],
                                      memory_order_relaxed);
    }
}

static struct softmax_job gradients_of(const struct boost *b)
{
    return (struct softmax_job){.n_classes = b->n_classes,
                                .stride = b->train.stride,
                                .scores = b->train.scores,
                                .labels = b->train.labels,
                                .weights = b->train.weights,
                                .gradient_scale = b->gradient_scale,
                                .hessian_scale = b->hessian_scale,
                                .lanes = b->lanes,
                                .packed = b->sample.packed,
                                .by_class = b->sample.by_class};
}

/* The kept rows' bins, into the chunk's part of the sample. */
static void gather(struct boost *b, size_t begin, size_t n)
{
    const struct binned *from = &b->train.table, *to = &b->sample.table;
    const uint32_t *kept = b->sample.kept + begin;
    for (size_t f = 0; f < b->sample.bins.n_features; f++) {
        const uint8_t *column = from->columns + b->sample.features[f] * from->pitch;
        uint8_t *copy = to->columns + f * to->pitch + begin;
        for (size_t i = 0; i < n; i++)
            copy[i] = column[kept[i]];
    }
    binned_turn(to, b->sample.bins.n_features, begin, begin + n, &b->sample.table);
}

static struct softmax_sample sampling(const struct boost *b, unsigned worker)
{
    const struct boost_sample *s = &b->sample;
    uint64_t seed = mix64(b->options.seed, STREAM_ROWS, b->round);
    return (struct softmax_sample){.threshold = s->threshold,
                                   .row_fraction = (float)b->options.row_fraction,
                                   .seed = {(uint32_t)seed, (uint32_t)(seed >> 32)},
                                   .kept = s->kept,
                                   .spread =
                                       s->spread ? s->spread + worker * SPREAD_BINS : NULL};
}

static void look_at_chunks(void *context, size_t begin, size_t end, unsigned worker)
{
    struct boost *b = context;
    struct softmax_job job = gradients_of(b);
    struct softmax_sample sample = sampling(b, worker);
    sample.kept = NULL;
    for (size_t c = begin; c < end; c++)
        softmax_sample_rows(&job, &sample, c * b->sample.chunk, chunk_end(b, c));
}

static void sweep_chunks(void *context, size_t begin, size_t end, unsigned worker)
{
    struct boost *b = context;
    struct softmax_job job = gradients_of(b);
    struct softmax_sample sample = sampling(b, worker);
    for (size_t c = begin; c < end; c++) {
        size_t from = c * b->sample.chunk, to = chunk_end(b, c);
        if (b->pending)
            add_pending(b, from, to);
        if (b->sample.all) {
            softmax_gradients(&job, from, to);
            b->sample.chunk_rows[c] = (uint32_t)((to < b->train.n ? to : b->train.n) - from);
        } else {
            size_t n = softmax_sample_rows(&job, &sample, from, to);
            b->sample.chunk_rows[c] = (uint32_t)n;
            gather(b, from, n);
        }
    }
}

static void settle_chunks(void *context, size_t begin, size_t end, unsigned worker)
{
    (void)worker;
    for (size_t c = begin; c < end; c++)
        add_pending(context, c * ((struct boost *)context)->sample.chunk,
                    chunk_end(context, c));
}

static void rescore_chunks(void *context, size_t begin, size_t end, unsigned worker)
{
    (void)worker;
    struct boost *b = context;
    struct score_job job = scoring(b, 0);
    for (size_t c = begin; c < end; c++)
        score_add(&job, c * b->sample.chunk, chunk_end(b, c));
}

/* ---- all chunks ---- */

/* What scoring counted, into the pending trees; inner nodes have what their children have. */
static void take_counts(struct boost *b)
{
    size_t first = b->model->n_trees - b->trees_per_round;
    for (size_t k = 0; k < b->trees_per_round; k++) {
        struct tree *t = b->model->trees[first + k];
        for (size_t i = 0; i < t->n_leaves; i++)
            t->counts[i] = atomic_exchange(&b->counts[k * GBDT_MAX_LEAVES + i], 0);
        for (size_t i = t->n_leaves - 1; i-- > 0;)
            t->nodes[i].count =
                tree_child_count(t, t->nodes[i].left) + tree_child_count(t, t->nodes[i].right);
    }
}

static void pending_done(struct boost *b)
{
    if (b->pending && !b->sample.all)
        take_counts(b);
    b->pending = false;
}

/* From the spread that the last sweep noted of every fourth block. */
static void next_threshold(struct boost *b)
{
    uint32_t *spread = b->sample.spread;
    double target = b->options.gradient_fraction * (double)b->train.n / 4;
    for (size_t i = SPREAD_BINS; i < SPREAD_BINS * pool_threads(); i++)
        spread[i % SPREAD_BINS] += spread[i];
    b->sample.threshold = softmax_threshold(spread, target, SWEEP_MOST_WORTH * b->most_weight);
    memset(spread, 0, pool_threads() * SPREAD_BINS * sizeof *spread);
}

static void number_kept(struct boost *b)
{
    struct boost_sample *s = &b->sample;
    size_t n = 0;
    for (size_t c = 0; c < s->n_chunks; c++)
        for (uint32_t i = 0; i < s->chunk_rows[c]; i++)
            s->index[n++] = (uint32_t)(c * s->chunk + i);
    s->n = n;
}

void sweep_round(struct boost *b)
{
    struct boost_sample *s = &b->sample;
    if (s->spread && b->round == 0) {
        parallel_for(s->n_chunks, 1, look_at_chunks, b);
        next_threshold(b);
    }
    parallel_for(s->n_chunks, 1, sweep_chunks, b);
    pending_done(b);
    if (s->spread)
        next_threshold(b);
    if (!s->all || b->round == 0)
        number_kept(b);
}

void sweep_settle(struct boost *b)
{
    if (b->pending)
        parallel_for(b->sample.n_chunks, 1, settle_chunks, b);
    pending_done(b);
}

void sweep_rescore(struct boost *b)
{
    if (b->sample.all)
        turn_all(b);
    boost_start_scores(b, &b->train);
    parallel_for(b->sample.n_chunks, 1, rescore_chunks, b);
    b->pending = false;
}
