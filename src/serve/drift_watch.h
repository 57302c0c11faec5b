/* drift_watch.h: compares the probabilities that a bundle's models give to live pairs with
 * those of training (ensemble/drift.h), over the last 20,000 to 40,000 judged pairs. Remembered
 * labels are not judged, and do not count. Nor do later stages of a cascade, which see the
 * undecided pairs alone. Thread-safe. */
#ifndef SERVE_DRIFT_WATCH_H
#define SERVE_DRIFT_WATCH_H

#include "base/json.h"
#include "serve/engine.h"

struct drift_watch; /* opaque */

/* NULL: the bundle has nothing to compare with, or there is no memory. */
struct drift_watch *drift_watch_new(const struct engine *e);
void drift_watch_free(struct drift_watch *d); /* accepts NULL */
/* said[n * M * K] as of medley_bundle_classify. */
void drift_watch_add(struct drift_watch *d, const medley_result *results, const float *said,
                     size_t n);
/* Metric families. */
void drift_watch_metrics(struct drift_watch *d, struct strbuf *out);
/* An object: pairs, labels, models with psi and missing. */
void drift_watch_write(struct drift_watch *d, struct json_writer *w);

#endif
