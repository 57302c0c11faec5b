/* disk.h: the cache's second tier: labels in an LMDB file, which survives the process however
 * it ends (kill -9 loses what was judged in the last tenth of a second, a power cut perhaps the
 * last batch; neither damages the file).
 *
 * Four generations, a database each: labels are written into the newest; when that has its
 * share of the bytes, the oldest is dropped whole and becomes the newest. A label that is asked
 * for in the oldest is written anew, so that what is used stays. Chosen over deleting entry by
 * entry, which would need an index by age and touch a page for each.
 *
 * Reads are one LMDB read transaction a list, which waits for no writer. Writes are batches by
 * one thread, sorted by key; a batch that fails (file full, disk full, no permission) is
 * dropped and counted.
 *
 * One process at a time writes a folder. What is in it is trusted as far as LMDB's own pages
 * go, so the folder is made for its owner only; the records are checked (label_record.h).
 * Proof: tests/test_disk.c. */
#ifndef CACHE_DISK_H
#define CACHE_DISK_H

#include "cache/epochs.h"
#include "cache/label_cache.h"

struct disk; /* opaque */

struct disk_options {
    const char *folder; /* borrowed */
    size_t bytes;       /* of the file, at most; at least DISK_LEAST_BYTES */
    size_t n_classes;
    int64_t ttl_ms; /* 0: no limit */
    void (*warn)(void *context, const char *text);
    void *warn_context;
};
#define DISK_LEAST_BYTES ((size_t)1 << 20)

/* Fills `epochs` with those of the folder. A file that is no LMDB file, or shorter than it
 * should be, is replaced by a new one (and warned of). Errors: EIO (folder, permission, another
 * process uses it), ENOMEM. */
medley_status disk_open(const struct disk_options *o, struct epochs *epochs, struct disk **out,
                        medley_error *err);
void disk_close(struct disk *d); /* writes what waits; accepts NULL */

/* Looks up those that are not found yet; how many it found. */
size_t disk_find(struct disk *d, const struct label_list *list, const struct label_search *s);
/* False: it is not taken, for want of room. */
bool disk_offer(struct disk *d, uint64_t bundle, const struct label_key *key,
                const struct label *label);
/* Returns when they are on the disk. */
medley_status disk_write_epochs(struct disk *d, const struct hash128 *products, size_t n,
                                uint64_t epoch, medley_error *err);
/* In the background. */
void disk_keep_bundles(struct disk *d, const char *const *bundles, size_t n);
void disk_clear(struct disk *d);
/* Waits until what was offered before is written or given up. */
void disk_flush(struct disk *d);
void disk_stats(struct disk *d, struct tier_stats *out);

/* What is in a folder, whoever writes to it meanwhile; nothing is changed. */
medley_status disk_inspect(const char *folder, struct tier_stats *out, medley_error *err);

#endif
