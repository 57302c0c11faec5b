/* pre_tokenizer.h: the pre-tokenizers of tokenizer.json: they cut a piece into words. Private
 * to src/text. */
#ifndef TEXT_PRE_TOKENIZER_H
#define TEXT_PRE_TOKENIZER_H

#include "base/json.h"
#include "text/piece.h"

struct words {
    struct word {
        uint32_t begin, end; /* bytes of the piece */
    } * items;
    size_t n, capacity;
    bool failed;
};
void words_deinit(struct words *w);
void words_add(struct words *w, size_t begin, size_t end); /* nothing when empty */

struct pre_tokenizer;

/* NULL for JSON null or absence. */
medley_status pre_tokenizer_load(const json *spec, const char *name, struct pre_tokenizer **out,
                                 medley_error *err);
/* For files that are not JSON. */
struct pre_tokenizer *pre_tokenizer_metaspace(void);
struct pre_tokenizer *pre_tokenizer_byte_level(bool prefix_space);
void pre_tokenizer_free(struct pre_tokenizer *t);

/* What pre-tokenizing works on: the words of a piece, and room for the next ones. */
struct cutting {
    struct piece piece, next_piece;
    struct words words, next_words;
};
void cutting_deinit(struct cutting *c);
/* Cuts c->piece, at first one word; it may be rewritten. t may be NULL. */
void pre_tokenizer_apply(const struct pre_tokenizer *t, struct cutting *c);

#endif
