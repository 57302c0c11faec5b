/* link_model.c: the forward pass of the link classifier.
 *
 *   h0 = relu(W x + b + kind)                       x: a node's fixed features, unit RMS
 *   h(l) = dropout(relu(layer(h(l-1)))) + h(l-1)    one layer a hop
 *   z = [q, p, q*p, |q-p|, x_q*x_p, cos(x_q, x_p)]  q, p: last rows of the pair
 *   logits = W2 dropout(relu(W1 z + b1)) + b2
 *
 * The raw-feature part of z keeps the text match of the pair exact: message passing averages
 * over neighbours and blurs it. */
#include "gnn/link_model.h"

#include "nn/ops.h"

#include <math.h>
#include <string.h>

void link_model_declare(struct link_classifier *m)
{
    struct params *p = &m->params;
    size_t hidden = m->options.hidden, pair = 4 * hidden + m->width + 1;
    params_init(p);
    m->input_weight = params_add(p, 2, hidden, m->width, INIT_GLOROT, 1, "input.weight");
    m->input_bias = params_add(p, 1, 1, hidden, INIT_ZERO, 0, "input.bias");
    m->kind = params_add(p, 2, 2, hidden, INIT_NORMAL, 0.02f, "kind.weight");
    for (unsigned i = 0; i < m->options.hops; i++) {
        char prefix[32];
        snprintf(prefix, sizeof prefix, "layers.%u", i);
        struct layer_shape shape = {hidden, hidden, m->options.heads, false};
        layer_declare(&m->layers[i], m->ops, shape, p, prefix);
    }
    m->head_weight = params_add(p, 2, hidden, pair, INIT_GLOROT, 1, "head.weight");
    m->head_bias = params_add(p, 1, 1, hidden, INIT_ZERO, 0, "head.bias");
    m->out_weight = params_add(p, 2, m->n_classes, hidden, INIT_GLOROT, 1, "out.weight");
    m->out_bias = params_add(p, 1, 1, m->n_classes, INIT_ZERO, 0, "out.bias");
}

static const float *feature_row(const struct feature_source *f, uint32_t node)
{
    if (node < f->n_stored)
        return f->stored + node * f->width;
    return node == f->n_stored ? f->query : f->products + (node - f->n_stored - 1) * f->width;
}

static bool is_query(const struct feature_source *f, uint32_t node)
{
    return node < f->n_queries || node == f->n_stored;
}

/* Scaled to unit root mean square, so that the first layer sees the same scale whatever made
 * the features; a zero row stays zero. */
static void copy_normalised(const float *from, size_t width, float *to)
{
    double sum = 0;
    for (size_t k = 0; k < width; k++)
        sum += (double)from[k] * (double)from[k];
    float factor = sum > 0 ? (float)sqrt((double)width / sum) : 0;
    for (size_t k = 0; k < width; k++)
        to[k] = factor * from[k];
}

/* h0 of the leaves. */
static struct tensor *read_features(const struct link_classifier *m, struct tape *t,
                                    const struct feature_source *f, const uint32_t *nodes,
                                    size_t n)
{
    float *x = tape_alloc(t, n * m->width, sizeof *x);
    int32_t *kind = tape_alloc(t, n, sizeof *kind);
    if (!x || !kind)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        copy_normalised(feature_row(f, nodes[i]), m->width, x + i * m->width);
        kind[i] = is_query(f, nodes[i]) ? 0 : 1;
    }
    struct tensor *in = tape_input(t, x, n, m->width, false);
    struct tensor *h = op_linear(t, in, m->input_weight, m->input_bias, ACT_NONE);
    h = op_add(t, h, op_embed(t, m->kind, kind, n));
    return op_dropout(t, op_activation(t, h, ACT_RELU), (float)link_rate(m->options.dropout));
}

struct tensor *link_encode(const struct link_classifier *m, struct tape *t, struct sampler *s,
                           const struct sample_request *r,
                           const struct feature_source *features, medley_status *st,
                           medley_error *err)
{
    /* The blocks go into the tape's arena: backward reads them. */
    struct sample *sample = tape_alloc(t, 1, sizeof *sample);
    if (!sample)
        return NULL;
    *st = sampler_run(s, r, sample, err);
    if (*st != MEDLEY_OK)
        return NULL;
    struct tensor *h = read_features(m, t, features, sample->leaves, sample->n_leaves);
    for (unsigned i = 0; i < sample->hops; i++) {
        const struct block *b = &sample->blocks[i];
        struct tensor *next = m->ops->forward(t, &m->layers[i], h, b);
        next = op_dropout(t, op_activation(t, next, ACT_RELU),
                          (float)link_rate(m->options.dropout));
        h = op_add(t, next, op_rows(t, h, b->self, b->n_targets));
    }
    return h;
}

/* Rows of queries, then as many rows of products, to [q, p, q*p, |q-p|] per pair. */
struct pair_entry {
    struct tensor *x, *y;
};

static void pair_backward(struct tape *t, void *context)
{
    (void)t;
    const struct pair_entry *e = context;
    size_t d = e->x->cols, n = e->y->rows;
    for (size_t i = 0; i < n; i++) {
        const float *q = e->x->value + i * d, *p = q + n * d, *g = e->y->grad + i * 4 * d;
        float *dq = e->x->grad + i * d, *dp = dq + n * d;
        for (size_t k = 0; k < d; k++) {
            float sign = q[k] > p[k] ? 1.0f : q[k] < p[k] ? -1.0f : 0.0f;
            dq[k] += g[k] + g[2 * d + k] * p[k] + sign * g[3 * d + k];
            dp[k] += g[d + k] + g[2 * d + k] * q[k] - sign * g[3 * d + k];
        }
    }
}

static struct tensor *pair_features(struct tape *t, struct tensor *x)
{
    if (!x)
        return NULL;
    size_t d = x->cols, n = x->rows / 2;
    bool needs = tape_needs(t, x, NULL);
    struct tensor *y = tape_tensor(t, n, 4 * d, needs);
    struct pair_entry *e = tape_alloc(t, 1, sizeof *e);
    if (!y || !e)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        const float *q = x->value + i * d, *p = q + n * d;
        float *out = y->value + i * 4 * d;
        memcpy(out, q, d * sizeof *out);
        memcpy(out + d, p, d * sizeof *out);
        for (size_t k = 0; k < d; k++) {
            out[2 * d + k] = q[k] * p[k];
            out[3 * d + k] = fabsf(q[k] - p[k]);
        }
    }
    *e = (struct pair_entry){x, y};
    if (needs)
        tape_record(t, pair_backward, e);
    return y;
}

/* Elementwise products of normalised raw features, and their mean: the cosine. */
static struct tensor *text_features(const struct link_classifier *m, struct tape *t,
                                    const struct link_batch *batch)
{
    size_t width = m->width;
    float *x = tape_alloc(t, batch->n * (width + 1), sizeof *x);
    float *p = tape_alloc(t, width, sizeof *p);
    if (!x || !p)
        return NULL;
    for (size_t i = 0; i < batch->n; i++) {
        float *row = x + i * (width + 1);
        double sum = 0;
        copy_normalised(feature_row(batch->features, batch->query[i]), width, row);
        copy_normalised(feature_row(batch->features, batch->product[i]), width, p);
        for (size_t k = 0; k < width; k++) {
            row[k] *= p[k];
            sum += (double)row[k];
        }
        row[width] = (float)(sum / (double)width);
    }
    return tape_input(t, x, batch->n, width + 1, false);
}

struct tensor *link_forward(const struct link_classifier *m, struct tape *t, struct sampler *s,
                            const struct link_batch *batch, medley_status *st,
                            medley_error *err)
{
    size_t n = batch->n;
    uint32_t *root = tape_alloc(t, 2 * n, sizeof *root),
             *pair = tape_alloc(t, 2 * n, sizeof *pair);
    if (!root || !pair)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        root[i] = batch->query[i];
        root[n + i] = batch->product[i];
        pair[i] = pair[n + i] = (uint32_t)i;
    }
    struct sample_request r = {
        .view = batch->view,
        .root = root,
        .pair = pair,
        .n = 2 * n,
        .query = batch->query,
        .product = batch->product,
        .n_pairs = n,
        .hops = m->options.hops,
        .fanout = batch->fanout,
        .seed = batch->seed,
        .degrees = m->ops->degrees,
    };
    struct tensor *h = link_encode(m, t, s, &r, batch->features, st, err);
    struct tensor *parts[2] = {pair_features(t, h), text_features(m, t, batch)};
    struct tensor *z = parts[0] && parts[1] ? op_concat(t, parts, 2) : NULL;
    z = op_linear(t, z, m->head_weight, m->head_bias, ACT_RELU);
    z = op_dropout(t, z, (float)link_rate(m->options.dropout));
    return op_linear(t, z, m->out_weight, m->out_bias, ACT_NONE);
}
