/* ubjson.h: UBJSON (draft 12) as XGBoost writes it, turned into JSON text, so that one strict
 * reader serves both. */
#ifndef GBDT_UBJSON_H
#define GBDT_UBJSON_H

#include "base/str.h"
#include "medley/status.h"

/* Appends the JSON text of the one value in `data` to *out. Counts are believed only as far as
 * bytes follow; numbers that are not finite become null. Errors (MEDLEY_EFORMAT) name the byte;
 * those of memory stay in out->failed. */
medley_status ubjson_to_json(struct str data, const char *name, struct strbuf *out,
                             medley_error *err);

#endif
