/* sage.c: GraphSAGE with the mean aggregator (Hamilton et al. 2017, algorithm 1): the target's
 * own row and the mean of its neighbours' rows, each through a linear map of its own, summed.
 * Edge weights are not read, as in the paper. A target without neighbours has the mean 0. */
#include "gnn/layer.h"
#include "gnn/whole.h"

#include "nn/ops.h"

enum { LEFT_WEIGHT, LEFT_BIAS, RIGHT_WEIGHT };

static void declare(struct layer *l, struct params *p, const char *prefix)
{
    const struct layer_shape *s = &l->shape;
    l->params[LEFT_WEIGHT] =
        params_add(p, 2, s->out, s->in, INIT_GLOROT, 1, "%s.lin_l.weight", prefix);
    l->params[LEFT_BIAS] = params_add(p, 1, 1, s->out, INIT_ZERO, 0, "%s.lin_l.bias", prefix);
    l->params[RIGHT_WEIGHT] =
        params_add(p, 2, s->out, s->in, INIT_GLOROT, 1, "%s.lin_r.weight", prefix);
}

static struct tensor *forward_whole(struct tape *t, const struct layer *l, struct tensor *x,
                                    const struct block *b)
{
    const struct reverse *r = b->reverse;
    struct whole_linear whole = {.block = b,
                                 .w = l->params[LEFT_WEIGHT],
                                 .bias = l->params[LEFT_BIAS],
                                 .own_w = l->params[RIGHT_WEIGHT],
                                 .forward = {.offsets = b->offsets,
                                             .source = b->source,
                                             .edges = b->n_edges,
                                             .row_scale = r->inverse_degree},
                                 .back = {.offsets = r->offsets,
                                          .source = r->target,
                                          .edges = b->n_edges,
                                          .column_scale = r->inverse_degree}};
    return op_whole_linear(t, x, &whole);
}

static struct tensor *forward(struct tape *t, const struct layer *l, struct tensor *x,
                              const struct block *b)
{
    if (b->reverse)
        return forward_whole(t, l, x, b);
    float *factor = tape_alloc(t, b->n_edges + 1, sizeof *factor);
    if (!factor)
        return NULL;
    for (size_t i = 0; i < b->n_targets; i++)
        for (size_t e = b->offsets[i]; e < b->offsets[i + 1]; e++)
            factor[e] = 1.0f / (float)(b->offsets[i + 1] - b->offsets[i]);
    struct tensor *mean = op_aggregate(t, x, b, factor, NULL);
    struct tensor *own = op_rows(t, x, b->self, b->n_targets);
    return op_add(t, op_linear(t, mean, l->params[LEFT_WEIGHT], l->params[LEFT_BIAS], ACT_NONE),
                  op_linear(t, own, l->params[RIGHT_WEIGHT], PARAM_NONE, ACT_NONE));
}

const struct layer_ops layer_sage = {
    .name = "sage",
    .about = "GraphSAGE, mean of sampled neighbours (Hamilton et al. 2017)",
    .declare = declare,
    .forward = forward,
};
