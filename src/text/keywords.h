/* keywords.h: TF-IDF keyword extraction, which keeps the informative part of long descriptions.
 */
#ifndef TEXT_KEYWORDS_H
#define TEXT_KEYWORDS_H

#include "base/str.h"
#include "medley/status.h"

struct keywords; /* document frequencies per locale; immutable once built */

struct keywords *keywords_new(void); /* NULL when out of memory */
void keywords_free(struct keywords *k);
/* Counts one document (a product's text). */
medley_status keywords_add(struct keywords *k, struct str locale, struct str text,
                           medley_error *err);
medley_status keywords_save(const struct keywords *k, const char *path, medley_error *err);
medley_status keywords_load(const char *path, struct keywords **out, medley_error *err);

/* Smoothed inverse document frequency, ln((1+N)/(1+df)) + 1, of one word. */
double keywords_idf(const struct keywords *k, struct str locale, struct str word);

/* Appends the parts of `text` (sentences or clauses, in their original order) with the highest
 * TF-IDF mass per word, up to max_words words. The whole text when it fits. */
void keywords_extract(const struct keywords *k, struct str locale, struct str text,
                      size_t max_words, struct strbuf *out);

#endif
