/* design.h: the table the GBDT reads. One definition serves training and requests, so that the
 * two cannot drift apart.
 *
 * A row is one candidate in a list of candidates of one query. For each model it holds the K
 * probabilities, and their minimum, median and maximum over the list (Choudhary et al. 2024 use
 * probabilities alone; the list statistics are worth as much as several models,
 * docs/quality.md). Those belong to the model as a player. The last player is the context:
 * locale, lengths, overlap. A missing model is NaN in all of its columns. */
#ifndef ENSEMBLE_DESIGN_H
#define ENSEMBLE_DESIGN_H

#include "data/dataset.h"

enum { CONTEXT_FEATURES = 8, COLUMNS_PER_PROBABILITY = 4 };
extern const char *const context_feature_names[CONTEXT_FEATURES];

struct design_shape {
    size_t n_models, n_classes;
    bool plain; /* no context and no list statistics */
};
size_t design_columns(const struct design_shape *s);       /* F */
size_t design_model_columns(const struct design_shape *s); /* columns of one model */
size_t design_players(const struct design_shape *s); /* n_models + 1: the last is the context */
void design_player_of_feature(const struct design_shape *s, uint32_t *player); /* [F] */
/* "minilm.E", "minilm.E.median", "query_words"; out[size]. */
void design_feature_name(const struct design_shape *s, const char *const *model_names,
                         const char *const *class_names, size_t feature, char *out,
                         size_t size);

/* out[CONTEXT_FEATURES] of one pair. locale is its index or a negative number when unknown. */
void context_features(const struct pair_text *pair, int locale, size_t list_size, float *out);

/* Fills x[n, F] for one list. probabilities[m] points to model m's [n, K], or is NULL: missing.
 * context[n * CONTEXT_FEATURES] (NULL when plain). False when out of memory. */
bool design_fill(const struct design_shape *s, const float *const *probabilities,
                 const float *context, size_t n, float *x);

#endif
