/* lmdb_file.c: see lmdb_file.h. */
#include "cache/lmdb_file.h"

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
int lmdb_open(const char *folder, size_t bytes, unsigned databases, unsigned flags,
              MDB_env **out)
{
    MDB_env *env = NULL;
    int dead, e = mdb_env_create(&env);
    if (!e)
        e = mdb_env_set_maxdbs(env, databases);
    if (!e && bytes)
        e = mdb_env_set_mapsize(env, bytes);
    if (!e)
        e = mdb_env_set_maxreaders(env, LMDB_MAX_READERS);
    if (!e)
        e = mdb_env_open(env, folder, flags | MDB_NORDAHEAD, 0600);
    if (!e)
        e = mdb_reader_check(env, &dead);
    if (!e && is_cut_short(env))
        e = MDB_CORRUPTED;
    if (!e && bytes && is_larger(env, bytes))
        e = MDB_MAP_RESIZED;
    if (e)
        mdb_env_close(env);
    else
        *out = env;
    return e;
}
