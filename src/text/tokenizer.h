/* tokenizer.h: text to token ids. One door for all kinds: BERT's WordPiece has a fast path of
 * its own and, like Unigram, can be trained here; everything else that tokenizer.json can say
 * (BPE, Unigram, WordLevel, and WordPiece behind other normalisers) goes through a pipeline.
 * Ids equal those of Hugging Face's tokenizers. */
#ifndef TEXT_TOKENIZER_H
#define TEXT_TOKENIZER_H

#include "base/str.h"
#include "medley/status.h"

struct tokenizer; /* immutable after loading; threads may share it */

/* A folder or one file: tokenizer.json; else vocab.txt with tokenizer_config.json (WordPiece),
 * vocab.json with merges.txt (byte-level BPE), sentencepiece.bpe.model (XLM-R's Unigram),
 * spm.model or spiece.model (Unigram). What is not supported is refused by name. */
medley_status tokenizer_load(const char *path, struct tokenizer **out, medley_error *err);
void tokenizer_free(struct tokenizer *t);
/* Writes files that Hugging Face loads: WordPiece as vocab.txt, tokenizer.json and
 * tokenizer_config.json, others as the files they were loaded from. */
medley_status tokenizer_save(const struct tokenizer *t, const char *folder, medley_error *err);

size_t tokenizer_size(const struct tokenizer *t); /* number of ids */
struct tokenizer_specials {
    int32_t pad, unknown, cls, sep, mask; /* -1 when the vocabulary has none */
};
struct tokenizer_specials tokenizer_specials(const struct tokenizer *t);
struct str tokenizer_token(const struct tokenizer *t, int32_t id); /* borrowed */
int32_t tokenizer_id(const struct tokenizer *t, struct str token); /* -1 when absent */

/* For people to read: how a vocabulary tells where words begin, and the text that a token
 * stands for, without its mark. In byte-level vocabularies a token may end amid a character, so
 * the tokens of a word are to be spelled into one buffer. */
enum token_marks {
    MARKS_NONE,         /* nothing that is known: every token is a word */
    MARKS_WORD,         /* SentencePiece's U+2581 before a word */
    MARKS_CONTINUATION, /* WordPiece's ## before what is not the beginning */
    MARKS_BYTES         /* GPT-2's bytes, of which a space begins a word */
};
enum token_marks tokenizer_marks(const struct tokenizer *t);
bool token_begins_word(enum token_marks marks, struct str token);
void token_spell(enum token_marks marks, struct str token, struct strbuf *out); /* appends */

/* Ids of the plain text, without special tokens, with byte offsets into it. Reused between
 * calls: encode appends. */
struct tokens {
    int32_t *ids;          /* [n] */
    uint32_t *begin, *end; /* [n] byte offsets into the text of this call */
    size_t n, capacity;
    bool failed;                   /* out of memory at some point */
    struct token_scratch *scratch; /* memory and a cache of words, kept between calls */
};
void tokens_deinit(struct tokens *t);
void tokenizer_encode(const struct tokenizer *t, struct str text, struct tokens *out);

/* The special tokens that a model expects round one text, or round two (a pair): slots in
 * order, of which those with id TOKENIZER_A and TOKENIZER_B stand for the texts themselves. */
#define TOKENIZER_A (-1)
#define TOKENIZER_B (-2)
struct tokenizer_slot {
    int32_t id, type; /* type: the token type id of what stands there */
};
const struct tokenizer_slot *tokenizer_frame(const struct tokenizer *t, bool pair, size_t *n);
/* Puts one text (b NULL) or a pair into its frame: appends to `out`, whose begin and end are
 * those of a or b (0, 0 for special tokens), and writes types[out->n] unless NULL. max_tokens >
 * 0 cuts the longer text first, as Hugging Face's longest_first; room for types is the
 * caller's. */
void tokenizer_join(const struct tokenizer *t, const struct tokens *a, const struct tokens *b,
                    size_t max_tokens, struct tokens *out, int32_t *types);

/* A tokenizer trained on texts: `next` gives one text at a time, false at the end. Equal texts
 * give equal tokenizers for any number of threads; few texts may give fewer tokens than asked.
 * WordPiece normalises as BERT does (lower case, accents stripped, each CJK ideograph a word);
 * NFKC is not part of that: clean texts with text_clean first, for training as for encoding.
 * Unigram (Kudo 2018) brings NFKC along and cuts at white space only.
 * Keep accents where there is Japanese: stripping turns "ga" into "ka". */
enum tokenizer_kind { TOKENIZER_WORDPIECE, TOKENIZER_UNIGRAM };
struct tokenizer_training {
    enum tokenizer_kind kind;
    size_t vocabulary;            /* 0: 8192 */
    size_t min_count;             /* rarer pairs, or substrings, make no piece; 0: 2 */
    bool keep_accents, keep_case; /* false: strip accents, lower case */
    const char *const
        *extra_specials; /* e.g. field markers "[T]"; NULL-terminated; may be NULL */
};
typedef bool text_source(void *context, struct str *text);
medley_status tokenizer_train(const struct tokenizer_training *options, text_source *next,
                              void *context, struct tokenizer **out, medley_error *err);

#endif
