/* attention_terms.c: what a family adds to attention's scores: a bias by relative position,
 * queries and keys against embeddings of relative positions, and masks. Only the rows of the
 * tables that the longest sequence meets are multiplied. */
#include "nn/attention.h"
#include "nn/gemm.h"

#include <assert.h>
#include <string.h>

static bool by_position(const struct attention_terms *x)
{
    return x->bias || x->key_at || x->query_at;
}

bool attention_terms_need(const struct attention *op)
{
    const struct attention_terms *x = &op->terms;
    return (x->bias && x->bias->grad) || (x->key_at && x->key_at->grad) ||
           (x->query_at && x->query_at->grad);
}

void attention_terms_buffers(struct tape *t, struct attention *op, size_t longest)
{
    struct attention_terms *x = &op->terms;
    if (!by_position(x) || !longest)
        return;
    assert(x->reach + 1 >= longest);
    size_t n = 2 * longest - 1, first = SIZE_MAX, last = 0;
    uint16_t *bucket = tape_alloc(t, n, sizeof *bucket);
    if (!bucket)
        return;
    memcpy(bucket, x->bucket + (x->reach - (longest - 1)), n * sizeof *bucket);
    for (size_t i = 0; i < n; i++) {
        first = bucket[i] < first ? bucket[i] : first;
        last = bucket[i] > last ? bucket[i] : last;
    }
    x->bucket = bucket;
    x->reach = (uint32_t)(longest - 1);
    op->first_bucket = first;
    op->buckets = last - first + 1;
    op->products = tape_alloc(t, longest * op->buckets, sizeof *op->products);
    op->by_distance = tape_alloc(t, n, sizeof *op->by_distance);
}

/* Buckets of keys 0..t-1 as seen by query i. */
static const uint16_t *buckets_of(const struct attention *op, size_t i)
{
    return op->terms.bucket + (op->terms.reach - i);
}

/* ---- bias ---- */

static void add_bias(const struct attention *op, const struct head *h, float *scores)
{
    const struct attention_terms *x = &op->terms;
    for (size_t i = 0; i < 2 * h->t - 1; i++)
        op->by_distance[i] =
            x->bias->value[buckets_of(op, h->t - 1)[i] * op->heads + h->head] / op->scale;
    for (size_t i = 0; i < h->t; i++)
        vec()->add_scaled(scores + i * h->t, scores + i * h->t, 1,
                          op->by_distance + (h->t - 1 - i), h->t);
}

static void bias_back(const struct attention *op, const struct head *h, const float *scores)
{
    const struct attention_terms *x = &op->terms;
    memset(op->by_distance, 0, (2 * h->t - 1) * sizeof *op->by_distance);
    for (size_t i = 0; i < h->t; i++) {
        float *sum = op->by_distance + (h->t - 1 - i);
        vec()->add_scaled(sum, sum, 1, scores + i * h->t, h->t);
    }
    for (size_t i = 0; i < 2 * h->t - 1; i++)
        x->bias->grad[buckets_of(op, h->t - 1)[i] * op->heads + h->head] +=
            op->by_distance[i] / op->scale;
}

/* ---- queries or keys against embeddings of positions ---- */

/* A head's columns of the rows of a table that are met. */
static size_t table_at(const struct attention *op, const struct head *h)
{
    return op->first_bucket * h->stride + h->head * op->d;
}

/* products[t, buckets] = tokens[t, d] table[buckets, d]^T */
static void multiply(const struct attention *op, const struct head *h,
                     const struct tensor *tokens, const struct tensor *table)
{
    gemm(&(struct gemm){.m = h->t,
                        .n = op->buckets,
                        .k = op->d,
                        .a = tokens->value + h->at,
                        .b = table->value + table_at(op, h),
                        .c = op->products,
                        .lda = h->stride,
                        .ldb = h->stride,
                        .ldc = op->buckets,
                        .transpose_b = true});
}

static void multiply_back(const struct attention *op, const struct head *h,
                          struct tensor *tokens, struct tensor *table)
{
    if (tokens->grad)
        gemm(&(struct gemm){.m = h->t,
                            .n = op->d,
                            .k = op->buckets,
                            .a = op->products,
                            .b = table->value + table_at(op, h),
                            .c = tokens->grad + h->at,
                            .lda = op->buckets,
                            .ldb = h->stride,
                            .ldc = h->stride,
                            .accumulate = true});
    if (table->grad)
        gemm(&(struct gemm){.m = op->buckets,
                            .n = op->d,
                            .k = h->t,
                            .a = op->products,
                            .b = tokens->value + h->at,
                            .c = table->grad + table_at(op, h),
                            .lda = op->buckets,
                            .ldb = h->stride,
                            .ldc = h->stride,
                            .transpose_a = true,
                            .accumulate = true});
}

/* Element [row of the token in products, bucket of (i, j)]; `keys`: the token is j, else i. */
static float *product_of(const struct attention *op, size_t i, size_t j, bool keys)
{
    return op->products + (keys ? j : i) * op->buckets +
           (buckets_of(op, i)[j] - op->first_bucket);
}

static void add_products(const struct attention *op, const struct head *h, bool keys,
                         float *scores)
{
    const struct attention_terms *x = &op->terms;
    multiply(op, h, keys ? op->k : op->q, keys ? x->query_at : x->key_at);
    for (size_t i = 0; i < h->t; i++)
        for (size_t j = 0; j < h->t; j++)
            scores[i * h->t + j] += *product_of(op, i, j, keys);
}

static void products_back(const struct attention *op, const struct head *h, bool keys,
                          const float *scores)
{
    const struct attention_terms *x = &op->terms;
    memset(op->products, 0, h->t * op->buckets * sizeof *op->products);
    for (size_t i = 0; i < h->t; i++)
        for (size_t j = 0; j < h->t; j++)
            *product_of(op, i, j, keys) += scores[i * h->t + j];
    multiply_back(op, h, keys ? op->k : op->q, keys ? x->query_at : x->key_at);
}

void attention_terms_add(const struct attention *op, const struct head *h, float *scores)
{
    const struct attention_terms *x = &op->terms;
    if (x->bias)
        add_bias(op, h, scores);
    if (x->key_at)
        add_products(op, h, false, scores);
    if (x->query_at)
        add_products(op, h, true, scores);
    if (x->mask)
        x->mask(x->context, h->sequence, h->head, scores, h->t);
}

void attention_terms_back(const struct attention *op, const struct head *h, const float *scores)
{
    const struct attention_terms *x = &op->terms;
    if (x->bias && x->bias->grad)
        bias_back(op, h, scores);
    if (x->key_at)
        products_back(op, h, false, scores);
    if (x->query_at)
        products_back(op, h, true, scores);
}
