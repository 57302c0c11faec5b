/* gemm8.h: products of float32 activations with int8 weights.
 *
 * Rows are cut along k into blocks of GEMM8_BLOCK, each with a scale of its own, so that a few
 * large numbers cost precision only near them: with one scale for a row, the error of a
 * fine-tuned MiniLM's logits is twice as large. A weight is scale q with q in -127..127; an
 * activation is rounded when it is used, x = scale (q - zero) with q in 0..255, so that
 * lopsided rows, such as those after GELU, lose no range. Sums over a block are exact: all
 * kernels give the same numbers, and a row of the result depends on its own row alone. */
#ifndef NN_GEMM8_H
#define NN_GEMM8_H

#include "nn/activation.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { GEMM8_BLOCK = 128 };
static inline size_t gemm8_blocks(size_t k)
{
    return (k + GEMM8_BLOCK - 1) / GEMM8_BLOCK;
}

/* A weight [n,k] as the kernel chosen on this machine reads it. */
struct gemm8_weight {
    size_t n, k;
    size_t padded; /* n rounded up */
    float *scale;  /* [blocks, padded] */
    int32_t *sum;  /* [blocks, padded] of the block's q: what a zero point of 1 adds */
    void *packed;
    size_t packed_bytes;
};

/* Activations [m,k]; rows are `stride` bytes apart. */
struct gemm8_rows {
    size_t m, k, stride;
    uint8_t *q;    /* [m * stride] each in one byte or two, as the kernel likes */
    float *scale;  /* [blocks, m] */
    int32_t *zero; /* [blocks, m] */
};
size_t gemm8_stride(size_t k); /* bytes */

/* y[m,n] = act(x w^T + bias); bias may be NULL. */
struct gemm8 {
    const struct gemm8_rows *x;
    const struct gemm8_weight *w;
    const float *bias; /* [n] */
    enum activation act;
    float *y;
    size_t ldy;
    size_t first, last; /* columns of y to compute, n for all; first is a multiple of 64 */
};

/* The table of kernels, slowest first; row 0 is the definition. */
struct gemm8_impl {
    const char *name;
    bool (*usable)(void);
    size_t q_bytes; /* of an activation */
    size_t (*packed_bytes)(size_t n, size_t k);
    void (*pack)(const int8_t *q, size_t n, size_t k, void *packed); /* q[n,k] */
    void (*quantise)(const float *x, size_t ldx, const struct gemm8_rows *rows);
    void (*run)(const struct gemm8 *g);
};
extern const struct gemm8_impl *const gemm8_impls[]; /* NULL at the end */

/* NULL when out of memory. */
struct gemm8_weight *gemm8_weight_new(const float *w, size_t n, size_t k);
struct gemm8_weight *gemm8_weight_for(const struct gemm8_impl *impl, const float *w, size_t n,
                                      size_t k);
size_t gemm8_stride_for(const struct gemm8_impl *impl, size_t k);
void gemm8_weight_free(struct gemm8_weight *w);
size_t gemm8_weight_bytes(const struct gemm8_weight *w);

void gemm8_quantise(const float *x, size_t ldx, const struct gemm8_rows *rows);
void gemm8(const struct gemm8 *g);
void gemm8_parallel(const struct gemm8 *g); /* all columns, over the pool */

#endif
