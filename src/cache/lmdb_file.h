/* lmdb_file.h: LMDB environments, so that neither another process nor a full disk nor a file
 * that was cut short ends this one.
 *
 * LMDB gives an environment up, for readers too, when its last page cannot be written: a disk
 * that is away for a moment, or that takes every page as a new one and is full. What was
 * committed before is still there, so lmdb_begin opens the file anew. */
#ifndef CACHE_LMDB_FILE_H
#define CACHE_LMDB_FILE_H

#include "medley/status.h"

#include <lmdb.h>
#include <pthread.h>

#define LMDB_MAX_READERS 512 /* threads */

/* Makes the folder; one process at a time has it: *lock_fd holds it until it is closed. EIO: no
 * permission, or in use. */
medley_status lmdb_take_folder(const char *folder, int *lock_fd, medley_error *err);

struct lmdb_options {
    const char *folder; /* copied */
    size_t bytes;       /* of the map; 0: as many as the file has */
    unsigned databases, flags;
    /* Opens them, in a transaction that is committed; again whenever the file is. LMDB's
     * status. */
    int (*open_databases)(void *context, MDB_txn *txn);
    void *context;
};

struct lmdb_file {
    struct lmdb_options options;
    pthread_rwlock_t lock; /* of all below: for reading while a transaction lasts */
    MDB_env *env;          /* NULL: it could not be opened anew */
    int why_not;           /* LMDB's status, then */
    double retry_at;       /* clock_seconds */
};

/* LMDB's status, here and below. MDB_CORRUPTED: the file is shorter than it should be.
 * MDB_MAP_RESIZED: it holds more than `bytes`. */
int lmdb_open(struct lmdb_file *f, const struct lmdb_options *options);
void lmdb_close(struct lmdb_file *f); /* one of zeros is fine */
bool lmdb_is_open(struct lmdb_file *f);

/* A transaction, which lmdb_commit or lmdb_abort ends; one at a time in a thread. *out is NULL
 * unless 0. Thread-safe. */
int lmdb_begin(struct lmdb_file *f, unsigned flags, MDB_txn **out);
int lmdb_commit(struct lmdb_file *f, MDB_txn *txn);
void lmdb_abort(struct lmdb_file *f, MDB_txn *txn); /* accepts NULL */
/* Waits until what was committed is on the disk. */
int lmdb_sync(struct lmdb_file *f);

#endif
