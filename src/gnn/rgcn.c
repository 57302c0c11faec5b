/* rgcn.c: relational graph convolution (Schlichtkrull et al. 2018, eq. 2): a linear map for
 * each relation, over the mean of the neighbours by that relation, and one for the target's own
 * row. With bases (eq. 3) the maps are mixtures of a few: W_r = sum_b comp[r, b] V_b, so that
 * rare relations learn from frequent ones; or each map has only blocks on its diagonal (eq. 4).
 * Edge weights are not read. */
#include "gnn/layer.h"

#include "nn/ops.h"

#include <string.h>

enum { WEIGHT, ROOT, BIAS, COMP };

static void declare(struct layer *l, struct params *p, const char *prefix)
{
    const struct layer_shape *s = &l->shape;
    param_id *id = l->params;
    size_t maps = s->bases ? s->bases : s->relations;
    size_t columns = s->blocks ? s->out / s->blocks : s->out;
    id[WEIGHT] = params_add(p, 3, maps, s->in * columns, INIT_GLOROT, 1, "%s.weight", prefix);
    if (id[WEIGHT] != PARAM_NONE) { /* drawn as [in, out] would be */
        p->items[id[WEIGHT]].taps = columns;
        p->items[id[WEIGHT]].fan = s->in + s->out;
    }
    if (s->bases)
        id[COMP] = params_add(p, 2, s->relations, s->bases, INIT_GLOROT, 1, "%s.comp", prefix);
    if (!s->no_root)
        id[ROOT] = params_add(p, 2, s->in, s->out, INIT_GLOROT, 1, "%s.root", prefix);
    if (!s->no_bias)
        id[BIAS] = params_add(p, 1, 1, s->out, INIT_ZERO, 0, "%s.bias", prefix);
}

/* The edges of one relation; its factors make means. NULL when the tape failed. */
static struct block *of_relation(struct tape *t, const struct block *b, unsigned r, bool sum,
                                 float **factor)
{
    struct block *part = tape_alloc(t, 1, sizeof *part);
    uint32_t *offsets = tape_alloc(t, b->n_targets + 1, sizeof *offsets);
    uint32_t *source = tape_alloc(t, b->n_edges + 1, sizeof *source);
    *factor = tape_alloc(t, b->n_edges + 1, sizeof **factor);
    if (t->failed)
        return NULL;
    size_t n = 0;
    offsets[0] = 0;
    for (size_t i = 0; i < b->n_targets; i++) {
        for (size_t e = b->offsets[i]; e < b->offsets[i + 1]; e++)
            if (b->relations[e] >> r & 1)
                source[n++] = b->source[e];
        offsets[i + 1] = (uint32_t)n;
        for (size_t e = offsets[i]; e < n; e++)
            (*factor)[e] = sum ? 1 : 1 / (float)(n - offsets[i]);
    }
    *part = (struct block){.n_targets = b->n_targets,
                           .n_sources = b->n_sources,
                           .n_edges = n,
                           .self = b->self,
                           .offsets = offsets,
                           .source = source,
                           .weight = *factor};
    return part;
}

/* Blocks [high, wide], under one another, moved to the diagonals of maps [in, out]. */
struct unfolding {
    struct tensor *blocks, *y;
    size_t high, wide, count; /* count: blocks of a diagonal */
};

static size_t unfolded_at(const struct unfolding *u, size_t row)
{
    return row * u->y->cols + row / u->high % u->count * u->wide;
}

static void unfold_back(struct tape *t, void *context)
{
    (void)t;
    const struct unfolding *u = context;
    for (size_t row = 0; row < u->y->rows; row++)
        for (size_t k = 0; k < u->wide; k++)
            u->blocks->grad[row * u->wide + k] += u->y->grad[unfolded_at(u, row) + k];
}

static struct tensor *unfolded(struct tape *t, struct tensor *blocks,
                               const struct layer_shape *s)
{
    if (!blocks)
        return NULL;
    bool needs = tape_needs(t, blocks, NULL);
    struct tensor *y = tape_tensor(t, s->relations * s->in, s->out, needs);
    struct unfolding *u = tape_alloc(t, 1, sizeof *u);
    if (!y || !u)
        return NULL;
    *u = (struct unfolding){blocks, y, s->in / s->blocks, s->out / s->blocks, s->blocks};
    memset(y->value, 0, y->rows * y->cols * sizeof *y->value);
    for (size_t row = 0; row < y->rows; row++)
        memcpy(y->value + unfolded_at(u, row), blocks->value + row * u->wide,
               u->wide * sizeof *y->value);
    if (needs)
        tape_record(t, unfold_back, u);
    return t->failed ? NULL : y;
}

/* All maps under one another: [relations * in, out]. */
static struct tensor *stacked_maps(struct tape *t, const struct layer *l)
{
    const struct layer_shape *s = &l->shape;
    struct tensor *maps = op_table(t, l->params[WEIGHT]);
    if (s->blocks)
        return unfolded(t, maps, s);
    if (s->bases)
        maps = op_matmul(t, op_table(t, l->params[COMP]), maps);
    return op_reshape(t, maps, s->relations * s->in, s->out);
}

static struct tensor *forward(struct tape *t, const struct layer *l, struct tensor *x,
                              const struct block *b)
{
    const struct layer_shape *s = &l->shape;
    struct tensor **means = tape_alloc(t, s->relations, sizeof *means);
    for (unsigned r = 0; means && r < s->relations; r++) {
        float *factor;
        struct block *part = of_relation(t, b, r, s->sum, &factor);
        if (part)
            means[r] =
                s->max ? op_aggregate_max(t, x, part) : op_aggregate(t, x, part, factor, NULL);
        if (!part || !means[r])
            return NULL;
    }
    if (!means)
        return NULL;
    struct tensor *y = op_matmul(t, op_concat(t, means, s->relations), stacked_maps(t, l));
    if (!s->no_root) {
        struct tensor *own = op_rows(t, x, b->self, b->n_targets);
        y = op_add(t, y, op_matmul(t, own, op_table(t, l->params[ROOT])));
    }
    return layer_add_bias(t, y, l->params[BIAS]);
}

const struct layer_ops layer_rgcn = {
    .name = "rgcn",
    .about = "a linear map for each relation (Schlichtkrull et al. 2018)",
    .relations = true,
    .declare = declare,
    .forward = forward,
};
