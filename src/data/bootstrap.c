/* bootstrap.c: confidence intervals by resampling queries with replacement (rows of one query
 * are not independent). Resample r draws from random stream r, and everything is reduced in
 * order, so results do not depend on threads. Tested by test_metrics.c. */
#include "data/metrics_count.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/pool.h"
#include "base/rng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_RESAMPLES 1000

/* Rows gathered by query: rows[begin[g] .. begin[g+1]) belong to group g. */
struct grouped {
    uint32_t *rows; /* [n] positions 0..n-1, not yet through `index` */
    size_t *begin;  /* [n_groups+1] */
    size_t n_groups;
};

struct keyed {
    uint32_t group, position;
};

static int by_group(const void *a, const void *b)
{
    const struct keyed *x = a, *y = b;
    if (x->group != y->group)
        return x->group < y->group ? -1 : 1;
    return x->position < y->position ? -1 : x->position > y->position;
}

static void grouped_deinit(struct grouped *g)
{
    mem_free(g->rows);
    mem_free(g->begin);
    *g = (struct grouped){0};
}

static medley_status gather(const uint32_t *group, const uint32_t *index, size_t n,
                            struct grouped *out, medley_error *err)
{
    if (n == 0 || n >= UINT32_MAX)
        return fail(err, MEDLEY_EINVAL, "a bootstrap needs between 1 and 2^32 rows, not %zu",
                    n);
    struct keyed *keys = mem_alloc(n, sizeof *keys);
    struct grouped g = {mem_alloc(n, sizeof *g.rows), mem_alloc(n + 1, sizeof *g.begin), 0};
    if (!keys || !g.rows || !g.begin) {
        mem_free(keys);
        grouped_deinit(&g);
        return fail_memory(err, "a bootstrap");
    }
    for (size_t i = 0; i < n; i++)
        keys[i] = (struct keyed){group[index ? index[i] : i], (uint32_t)i};
    qsort(keys, n, sizeof *keys, by_group);
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || keys[i].group != keys[i - 1].group)
            g.begin[g.n_groups++] = i;
        g.rows[i] = keys[i].position;
    }
    g.begin[g.n_groups] = n;
    mem_free(keys);
    *out = g;
    return MEDLEY_OK;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Linear interpolation between order statistics, as numpy.percentile. */
static double percentile(const double *sorted, size_t n, double q)
{
    double at = q * (double)(n - 1);
    size_t i = (size_t)at;
    return i + 1 < n ? sorted[i] + (at - (double)i) * (sorted[i + 1] - sorted[i])
                     : sorted[n - 1];
}

static struct interval interval_of(double *values, size_t n)
{
    qsort(values, n, sizeof *values, by_value);
    return (struct interval){percentile(values, n, 0.025), percentile(values, n, 0.975)};
}

/* --- metrics of one or two sets of predictions --- */

struct boot {
    struct grouped groups;
    struct outcome *outcomes[2]; /* [n] each; the second is NULL without a second set */
    size_t n, k;
    uint64_t seed;
    unsigned resamples;
    double *values; /* [METRIC_COUNT + k, resamples] of the first set, or of the difference */
};

static void one_resample(struct boot *b, size_t r)
{
    struct tally tallies[2] = {0};
    struct metrics m[2];
    struct rng rng;
    rng_init(&rng, b->seed, r);
    for (size_t draw = 0; draw < b->groups.n_groups; draw++) {
        size_t g = rng_below(&rng, (uint32_t)b->groups.n_groups);
        for (size_t i = b->groups.begin[g]; i < b->groups.begin[g + 1]; i++)
            for (int s = 0; s < 2 && b->outcomes[s]; s++)
                tally_add(&tallies[s], &b->outcomes[s][b->groups.rows[i]]);
    }
    for (int s = 0; s < 2; s++)
        tally_metrics(&tallies[s], b->k, &m[s]);
    for (unsigned w = 0; w < METRIC_COUNT + b->k; w++) {
        double v = metrics_value(&m[0], w);
        if (b->outcomes[1])
            v -= metrics_value(&m[1], w);
        b->values[w * b->resamples + r] = v;
    }
}

static void resample_some(void *context, size_t begin, size_t end, unsigned worker)
{
    (void)worker;
    for (size_t r = begin; r < end && !interrupted(); r++)
        one_resample(context, r);
}

static medley_status boot_run(struct boot *b, const uint32_t *group, const uint32_t *index,
                              medley_error *err)
{
    medley_status st = gather(group, index, b->n, &b->groups, err);
    if (st != MEDLEY_OK)
        return st;
    b->values = mem_alloc((METRIC_COUNT + b->k) * b->resamples, sizeof *b->values);
    if (!b->values)
        return fail_memory(err, "a bootstrap");
    parallel_for(b->resamples, 8, resample_some, b);
    return interrupted() ? fail(err, MEDLEY_EINTERRUPTED, "bootstrap interrupted") : MEDLEY_OK;
}

static void boot_deinit(struct boot *b)
{
    grouped_deinit(&b->groups);
    mem_free(b->outcomes[0]);
    mem_free(b->outcomes[1]);
    mem_free(b->values);
}

/* What each row of a set of predictions came to. */
static medley_status find_outcomes(struct boot *b, int set, const float *p,
                                   const uint8_t *labels, const uint32_t *index,
                                   medley_error *err)
{
    b->outcomes[set] = mem_alloc(b->n, sizeof *b->outcomes[set]);
    if (!b->outcomes[set])
        return fail_memory(err, "a bootstrap");
    for (size_t i = 0; i < b->n; i++) {
        size_t row = index ? index[i] : i;
        b->outcomes[set][i] = outcome_of(p + row * b->k, labels[row], b->k);
    }
    return MEDLEY_OK;
}

medley_status metrics_bootstrap(const float *probabilities, const uint8_t *labels,
                                const uint32_t *group, const uint32_t *index, size_t n,
                                size_t k, unsigned resamples, uint64_t seed,
                                struct interval *out, medley_error *err)
{
    struct boot b = {.n = n, .k = k, .seed = seed};
    b.resamples = resamples ? resamples : DEFAULT_RESAMPLES;
    medley_status st = find_outcomes(&b, 0, probabilities, labels, index, err);
    if (st == MEDLEY_OK)
        st = boot_run(&b, group, index, err);
    for (unsigned w = 0; st == MEDLEY_OK && w < METRIC_COUNT + k; w++)
        out[w] = interval_of(b.values + (size_t)w * b.resamples, b.resamples);
    boot_deinit(&b);
    return st;
}

/* How often a resampled difference is on the other side of zero, both ways; never quite 0,
 * since a finite number of resamples cannot show that. */
static double two_sided(const double *values, size_t n)
{
    size_t below = 0, above = 0;
    for (size_t i = 0; i < n; i++) {
        below += values[i] <= 0;
        above += values[i] >= 0;
    }
    size_t least = below < above ? below : above;
    double p = 2 * (double)(least + 1) / (double)(n + 1);
    return p < 1 ? p : 1;
}

medley_status metrics_paired(const float *a, const float *b, const uint8_t *labels,
                             const uint32_t *group, const uint32_t *index, size_t n, size_t k,
                             unsigned resamples, uint64_t seed, struct paired_difference *out,
                             medley_error *err)
{
    struct boot boot = {.n = n, .k = k, .seed = seed};
    boot.resamples = resamples ? resamples : DEFAULT_RESAMPLES;
    medley_status st = find_outcomes(&boot, 0, a, labels, index, err);
    if (st == MEDLEY_OK)
        st = find_outcomes(&boot, 1, b, labels, index, err);
    if (st == MEDLEY_OK)
        st = boot_run(&boot, group, index, err);
    if (st == MEDLEY_OK) {
        struct metrics ma, mb;
        metrics_compute(a, labels, index, n, k, &ma);
        metrics_compute(b, labels, index, n, k, &mb);
        for (unsigned w = 0; w < METRIC_COUNT + k; w++) {
            double *values = boot.values + (size_t)w * boot.resamples;
            struct interval range = interval_of(values, boot.resamples);
            out[w] = (struct paired_difference){metrics_value(&ma, w) - metrics_value(&mb, w),
                                                range.low, range.high,
                                                two_sided(values, boot.resamples)};
        }
    }
    boot_deinit(&boot);
    return st;
}

/* --- means --- */

struct mean_boot {
    struct grouped groups;
    double *sums;  /* [n_groups] of the values of a query */
    double *means; /* [resamples] */
    uint64_t seed;
};

static void resample_means(void *context, size_t begin, size_t end, unsigned worker)
{
    struct mean_boot *b = context;
    (void)worker;
    for (size_t r = begin; r < end; r++) {
        struct rng rng;
        double sum = 0, count = 0;
        rng_init(&rng, b->seed, r);
        for (size_t draw = 0; draw < b->groups.n_groups; draw++) {
            size_t g = rng_below(&rng, (uint32_t)b->groups.n_groups);
            sum += b->sums[g];
            count += (double)(b->groups.begin[g + 1] - b->groups.begin[g]);
        }
        b->means[r] = sum / count;
    }
}

medley_status mean_bootstrap(const float *values, const uint32_t *group, const uint32_t *index,
                             size_t n, unsigned resamples, uint64_t seed, double *mean,
                             struct interval *out, medley_error *err)
{
    struct mean_boot b = {.seed = seed};
    double sum = 0;
    resamples = resamples ? resamples : DEFAULT_RESAMPLES;
    medley_status st = gather(group, index, n, &b.groups, err);
    if (st != MEDLEY_OK)
        return st;
    b.sums = mem_zalloc(b.groups.n_groups, sizeof *b.sums);
    b.means = mem_alloc(resamples, sizeof *b.means);
    if (!b.sums || !b.means) {
        st = fail_memory(err, "a bootstrap");
        goto done;
    }
    for (size_t g = 0; g < b.groups.n_groups; g++) {
        for (size_t i = b.groups.begin[g]; i < b.groups.begin[g + 1]; i++) {
            size_t position = b.groups.rows[i];
            b.sums[g] += values[index ? index[position] : position];
        }
        sum += b.sums[g];
    }
    parallel_for(resamples, 8, resample_means, &b);
    *mean = sum / (double)n;
    *out = interval_of(b.means, resamples);
done:
    grouped_deinit(&b.groups);
    mem_free(b.sums);
    mem_free(b.means);
    return st;
}
