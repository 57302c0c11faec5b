/* label_table.h: the cache's first tier: labels in memory, bounded by entries and bytes.
 *
 * Up to 64 shards, each with a mutex of its own; inside a shard S3-FIFO decides what to forget
 * (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023): new entries
 * enter a small queue that holds a tenth; those asked for again before they reach its end move
 * to the main queue, the others leave and only a fingerprint of their key stays, by which a
 * prompt return is recognised and put into the main queue. Chosen over LRU because a hit only
 * sets a counter (no list surgery under the lock), and over CLOCK because the long tail of
 * queries that are asked once must not push out the head; tests/test_label_table.c shows that
 * it does not.
 *
 * All functions except new and free may be called from any thread. Proof:
 * tests/test_label_table.c.
 */
#ifndef CACHE_LABEL_TABLE_H
#define CACHE_LABEL_TABLE_H

#include "cache/label_key.h"

struct label_table; /* opaque */

struct label_table_options {
    size_t entries;   /* at most so many; 0: [100,000] */
    size_t bytes;     /* keys, values and bookkeeping; 0: [64 MiB] */
    int64_t ttl_ms;   /* older entries are not returned; 0: no limit */
    size_t n_classes; /* probabilities and margins kept per entry, 1..MEDLEY_MAX_CLASSES */
};

struct label_table_stats {
    size_t entries, bytes;     /* now */
    uint64_t evicted, expired; /* since the start */
};

struct label_table *label_table_new(
    const struct label_table_options *options); /* NULL: memory */
void label_table_free(struct label_table *c);   /* accepts NULL */

/* What is remembered of a pair. */
struct label {
    medley_result *result; /* the caller's; of its fields those that a label_record has */
    int64_t stored_ms;     /* when it was judged */
    unsigned kept;         /* bit t: tier t (tier.h) has taken it */
};

/* Times are milliseconds of any clock. get writes *out on a hit only. put replaces;
 * when memory is short, or the entry alone would fill a shard, it forgets the pair instead. */
bool label_table_get(struct label_table *c, const struct label_key *key, int64_t now_ms,
                     struct label *out);
void label_table_put(struct label_table *c, const struct label_key *key,
                     const struct label *value);
/* Adds bits to `kept` of the label, if it is there still. */
void label_table_mark(struct label_table *c, const struct label_key *key, unsigned kept);
void label_table_clear(struct label_table *c);
struct label_table_stats label_table_stats(struct label_table *c);

#endif
