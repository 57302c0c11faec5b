/* cross_encoder_model.h: what the phases of the cross-encoder share: inputs, training,
 * inference. */
#ifndef LM_CROSS_ENCODER_MODEL_H
#define LM_CROSS_ENCODER_MODEL_H

#include "data/class_weights.h"
#include "lm/cross_encoder.h"
#include "lm/encoder.h"
#include "nn/adamw.h"
#include "text/keywords.h"
#include "text/tokenizer.h"

enum lm_field {
    FIELD_QUERY,
    FIELD_TITLE,
    FIELD_BRAND,
    FIELD_COLOR,
    FIELD_BULLETS,
    FIELD_DESCRIPTION,
    FIELD_CATEGORY,
    FIELD_COUNT
};
extern const char *const lm_field_names[FIELD_COUNT];
/* "[TITLE]" ...: the special tokens that stand before a field in vocabularies trained here. */
extern const char *const lm_field_markers[FIELD_COUNT + 1];

enum lm_head { HEAD_CLS, HEAD_SEGMENTS, HEAD_COUNT };
extern const char *const lm_head_names[HEAD_COUNT];

/* What the texts among the options say, and what follows from them. */
struct lm_recipe {
    enum schedule schedule;
    float sigmoid; /* share of it in the loss; 1: probabilities are made from sigmoids, too */
    struct class_weights class_weights;
};

struct cross_encoder {
    struct lm_options options; /* defaults filled in, none negative; its texts are NULL */
    struct lm_recipe recipe;
    bool from_pretrained;
    bool plain; /* made by others: query and title are read as they are, without markers */
    enum lm_field fields[FIELD_COUNT]; /* without the query, which always comes first */
    size_t n_fields;
    int32_t marker[FIELD_COUNT]; /* token id, -1: none */
    size_t n_classes;
    char *class_names[MAX_CLASSES]; /* owned */
    struct encoder encoder;
    struct params params;
    enum lm_head head;
    enum precision precision; /* of the weights at prediction */
    param_id segments_w, segments_b, classifier_w, classifier_b; /* of the segments head */
    struct tokenizer *tokenizer;
    struct keywords *keywords; /* NULL when no field needs them */
    double *logit_map; /* [K * (n_logits + 1)] of a frozen one just fitted (frozen.h), or NULL */
    size_t n_logits;
    struct packs *packs;       /* weights ready for inference; NULL while they change */
    struct lm_workspaces *workspaces;
};

/* Around every change of the parameters: drops what inference made of them; lets it be made
 * again. Between the two, prediction works, but slower. */
void lm_unseal(struct cross_encoder *m);
medley_status lm_seal(struct cross_encoder *m, medley_error *err);

/* Copies names[n] after those that are there. */
medley_status lm_take_classes(struct cross_encoder *m, const char *const *names, size_t n,
                              medley_error *err);
/* lm_options.c: fills in m->options and m->recipe, or refuses by name what makes no sense. */
medley_status lm_options_take(struct cross_encoder *m, const struct lm_options *from,
                              size_t n_classes, medley_error *err);
/* Options that may be none: 0 means the default, a negative number 0. */
double lm_or_none(double value, double fallback);
/* Of everything that decides what fine-tuning does, texts and teacher apart. */
struct hash128 lm_options_hash(const struct cross_encoder *m, struct hash128 seed);
/* K numbers that add up to 1, as the loss means the logits; rows of both may be the same. */
void lm_probabilities(const struct cross_encoder *m, const float *logits, float *out);

medley_status lm_head_parse(const char *name, enum lm_head *out, medley_error *err);
/* The end of the name of the class of Hugging Face's models that a saved folder fits. */
const char *lm_head_architecture(const struct cross_encoder *m);
/* The last linear layer: weight [K, inputs] and bias [K]. */
void lm_head_classifier(const struct cross_encoder *m, param_id *weight, param_id *bias);
/* Declares what the head needs beyond the encoder's own parameters, after them. */
medley_status lm_head_declare(struct cross_encoder *m, medley_error *err);
/* Logits [sequences, K] from the last hidden states [tokens, D]. */
struct tensor *lm_head_forward(const struct cross_encoder *m, struct tape *t,
                               struct tensor *hidden, const struct encoder_batch *batch,
                               float dropout);

/* Token ids of many texts, one after the other; reused between calls. */
struct lm_inputs {
    int32_t *ids, *types, *positions; /* [n_tokens] */
    uint32_t *offsets;                /* [n + 1] */
    size_t n, n_tokens;
    size_t token_capacity, offset_capacity;
    struct tokens tokens[FIELD_COUNT]; /* scratch */
    struct strbuf text;                /* scratch */
    bool failed;                       /* out of memory at some point */
};
void lm_inputs_init(struct lm_inputs *in);
void lm_inputs_deinit(struct lm_inputs *in);
void lm_inputs_clear(struct lm_inputs *in);
/* The query and the product (marker field marker field ...) in the tokenizer's frame for pairs,
 * such as [CLS] query [SEP] product [SEP]; at most max_tokens; longest parts are cut first, the
 * query last. */
void lm_inputs_add_pair(struct lm_inputs *in, const struct cross_encoder *m,
                        const struct pair_text *pair);
/* One text in its frame, at most max_tokens. */
void lm_inputs_add_text(struct lm_inputs *in, const struct cross_encoder *m, struct str locale,
                        struct str text, unsigned max_tokens);
/* All of one field's text of a product, in the frame for pairs with nothing in the query's
 * place; as many sequences of at most max_tokens as it takes, none when it is empty. */
void lm_inputs_add_passages(struct lm_inputs *in, const struct cross_encoder *m,
                            const struct pair_text *pair, enum lm_field f);
/* Puts ids[n] of segment `type` into the last sequence, before its token `at`. */
void lm_inputs_insert(struct lm_inputs *in, size_t at, const int32_t *ids, size_t n,
                      int32_t type);
/* Appends sequence i of `from` (positions counted anew). */
void lm_inputs_copy(struct lm_inputs *in, const struct lm_inputs *from, size_t i);
struct encoder_batch lm_inputs_batch(const struct lm_inputs *in);
/* cross_encoder_predict of texts that are token ids already. */
medley_status lm_predict_inputs(const struct cross_encoder *m, const struct lm_inputs *inputs,
                                float *probabilities, medley_error *err);
/* The same before they are made probabilities. */
medley_status lm_logits_inputs(const struct cross_encoder *m, const struct lm_inputs *inputs,
                               float *logits, medley_error *err);

/* Keeps the field order given as "query,title,...". */
medley_status lm_fields_parse(struct cross_encoder *m, const char *fields, medley_error *err);
void lm_fields_write(const struct cross_encoder *m, struct strbuf *out);
void lm_fields_find_markers(struct cross_encoder *m);
bool lm_fields_need_keywords(const struct cross_encoder *m);

#endif
