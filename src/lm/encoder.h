/* encoder.h: families of text encoders behind one table: a family is a file with its settings,
 * its parameters and its forward function on the tape, and one line in encoder_families. */
#ifndef LM_ENCODER_H
#define LM_ENCODER_H

#include "base/json.h"
#include "nn/ops.h"

#define ENCODER_MAX_CLASSES 16
#define ENCODER_MAX_LAYERS 256

/* What the loss is: config.json's problem_type; when it says nothing, single label, or what the
 * labels look like. */
enum encoder_problem {
    PROBLEM_UNSAID,
    PROBLEM_SINGLE_LABEL,
    PROBLEM_MULTI_LABEL,
    PROBLEM_REGRESSION
};

/* DeBERTa-v2 and v3 (deberta.c). */
struct deberta_config {
    unsigned span;           /* relative positions are -span .. span - 1 */
    unsigned buckets, reach; /* position_buckets (0: none), max_relative_positions */
    bool relative, content_to_position, position_to_content, share_keys;
    bool absolute;         /* position_biased_input */
    bool norm_relative;    /* norm_rel_ebd */
    unsigned taps, groups; /* of the convolution after the first layer; taps 0: none */
    enum activation conv_activation, pooler_activation;
};

/* BigBird (bigbird.c). */
struct bigbird_config {
    bool sparse, bias, rescale;
    unsigned block, random; /* block_size, num_random_blocks */
};

/* ModernBERT (modernbert.c). */
struct modernbert_config {
    unsigned window; /* local_attention: tokens seen, half of them on each side */
    bool local[ENCODER_MAX_LAYERS]; /* layer_types, or all but every
                                       global_attn_every_n_layers-th */
    float global_theta, local_theta;
    bool attention_bias, mlp_bias, norm_bias, classifier_bias, mean_pooling;
    enum activation classifier_activation;
};

/* What config.json says; Hugging Face's names in comments. */
struct encoder_config {
    unsigned vocabulary;        /* vocab_size */
    unsigned hidden;            /* hidden_size, D */
    unsigned embedding;         /* embedding_size: width of the tables, projected to D */
    unsigned layers;            /* num_hidden_layers */
    unsigned heads;             /* num_attention_heads */
    unsigned intermediate;      /* intermediate_size */
    unsigned positions;         /* max_position_embeddings */
    unsigned first_position;    /* of a text: after the padding's, where a family has one */
    unsigned types;             /* type_vocab_size; 0: the family has none */
    int padding;                /* pad_token_id; -1: none */
    float norm_eps;             /* layer_norm_eps */
    float init_std;             /* initializer_range */
    enum activation activation; /* hidden_act */
    enum encoder_problem problem;
    unsigned relative_buckets; /* mpnet: relative_attention_num_buckets */
    struct deberta_config deberta;
    struct bigbird_config bigbird;
    struct modernbert_config modernbert;
};

/* One ragged batch of token sequences. positions count from 0 in each sequence; types tell the
 * query (0) from the product (1), whether a family embeds them or not. */
struct encoder_batch {
    const int32_t *ids, *types, *positions; /* [tokens] */
    size_t tokens;
    struct ragged sequences;
    uint32_t padded; /* BigBird's blocks depend on the padded length of the batch; 0: each
                        sequence as if it were alone */
};

struct encoder;
struct encoder_family {
    const char *model_type;   /* config.json's model_type */
    const char *prefix;       /* of parameter names in checkpoints with a head: "bert." */
    const char *architecture; /* Hugging Face's classes begin so: "Bert" */
    /* The family's own settings, from and to config.json; NULL: none. */
    medley_status (*configure)(struct encoder_config *c, const json *root, const char *path,
                               medley_error *err);
    void (*describe)(const struct encoder_config *c, struct json_writer *w);
    /* Declares all parameters in the order of the network, those of the classification head
     * included; calls encoder_mark after the embeddings and after each layer. */
    medley_status (*declare)(struct encoder *e, struct params *p, size_t classes,
                             medley_error *err);
    /* What enters the first layer, layer i: hidden states [tokens, D]; what follows the last
     * (NULL: nothing). */
    struct tensor *(*embed)(const struct encoder *e, struct tape *t,
                            const struct encoder_batch *batch, float dropout);
    struct tensor *(*layer)(const struct encoder *e, struct tape *t, unsigned i,
                            struct tensor *hidden, const struct encoder_batch *batch,
                            float dropout);
    struct tensor *(*finish)(const struct encoder *e, struct tape *t, struct tensor *hidden);
    /* Layer i without recording, for the first token of each sequence alone: [sequences, D].
     * NULL: the family has no such shortcut. */
    struct tensor *(*layer_first)(const struct encoder *e, struct tape *t, unsigned i,
                                  struct tensor *hidden, const struct encoder_batch *batch);
    /* Logits [sequences, K] from the last hidden states. */
    struct tensor *(*classify)(const struct encoder *e, struct tape *t, struct tensor *hidden,
                               const struct encoder_batch *batch, float dropout);
};
extern const struct encoder_family *const encoder_families[]; /* ends with NULL */
extern const struct encoder_family bert_family, roberta_family, xlm_roberta_family,
    camembert_family, electra_family, mpnet_family, deberta_family, bigbird_family,
    modernbert_family;

struct encoder {
    const struct encoder_family *family;
    struct encoder_config config;
    void *ids;       /* the family's parameter ids; owned */
    param_id *marks; /* [layers + 1] end of the parameters of embeddings and layers; owned */
    unsigned n_marks;
    param_id exact_from; /* parameters from here on see first tokens only, where layer_first is
                            taken: they cost next to nothing, and stay in full precision */
    bool recompute;      /* in training, activations inside of layers are not kept */
};

/* The family of a name; ENOTFOUND lists those there are. */
medley_status encoder_family_find(const char *model_type, const struct encoder_family **out,
                                  medley_error *err);
/* Reads folder/config.json; `layers` > 0 keeps the first n. */
medley_status encoder_config_load(const char *folder, unsigned layers, struct encoder *out,
                                  medley_error *err);
/* The same from the root of a parsed config.json; `path` names it in messages. */
medley_status encoder_config_read(const json *root, const char *path, struct encoder *e,
                                  medley_error *err);

/* An encoder from scratch: sizes, and what the family's authors chose for the rest. */
struct encoder_sizes {
    const char *family; /* model_type */
    unsigned vocabulary, hidden, layers, heads, intermediate;
    unsigned max_tokens; /* of a text */
    int padding;         /* token id; -1: none */
};
medley_status encoder_config_new(const struct encoder_sizes *s, struct encoder *out,
                                 medley_error *err);
/* The names of a classifier's labels, names[ENCODER_MAX_CLASSES], owned by the caller also
 * after an error; LABEL_0 ... where config.json has none. EUNSUPPORTED: it is no classifier. */
medley_status encoder_config_labels(const char *folder, char **names, size_t *n,
                                    medley_error *err);
/* How many labels folder/config.json gives its head (id2label, num_labels; 2 when silent). */
medley_status encoder_config_classes(const char *folder, size_t *classes, medley_error *err);
/* `head`: what follows the family's name in Hugging Face's class of models that the checkpoint
 * fits: "ForSequenceClassification" or "Model". */
void encoder_config_write(const struct encoder *e, const char *head,
                          const char *const *class_names, size_t classes, struct strbuf *out);
void encoder_deinit(struct encoder *e);
/* For declare: all parameters so far are of the embeddings, or of the layers up to here. */
void encoder_mark(struct encoder *e, struct params *p);

/* Settings for configure; each fails naming path and key. A missing key leaves *out alone. */
medley_status encoder_read_count(const json *root, const char *path, const char *key,
                                 int64_t least, int64_t most, unsigned *out, medley_error *err);
medley_status encoder_read_activation(const json *root, const char *path, const char *key,
                                      enum activation *out, medley_error *err);
const char *encoder_activation_name(enum activation a);

/* Last hidden states [tokens, D]. */
struct tensor *encoder_forward(const struct encoder *e, struct tape *t,
                               const struct encoder_batch *batch, float dropout);
/* The same bits without recording, on two tapes in turn, so that only two layers are in memory
 * at a time. *on is the tape that holds the result. */
struct tensor *encoder_infer(const struct encoder *e, struct tape tapes[2],
                             const struct encoder_batch *batch, struct tape **on);
/* Those of the first tokens alone, [sequences, D], for heads that read no other: the last layer
 * leaves out what they do not need. *first describes the result as a batch, sequences of one
 * token. */
struct tensor *encoder_infer_first(const struct encoder *e, struct tape tapes[2],
                                   const struct encoder_batch *batch, struct tape **on,
                                   struct encoder_batch *first);
/* Learning rates of layers: `decay` for the last, decay^2 for the one before ..., the
 * embeddings last; 1 for what follows the layers. */
void encoder_decay_rates(const struct encoder *e, struct params *p, double decay);
/* No gradient for the embeddings and, with them, the first n layers. */
void encoder_freeze(const struct encoder *e, struct params *p, unsigned layers);

/* Loads folder/model.safetensors, or the shards that folder/model.safetensors.index.json lists,
 * into allocated parameters, with or without the family's prefix. Parameters of the head
 * (classifier, pooler) may be missing and keep their start; any other that is missing,
 * misshapen or not finite is refused by name. */
medley_status encoder_load_params(const struct encoder *e, struct params *p, const char *folder,
                                  medley_error *err);

/* Compares declared parameters with the checkpoint before anything is allocated, so that a
 * config.json that lies about sizes costs no memory; those that the file holds are not
 * initialised at random. `whole`: the head must be there too, and fit. */
medley_status encoder_check_params(const struct encoder *e, struct params *p,
                                   const char *folder, bool whole, medley_error *err);

#endif
