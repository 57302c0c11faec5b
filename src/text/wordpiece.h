/* wordpiece.h: the WordPiece kind of tokenizer, as its phases see it. Private to src/text. */
#ifndef TEXT_WORDPIECE_H
#define TEXT_WORDPIECE_H

#include "text/bert_words.h"
#include "text/tokenizer_ops.h"

struct wordpiece {
    struct tokenizer base; /* first */
    struct bert_chars chars;
    unsigned max_chars; /* longer words become the unknown token */
    char *prefix;       /* owned; "##" */
    char *unknown;      /* owned; "[UNK]" */
};

struct wordpiece_options {
    struct bert_options bert;
    const char *unknown, *prefix; /* copied */
    unsigned max_chars;           /* 1..BERT_WORD_CHARS */
};

/* A tokenizer over the listed tokens, still without added tokens: follow with tokenizer_add and
 * tokenizer_finish. `name` is where the tokens came from, for messages. */
medley_status wordpiece_new(const struct token_list *tokens, const struct wordpiece_options *o,
                            const char *name, struct wordpiece **out, medley_error *err);

/* vocab.txt, with tokenizer_config.json of the same folder where there is one. */
medley_status wordpiece_load_vocab(const char *path, struct tokenizer **out, medley_error *err);
medley_status wordpiece_load_json(const json *root, const char *name, struct tokenizer **out,
                                  medley_error *err);
void wordpiece_save(const struct tokenizer *t, struct json_writer *w);
void wordpiece_save_config(const struct tokenizer *t, struct json_writer *w);

#endif
