/* base_model.h: anything that gives K class probabilities for a pair. One file per kind, one
 * line in base_model_kinds. */
#ifndef ENSEMBLE_BASE_MODEL_H
#define ENSEMBLE_BASE_MODEL_H

#include "ensemble/features.h"
#include "ensemble/workspace.h"

/* What a base model may look at. Everything is borrowed and outlives the model. */
struct model_context {
    const struct model_config *config;
    const struct dataset *data;
    const struct graph *graph; /* kinds with needs_graph; else NULL */
    const float *features;     /* [graph->n_nodes * width] with the graph */
    size_t width;
    const struct link_store *store; /* gnn: embeddings made ahead, or NULL */
    const float *teacher;           /* [n_examples * K] to be distilled from, or NULL */
    const char *prepared; /* folder that `prepare` filled; NULL when it was not asked */
};

/* One list of candidates of one query, at serving time. */
struct model_request {
    const struct dataset *data;
    uint32_t query;                /* index in data, or UINT32_MAX for a new query */
    const uint32_t *product;       /* [n] index in data, or UINT32_MAX */
    const struct pair_text *texts; /* [n] */
    size_t n;
    const float *query_features;   /* [width] when the query is new and a graph model asks */
    const float *product_features; /* [n * width]; rows of new products */
    const char *traceparent;       /* W3C header of the request, to pass on; or NULL */
    uint8_t *stored; /* [n] zeroed, or NULL: set to 1 where embeddings made ahead answered */
};

struct base_model_ops {
    const char *kind;
    bool needs_graph;
    /* Code or machines of others: while serving, its failure is a missing model. */
    bool outside;
    /* What all folds share and no label enters, left in `folder`; repeats nothing that is
     * there. *done tells whether there was anything to do. NULL: nothing. */
    medley_status (*prepare)(const struct model_context *c, const char *folder, bool *done,
                             medley_error *err);
    /* Trains on rows[n] (examples of context->data). NULL: this kind is not trained here. */
    medley_status (*fit)(const struct model_context *c, const uint32_t *rows, size_t n,
                         const char *checkpoint, const char *log_path, void **model,
                         medley_error *err);
    /* Kinds that are not trained here: probabilities[n_examples*K] (all NaN before), and what
     * load needs, left in `folder`. */
    medley_status (*collect)(const struct workspace *w, const struct model_context *c,
                             const char *folder, float *probabilities, medley_error *err);
    medley_status (*save)(const void *model, const char *folder, medley_error *err);
    medley_status (*load)(const struct model_context *c, const char *folder, void **model,
                          medley_error *err);
    void (*free)(void *model);
    size_t (*memory)(const void *model); /* bytes */
    /* probabilities[n*K] of examples; thread-safe. */
    medley_status (*predict)(const struct model_context *c, const void *model,
                             const uint32_t *rows, size_t n, const char *task,
                             float *probabilities, medley_error *err);
    /* probabilities[n*K] of a request; NaN rows where the model has no answer. Thread-safe. */
    medley_status (*answer)(const struct model_context *c, const void *model,
                            const struct model_request *request, float *probabilities,
                            medley_error *err);
    void (*health)(const void *model, medley_model_health *out); /* or NULL; thread-safe */
};
extern const struct base_model_ops *const base_model_kinds[KIND_COUNT]; /* by enum model_kind */
extern const struct base_model_ops lm_kind, gnn_kind, table_kind, plugin_kind, remote_kind;

/* Graph and features of one graph model, for training and for the bundle. */
struct graph_inputs {
    struct graph graph;
    struct npy features;
    const float *rows; /* [n_nodes * width] float32 */
    size_t width;
};
medley_status graph_inputs_open(const struct dataset *d, const struct relations *r,
                                const struct model_config *m, const char *features_path,
                                struct graph_inputs *out, medley_error *err);
void graph_inputs_close(struct graph_inputs *g);

#endif
