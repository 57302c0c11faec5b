/* label_cache.h: remembers the labels of judged pairs in memory, bounded by entries and bytes.
 *
 * What an answer means: the ensemble looks at a product together with the other candidates of
 * its list, so a remembered label is that of the list in which the pair was last judged.
 *
 * Up to 64 shards, each with a mutex of its own; inside a shard S3-FIFO decides what to forget
 * (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023): new entries
 * enter a small queue that holds a tenth; those asked for again before they reach its end move
 * to the main queue, the others leave and only a fingerprint of their key stays, by which a
 * prompt return is recognised and put into the main queue. Chosen over LRU because a hit only
 * sets a counter (no list surgery under the lock), and over CLOCK because the long tail of
 * queries that are asked once must not push out the head; tests/test_cache.c shows that it does
 * not.
 *
 * All functions except new and free may be called from any thread. Proof: tests/test_cache.c.
 */
#ifndef CACHE_LABEL_CACHE_H
#define CACHE_LABEL_CACHE_H

#include "base/file.h"
#include "medley/bundle.h"

/* A key in two parts, so that the pairs of one request share the first. Borrowed bytes. The
 * hash finds, the bytes decide: two keys with one hash are still told apart. */
struct label_key {
    struct hash128 hash;
    struct str shared; /* bundle, models, locale, normalised query */
    struct str own;    /* product id, hash of the product's text */
};

struct label_cache; /* opaque */

struct label_cache_options {
    size_t entries;   /* at most so many; 0: [100,000] */
    size_t bytes;     /* keys, values and bookkeeping; 0: [64 MiB] */
    int64_t ttl_ms;   /* older entries are not returned; 0: no limit */
    size_t n_classes; /* probabilities and margins kept per entry, 1..MEDLEY_MAX_CLASSES */
};

struct label_cache_stats {
    size_t entries, bytes;     /* now */
    uint64_t evicted, expired; /* since the start */
};

struct label_cache *label_cache_new(
    const struct label_cache_options *options); /* NULL: memory */
void label_cache_free(struct label_cache *c);   /* accepts NULL */

/* The first part of the keys of one request: appended to `out`. The query should be normalised
 * by label_cache_fold. */
void label_key_shared(struct strbuf *out, const char *bundle, uint32_t models,
                      struct str locale, struct str folded_query);
/* The second part: appended to `out`. */
void label_key_own(struct strbuf *out, const medley_product *product);
/* The hash of both parts, from label_key_hash(shared), which is made once for a request; the
 * bytes stay the caller's. */
struct hash128 label_key_hash(struct str shared);
struct label_key label_key_of(struct str shared, struct hash128 shared_hash, struct str own);

/* Case folded, NFC, runs of white space made one space and trimmed off the ends; appended to
 * out. The text must be valid UTF-8. */
medley_status label_cache_fold(struct str text, struct strbuf *out, medley_error *err);

/* Times are milliseconds of any clock that does not run backwards. get writes *out and the time
 * of the put on a hit only. put replaces; when memory is short, or the entry alone would fill a
 * shard, it forgets the pair instead. */
bool label_cache_get(struct label_cache *c, const struct label_key *key, int64_t now_ms,
                     medley_result *out, int64_t *stored_ms);
void label_cache_put(struct label_cache *c, const struct label_key *key,
                     const medley_result *value, int64_t now_ms);
struct label_cache_stats label_cache_stats(struct label_cache *c);

#endif
