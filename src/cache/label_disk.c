/* label_disk.c: see label_disk.h. */
#include "cache/label_disk.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/progress.h"

#include <errno.h>
#include <inttypes.h>
#include <lmdb.h>
#include <stdatomic.h>
#include <string.h>

#define LEAST_BYTES ((size_t)1 << 20)
#define FULL \
    0.4 /* share of the map that one generation may take; the rest is for turning round */

struct label_disk {
    MDB_env *env;
    MDB_dbi generation[2], meta; /* meta: "young" -> 0 or 1 */
    size_t bytes, page;
    atomic_uint_least64_t hits, misses, damaged, written, write_errors, turns;
};

/* ---- batches ----------------------------------------------------------------------------- */

static struct label_record *batch_record(struct label_batch *b, struct hash128 hash)
{
    if (!mem_reserve(&b->records, &b->capacity, b->n + 1, sizeof *b->records))
        return NULL;
    b->records[b->n] = (struct label_record){.hash = hash, .at = b->bytes.n};
    return &b->records[b->n];
}

/* Without memory for it the label is just not kept. */
static void batch_end(struct label_batch *b, struct label_record *r)
{
    r->n = b->bytes.n - r->at;
    if (!b->bytes.failed)
        b->n++;
}

void label_batch_add(struct label_batch *b, const struct label_key *key,
                     const medley_result *value, size_t n_classes, int64_t stored_ms)
{
    struct label_record *r = batch_record(b, key->hash);
    if (!r)
        return;
    label_value_write(&b->bytes, key, value, n_classes, stored_ms);
    batch_end(b, r);
}

void label_batch_copy(struct label_batch *b, struct hash128 hash, struct str value)
{
    struct label_record *r = batch_record(b, hash);
    if (!r)
        return;
    sb_add(&b->bytes, value.s, value.n);
    batch_end(b, r);
}

void label_batch_clear(struct label_batch *b)
{
    sb_clear(&b->bytes);
    b->bytes.failed = false;
    b->n = 0;
}

void label_batch_deinit(struct label_batch *b)
{
    sb_deinit(&b->bytes);
    mem_free(b->records);
    *b = (struct label_batch){.n = 0};
}

/* ---- open and close ---------------------------------------------------------------------- */

static medley_status problem(medley_error *err, const char *folder, int e)
{
    return fail(err, e == ENOMEM ? MEDLEY_ENOMEM : MEDLEY_EIO, "%s: the label cache: %s",
                folder, mdb_strerror(e));
}

static int open_tables(struct label_disk *d)
{
    static const char *const names[] = {"labels0", "labels1"};
    MDB_txn *t;
    int e = mdb_txn_begin(d->env, NULL, 0, &t);
    if (e)
        return e;
    for (int g = 0; g < 2 && !e; g++)
        e = mdb_dbi_open(t, names[g], MDB_CREATE, &d->generation[g]);
    if (!e)
        e = mdb_dbi_open(t, "meta", MDB_CREATE, &d->meta);
    if (e) {
        mdb_txn_abort(t);
        return e;
    }
    return mdb_txn_commit(t);
}

medley_status label_disk_open(const char *folder, size_t bytes, struct label_disk **out,
                              medley_error *err)
{
    medley_status st = make_folders(folder, err);
    if (st)
        return st;
    struct label_disk *d = mem_zalloc(1, sizeof *d);
    if (!d)
        return fail_memory(err, "the label cache");
    d->bytes = bytes > LEAST_BYTES ? bytes : LEAST_BYTES;
    int e = mdb_env_create(&d->env);
    if (!e)
        e = mdb_env_set_maxdbs(d->env, 3);
    if (!e)
        e = mdb_env_set_mapsize(d->env, d->bytes);
    /* One fsync a batch: a crash of the machine may lose the last ones, nothing else. */
    if (!e)
        e = mdb_env_open(d->env, folder, MDB_NOTLS | MDB_NOMETASYNC, 0640);
    if (!e)
        e = open_tables(d);
    if (e) {
        label_disk_close(d);
        return problem(err, folder, e);
    }
    int dead = 0;
    mdb_reader_check(d->env, &dead); /* slots of processes that were killed */
    MDB_stat s;
    mdb_env_stat(d->env, &s);
    d->page = s.ms_psize;
    *out = d;
    return MEDLEY_OK;
}

void label_disk_close(struct label_disk *d)
{
    if (d && d->env)
        mdb_env_close(d->env);
    mem_free(d);
}

/* ---- reading ----------------------------------------------------------------------------- */

static MDB_val key_val(const struct hash128 *hash)
{
    return (MDB_val){sizeof *hash, (void *)hash};
}

static unsigned young(const struct label_disk *d, MDB_txn *t)
{
    MDB_val k = {5, (void *)"young"}, v;
    return mdb_get(t, d->meta, &k, &v) == 0 && v.mv_size == 1 && *(const char *)v.mv_data == 1;
}

static bool get_one(struct label_disk *d, MDB_txn *t, unsigned first,
                    const struct label_key *key, size_t n_classes, medley_result *result,
                    int64_t *stored_ms, struct label_batch *again)
{
    for (unsigned i = 0; i < 2; i++) {
        MDB_val k = key_val(&key->hash), v;
        if (mdb_get(t, d->generation[first ^ i], &k, &v) != 0)
            continue;
        struct str bytes = {v.mv_data, v.mv_size};
        enum label_found found = label_value_read(bytes, key, n_classes, result, stored_ms);
        if (found == LABEL_FOUND && i == 1 && again)
            label_batch_copy(again, key->hash, bytes);
        if (found == LABEL_DAMAGED)
            atomic_fetch_add(&d->damaged, 1);
        if (found == LABEL_FOUND)
            return true;
    }
    return false;
}

void label_disk_get(struct label_disk *d, const struct label_key *keys, size_t n,
                    size_t n_classes, bool *found, medley_result *results, int64_t *stored_ms,
                    struct label_batch *again)
{
    MDB_txn *t;
    uint64_t hits = 0, misses = 0;
    if (mdb_txn_begin(d->env, NULL, MDB_RDONLY, &t) != 0) {
        atomic_fetch_add(&d->misses, n);
        return;
    }
    unsigned first = young(d, t);
    for (size_t i = 0; i < n; i++) {
        if (found[i])
            continue;
        found[i] = get_one(d, t, first, &keys[i], n_classes, &results[i], &stored_ms[i], again);
        hits += found[i];
        misses += !found[i];
    }
    mdb_txn_abort(t);
    atomic_fetch_add(&d->hits, hits);
    atomic_fetch_add(&d->misses, misses);
}

/* ---- writing ----------------------------------------------------------------------------- */

static size_t table_bytes(const struct label_disk *d, MDB_txn *t, MDB_dbi table)
{
    MDB_stat s;
    if (mdb_stat(t, table, &s) != 0)
        return 0;
    return (s.ms_branch_pages + s.ms_leaf_pages + s.ms_overflow_pages) * d->page;
}

/* Empties the older generation, which becomes the younger. */
static int turn(struct label_disk *d)
{
    MDB_txn *t;
    int e = mdb_txn_begin(d->env, NULL, 0, &t);
    if (e)
        return e;
    char next = (char)!young(d, t);
    MDB_val k = {5, (void *)"young"}, v = {1, &next};
    e = mdb_drop(t, d->generation[(int)next], 0);
    if (!e)
        e = mdb_put(t, d->meta, &k, &v, 0);
    if (e) {
        mdb_txn_abort(t);
        return e;
    }
    e = mdb_txn_commit(t);
    if (!e)
        atomic_fetch_add(&d->turns, 1);
    return e;
}

/* Writes [*done, batch->n) as far as the younger generation has room. */
static int write_some(struct label_disk *d, const struct label_batch *batch, size_t *done,
                      bool *full)
{
    enum { AT_A_TIME = 256 };
    MDB_txn *t;
    int e = mdb_txn_begin(d->env, NULL, 0, &t);
    if (e)
        return e;
    unsigned to = young(d, t);
    size_t i = *done;
    while (i < batch->n && !e && !*full) {
        size_t end = i + AT_A_TIME < batch->n ? i + AT_A_TIME : batch->n;
        for (; i < end && !e; i++) {
            const struct label_record *r = &batch->records[i];
            MDB_val k = key_val(&r->hash), v = {r->n, batch->bytes.s + r->at};
            e = mdb_put(t, d->generation[to], &k, &v, 0);
        }
        *full = (double)table_bytes(d, t, d->generation[to]) > FULL * (double)d->bytes;
    }
    if (e) {
        mdb_txn_abort(t);
        *full |= e == MDB_MAP_FULL;
        return e;
    }
    e = mdb_txn_commit(t);
    if (!e)
        *done = i;
    return e;
}

/* The first, then the second, fourth, ...: a full disk fills no log. */
static void note_error(struct label_disk *d, int e)
{
    uint64_t times = atomic_fetch_add(&d->write_errors, 1) + 1;
    if ((times & (times - 1)) == 0)
        progress_note("label cache: %" PRIu64 " batches not written so far: %s", times,
                      mdb_strerror(e));
}

bool label_disk_write(struct label_disk *d, const struct label_batch *batch)
{
    size_t done = 0;
    unsigned turns = 0;
    int e = 0;
    while (done < batch->n && turns < 3) {
        bool full = false;
        size_t before = done;
        e = write_some(d, batch, &done, &full);
        if (e && !full)
            break;
        if (full) {
            turns++;
            if ((e = turn(d)))
                break;
        } else if (done == before) {
            break;
        }
    }
    atomic_fetch_add(&d->written, done);
    if (done < batch->n)
        note_error(d, e ? e : MDB_MAP_FULL);
    return done > 0 || batch->n == 0;
}

medley_status label_disk_clear(struct label_disk *d, medley_error *err)
{
    MDB_txn *t;
    int e = mdb_txn_begin(d->env, NULL, 0, &t);
    for (int g = 0; g < 2 && !e; g++)
        e = mdb_drop(t, d->generation[g], 0);
    if (!e)
        e = mdb_txn_commit(t);
    return e ? problem(err, "cannot be emptied", e) : MEDLEY_OK;
}

struct label_disk_stats label_disk_stats(struct label_disk *d)
{
    struct label_disk_stats s = {.hits = atomic_load(&d->hits),
                                 .misses = atomic_load(&d->misses),
                                 .damaged = atomic_load(&d->damaged),
                                 .written = atomic_load(&d->written),
                                 .write_errors = atomic_load(&d->write_errors),
                                 .turns = atomic_load(&d->turns)};
    MDB_txn *t;
    if (mdb_txn_begin(d->env, NULL, MDB_RDONLY, &t) != 0)
        return s;
    for (int g = 0; g < 2; g++) {
        MDB_stat stat;
        if (mdb_stat(t, d->generation[g], &stat) == 0)
            s.entries += stat.ms_entries;
        s.bytes += table_bytes(d, t, d->generation[g]);
    }
    mdb_txn_abort(t);
    return s;
}
