/* file.h: reading, mapping and atomically replacing files; paths; content hashes. */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include "base/str.h"
#include "medley/status.h"

#include <stdio.h>

/* A whole file in memory, terminated with a zero byte past the end. Free data with mem_free. */
medley_status file_read(const char *path, size_t limit, char **data, size_t *n,
                        medley_error *err);

/* A read-only private mapping; {NULL,0} for an empty file. */
struct mapping {
    const uint8_t *data;
    size_t n;
};
medley_status mapping_open(const char *path, struct mapping *out, medley_error *err);
void mapping_close(struct mapping *m);
/* Bytes of a mapping that will hardly be read again leave our memory; they stay readable. */
void mapping_give_back(const uint8_t *from, size_t n);

/* Atomic replacement: writes go to PATH.tmp.PID; commit does fflush, fsync, rename and fsync of
 * the folder; until then the old file is whole. Always end with outfile_commit or outfile_abort
 * (abort after commit, or on a zeroed struct, does nothing). */
struct outfile {
    FILE *f;         /* write here with stdio; errors are found at commit */
    char *path;      /* owned */
    char *temporary; /* owned */
};
medley_status outfile_open(struct outfile *o, const char *path, medley_error *err);
medley_status outfile_commit(struct outfile *o, medley_error *err);
void outfile_abort(struct outfile *o);
medley_status file_write(const char *path, const void *data, size_t n, medley_error *err);

medley_status make_folders(const char *path, medley_error *err); /* like mkdir -p */
medley_status remove_tree(const char *path,
                          medley_error *err); /* like rm -rf; absent is fine */
bool file_exists(const char *path);
bool folder_exists(const char *path);
/* "a/b"; the caller frees with mem_free; NULL when out of memory. An absolute b replaces a. */
char *path_join(const char *a, const char *b);

/* 128-bit XXH3 of content, for staleness and content addresses; not a defence against forgers.
 */
struct hash128 {
    uint64_t low, high;
};
struct hash128 hash_bytes(const void *data, size_t n, struct hash128 seed);
medley_status hash_file(const char *path, struct hash128 *inout, medley_error *err);
void hash_text(struct hash128 h, char out[33]); /* 32 hex digits and a zero */

#endif
