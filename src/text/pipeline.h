/* pipeline.h: a tokenizer in stages, as tokenizer.json describes one. Private to src/text. */
#ifndef TEXT_PIPELINE_H
#define TEXT_PIPELINE_H

#include "text/normalizer.h"
#include "text/pre_tokenizer.h"
#include "text/token_model.h"
#include "text/tokenizer_ops.h"

/* A token that is found before the model sees the text. */
struct known_token {
    struct strbuf text; /* as it is matched: normalised when `normalized` */
    int32_t id;
    bool single_word, left_space, right_space; /* whole words only; takes white space along */
};

struct known_tokens {
    struct known_token *items; /* [n] longest first */
    size_t n, capacity;
    bool starts[256]; /* first bytes */
};

struct source_file {
    char *name, *data;
    size_t n;
};

struct pipeline {
    struct tokenizer base; /* first */
    uint64_t serial;       /* tells tokenizers apart in caches */
    struct known_tokens raw, normalized;
    struct normalizer *normalizer;
    struct pre_tokenizer *pre_tokenizer;
    struct token_model *model;
    struct source_file *files; /* what save writes */
    size_t n_files, file_capacity;
};

struct pipeline *pipeline_new(void);
void pipeline_free(struct tokenizer *t);
/* Keeps a copy of a file for save. */
medley_status pipeline_keep(struct pipeline *p, const char *name, const char *data, size_t n,
                            medley_error *err);
/* Adds a token to look for; its text is normalised here when `normalized`. */
medley_status pipeline_know(struct pipeline *p, int32_t id, bool normalized,
                            const struct known_token *how, struct str text, medley_error *err);
void pipeline_finish(struct pipeline *p);

#endif
