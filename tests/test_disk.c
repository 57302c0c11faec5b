/* test_disk.c: the disk tier: what is written comes back, after a restart and after kill -9;
 * ages, forged collisions, damaged records and files, a full file, writes that fail, bundles
 * that are gone, invalidations, threads. */
#include "base/file.h"
#include "base/rng.h"
#include "cache/disk.h"
#include "cache/label_record.h"
#include "tests/cache_help.h"
#include "tests/failing_page.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

static char folder[128];
static struct disk_options options = {
    .folder = folder, .bytes = 8 << 20, .n_classes = K, .warn = keep_warning};

static struct disk *open_disk(struct epochs *epochs)
{
    struct disk *d = NULL;
    medley_error err = {0};
    struct epochs *own = epochs ? NULL : epochs_new();
    if (disk_open(&options, epochs ? epochs : own, &d, &err)) {
        printf("Bail out! %s\n", err.message);
        exit(1);
    }
    epochs_free(own);
    return d;
}

static void offer(struct disk *d, const struct label_list *l, unsigned first, int64_t stored)
{
    for (size_t i = 0; i < l->n; i++) {
        medley_result r = numbered(first + (unsigned)i);
        struct label_key key = label_list_key(l, i);
        disk_offer(d, l->bundle, &key, &(struct label){.result = &r, .stored_ms = stored});
    }
}

/* Pairs found and right; SIZE_MAX when one is wrong. */
static size_t look(struct disk *d, const struct label_list *l, unsigned first, int64_t now,
                   int64_t max_age)
{
    struct found f = found_new(l->n, now);
    f.search.max_age_ms = max_age;
    size_t n = disk_find(d, l, &f.search), right = 0, marked = 0;
    for (size_t i = 0; i < l->n; i++) {
        marked += f.stored_ms[i] >= 0;
        right += f.stored_ms[i] >= 0 && is_numbered(&f.results[i], first + (unsigned)i);
    }
    found_free(&f);
    return n == right && n == marked ? n : SIZE_MAX;
}

static struct tier_stats stats_of(struct disk *d)
{
    struct tier_stats s;
    disk_stats(d, &s);
    return s;
}

static void test_round_trip(void)
{
    struct disk *d = open_disk(NULL);
    struct label_list l = list_of("b", "query", 0, 100, NULL);
    ok(look(d, &l, 0, NOW, -1) == 0, "nothing at first");
    offer(d, &l, 0, NOW);
    disk_flush(d);
    ok(look(d, &l, 0, NOW + 5, -1) == 100, "what was written is found");
    struct tier_stats s = stats_of(d);
    ok(s.entries == 100 && s.written == 100 && s.hits == 100 && s.misses == 100 &&
           s.bytes > 0 && s.errors == 0 && s.damaged == 0,
       "and counted");
    offer(d, &l, 7, NOW + 10);
    disk_flush(d);
    ok(look(d, &l, 7, NOW + 10, -1) == 100, "a newer label replaces an older");
    offer(d, &l, 0, NOW + 3);
    disk_flush(d);
    ok(look(d, &l, 7, NOW + 10, -1) == 100, "but not the other way round");
    ok(look(d, &l, 7, NOW + 20, 10) == 100 && look(d, &l, 7, NOW + 21, 10) == 0,
       "older than the search takes is not found");
    ok(look(d, &l, 7, NOW - 100000, -1) == 0, "nor what is from the future");
    offer(d, &l, 50, NOW + 30);
    disk_close(d);
    d = open_disk(NULL);
    ok(look(d, &l, 50, NOW + 40, -1) == 100, "closing writes; a restart is warm");
    disk_close(d);
    options.ttl_ms = 1000;
    d = open_disk(NULL);
    ok(look(d, &l, 50, NOW + 1030, -1) == 100, "as old as the TTL");
    ok(look(d, &l, 50, NOW + 1031, -1) == 0, "older than it");
    ok(stats_of(d).stale == 100, "is counted as stale");
    options.ttl_ms = 0;
    disk_clear(d);
    ok(look(d, &l, 50, NOW + 40, -1) == 0 && stats_of(d).entries == 0, "cleared");
    disk_close(d);
    label_list_deinit(&l);
}

static void test_collision(void)
{
    struct disk *d = open_disk(NULL);
    struct label_list a = list_of("b", "one", 0, 3, NULL), b = list_of("b", "two", 0, 3, NULL);
    b.shared_hash = a.shared_hash; /* forged: all hashes are equal now */
    offer(d, &a, 0, NOW);
    disk_flush(d);
    ok(look(d, &b, 0, NOW, -1) == 0, "another key with the same hash is a miss");
    ok(stats_of(d).damaged == 3, "and counted");
    ok(look(d, &a, 0, NOW, -1) == 3, "the right one is found");
    disk_clear(d);
    disk_close(d);
    label_list_deinit(&a);
    label_list_deinit(&b);
}

/* Writes bytes of our own under the key of a pair, as another program might. */
static void put_raw(const struct label_list *l, size_t i, const void *bytes, size_t n)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    struct label_key key = label_list_key(l, i);
    uint64_t k[3] = {l->bundle, key.hash.high, key.hash.low};
    MDB_val mk = {sizeof k, k}, mv = {n, (void *)bytes};
    mdb_env_create(&env);
    mdb_env_set_maxdbs(env, 8);
    mdb_env_set_mapsize(env, 8 << 20);
    int e = mdb_env_open(env, folder, 0, 0600);
    if (!e)
        e = mdb_txn_begin(env, NULL, 0, &txn);
    if (!e)
        e = mdb_dbi_open(txn, "labels0", MDB_CREATE, &dbi);
    if (!e)
        e = mdb_put(txn, dbi, &mk, &mv, 0);
    if (!e)
        e = mdb_txn_commit(txn);
    mdb_env_close(env);
    if (e)
        ok(false, "put_raw: %s", mdb_strerror(e));
}

static void test_damaged_records(void)
{
    struct label_list l = list_of("b", "damaged", 0, 4, NULL);
    struct disk *d = open_disk(NULL);
    offer(d, &l, 0, NOW);
    disk_close(d);
    char record[LABEL_RECORD_MAX];
    medley_result r = numbered(2);
    struct label_key key = label_list_key(&l, 2);
    size_t n =
        label_record_write(record, &key, &(struct label){.result = &r, .stored_ms = NOW}, K);
    put_raw(&l, 0, "", 0);
    put_raw(&l, 1, "not a label at all, but something", 33);
    put_raw(&l, 2, record, n - 3);
    d = open_disk(NULL);
    ok(look(d, &l, 0, NOW, -1) == 1, "the whole one is found");
    ok(stats_of(d).damaged == 3 && stats_of(d).errors == 0, "three damaged records are misses");
    offer(d, &l, 0, NOW + 1);
    disk_flush(d);
    ok(look(d, &l, 0, NOW + 1, -1) == 4, "and are written anew");
    disk_clear(d);
    disk_close(d);
    label_list_deinit(&l);
}

static char *path_of(const char *name)
{
    return path_join(folder, name);
}

static void test_damaged_files(void)
{
    struct label_list l = list_of("b", "file", 0, 2000, NULL);
    struct disk *d = open_disk(NULL);
    offer(d, &l, 0, NOW);
    disk_close(d);
    char *path = path_of("data.mdb");
    ok(truncate(path, 40960) == 0, "the file is cut short");
    warnings = 0;
    d = open_disk(NULL);
    ok(warnings == 1 && strstr(last_warning, "begun anew"), "one warning: %s", last_warning);
    ok(look(d, &l, 0, NOW, -1) == 0, "it is empty");
    offer(d, &l, 0, NOW);
    disk_flush(d);
    ok(look(d, &l, 0, NOW, -1) == 2000, "and works");
    medley_error err;
    struct disk *second = NULL;
    struct epochs *e = epochs_new();
    ok(disk_open(&options, e, &second, &err) == MEDLEY_EIO &&
           strstr(err.message, "another process"),
       "one at a time: %s", err.message);
    struct tier_stats seen;
    disk_close(d);
    ok(disk_inspect(folder, &seen, &err) == MEDLEY_OK && seen.entries == 2000,
       "what is there can be told");
    ok(file_write(path, "rubbish that is no LMDB file, and long enough to be read as one", 60,
                  &err) == 0,
       "rubbish");
    d = open_disk(NULL);
    ok(warnings == 2 && look(d, &l, 0, NOW, -1) == 0, "is replaced too");
    offer(d, &l, 0, NOW);
    disk_close(d);
    options.bytes = 1 << 20; /* fits no longer? then the file is begun anew, not broken */
    d = open_disk(NULL);
    offer(d, &l, 0, NOW);
    disk_flush(d);
    ok(stats_of(d).errors == 0, "a smaller limit");
    disk_clear(d);
    disk_close(d);
    options.bytes = 8 << 20;
    options.folder = path;
    ok(disk_open(&options, e, &second, &err) == MEDLEY_EIO, "no folder: %s", err.message);
    ok(disk_inspect("/nonexistent", &seen, &err) == MEDLEY_EIO, "nor there: %s", err.message);
    options.folder = folder;
    epochs_free(e);
    mem_free(path);
    label_list_deinit(&l);
}

/* A stream of ten times what the file may hold, with a few pairs that are asked for all the
 * time. */
static void test_full(void)
{
    options.bytes = 1 << 20;
    struct disk *d = open_disk(NULL);
    struct label_list hot = list_of("b", "hot", 0, 20, NULL);
    size_t wrong = 0, rounds = 100;
    offer(d, &hot, 0, NOW);
    for (unsigned i = 0; i < rounds; i++) {
        struct label_list l = list_of("b", "stream", i * 200, 200, NULL);
        offer(d, &l, i, NOW + i);
        disk_flush(d);
        wrong += look(d, &l, i, NOW + i, -1) != 200;
        wrong += look(d, &hot, 0, NOW + i, -1) != 20;
        label_list_deinit(&l);
    }
    struct tier_stats s = stats_of(d);
    struct stat file;
    char *path = path_of("data.mdb");
    stat(path, &file);
    ok(wrong == 0, "20,000 labels through 1 MiB: the newest and the used ones are there");
    ok(s.errors == 0 && s.dropped == 0, "no write failed");
    ok(s.evicted > 12000 && s.entries < 8000, "%lu were forgotten, %lu are there",
       (unsigned long)s.evicted, (unsigned long)s.entries);
    ok(file.st_size <= 1 << 20 && s.bytes <= 1 << 20, "%ld bytes of file", (long)file.st_size);
    mem_free(path);
    disk_clear(d);
    disk_close(d);
    options.bytes = 8 << 20;
    label_list_deinit(&hot);
}

/* Stands for a full disk: the system refuses to make the file longer. */
static void test_write_fails(void)
{
    struct rlimit before, limit;
    char *path = path_of("data.mdb");
    unlink(path);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    struct disk *d = open_disk(NULL);
    struct label_list l = list_of("b", "first", 0, 50, NULL);
    offer(d, &l, 0, NOW);
    disk_flush(d);
    struct stat file;
    stat(path, &file);
    limit = before;
    limit.rlim_cur = (rlim_t)file.st_size;
    setrlimit(RLIMIT_FSIZE, &limit);
    warnings = 0;
    struct label_list more = list_of("b", "more", 0, 3000, NULL);
    for (int i = 0; i < 3; i++) {
        offer(d, &more, 0, NOW);
        disk_flush(d);
    }
    struct tier_stats s = stats_of(d);
    ok(s.errors >= 3 && s.dropped == 9000, "writes that fail are counted: %lu errors",
       (unsigned long)s.errors);
    ok(warnings == 1, "and warned of once: %s", last_warning);
    ok(look(d, &l, 0, NOW, -1) == 50, "reading goes on");
    setrlimit(RLIMIT_FSIZE, &before);
    offer(d, &more, 0, NOW);
    disk_flush(d);
    ok(look(d, &more, 0, NOW, -1) == 3000, "and writing, once there is room again");
    disk_clear(d);
    disk_close(d);
    label_list_deinit(&l);
    label_list_deinit(&more);
    mem_free(path);
}

/* LMDB gives its environment up then. */
static void test_last_page_fails(void)
{
    struct disk *d = open_disk(NULL);
    struct label_list l = list_of("b", "kept", 0, 50, NULL);
    struct label_list more = list_of("b", "lost", 0, 50, NULL);
    struct hash128 product = {1, 2};
    offer(d, &l, 0, NOW);
    disk_flush(d);
    for (int i = 0; i < 4; i++) { /* either of the first two pages, twice */
        atomic_store(&last_page_fails, true);
        offer(d, &more, 0, NOW);
        disk_flush(d);
        ok(disk_write_epochs(d, &product, 1, 7, NULL) == MEDLEY_EIO,
           "an invalidation that cannot be kept is told");
        atomic_store(&last_page_fails, false);
        struct tier_stats s = stats_of(d);
        ok(s.dropped == 50u * (unsigned)(i + 1) && s.up &&
               look(d, &l, i ? (unsigned)i - 1 : 0, NOW + i, -1) == 50 &&
               look(d, &more, 0, NOW, -1) == 0,
           "when the last page fails nothing else is lost");
        offer(d, &l, (unsigned)i, NOW + i);
        disk_flush(d);
        ok(look(d, &l, (unsigned)i, NOW + i, -1) == 50, "and writing goes on");
    }
    disk_clear(d);
    disk_close(d);
    label_list_deinit(&l);
    label_list_deinit(&more);
}

static bool fill_up(const char *path)
{
    char block[4096] = {1};
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    while (fd >= 0 && write(fd, block, sizeof block) == (ssize_t)sizeof block)
        ;
    bool full = errno == ENOSPC;
    close(fd);
    return full;
}

/* A file system of half a megabyte, which takes the rights to mount one. Everything that LMDB
 * maps must be there already: a hole would be SIGBUS. */
static void test_disk_full(void)
{
    char room[160], filler[192];
    snprintf(room, sizeof room, "%s-room", folder);
    snprintf(filler, sizeof filler, "%s/filler", room);
    mkdir(room, 0700);
    if (mount("tmpfs", room, "tmpfs", 0, "size=512k")) {
        skip("no rights to mount a small file system");
        return;
    }
    options.folder = room;
    struct disk *d = open_disk(NULL);
    struct label_list l = list_of("b", "before", 0, 100, NULL);
    struct label_list more = list_of("b", "more", 0, 1000, NULL);
    offer(d, &l, 0, NOW);
    disk_flush(d);
    bool full = fill_up(filler);
    warnings = 0;
    offer(d, &more, 0, NOW);
    disk_flush(d);
    struct tier_stats s = stats_of(d);
    ok(full && s.errors > 0 && s.dropped > 0, "the disk is full: %lu labels dropped",
       (unsigned long)s.dropped);
    ok(warnings == 1 && strstr(last_warning, "No space left"), "one warning: %s", last_warning);
    ok(look(d, &l, 0, NOW, -1) == 100, "what is there is read");
    struct hash128 product = epochs_hash(STR("P"));
    medley_error err;
    ok(disk_write_epochs(d, &product, 1, 5, &err) == MEDLEY_EIO || s.up,
       "an invalidation says when it could not be written");
    disk_close(d);
    struct epochs *e = epochs_new();
    d = NULL;
    medley_status st = disk_open(&options, e, &d, &err);
    ok(st == MEDLEY_OK || st == MEDLEY_EIO, "opened while it is full: %s",
       st ? err.message : "fine");
    disk_close(d);
    unlink(filler);
    d = open_disk(NULL);
    ok(look(d, &l, 0, NOW, -1) == 100, "nothing was damaged");
    offer(d, &more, 0, NOW);
    disk_flush(d);
    ok(stats_of(d).written > 0, "with room it is written to again");
    disk_close(d);
    label_list_deinit(&l);
    label_list_deinit(&more);
    /* And a folder that is full from the beginning. */
    char *data = path_join(room, "data.mdb"), *lock = path_join(room, "lock.mdb");
    unlink(data), unlink(lock);
    fill_up(filler);
    d = NULL;
    ok(disk_open(&options, e, &d, &err) == MEDLEY_EIO, "a full folder: %s", err.message);
    mem_free(data), mem_free(lock);
    epochs_free(e);
    options.folder = folder;
    umount2(room, MNT_DETACH);
}

static void test_bundles(void)
{
    struct disk *d = open_disk(NULL);
    static const char *const names[] = {"a", "b", "c", "d"};
    struct label_list lists[4];
    for (size_t i = 0; i < 4; i++) {
        lists[i] = list_of(names[i], "q", 0, 1500, NULL);
        offer(d, &lists[i], (unsigned)i, NOW);
    }
    disk_flush(d);
    disk_keep_bundles(d, (const char *const[]){"b", "d", "none"}, 3);
    disk_flush(d);
    for (size_t i = 0; i < 4; i++)
        ok(look(d, &lists[i], (unsigned)i, NOW, -1) == (i % 2 ? 1500 : 0),
           "labels of bundle %s: %s", names[i], i % 2 ? "kept" : "dropped");
    ok(stats_of(d).entries == 3000 && stats_of(d).evicted == 3000, "and counted");
    disk_keep_bundles(d, NULL, 0);
    disk_flush(d);
    ok(stats_of(d).entries == 0, "none kept");
    disk_close(d);
    for (size_t i = 0; i < 4; i++)
        label_list_deinit(&lists[i]);
}

static void test_epochs(void)
{
    struct epochs *e = epochs_new();
    struct disk *d = open_disk(e);
    struct hash128 products[] = {epochs_hash(STR("P1")), epochs_hash(STR("P2"))};
    medley_error err;
    ok(epochs_of(e, STR("P1")) == 0, "no epoch at first");
    ok(disk_write_epochs(d, products, 2, 500, &err) == MEDLEY_OK, "written");
    ok(disk_write_epochs(d, products, 1, 600, &err) == MEDLEY_OK, "raised");
    disk_close(d);
    epochs_free(e);
    e = epochs_new();
    d = open_disk(e);
    ok(epochs_of(e, STR("P1")) == 600 && epochs_of(e, STR("P2")) == 500,
       "there after a restart");
    ok(epochs_next(e, 100) == 601, "the next is above them, whatever the clock says");
    disk_write_epochs(d, &epochs_everything, 1, 700, &err);
    disk_close(d);
    epochs_free(e);
    e = epochs_new();
    d = open_disk(e);
    ok(epochs_of(e, STR("P2")) == 700 && epochs_of(e, STR("other")) == 700, "of all products");
    disk_close(d);
    epochs_free(e);
}

/* ---- kill -9 -------------------------------------------------------------------------------
 */

static void write_until_killed(int tell)
{
    struct disk *d = open_disk(NULL);
    struct label_list l = list_of("b", "kept", 0, 500, NULL);
    offer(d, &l, 3, NOW);
    disk_flush(d);
    char byte = 1;
    if (write(tell, &byte, 1) != 1)
        _exit(1);
    for (unsigned i = 0;; i++) {
        struct label_list more = list_of("b", "more", i % 50 * 100, 100, NULL);
        offer(d, &more, i % 50 * 100, NOW);
        label_list_deinit(&more);
        if (i % 5 == 0)
            disk_flush(d);
    }
}

static void test_kill(void)
{
    struct label_list l = list_of("b", "kept", 0, 500, NULL);
    struct label_list more = list_of("b", "more", 0, 5000, NULL);
    size_t wrong = 0, lost = 0;
    for (int round = 0; round < 5; round++) {
        int ends[2];
        char byte;
        if (pipe(ends))
            return;
        pid_t child = fork();
        if (child == 0)
            write_until_killed(ends[1]);
        wrong += read(ends[0], &byte, 1) != 1;
        nanosleep(&(struct timespec){.tv_nsec = 7000000 + round * 9000000}, NULL);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        close(ends[0]);
        close(ends[1]);
        struct disk *d = open_disk(NULL);
        lost += look(d, &l, 3, NOW, -1) != 500;
        wrong += look(d, &more, 0, NOW, -1) > 5000;
        wrong += stats_of(d).damaged || stats_of(d).errors;
        disk_clear(d);
        disk_close(d);
    }
    ok(lost == 0, "kill -9: what was written is there");
    ok(wrong == 0, "and nothing is damaged");
    label_list_deinit(&l);
    label_list_deinit(&more);
}

/* ---- threads -------------------------------------------------------------------------------
 */

static struct disk *shared_disk;

static void *hammer(void *context)
{
    struct rng rng;
    size_t wrong = 0;
    rng_init(&rng, 5, (uint64_t)(uintptr_t)context);
    for (int i = 0; i < 300; i++) {
        unsigned first = rng_below(&rng, 40) * 25;
        struct label_list l = list_of("b", "threads", first, 25, NULL);
        if (rng_below(&rng, 2))
            offer(shared_disk, &l, first, NOW);
        else
            wrong += look(shared_disk, &l, first, NOW, -1) == SIZE_MAX;
        if (i % 60 == 0)
            stats_of(shared_disk);
        if (i % 100 == 50)
            disk_keep_bundles(shared_disk, (const char *const[]){"b"}, 1);
        label_list_deinit(&l);
    }
    return (void *)(uintptr_t)wrong;
}

static void test_threads(void)
{
    pthread_t threads[4];
    size_t wrong = 0;
    shared_disk = open_disk(NULL);
    for (size_t t = 0; t < 4; t++)
        pthread_create(&threads[t], NULL, hammer, (void *)(uintptr_t)t);
    for (size_t t = 0; t < 4; t++) {
        void *n;
        pthread_join(threads[t], &n);
        wrong += (size_t)(uintptr_t)n;
    }
    struct tier_stats s = stats_of(shared_disk);
    ok(wrong == 0 && s.errors == 0, "four threads, no wrong label");
    disk_close(shared_disk);
}

int main(void)
{
    snprintf(folder, sizeof folder, "%s/cache", tap_folder());
    test_kill(); /* first: it forks, and there are no threads yet */
    test_round_trip();
    test_collision();
    test_damaged_records();
    test_damaged_files();
    test_full();
    test_write_fails();
    test_last_page_fails();
    test_disk_full();
    test_bundles();
    test_epochs();
    test_threads();
    return tap_done();
}
