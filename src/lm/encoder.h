/* encoder.h: families of text encoders behind one table: a family is a file with its parameters
 * and its forward function on the tape, and one line in encoder_families. */
#ifndef LM_ENCODER_H
#define LM_ENCODER_H

#include "base/json.h"
#include "nn/ops.h"

/* What config.json says; Hugging Face's names in comments. */
struct encoder_config {
    unsigned vocabulary;        /* vocab_size */
    unsigned hidden;            /* hidden_size, D */
    unsigned layers;            /* num_hidden_layers */
    unsigned heads;             /* num_attention_heads */
    unsigned intermediate;      /* intermediate_size */
    unsigned positions;         /* max_position_embeddings */
    unsigned types;             /* type_vocab_size */
    float norm_eps;             /* layer_norm_eps */
    float init_std;             /* initializer_range */
    enum activation activation; /* hidden_act */
};

/* One ragged batch of token sequences. */
struct encoder_batch {
    const int32_t *ids, *types, *positions; /* [tokens] */
    size_t tokens;
    struct ragged sequences;
};

struct encoder;
struct encoder_family {
    const char *model_type; /* config.json's model_type */
    const char *prefix;     /* of parameter names in checkpoints with a head: "bert." */
    /* Declares all parameters, those of the classification head included. */
    medley_status (*declare)(struct encoder *e, struct params *p, size_t classes,
                             medley_error *err);
    /* What enters the first layer, and layer i: hidden states [tokens, D]. */
    struct tensor *(*embed)(const struct encoder *e, struct tape *t,
                            const struct encoder_batch *batch, float dropout);
    struct tensor *(*layer)(const struct encoder *e, struct tape *t, unsigned i,
                            struct tensor *hidden, const struct encoder_batch *batch,
                            float dropout);
    /* Logits [sequences, K] from the last hidden states. */
    struct tensor *(*classify)(const struct encoder *e, struct tape *t, struct tensor *hidden,
                               const struct encoder_batch *batch, float dropout);
    /* No gradient for the embeddings and, with them, the first n layers. */
    void (*freeze)(const struct encoder *e, struct params *p, unsigned layers);
};
extern const struct encoder_family *const encoder_families[]; /* ends with NULL */
extern const struct encoder_family bert_family;

struct encoder {
    const struct encoder_family *family;
    struct encoder_config config;
    void *ids; /* the family's parameter ids; owned */
};

/* The family of a name; ENOTFOUND lists those there are. */
medley_status encoder_family_find(const char *model_type, const struct encoder_family **out,
                                  medley_error *err);
/* Reads folder/config.json; `layers` > 0 keeps the first n. */
medley_status encoder_config_load(const char *folder, unsigned layers, struct encoder *out,
                                  medley_error *err);
/* `architecture`: Hugging Face's class of models that the checkpoint fits, without the family.
 */
void encoder_config_write(const struct encoder *e, const char *architecture,
                          const char *const *class_names, size_t classes, struct strbuf *out);
void encoder_deinit(struct encoder *e);

/* Last hidden states [tokens, D]. */
struct tensor *encoder_forward(const struct encoder *e, struct tape *t,
                               const struct encoder_batch *batch, float dropout);
/* The same bits without recording, on two tapes in turn, so that only two layers are in memory
 * at a time. *on is the tape that holds the result. */
struct tensor *encoder_infer(const struct encoder *e, struct tape tapes[2],
                             const struct encoder_batch *batch, struct tape **on);

/* Loads folder/model.safetensors into allocated parameters, with or without the family's
 * prefix. Parameters of the head (classifier, pooler) may be missing and keep their start; any
 * other that is missing, misshapen or not finite is refused by name. */
medley_status encoder_load_params(const struct encoder *e, struct params *p, const char *folder,
                                  medley_error *err);

/* Compares declared parameters with folder/model.safetensors before anything is allocated, so
 * that a config.json that lies about sizes costs no memory; those that the file holds are not
 * initialised at random. `whole`: the head must be there too, and fit. */
medley_status encoder_check_params(const struct encoder *e, struct params *p,
                                   const char *folder, bool whole, medley_error *err);

#endif
