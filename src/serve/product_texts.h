/* product_texts.h: texts of products that came while the server ran, in an LMDB file. They
 * stand for those of every bundle until they are removed.
 *
 * What was put is on the disk when product_texts_put returns: a kill or a power cut after it
 * loses nothing, one during it leaves the list either whole or as it was. Locales and ids are
 * the key, in full.
 *
 * One process at a time has a folder. Readers wait for no writer; a filter in memory spares
 * products without a new text the look into the file. Thread-safe, but for open and close.
 * Proof: tests/test_product_texts.c. */
#ifndef SERVE_PRODUCT_TEXTS_H
#define SERVE_PRODUCT_TEXTS_H

#include "base/arena.h"
#include "base/str.h"
#include "serve/product_record.h"

struct product_texts; /* opaque */

/* `warn` is told once of each kind of trouble; NULL: nobody is. Errors: EIO (no permission, in
 * use, the file is damaged: it is left as it is), ENOMEM. */
medley_status product_texts_open(const char *folder,
                                 void (*warn)(void *context, const char *text),
                                 void *warn_context, struct product_texts **out,
                                 medley_error *err);
void product_texts_close(struct product_texts *t); /* accepts NULL */

/* All or none of list[n]; of one id twice the last. EIO: *full says whether for want of room.
 */
medley_status product_texts_put(struct product_texts *t, medley_text locale,
                                const medley_product *list, size_t n, bool *full,
                                medley_error *err);
/* The bundle's text is the product's again; *found: there was another. */
medley_status product_texts_remove(struct product_texts *t, medley_text locale, medley_text id,
                                   bool *found, medley_error *err);

/* Gives those of list[n] that have an id and no text the text that was put for them, in memory
 * of `texts`; how many. A damaged record is warned of and counts as none. ENOMEM. */
medley_status product_texts_fill(struct product_texts *t, medley_text locale,
                                 medley_product *list, size_t n, struct arena *texts,
                                 medley_error *err);
/* The same of one product; *found: there is one. EIO, ENOMEM. */
medley_status product_texts_get(struct product_texts *t, medley_text locale, medley_text id,
                                struct product_record *out, struct arena *texts, bool *found,
                                medley_error *err);

void product_texts_metrics(struct product_texts *t, struct strbuf *out);

#endif
