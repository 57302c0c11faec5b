/* tokenizer.h: text to token ids. One door for all kinds; WordPiece today (vocab.txt,
 * tokenizer.json or trained here), byte-level BPE and Unigram plug in through the same table of
 * ops. */
#ifndef TEXT_TOKENIZER_H
#define TEXT_TOKENIZER_H

#include "base/str.h"
#include "medley/status.h"

struct tokenizer; /* immutable after loading; threads may share it */

/* A folder (tokenizer.json, else vocab.txt with tokenizer_config.json) or one such file. */
medley_status tokenizer_load(const char *path, struct tokenizer **out, medley_error *err);
void tokenizer_free(struct tokenizer *t);
/* Writes vocab.txt, tokenizer.json and tokenizer_config.json that Hugging Face loads. */
medley_status tokenizer_save(const struct tokenizer *t, const char *folder, medley_error *err);

size_t tokenizer_size(const struct tokenizer *t); /* number of ids */
struct tokenizer_specials {
    int32_t pad, unknown, cls, sep, mask; /* -1 when the vocabulary has none */
};
struct tokenizer_specials tokenizer_specials(const struct tokenizer *t);
struct str tokenizer_token(const struct tokenizer *t, int32_t id); /* borrowed */
int32_t tokenizer_id(const struct tokenizer *t, struct str token); /* -1 when absent */

/* Ids of the plain text, without special tokens, with byte offsets into it. Reused between
 * calls: encode appends. */
struct tokens {
    int32_t *ids;          /* [n] */
    uint32_t *begin, *end; /* [n] byte offsets into the text of this call */
    size_t n, capacity;
    bool failed; /* out of memory at some point */
};
void tokens_deinit(struct tokens *t);
void tokenizer_encode(const struct tokenizer *t, struct str text, struct tokens *out);

/* WordPiece trained on texts: `next` gives one text at a time, false at the end. Deterministic.
 * Texts are normalised as BERT does (lower case, accents stripped, each CJK ideograph a word);
 * NFKC is not part of that: clean texts with text_clean first, for training as for encoding.
 * Keep accents where there is Japanese: stripping turns "ga" into "ka". */
struct tokenizer_training {
    size_t vocabulary;            /* 0: 8192 */
    size_t min_count;             /* pairs rarer than this are not merged; 0: 2 */
    bool keep_accents, keep_case; /* false: strip accents, lower case */
    const char *const
        *extra_specials; /* e.g. field markers "[T]"; NULL-terminated; may be NULL */
};
typedef bool text_source(void *context, struct str *text);
medley_status tokenizer_train(const struct tokenizer_training *options, text_source *next,
                              void *context, struct tokenizer **out, medley_error *err);

#endif
