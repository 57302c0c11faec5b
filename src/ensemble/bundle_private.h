/* bundle_private.h: a bundle in memory and one request to it; private to bundle.c,
 * bundle_answer.c, bundle_ask.c, bundle_part.c and bundle_cascade.c. */
#ifndef ENSEMBLE_BUNDLE_PRIVATE_H
#define ENSEMBLE_BUNDLE_PRIVATE_H

#include "ensemble/base_model.h"
#include "ensemble/calibrator.h"
#include "ensemble/cascade.h"
#include "ensemble/design.h"
#include "ensemble/drift.h"
#include "gnn/link_store.h"
#include "medley/bundle.h"
#include "medley/shapley.h"

#include <stdatomic.h>

/* Graph and features are shared by the models whose settings agree. */
struct shared_graph {
    struct graph_inputs inputs;
    struct feature_encoder encoder;
    char *features; /* "hashed" or "encoder-..." */
};

struct bundle_model {
    struct model_config config; /* name, kind, features and relations only */
    const char **relations;     /* owned; the names are borrowed from the manifest */
    struct model_context context;
    void *model;
    struct link_store *store; /* embeddings made ahead, or NULL */
    size_t graph;             /* index of its shared_graph; SIZE_MAX when it needs none */
};

/* What a model took, as medley_model_health tells it. */
struct model_clock {
    atomic_uint_least64_t lists, ns, took[MEDLEY_TOOK_LIMITS + 1];
};

struct medley_bundle {
    char id[33];
    json *manifest;
    struct dataset data;
    struct relations relations;
    bool data_open, relations_open;
    size_t n_models, n_graphs;
    struct bundle_model models[MEDLEY_MAX_MODELS];
    size_t by_size[MEDLEY_MAX_MODELS]; /* models, small ones first: those are quick */
    atomic_uint_least64_t *failed;     /* [MEDLEY_MAX_MODELS]: lists in vain, by model */
    struct model_clock *clocks;        /* [MEDLEY_MAX_MODELS] */
    struct shared_graph graphs[MEDLEY_MAX_MODELS];
    medley_gbdt *gbdt;
    medley_explainer *explainer;
    struct design_shape shape;
    struct bundle_cascade *cascade; /* NULL: every model for every pair */
    struct drift_reference *drift;  /* or NULL */
    bool calibrated;
    struct calibrator calibrator; /* if calibrated */
};

/* The models in stages (cascade.h); order and prefix are of the bundle's models. */
struct bundle_cascade {
    struct cascade c;
    medley_gbdt *gbdt[MEDLEY_MAX_MODELS]; /* [n_stages] */
    medley_explainer *explainer[MEDLEY_MAX_MODELS];
};

/* One list of candidates on its way. */
struct request {
    const medley_bundle *b;
    struct model_request model;         /* what base models see */
    struct pair_text *texts;            /* [n] */
    uint32_t *product;                  /* [n] */
    float *new_rows[MEDLEY_MAX_MODELS]; /* by shared graph: [(n + 1) * width], the query last */
    float *probabilities[MEDLEY_MAX_MODELS]; /* [n * K]; NULL: not asked */
    uint8_t *stored[MEDLEY_MAX_MODELS];      /* [n]: embeddings made ahead answered; or NULL */
    uint32_t failed, late;                   /* models that were asked in vain */
    double until;                            /* when the time is over; 0: never */
    uint32_t asked;                          /* models that may be asked */
    const float *given; /* [N * M * K] of the whole list's N pairs, NaN where not; or NULL */
    uint32_t given_some, given_all; /* models given for a pair of it, for every pair */
    uint32_t *row; /* [n] of a part: where its pairs stand in that list; NULL: it is whole */
    float *context, *x;
};

/* Asks the models of r->asked, small ones first, those of others at the same time. */
medley_status request_ask_all(struct request *r, medley_error *err);
/* Fills r->probabilities[m] with what is given, and asks model m for the other pairs if it may
 * be asked. */
medley_status request_ask(struct request *r, size_t m, medley_error *err);
/* Fills r->context. */
medley_status request_context(struct request *r, medley_error *err);
void request_free(struct request *r);

/* ---- bundle_part.c ---- */

/* The pairs rows[n], ascending, as a request of their own; end with request_free, also after an
 * error. It borrows what r borrows. */
medley_status request_part_open(const struct request *r, const uint32_t *rows, size_t n,
                                struct request *part, medley_error *err);
/* What model m said of the part. */
medley_status request_part_merge(struct request *r, const struct request *part,
                                 const uint32_t *rows, size_t m, medley_error *err);
/* Feature rows that were encoded for the part; those of other pairs are zero: only for who asks
 * for the pairs of later parts of it alone. */
medley_status request_part_keep(struct request *r, const struct request *part,
                                const uint32_t *rows, medley_error *err);
/* Takes options->given of the whole list. EINVAL: they are no probabilities. */
medley_status request_take_given(struct request *r, const float *given, medley_error *err);
/* What is given of pair i and model m, [K]; NULL: nothing. */
const float *request_given(const struct request *r, size_t i, size_t m);
/* The models that are given of pair i. */
uint32_t request_given_mask(const struct request *r, size_t i);

/* ---- bundle_cascade.c ---- */

/* Reads folder/cascade; b's models are open. */
medley_status bundle_cascade_open(medley_bundle *b, const char *folder, medley_error *err);
void bundle_cascade_close(struct bundle_cascade *c); /* accepts NULL */
/* Answers a request stage by stage. */
medley_status bundle_cascade_answer(struct request *r, const medley_classify_options *options,
                                    medley_result *results, medley_error *err);

#endif
