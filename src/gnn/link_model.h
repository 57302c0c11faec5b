/* link_model.h: private to the link classifier: the model's parts and its forward pass, shared
 * by link_classifier.c (life, files), link_train.c and link_predict.c. */
#ifndef GNN_LINK_MODEL_H
#define GNN_LINK_MODEL_H

#include "gnn/layer.h"
#include "gnn/link_classifier.h"
#include "gnn/sampler.h"

#include "base/str.h"

/* Two linear layers with a ReLU in between. */
struct link_head {
    param_id hidden_weight, hidden_bias, out_weight, out_bias;
};

struct link_classifier {
    struct gnn_options options; /* defaults filled in; layer points to ops->name */
    const struct layer_ops *ops;
    size_t width, n_classes;
    struct params params;
    param_id input_weight, input_bias; /* features to hidden */
    param_id kind;                     /* [2, hidden] added to query and product rows */
    struct layer layers[GNN_MAX_HOPS];
    param_id jump_weight, jump_bias;       /* jumping "cat": all hops to hidden */
    param_id norm_weight[2], norm_bias[2]; /* of the first and of the last rows */
    struct link_head match, pair;          /* their logits are added */
};

/* Options hold a negative rate for "none". */
static inline double link_rate(double rate)
{
    return rate > 0 ? rate : 0;
}

/* Fills in defaults and refuses what makes no sense (EINVAL naming the option). */
medley_status link_options_check(struct gnn_options *o, size_t width, size_t n_classes,
                                 medley_error *err);
/* Declares the parameters of m->options, m->width and m->n_classes; not yet allocated. */
void link_model_declare(struct link_classifier *m);

/* config.json as text, and back (strictly; `name` is put before messages). */
void link_config_write(const struct link_classifier *m, struct strbuf *out);
medley_status link_config_parse(struct str text, const char *name, struct gnn_options *options,
                                size_t *width, size_t *n_classes, medley_error *err);

/* Rows of features by node id. A request's new query is node n_stored, its new products the
 * nodes from n_stored + 1 on. */
struct feature_source {
    const float *stored; /* [n_stored * width] */
    size_t n_stored, n_queries, width;
    const float *query;    /* [width] or NULL */
    const float *products; /* [. * width] or NULL */
};

struct link_batch {
    const struct graph_view *view;
    const struct feature_source *features;
    const uint32_t *query, *product; /* [n] node ids */
    size_t n;
    unsigned fanout;
    const unsigned *hop_fanout, *relation_fanout; /* as in sample_request */
    uint64_t seed;                                /* of the sampling */
};
/* Logits [n, classes]; NULL when the tape failed or *st is no longer OK. */
struct tensor *link_forward(const struct link_classifier *m, struct tape *t, struct sampler *s,
                            const struct link_batch *batch, medley_status *st,
                            medley_error *err);
/* What raw features say of each pair: [n, MATCH_COLUMNS] on the tape; NULL as above. */
float *link_matches(const struct link_classifier *m, struct tape *t, struct sampler *s,
                    const struct link_batch *batch, medley_status *st, medley_error *err);
/* The roots of a request, encoded. */
struct encoding {
    struct sample sample;
    const float *leaf; /* [sample.n_leaves, width] raw features, each row of unit RMS or zero */
    struct tensor *roots;                /* [n, hidden] last-layer rows */
    struct tensor *levels[GNN_MAX_HOPS]; /* [., hidden] what each layer before the last gave:
                                            levels[0] of the leaves, then the targets of
                                            blocks[0], ... */
};
/* Where a root stands in levels[level]: every level keeps a copy of what is above it. */
static inline size_t encoding_row(const struct encoding *e, unsigned level, size_t root)
{
    for (unsigned h = e->sample.hops; h > level; h--)
        root = e->sample.blocks[h - 1].self[root];
    return root;
}
/* What the roots were after each hop to what the heads read; hops[options.hops]. */
struct tensor *link_finish(const struct link_classifier *m, struct tape *t,
                           struct tensor *const *hops);
/* NULL when the tape failed or *st is no longer OK. */
struct encoding *link_encode(const struct link_classifier *m, struct tape *t, struct sampler *s,
                             const struct sample_request *r,
                             const struct feature_source *features, medley_status *st,
                             medley_error *err);

/* Parts of link_encode, for rows that come from elsewhere (link_store_new.c). The first rows of
 * raw features x[n, width] of unit RMS; kind 0 for queries, 1 for products. */
struct tensor *link_project(const struct link_classifier *m, struct tape *t, const float *x,
                            const int32_t *kind, size_t n);
/* One layer: rows of the targets of `b` from rows of its sources. */
struct tensor *link_layer(const struct link_classifier *m, struct tape *t, unsigned layer,
                          struct tensor *h, const struct block *b);
/* The last rows of the roots, from what each layer gave. */
struct tensor *link_last(const struct link_classifier *m, struct tape *t,
                         const struct sample *s, struct tensor *const *hops);

/* match.c: what raw features alone say about the pairs of an encoding, whose roots are n
 * queries followed by their n products: out[n, MATCH_COLUMNS]. */
enum { MATCH_COLUMNS = 9 };
void match_features(const struct encoding *e, size_t width, size_t n, float *scratch,
                    float *out);
size_t match_scratch(const struct encoding *e, size_t width, size_t n); /* floats */

/* One node's part of it: what can be kept of a node whatever its partner will be. */
struct match_side {
    const float *raw;    /* [width] of unit RMS */
    const float *around; /* [width] mean of its neighbours */
    float log_degree;
    size_t n_others;     /* queries only: */
    const float *others; /* [n_others] cosines with its neighbours */
};
/* Of a root; `around` [width] and `others` [neighbours] are filled and borrowed. */
struct match_side match_product(const struct encoding *e, size_t width, size_t root,
                                float *around);
struct match_side match_query(const struct encoding *e, size_t width, size_t root,
                              float *around, float *others);
void match_pair(const struct match_side *q, const struct match_side *p, size_t width,
                float *out);

float match_cosine(const float *a, const float *b, size_t width);
/* link_patch.c: the bit of the relation that a new query's candidates are its neighbours by:
 * listing or impressions; else 0, or with `any` the first between queries and products. */
uint32_t link_listing_relation(const struct graph *g, bool any);
/* Whether its candidates are all that a new query has for neighbours. */
bool link_joins_by_listing(const struct link_request *r);

/* One row of features, scaled as the model reads it. */
void link_raw_row(const float *from, size_t width, float *to);

/* Both heads over rows [2n, hidden] (n queries, then their products) and match features
 * match[n, MATCH_COLUMNS]: logits [n, classes]; NULL when the tape failed. */
struct tensor *link_heads(const struct link_classifier *m, struct tape *t, struct tensor *rows,
                          const float *match, size_t n);

/* Whether the graph has the relations that the model was made for. */
medley_status link_graph_check(const struct link_classifier *m, const struct graph *g,
                               medley_error *err);
/* Checks indices, labels, relations, and that features are finite. */
medley_status link_data_check(const struct link_classifier *m, const struct link_data *data,
                              bool labels, medley_error *err);

/* Whole neighbourhoods, but no more than so many neighbours of one node: a hub (a brand with
 * thousands of products) would otherwise cost its size for every node that touches it. Chosen
 * by hash, so always the same ones. */
enum { WHOLE = 64 };
#define WHOLE_SEED UINT64_C(0x67726170682d616c)

/* Pairs of node ids over a view: probabilities[n*K]. Used by predict, answer and by evaluations
 * during training. */
struct predict_job {
    const struct graph_view *view;
    const struct feature_source *features;
    const uint32_t *query, *product; /* [n] node ids */
    size_t n;
    const char *task; /* NULL: silent */
};
medley_status link_predict_nodes(const struct link_classifier *m, const struct predict_job *job,
                                 float *probabilities, medley_error *err);

/* Only what raw features say of each pair: out[n, MATCH_COLUMNS]. */
medley_status link_match_nodes(const struct link_classifier *m, const struct predict_job *job,
                               float *out, medley_error *err);

/* Encodes stored nodes over whole neighbourhoods with nothing hidden; `take` writes a chunk of
 * n of them to its rows out[n, stride], on several threads. */
struct node_job {
    const struct graph *graph;
    const float *features;
    const uint32_t *nodes; /* [n] ids */
    size_t n, stride;
    void (*take)(const struct link_classifier *m, const struct encoding *e, size_t n,
                 float *out);
};
medley_status link_encode_nodes(const struct link_classifier *m, const struct node_job *job,
                                float *out, medley_error *err);

/* link_full.c: training over the whole graph. */
struct link_full;
struct link_part {                   /* pairs that are learnt from in one step */
    const uint32_t *pair;            /* [n] indices into those given to link_full_new */
    const uint32_t *query, *product; /* [n] node ids */
    size_t n;
};
/* What training would take at its peak, in bytes, a little more rather than less; and whether
 * that is below options.full_memory_mb. */
size_t link_full_bytes(const struct link_classifier *m, const struct graph *g);
bool link_full_fits(const struct link_classifier *m, const struct graph *g);
/* `pairs`: all that will be trained on. m and g must outlive it. */
medley_status link_full_new(const struct link_classifier *m, const struct graph *g,
                            const struct predict_job *pairs, struct link_full **out,
                            medley_error *err);
void link_full_free(struct link_full *f);
/* Logits [n, classes] with the part's edges out of the graph, valid until the next part; NULL
 * when the tape failed or *st is no longer OK. */
struct tensor *link_full_forward(struct link_full *f, struct tape *t, const struct link_part *p,
                                 medley_status *st, medley_error *err);

#endif
