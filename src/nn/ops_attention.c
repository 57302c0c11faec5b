/* ops_attention.c: softmax attention within each sequence of a ragged batch. Every head works
 * on a T x T block of scores at a time; training keeps the weights (T^2 floats per head and
 * sequence), inference only one block. */
#include "nn/attend.h"
#include "nn/attention.h"
#include "nn/gemm.h"
#include "nn/vec.h"

#include "base/pool.h"

#include <assert.h>
#include <math.h>
#include <string.h>

static void forward_head(const struct attention *op, const struct head *h, float *weights)
{
    gemm(&(struct gemm){.m = h->t,
                        .n = h->t,
                        .k = op->d,
                        .a = op->q->value + h->at,
                        .b = op->k->value + h->at,
                        .c = weights,
                        .lda = h->stride,
                        .ldb = h->stride,
                        .ldc = h->t,
                        .transpose_b = true});
    attention_terms_add(op, h, weights);
    for (size_t i = 0; i < h->t; i++)
        vec()->softmax(weights + i * h->t, h->t, op->scale);
    if (op->drops) {
        vec()->drop(op->block[0], weights, h->t * h->t, &op->mask, (uint32_t)h->weight_at,
                    false);
        weights = op->block[0];
    }
    gemm(&(struct gemm){.m = h->t,
                        .n = op->d,
                        .k = h->t,
                        .a = weights,
                        .b = op->v->value + h->at,
                        .c = op->y->value + h->at,
                        .lda = h->t,
                        .ldb = h->stride,
                        .ldc = h->stride});
}

/* c += op(block) b for one head; block is T x T. */
static void add_product(const struct attention *op, const struct head *h, const float *block,
                        bool transpose, const float *b, float *c)
{
    gemm(&(struct gemm){.m = h->t,
                        .n = op->d,
                        .k = h->t,
                        .a = block,
                        .b = b + h->at,
                        .c = c + h->at,
                        .lda = h->t,
                        .ldb = h->stride,
                        .ldc = h->stride,
                        .transpose_a = transpose,
                        .accumulate = true});
}

static void backward_head(const struct attention *op, const struct head *h)
{
    size_t n = h->t * h->t;
    const float *weights = op->weights + h->weight_at, *dropped = weights;
    float *dp = op->block[1];
    if (op->drops) {
        vec()->drop(op->block[0], weights, n, &op->mask, (uint32_t)h->weight_at, false);
        dropped = op->block[0];
    }
    if (op->v->grad)
        add_product(op, h, dropped, true, op->y->grad, op->v->grad);
    if (!op->q->grad && !op->k->grad && !attention_terms_need(op))
        return;
    gemm(&(struct gemm){.m = h->t,
                        .n = h->t,
                        .k = op->d,
                        .a = op->y->grad + h->at,
                        .b = op->v->value + h->at,
                        .c = dp,
                        .lda = h->stride,
                        .ldb = h->stride,
                        .ldc = h->t,
                        .transpose_b = true});
    if (op->drops)
        vec()->drop(dp, dp, n, &op->mask, (uint32_t)h->weight_at, false);
    for (size_t i = 0; i < h->t; i++)
        vec()->softmax_back(weights + i * h->t, dp + i * h->t, h->t, op->scale);
    if (op->q->grad)
        add_product(op, h, dp, false, op->k->value, op->q->grad);
    if (op->k->grad)
        add_product(op, h, dp, true, op->q->value, op->k->grad);
    attention_terms_back(op, h, dp);
}

/* Inference without terms: heads may spread over the pool. */
static void attend_heads(void *context, size_t begin, size_t end, unsigned worker)
{
    (void)worker;
    const struct attention *op = context;
    struct attend a = {.d = op->d, .stride = op->heads * op->d, .scale = op->scale};
    for (size_t h = begin; h < end; h++)
        for (size_t s = 0; s < op->sequences.n; s++) {
            size_t first = op->sequences.offsets[s], at = first * a.stride + h * op->d;
            a.t = op->sequences.offsets[s + 1] - first;
            a.q = op->q->value + at;
            a.k = op->k->value + at;
            a.v = op->v->value + at;
            a.y = op->y->value + at;
            if (a.t)
                attend(&a);
        }
}

static bool plain(const struct attention_terms *terms)
{
    return !terms->bias && !terms->key_at && !terms->query_at && !terms->mask;
}

/* Calls back for every head of every sequence; `forward` chooses which way. */
static void each_head(const struct attention *op, bool forward, bool keep)
{
    struct head h = {.stride = op->heads * op->d};
    for (size_t s = 0; s < op->sequences.n; s++) {
        size_t first = op->sequences.offsets[s];
        h.sequence = s;
        h.t = op->sequences.offsets[s + 1] - first;
        for (size_t i = 0; h.t && i < op->heads; i++) {
            h.head = i;
            h.at = first * h.stride + i * op->d;
            if (forward)
                forward_head(op, &h, op->weights + (keep ? h.weight_at : 0));
            else
                backward_head(op, &h);
            h.weight_at += h.t * h.t;
        }
    }
}

static void attention_back(struct tape *t, void *context)
{
    (void)t;
    each_head(context, false, true);
}

/* Memory for the blocks of one call; false when the tape has failed. */
static bool attention_buffers(struct tape *t, struct attention *op, bool needs)
{
    size_t longest = 0, total = 0;
    for (size_t s = 0; s < op->sequences.n; s++) {
        size_t rows = op->sequences.offsets[s + 1] - op->sequences.offsets[s];
        longest = rows > longest ? rows : longest;
        total += rows * rows * op->heads;
    }
    attention_terms_buffers(t, op, longest);
    op->weights = tape_alloc(t, needs ? total : longest * longest, sizeof *op->weights);
    if (op->drops)
        op->block[0] = tape_alloc(t, longest * longest, sizeof **op->block);
    if (needs)
        op->block[1] = tape_alloc(t, longest * longest, sizeof **op->block);
    return !t->failed;
}

static void check_shapes(const struct attention *op, size_t heads)
{
    (void)op; /* without assertions */
    (void)heads;
    assert(op->q->cols % heads == 0 && op->k->cols == op->q->cols &&
           op->v->cols == op->q->cols);
    assert(op->k->rows == op->q->rows && op->v->rows == op->q->rows);
    assert(op->sequences.n == 0 || op->sequences.offsets[op->sequences.n] == op->q->rows);
}

struct tensor *op_attention(struct tape *t, struct tensor *q, struct tensor *k,
                            struct tensor *v, struct ragged sequences, unsigned heads,
                            float dropout)
{
    return op_attention_with(t, q, k, v, sequences, heads, dropout,
                             &(struct attention_terms){0});
}

struct tensor *op_attention_with(struct tape *t, struct tensor *q, struct tensor *k,
                                 struct tensor *v, struct ragged sequences, unsigned heads,
                                 float dropout, const struct attention_terms *terms)
{
    if (!q || !k || !v || t->failed)
        return NULL;
    struct attention *op = tape_alloc(t, 1, sizeof *op);
    uint32_t *offsets = tape_alloc(t, sequences.n + 1, sizeof *offsets);
    if (!op || !offsets)
        return NULL;
    memcpy(offsets, sequences.offsets, (sequences.n + 1) * sizeof *offsets);
    *op = (struct attention){.q = q, .k = k, .v = v, .heads = heads, .terms = *terms};
    op->sequences = (struct ragged){offsets, sequences.n};
    op->d = q->cols / heads;
    op->scale = terms->scale > 0 ? terms->scale : 1 / sqrtf((float)op->d);
    op->drops = t->training && dropout > 0;
    op->mask = drop_mask_of(t->seed, t->op_count++, dropout);
    check_shapes(op, heads);
    bool needs = tape_needs(t, q, k) || tape_needs(t, v, NULL) ||
                 (t->training && attention_terms_need(op));
    op->y = tape_tensor(t, q->rows, q->cols, needs);
    if (op->y && !t->training && plain(terms)) {
        if (t->spread)
            parallel_for(heads, 1, attend_heads, op);
        else
            attend_heads(op, 0, heads, 0);
        return op->y;
    }
    if (!op->y || !attention_buffers(t, op, needs))
        return NULL;
    each_head(op, true, needs);
    if (needs)
        tape_record(t, attention_back, op);
    return t->failed ? NULL : op->y;
}
