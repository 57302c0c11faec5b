/* shapley.h: exact Shapley values of a tree ensemble, per feature or per player (any partition of
 * the features: base models, families, relations).
 *
 * The game is path-dependent TreeSHAP (Lundberg et al. 2018): the value of a coalition is the
 * expected margin when features outside it are averaged over the training cover (numbers of rows,
 * not their weights; hessians for a model that XGBoost wrote). Or, given a background sample,
 * interventional: features outside the coalition are those of a background row, averaged over the
 * background. A player is present with all its features or absent with all of them; the value of
 * a player is NOT the sum of its features' values. Rows with missing values are exact. */
#ifndef MEDLEY_SHAPLEY_H
#define MEDLEY_SHAPLEY_H

#include "medley/gbdt.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct medley_explainer medley_explainer; /* immutable; threads may share it */

/* All-zero means the defaults in brackets. Arrays are borrowed for the call. */
typedef struct medley_explainer_options {
    const uint32_t *player_of_feature; /* [F] below n_players; NULL: every feature is a player */
    size_t n_players;                  /* [F] */
    size_t table_bytes;      /* bound of the tables [1 GiB]; trees past it are walked, exact but
                                some ten times slower */
    const float *background; /* [n_background, F], NaN missing; NULL: path-dependent */
    size_t n_background;     /* at most 1,048,576 */
} medley_explainer_options;

/* The model is borrowed for the explainer's life. Errors: EINVAL (a player out of range; tables of an
 * interventional game past their bound), EUNSUPPORTED (a model without covers), ENOMEM. */
MEDLEY_API medley_status medley_explainer_make(const medley_gbdt *model,
                                               const medley_explainer_options *options,
                                               medley_explainer **out, medley_error *err);
/* The same with a path-dependent game and defaults. n_players is F if player_of_feature is NULL. */
MEDLEY_API medley_status medley_explainer_new(const medley_gbdt *model,
                                              const uint32_t *player_of_feature, size_t n_players,
                                              medley_explainer **out, medley_error *err);
MEDLEY_API void medley_explainer_free(medley_explainer *e);
MEDLEY_API size_t medley_explainer_players(const medley_explainer *e);
/* Bytes held: tables and paths, without the model. */
MEDLEY_API size_t medley_explainer_memory(const medley_explainer *e);
/* base[K]: the expected margin of each class; base + the sum of a row's values = its margin, within
 * 1e-6 of the margins' scale. */
MEDLEY_API void medley_explainer_base(const medley_explainer *e, double *base);
/* values[n, P, K] row-major. A few rows are taken one by one, in tens of microseconds; many rows go
 * through tables, 64 at a time. The two agree to float rounding; otherwise a row's values do not
 * depend on the rows beside it, the threads or the CPU. Errors: ENOMEM, EINTERRUPTED. */
MEDLEY_API medley_status medley_explainer_values(const medley_explainer *e, const float *features,
                                                 size_t n, float *values, medley_error *err);
/* Shapley interaction values, interactions[n, P, P, K], as in TreeSHAP (Lundberg et al. 2018,
 * equations 4 to 6): symmetric; off the diagonal half the Shapley interaction index of a pair;
 * on it what is left, so that a player's row sums to its value. Work per row: leaves x k^2 x
 * k / 2 for k players on a path. EUNSUPPORTED with a background. */
MEDLEY_API medley_status medley_explainer_interactions(const medley_explainer *e,
                                                       const float *features, size_t n,
                                                       float *interactions, medley_error *err);

#ifdef __cplusplus
}
#endif
#endif
