/* regex.h: the one door to PCRE2: patterns over valid UTF-8, with Unicode's classes. Private to
 * src/text. */
#ifndef TEXT_REGEX_H
#define TEXT_REGEX_H

#include "base/str.h"
#include "medley/status.h"

struct regex; /* immutable; threads may share it */

/* EUNSUPPORTED, with the place, for what PCRE2 does not take. `literal`: the pattern stands for
 * itself. */
medley_status regex_new(struct str pattern, bool literal, struct regex **out,
                        medley_error *err);
void regex_free(struct regex *r);
/* The next match at or after byte `at` of text; false when there is none (or matching it would
 * cost too much). An empty match is reported. */
bool regex_next(const struct regex *r, struct str text, size_t at, size_t *begin, size_t *end);

#endif
