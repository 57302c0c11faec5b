/* label_disk.h: remembered labels on disk, in LMDB: they survive the end of the process, by
 * kill -9 too, and are there when the next one begins.
 *
 * Two generations bound the size: labels are written to the younger; when that is full, the
 * older is emptied and the two change places. What is asked for in the older generation is
 * written again, so what is in demand stays (a clock with two hands). Everything that goes
 * wrong (a full disk, a damaged value) is a miss, counted, and told once: serving goes on.
 *
 * Lookups may come from any thread; write from one at a time. Several servers may share a
 * folder. Proof: tests/test_cache_levels.c. */
#ifndef CACHE_LABEL_DISK_H
#define CACHE_LABEL_DISK_H

#include "cache/label_value.h"

struct label_disk; /* opaque */

struct label_disk_stats {
    uint64_t hits, misses, damaged;
    uint64_t written, write_errors, turns; /* turns: a generation was dropped */
    uint64_t entries, bytes;               /* now, both generations */
};

/* A label on its way to disk and beyond. */
struct label_record {
    struct hash128 hash;
    size_t at, n; /* its value, in the batch's bytes */
};
struct label_batch {
    struct strbuf bytes; /* values as of label_value.h */
    struct label_record *records;
    size_t n, capacity;
};

/* Makes the folder; at most `bytes` of it (at least 1 MiB). Errors: EIO, ENOMEM. */
medley_status label_disk_open(const char *folder, size_t bytes, struct label_disk **out,
                              medley_error *err);
void label_disk_close(struct label_disk *d); /* accepts NULL */

/* Fills results[i] and stored_ms[i] (ms since 1970) of those keys of [0, n) whose found[i] is
 * 0, and sets it. again: what should be written once more is appended, or NULL. */
void label_disk_get(struct label_disk *d, const struct label_key *keys, size_t n,
                    size_t n_classes, bool *found, medley_result *results, int64_t *stored_ms,
                    struct label_batch *again);
/* False when nothing was written. */
bool label_disk_write(struct label_disk *d, const struct label_batch *batch);
struct label_disk_stats label_disk_stats(struct label_disk *d);
medley_status label_disk_clear(struct label_disk *d, medley_error *err);

void label_batch_add(struct label_batch *b, const struct label_key *key,
                     const medley_result *value, size_t n_classes, int64_t stored_ms);
void label_batch_copy(struct label_batch *b, struct hash128 hash, struct str value);
void label_batch_clear(struct label_batch *b);
void label_batch_deinit(struct label_batch *b);

#endif
