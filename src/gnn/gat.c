/* gat.c: GATv2 (Brody et al. 2022, eq. 7). "How does it weigh neighbours?": the score of
 * neighbour j for target i is att . leaky_relu(W_l x_j + W_r x_i), per head; a softmax over the
 * neighbours and i itself turns scores into weights. Unlike GAT (Velickovic et al. 2018) the
 * non-linearity stands inside, so that the ranking of neighbours can depend on the target.
 * Edges may have features of their own, W_e f_ij, which are added inside; those of a self loop
 * are the mean of the target's other edges. */
#include "gnn/layer.h"
#include "gnn/whole.h"

#include "nn/ops.h"

#include <string.h>

/* Mean over heads: x[N, heads*C] to [N, C]. */
struct mean_entry {
    struct tensor *x, *y;
    unsigned heads;
};

static void head_mean_backward(struct tape *t, void *context)
{
    (void)t;
    const struct mean_entry *e = context;
    size_t c = e->y->cols;
    for (size_t i = 0; i < e->y->rows; i++)
        for (size_t h = 0; h < e->heads; h++)
            for (size_t k = 0; k < c; k++)
                e->x->grad[(i * e->heads + h) * c + k] +=
                    e->y->grad[i * c + k] / (float)e->heads;
}

static struct tensor *head_mean(struct tape *t, struct tensor *x, unsigned heads)
{
    if (!x || heads == 1)
        return x;
    size_t c = x->cols / heads;
    bool needs = tape_needs(t, x, NULL);
    struct tensor *y = tape_tensor(t, x->rows, c, needs);
    struct mean_entry *e = tape_alloc(t, 1, sizeof *e);
    if (!y || !e)
        return NULL;
    *e = (struct mean_entry){x, y, heads};
    for (size_t i = 0; i < y->rows; i++)
        for (size_t k = 0; k < c; k++) {
            float sum = 0;
            for (size_t h = 0; h < heads; h++)
                sum += x->value[(i * heads + h) * c + k];
            y->value[i * c + k] = sum / (float)heads;
        }
    if (needs)
        tape_record(t, head_mean_backward, e);
    return y;
}

enum { ATT, BIAS, LEFT_WEIGHT, LEFT_BIAS, RIGHT_WEIGHT, RIGHT_BIAS, EDGE_WEIGHT, RESIDUAL };

static void declare(struct layer *l, struct params *p, const char *prefix)
{
    const struct layer_shape *s = &l->shape;
    size_t width = s->average_heads ? s->out * s->heads : s->out;
    param_id *id = l->params;
    id[ATT] = params_add(p, 2, s->heads, width / s->heads, INIT_GLOROT, 1, "%s.att", prefix);
    if (!s->no_bias)
        id[BIAS] = params_add(p, 1, 1, s->out, INIT_ZERO, 0, "%s.bias", prefix);
    id[LEFT_WEIGHT] = params_add(p, 2, width, s->in, INIT_GLOROT, 1, "%s.lin_l.weight", prefix);
    if (!s->no_bias)
        id[LEFT_BIAS] = params_add(p, 1, 1, width, INIT_ZERO, 0, "%s.lin_l.bias", prefix);
    if (!s->shared)
        id[RIGHT_WEIGHT] =
            params_add(p, 2, width, s->in, INIT_GLOROT, 1, "%s.lin_r.weight", prefix);
    if (!s->shared && !s->no_bias)
        id[RIGHT_BIAS] = params_add(p, 1, 1, width, INIT_ZERO, 0, "%s.lin_r.bias", prefix);
    if (s->edge_columns)
        id[EDGE_WEIGHT] = params_add(p, 2, width, s->edge_columns, INIT_GLOROT, 1,
                                     "%s.lin_edge.weight", prefix);
    if (s->residual)
        id[RESIDUAL] = params_add(p, 2, s->out, s->in, INIT_GLOROT, 1, "%s.res.weight", prefix);
}

/* Features of the edges, then of the self loops: [n_edges (+ n_targets), columns]. */
static struct tensor *edge_rows(struct tape *t, const struct layer *l, const struct block *b)
{
    size_t columns = b->feature_columns, loops = l->shape.no_self_loops ? 0 : b->n_targets;
    if (!l->shape.edge_columns)
        return NULL;
    float *f = tape_alloc(t, (b->n_edges + loops) * columns + 1, sizeof *f);
    if (!f)
        return NULL;
    memcpy(f, b->features, b->n_edges * columns * sizeof *f);
    memset(f + b->n_edges * columns, 0, loops * columns * sizeof *f);
    for (size_t i = 0; i < loops; i++) {
        float *mean = f + (b->n_edges + i) * columns;
        float share = 1 / (float)(b->offsets[i + 1] - b->offsets[i] +
                                  (b->offsets[i + 1] == b->offsets[i]));
        for (size_t e = b->offsets[i]; e < b->offsets[i + 1]; e++)
            for (size_t k = 0; k < columns; k++)
                mean[k] += share * b->features[e * columns + k];
    }
    struct tensor *rows = tape_input(t, f, b->n_edges + loops, columns, false);
    return op_linear(t, rows, l->params[EDGE_WEIGHT], PARAM_NONE, ACT_NONE);
}

static struct tensor *forward_whole(struct tape *t, const struct layer *l, struct tensor *x,
                                    const struct block *b)
{
    const param_id *id = l->params;
    bool spread = t->spread;
    t->spread = true;
    struct tensor *left = op_linear(t, x, id[LEFT_WEIGHT], id[LEFT_BIAS], ACT_NONE);
    struct tensor *right = op_linear(t, x, id[RIGHT_WEIGHT], id[RIGHT_BIAS], ACT_NONE);
    t->spread = spread;
    return op_whole_gatv2(t, left, right, id[ATT], id[BIAS], b, l->shape.heads);
}

static struct tensor *forward(struct tape *t, const struct layer *l, struct tensor *x,
                              const struct block *b)
{
    const struct layer_shape *s = &l->shape;
    bool usual = !s->average_heads && !s->shared && !s->no_self_loops && !s->edge_columns &&
                 !s->no_bias && !s->slope && !s->residual;
    if (b->reverse && usual && s->heads <= WHOLE_MOST_HEADS)
        return forward_whole(t, l, x, b);
    const param_id *id = l->params;
    bool shared = s->shared;
    struct tensor *left = op_linear(t, x, id[LEFT_WEIGHT], id[LEFT_BIAS], ACT_NONE);
    struct tensor *own = op_rows(t, x, b->self, b->n_targets);
    struct tensor *right = op_linear(t, own, id[shared ? LEFT_WEIGHT : RIGHT_WEIGHT],
                                     id[shared ? LEFT_BIAS : RIGHT_BIAS], ACT_NONE);
    struct gat_input in = {.left = left,
                           .right = right,
                           .edge = edge_rows(t, l, b),
                           .att = id[ATT],
                           .heads = l->shape.heads,
                           .slope = l->shape.slope ? l->shape.slope : 0.2f,
                           .no_loops = l->shape.no_self_loops};
    struct tensor *y = op_gatv2(t, &in, b);
    if (l->shape.average_heads)
        y = head_mean(t, y, l->shape.heads);
    if (s->residual)
        y = op_add(t, y, op_linear(t, own, id[RESIDUAL], PARAM_NONE, ACT_NONE));
    return layer_add_bias(t, y, id[BIAS]);
}

const struct layer_ops layer_gatv2 = {
    .name = "gatv2",
    .about = "attention over neighbours, several heads (Brody et al. 2022)",
    .declare = declare,
    .forward = forward,
};
