/* engine.h: the seam between the server and what answers: a bundle (engine_bundle.c) or, in
 * tests, a fake. Everything here is set before the server starts and not changed while it runs.
 */
#ifndef SERVE_ENGINE_H
#define SERVE_ENGINE_H

#include "ensemble/drift.h"
#include "medley/bundle.h"

/* The same contract as medley_bundle_classify. Called by several threads at a time. */
typedef medley_status engine_classify(void *context, medley_text query, medley_text locale,
                                      const medley_product *products, size_t n,
                                      const medley_classify_options *options,
                                      medley_result *results, medley_error *err);

struct engine {
    engine_classify *classify;
    void *context;
    const char *id; /* of the bundle; part of every cache key */
    size_t n_classes, n_models;
    const char *classes[MEDLEY_MAX_CLASSES];
    double gains[MEDLEY_MAX_CLASSES]; /* relevance gain of each class */
    double base[MEDLEY_MAX_CLASSES];  /* margin of each class before any contribution */
    const char *models[MEDLEY_MAX_MODELS];
    const char *kinds[MEDLEY_MAX_MODELS];
    medley_store_size stores[MEDLEY_MAX_MODELS];              /* embeddings made ahead */
    size_t n_stages;                                          /* of the cascade; 0: none */
    size_t stages[MEDLEY_MAX_MODELS];                         /* [n_stages] the model of each */
    double stage_base[MEDLEY_MAX_MODELS][MEDLEY_MAX_CLASSES]; /* as base, for each stage */
    const struct drift_reference *drift;                      /* of training; NULL: none */
    const char *calibration;                                  /* its method; NULL: none */
    const char *about;   /* JSON: its id, ranking and selection; NULL: unknown */
    uint64_t file_bytes; /* size of the bundle's files, which are mapped; 0: unknown */
    /* How a model of kind remote or plugin fares; NULL: there is none. */
    medley_model_health (*health)(void *context, size_t model);
    void (*close)(struct engine *e); /* NULL: nothing to close */
};

/* Opens what is in `folder`; end with engine_close. EIO: there is nothing. */
typedef medley_status engine_open(const char *folder, struct engine *out, medley_error *err);
engine_open engine_open_bundle;
void engine_close(struct engine *e);

#endif
