/* normalizer.h: the normalisers of tokenizer.json. Private to src/text. */
#ifndef TEXT_NORMALIZER_H
#define TEXT_NORMALIZER_H

#include "base/json.h"
#include "text/piece.h"

struct normalizer;

/* NULL for JSON null or absence. A type or a setting that is not supported is refused by name.
 */
medley_status normalizer_load(const json *spec, const char *name, struct normalizer **out,
                              medley_error *err);
/* For files that are not JSON: what a SentencePiece model does. charsmap may be empty. */
medley_status normalizer_sentencepiece(struct str charsmap, bool squeeze, bool strip,
                                       const char *name, struct normalizer **out,
                                       medley_error *err);
void normalizer_free(struct normalizer *n);

/* Normalises p in place; `scratch` is any other piece. n may be NULL: nothing happens. */
void normalizer_apply(const struct normalizer *n, struct piece *p, struct piece *scratch);

/* precompiled.c: SentencePiece's character map: replaces clusters and characters that it has.
 */
struct charsmap;
medley_status charsmap_new(struct str blob, const char *name, struct charsmap **out,
                           medley_error *err);
size_t charsmap_longest(const struct charsmap *m); /* bytes of a replacement, at most; not 0 */
void charsmap_free(struct charsmap *m);
void charsmap_apply(const struct charsmap *m, const struct piece *in, struct piece *out);

/* unicode_forms.c */
void unicode_form_apply(const struct piece *in, bool compatible, bool compose,
                        struct piece *out);

#endif
