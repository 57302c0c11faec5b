/* disk_private.h: what the files of the disk tier share.
 *
 *   disk.c         opening, looking up;  disk_writer.c  the thread that writes */
#ifndef CACHE_DISK_PRIVATE_H
#define CACHE_DISK_PRIVATE_H

#include "cache/disk.h"
#include "cache/lmdb_file.h"
#include "cache/outbox.h"

#include <pthread.h>

enum { GENERATIONS = 4 };

/* Key of a label: its bundle first, so that those of one bundle lie together. In memory order:
 * it is compared with memcmp and read by the same kind of machine only. */
struct disk_key {
    uint64_t bundle, high, low;
};

struct disk {
    struct lmdb_file file;
    MDB_dbi generations[GENERATIONS], about, products;
    _Atomic unsigned newest; /* generation written to */
    size_t bytes, n_classes;
    int64_t ttl_ms;
    int lock_fd;
    struct outbox *outbox;
    struct tier_counters counters;
    void (*warn)(void *context, const char *text);
    void *warn_context;
    atomic_uint warned; /* bit: kind of trouble */
    /* the writer */
    pthread_t writer;
    bool has_writer;
    atomic_bool stopping;
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t wake;  /* a round is over */
    uint64_t rounds;      /* begun */
    uint64_t rounds_done;
    uint64_t *kept; /* [n_kept] bundles, to be acted upon; NULL: none asked */
    size_t n_kept;
    bool clear;
};

medley_status disk_start_writer(struct disk *d, medley_error *err);
void disk_stop_writer(struct disk *d);
/* Counts a failure of LMDB and warns once of each kind. */
void disk_failed(struct disk *d, int e, const char *doing);

#endif
