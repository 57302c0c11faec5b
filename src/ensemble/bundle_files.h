/* bundle_files.h: a bundle as a folder: linking files into it, its id, making it the current
 * one. Used by whoever writes bundles: bundle_write.c, precompute_bundle.c. */
#ifndef ENSEMBLE_BUNDLE_FILES_H
#define ENSEMBLE_BUNDLE_FILES_H

#include "ensemble/workspace.h"

/* A hard link, or a copy where the file system has none; makes the folders above `to`. */
medley_status bundle_link(const char *from, const char *to, medley_error *err);
/* All files below `from`, except folders at its top that are in skip[] (ends with NULL). */
medley_status bundle_link_tree(const char *from, const char *to, const char *const *skip,
                               medley_error *err);
/* The id: of the names and contents of all files but embeddings/ and about/. */
medley_status bundle_hash(const char *folder, struct hash128 *out, medley_error *err);
/* Names the finished folder bundle/<hash> and points bundle/current at it. If it is there
 * already, only these two are moved over. */
medley_status bundle_publish(const struct workspace *w, const char *folder, struct hash128 hash,
                             medley_error *err);

#endif
