/* admission.c: a direct-mapped table of fingerprints; see admission.h. */
#include "cache/admission.h"

#include "base/memory.h"

#include <stdatomic.h>

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
    return atomic_exchange_explicit(&a->slots[key.low & a->mask], print,
                                    memory_order_relaxed) == print;
}
