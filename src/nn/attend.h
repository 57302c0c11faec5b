/* attend.h: softmax attention of one head of one sequence, without weights kept: inference. */
#ifndef NN_ATTEND_H
#define NN_ATTEND_H

#include <stdbool.h>
#include <stddef.h>

/* y = softmax(scale q k^T) v; q, k, v, y are [t,d], rows `stride` floats apart. A row of y has
 * the same bits in every call with the same q row, k and v. */
struct attend {
    size_t t, d, stride;
    const float *q, *k, *v;
    float *y;
    float scale;
};
void attend(const struct attend *a);

/* The table of kernels, slowest first; row 0 is the definition. */
struct attend_impl {
    const char *name;
    bool (*usable)(void);
    size_t unit; /* d must be a multiple of it, or the row before does the work */
    void (*run)(const struct attend *a);
};
extern const struct attend_impl attend_impls[]; /* name NULL at the end */

void attend_ref(const struct attend *a);
#if defined(__x86_64__)
void attend_avx2(const struct attend *a);
void attend_avx512(const struct attend *a);
#endif

#endif
