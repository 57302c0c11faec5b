/* admission.h: has this pair been asked for lately? A lossy set of fingerprints that lets the
 * lower tiers take only what is asked for twice, so that a crawler's once-asked pairs do not
 * push out what customers ask. A slot holds the last pair that fell into it. Lock-free.
 *
 * Measured (bench/bench_cache.c, section admission of docs/performance.md): on a Zipf stream
 * with a crawler's scans. */
#ifndef CACHE_ADMISSION_H
#define CACHE_ADMISSION_H

#include "base/file.h"

struct admission;                                /* opaque */
struct admission *admission_new(size_t entries); /* of the tier that it guards; NULL: memory */
void admission_free(struct admission *a);        /* accepts NULL */
/* Whether it was asked for before; from now on it was. */
bool admission_ask(struct admission *a, struct hash128 key);

#endif
