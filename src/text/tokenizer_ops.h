/* tokenizer_ops.h: what one kind of tokenizer must provide. Private to src/text; a new kind is
 * one file and one line in the table of tokenizer.c. */
#ifndef TEXT_TOKENIZER_OPS_H
#define TEXT_TOKENIZER_OPS_H

#include "base/json.h"
#include "text/tokenizer.h"
#include "text/vocab.h"

/* A token that is found in the raw text, before any normalisation. */
struct added_token {
    struct str text; /* borrowed from the vocabulary */
    int32_t id;
    bool special;
};

struct tokenizer_ops {
    const char *type;
    /* Writes the members normalizer, pre_tokenizer, post_processor, decoder and model. */
    void (*save)(const struct tokenizer *t, struct json_writer *w);
    void (*save_config)(const struct tokenizer *t, struct json_writer *w);
    /* NULL: by way of save and save_config. */
    medley_status (*save_files)(const struct tokenizer *t, const char *folder,
                                medley_error *err);
    /* Tokens of a segment that holds no added token; offsets are counted from `offset`. */
    void (*encode)(const struct tokenizer *t, struct str segment, uint32_t offset,
                   struct tokens *out);
    void (*free)(struct tokenizer *t);
};

/* The part that all kinds share; a kind embeds it as its first member. */
struct tokenizer {
    const struct tokenizer_ops *ops;
    struct vocab vocab;
    struct tokenizer_specials specials;
    struct added_token *added; /* [n_added] longest first */
    size_t n_added;
    bool added_starts[256];           /* first bytes of added tokens */
    struct tokenizer_slot *frames[2]; /* of one text, of a pair; owned */
    size_t n_slots[2];
    bool trims;    /* byte-level: offsets leave out white space at a token's ends ... */
    bool prefixed; /* ... but not at the start of a text, where a space may have been added */
};

/* frame.c: reads post_processor; what it does not say is no special token at all. */
medley_status tokenizer_read_frames(struct tokenizer *t, const json *post_processor,
                                    const char *name, medley_error *err);
/* [CLS] a [SEP] and [CLS] a [SEP] b [SEP]; none where the vocabulary lacks them. After finish.
 */
medley_status tokenizer_bert_frames(struct tokenizer *t, medley_error *err);
/* Frames by the names of tokens, "A" and "B" among them: {"<s>", "A", "</s>", NULL}; types as
 * many. */
medley_status tokenizer_set_frame(struct tokenizer *t, bool pair, const char *const *names,
                                  const int32_t *types, medley_error *err);

bool tokens_push(struct tokens *out, int32_t id, uint32_t begin, uint32_t end);

/* For loaders. Token texts by id while they are being collected; texts are borrowed. */
struct token_list {
    struct str *texts; /* [n]; empty: a gap */
    size_t n, capacity;
};
medley_status token_list_put(struct token_list *l, int64_t id, struct str text, size_t limit,
                             medley_error *err);
void token_list_deinit(struct token_list *l);

/* Marks a token of the vocabulary as an added one; twice is fine. */
medley_status tokenizer_add(struct tokenizer *t, struct str text, bool special,
                            medley_error *err);
/* After all are added: sorts them and finds the special ids by their usual names. */
void tokenizer_finish(struct tokenizer *t);
void tokenizer_deinit(struct tokenizer *t);

/* The added_tokens of tokenizer.json, first into the list, then (once the vocabulary is there)
 * as added tokens. Refuses what is not supported by name. */
medley_status added_tokens_list(const json *root, const char *name, struct token_list *l,
                                medley_error *err);
medley_status added_tokens_add(const json *root, struct tokenizer *t, medley_error *err);

/* wordpiece_train.c, unigram_train.c: at most `pieces` tokens after the special ones. */
medley_status wordpiece_train(const struct tokenizer_training *options,
                              struct token_list *specials, size_t pieces, text_source *next,
                              void *context, struct tokenizer **out, medley_error *err);
medley_status unigram_train(const struct tokenizer_training *options,
                            struct token_list *specials, size_t pieces, text_source *next,
                            void *context, struct tokenizer **out, medley_error *err);

extern const struct tokenizer_ops wordpiece_ops, pipeline_ops;

/* pipeline.c */
void token_scratch_free(struct token_scratch *s);
medley_status pipeline_load_json(const json *root, const char *path, struct tokenizer **out,
                                 medley_error *err);
/* The same for a file that is in memory; `source` is what root was read from, kept for save. */
medley_status pipeline_of_json(const json *root, const char *path, struct str source,
                               struct tokenizer **out, medley_error *err);
/* pipeline_files.c: vocab.json with merges.txt; a SentencePiece model. */
medley_status pipeline_load_bpe(const char *vocab, const char *merges, struct tokenizer **out,
                                medley_error *err);
medley_status pipeline_load_spm(const char *path, struct tokenizer **out, medley_error *err);

#endif
