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
};

#define LAYER_MAX_PARAMS 8
struct layer {
    const struct layer_ops *ops;
    struct layer_shape shape;
    param_id params[LAYER_MAX_PARAMS]; /* in the order the layer declares them */
};

struct layer_ops {
    const char *name;
    const char *about; /* one line, for help and the docs table */
    bool degrees;      /* reads block.target_degree and block.source_degree */
    /* Declares parameters named "<prefix>.<name>", with PyTorch Geometric's names. */
    void (*declare)(struct layer *l, struct params *p, const char *prefix);
    struct tensor *(*forward)(struct tape *t, const struct layer *l, struct tensor *x,
                              const struct block *b);
};

extern const struct layer_ops *const layer_table[];   /* ends with NULL */
const struct layer_ops *layer_find(const char *name); /* NULL when unknown */

/* Fills *l; failures surface in params_allocate. shape.out must be divisible by shape.heads for
 * attention layers that lay heads side by side. */
void layer_declare(struct layer *l, const struct layer_ops *ops, struct layer_shape shape,
                   struct params *p, const char *prefix);

extern const struct layer_ops layer_gcn, layer_sage, layer_gatv2;

#endif
