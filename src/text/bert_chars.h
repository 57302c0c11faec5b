/* bert_chars.h: what the BERT normaliser does to each code point, as one two-stage table per
 * tokenizer, so that normalising costs one look-up a character. */
#ifndef TEXT_BERT_CHARS_H
#define TEXT_BERT_CHARS_H

#include "medley/status.h"

struct bert_options {   /* as in tokenizer.json's BertNormalizer */
    bool clean_text;    /* drop control characters, every white space becomes a space */
    bool cjk_chars;     /* each CJK ideograph is a word */
    bool strip_accents; /* decompose (NFD), then remove nonspacing marks */
    bool lowercase;
};

enum bert_action {
    BERT_KEEP,    /* part of a word, as bert_becomes */
    BERT_DROP,    /* vanishes; does not end a word */
    BERT_SPACE,   /* ends a word */
    BERT_ISOLATE, /* a word by itself (punctuation, CJK), as bert_becomes */
    BERT_SEVERAL, /* becomes more than one code point: ask bert_expand */
};

/* Entry of a code point: enum bert_action in the low 8 bits; above, the code point it becomes,
 * XORed with itself, so that pages on which nothing changes are equal and stored once. */
struct bert_chars {
    struct bert_options options;
    uint16_t page_of[0x1100]; /* [code point / 256] -> page */
    uint32_t *entries;        /* [pages * 256]; page 0 holds code points 0..255 */
    size_t pages, capacity;
};

medley_status bert_chars_init(struct bert_chars *c, struct bert_options options,
                              medley_error *err);
void bert_chars_deinit(struct bert_chars *c);

static inline uint32_t bert_entry(const struct bert_chars *c, uint32_t codepoint)
{
    return c->entries[(size_t)c->page_of[codepoint >> 8] * 256 + (codepoint & 255)];
}
static inline uint32_t bert_becomes(uint32_t entry, uint32_t codepoint)
{
    return codepoint ^ entry >> 8;
}
static inline enum bert_action bert_action_of(uint32_t entry)
{
    return (enum bert_action)(entry & 255);
}

/* Punctuation as the reference has it: every ASCII symbol, and P* of Unicode 8. */
bool bert_is_punctuation(uint32_t codepoint);

/* The entries that a BERT_SEVERAL code point becomes, in order; returns their number. */
#define BERT_EXPAND_MAX 18
size_t bert_expand(const struct bert_chars *c, uint32_t codepoint,
                   uint32_t out[BERT_EXPAND_MAX]);

#endif
