/* layer.h: the table of graph layers. A layer turns source rows x[n_sources, in] into target
 * rows [n_targets, out] over one block. Adding one: a file with a `struct layer_ops`, a line in
 * layers.c. The gradient check, the hiding test and save/load loop over the table. */
#ifndef GNN_LAYER_H
#define GNN_LAYER_H

#include "gnn/block.h"

struct layer_shape {
    size_t in, out;
    unsigned heads;     /* attention layers */
    bool average_heads; /* out columns per head, averaged; otherwise heads share out, side by
                           side */
    bool no_bias;
    bool no_self_loops;  /* gcn, gatv2 */
    bool unweighted;     /* gcn: edges as they are, without normalisation or self loops */
    bool doubled_loops;  /* gcn: self loops of weight 2 ("improved") */
    bool sum, max;       /* sage, rgcn: instead of means */
    bool unit, project;  /* sage: rows of length 1; neighbours through a linear map and
                            ReLU first */
    bool no_root;        /* sage, rgcn: without the target's own row */
    bool shared;         /* gatv2: one map for both sides */
    bool residual;       /* gatv2: the target's own row through a map, added */
    float slope;         /* gatv2: of the leaky ReLU [0.2] */
    size_t edge_columns; /* gatv2: edges have so many features */
    unsigned relations;  /* rgcn */
    unsigned bases;      /* rgcn: weights are mixed of so many; 0: each has its own */
    unsigned blocks;     /* rgcn: so many blocks on the diagonal of a map; 0: a full one */
};

#define LAYER_MAX_PARAMS 8 /* see declare of gatv2, the largest */
struct layer {
    const struct layer_ops *ops;
    struct layer_shape shape;
    param_id params[LAYER_MAX_PARAMS]; /* in the order the layer declares them */
};

struct layer_ops {
    const char *name;
    const char *about; /* one line, for help and the docs table */
    bool degrees;      /* reads block.target_degree and block.source_degree */
    bool relations;    /* reads block.relations; shape.relations says how many there are */
    /* Declares parameters named "<prefix>.<name>", with PyTorch Geometric's names. */
    void (*declare)(struct layer *l, struct params *p, const char *prefix);
    struct tensor *(*forward)(struct tape *t, const struct layer *l, struct tensor *x,
                              const struct block *b);
};

extern const struct layer_ops *const layer_table[];   /* ends with NULL */
const struct layer_ops *layer_find(const char *name); /* NULL when unknown */

/* y = x + bias, where the bias comes after a weighted sum, so that no linear map can carry it;
 * PARAM_NONE: y = x. */
struct tensor *layer_add_bias(struct tape *t, struct tensor *x, param_id bias);

/* Fills *l; failures surface in params_allocate. shape.out must be divisible by shape.heads for
 * attention layers that lay heads side by side. */
void layer_declare(struct layer *l, const struct layer_ops *ops, struct layer_shape shape,
                   struct params *p, const char *prefix);

extern const struct layer_ops layer_gcn, layer_sage, layer_sage_max, layer_gatv2, layer_rgcn;

#endif
