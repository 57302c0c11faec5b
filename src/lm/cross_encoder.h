/* cross_encoder.h: a language model that reads query and product together and gives K class
 * probabilities; also a text embedder (mean of the last hidden states). */
#ifndef LM_CROSS_ENCODER_H
#define LM_CROSS_ENCODER_H

#include "data/dataset.h"
#include "nn/adapter.h"
#include "nn/packs.h"

struct cross_encoder; /* weights, tokenizer, field settings. Predict is thread-safe */

/* Masked-language-model pre-training before fine-tuning (lm_pretrain.h); zero means the default
 * in brackets. */
struct lm_pretrain_options {
    bool wanted;
    unsigned epochs;      /* over all texts [10] */
    unsigned steps;       /* stop after so many; 0: when the epochs are over */
    unsigned batch;       /* texts a step [64] */
    double mask_rate;     /* share of tokens to guess [0.15] */
    double learning_rate; /* [1e-3 from scratch, 1e-4 with pretrained] */
    double weight_decay;  /* [0.01]; negative: none */
    double warmup;        /* share of steps [0.1]; negative: none */
    double clip;          /* [1.0]; negative: none */
    double dropout;   /* [0]: texts are seen a few times only (Geiping and Goldstein 2023) */
    uint64_t seed;    /* of the pre-training alone; 0: the model's, for both */
    bool fields_only; /* leave out bullets and descriptions that the model does not read */
};

/* Learning from a teacher's probabilities besides the labels; all-zero: no teacher. */
struct lm_distill_options {
    const float *teacher; /* [d->n_examples * K] of the dataset trained on, out-of-fold; a row
                             of NaN is silent. Borrowed until training ends */
    double weight;        /* of the teacher against the labels [0.5] */
    double temperature;   /* softens both sides [2] */
};

/* Where it comes from and what it reads; all-zero means the defaults in brackets. Strings are
 * copied by cross_encoder_new. */
struct lm_options {
    const char *pretrained; /* Hugging Face folder; NULL: from scratch at the size below */
    const char *family;     /* from scratch: as in config.json's model_type ["bert"] */
    const char *fields;     /* comma-separated of query,title,brand,color,bullets,description,
                               category, in order ["query,title,brand,color"] */
    const char *head;       /* "cls": the first token, as Hugging Face; "segments": the means of
                               query and product, better for sentence encoders ["cls"] */
    const char *precision;  /* of the weights at prediction: float32, bfloat16 (half the memory
                               of the layers) or int8 (fastest; 8 bits for activations too)
                               ["float32"] */
    unsigned max_tokens;    /* per pair, special tokens included [96] */
    unsigned layers;        /* from scratch [2]; with pretrained: keep the first n [all] */
    unsigned hidden, heads, intermediate; /* from scratch [128, 4, 4*hidden] */
    unsigned vocabulary;    /* from scratch: size of the WordPiece vocabulary to train [8192] */
    unsigned keyword_words; /* words of bullets and description kept by TF-IDF [32] */
    /* training */
    unsigned epochs;             /* [2] */
    unsigned batch;              /* pairs a step [32] */
    unsigned lanes;              /* see nn/lanes.h [2] */
    double learning_rate;        /* [3e-5 with pretrained, 5e-4 from scratch] */
    double weight_decay;         /* [0.01]; negative: none */
    double warmup;               /* share of steps [0.1]; negative: none */
    const char *schedule;        /* of the rate after it: linear, cosine, constant ["linear"] */
    double clip;                 /* norm of the gradient [1.0]; negative: none */
    unsigned accumulate;         /* passes of `batch` pairs that make one step [1] */
    double layer_decay;          /* a layer's learning rate by that of what follows it [1] */
    double dropout;              /* [0.1]; negative: none */
    const char *loss;            /* softmax; sigmoid: each class against all others; mixed
                                    ["softmax"] */
    double loss_mix;             /* mixed: share of sigmoid [0.5] */
    const char *class_weights;   /* data/class_weights.h [1 each] */
    double label_smoothing;      /* [0] */
    struct adapter_options lora; /* learn adapters and the head alone, then merge [rank 0: no;
                                    alpha 2 * rank; dropout 0; all linear layers] */
    bool recompute;              /* keep no activations of layers: a third more time, far less
                                    memory, the same bits [false] */
    unsigned freeze_layers;      /* embeddings and the first n layers stay as they are [0] */
    bool freeze_embeddings;
    bool frozen;       /* frozen.h: `pretrained` is a classifier, and is not trained [false] */
    unsigned patience; /* early stopping: evaluations without better log-loss on held-out
                          queries; 0: none, all of the data is trained on */
    uint64_t seed;
    struct lm_pretrain_options pretrain;
    struct lm_distill_options distill;
};

/* Makes an untrained model for a dataset's classes: loads the pretrained folder, or trains a
 * vocabulary on the texts of `d`, products and queries of the training split (labels are not
 * read), and starts at random.
 */
medley_status cross_encoder_new(const struct lm_options *options, const struct dataset *d,
                                struct cross_encoder **out, medley_error *err);
/* A folder written by cross_encoder_save (Hugging Face can load it too). */
medley_status cross_encoder_load(const char *folder, struct cross_encoder **out,
                                 medley_error *err);
/* A classifier that others fine-tuned: Hugging Face's ...ForSequenceClassification, with
 * nothing from us in its folder. Query and title are read as they are, cut as Hugging Face's
 * tokenizers cut pairs (longest first) to the most tokens that config.json and
 * tokenizer_config.json allow. EUNSUPPORTED: it is no classifier. */
medley_status cross_encoder_load_plain(const char *folder, struct cross_encoder **out,
                                       medley_error *err);
/* Whichever of the two the folder is. */
medley_status cross_encoder_open(const char *folder, struct cross_encoder **out,
                                 medley_error *err);
medley_status cross_encoder_save(const struct cross_encoder *m, const char *folder,
                                 medley_error *err);
void cross_encoder_free(struct cross_encoder *m);
/* The precision of the weights at prediction from now on; nobody may be predicting. */
medley_status cross_encoder_set_precision(struct cross_encoder *m, enum precision precision,
                                          medley_error *err);

/* Fine-tunes on the examples listed in rows[n] (indices into d, all labelled). `checkpoint` is
 * a file path for resuming after a kill: written about every 30 s, read when present and made
 * by the same options and rows (else ignored), removed at the end. The resumed run ends in the
 * same bits as an uninterrupted one. Appends one JSON line per evaluation to `log_path` (may be
 * NULL). */
medley_status cross_encoder_train(struct cross_encoder *m, const struct dataset *d,
                                  const uint32_t *rows, size_t n, const char *checkpoint,
                                  const char *log_path, medley_error *err);

/* probabilities[n*K]. Texts are length-sorted into ragged batches and spread over the pool;
 * each result depends on its own text alone. `task` names the progress line (NULL: silent). */
medley_status cross_encoder_predict(const struct cross_encoder *m,
                                    const struct pair_text *pairs, size_t n, const char *task,
                                    float *probabilities, medley_error *err);

/* Mean-pooled, L2-normalised last hidden states of plain texts: out[n * cross_encoder_width].
 * With a pretrained sentence encoder this needs no training, so no label can leak into it. */
size_t cross_encoder_width(const struct cross_encoder *m);
size_t cross_encoder_classes(const struct cross_encoder *m);
size_t cross_encoder_memory(const struct cross_encoder *m); /* bytes held */
medley_status cross_encoder_embed(const struct cross_encoder *m, const struct str *locales,
                                  const struct str *texts, size_t n, const char *task,
                                  float *out, medley_error *err);

#endif
