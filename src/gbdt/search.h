/* search.h: how many of a feature's thresholds a value exceeds: 16 compared at a time, level by
 * level (conditions.h says how they lie). 0 for NaN. */
#ifndef GBDT_SEARCH_H
#define GBDT_SEARCH_H

#include "gbdt/conditions.h"

#if defined(__x86_64__)
#include <immintrin.h>

__attribute__((target("avx2,popcnt"), always_inline)) static inline size_t search_avx2(
    const struct conditions *c, const struct condition_feature *f, float v)
{
    __m256 x = _mm256_set1_ps(v);
    size_t at = 0;
    for (unsigned l = 0; l < f->levels; l++) {
        const float *keys = c->keys + f->level[l] + 16 * at;
        __m256 low = _mm256_cmp_ps(x, _mm256_load_ps(keys), _CMP_GT_OQ);
        __m256 high = _mm256_cmp_ps(x, _mm256_load_ps(keys + 8), _CMP_GT_OQ);
        unsigned m = (unsigned)_mm256_movemask_ps(low) | (unsigned)_mm256_movemask_ps(high)
                                                             << 8;
        at = 16 * at + (size_t)__builtin_popcount(m);
    }
    return at;
}

__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,popcnt"),
               always_inline)) static inline size_t
search_avx512(const struct conditions *c, const struct condition_feature *f, float v)
{
    __m512 x = _mm512_set1_ps(v);
    size_t at = 0;
    for (unsigned l = 0; l < f->levels; l++) {
        __m512 keys = _mm512_load_ps(c->keys + f->level[l] + 16 * at);
        at = 16 * at + (size_t)__builtin_popcount(_mm512_cmp_ps_mask(x, keys, _CMP_GT_OQ));
    }
    return at;
}

#endif
#endif
