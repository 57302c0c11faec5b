/* cross_encoder.h: a language model that reads a query and a product together and gives class
 * probabilities: one base model alone, without the ensemble. */
#ifndef MEDLEY_CROSS_ENCODER_H
#define MEDLEY_CROSS_ENCODER_H

#include "medley/bundle.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Weights, tokenizer and the fields it reads. Immutable; threads may share it. */
typedef struct medley_cross_encoder medley_cross_encoder;

/* What is judged. All text is borrowed for the call and may be empty. */
typedef struct medley_pair {
    medley_text query, locale; /* locale: "us", "es", "jp" or any tag: how text is cleaned */
    medley_product product; /* its text: `id` and `has_text` are not looked at; the model reads
                               the fields that it was trained with */
} medley_pair;

/* A folder that Medley saved: models/NAME of a workspace or of a bundle, with
 * config.json, model.safetensors, the tokenizer's files and medley.json. Or a classifier of
 * Hugging Face's, without medley.json: a ...ForSequenceClassification of the families that
 * Medley knows. It reads query and title as they are, cut as Hugging Face's tokenizers cut a
 * pair, and has the labels of its config.json; with one label alone, K is 1. The caller closes
 * it. Errors: ENOTFOUND, EIO, EFORMAT, EUNSUPPORTED, ENOMEM. */
MEDLEY_API medley_status medley_cross_encoder_open(const char *folder,
                                                   medley_cross_encoder **out,
                                                   medley_error *err);
MEDLEY_API void medley_cross_encoder_close(medley_cross_encoder *m);

MEDLEY_API size_t medley_cross_encoder_classes(const medley_cross_encoder *m); /* K */
MEDLEY_API const char *medley_cross_encoder_class(const medley_cross_encoder *m, size_t c);
/* Tokens of a pair that are read; of longer ones the longest fields are cut first. */
MEDLEY_API size_t medley_cross_encoder_tokens(const medley_cross_encoder *m);

/* probabilities[n * K], of K = 1 the sigmoid of the logit; each row depends on its own pair
 * alone, whatever its neighbours and the number of threads. n may be 0. Errors: EINVAL (text
 * that is not UTF-8, named by pair and field), ENOMEM, EINTERRUPTED; what is in `probabilities`
 * is then undefined. */
MEDLEY_API medley_status medley_cross_encoder_predict(const medley_cross_encoder *m,
                                                      const medley_pair *pairs, size_t n,
                                                      float *probabilities, medley_error *err);

#ifdef __cplusplus
}
#endif
#endif
