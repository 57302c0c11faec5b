/* lmdb_file.h: opening LMDB environments so that neither another process nor a full disk nor a
 * file that was cut short ends this one. */
#ifndef CACHE_LMDB_FILE_H
#define CACHE_LMDB_FILE_H

#include "medley/status.h"

#include <lmdb.h>

#define LMDB_MAX_READERS 512 /* threads */

/* Makes the folder; one process at a time has it: *lock_fd holds it until it is closed. EIO: no
 * permission, or in use. */
medley_status lmdb_take_folder(const char *folder, int *lock_fd, medley_error *err);

/* LMDB's status. MDB_CORRUPTED: the file is shorter than it should be. MDB_MAP_RESIZED: it
 * holds more than `bytes` (of the map; 0: as many as the file has). *out only when 0. */
int lmdb_open(const char *folder, size_t bytes, unsigned databases, unsigned flags,
              MDB_env **out);

#endif
