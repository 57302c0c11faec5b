/* disk.c: opening the LMDB file, looking labels up; disk.h says what and why. */
#include "cache/disk_private.h"

#include "base/cpu.h"
#include "base/error.h"
#include "base/memory.h"
#include "cache/label_record.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define OUTBOX_BYTES ((size_t)8 << 20)
#define NEWEST "newest"

static const char *const generation_names[GENERATIONS] = {"labels0", "labels1", "labels2",
                                                          "labels3"};

/* ---- opening ----------------------------------------------------------------------------- */

static int read_newest(MDB_txn *txn, MDB_dbi about, unsigned *out)
{
    MDB_val key = {sizeof NEWEST - 1, (void *)NEWEST}, value;
    int e = mdb_get(txn, about, &key, &value);
    if (e == MDB_NOTFOUND)
        *out = 0;
    else if (!e && value.mv_size == 1)
        *out = *(const uint8_t *)value.mv_data % GENERATIONS;
    else if (!e)
        e = MDB_CORRUPTED;
    return e == MDB_NOTFOUND ? 0 : e;
}

static int open_databases(void *context, MDB_txn *txn)
{
    struct disk *d = context;
    unsigned newest = 0, flags = d->file.options.flags & MDB_RDONLY ? 0 : MDB_CREATE;
    int e = mdb_dbi_open(txn, "about", flags, &d->about);
    if (!e)
        e = mdb_dbi_open(txn, "products", flags, &d->products);
    for (size_t g = 0; !e && g < GENERATIONS; g++)
        e = mdb_dbi_open(txn, generation_names[g], flags, &d->generations[g]);
    if (!e)
        e = read_newest(txn, d->about, &newest);
    atomic_store(&d->newest, newest);
    return e;
}

/* Damaged entries are passed over: they would belong to no product. */
static int read_epochs(const struct disk *d, MDB_txn *txn, struct epochs *epochs)
{
    MDB_cursor *cursor = NULL;
    MDB_val key, value;
    int e = mdb_cursor_open(txn, d->products, &cursor);
    while (!e && !(e = mdb_cursor_get(cursor, &key, &value, MDB_NEXT))) {
        struct hash128 product;
        uint64_t epoch;
        bool everything;
        if (key.mv_size != sizeof product || value.mv_size != sizeof epoch)
            continue;
        memcpy(&product, key.mv_data, sizeof product);
        memcpy(&epoch, value.mv_data, sizeof epoch);
        epochs_set(epochs, product, epoch, &everything);
    }
    if (cursor)
        mdb_cursor_close(cursor);
    return e == MDB_NOTFOUND ? 0 : e;
}

static int open_file(struct disk *d, const char *folder, unsigned flags)
{
    return lmdb_open(&d->file, &(struct lmdb_options){.folder = folder,
                                                      .bytes = d->bytes,
                                                      .databases = GENERATIONS + 2,
                                                      .flags = flags,
                                                      .open_databases = open_databases,
                                                      .context = d});
}

static int open_with_epochs(struct disk *d, const char *folder, struct epochs *epochs)
{
    MDB_txn *txn;
    int e = open_file(d, folder, MDB_NOMETASYNC);
    if (!e)
        e = lmdb_begin(&d->file, MDB_RDONLY, &txn);
    if (!e) {
        e = read_epochs(d, txn, epochs);
        lmdb_abort(&d->file, txn);
    }
    if (e)
        lmdb_close(&d->file);
    return e;
}

static void remove_file(const char *folder, const char *name)
{
    char *path = path_join(folder, name);
    if (path)
        unlink(path);
    mem_free(path);
}

/* A file that LMDB will not read again, or that is larger than it may be now, is of no use: a
 * cache may be begun anew. */
static bool is_useless(int e)
{
    return e == MDB_MAP_RESIZED || e == MDB_INVALID || e == MDB_CORRUPTED ||
           e == MDB_VERSION_MISMATCH || e == MDB_PAGE_NOTFOUND || e == MDB_INCOMPATIBLE ||
           e == MDB_BAD_VALSIZE;
}

static medley_status open_or_replace(struct disk *d, const char *folder, struct epochs *epochs,
                                     medley_error *err)
{
    int e = open_with_epochs(d, folder, epochs);
    if (is_useless(e)) {
        char text[512];
        snprintf(text, sizeof text, "the label cache in '%.300s' is begun anew: %s", folder,
                 e == MDB_MAP_RESIZED ? "it was larger than --cache-disk" : mdb_strerror(e));
        if (d->warn)
            d->warn(d->warn_context, text);
        remove_file(folder, "data.mdb");
        e = open_with_epochs(d, folder,
                             epochs); /* the lock file may stay: nobody else is here */
    }
    return e ? fail(err, e == ENOMEM ? MEDLEY_ENOMEM : MEDLEY_EIO, "cannot open '%s': %s",
                    folder, mdb_strerror(e))
             : MEDLEY_OK;
}

medley_status disk_open(const struct disk_options *o, struct epochs *epochs, struct disk **out,
                        medley_error *err)
{
    struct disk *d = mem_zalloc(1, sizeof *d);
    if (!d)
        return fail_memory(err, "the cache's disk tier");
    long page = sysconf(_SC_PAGESIZE);
    size_t bytes = o->bytes < DISK_LEAST_BYTES ? DISK_LEAST_BYTES : o->bytes;
    d->bytes = bytes - bytes % (size_t)page;
    d->n_classes = o->n_classes;
    d->ttl_ms = o->ttl_ms;
    d->warn = o->warn;
    d->warn_context = o->warn_context;
    d->lock_fd = -1;
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->wake, NULL);
    medley_status st = lmdb_take_folder(o->folder, &d->lock_fd, err);
    if (!st && !(d->outbox = outbox_new(OUTBOX_BYTES)))
        st = fail_memory(err, "the cache's disk tier");
    if (!st)
        st = open_or_replace(d, o->folder, epochs, err);
    if (!st)
        st = disk_start_writer(d, err);
    if (st)
        disk_close(d);
    else
        *out = d;
    return st;
}

void disk_close(struct disk *d)
{
    if (!d)
        return;
    disk_stop_writer(d);
    lmdb_close(&d->file);
    if (d->lock_fd >= 0)
        close(d->lock_fd);
    outbox_free(d->outbox);
    mem_free(d->kept);
    pthread_cond_destroy(&d->wake);
    pthread_mutex_destroy(&d->lock);
    mem_free(d);
}

/* ---- looking up -------------------------------------------------------------------------- */

struct reading {
    struct disk *d;
    MDB_txn *txn;
    const struct label_search *search;
    uint64_t bundle;
    unsigned newest;
};

/* Looks in one generation. */
static enum label_sight look(const struct reading *r, unsigned generation,
                             const struct label_key *key, struct label *out)
{
    struct disk *d = r->d;
    struct disk_key bytes = {r->bundle, key->hash.high, key->hash.low};
    MDB_val k = {sizeof bytes, &bytes}, v;
    int e = mdb_get(r->txn, d->generations[generation], &k, &v);
    if (e == MDB_NOTFOUND)
        return LABEL_ABSENT;
    if (e) {
        disk_failed(d, e, "read");
        return LABEL_ABSENT;
    }
    return tier_read_record(&d->counters, (struct str){v.mv_data, v.mv_size}, key, d->n_classes,
                            r->search, d->ttl_ms, out);
}

/* The newest label of a pair is in the newest generation that has one. */
static bool find_one(const struct reading *r, const struct label_key *key, struct label *out)
{
    for (unsigned back = 0; back < GENERATIONS; back++) {
        unsigned generation = (r->newest + GENERATIONS - back) % GENERATIONS;
        enum label_sight seen = look(r, generation, key, out);
        if (seen == LABEL_ABSENT)
            continue;
        if (seen == LABEL_SEEN && back == GENERATIONS - 1) /* before it goes */
            disk_offer(r->d, r->bundle, key, out);
        return seen == LABEL_SEEN;
    }
    return false;
}

size_t disk_find(struct disk *d, const struct label_list *list, const struct label_search *s)
{
    struct reading r = {d, NULL, s, list->bundle, atomic_load(&d->newest)};
    size_t found = 0, missed = 0;
    double started = clock_seconds();
    int e = lmdb_begin(&d->file, MDB_RDONLY, &r.txn);
    if (e) {
        disk_failed(d, e, "read");
        return 0;
    }
    for (size_t i = 0; i < list->n; i++) {
        struct label label = {.result = &s->results[i]};
        if (s->stored_ms[i] >= 0)
            continue;
        struct label_key key = label_list_key(list, i);
        bool there = find_one(&r, &key, &label);
        if (there)
            s->stored_ms[i] = label.stored_ms;
        found += there;
        missed += !there;
    }
    lmdb_abort(&d->file, r.txn);
    tier_count(&d->counters.hits, found);
    tier_count(&d->counters.misses, missed);
    tier_took(&d->counters, clock_seconds() - started);
    return found;
}

/* ---- figures ----------------------------------------------------------------------------- */

static void add_sizes(struct disk *d, MDB_txn *txn, struct tier_stats *out)
{
    for (size_t g = 0; g < GENERATIONS; g++) {
        MDB_stat s;
        if (mdb_stat(txn, d->generations[g], &s))
            continue;
        out->entries += s.ms_entries;
        out->bytes += (s.ms_branch_pages + s.ms_leaf_pages + s.ms_overflow_pages) * s.ms_psize;
    }
}

void disk_stats(struct disk *d, struct tier_stats *out)
{
    MDB_txn *txn = NULL;
    *out = (struct tier_stats){.name = "lmdb", .up = lmdb_is_open(&d->file)};
    tier_read(&d->counters, out);
    out->max_bytes = d->bytes;
    out->waiting = outbox_waiting(d->outbox);
    if (!out->up || lmdb_begin(&d->file, MDB_RDONLY, &txn))
        return;
    add_sizes(d, txn, out);
    lmdb_abort(&d->file, txn);
}

medley_status disk_inspect(const char *folder, struct tier_stats *out, medley_error *err)
{
    struct disk d = {0};
    struct tier_stats stats = {.name = "lmdb", .up = true};
    MDB_txn *txn = NULL;
    MDB_envinfo info;
    int e = open_file(&d, folder, MDB_RDONLY);
    if (e)
        return fail(err, MEDLEY_EIO, "cannot open '%s': %s", folder, mdb_strerror(e));
    e = lmdb_begin(&d.file, MDB_RDONLY, &txn);
    if (!e && !(e = mdb_env_info(mdb_txn_env(txn), &info))) {
        add_sizes(&d, txn, &stats);
        stats.max_bytes = info.me_mapsize;
    }
    lmdb_abort(&d.file, txn);
    lmdb_close(&d.file);
    if (e)
        return fail(err, MEDLEY_EIO, "cannot read '%s': %s", folder, mdb_strerror(e));
    *out = stats;
    return MEDLEY_OK;
}
