/* bundle.h: the immutable, content-addressed folder that answers requests: selected base
 * models, ensemble, product texts, settings. What `medley serve` and `medley predict` load.
 *
 * A bundle is immutable after opening; threads may share it. */
#ifndef MEDLEY_BUNDLE_H
#define MEDLEY_BUNDLE_H

#include "medley/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MEDLEY_MAX_CLASSES 16
#define MEDLEY_MAX_MODELS 32

typedef struct medley_bundle medley_bundle;

/* Borrowed UTF-8 bytes, not terminated. */
typedef struct medley_text {
    const char *s;
    size_t n;
} medley_text;

/* A product by id (looked up among the bundle's products), or with text, or both (text wins).
 */
typedef struct medley_product {
    medley_text id;
    bool has_text;
    medley_text title, description, bullets, brand, color, category;
} medley_product;

typedef struct medley_result {
    uint8_t label;          /* index of the most probable class */
    bool known_product;     /* the id was found, or text was given */
    uint8_t stages;         /* of the cascade that it took; 0: not in a cascade */
    uint32_t models_used;   /* bit m: model m answered */
    uint32_t models_failed; /* bit m: model m was asked and failed: the answer is without it,
                               and should not be remembered for long */
    uint32_t models_late;   /* bit m: model m had no answer when the time was over, as above */
    uint32_t models_stored; /* bit m: model m answered from embeddings made ahead */
    float probabilities[MEDLEY_MAX_CLASSES]; /* calibrated, if the bundle is */
    float margins[MEDLEY_MAX_CLASSES];       /* of the ensemble, before calibration */
} medley_result;

/* All-zero: as the bundle is made to answer, no deadline. */
typedef struct medley_classify_options {
    uint32_t models; /* bit mask of models to ask: these for every pair, the others count as
                        missing. 0: all, or the bundle's cascade if it has one */
    float *contributions; /* NULL, or [n * (M+1) * K]: player m of row i adds
                             contributions[(i*(M+1)+m)*K + c] to margin c; player M is the
                             context */
    float *said;          /* NULL, or [n * M * K]: the probabilities of every model itself; NaN
                             where it was not asked or had no answer */
    float *interactions;  /* NULL, or [n * (M+1) * (M+1) * K]: Shapley interaction values of the
                             players, as medley_explainer_interactions; a player's row sums to
                             its  contribution */
    const char *traceparent; /* W3C Trace Context header, passed on to remote models; or NULL */
    double deadline_ms; /* from the call on; then the ensemble answers with what has arrived,
                           and models still at work are given up, within a layer of an encoder
                           (milliseconds). A plugin cannot be stopped. 0: none */
    const float *given; /* NULL, or [n * M * K] as `said`: what models say of pairs, known
                           already. They count as if the model had been asked and had said that,
                           but nobody asks it for that pair. NaN: not given */
    bool only_given;    /* no model is asked: what is not given is missing. Without cascade */
} medley_classify_options;

MEDLEY_API medley_status medley_bundle_open(const char *folder, medley_bundle **out,
                                            medley_error *err);
MEDLEY_API void medley_bundle_close(medley_bundle *b);

MEDLEY_API const char *medley_bundle_id(const medley_bundle *b); /* 32 hex digits */
MEDLEY_API size_t medley_bundle_classes(const medley_bundle *b);
MEDLEY_API const char *medley_bundle_class(const medley_bundle *b, size_t c);
MEDLEY_API double medley_bundle_gain(const medley_bundle *b, size_t c);
MEDLEY_API size_t medley_bundle_models(const medley_bundle *b);
MEDLEY_API const char *medley_bundle_model(const medley_bundle *b, size_t m);
MEDLEY_API const char *medley_bundle_model_kind(const medley_bundle *b, size_t m);
/* The embeddings of model m that were made ahead; all zero when there are none. */
typedef struct medley_store_size {
    size_t queries, products; /* nodes */
    size_t pairs;             /* of these that are edges of the graph */
    size_t bytes;             /* of the file, which is mapped */
    int64_t made;             /* when, in seconds since 1970 */
    int64_t graph_cutoff;     /* the time up to which its graph knows behaviour; 0: unknown */
    bool half;                /* float16, else float32 */
} medley_store_size;
MEDLEY_API medley_store_size medley_bundle_store(const medley_bundle *b, size_t m);
#define MEDLEY_TOOK_LIMITS 20
/* How model m fares. What fails alone are kinds remote and plugin: zeros for the others. */
typedef struct medley_model_health {
    uint64_t lists_timed; /* answered, or not in time; other failures are in lists_failed */
    uint64_t took_ns;     /* by all of them */
    /* Lists that took at most 10 us times 2^i, and longer than the limit before; the last slot:
       longer than all limits. */
    uint64_t took[MEDLEY_TOOK_LIMITS + 1];
    uint64_t lists_failed; /* without an answer, or with one that was no probabilities */
    unsigned state;        /* remote: circuit breaker; 0 closed, 1 open, 2 half-open */
    uint64_t requests, request_failures, retries; /* remote: over HTTP */
    uint64_t lists_refused;                       /* remote: kept back by the open breaker */
} medley_model_health;
/* Thread-safe; counted since the bundle was opened. */
MEDLEY_API medley_model_health medley_bundle_health(const medley_bundle *b, size_t m);
/* base[K]: margin of each class before any contribution. */
MEDLEY_API void medley_bundle_base(const medley_bundle *b, double *base);
/* The cascade: the next model is asked only for pairs whose label is not decided yet. A pair's
 * margins and contributions are those of the ensemble of the stage that it stopped at. */
MEDLEY_API size_t medley_bundle_stages(const medley_bundle *b); /* 0: no cascade */
/* The model of a stage; SIZE_MAX: there is no such stage. */
MEDLEY_API size_t medley_bundle_stage_model(const medley_bundle *b, size_t stage);
/* The base of results with so many `stages`; 0: as medley_bundle_base. */
MEDLEY_API void medley_bundle_stage_base(const medley_bundle *b, size_t stages, double *base);
/* "none", "temperature" or "isotonic": how probabilities were made of margins, but for results
 * of a cascade, each of whose stages has a temperature. */
MEDLEY_API const char *medley_bundle_calibration(const medley_bundle *b);

/* One query with n candidate products; results[n]. The candidates are judged together:
 * per-query context features (minimum, median, maximum of each model over the candidates)
 * depend on the list. Errors: EINVAL (empty query, n 0 or above 1,000, invalid UTF-8, what is
 * given are no probabilities), ENOMEM, EINTERRUPTED. */
MEDLEY_API medley_status medley_bundle_classify(const medley_bundle *b, medley_text query,
                                                medley_text locale,
                                                const medley_product *products, size_t n,
                                                const medley_classify_options *options,
                                                medley_result *results, medley_error *err);

#ifdef __cplusplus
}
#endif
#endif
