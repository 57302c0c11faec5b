/* gemm.h: float32 matrix products, packed and dispatched by instruction set. Single-threaded:
 * the caller owns parallelism (lanes, or rows split over the pool by gemm_parallel). */
#ifndef NN_GEMM_H
#define NN_GEMM_H

#include "nn/activation.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* C[m,n] = act((accumulate ? C : bias or 0) + op(A) op(B)), row-major with leading dimensions
 * (floats per row). transpose_a: A is stored [k,m]; transpose_b: B is stored [n,k]. C overlaps
 * neither. The bits of a row of C depend on that row of A, on B and on the kernel, never on m:
 * a text's score does not change with the batch it came in. */
struct gemm {
    size_t m, n, k;
    const float *a, *b;
    float *c;
    size_t lda, ldb, ldc;
    bool transpose_a, transpose_b, accumulate;
    const float *bias; /* [n] what every row starts from; NULL: 0; unused when accumulating */
    /* B as gemm_pack left it: b, ldb and transpose_b are not looked at. The bits of C are those
     * of the unpacked product. NULL: B is packed anew in every call. */
    const float *packed;
    const uint16_t *packed_half; /* the same in bfloat16 */
    enum activation act;
};
void gemm(const struct gemm *g);
void gemm_parallel(const struct gemm *g); /* the same result, parts of C over the pool */

/* B, stored [n,k] without slack, in the order in which the kernel chosen on this machine reads
 * it: weights are packed once for many products. Floats that it takes, and doing it. */
size_t gemm_packed_size(size_t n, size_t k);
void gemm_pack(const float *b, size_t n, size_t k, float *packed);
/* Rounded to bfloat16, nearest even. */
void gemm_halve(const float *packed, size_t size, uint16_t *half);

/* The table of kernels, slowest first; row 0 is the definition. */
struct gemm_impl {
    const char *name;
    void (*run)(const struct gemm *g);
    bool (*usable)(void);
    size_t (*packed_size)(size_t n, size_t k);
    void (*pack)(const float *b, size_t n, size_t k, float *packed);
};
extern const struct gemm_impl gemm_impls[];

#endif
