/* histogram.c: adding rows into histograms: the definition and the kernels for several classes
 * in one pass, where the cells of all classes are one or two vector registers.
 *
 * One class alone stays scalar: rows scatter over cells, and packed 64-bit cells need one load,
 * add and store per feature; AVX-512 gather and scatter were slower. Proof: tests/test_gbdt.c
 * runs every row of the table against the first. */
#include "gbdt/histogram.h"

#include "base/cpu.h"

#include <stddef.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* Of the last group the rest are not there: their cells are left alone. */
static inline size_t features_in(const struct histogram_job *job, size_t g)
{
    size_t rest = job->bins->n_features - g * BINS_GROUP;
    return rest < BINS_GROUP ? rest : BINS_GROUP;
}

static void histogram_add_ref(const struct histogram_job *job)
{
    for (size_t k = 0; k < job->n; k++) {
        size_t row = job->index ? job->index[k] : job->begin + k;
        const uint8_t *bin = job->table->rows + row * job->table->stride;
        for (size_t g = job->group_begin; g < job->group_end; g++)
            for (size_t j = 0; j < features_in(job, g); j++) {
                size_t bin_row = job->bins->group_first[g] + bin[g * BINS_GROUP + j];
                for (size_t c = 0; c < job->lanes; c++)
                    job->cells[(bin_row * BINS_GROUP + j) * job->lanes + c] +=
                        job->gradients[row * job->lanes + c];
            }
    }
}

#define ROWS_AT_A_TIME 1024
#define AHEAD 16 /* rows fetched in advance when the order is not that of memory */

static inline size_t row_at(const struct histogram_job *job, size_t k)
{
    return job->index ? job->index[k] : job->begin + k;
}

static inline uint64_t load_group(const struct histogram_job *job, size_t row, size_t g)
{
    uint64_t w;
    memcpy(&w, job->table->rows + row * job->table->stride + g * BINS_GROUP, sizeof w);
    return w;
}

static inline void fetch_ahead(const struct histogram_job *job, size_t k)
{
    if (!job->index || k + AHEAD >= job->n)
        return;
    size_t row = job->index[k + AHEAD];
    __builtin_prefetch(job->table->rows + row * job->table->stride +
                       job->group_begin * BINS_GROUP);
    __builtin_prefetch(job->gradients + row * job->lanes);
}

/* Everything in locals: cells might alias the job's fields. `features` of the group is a
 * constant after inlining. */
#define INLINE static inline __attribute__((always_inline))
INLINE void add_rows(const struct histogram_job *job, size_t g, size_t from, size_t to,
                     size_t features)
{
    const uint8_t *rows = job->table->rows + g * BINS_GROUP;
    const uint32_t *index = job->index;
    const int64_t *gradients = job->gradients;
    size_t begin = job->begin, stride = job->table->stride;
    uint8_t *h = (uint8_t *)(job->cells + (size_t)job->bins->group_first[g] * BINS_GROUP);
    __asm__("" : "+r"(h)); /* or gcc keeps h in two parts and adds them for every cell */
    for (size_t k = from; k < to; k++) {
        size_t row = index ? index[k] : begin + k;
        if (index && k + AHEAD < to) {
            __builtin_prefetch(rows + index[k + AHEAD] * stride);
            __builtin_prefetch(gradients + index[k + AHEAD]);
        }
        int64_t v = gradients[row];
        uint64_t w;
        memcpy(&w, rows + row * stride, sizeof w);
        *(int64_t *)(h + (w << 6 & 255 << 6)) += v; /* in bytes: a shift and a mask a cell */
#pragma GCC unroll 8
        for (size_t j = 1; j < features; j++)
            *(int64_t *)(h + (w >> (8 * j - 6) & 255 << 6) + 8 * j) += v;
    }
}

/* Half-filled groups are common where a round draws its features. */
static void add_one_group(const struct histogram_job *job, size_t g, size_t from, size_t to)
{
    size_t features = features_in(job, g);
    if (features > 6)
        add_rows(job, g, from, to, 8);
    else if (features > 4)
        add_rows(job, g, from, to, 6);
    else if (features > 2)
        add_rows(job, g, from, to, 4);
    else
        add_rows(job, g, from, to, 2);
}

/* Some rows, group by group, then the next rows: a group's cells (16 KiB) stay in L1 and so do
 * its addresses in registers, and an update takes the one cycle of its store; the rows stay in
 * L2 from group to group. All groups of a row at once took a third longer, all rows of a group
 * at once twice as long with 96 features. */
static void add_one_class(const struct histogram_job *job)
{
    for (size_t from = 0; from < job->n; from += ROWS_AT_A_TIME) {
        size_t to = job->n - from < ROWS_AT_A_TIME ? job->n : from + ROWS_AT_A_TIME;
        for (size_t g = job->group_begin; g < job->group_end; g++)
            add_one_group(job, g, from, to);
    }
}

#if defined(__x86_64__)

__attribute__((target("avx2"))) INLINE void add_rows_of_four(const struct histogram_job *job,
                                                             size_t g, size_t features)
{
    const uint32_t *index = job->index;
    const __m256i *gradients = (const __m256i *)job->gradients;
    size_t n = job->n, begin = job->begin, stride = job->table->stride;
    const uint8_t *rows = job->table->rows + g * BINS_GROUP;
    __m256i *h = (__m256i *)job->cells + (size_t)job->bins->group_first[g] * BINS_GROUP;
    for (size_t k = 0; k < n; k++) {
        size_t row = index ? index[k] : begin + k;
        __m256i v = _mm256_load_si256(gradients + row);
        uint64_t w;
        memcpy(&w, rows + row * stride, sizeof w);
#pragma GCC unroll 8
        for (size_t j = 0; j < features; j++) {
            __m256i *p = h + (w >> 8 * j & 255) * BINS_GROUP + j;
            _mm256_store_si256(p, _mm256_add_epi64(_mm256_load_si256(p), v));
        }
    }
}

/* Group by group, so that the cells in use (64 KiB at 4 classes) stay close. */
__attribute__((target("avx2"))) static void add_four_classes(const struct histogram_job *job)
{
    for (size_t g = job->group_begin; g < job->group_end; g++)
        if (features_in(job, g) > 4)
            add_rows_of_four(job, g, 8);
        else
            add_rows_of_four(job, g, 4);
}

__attribute__((target("avx2"))) static void histogram_add_avx2(const struct histogram_job *job)
{
    if (job->lanes == 1)
        add_one_class(job);
    else if (job->lanes == 4)
        add_four_classes(job);
    else
        histogram_add_ref(job);
}

__attribute__((target("avx512f"))) static void add_many_classes(const struct histogram_job *job)
{
    size_t lanes = job->lanes; /* 8 or 16 */
    for (size_t g = job->group_begin; g < job->group_end; g++) {
        int64_t *h = job->cells + (size_t)job->bins->group_first[g] * BINS_GROUP * lanes;
        for (size_t k = 0; k < job->n; k++) {
            size_t row = row_at(job, k);
            fetch_ahead(job, k);
            uint64_t w = load_group(job, row, g);
            for (unsigned j = 0; j < BINS_GROUP; j++)
                for (size_t c = 0; c < lanes; c += 8) {
                    int64_t *p = h + ((w >> 8 * j & 255) * BINS_GROUP + j) * lanes + c;
                    __m512i v = _mm512_load_si512(job->gradients + row * lanes + c);
                    _mm512_store_si512(p, _mm512_add_epi64(_mm512_load_si512(p), v));
                }
        }
    }
}

__attribute__((target("avx512f"))) static void histogram_add_avx512(
    const struct histogram_job *job)
{
    if (job->lanes >= 8)
        add_many_classes(job);
    else
        histogram_add_avx2(job);
}

#endif

static void histogram_add_portable(const struct histogram_job *job)
{
    if (job->lanes == 1)
        add_one_class(job);
    else
        histogram_add_ref(job);
}

const struct histogram_impl histogram_impls[] = {
    {"ref", histogram_add_ref, cpu_always},
    {"portable", histogram_add_portable, cpu_always},
#if defined(__x86_64__)
    {"avx2", histogram_add_avx2, cpu_has_avx2},
    {"avx512", histogram_add_avx512, cpu_has_avx512},
#endif
    {NULL, NULL, NULL},
};

void histogram_add(const struct histogram_job *job)
{
#if defined(__x86_64__)
    if (cpu_has_avx512())
        histogram_add_avx512(job);
    else if (cpu_has_avx2())
        histogram_add_avx2(job);
    else
#endif
        histogram_add_portable(job);
}

/* Whole cache lines in a vector type: gcc -O2 leaves the plain loop scalar. */
void histogram_subtract(int64_t *parent, const int64_t *child, size_t n)
{
    typedef int64_t line __attribute__((vector_size(64), may_alias));
    line *p = (line *)parent;
    const line *c = (const line *)child;
    for (size_t i = 0; i < n / 8; i++)
        p[i] -= c[i];
}
