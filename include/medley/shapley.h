/* shapley.h: exact Shapley values of a tree ensemble, per feature or per player (any partition of
 * the features: base models, families, relations).
 *
 * The game is path-dependent TreeSHAP (Lundberg et al. 2018): the value of a coalition is the
 * expected margin when features outside it are averaged over the training cover (numbers of rows,
 * not their weights). A player is present with all its features or absent with all of them; the
 * value of a player is NOT the sum of its features' values. Rows with missing values are exact. */
#ifndef MEDLEY_SHAPLEY_H
#define MEDLEY_SHAPLEY_H

#include "medley/gbdt.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct medley_explainer medley_explainer; /* immutable; threads may share it */

/* player_of_feature[F] maps each feature to 0..n_players-1; NULL: every feature is a player. The
 * model is borrowed for the explainer's life. */
MEDLEY_API medley_status medley_explainer_new(const medley_gbdt *model,
                                              const uint32_t *player_of_feature, size_t n_players,
                                              medley_explainer **out, medley_error *err);
MEDLEY_API void medley_explainer_free(medley_explainer *e);
MEDLEY_API size_t medley_explainer_players(const medley_explainer *e);
/* base[K]: the expected margin of each class; base + the sum of a row's values = its margin. */
MEDLEY_API void medley_explainer_base(const medley_explainer *e, double *base);
/* values[n, P, K] row-major. */
MEDLEY_API medley_status medley_explainer_values(const medley_explainer *e, const float *features,
                                                 size_t n, float *values, medley_error *err);

#ifdef __cplusplus
}
#endif
#endif
