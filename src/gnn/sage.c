/* sage.c: GraphSAGE (Hamilton et al. 2017, algorithm 1): the target's own row and the mean, or
 * the largest numbers, of its neighbours' rows, each through a linear map of its own, summed.
 * Edge weights are not read, as in the paper. A target without neighbours has the mean 0. */
#include "gnn/layer.h"
#include "gnn/whole.h"

#include "nn/ops.h"

enum { LEFT_WEIGHT, LEFT_BIAS, RIGHT_WEIGHT, PROJECT_WEIGHT, PROJECT_BIAS };

static void declare(struct layer *l, struct params *p, const char *prefix)
{
    const struct layer_shape *s = &l->shape;
    param_id *id = l->params;
    if (s->project) {
        id[PROJECT_WEIGHT] =
            params_add(p, 2, s->in, s->in, INIT_GLOROT, 1, "%s.lin.weight", prefix);
        id[PROJECT_BIAS] = params_add(p, 1, 1, s->in, INIT_ZERO, 0, "%s.lin.bias", prefix);
    }
    id[LEFT_WEIGHT] =
        params_add(p, 2, s->out, s->in, INIT_GLOROT, 1, "%s.lin_l.weight", prefix);
    if (!s->no_bias)
        id[LEFT_BIAS] = params_add(p, 1, 1, s->out, INIT_ZERO, 0, "%s.lin_l.bias", prefix);
    if (!s->no_root)
        id[RIGHT_WEIGHT] =
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

static struct tensor *mean_of(struct tape *t, struct tensor *x, const struct block *b, bool sum)
{
    float *factor = tape_alloc(t, b->n_edges + 1, sizeof *factor);
    if (!factor)
        return NULL;
    for (size_t i = 0; i < b->n_targets; i++)
        for (size_t e = b->offsets[i]; e < b->offsets[i + 1]; e++)
            factor[e] = sum ? 1 : 1.0f / (float)(b->offsets[i + 1] - b->offsets[i]);
    return op_aggregate(t, x, b, factor, NULL);
}

static struct tensor *run(struct tape *t, const struct layer *l, struct tensor *x,
                          const struct block *b, bool max)
{
    const param_id *id = l->params;
    const struct layer_shape *s = &l->shape;
    if (b->reverse && !max && !s->sum && !s->project && !s->no_root) {
        struct tensor *whole = forward_whole(t, l, x, b);
        return s->unit ? op_l2_normalize(t, whole) : whole;
    }
    struct tensor *near =
        s->project ? op_linear(t, x, id[PROJECT_WEIGHT], id[PROJECT_BIAS], ACT_RELU) : x;
    near = max ? op_aggregate_max(t, near, b) : mean_of(t, near, b, s->sum);
    struct tensor *y = op_linear(t, near, id[LEFT_WEIGHT], id[LEFT_BIAS], ACT_NONE);
    if (!s->no_root) {
        struct tensor *own = op_rows(t, x, b->self, b->n_targets);
        y = op_add(t, y, op_linear(t, own, id[RIGHT_WEIGHT], PARAM_NONE, ACT_NONE));
    }
    return s->unit ? op_l2_normalize(t, y) : y;
}

static struct tensor *forward(struct tape *t, const struct layer *l, struct tensor *x,
                              const struct block *b)
{
    return run(t, l, x, b, l->shape.max);
}

static struct tensor *forward_max(struct tape *t, const struct layer *l, struct tensor *x,
                                  const struct block *b)
{
    return run(t, l, x, b, true);
}

const struct layer_ops layer_sage = {
    .name = "sage",
    .about = "GraphSAGE, mean of sampled neighbours (Hamilton et al. 2017)",
    .declare = declare,
    .forward = forward,
};

const struct layer_ops layer_sage_max = {
    .name = "sage-max",
    .about = "GraphSAGE, largest numbers of sampled neighbours (Hamilton et al. 2017)",
    .declare = declare,
    .forward = forward_max,
};
