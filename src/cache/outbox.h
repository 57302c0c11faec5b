/* outbox.h: labels on their way to a tier that must not be waited for: a queue bounded in bytes
 * between the threads that answer and the one that writes. Proof: tests/test_disk.c. */
#ifndef CACHE_OUTBOX_H
#define CACHE_OUTBOX_H

#include "cache/label_table.h"

struct outbox_item {
    struct outbox_item *next;
    uint64_t bundle;
    struct hash128 hash;
    int64_t stored_ms;
    size_t n;
    char record[]; /* [n] label_record */
};

struct outbox;                           /* opaque */
struct outbox *outbox_new(size_t bytes); /* NULL: memory */
void outbox_free(struct outbox *o);      /* with what is in it; accepts NULL */

/* False: no room, no memory, or a key too long for a record: the label is lost to the tier. */
bool outbox_add(struct outbox *o, uint64_t bundle, const struct label_key *key,
                const struct label *label, size_t n_classes);
/* The writer's side. Waits until `enough` bytes are there, or outbox_hurry, or wait_ms have
 * passed; returns all that is there, oldest first, to be freed one by one with mem_free. */
struct outbox_item *outbox_take(struct outbox *o, size_t enough, unsigned wait_ms);
void outbox_hurry(struct outbox *o); /* the next take returns at once */
size_t outbox_waiting(struct outbox *o);

#endif
