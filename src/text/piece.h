/* piece.h: text on its way through normalisers and pre-tokenizers: UTF-8 bytes, each with the
 * range of the source text it came from. Private to src/text. */
#ifndef TEXT_PIECE_H
#define TEXT_PIECE_H

#include "base/str.h"

struct span {
    uint32_t from, to; /* bytes of the source */
};

struct piece {
    char *s;            /* [n] valid UTF-8 */
    struct span *spans; /* [n] of the character that each byte belongs to */
    size_t n, capacity, span_capacity;
    bool failed; /* out of memory at some point */
};

void piece_deinit(struct piece *p);
void piece_clear(struct piece *p);
/* All of them append. */
void piece_add(struct piece *p, const char *s, size_t n, struct span span);
void piece_add_codepoint(struct piece *p, uint32_t codepoint, struct span span);
void piece_add_range(struct piece *p, const struct piece *from, size_t begin, size_t end);
/* Bytes that are not UTF-8 become U+FFFD. The text begins at byte `offset` of the source. */
void piece_add_text(struct piece *p, struct str text, uint32_t offset);

/* The character at byte i of valid UTF-8; advances i. */
static inline uint32_t char_at(const char *s, size_t *i)
{
    const unsigned char *u = (const unsigned char *)s + *i;
    if (u[0] < 0x80) {
        *i += 1;
        return u[0];
    }
    if (u[0] < 0xE0) {
        *i += 2;
        return (u[0] & 0x1Fu) << 6 | (u[1] & 0x3Fu);
    }
    if (u[0] < 0xF0) {
        *i += 3;
        return (u[0] & 0xFu) << 12 | (u[1] & 0x3Fu) << 6 | (u[2] & 0x3Fu);
    }
    *i += 4;
    return (u[0] & 7u) << 18 | (u[1] & 0x3Fu) << 12 | (u[2] & 0x3Fu) << 6 | (u[3] & 0x3Fu);
}

/* Where the character before byte i begins. */
static inline size_t char_before(const char *s, size_t i)
{
    do
        i--;
    while (i > 0 && ((unsigned char)s[i] & 0xC0) == 0x80);
    return i;
}

/* Sets of characters, as the reference implementation's Unicode has them. */
enum char_class {
    CHAR_LETTER = 1,       /* category L* */
    CHAR_NUMBER = 2,       /* N* */
    CHAR_SPACE = 4,        /* White_Space */
    CHAR_MARK = 8,         /* M* */
    CHAR_NONSPACING = 16,  /* Mn */
    CHAR_WORD = 32,        /* \w of a regular expression */
    CHAR_PUNCTUATION = 64, /* see bert_is_punctuation */
};
unsigned char_classes(uint32_t codepoint); /* a set of enum char_class */

#endif
