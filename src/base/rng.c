/* rng.c: PCG64-DXSM, the generator numpy calls PCG64DXSM; the stream picks the increment.
 * Proof: tests/test_base.c (numpy's own output for a given state; moments; bounds). */
#include "base/rng.h"

#include <math.h>

typedef unsigned __int128 u128;

#define MULTIPLIER 0xda942042e4dd58b5u

static u128 join(const uint64_t half[2])
{
    return (u128)half[1] << 64 | half[0];
}

static void store(uint64_t half[2], u128 v)
{
    half[0] = (uint64_t)v;
    half[1] = (uint64_t)(v >> 64);
}

/* SplitMix64's finaliser: every input bit reaches every output bit. */
static uint64_t mix(uint64_t z)
{
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

uint64_t mix64(uint64_t seed, uint64_t a, uint64_t b)
{
    uint64_t h = mix(seed + 0x9e3779b97f4a7c15u);
    h = mix(h ^ (a + 0xd1b54a32d192ed03u));
    return mix(h ^ (b * 0x9e3779b97f4a7c15u + 0x8cb92ba72f3d8dd7u));
}

void rng_init(struct rng *r, uint64_t seed, uint64_t stream)
{
    r->state[0] = mix64(seed, stream, 0);
    r->state[1] = mix64(seed, stream, 1);
    r->increment[0] = mix64(seed, stream, 2) | 1; /* odd: full period */
    r->increment[1] = mix64(seed, stream, 3);
}

uint64_t rng_u64(struct rng *r)
{
    u128 state = join(r->state);
    uint64_t high = (uint64_t)(state >> 64), low = (uint64_t)state | 1;
    store(r->state, state * MULTIPLIER + join(r->increment));
    high ^= high >> 32;
    high *= MULTIPLIER;
    high ^= high >> 48;
    return high * low;
}

/* Lemire 2019: one multiplication, a division only when the draw may be biased. */
uint32_t rng_below(struct rng *r, uint32_t bound)
{
    uint64_t product = (rng_u64(r) >> 32) * bound;
    if ((uint32_t)product < bound) {
        uint32_t threshold = (0u - bound) % bound;
        while ((uint32_t)product < threshold)
            product = (rng_u64(r) >> 32) * bound;
    }
    return (uint32_t)(product >> 32);
}

double rng_uniform(struct rng *r)
{
    return (double)(rng_u64(r) >> 11) * 0x1p-53;
}

/* Box and Muller 1958; the sine half is thrown away, so that no state hides outside struct rng.
 */
double rng_normal(struct rng *r)
{
    double radius = sqrt(-2 * log(1 - rng_uniform(r)));
    return radius * cos(6.283185307179586476925 * rng_uniform(r));
}

void rng_shuffle_u32(struct rng *r, uint32_t *values, size_t n)
{
    for (size_t i = n; i > 1; i--) {
        /* Arrays beyond 2^32 values do not occur: ids are uint32. */
        size_t j = rng_below(r, (uint32_t)i);
        uint32_t t = values[i - 1];
        values[i - 1] = values[j];
        values[j] = t;
    }
}
