/* gemm.h: float32 matrix products, packed and dispatched by instruction set. Single-threaded: the
 * caller owns parallelism (lanes, or rows split over the pool by gemm_parallel). */
#ifndef NN_GEMM_H
#define NN_GEMM_H

#include <stdbool.h>
#include <stddef.h>

/* C[m,n] = (accumulate ? C : bias or 0) + op(A) op(B), row-major with leading dimensions (floats per
 * row). transpose_a: A is stored [k,m]; transpose_b: B is stored [n,k]. C overlaps neither.
 * The bits of a row of C depend on that row of A, on B and on the kernel, never on m: a text's score
 * does not change with the batch it came in. */
struct gemm {
    size_t m, n, k;
    const float *a, *b;
    float *c;
    size_t lda, ldb, ldc;
    bool transpose_a, transpose_b, accumulate;
    const float *bias; /* [n] what every row starts from; NULL: 0; unused when accumulating */
};
void gemm(const struct gemm *g);
void gemm_parallel(const struct gemm *g); /* the same result, rows of C over the pool */

/* The table of kernels, slowest first; row 0 is the definition. */
struct gemm_impl {
    const char *name;
    void (*run)(const struct gemm *g);
    bool (*usable)(void);
};
extern const struct gemm_impl gemm_impls[];

#endif
