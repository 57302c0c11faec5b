/* clean.h: per-locale text cleaning: NFKC (full-width forms), HTML tags and entities, control
 * characters, emoji, white space, contractions. */
#ifndef TEXT_CLEAN_H
#define TEXT_CLEAN_H

#include "base/str.h"
#include "medley/status.h"

/* Appends the cleaned text to `out` (case is kept; tokenizers fold case as their vocabulary
 * wants). `locale` is a tag; unknown tags get the language-neutral steps. Invalid UTF-8 becomes
 * U+FFFD. */
void text_clean(struct str locale, struct str text, struct strbuf *out);

/* The same, but where the source breaks off (a line, a block of HTML, a bullet) there is '\n'
 * instead of a space: what looks for sentences and clauses starts from this. */
void text_clean_lines(struct str locale, struct str text, struct strbuf *out);

/* Splits cleaned text into lower-case words for TF-IDF, overlap features and hashing: runs of
 * letters and digits; CJK by overlapping character bigrams. Calls visit for each word. */
typedef void word_visitor(void *context, struct str word);
void text_words(struct str locale, struct str text, word_visitor *visit, void *context);

#endif
