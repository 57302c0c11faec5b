/* bins.c: cuts each feature into at most 255 ranges of about equal numbers of training rows,
 * and turns tables into bins. Frequent values get a bin of their own (the greedy rule of
 * LightGBM). Proof: tests/test_gbdt.c. */
#include "gbdt/bins.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/pool.h"
#include "gbdt/quantise.h"

#include <float.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>

#define SAMPLE 200000 /* rows looked at for cuts; more moves a cut by less than its error */

/* ---- sorting ---- */

/* Order-preserving map of floats to unsigned integers; -0 and +0 are made one. */
static uint32_t key_of(float v)
{
    uint32_t bits;
    v += 0.0f;
    memcpy(&bits, &v, sizeof bits);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

static float value_of(uint32_t key)
{
    float v;
    uint32_t bits = key & 0x80000000u ? key & 0x7fffffffu : ~key;
    memcpy(&v, &bits, sizeof v);
    return v;
}

/* Three passes of 11 bits: about ten times as fast as qsort here. The result is in `keys`'s or
 * `other`'s memory; returned. */
static uint32_t *radix_sort(uint32_t *keys, uint32_t *other, size_t n)
{
    for (unsigned shift = 0; shift < 33; shift += 11) {
        size_t start[2049] = {0};
        for (size_t i = 0; i < n; i++)
            start[(keys[i] >> shift & 2047) + 1]++;
        for (size_t d = 0; d < 2048; d++)
            start[d + 1] += start[d];
        for (size_t i = 0; i < n; i++)
            other[start[keys[i] >> shift & 2047]++] = keys[i];
        uint32_t *t = keys;
        keys = other;
        other = t;
    }
    return keys;
}

/* ---- cutting ---- */

/* Halfway, but never at or past `b`: rows equal to b must fall right of the cut. */
static float between(float a, float b)
{
    float middle = a + (b - a) / 2;
    if (!isfinite(middle)) /* b - a overflowed */
        middle = a / 2 + b / 2;
    return middle >= b || middle < a ? a : middle;
}

struct distinct {
    float value;
    uint32_t count;
};

/* Sorted keys to distinct values, in place of the caller's buffer. */
static size_t count_distinct(const uint32_t *keys, size_t n, struct distinct *out)
{
    size_t m = 0;
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || keys[i] != keys[i - 1])
            out[m++] = (struct distinct){value_of(keys[i]), 0};
        out[m - 1].count++;
    }
    return m;
}

/* Closes a bin when it holds its share of the rows that are not frequent values, when it is a
 * frequent value, or half-full before one. */
static unsigned cut_greedily(const struct distinct *d, size_t m, size_t total,
                             unsigned max_bins, float *cuts)
{
    double share = (double)total / max_bins, rest = (double)total;
    unsigned rest_bins = max_bins, n = 0;
    double frequent = share;
    for (size_t i = 0; i < m; i++)
        if (d[i].count >= frequent) {
            rest -= d[i].count;
            rest_bins--;
        }
    share = rest_bins ? rest / rest_bins : 0;
    double filled = 0;
    for (size_t i = 0; i + 1 < m && n + 1 < max_bins; i++) {
        bool own = d[i].count >= frequent, next_own = d[i + 1].count >= frequent;
        filled += d[i].count;
        if (!own)
            rest -= d[i].count;
        if (own || filled >= share || (next_own && filled >= fmax(1, share / 2))) {
            cuts[n++] = between(d[i].value, d[i + 1].value);
            filled = 0;
            if (!own && rest_bins > 1)
                share = rest / --rest_bins;
        }
    }
    return n;
}

static unsigned choose_cuts(const struct distinct *d, size_t m, size_t total, unsigned max_bins,
                            float *cuts)
{
    if (m > max_bins)
        return cut_greedily(d, m, total, max_bins, cuts);
    for (size_t i = 0; i + 1 < m; i++)
        cuts[i] = between(d[i].value, d[i + 1].value);
    return m ? (unsigned)(m - 1) : 0;
}

struct fit {
    const float *x;
    size_t n;
    unsigned max_bins;
    struct bins *bins;
    atomic_bool out_of_memory;
};

static void fit_feature(struct fit *job, size_t f)
{
    struct bins *b = job->bins;
    float *cuts = b->cuts + f * BINS_CUTS;
    size_t step = (job->n + SAMPLE - 1) / SAMPLE, m = 0;
    size_t room = job->n / step + 1;
    uint32_t *keys = mem_alloc(room, 4 * sizeof *keys); /* keys, their copy, distinct values */
    if (!keys) {
        atomic_store(&job->out_of_memory, true);
        return;
    }
    for (size_t i = 0; i < job->n; i += step) {
        float v = job->x[i * b->n_features + f];
        if (v == v)
            keys[m++] = key_of(v);
    }
    uint32_t *sorted = radix_sort(keys, keys + room, m);
    struct distinct *distinct = (struct distinct *)(keys + 2 * room);
    size_t n_distinct = count_distinct(sorted, m, distinct);
    unsigned n = choose_cuts(distinct, n_distinct, m, job->max_bins, cuts);
    b->n_cuts[f] = (uint16_t)n;
    for (unsigned i = n; i < BINS_CUTS; i++)
        cuts[i] = INFINITY;
    mem_free(keys);
}

static void fit_features(void *context, size_t begin, size_t end, unsigned worker)
{
    (void)worker;
    for (size_t f = begin; f < end; f++)
        fit_feature(context, f);
}

void bins_deinit(struct bins *b)
{
    mem_free(b->cuts);
    mem_free(b->n_cuts);
    mem_free(b->group_first);
    *b = (struct bins){0};
}

static void place_groups(struct bins *b)
{
    for (size_t g = 0; g < b->n_groups; g++) {
        unsigned most = 0;
        for (size_t f = g * BINS_GROUP; f < (g + 1) * BINS_GROUP && f < b->n_features; f++)
            most = b->n_cuts[f] > most ? b->n_cuts[f] : most;
        b->group_first[g + 1] = b->group_first[g] + most + 2; /* and missing */
    }
}

static medley_status bins_room(size_t n_features, struct bins *b, medley_error *err)
{
    *b = (struct bins){.n_features = n_features,
                       .n_groups = (n_features + BINS_GROUP - 1) / BINS_GROUP};
    b->cuts = mem_alloc64(n_features, BINS_CUTS * sizeof *b->cuts);
    b->n_cuts = mem_zalloc(n_features, sizeof *b->n_cuts);
    b->group_first = mem_zalloc(b->n_groups + 1, sizeof *b->group_first);
    if (b->cuts && b->n_cuts && b->group_first)
        return MEDLEY_OK;
    bins_deinit(b);
    return fail_memory(err, "feature bins");
}

medley_status bins_fit(const float *x, size_t n, size_t n_features, unsigned max_bins,
                       struct bins *out, medley_error *err)
{
    struct bins b;
    medley_status st = bins_room(n_features, &b, err);
    if (st != MEDLEY_OK)
        return st;
    struct fit job = {.x = x, .n = n, .max_bins = max_bins, .bins = &b};
    parallel_for(n_features, 1, fit_features, &job);
    if (atomic_load(&job.out_of_memory)) {
        bins_deinit(&b);
        return fail_memory(err, "feature bins");
    }
    place_groups(&b);
    *out = b;
    return MEDLEY_OK;
}

medley_status bins_select(const struct bins *b, const uint32_t *features, size_t n_features,
                          struct bins *out, medley_error *err)
{
    struct bins s;
    medley_status st = bins_room(n_features, &s, err);
    if (st != MEDLEY_OK)
        return st;
    for (size_t i = 0; i < n_features; i++) {
        size_t f = features ? features[i] : i;
        memcpy(s.cuts + i * BINS_CUTS, b->cuts + f * BINS_CUTS, BINS_CUTS * sizeof *s.cuts);
        s.n_cuts[i] = b->n_cuts[f];
    }
    place_groups(&s);
    *out = s;
    return MEDLEY_OK;
}

medley_status bins_copy(const struct bins *b, struct bins *out, medley_error *err)
{
    return bins_select(b, NULL, b->n_features, out, err);
}

float bins_threshold(const struct bins *b, size_t feature, unsigned bin)
{
    return bin > b->n_cuts[feature] ? FLT_MAX : b->cuts[feature * BINS_CUTS + bin - 1];
}

/* ---- applying ---- */

void binned_turn(const struct binned *columns, size_t n_features, size_t begin, size_t end,
                 struct binned *rows)
{
    for (size_t i = begin; i < end; i++) {
        uint8_t *row = rows->rows + i * rows->stride;
        for (size_t f = 0; f < n_features; f++)
            row[f] = columns->columns[f * columns->pitch + i];
        memset(row + n_features, 0, rows->stride - n_features);
    }
}

struct apply {
    const struct bins *bins;
    const float *x;
    struct binned *out;
};

static void apply_rows(void *context, size_t begin, size_t end, unsigned worker)
{
    (void)worker;
    struct apply *job = context;
    const struct bins *b = job->bins;
    struct binned *t = job->out;
    for (size_t f = 0; f < b->n_features; f++) {
        struct quantise_job feature = {.cuts = b->cuts + f * BINS_CUTS,
                                       .x = job->x + begin * b->n_features + f,
                                       .stride = b->n_features,
                                       .n = end - begin,
                                       .out = t->columns + f * t->pitch + begin};
        quantise(&feature);
    }
}

void binned_deinit(struct binned *t)
{
    mem_free(t->rows);
    mem_free(t->columns);
    *t = (struct binned){0};
}

/* A power of two up to a cache line, so that no row straddles two lines; then whole lines. */
static size_t stride_of(size_t n_features)
{
    size_t stride = 8;
    while (stride < n_features && stride < 64)
        stride *= 2;
    return stride < n_features ? (n_features + 63) / 64 * 64 : stride;
}

medley_status binned_room(size_t n, size_t n_features, bool columns, bool rows,
                          struct binned *out, medley_error *err)
{
    struct binned t = {.n = n, .stride = stride_of(n_features), .pitch = (n + 63) / 64 * 64};
    if (columns)
        t.columns = mem_alloc64(n_features, t.pitch);
    if (rows)
        t.rows = mem_alloc64(n, t.stride);
    if ((columns && !t.columns) || (rows && !t.rows)) {
        binned_deinit(&t);
        return fail_memory(err, "binned features");
    }
    for (size_t f = 0; columns && f < n_features; f++)
        memset(t.columns + f * t.pitch + n, 0, t.pitch - n);
    *out = t;
    return MEDLEY_OK;
}

medley_status binned_new(const struct bins *b, const float *x, size_t n, struct binned *out,
                         medley_error *err)
{
    struct binned t;
    medley_status st = binned_room(n, b->n_features, true, false, &t, err);
    if (st != MEDLEY_OK)
        return st;
    struct apply job = {b, x, &t};
    parallel_for(n, 2048, apply_rows, &job);
    *out = t;
    return MEDLEY_OK;
}

struct selection {
    const struct binned *from;
    const uint32_t *features; /* NULL: the same ones */
    size_t n_features;
    struct binned *to;
};

static void select_rows(void *context, size_t begin, size_t end, unsigned worker)
{
    (void)worker;
    struct selection *job = context;
    const struct binned *from = job->from;
    for (size_t i = 0; i < job->n_features; i++) {
        size_t f = job->features ? job->features[i] : i;
        memcpy(job->to->columns + i * job->to->pitch + begin,
               from->columns + f * from->pitch + begin, end - begin);
    }
}

medley_status binned_select(const struct binned *from, const uint32_t *features,
                            size_t n_features, struct binned *out, medley_error *err)
{
    struct binned t;
    medley_status st = binned_room(from->n, n_features, true, false, &t, err);
    if (st != MEDLEY_OK)
        return st;
    struct selection job = {from, features, n_features, &t};
    parallel_for(t.n, 4096, select_rows, &job);
    *out = t;
    return MEDLEY_OK;
}

medley_status binned_copy(const struct binned *t, size_t n_features, struct binned *out,
                          medley_error *err)
{
    return binned_select(t, NULL, n_features, out, err);
}
