/* lmdb_file.c: see lmdb_file.h. */
#include "cache/lmdb_file.h"

#include "base/cpu.h"
#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* One process at a time: the descriptor holds the lock until it is closed. */
static medley_status lock_folder(const char *folder, int *out, medley_error *err)
{
    medley_status st = MEDLEY_OK;
    char *path = path_join(folder, "in-use");
    if (!path)
        return fail_memory(err, "a path");
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        st = fail(err, MEDLEY_EIO, "cannot write '%s': %s", path, strerror(errno));
    else if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        st = fail(err, MEDLEY_EIO, "'%s' is used by another process", folder);
    mem_free(path);
    if (st && fd >= 0)
        close(fd);
    if (!st)
        *out = fd;
    return st;
}

/* LMDB writes to its lock file through a map; where the disk is full, a hole in it is SIGBUS.
 * So its blocks are taken before LMDB opens it, a slot of 64 bytes a reader. */
static medley_status reserve_lock_file(const char *folder, medley_error *err)
{
    char *path = path_join(folder, "lock.mdb");
    if (!path)
        return fail_memory(err, "a path");
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    int e = fd < 0 ? errno : posix_fallocate(fd, 0, (LMDB_MAX_READERS + 64) * 64);
    if (fd >= 0)
        close(fd);
    mem_free(path);
    return e ? fail(err, MEDLEY_EIO, "cannot write into '%s': %s", folder, strerror(e))
             : MEDLEY_OK;
}

medley_status lmdb_take_folder(const char *folder, int *lock_fd, medley_error *err)
{
    int fd = -1;
    medley_status st = make_folders(folder, err);
    if (!st)
        st = lock_folder(folder, &fd, err);
    if (!st)
        st = reserve_lock_file(folder, err);
    if (st && fd >= 0)
        close(fd);
    else if (!st)
        *lock_fd = fd;
    return st;
}

/* LMDB maps the file and would meet SIGBUS past the end of one that was cut short. */
static bool is_cut_short(MDB_env *env)
{
    MDB_envinfo info;
    MDB_stat stat;
    struct stat file;
    int fd;
    return mdb_env_info(env, &info) || mdb_env_stat(env, &stat) || mdb_env_get_fd(env, &fd) ||
           fstat(fd, &file) != 0 ||
           (file.st_size > 0 &&
            (uint64_t)file.st_size < ((uint64_t)info.me_last_pgno + 1) * stat.ms_psize);
}

/* LMDB raises the size of the map to what is in the file already. */
static bool is_larger(MDB_env *env, size_t bytes)
{
    MDB_envinfo info;
    return mdb_env_info(env, &info) == 0 && info.me_mapsize > bytes;
}

/* Stale readers are those of a process that was killed. */
static int open_environment(const struct lmdb_options *o, MDB_env **out)
{
    MDB_env *env = NULL;
    int dead, e = mdb_env_create(&env);
    if (!e)
        e = mdb_env_set_maxdbs(env, o->databases);
    if (!e && o->bytes)
        e = mdb_env_set_mapsize(env, o->bytes);
    if (!e)
        e = mdb_env_set_maxreaders(env, LMDB_MAX_READERS);
    if (!e)
        e = mdb_env_open(env, o->folder, o->flags | MDB_NORDAHEAD, 0600);
    if (!e)
        e = mdb_reader_check(env, &dead);
    if (!e && is_cut_short(env))
        e = MDB_CORRUPTED;
    if (!e && o->bytes && is_larger(env, o->bytes))
        e = MDB_MAP_RESIZED;
    if (e)
        mdb_env_close(env);
    else
        *out = env;
    return e;
}

static int open_all(struct lmdb_file *f)
{
    MDB_txn *txn = NULL;
    int e = open_environment(&f->options, &f->env);
    if (e)
        return e;
    e = mdb_txn_begin(f->env, NULL, f->options.flags & MDB_RDONLY, &txn);
    if (!e)
        e = f->options.open_databases(f->options.context, txn);
    if (!e)
        e = mdb_txn_commit(txn);
    else if (txn)
        mdb_txn_abort(txn);
    if (e) {
        mdb_env_close(f->env);
        f->env = NULL;
    }
    return e;
}

int lmdb_open(struct lmdb_file *f, const struct lmdb_options *options)
{
    *f = (struct lmdb_file){.options = *options};
    if (!(f->options.folder = mem_strdup(options->folder)))
        return ENOMEM;
    pthread_rwlock_init(&f->lock, NULL);
    int e = open_all(f);
    if (e)
        lmdb_close(f);
    return e;
}

void lmdb_close(struct lmdb_file *f)
{
    if (!f->options.folder)
        return;
    if (f->env)
        mdb_env_close(f->env);
    pthread_rwlock_destroy(&f->lock);
    mem_free((char *)f->options.folder);
    *f = (struct lmdb_file){0};
}

bool lmdb_is_open(struct lmdb_file *f)
{
    pthread_rwlock_rdlock(&f->lock);
    bool open = f->env != NULL;
    pthread_rwlock_unlock(&f->lock);
    return open;
}

/* ---- transactions ------------------------------------------------------------------------ */

static int begin(struct lmdb_file *f, unsigned flags, MDB_txn **out)
{
    *out = NULL;
    pthread_rwlock_rdlock(&f->lock);
    int e = f->env ? mdb_txn_begin(f->env, NULL, flags, out) : MDB_PANIC;
    if (e)
        pthread_rwlock_unlock(&f->lock);
    return e;
}

static bool is_given_up(MDB_env *env)
{
    MDB_txn *txn = NULL;
    int e = mdb_txn_begin(env, NULL, MDB_RDONLY, &txn);
    if (txn)
        mdb_txn_abort(txn);
    return e == MDB_PANIC;
}

/* LMDB would begin an empty file. */
static bool is_there(const char *folder)
{
    char *path = path_join(folder, "data.mdb");
    bool there = path && file_exists(path);
    mem_free(path);
    return there;
}

/* Unless another thread has, or has failed to in the last second. */
static int open_anew(struct lmdb_file *f)
{
    int e = 0;
    pthread_rwlock_wrlock(&f->lock);
    if (f->env && is_given_up(f->env)) {
        mdb_env_close(f->env);
        f->env = NULL;
        f->retry_at = 0;
    }
    if (!f->env && clock_seconds() >= f->retry_at) {
        f->why_not = is_there(f->options.folder) ? open_all(f) : ENOENT;
        f->retry_at = clock_seconds() + 1;
    }
    if (!f->env)
        e = f->why_not;
    pthread_rwlock_unlock(&f->lock);
    return e;
}

int lmdb_begin(struct lmdb_file *f, unsigned flags, MDB_txn **out)
{
    int e = begin(f, flags, out);
    if (e == MDB_PANIC && !(e = open_anew(f)))
        e = begin(f, flags, out);
    return e;
}

int lmdb_commit(struct lmdb_file *f, MDB_txn *txn)
{
    int e = mdb_txn_commit(txn);
    pthread_rwlock_unlock(&f->lock);
    return e;
}

void lmdb_abort(struct lmdb_file *f, MDB_txn *txn)
{
    if (!txn)
        return;
    mdb_txn_abort(txn);
    pthread_rwlock_unlock(&f->lock);
}

int lmdb_sync(struct lmdb_file *f)
{
    pthread_rwlock_rdlock(&f->lock);
    int e = f->env ? mdb_env_sync(f->env, 1) : f->why_not;
    pthread_rwlock_unlock(&f->lock);
    return e;
}
