/* token_model.h: the models of tokenizer.json: from one word to token ids. Private to src/text.
 */
#ifndef TEXT_TOKEN_MODEL_H
#define TEXT_TOKEN_MODEL_H

#include "base/json.h"
#include "text/vocab.h"

/* Tokens of one word, and memory for finding them; reused. */
struct word_ids {
    int32_t *ids;   /* [n] */
    uint32_t *ends; /* [n] where each ends in the word; it begins where the one before ends */
    size_t n, capacity, end_capacity;
    bool failed;
    void *scratch; /* of the model */
    size_t scratch_capacity;
};
void word_ids_deinit(struct word_ids *w);
void word_ids_add(struct word_ids *w, int32_t id, size_t end);
/* At least n bytes; NULL when out of memory. */
void *word_ids_scratch(struct word_ids *w, size_t n);

struct token_model;
struct token_model_kind {
    const char *type;
    /* `vocab` holds the tokens by id. */
    medley_status (*load)(const json *model, const struct vocab *vocab, const char *name,
                          struct token_model **out, medley_error *err);
    void (*word)(const struct token_model *m, const char *s, size_t n, struct word_ids *out);
    void (*free)(struct token_model *m);
};

/* What all models share; a model embeds it as its first member. */
struct token_model {
    const struct token_model_kind *kind;
    const struct vocab *vocab; /* borrowed */
    int32_t unknown;           /* -1: none */
    bool byte_fallback;
    int32_t byte_ids[256]; /* of "<0x00>" to "<0xFF>"; -1: absent */
};
void token_model_init(struct token_model *m, const struct token_model_kind *kind,
                      const struct vocab *vocab);
/* An unknown character as its bytes' tokens, when all are there; false otherwise. `at` is where
 * it begins in the word. */
bool token_model_bytes(const struct token_model *m, const char *s, size_t n, size_t at,
                       struct word_ids *out);

extern const struct token_model_kind unigram_kind, bpe_kind, wordpiece_kind, wordlevel_kind;

/* For files that are not JSON. scores[vocab->size]. */
medley_status unigram_new(const struct vocab *vocab, const double *scores, int32_t unknown,
                          bool byte_fallback, const char *name, struct token_model **out,
                          medley_error *err);
/* merges: lines "a b", best first; `first_line` numbers them in messages. */
medley_status bpe_new(const struct vocab *vocab, struct str merges, size_t first_line,
                      const char *name, struct token_model **out, medley_error *err);

#endif
