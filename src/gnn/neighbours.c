/* neighbours.c: see neighbours.h. Blocks of asked rows against blocks of stored rows are matrix
 * products; each row of a product is then sifted into that row's best k. Proof:
 * tests/test_neighbours.c. */
#include "gnn/neighbours.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/pool.h"
#include "base/progress.h"
#include "nn/gemm.h"

#include <math.h>
#include <string.h>

/* 64 x 512 products are 128 KiB, and 512 rows of 384 floats 768 KiB: both stay in a second
 * level cache of 1 MiB. */
enum { ASKED_BLOCK = 64, ROWS_BLOCK = 512 };

struct search {
    const struct neighbour_search *s;
    const float *scale, *asked_scale; /* 1 / length, 0 of a zero row */
    uint32_t *id;
    float *cosine;
    float *products; /* [threads, ASKED_BLOCK * ROWS_BLOCK] */
    size_t first;    /* block of this round */
};

static float inverse_length(const float *row, size_t width)
{
    double sum = 0;
    for (size_t i = 0; i < width; i++)
        sum += (double)row[i] * (double)row[i];
    return sum > 0 ? (float)(1 / sqrt(sum)) : 0;
}

/* Keeps the k best of a row in order; j comes after all that are there, so that of equals the
 * earlier stays in front. */
static void insert(uint32_t *id, float *cosine, unsigned k, uint32_t j, float value)
{
    unsigned at = k - 1;
    for (; at > 0 && cosine[at - 1] < value; at--) {
        cosine[at] = cosine[at - 1];
        id[at] = id[at - 1];
    }
    cosine[at] = value;
    id[at] = j;
}

static void sift_row(const struct search *x, size_t asked, size_t begin, size_t n,
                     const float *products)
{
    const struct neighbour_search *s = x->s;
    uint32_t *id = x->id + asked * s->k;
    float *cosine = x->cosine + asked * s->k;
    float own = x->asked_scale[asked];
    for (size_t j = 0; j < n; j++) {
        float value = products[j] * own * x->scale[begin + j];
        if (!(value > cosine[s->k - 1]) || (s->self && begin + j == asked))
            continue;
        if (s->group && s->group[begin + j] != s->asked_group[asked])
            continue;
        insert(id, cosine, s->k, (uint32_t)(begin + j), value);
    }
}

static void search_block(const struct search *x, size_t block, float *products)
{
    const struct neighbour_search *s = x->s;
    size_t from = block * ASKED_BLOCK;
    size_t m = s->n_asked - from < ASKED_BLOCK ? s->n_asked - from : ASKED_BLOCK;
    for (size_t begin = 0; begin < s->n_rows; begin += ROWS_BLOCK) {
        size_t n = s->n_rows - begin < ROWS_BLOCK ? s->n_rows - begin : ROWS_BLOCK;
        gemm(&(struct gemm){.m = m,
                            .n = n,
                            .k = s->width,
                            .a = s->asked + from * s->width,
                            .b = s->rows + begin * s->width,
                            .c = products,
                            .lda = s->width,
                            .ldb = s->width,
                            .ldc = n,
                            .transpose_b = true});
        for (size_t i = 0; i < m; i++)
            sift_row(x, from + i, begin, n, products + i * n);
    }
}

static void search_blocks(void *context, size_t begin, size_t end, unsigned worker)
{
    const struct search *x = context;
    float *products = x->products + (size_t)worker * ASKED_BLOCK * ROWS_BLOCK;
    for (size_t b = begin; b < end; b++)
        search_block(x, x->first + b, products);
}

static medley_status search_all(struct search *x, medley_error *err)
{
    size_t blocks = (x->s->n_asked + ASKED_BLOCK - 1) / ASKED_BLOCK, round = 64;
    bool told = blocks > round;
    for (; x->first < blocks; x->first += round) {
        if (interrupted())
            return fail(err, MEDLEY_EINTERRUPTED, "interrupted while looking for neighbours");
        size_t n = blocks - x->first < round ? blocks - x->first : round;
        parallel_for(n, 1, search_blocks, x);
        if (told)
            progress_step("text neighbours", x->first + n, blocks, "blocks");
    }
    if (told)
        progress_end("text neighbours");
    return MEDLEY_OK;
}

medley_status neighbours_find(const struct neighbour_search *s, uint32_t *id, float *cosine,
                              medley_error *err)
{
    if (s->k == 0 || s->width == 0 || s->n_rows >= UINT32_MAX)
        return fail(err, MEDLEY_EINVAL, "no %u nearest of %zu rows of %zu numbers", s->k,
                    s->n_rows, s->width);
    float *scale = mem_alloc(s->n_rows + s->n_asked + 1, sizeof *scale);
    float *products =
        mem_alloc(pool_threads(), sizeof *products * ASKED_BLOCK * (size_t)ROWS_BLOCK);
    medley_status st = scale && products ? MEDLEY_OK : fail_memory(err, "text neighbours");
    if (st == MEDLEY_OK) {
        for (size_t i = 0; i < s->n_rows; i++)
            scale[i] = inverse_length(s->rows + i * s->width, s->width);
        for (size_t i = 0; i < s->n_asked; i++)
            scale[s->n_rows + i] = inverse_length(s->asked + i * s->width, s->width);
        for (size_t i = 0; i < s->n_asked * s->k; i++) {
            id[i] = UINT32_MAX;
            cosine[i] = 0;
        }
        struct search x = {s, scale, scale + s->n_rows, id, cosine, products, 0};
        st = search_all(&x, err);
    }
    mem_free(scale);
    mem_free(products);
    return st;
}
