/* gcn.c: graph convolution (Kipf and Welling 2017, eq. 2): neighbours weighed by
 * w_ij / sqrt((1 + d_i)(1 + d_j)), a self loop of weight 1 added, then one linear map. Summing
 * comes before the linear map because a sampled hop has far fewer targets than sources. */
#include "gnn/layer.h"

#include "nn/ops.h"

#include <math.h>

enum { WEIGHT, BIAS };

static void declare(struct layer *l, struct params *p, const char *prefix)
{
    const struct layer_shape *s = &l->shape;
    l->params[WEIGHT] =
        params_add(p, 2, s->out, s->in, INIT_GLOROT, 1, "%s.lin.weight", prefix);
    l->params[BIAS] = params_add(p, 1, 1, s->out, INIT_ZERO, 0, "%s.bias", prefix);
}

static struct tensor *forward(struct tape *t, const struct layer *l, struct tensor *x,
                              const struct block *b)
{
    float *factor = tape_alloc(t, b->n_edges + 1, sizeof *factor);
    float *self = tape_alloc(t, b->n_targets + 1, sizeof *self);
    if (!factor || !self)
        return NULL;
    for (size_t i = 0; i < b->n_targets; i++) {
        float d = 1 + b->target_degree[i];
        self[i] = 1 / d;
        for (size_t e = b->offsets[i]; e < b->offsets[i + 1]; e++)
            factor[e] = b->weight[e] / sqrtf(d * (1 + b->source_degree[e]));
    }
    struct tensor *sum = op_aggregate(t, x, b, factor, self);
    return op_linear(t, sum, l->params[WEIGHT], l->params[BIAS], ACT_NONE);
}

const struct layer_ops layer_gcn = {
    .name = "gcn",
    .about = "graph convolution with symmetric normalisation (Kipf and Welling 2017)",
    .degrees = true,
    .declare = declare,
    .forward = forward,
};
