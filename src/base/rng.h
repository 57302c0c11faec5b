/* rng.h: seeded, portable random numbers (PCG64-DXSM; O'Neill 2014). A (seed, stream) pair
 * always gives the same sequence; give every parallel task a stream of its own. */
#ifndef BASE_RNG_H
#define BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

struct rng {
    uint64_t state[2];
    uint64_t increment[2];
};

void rng_init(struct rng *r, uint64_t seed, uint64_t stream);
uint64_t rng_u64(struct rng *r);
uint32_t rng_below(struct rng *r,
                   uint32_t bound); /* uniform in [0, bound), unbiased; bound > 0 */
double rng_uniform(struct rng *r);  /* [0, 1) with 53 bits */
double rng_normal(struct rng *r);   /* mean 0, variance 1 */
void rng_shuffle_u32(struct rng *r, uint32_t *values, size_t n); /* Fisher-Yates */

/* A stateless 64-bit mix of (seed, a, b), for per-element decisions that must not depend on
 * order (dropout masks, fold assignment). */
uint64_t mix64(uint64_t seed, uint64_t a, uint64_t b);

#endif
