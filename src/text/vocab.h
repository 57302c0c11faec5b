/* vocab.h: the token texts of a WordPiece vocabulary, found by text or by a slice of a word
 * without hashing the slice anew: a word's prefix hashes are computed once (polynomial, modulo
 * 2^64), and the hash of any slice follows from two of them (Karp and Rabin 1987). */
#ifndef TEXT_VOCAB_H
#define TEXT_VOCAB_H

#include "base/str.h"
#include "medley/status.h"

#define VOCAB_TOKEN_BYTES 1024 /* longest token that words are matched against */

struct vocab {
    /* texts */
    struct strbuf bytes;
    uint64_t *offsets; /* [size + 1] into bytes; ids without a token have an empty text */
    size_t size;
    /* index */
    struct vocab_slot {
        uint32_t tag; /* low half of the hash */
        int32_t key;  /* id << 1 | continuing; -1: empty */
    } * slots;        /* [1 << log2_slots] */
    unsigned log2_slots;
    size_t prefix;                          /* bytes of the continuing prefix, "##" */
    size_t longest, longest_continuing;     /* bytes, without the prefix */
    uint64_t powers[VOCAB_TOKEN_BYTES + 1]; /* of the hash's base */
};

/* Tokens are texts[n], by id; empty texts are gaps. Of equal texts the last one is found. */
medley_status vocab_init(struct vocab *v, const struct str *texts, size_t n, struct str prefix,
                         medley_error *err);
void vocab_deinit(struct vocab *v);
struct str vocab_text(const struct vocab *v, int32_t id);    /* empty when out of range */
int32_t vocab_find(const struct vocab *v, struct str token); /* -1 when absent */

/* hashes[n + 1] of a word's prefixes; n at most VOCAB_TOKEN_BYTES. */
void vocab_hash_word(const char *word, size_t n, uint64_t *hashes);
/* The token that equals word[begin, end), or prefix + that when continuing; -1 when there is
 * none. */
int32_t vocab_find_piece(const struct vocab *v, const char *word, const uint64_t *hashes,
                         size_t begin, size_t end, bool continuing);

#endif
