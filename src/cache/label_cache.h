/* label_cache.h: remembers the labels of judged pairs: in memory, below that on a disk, below
 * that in Redis.
 *
 * What an answer means: the ensemble looks at a product together with the other candidates of
 * its list, so a remembered label is that of the list in which the pair was last judged.
 *
 *   label_table.h  memory: a sharded table
 *   disk.h         LMDB: survives the process, however it ends
 *   redis.h        shared by several servers; its absence costs nothing
 *
 * A label found below is taken up into memory. Downwards go only labels that were asked for a
 * second time (admission.h), so that a crawler's labels stay out; on threads of their own,
 * so that nobody waits for a write. Ages are checked on every read, in every tier. Whatever a
 * lower tier suffers is counted and is a miss, never a failed request.
 *
 * Times are milliseconds since 1970 (label_cache_now), since labels outlive the process. All
 * functions except open and close may be called from any thread. Proof:
 * tests/test_label_cache.c, test_disk.c, test_redis.c. */
#ifndef CACHE_LABEL_CACHE_H
#define CACHE_LABEL_CACHE_H

#include "cache/label_table.h"
#include "cache/tier.h"

struct label_cache; /* opaque */

/* All-zero but n_classes means the defaults in brackets. Texts are copied. */
struct label_cache_options {
    size_t entries;   /* in memory [100,000] */
    size_t bytes;     /* in memory [64 MiB] */
    int64_t ttl_ms;   /* older labels are not returned by any tier; 0: no limit */
    size_t n_classes; /* 1..MEDLEY_MAX_CLASSES */
    bool admit_all;   /* labels go down when first asked for, too */

    const char *folder; /* of the LMDB files, made when it is not there; NULL: no such tier */
    size_t disk_bytes;  /* of its file at most [1 GiB] */

    const char *redis;          /* host:port[/db], [v6]:port or a socket's /path; NULL: none */
    const char *redis_password; /* NULL: none */
    unsigned redis_timeout_ms;  /* for one list, connecting included [20] */

    /* Told once of each kind of trouble; from any thread. NULL: nobody is. */
    void (*warn)(void *context, const char *text);
    void *warn_context;
};

/* A disk tier that cannot be opened is warned of and left out: a cache is no reason not to
 * serve. Errors: EINVAL (`redis` is no address), EIO (no thread), ENOMEM. */
medley_status label_cache_open(const struct label_cache_options *options,
                               struct label_cache **out, medley_error *err);
void label_cache_close(struct label_cache *c); /* writes what waits; accepts NULL */

int64_t label_cache_now(void);

/* ---- labels ------------------------------------------------------------------------------ */

/* Where to look: near tiers take microseconds; far ones are a network away, and not for threads
 * that must not wait. */
enum label_reach { LABELS_NEAR, LABELS_FAR };

/* Fills in what is remembered; how many of the list's pairs are found now. */
size_t label_cache_find(struct label_cache *c, const struct label_list *list,
                        enum label_reach reach, const struct label_search *s);
/* Is there a far tier, and does it answer at present? */
bool label_cache_has_far(struct label_cache *c);
/* Remembers results[list->n], but for those that a model failed or was late for. */
void label_cache_keep(struct label_cache *c, const struct label_list *list,
                      const medley_result *results, int64_t now_ms);

/* ---- forgetting -------------------------------------------------------------------------- */

/* From here on no label of these products, judged before or being judged now, is returned by
 * any tier; nor after a restart, if there is a disk or Redis. A new text must be in place
 * before. Waits for the disk: some milliseconds. EIO, ENOMEM: done in memory, but a restart may
 * bring the labels back. */
medley_status label_cache_invalidate(struct label_cache *c, const medley_text *ids, size_t n,
                                     medley_error *err);
/* The product's part in the keys, raised by label_cache_invalidate; 0: never. Read it before
 * the product's text is: a label made of an older text is then stored under an older epoch. */
uint64_t label_cache_epoch(struct label_cache *c, medley_text id);

/* Labels of any other bundle are dropped from the disk, in the background. */
void label_cache_keep_bundles(struct label_cache *c, const char *const *bundles, size_t n);
/* Of memory and disk. */
void label_cache_clear(struct label_cache *c);
/* Waits until what was offered to the tiers below is there, or given up. */
void label_cache_flush(struct label_cache *c);

/* ---- about itself ------------------------------------------------------------------------ */

/* Tiers there are, fastest first. */
size_t label_cache_tiers(struct label_cache *c, struct tier_stats out[TIERS]);

#endif
