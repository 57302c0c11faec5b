/* bert_words.h: normalises text as BERT does and cuts it into words, keeping for each word
 * where it came from. Used by WordPiece for encoding and for training. */
#ifndef TEXT_BERT_WORDS_H
#define TEXT_BERT_WORDS_H

#include "base/str.h"
#include "text/bert_chars.h"

#define BERT_WORD_CHARS 256 /* the longest word that is kept, in characters */
#define BERT_WORD_BYTES (4 * BERT_WORD_CHARS)

struct bert_word {
    const char *s; /* normalised; valid during the visit; empty when too_long */
    uint32_t n;
    uint32_t from, to; /* bytes of the source text that it covers */
    bool too_long;     /* more than max_chars characters */
    /* Source offsets where each byte's character begins and ends, [n]; NULL when byte i of the
     * word is byte from + i of the source. */
    const uint32_t *begin, *end;
};

/* max_chars is at most BERT_WORD_CHARS; text is shorter than 4 GiB. Bytes that are not UTF-8
 * are taken for U+FFFD. */
typedef void bert_visitor(void *context, const struct bert_word *word);
void bert_words(const struct bert_chars *chars, struct str text, unsigned max_chars,
                bert_visitor *visit, void *context);

#endif
