/* admission.c: a table of fingerprints in sets of four; see admission.h. */
#include "cache/admission.h"

#include "base/memory.h"

#include <stdatomic.h>

#define WAYS 4 /* with one, 600 pairs among 8,192 slots push each other out in 7% of cases */
#define LEAST_SLOTS (1u << 12)
#define MOST_SLOTS (1u << 22) /* 16 MiB */

struct admission {
    size_t mask;
    _Atomic uint32_t slots[]; /* 0: empty */
};

/* Two slots an entry: a pair is then forgotten when about twice as many others have come as the
 * tier can hold. */
struct admission *admission_new(size_t entries)
{
    size_t n = LEAST_SLOTS;
    while (n < MOST_SLOTS && n / 2 < entries)
        n *= 2;
    struct admission *a = mem_zalloc(1, sizeof *a + n * sizeof a->slots[0]);
    if (a)
        a->mask = n - 1;
    return a;
}

void admission_free(struct admission *a)
{
    mem_free(a);
}

bool admission_ask(struct admission *a, struct hash128 key)
{
    uint32_t print = (uint32_t)(key.high >> 32) | 1;
    _Atomic uint32_t *set = &a->slots[(key.low & a->mask) & ~(size_t)(WAYS - 1)];
    _Atomic uint32_t *take = &set[key.high & (WAYS - 1)];
    for (size_t way = WAYS; way-- > 0;) {
        uint32_t there = atomic_load_explicit(&set[way], memory_order_relaxed);
        if (there == print)
            return true;
        if (there == 0)
            take = &set[way];
    }
    atomic_store_explicit(take, print, memory_order_relaxed);
    return false;
}
