/* epochs.h: when each product was last invalidated. The epoch is part of a label's key, so that
 * raising it puts every label of the product out of reach, in every tier, without looking for
 * them; also labels that are being made at the moment, whose keys have been read already.
 *
 * A bounded table: when a million products have been invalidated, all products get a new epoch
 * at once, which is right, and costs the cache. Thread-safe. Proof: tests/test_label_cache.c.
 */
#ifndef CACHE_EPOCHS_H
#define CACHE_EPOCHS_H

#include "base/file.h"

#define EPOCHS_MAX (1u << 20)

struct epochs;                      /* opaque */
struct epochs *epochs_new(void);    /* NULL: memory */
void epochs_free(struct epochs *e); /* accepts NULL */

struct hash128 epochs_hash(struct str id);
/* Stands for all products in epochs_set. */
extern const struct hash128 epochs_everything;

uint64_t epochs_of(struct epochs *e, struct str id); /* 0: never raised */
/* An epoch that is above all before it. */
uint64_t epochs_next(struct epochs *e, int64_t now_ms);
/* What the disk or another server knows; the larger epoch wins. When the table is full or
 * memory is short, *everything says that the epoch was given to all products instead. */
void epochs_set(struct epochs *e, struct hash128 product, uint64_t epoch, bool *everything);
/* Calls visit for each, the lock held. */
void epochs_each(struct epochs *e, void (*visit)(void *, struct hash128, uint64_t),
                 void *context);

#endif
