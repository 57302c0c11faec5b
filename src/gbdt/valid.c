/* valid.c: the log-loss on the validation rows, round by round. Sums are kept per chunk and
 * added in order, so that the number of threads does not show. Proof: tests/test_gbdt.c. */
#include "gbdt/boost.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/pool.h"

#include <float.h>
#include <math.h>

#define CHUNK 4096

struct valid_job {
    struct boost *b;
    double *sums; /* [chunks] */
};

static double log_loss_of(const struct boost_rows *r, size_t n_classes, size_t i)
{
    double most = -DBL_MAX, sum = 0;
    for (size_t c = 0; c < n_classes; c++)
        most = fmax(most, r->scores[c * r->stride + i]);
    for (size_t c = 0; c < n_classes; c++)
        sum += exp(r->scores[c * r->stride + i] - most);
    return r->weights[i] * (log(sum) - (r->scores[r->labels[i] * r->stride + i] - most));
}

static void valid_rows(void *context, size_t begin, size_t end, unsigned worker)
{
    (void)worker;
    struct valid_job *job = context;
    struct boost *b = job->b;
    struct boost_rows *r = &b->valid;
    struct score_job scoring = {.trees =
                                    b->model->trees + b->model->n_trees - b->trees_per_round,
                                .n_trees = b->trees_per_round,
                                .table = &r->table,
                                .scores = r->scores,
                                .stride = r->stride};
    score_add(&scoring, begin, end);
    double sum = 0;
    for (size_t i = begin; i < end && i < r->n; i++)
        sum += log_loss_of(r, b->n_classes, i);
    job->sums[begin / CHUNK] = sum;
}

medley_status valid_round(struct boost *b, double *loss, medley_error *err)
{
    size_t chunks = (b->valid.stride + CHUNK - 1) / CHUNK;
    struct valid_job job = {b, mem_zalloc(chunks, sizeof(double))};
    double weight = 0;
    if (!job.sums)
        return fail_memory(err, "validation sums");
    parallel_for(b->valid.stride, CHUNK, valid_rows, &job);
    *loss = 0;
    for (size_t i = 0; i < chunks; i++)
        *loss += job.sums[i];
    for (size_t i = 0; i < b->valid.n; i++)
        weight += b->valid.weights[i];
    *loss /= weight;
    mem_free(job.sums);
    return MEDLEY_OK;
}
