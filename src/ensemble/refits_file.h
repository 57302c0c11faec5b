/* refits_file.h: keeps played coalitions in ensemble/, so that ranking and selection, which ask
 * for the same ones, refit them once. Private to refits.c. */
#ifndef ENSEMBLE_REFITS_FILE_H
#define ENSEMBLE_REFITS_FILE_H

#include "base/file.h"
#include "ensemble/refits.h"

/* Of everything that the values depend on. r: plan and sizes are set. */
struct hash128 refits_key(const struct stack *s, const struct players *p,
                          const struct slices *slices, const struct refit_options *options,
                          const struct refits *r);
/* False when there is none of this key; a file that is damaged counts as none. */
bool refits_read(const struct workspace *w, enum players_by by, struct hash128 key,
                 struct refits *r);
medley_status refits_write(const struct workspace *w, enum players_by by, struct hash128 key,
                           const struct refits *r, medley_error *err);

#endif
