/* predict.c: margins and probabilities of rows.
 *
 * Leaf values are added in double, tree by tree, so every kernel and every batch size gives a
 * row the same bits. The AVX-512 kernel keeps, for 64 rows, one bit mask per node: which rows
 * came here; one comparison splits it in two (the idea of QuickScorer, Lucchese et al. 2015,
 * turned from bits for leaves to bits for rows). Proof: tests/test_gbdt.c. */
#include "gbdt/predict.h"

#include "base/cpu.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/pool.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

static void predict_ref(const struct predict_job *job)
{
    for (size_t t = 0; t < job->model->n_trees; t++) {
        const struct tree *tree = job->model->trees[t];
        for (size_t i = 0; i < PREDICT_BLOCK; i++) {
            int32_t at = tree->n_leaves > 1 ? 0 : ~0;
            while (at >= 0) {
                const struct tree_node *n = &tree->nodes[at];
                float x = job->columns[n->feature * PREDICT_BLOCK + i];
                at = node_goes_left(n, x) ? n->left : n->right;
            }
            for (uint32_t o = 0; o < tree->n_outputs; o++)
                job->margins[(tree->first_class + o) * PREDICT_BLOCK + i] +=
                    tree->values[(uint32_t)~at * tree->n_outputs + o];
        }
    }
}

#if defined(__x86_64__)

#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))

/* Rows of the block that go left at a node: NaN is neither <= nor >. */
TARGET static inline uint64_t rows_left(const struct tree_node *n, const float *column)
{
    __m512 threshold = _mm512_set1_ps(n->threshold);
    uint64_t left = 0;
    for (unsigned q = 0; q < 4; q++) {
        __m512 x = _mm512_load_ps(column + 16 * q);
        uint64_t m = n->missing_left ? _mm512_cmp_ps_mask(x, threshold, _CMP_NGT_UQ)
                                     : _mm512_cmp_ps_mask(x, threshold, _CMP_LE_OQ);
        left |= m << 16 * q;
    }
    return left;
}

/* The leaf of each row, one byte a row. Children come after their parents. */
TARGET static __m512i leaves_of(const struct tree *t, const float *columns)
{
    uint64_t here[GBDT_MAX_LEAVES];
    __m512i leaf = _mm512_setzero_si512();
    here[0] = UINT64_MAX;
    for (uint32_t i = 0; i + 1 < t->n_leaves; i++) {
        const struct tree_node *n = &t->nodes[i];
        uint64_t left = rows_left(n, columns + (size_t)n->feature * PREDICT_BLOCK);
        if (n->left >= 0)
            here[n->left] = here[i] & left;
        else
            leaf = _mm512_mask_mov_epi8(leaf, here[i] & left, _mm512_set1_epi8((char)~n->left));
        if (n->right >= 0)
            here[n->right] = here[i] & ~left;
        else
            leaf =
                _mm512_mask_mov_epi8(leaf, here[i] & ~left, _mm512_set1_epi8((char)~n->right));
    }
    return leaf;
}

TARGET static inline void add_16(double *margins, __m512 v)
{
    __m512d low = _mm512_cvtps_pd(_mm512_castps512_ps256(v));
    __m512d high = _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1));
    _mm512_store_pd(margins, _mm512_add_pd(_mm512_load_pd(margins), low));
    _mm512_store_pd(margins + 8, _mm512_add_pd(_mm512_load_pd(margins + 8), high));
}

/* Up to 32 leaves: the values lie in two registers, looked up by permutation. */
TARGET static void add_small(const struct tree *t, const uint8_t *leaf, double *margins)
{
    uint32_t n = t->n_leaves;
    __mmask16 has_low = (__mmask16)(n >= 16 ? 0xffff : (1u << n) - 1);
    __mmask16 has_high = (__mmask16)(n >= 32 ? 0xffff : n > 16 ? (1u << (n - 16)) - 1 : 0);
    __m512 low = _mm512_maskz_loadu_ps(has_low, t->values);
    __m512 high = _mm512_maskz_loadu_ps(has_high, t->values + 16);
    for (unsigned q = 0; q < 4; q++) {
        __m512i at = _mm512_cvtepu8_epi32(_mm_load_si128((const __m128i *)(leaf + 16 * q)));
        add_16(margins + 16 * q, _mm512_permutex2var_ps(low, at, high));
    }
}

TARGET static void add_gathered(const struct tree *t, const uint8_t *leaf, uint32_t output,
                                double *margins)
{
    __m512i step = _mm512_set1_epi32((int)t->n_outputs);
    for (unsigned q = 0; q < 4; q++) {
        __m512i at = _mm512_cvtepu8_epi32(_mm_load_si128((const __m128i *)(leaf + 16 * q)));
        at = _mm512_mullo_epi32(at, step);
        add_16(margins + 16 * q, _mm512_i32gather_ps(at, t->values + output, 4));
    }
}

TARGET static void predict_avx512(const struct predict_job *job)
{
    for (size_t i = 0; i < job->model->n_trees; i++) {
        const struct tree *t = job->model->trees[i];
        double *margins = job->margins + (size_t)t->first_class * PREDICT_BLOCK;
        uint8_t leaf[PREDICT_BLOCK] __attribute__((aligned(64)));
        _mm512_store_si512(leaf, leaves_of(t, job->columns));
        if (t->n_outputs == 1 && t->n_leaves <= 32) {
            add_small(t, leaf, margins);
            continue;
        }
        for (uint32_t o = 0; o < t->n_outputs; o++)
            add_gathered(t, leaf, o, margins + o * PREDICT_BLOCK);
    }
}

#endif

const struct predict_impl predict_impls[] = {
    {"ref", predict_ref, cpu_always},
#if defined(__x86_64__)
    {"avx512", predict_avx512, cpu_has_avx512},
#endif
    {NULL, NULL, NULL},
};

static void predict_block(const struct predict_job *job)
{
#if defined(__x86_64__)
    if (cpu_has_avx512()) {
        predict_avx512(job);
        return;
    }
#endif
    predict_ref(job);
}

/* ---- many rows ---- */

struct many {
    const struct medley_gbdt *model;
    const float *x;
    float *out;
    bool probabilities;
    atomic_bool out_of_memory;
};

static void finish_row(const struct many *job, const double *margins, size_t step, float *out)
{
    size_t n = job->model->n_classes;
    double most = -INFINITY, sum = 0, e[GBDT_MAX_CLASSES];
    for (size_t c = 0; c < n; c++) {
        out[c] = (float)margins[c * step];
        most = fmax(most, margins[c * step]);
    }
    if (!job->probabilities)
        return;
    for (size_t c = 0; c < n; c++)
        sum += e[c] = exp(margins[c * step] - most);
    for (size_t c = 0; c < n; c++)
        out[c] = (float)(e[c] / sum);
}

/* A few rows, as in a request: filling a block would cost more than walking. */
static void one_row(const struct many *job, size_t row)
{
    const struct medley_gbdt *m = job->model;
    const float *x = job->x + row * m->n_features;
    double margins[GBDT_MAX_CLASSES];
    memcpy(margins, m->base, sizeof margins);
    for (size_t i = 0; i < m->n_trees; i++) {
        const struct tree *t = m->trees[i];
        const float *v = t->values + tree_leaf(t, x) * t->n_outputs;
        for (uint32_t o = 0; o < t->n_outputs; o++)
            margins[t->first_class + o] += v[o];
    }
    finish_row(job, margins, 1, job->out + row * m->n_classes);
}

/* Rows past the end repeat the last one; their results are dropped. */
static void one_block(const struct many *job, size_t begin, size_t n, float *columns)
{
    const struct medley_gbdt *m = job->model;
    double margins[GBDT_MAX_CLASSES * PREDICT_BLOCK] __attribute__((aligned(64)));
    for (size_t i = 0; i < PREDICT_BLOCK; i++) {
        const float *x = job->x + (begin + (i < n ? i : n - 1)) * m->n_features;
        for (size_t f = 0; f < m->n_features; f++)
            columns[f * PREDICT_BLOCK + i] = x[f];
        for (size_t c = 0; c < m->n_classes; c++)
            margins[c * PREDICT_BLOCK + i] = m->base[c];
    }
    struct predict_job block = {m, columns, margins};
    predict_block(&block);
    for (size_t i = 0; i < n; i++)
        finish_row(job, margins + i, PREDICT_BLOCK, job->out + (begin + i) * m->n_classes);
}

static void predict_rows(void *context, size_t begin, size_t end, unsigned worker)
{
    (void)worker;
    struct many *job = context;
    float *columns = mem_alloc64(job->model->n_features, PREDICT_BLOCK * sizeof *columns);
    if (!columns) {
        atomic_store(&job->out_of_memory, true);
        return;
    }
    for (; begin < end; begin += PREDICT_BLOCK) {
        size_t n = end - begin < PREDICT_BLOCK ? end - begin : PREDICT_BLOCK;
        one_block(job, begin, n, columns);
    }
    mem_free(columns);
}

#define FEW \
    8 /* rows; measured with 800 trees of 31 leaves: a block takes as long as 12 walks */

static medley_status predict(struct many *job, size_t n, medley_error *err)
{
    if (n <= FEW) {
        for (size_t i = 0; i < n; i++)
            one_row(job, i);
        return MEDLEY_OK;
    }
    parallel_for(n, 8 * PREDICT_BLOCK, predict_rows, job);
    return atomic_load(&job->out_of_memory) ? fail_memory(err, "a block of rows") : MEDLEY_OK;
}

medley_status medley_gbdt_margins(const medley_gbdt *model, const float *features, size_t n,
                                  float *margins, medley_error *err)
{
    struct many job = {.model = model, .x = features, .out = margins};
    return predict(&job, n, err);
}

medley_status medley_gbdt_predict(const medley_gbdt *model, const float *features, size_t n,
                                  float *probabilities, medley_error *err)
{
    struct many job = {
        .model = model, .x = features, .out = probabilities, .probabilities = true};
    return predict(&job, n, err);
}
