/* link_classifier.h: a graph model: node features -> layers -> embeddings, then a classifier
 * over (query, product) pairs. A pair's own query-product edge is hidden from its neighbourhood
 * whenever that pair is trained on or predicted, and labels never enter the graph. */
#ifndef GNN_LINK_CLASSIFIER_H
#define GNN_LINK_CLASSIFIER_H

#include "gnn/graph.h"

struct link_classifier; /* predict is thread-safe */
struct link_store;

struct gnn_options {     /* all-zero means the defaults in brackets */
    const char *layer;   /* "gcn", "sage", "sage-max", "gatv2", "rgcn" ["sage"] */
    unsigned hops;       /* 1..4 [2] */
    unsigned hidden;     /* [64] */
    unsigned heads;      /* gatv2 [4] */
    unsigned relations;  /* of the graph it is made for; rgcn tells them apart [1] */
    unsigned bases;      /* rgcn: its maps are mixed of so many; 0: each relation has its own */
    const char *jumping; /* what is read of the hops: "last", "cat", "max" (Xu et al. 2018,
                            jumping knowledge) ["last"] */
    unsigned fanout;     /* neighbours sampled per node and hop in training [10] */
    unsigned hop_fanout[GNN_MAX_HOPS]; /* of each hop, the pair's own neighbours first [fanout] */
    unsigned relation_fanout[GRAPH_TYPED_RELATIONS]; /* of each relation of the graph, at most;
                                                        [0: no limit of its own] */
    unsigned epochs;     /* [10] */
    unsigned batch;      /* pairs a step [256] */
    unsigned lanes;      /* [2] */
    double learning_rate; /* [1e-3] */
    double weight_decay;  /* [1e-4]; negative: none */
    double dropout;       /* [0.3]; negative: none */
    unsigned patience;    /* as in lm_options [0] */
    uint64_t seed;
    /* "sampled": steps over sampled neighbourhoods; "full": over the whole graph, the edges of
     * a step's pairs taken out (link_full.c); "auto": full where that takes less memory than
     * full_memory_mb and there are at least as many pairs as nodes. ["auto"] */
    const char *training;
    unsigned full_memory_mb; /* [2048] */
};

medley_status link_classifier_new(const struct gnn_options *options, size_t feature_width,
                                  size_t n_classes, struct link_classifier **out,
                                  medley_error *err);
medley_status link_classifier_load(const char *folder, struct link_classifier **out,
                                   medley_error *err);
medley_status link_classifier_save(const struct link_classifier *m, const char *folder,
                                   medley_error *err);
void link_classifier_free(struct link_classifier *m);
size_t link_classifier_memory(const struct link_classifier *m);

/* features[n_nodes * width] row-major, never trained. pairs are (query index, product index).
 * checkpoint and log_path as in cross_encoder_train. */
struct link_data {
    const struct graph *graph;
    const float *features;
    const uint32_t *query, *product; /* [n] */
    const uint8_t *label;            /* [n]; NULL when predicting */
    size_t n;
};
medley_status link_classifier_train(struct link_classifier *m, const struct link_data *data,
                                    const char *checkpoint, const char *log_path,
                                    medley_error *err);
/* probabilities[n*K] (undefined on failure), using whole neighbourhoods: no sampling, except
 * that of a node with more than 64 neighbours the same 64, chosen by hash, are read every time.
 * Results depend neither on the other pairs asked for nor on threads. */
medley_status link_classifier_predict(const struct link_classifier *m,
                                      const struct link_data *data, const char *task,
                                      float *probabilities, medley_error *err);

/* Serving. Last-layer embeddings of nodes: out[n * link_classifier_width]. */
size_t link_classifier_width(const struct link_classifier *m);
medley_status link_classifier_embed(const struct link_classifier *m, const struct graph *g,
                                    const float *features, const uint32_t *nodes, size_t n,
                                    float *out, medley_error *err);

/* A request: one query and its candidate products, any of which may be new. A new node brings
 * its feature row. A new query's neighbours are taken to be the candidates of the request (its
 * listing), each pair's own edge hidden, which is what training sees for a listed query; with
 * `neighbours`, new nodes also join through the stored ones nearest by text (link_patch.c). */
struct link_request {
    const struct graph *graph;
    const float *features;         /* [n_nodes * width] of the stored nodes */
    uint32_t query;                /* stored query index, or UINT32_MAX for a new one */
    const float *query_features;   /* [width] when new */
    const uint32_t *product;       /* [n] stored product index or UINT32_MAX */
    const float *product_features; /* [n * width]; rows read where product is UINT32_MAX */
    size_t n;
    unsigned neighbours; /* how many nearest by text a new node joins through; 0: none */
    const uint8_t *query_group, *product_group; /* [stored] locales, or NULL: all one */
    uint8_t group;                              /* of the new nodes */
    size_t width;                               /* set by link_classifier_answer */
    const struct link_store
        *store;      /* of this model, graph and features (link_store.h), or NULL */
    uint8_t *stored; /* [n] or NULL: set to whether the store answered the pair */
};
medley_status link_classifier_answer(const struct link_classifier *m,
                                     const struct link_request *request, float *probabilities,
                                     medley_error *err);

#endif
