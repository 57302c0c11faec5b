/* features.h: fixed feature vectors of graph nodes: hashed words, or the embeddings of a
 * pretrained sentence encoder. Neither reads a label, so neither can leak one. */
#ifndef ENSEMBLE_FEATURES_H
#define ENSEMBLE_FEATURES_H

#include "base/npy.h"
#include "data/dataset.h"
#include "lm/cross_encoder.h"

/* Turns text into a feature row; thread-safe after opening. */
struct feature_encoder {
    struct cross_encoder *encoder; /* NULL: hashed words */
    size_t width;
};
/* spec is "hashed" or a folder with a pretrained encoder; `d` gives class count and texts. */
medley_status feature_encoder_open(const char *spec, const struct dataset *d,
                                   struct feature_encoder *out, medley_error *err);
void feature_encoder_close(struct feature_encoder *e);

/* out[n * width], each row of unit length (or zero for empty text). */
medley_status feature_encoder_run(const struct feature_encoder *e, const struct str *locales,
                                  const struct str *texts, size_t n, const char *task,
                                  float *out, medley_error *err);

/* The text that stands for a product: its title and, when the title lacks it, its brand.
 * Appended. */
void product_feature_text(const struct product_text *p, struct strbuf *out);

/* All nodes of a dataset, queries first: a float32 .npy of [n_queries + n_products, width]. */
medley_status features_write(const struct feature_encoder *e, const struct dataset *d,
                             const char *path, medley_error *err);

#endif
