/* vec.c: which row of loops runs on this machine. */
#include "nn/vec.h"

#include "base/rng.h"

#include <stdatomic.h>

const struct vec_impl *const vec_impls[] = {
    &vec_ref,
#if defined(__x86_64__)
    &vec_avx2,
    &vec_avx512,
#endif
    NULL,
};

const struct vec_impl *vec(void)
{
    /* Racing threads find the same row, so the race is harmless. */
    static _Atomic(const struct vec_impl *) chosen;
    const struct vec_impl *best = atomic_load_explicit(&chosen, memory_order_relaxed);
    if (best)
        return best;
    for (size_t i = 0; vec_impls[i]; i++)
        if (vec_impls[i]->usable())
            best = vec_impls[i];
    atomic_store_explicit(&chosen, best, memory_order_relaxed);
    return best;
}

struct drop_mask drop_mask_of(uint64_t seed, uint64_t op, float rate)
{
    uint64_t key = mix64(seed, op, 0);
    return (struct drop_mask){.key = {(uint32_t)key, (uint32_t)(key >> 32)},
                              .threshold = (uint32_t)((double)rate * 2147483648.0),
                              .scale = 1 / (1 - rate)};
}
