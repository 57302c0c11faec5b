/* guard.c: see guard.h. */
#include "ensemble/guard.h"

#include "base/error.h"
#include "base/memory.h"

#include <math.h>

medley_status guard_disjoint(const struct dataset *d, const uint32_t *fitted, size_t n,
                             const uint32_t *predicted, size_t m, medley_error *err)
{
    bool *seen = mem_zalloc(d->n_queries, sizeof *seen);
    if (!seen)
        return fail_memory(err, "the in-sample guard");
    for (size_t i = 0; i < n; i++)
        seen[d->example_query[fitted[i]]] = true;
    medley_status st = MEDLEY_OK;
    for (size_t i = 0; i < m && st == MEDLEY_OK; i++) {
        uint32_t q = d->example_query[predicted[i]];
        if (seen[q]) {
            struct str text = column_at(&d->query_text, q);
            st = fail(err, MEDLEY_EINSAMPLE,
                      "in-sample prediction refused: the model was trained on query '%.*s'",
                      (int)text.n, text.s);
        }
    }
    mem_free(seen);
    return st;
}

/* Accuracy and its standard error with queries as clusters. */
struct accuracy {
    size_t n;
    double mean, error;
};

static bool predicted_right(const float *p, size_t k, uint8_t label)
{
    size_t best = 0;
    for (size_t c = 1; c < k; c++)
        if (p[c] > p[best])
            best = c;
    return best == label;
}

static struct accuracy split_accuracy(const struct dataset *d, const float *probabilities,
                                      enum split split, double *right, double *count)
{
    struct accuracy a = {0};
    double total = 0, square = 0;
    for (size_t q = 0; q < d->n_queries; q++)
        right[q] = count[q] = 0;
    for (size_t i = 0; i < d->n_examples; i++) {
        const float *p = probabilities + i * d->n_classes;
        if (d->example_split[i] != split || d->example_label[i] == LABEL_NONE || isnan(p[0]))
            continue;
        count[d->example_query[i]]++;
        right[d->example_query[i]] += predicted_right(p, d->n_classes, d->example_label[i]);
        a.n++;
    }
    for (size_t q = 0; q < d->n_queries; q++)
        total += right[q];
    a.mean = a.n ? total / (double)a.n : 0;
    for (size_t q = 0; q < d->n_queries; q++) {
        double residual = right[q] - a.mean * count[q];
        square += residual * residual;
    }
    a.error = a.n ? sqrt(square) / (double)a.n : 0;
    return a;
}

medley_status guard_table(const struct dataset *d, const float *probabilities, const char *name,
                          medley_error *err)
{
    enum { ENOUGH = 50 };
    double *sums = mem_alloc(d->n_queries, 2 * sizeof *sums);
    if (!sums)
        return fail_memory(err, "the in-sample guard");
    double *count = sums + d->n_queries;
    struct accuracy train = split_accuracy(d, probabilities, SPLIT_TRAIN, sums, count);
    struct accuracy test = split_accuracy(d, probabilities, SPLIT_TEST, sums, count);
    mem_free(sums);
    if (train.n < ENOUGH || test.n < ENOUGH)
        return MEDLEY_OK;
    double gap = train.mean - test.mean;
    double error = sqrt(train.error * train.error + test.error * test.error);
    if (gap <= 0.05 || gap <= 5 * error)
        return MEDLEY_OK;
    return fail(
        err, MEDLEY_EINSAMPLE,
        "predictions of '%s' look in-sample: accuracy %.3f on the training split, %.3f +- "
        "%.3f on the test split; give out-of-fold predictions, or set 'trust: true'",
        name, train.mean, test.mean, error);
}
