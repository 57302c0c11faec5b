/* coalition.h: what is each player (base model, family, any group of features) worth? The game whose
 * value is a metric, on held-out rows, of trees refitted with the features of a coalition only.
 *
 * Not the game of shapley.h, which says what drove one score of one model: there a model and its
 * redundant twin both look useful; here they share one worth (Covert and others 2020; Ghorbani and
 * Zou 2019 for the sampling). */
#ifndef MEDLEY_COALITION_H
#define MEDLEY_COALITION_H

#include "medley/gbdt.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MEDLEY_COALITION_PLAYERS 64 /* at most */
#define MEDLEY_NO_PLAYER UINT32_MAX /* owner of features that every coalition has */

enum medley_metric {
    MEDLEY_METRIC_ACCURACY,
    MEDLEY_METRIC_MACRO_F1,
    MEDLEY_METRIC_LOG_LOSS, /* a loss: players that help have negative values */
    MEDLEY_METRICS
};
MEDLEY_API const char *medley_metric_name(enum medley_metric metric); /* "macro_f1" */

/* All-zero means the defaults in brackets. */
typedef struct medley_coalition_options {
    unsigned exact_players; /* up to so many players all 2^M coalitions are refitted; at most 20
                               [12] */
    unsigned refits;        /* beyond: about so many; at least two pairs of orders are drawn [1000] */
    uint64_t seed;          /* of the orders */
    /* Called after each refit, from one thread at a time but not always the same; false ends the
     * game with EINTERRUPTED. NULL: not called. */
    bool (*progress)(void *context, size_t done, size_t total);
    void *progress_context;
} medley_coalition_options;

typedef struct medley_coalition medley_coalition; /* immutable; threads may share it */

/* Plays the game: bins `train` once, refits with options `trees` for every coalition asked for (one
 * thread a refit), and measures each on `held_out`. player_of_feature[F] maps features to
 * 0..n_players-1 or MEDLEY_NO_PLAYER. The empty coalition predicts the class shares of the training
 * rows (or what the features of no player give). Up to exact_players all coalitions are played and
 * values are exact; beyond, players join in random orders, each order also backwards (Mitchell and
 * others 2022), which is unbiased and has a standard error. Orders are not truncated: that would
 * bias small players towards 0. Refits try all their features unless trees->feature_fraction says
 * otherwise: drawing them would let a player without use count. The same for the same data and options whatever the threads.
 * Errors: EINVAL (a player without features, more than 64, early stopping or use_features in
 * `trees`, weights of held-out rows), ENOMEM, EINTERRUPTED. */
MEDLEY_API medley_status medley_coalition_play(
    const medley_table *train, const medley_table *held_out, const uint32_t *player_of_feature,
    size_t n_players, const medley_gbdt_options *trees, const medley_coalition_options *options,
    medley_coalition **out, medley_error *err);
MEDLEY_API void medley_coalition_free(medley_coalition *game);

MEDLEY_API size_t medley_coalition_players(const medley_coalition *game);
MEDLEY_API size_t medley_coalition_refits(const medley_coalition *game); /* that were made */
MEDLEY_API bool medley_coalition_exact(const medley_coalition *game);
/* values[P] add up to the metric with all players less that with none. errors[P], may be NULL:
 * standard errors of the sampling, 0 when exact. */
MEDLEY_API void medley_coalition_values(const medley_coalition *game, enum medley_metric metric,
                                        double *values, double *errors);
/* The metric of one coalition, bit p for player p. False (nothing written) when it was not played.
 */
MEDLEY_API bool medley_coalition_metric(const medley_coalition *game, enum medley_metric metric,
                                        uint64_t coalition, double *value);

#ifdef __cplusplus
}
#endif
#endif
