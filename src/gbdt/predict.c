/* predict.c: the door to prediction: margins and probabilities of any number of rows.
 *
 * Whatever the number of rows, threads and the CPU, a row gets the same bits: forest.h fixes
 * the order of additions. Proof: tests/test_gbdt.c, tests/test_forest.c. */
#include "gbdt/predict.h"
#include "gbdt/single.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/pool.h"

#include <string.h>

medley_status gbdt_forest(const struct medley_gbdt *model, struct forest **out,
                          medley_error *err)
{
    struct medley_gbdt *m = (struct medley_gbdt *)model; /* a cache: the model stays as it is */
    struct forest *f = atomic_load_explicit(&m->forest, memory_order_acquire), *other = NULL;
    if (!f) {
        medley_status st = forest_new(model, &f, err);
        if (st != MEDLEY_OK)
            return st;
        if (!atomic_compare_exchange_strong(&m->forest, &other, f)) {
            forest_free(f); /* another thread was first */
            f = other;
        }
    }
    *out = f;
    return MEDLEY_OK;
}

struct rows {
    struct forest *forest;
    const struct forest_impl *impl;
    const float *x;
    float *out;
    bool probabilities;
    atomic_bool out_of_memory;
};

/* ---- one row ---- */

static void one_row(const struct rows *job, size_t row)
{
    const struct medley_gbdt *m = job->forest->model;
    size_t k = m->n_classes;
    double margins[GBDT_MAX_CLASSES * 8];
    float p[GBDT_MAX_CLASSES * 8], *out = job->out + row * k;
    single_fastest(job->forest)->run(job->forest, job->x + row * m->n_features, margins);
    if (!job->probabilities) {
        for (size_t c = 0; c < k; c++)
            out[c] = (float)margins[c];
        return;
    }
    if (m->link != MEDLEY_LINK_SOFTMAX) {
        gbdt_apply_link(m, margins, k, out);
        return;
    }
    for (size_t c = k; c-- > 0;)
        for (size_t i = 0; i < 8; i++)
            margins[c * 8 + i] = margins[c];
    probabilities_of(margins, k, 8, 8, p);
    for (size_t c = 0; c < k; c++)
        out[c] = p[c * 8];
}

/* ---- blocks ---- */

static void write_rows(const struct rows *job, struct forest_space *s, size_t begin, size_t n)
{
    size_t k = job->forest->model->n_classes, stride = 64 * job->impl->words;
    if (job->probabilities && job->forest->model->link != MEDLEY_LINK_SOFTMAX)
        gbdt_apply_link(job->forest->model, s->margins, k * stride, s->sums);
    else if (job->probabilities)
        probabilities_of(s->margins, k, stride, stride, s->sums);
    else
        for (size_t i = 0; i < k * stride; i++)
            s->sums[i] = (float)s->margins[i];
    float *out = job->out + begin * k;
    for (size_t i = 0; i < n; i++, out += k) {
        const float *from = s->sums + forest_row(job->impl, i);
        for (size_t c = 0; c < k; c++)
            out[c] = from[c * stride];
    }
}

static void run_blocks(void *context, size_t begin, size_t end, unsigned worker)
{
    (void)worker;
    struct rows *job = context;
    struct forest_space *s = forest_space_take(job->forest, job->impl);
    if (!s) {
        atomic_store(&job->out_of_memory, true);
        return;
    }
    size_t block = 64 * job->impl->words, width = job->forest->model->n_features;
    for (; begin < end; begin += block) {
        size_t n = end - begin < block ? end - begin : block;
        job->impl->run(job->forest, s, job->x + begin * width, n);
        write_rows(job, s, begin, n);
    }
    forest_space_give(job->forest, s);
}

/* Rows that take as long one by one as a block does, measured with 800 trees of 31 leaves: a
 * block takes 130 us with AVX-512 and AVX2 alike, a row 1.5 or 2.8 us, walking the trees 30. */
static size_t few_rows(const struct forest *f)
{
    return single_fastest(f) == single_impls ? 4 : 48;
}

static medley_status predict(const medley_gbdt *model, struct rows *job, size_t n,
                             medley_error *err)
{
    medley_status st = gbdt_forest(model, &job->forest, err);
    if (st != MEDLEY_OK)
        return st;
    job->impl = forest_fastest(job->forest);
    if (n <= few_rows(job->forest)) {
        for (size_t i = 0; i < n; i++)
            one_row(job, i);
        return MEDLEY_OK;
    }
    parallel_for(n, 64 * job->impl->words, run_blocks, job);
    return atomic_load(&job->out_of_memory) ? fail_memory(err, "a block of rows") : MEDLEY_OK;
}

medley_status medley_gbdt_prepare(const medley_gbdt *model, medley_error *err)
{
    struct forest *f;
    return gbdt_forest(model, &f, err);
}

medley_status medley_gbdt_margins(const medley_gbdt *model, const float *features, size_t n,
                                  float *margins, medley_error *err)
{
    struct rows job = {.x = features, .out = margins};
    return predict(model, &job, n, err);
}

medley_status medley_gbdt_predict(const medley_gbdt *model, const float *features, size_t n,
                                  float *probabilities, medley_error *err)
{
    struct rows job = {.x = features, .out = probabilities, .probabilities = true};
    return predict(model, &job, n, err);
}
