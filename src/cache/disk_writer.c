/* disk_writer.c: the thread that writes labels into the LMDB file, drops generations and the
 * labels of bundles that are gone; disk.h says what and why. */
#include "cache/disk_private.h"

#include "base/error.h"
#include "base/memory.h"
#include "cache/label_record.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENOUGH ((size_t)256 << 10) /* bytes that are worth a batch at once */
#define ROUND_MS 100               /* else so often */
#define MAX_BATCH 4096             /* labels in a transaction */
#define NEWEST "newest"

/* ---- trouble ----------------------------------------------------------------------------- */

static unsigned kind_of(int e)
{
    return e == MDB_MAP_FULL ? 0 : e == ENOSPC || e == EDQUOT ? 1 : e == MDB_PANIC ? 2 : 3;
}

void disk_failed(struct disk *d, int e, const char *doing)
{
    unsigned bit = 1u << kind_of(e);
    tier_count(&d->counters.errors, 1);
    if (atomic_fetch_or(&d->warned, bit) & bit || !d->warn)
        return;
    char text[256];
    snprintf(text, sizeof text,
             "label cache: cannot %s the disk tier: %s; serving goes on without", doing,
             mdb_strerror(e));
    d->warn(d->warn_context, text);
}

/* ---- generations ------------------------------------------------------------------------- */

static int put_newest(struct disk *d, MDB_txn *txn, unsigned newest)
{
    uint8_t byte = (uint8_t)newest;
    MDB_val key = {sizeof NEWEST - 1, (void *)NEWEST}, value = {1, &byte};
    return mdb_put(txn, d->about, &key, &value, 0);
}

/* Empties the oldest generation, which is the newest from then on. Several threads may come
 * here: LMDB lets in one at a time, and `was` tells whether another has done it already. */
static int rotate(struct disk *d, unsigned was)
{
    MDB_txn *txn;
    MDB_stat gone = {0};
    unsigned next = (was + 1) % GENERATIONS;
    int e = lmdb_begin(&d->file, 0, &txn);
    if (e)
        return e;
    if (atomic_load(&d->newest) != was) {
        lmdb_abort(&d->file, txn);
        return 0;
    }
    e = mdb_stat(txn, d->generations[next], &gone);
    if (!e)
        e = mdb_drop(txn, d->generations[next], 0);
    if (!e)
        e = put_newest(d, txn, next);
    if (e) {
        lmdb_abort(&d->file, txn);
        return e;
    }
    /* Stored before the commit, while no other writer is let in; readers do not mind looking
     * into an emptied generation first. */
    atomic_store(&d->newest, next);
    e = lmdb_commit(&d->file, txn);
    if (e)
        atomic_store(&d->newest, was);
    else
        tier_count(&d->counters.evicted, gone.ms_entries);
    return e;
}

/* A fifth of the file for each of four: the last fifth is for pages that are free but not yet
 * reusable, since LMDB never writes over a page that somebody may be reading. */
static bool has_its_share(struct disk *d, MDB_txn *txn, unsigned generation)
{
    MDB_stat s;
    if (mdb_stat(txn, d->generations[generation], &s))
        return false;
    size_t pages = s.ms_branch_pages + s.ms_leaf_pages + s.ms_overflow_pages;
    return pages * s.ms_psize >= d->bytes / (GENERATIONS + 1);
}

/* ---- batches ----------------------------------------------------------------------------- */

static struct disk_key key_of(const struct outbox_item *i)
{
    return (struct disk_key){i->bundle, i->hash.high, i->hash.low};
}

static int by_key(const void *a, const void *b)
{
    const struct outbox_item *const *x = a, *const *y = b;
    struct disk_key kx = key_of(*x), ky = key_of(*y);
    int order = memcmp(&kx, &ky, sizeof kx);
    return order ? order
                 : ((*x)->stored_ms > (*y)->stored_ms) - ((*x)->stored_ms < (*y)->stored_ms);
}

/* A label that is found in an older generation while a newer one waits here must not hide it.
 */
static int put_item(struct disk *d, MDB_txn *txn, unsigned generation,
                    const struct outbox_item *item)
{
    struct disk_key bytes = key_of(item);
    MDB_val key = {sizeof bytes, &bytes}, old;
    MDB_val value = {item->n, (void *)item->record};
    int e = mdb_get(txn, d->generations[generation], &key, &old);
    if (!e && label_record_time(old.mv_data, old.mv_size) > item->stored_ms)
        return 0;
    return e && e != MDB_NOTFOUND ? e
                                  : mdb_put(txn, d->generations[generation], &key, &value, 0);
}

/* *full: the generation has its share now. */
static int write_batch(struct disk *d, struct outbox_item **items, size_t n, bool *full)
{
    MDB_txn *txn;
    int e = lmdb_begin(&d->file, 0, &txn);
    if (e)
        return e;
    unsigned newest = atomic_load(&d->newest);
    for (size_t i = 0; !e && i < n; i++)
        e = put_item(d, txn, newest, items[i]);
    if (e) {
        lmdb_abort(&d->file, txn);
        return e;
    }
    *full = has_its_share(d, txn, newest);
    return lmdb_commit(&d->file, txn);
}

static void write_or_drop(struct disk *d, struct outbox_item **items, size_t n)
{
    bool full = false;
    unsigned was = atomic_load(&d->newest);
    int e = write_batch(d, items, n, &full);
    if (e == MDB_MAP_FULL && !(e = rotate(d, was)))
        e = write_batch(d, items, n, &full);
    if (!e && full)
        e = rotate(d, atomic_load(&d->newest));
    if (e) {
        tier_count(&d->counters.dropped, n);
        disk_failed(d, e, "write");
    } else {
        tier_count(&d->counters.written, n);
    }
}

/* A transaction of a small file must be small: each label may touch a page of its own. */
static size_t batch_size(const struct disk *d)
{
    size_t n = d->bytes / 4096 / 8;
    return n > MAX_BATCH ? MAX_BATCH : n;
}

static void write_items(struct disk *d, struct outbox_item *first)
{
    size_t n = 0, most = batch_size(d);
    for (struct outbox_item *i = first; i; i = i->next)
        n++;
    struct outbox_item **sorted = mem_alloc(n, sizeof *sorted);
    for (size_t i = 0; sorted && i < n; i++, first = first->next)
        sorted[i] = first;
    if (!sorted) {
        tier_count(&d->counters.dropped, n);
        for (struct outbox_item *i = first, *next; i; i = next) {
            next = i->next;
            mem_free(i);
        }
        return;
    }
    qsort(sorted, n, sizeof *sorted, by_key);
    for (size_t at = 0; at < n; at += most)
        write_or_drop(d, sorted + at, n - at < most ? n - at : most);
    for (size_t i = 0; i < n; i++)
        mem_free(sorted[i]);
    mem_free(sorted);
}

/* ---- forgetting -------------------------------------------------------------------------- */

static bool is_kept(const uint64_t *kept, size_t n, uint64_t bundle)
{
    for (size_t i = 0; i < n; i++)
        if (kept[i] == bundle)
            return true;
    return false;
}

/* Deletes at most `most` labels of other bundles, jumping over those that are kept. */
static int delete_some(MDB_cursor *cursor, const uint64_t *kept, size_t n, size_t *most)
{
    MDB_val key, value;
    int e = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
    while (!e && *most > 0) {
        struct disk_key at = {0, UINT64_MAX, UINT64_MAX};
        if (key.mv_size == sizeof at)
            memcpy(&at.bundle, key.mv_data, sizeof at.bundle);
        if (key.mv_size == sizeof at && is_kept(kept, n, at.bundle)) {
            key = (MDB_val){sizeof at, &at}; /* the last that this bundle can have */
            e = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
            if (!e && key.mv_size == sizeof at && memcmp(key.mv_data, &at, sizeof at) == 0)
                e = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
            continue;
        }
        e = mdb_cursor_del(cursor, 0);
        --*most;
        if (!e) /* after a deletion this is the one that took its place */
            e = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    return e == MDB_NOTFOUND ? 0 : e;
}

static int delete_batch(struct disk *d, size_t generation, const uint64_t *kept, size_t n,
                        size_t *deleted)
{
    MDB_txn *txn;
    MDB_cursor *cursor = NULL;
    size_t most = batch_size(d), left = most;
    int e = lmdb_begin(&d->file, 0, &txn);
    if (e)
        return e;
    e = mdb_cursor_open(txn, d->generations[generation], &cursor);
    if (!e)
        e = delete_some(cursor, kept, n, &left);
    if (cursor)
        mdb_cursor_close(cursor);
    *deleted = most - left;
    if (!e && *deleted)
        return lmdb_commit(&d->file, txn);
    lmdb_abort(&d->file, txn);
    return e;
}

static void drop_others(struct disk *d, const uint64_t *kept, size_t n)
{
    int e = 0;
    for (size_t g = 0; !e && g < GENERATIONS; g++) {
        size_t deleted = 1;
        while (!e && deleted > 0 && !atomic_load(&d->stopping)) {
            deleted = 0;
            e = delete_batch(d, g, kept, n, &deleted);
            tier_count(&d->counters.evicted, e ? 0 : deleted);
        }
    }
    if (e)
        disk_failed(d, e, "tidy");
}

static void drop_all(struct disk *d)
{
    MDB_txn *txn;
    int e = lmdb_begin(&d->file, 0, &txn);
    for (size_t g = 0; !e && g < GENERATIONS; g++)
        e = mdb_drop(txn, d->generations[g], 0);
    if (!e)
        e = lmdb_commit(&d->file, txn);
    else
        lmdb_abort(&d->file, txn);
    if (e)
        disk_failed(d, e, "clear");
}

/* ---- products ---------------------------------------------------------------------------- */

static int put_epochs(struct disk *d, const struct hash128 *products, size_t n, uint64_t epoch)
{
    MDB_txn *txn;
    int e = lmdb_begin(&d->file, 0, &txn);
    if (e)
        return e;
    for (size_t i = 0; !e && i < n; i++) {
        struct hash128 product = products[i];
        bool everything = product.low == 0 && product.high == 0;
        MDB_val key = {sizeof product, &product}, value = {sizeof epoch, &epoch};
        if (everything) /* those before it say nothing any more */
            e = mdb_drop(txn, d->products, 0);
        if (!e)
            e = mdb_put(txn, d->products, &key, &value, 0);
    }
    if (!e)
        return lmdb_commit(&d->file, txn);
    lmdb_abort(&d->file, txn);
    return e;
}

medley_status disk_write_epochs(struct disk *d, const struct hash128 *products, size_t n,
                                uint64_t epoch, medley_error *err)
{
    unsigned was = atomic_load(&d->newest);
    int e = put_epochs(d, products, n, epoch);
    if (e == MDB_MAP_FULL && !(e = rotate(d, was)))
        e = put_epochs(d, products, n, epoch);
    if (!e)
        e = lmdb_sync(&d->file); /* commits leave the last page to the system */
    if (!e)
        return MEDLEY_OK;
    disk_failed(d, e, "write");
    return fail(err, MEDLEY_EIO, "cannot write the invalidation to the disk: %s",
                mdb_strerror(e));
}

/* ---- the thread -------------------------------------------------------------------------- */

/* What is asked for besides writing. */
static void do_chores(struct disk *d)
{
    pthread_mutex_lock(&d->lock);
    uint64_t *kept = d->kept;
    size_t n_kept = d->n_kept;
    bool clear = d->clear;
    d->kept = NULL;
    d->clear = false;
    pthread_mutex_unlock(&d->lock);
    if (clear)
        drop_all(d);
    if (kept)
        drop_others(d, kept, n_kept);
    mem_free(kept);
}

static void *write_labels(void *context)
{
    struct disk *d = context;
    for (;;) {
        pthread_mutex_lock(&d->lock);
        uint64_t round = d->rounds;
        bool awaited = round > d->rounds_done;
        pthread_mutex_unlock(&d->lock);
        bool last = atomic_load(&d->stopping);
        struct outbox_item *items =
            outbox_take(d->outbox, ENOUGH, awaited || last ? 0 : ROUND_MS);
        if (items)
            write_items(d, items);
        do_chores(d);
        pthread_mutex_lock(&d->lock);
        d->rounds_done = round;
        pthread_cond_broadcast(&d->wake);
        pthread_mutex_unlock(&d->lock);
        if (last)
            return NULL;
    }
}

medley_status disk_start_writer(struct disk *d, medley_error *err)
{
    sigset_t all, old;
    sigfillset(&all); /* signals are for the host's own threads */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int e = pthread_create(&d->writer, NULL, write_labels, d);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (e)
        return fail(err, MEDLEY_EIO, "cannot start the cache's writer: %s", strerror(e));
    pthread_setname_np(d->writer, "medley-cache");
    d->has_writer = true;
    return MEDLEY_OK;
}

void disk_stop_writer(struct disk *d)
{
    if (!d->has_writer)
        return;
    atomic_store(&d->stopping, true);
    outbox_hurry(d->outbox);
    pthread_join(d->writer, NULL);
    d->has_writer = false;
}

/* ---- asking it --------------------------------------------------------------------------- */

bool disk_offer(struct disk *d, uint64_t bundle, const struct label_key *key,
                const struct label *label)
{
    bool taken = outbox_add(d->outbox, bundle, key, label, d->n_classes);
    tier_count(&d->counters.dropped, !taken);
    return taken;
}

void disk_flush(struct disk *d)
{
    pthread_mutex_lock(&d->lock);
    uint64_t mine = ++d->rounds;
    outbox_hurry(d->outbox);
    while (d->rounds_done < mine)
        pthread_cond_wait(&d->wake, &d->lock);
    pthread_mutex_unlock(&d->lock);
}

void disk_keep_bundles(struct disk *d, const char *const *bundles, size_t n)
{
    uint64_t *kept = mem_alloc(n ? n : 1, sizeof *kept);
    if (!kept)
        return;
    for (size_t i = 0; i < n; i++)
        kept[i] = label_key_bundle(bundles[i]);
    pthread_mutex_lock(&d->lock);
    mem_free(d->kept);
    d->kept = kept;
    d->n_kept = n;
    pthread_mutex_unlock(&d->lock);
}

void disk_clear(struct disk *d)
{
    pthread_mutex_lock(&d->lock);
    d->clear = true;
    pthread_mutex_unlock(&d->lock);
    disk_flush(d);
}
