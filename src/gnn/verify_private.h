/* verify_private.h: what the files of gnn_verify share: verify.c (comparisons), verify_model.c
 * (config.json, the layers), verify_graph.c (the recorded graph). */
#ifndef GNN_VERIFY_PRIVATE_H
#define GNN_VERIFY_PRIVATE_H

#include "base/json.h"
#include "gnn/layer.h"
#include "gnn/verify.h"
#include "nn/ops.h"

enum { MAX_LAYERS = 16, MAX_LABELS = 256 };

/* The recorded graph as one block: what PyTorch Geometric makes of its edges. */
struct recorded {
    size_t nodes, in;
    float *x;       /* [nodes, in] */
    uint8_t *label; /* [nodes] */
    struct block b;
    uint32_t *self, *offsets, *source, *relations;
    float *weight, *target_degree, *source_degree, *loop_weight, *features;
};

struct verified {
    const char *folder;
    json *config;
    struct st_file *graph, *model, *outputs;
    const struct layer_ops *ops;
    struct layer layers[MAX_LAYERS];
    unsigned n_layers;
    size_t logits; /* columns of the recorded ones */
    enum activation activation;
    bool leaky;   /* leaky ReLU of slope 0.01 instead */
    bool weights; /* gcn reads edge weights */
    struct params params;
    struct recorded r;
    struct checks *checks;
    struct tape tape;
    float *grads;
    struct tensor *input, *hidden[MAX_LAYERS]; /* of the last run; hidden: before activations */
};

/* What config.json says under a key. */
bool verify_says(const struct verified *v, const char *key, bool otherwise);
/* Of edge weights: 1 read, 0 not, -1 not a word. */
int verify_said_of_weights(const struct verified *v);
/* Fills in ops, activation, leaky, weights. */
medley_status verify_read_config(struct verified *v, medley_error *err);
/* Layers as model.safetensors shows them, and their parameters; v->logits is known. */
medley_status verify_read_model(struct verified *v, medley_error *err);
/* v->r, for these layers. */
medley_status verify_read_graph(struct verified *v, medley_error *err);
void verify_graph_free(struct recorded *r);

#endif
