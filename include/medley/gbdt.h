/* gbdt.h: gradient-boosted decision trees with softmax loss: histogram splits, leaf-wise growth, a
 * learned direction for missing values (NaN).
 *
 * Works on tables in memory, without a workspace: train or load, predict, explain (shapley.h), save;
 * as examples/gbdt.c and examples/shapley.c do. Models of LightGBM and XGBoost load like Medley's own.
 *
 * Features are float32, row-major x[n, F], not infinite; NaN is missing. Labels are class indices
 * 0..K-1.
 * A trained model is immutable: threads may share it. */
#ifndef MEDLEY_GBDT_H
#define MEDLEY_GBDT_H

#include "medley/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct medley_gbdt medley_gbdt;

enum medley_trees { MEDLEY_TREES_PER_CLASS = 0, MEDLEY_TREES_VECTOR = 1 };

/* From margins to predictions. Training here always gives SOFTMAX; the others come with models read
 * from other libraries. A binary classifier or regression has one output: K is 1 and its margin
 * or prediction is one number a row (of a sigmoid, the probability of class 1). */
enum medley_link {
    MEDLEY_LINK_SOFTMAX = 0, /* K >= 2 */
    MEDLEY_LINK_SIGMOID,     /* of each output for itself: binary, one against all */
    MEDLEY_LINK_IDENTITY,    /* regression, ranking */
    MEDLEY_LINK_EXP          /* Poisson, gamma, Tweedie */
};

/* What weighs the branches that a missing player would have taken, in Shapley values: LightGBM
 * counts rows, XGBoost adds hessians; a model read from their files keeps its own kind. */
enum medley_cover {
    MEDLEY_COVER_ROWS = 0,
    MEDLEY_COVER_HESSIAN,
    MEDLEY_COVER_NONE /* the file holds none that are above zero: no Shapley values */
};

/* All-zero means the defaults in brackets. */
typedef struct medley_gbdt_options {
    unsigned rounds;            /* [200] */
    unsigned num_leaves;        /* 2..255 [31] */
    unsigned max_depth;         /* 0: no limit */
    unsigned min_data_in_leaf;  /* rows, estimated from the hessian while searching, as LightGBM
                                   does: a leaf of confident rows may hold fewer [20] */
    unsigned max_bins;          /* per feature, missing apart; 2..255 [255] */
    double learning_rate;       /* [0.05] */
    double lambda_l2;           /* as given */
    double min_sum_hessian;     /* [1e-3] */
    double min_gain;            /* as given */
    double feature_fraction;    /* features tried, drawn anew per tree, or per round where rows are
                                   sampled [0.5, 1 for fewer than 8 features] */
    double row_fraction;        /* rows sampled, drawn anew per round [1] */
    double gradient_fraction;   /* share of the rows that a round's trees grow from, those of large
                                   gradients likelier, the others counting for more: minimal
                                   variance sampling (Ibragimov and Gusev 2019). 1: all
                                   [sqrt(25000 / n), from 0.2 to 1] */
    unsigned early_stopping;    /* rounds without a better validation log-loss; 0: off */
    enum medley_trees trees;
    const double *class_weights;   /* [K]; NULL: all 1. Not applied to validation */
    const uint32_t *player_of_feature; /* [F] below F, for masking; UINT32_MAX: never masked;
                                          NULL: every feature its own player */
    double mask_rate;           /* chance that a whole player is made missing in a row, drawn anew
                                   every 40 rounds; 0: off; below 1 */
    uint64_t seed;
    const uint8_t *use_features; /* [F] 0: as if the tables lacked this feature; NULL: all used */
    bool quiet;                  /* no progress on stderr; for refits side by side */
} medley_gbdt_options;

/* A table to train or validate on. weights[n] may be NULL. Borrowed for the call. */
typedef struct medley_table {
    const float *features; /* [n * n_features] */
    const uint8_t *labels; /* [n] */
    const float *weights;  /* [n] or NULL */
    size_t n, n_features, n_classes;
} medley_table;

/* Trains on the softmax log-loss, with hessian p (1 - p) K / (K - 1). Rows of weight 0 count for
 * nothing, not even for covers. Missing goes where it gains most; at a node whose rows all have the
 * feature, to the child with more rows. validation may be NULL (then early stopping is off). The
 * same data, options and seed give the same model, bit for bit, whatever the number of threads and
 * the CPU's instruction sets.
 * Errors: EINVAL (a label >= K, infinite feature, K outside 2..16, no rows), ENOMEM, EINTERRUPTED. */
MEDLEY_API medley_status medley_gbdt_train(const medley_table *train,
                                           const medley_table *validation,
                                           const medley_gbdt_options *options, medley_gbdt **out,
                                           medley_error *err);
MEDLEY_API void medley_gbdt_free(medley_gbdt *model);

/* A table prepared for training (features as bins, labels and weights copied): prepare once, train
 * many times, with all features or with some (options.use_features). Immutable: threads may train
 * from one at the same time, best one thread a training (inside a parallel loop, each works alone).
 * max_bins as in the options (0: 255). A table to validate on is cut as `like`, the data to be
 * trained on, is; max_bins is then not looked at. Errors as medley_gbdt_train's. */
typedef struct medley_gbdt_data medley_gbdt_data;
MEDLEY_API medley_status medley_gbdt_data_new(const medley_table *table, unsigned max_bins,
                                              const medley_gbdt_data *like,
                                              medley_gbdt_data **out, medley_error *err);
MEDLEY_API void medley_gbdt_data_free(medley_gbdt_data *data);
/* medley_gbdt_train on prepared data: the same model, bit for bit. With use_features, the model that
 * tables without the other features give, its features numbered as in the full table.
 * options.max_bins is not looked at. Errors besides: EINVAL (no feature used, a validation table not
 * made like the training one). */
MEDLEY_API medley_status medley_gbdt_train_data(const medley_gbdt_data *train,
                                                const medley_gbdt_data *validation,
                                                const medley_gbdt_options *options,
                                                medley_gbdt **out, medley_error *err);

MEDLEY_API size_t medley_gbdt_features(const medley_gbdt *model);
MEDLEY_API size_t medley_gbdt_classes(const medley_gbdt *model); /* K: margins of a row */
MEDLEY_API enum medley_link medley_gbdt_link(const medley_gbdt *model);
MEDLEY_API enum medley_cover medley_gbdt_cover(const medley_gbdt *model);
MEDLEY_API size_t medley_gbdt_rounds(const medley_gbdt *model); /* after early stopping */
MEDLEY_API size_t medley_gbdt_memory(const medley_gbdt *model); /* bytes held */
/* Optional names, for files and plots; copied. NULL where none were given. */
MEDLEY_API medley_status medley_gbdt_set_feature_names(medley_gbdt *model, const char *const *names,
                                                       medley_error *err);
MEDLEY_API const char *medley_gbdt_feature_name(const medley_gbdt *model, size_t feature);

/* Prediction first makes a model ready: milliseconds, and about 1.5 KB a tree, once. This does it
 * ahead of the first call, say before a server listens; calling it is never needed. ENOMEM. */
MEDLEY_API medley_status medley_gbdt_prepare(const medley_gbdt *model, medley_error *err);
/* margins[n*K] (sums of leaf values and base) or probabilities[n*K] (their softmax, or what the
 * model's link makes of them); row-major. Threads may call these at once; a row's result has the same
 * bits whatever n, the threads and the CPU: leaf values are added in float within 8 trees, in double
 * beyond. One row is as welcome as many. ENOMEM. */
MEDLEY_API medley_status medley_gbdt_margins(const medley_gbdt *model, const float *features,
                                             size_t n, float *margins, medley_error *err);
MEDLEY_API medley_status medley_gbdt_predict(const medley_gbdt *model, const float *features,
                                             size_t n, float *probabilities, medley_error *err);

/* Model files. Loading finds out by itself which format a file has, trusts nothing in it, and names
 * the line or field that it refuses (MEDLEY_EFORMAT), or the feature that it lacks
 * (MEDLEY_EUNSUPPORTED: categorical splits, linear leaves, more than 65,535 leaves or 16 outputs).
 * Thresholds become float32 comparisons with the same outcome for every float32 feature; leaf
 * values are rounded to float32. Margins of a random forest of LightGBM are means over its rounds,
 * where LightGBM's raw scores are sums. Names of features come along. */
enum medley_model_format {
    MEDLEY_MODEL_MEDLEY = 0, /* readable text with every bit */
    MEDLEY_MODEL_LIGHTGBM,   /* text, v3 and v4; written as v4 */
    MEDLEY_MODEL_XGBOOST_JSON, /* 1.7 to 3.x, trees of one output or of all; written so that all
                                  these versions read it, one tree per output */
    MEDLEY_MODEL_XGBOOST_UBJ
};
/* "medley", "lightgbm", "xgboost-json", "xgboost-ubj"; NULL past the last. */
MEDLEY_API const char *medley_gbdt_format_name(enum medley_model_format format);
MEDLEY_API medley_status medley_gbdt_load(const char *path, medley_gbdt **out, medley_error *err);
/* Replaces the file atomically. save writes MEDLEY_MODEL_MEDLEY. */
MEDLEY_API medley_status medley_gbdt_save(const medley_gbdt *model, const char *path,
                                          medley_error *err);
MEDLEY_API medley_status medley_gbdt_save_as(const medley_gbdt *model, const char *path,
                                             enum medley_model_format format, medley_error *err);

#ifdef __cplusplus
}
#endif
#endif
