/* gcn.c: graph convolution (Kipf and Welling 2017, eq. 2): neighbours weighed by
 * w_ij / sqrt((1 + d_i)(1 + d_j)), a self loop of weight 1 added, then one linear map. Summing
 * comes before the linear map because a sampled hop has far fewer targets than sources. */
#include "gnn/layer.h"
#include "gnn/whole.h"

#include "nn/ops.h"

#include <math.h>

enum { WEIGHT, BIAS };

static void declare(struct layer *l, struct params *p, const char *prefix)
{
    const struct layer_shape *s = &l->shape;
    l->params[WEIGHT] =
        params_add(p, 2, s->out, s->in, INIT_GLOROT, 1, "%s.lin.weight", prefix);
    if (!s->no_bias)
        l->params[BIAS] = params_add(p, 1, 1, s->out, INIT_ZERO, 0, "%s.bias", prefix);
}

/* Of source row j. */
static float loop_of(const struct layer *l, const struct block *b, size_t j)
{
    if (l->shape.no_self_loops)
        return 0;
    return b->loop_weight ? b->loop_weight[j] : l->shape.doubled_loops ? 2 : 1;
}

static float inverse_root(float a, float b)
{
    return a > 0 && b > 0 ? 1 / sqrtf(a * b) : 0;
}

static void weigh(const struct layer *l, const struct block *b, float *factor, float *self)
{
    for (size_t i = 0; i < b->n_targets; i++) {
        float loop = loop_of(l, b, b->self[i]), d = b->target_degree[i] + loop;
        self[i] = loop * inverse_root(d, d);
        for (size_t e = b->offsets[i]; e < b->offsets[i + 1]; e++)
            factor[e] = b->weight[e] *
                        inverse_root(d, b->source_degree[e] + loop_of(l, b, b->source[e]));
    }
}

/* w_ij / sqrt((1 + d_i)(1 + d_j)) is a scale of rows and one of columns. */
static struct tensor *forward_whole(struct tape *t, const struct layer *l, struct tensor *x,
                                    const struct block *b)
{
    const struct reverse *r = b->reverse;
    struct whole_linear whole = {
        .block = b, .w = l->params[WEIGHT], .bias = l->params[BIAS], .own_w = PARAM_NONE};
    whole.forward = (struct gather){.offsets = b->offsets,
                                    .source = b->source,
                                    .edges = b->n_edges,
                                    .weight = r->weight ? b->weight : NULL,
                                    .row_scale = r->inverse_root,
                                    .column_scale = r->inverse_root,
                                    .self = true};
    whole.back = whole.forward;
    whole.back.offsets = r->offsets;
    whole.back.source = r->target;
    whole.back.weight = r->weight;
    return op_whole_linear(t, x, &whole);
}

static struct tensor *forward(struct tape *t, const struct layer *l, struct tensor *x,
                              const struct block *b)
{
    bool usual = !l->shape.unweighted && !l->shape.no_self_loops && !l->shape.doubled_loops;
    if (b->reverse && usual && !b->loop_weight)
        return forward_whole(t, l, x, b);
    float *factor = tape_alloc(t, b->n_edges + 1, sizeof *factor);
    float *self = tape_alloc(t, b->n_targets + 1, sizeof *self);
    if (!factor || !self)
        return NULL;
    if (!l->shape.unweighted)
        weigh(l, b, factor, self);
    struct tensor *sum = l->shape.unweighted ? op_aggregate(t, x, b, b->weight, NULL)
                                             : op_aggregate(t, x, b, factor, self);
    return op_linear(t, sum, l->params[WEIGHT], l->params[BIAS], ACT_NONE);
}

const struct layer_ops layer_gcn = {
    .name = "gcn",
    .about = "graph convolution with symmetric normalisation (Kipf and Welling 2017)",
    .degrees = true,
    .declare = declare,
    .forward = forward,
};
