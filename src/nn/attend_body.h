/* attend_body.h: attention of one head in blocks of MR queries, included by gemm_avx2.c and
 * gemm_avx512.c after gemm_body.h, whose tiles it uses; they define ATTEND, the name made here.
 *
 * The scores of a block of queries stay in the first-level cache from q k^T over the
 * exponential to the product with v; rows are divided by their sums at the end, as y is
 * narrower than the scores. */
#include "nn/attend.h"

/* Keys transposed: panels [d][NR]. */
static void pack_keys(const struct attend *a, float *packed)
{
    for (size_t j = 0; j < a->t; j += NR)
        pack_transposed(a->k + j * a->stride, a->stride, a->t - j < NR ? a->t - j : NR, a->d,
                        packed + j * a->d);
}

TARGET static void divide_rows(float *y, size_t rows, size_t d, size_t stride,
                               const float *inverse)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < d; c += VL)
            STORE(y + r * stride + c, LOAD(y + r * stride + c) * SET1(inverse[r]));
}

static void attend_rows(const struct attend *a, size_t first, size_t size, const float *keys,
                        float *scores, size_t width)
{
    size_t rows = tiles[size].rows;
    float inverse[MR];
    struct tile t = {.k = a->d, .a_row = a->stride, .b_row = NR, .c_row = width};
    t.a = a->q + first * a->stride;
    t.init = zeros;
    for (size_t j = 0; j < a->t; j += NR) {
        t.b = keys + j * a->d;
        t.c = scores + j;
        tiles[size].run[DIRECT](&t);
    }
    vec()->exp_rows(scores, rows, a->t, width, a->scale, inverse);
    t = (struct tile){.k = a->t, .a = scores, .a_row = width, .b_row = a->stride};
    t.init = zeros;
    t.c_row = a->stride;
    for (size_t c = 0; c < a->d; c += NR) {
        t.b = a->v + c;
        t.c = a->y + first * a->stride + c;
        tiles[size].run[DIRECT](&t);
    }
    divide_rows(a->y + first * a->stride, rows, a->d, a->stride, inverse);
}

void ATTEND(const struct attend *a)
{
    size_t width = round_up(a->t, NR), size = 0;
    float *scratch = gemm_scratch(width * (a->d + MR));
    if (!scratch) { /* out of memory: slower, but right */
        attend_ref(a);
        return;
    }
    pack_keys(a, scratch);
    for (size_t i = 0; i < a->t; i += tiles[size].rows) {
        while (tiles[size].rows > a->t - i)
            size++;
        attend_rows(a, i, size, scratch, scratch + width * a->d, width);
    }
}
