/* link_model.c: the forward pass of the link classifier.
 *
 *   h0 = norm(W x + b + kind)                      x: a node's fixed features, unit RMS
 *   h(l) = dropout(relu(layer(h(l-1)))) + h(l-1)   one layer a hop
 *   q, p = norm(h(L)) of the pair
 *   logits = match([match features, similarities of q and p]) + pair([q, p, q*p, |q-p|])
 *
 * The first head has few inputs, each of which means the same for every pair: it generalises
 * from some thousand pairs. The second can express any interaction and memorises small training
 * sets: it starts at zero and learns slowly, so that it counts only where there is much to
 * learn from. The projection of the features learns slowly for the same reason: a random
 * projection keeps the similarities of the features, one fitted to few pairs does not. Held-out
 * log-loss on ESCI, trained on 5,100 pairs (MiniLM features, sage, 2 of 5 folds): one head over
 * all inputs 1.10 to 1.14, two heads at full rate 1.116, with slow parts 1.063; class
 * frequencies alone 1.11. */
#include "gnn/link_model.h"

#include "nn/ops.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Similarities: q and p are cut into so many parts, each gives one. With 8 to 32 parts held-out
 * log-loss was worse by .01 to .07. */
enum { PARTS = 4 };
enum { MATCH_HIDDEN = 64 };
/* Share of the learning rate at which the input projection and the pair head learn. */
#define SLOW 0.05f

static void declare_head(struct link_head *h, struct params *p, size_t in, size_t hidden,
                         size_t out, enum param_init last, const char *name)
{
    h->hidden_weight = params_add(p, 2, hidden, in, INIT_GLOROT, 1, "%s.hidden.weight", name);
    h->hidden_bias = params_add(p, 1, 1, hidden, INIT_ZERO, 0, "%s.hidden.bias", name);
    h->out_weight = params_add(p, 2, out, hidden, last, 1, "%s.out.weight", name);
    h->out_bias = params_add(p, 1, 1, out, INIT_ZERO, 0, "%s.out.bias", name);
}

static void set_rate(struct params *p, param_id id, float rate)
{
    if (id != PARAM_NONE)
        p->items[id].rate = rate;
}

void link_model_declare(struct link_classifier *m)
{
    struct params *p = &m->params;
    size_t hidden = m->options.hidden;
    params_init(p);
    m->input_weight = params_add(p, 2, hidden, m->width, INIT_GLOROT, 1, "input.weight");
    set_rate(p, m->input_weight, SLOW);
    m->input_bias = params_add(p, 1, 1, hidden, INIT_ZERO, 0, "input.bias");
    m->kind = params_add(p, 2, 2, hidden, INIT_NORMAL, 0.02f, "kind.weight");
    for (int i = 0; i < 2; i++) {
        const char *name = i ? "last" : "first";
        m->norm_weight[i] = params_add(p, 1, 1, hidden, INIT_ONE, 0, "norm.%s.weight", name);
        m->norm_bias[i] = params_add(p, 1, 1, hidden, INIT_ZERO, 0, "norm.%s.bias", name);
    }
    for (unsigned i = 0; i < m->options.hops; i++) {
        char prefix[32];
        snprintf(prefix, sizeof prefix, "layers.%u", i);
        struct layer_shape shape = {.in = hidden,
                                    .out = hidden,
                                    .heads = m->options.heads,
                                    .relations = m->options.relations,
                                    .bases = m->options.bases};
        layer_declare(&m->layers[i], m->ops, shape, p, prefix);
    }
    m->jump_weight = m->jump_bias = PARAM_NONE;
    if (strcmp(m->options.jumping, "cat") == 0) {
        m->jump_weight =
            params_add(p, 2, hidden, m->options.hops * hidden, INIT_GLOROT, 1, "jump.weight");
        m->jump_bias = params_add(p, 1, 1, hidden, INIT_ZERO, 0, "jump.bias");
    }
    declare_head(&m->match, p, MATCH_COLUMNS + PARTS, MATCH_HIDDEN, m->n_classes, INIT_GLOROT,
                 "match");
    declare_head(&m->pair, p, 4 * hidden, hidden, m->n_classes, INIT_ZERO, "pair");
    const struct link_head *slow = &m->pair;
    param_id ids[] = {slow->hidden_weight, slow->hidden_bias, slow->out_weight, slow->out_bias};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
        set_rate(p, ids[i], SLOW);
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
void link_raw_row(const float *from, size_t width, float *to)
{
    double sum = 0;
    for (size_t k = 0; k < width; k++)
        sum += (double)from[k] * (double)from[k];
    float factor = sum > 0 ? (float)sqrt((double)width / sum) : 0;
    for (size_t k = 0; k < width; k++)
        to[k] = factor * from[k];
}

/* Raw features of the leaves. */
static float *read_leaves(const struct link_classifier *m, struct tape *t,
                          const struct feature_source *f, const struct sample *s)
{
    float *x = tape_alloc(t, s->n_leaves * m->width, sizeof *x);
    for (size_t i = 0; x && i < s->n_leaves; i++)
        link_raw_row(feature_row(f, s->leaves[i]), m->width, x + i * m->width);
    return x;
}

static struct tensor *normalised(const struct link_classifier *m, struct tape *t,
                                 struct tensor *x, int which)
{
    return op_norm(t, x, NULL, m->norm_weight[which], m->norm_bias[which], 1e-5f);
}

static struct tensor *dropped(const struct link_classifier *m, struct tape *t, struct tensor *x)
{
    return op_dropout(t, x, (float)link_rate(m->options.dropout));
}

struct tensor *link_project(const struct link_classifier *m, struct tape *t, const float *x,
                            const int32_t *kind, size_t n)
{
    struct tensor *h = op_linear(t, tape_input(t, x, n, m->width, false), m->input_weight,
                                 m->input_bias, ACT_NONE);
    h = op_add(t, h, op_embed(t, m->kind, kind, n));
    return dropped(m, t, normalised(m, t, h, 0));
}

/* h0 of the leaves. */
static struct tensor *project(const struct link_classifier *m, struct tape *t,
                              const struct feature_source *f, const struct encoding *e)
{
    size_t n = e->sample.n_leaves;
    int32_t *kind = tape_alloc(t, n, sizeof *kind);
    if (!kind)
        return NULL;
    for (size_t i = 0; i < n; i++)
        kind[i] = is_query(f, e->sample.leaves[i]) ? 0 : 1;
    return link_project(m, t, e->leaf, kind, n);
}

/* Rows of the roots after hop `hop`, whose rows are the sources of the next block. */
static struct tensor *roots_after(struct tape *t, const struct sample *s, unsigned hop,
                                  struct tensor *h)
{
    size_t n = s->blocks[s->hops - 1].n_targets;
    uint32_t *row = tape_alloc(t, n, sizeof *row);
    if (!row || !h)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        row[i] = (uint32_t)i;
        for (unsigned b = s->hops - 1; b > hop; b--)
            row[i] = s->blocks[b].self[row[i]];
    }
    return op_rows(t, h, row, n);
}

static struct tensor *larger(struct tape *t, struct tensor *a, struct tensor *b)
{
    return op_add(t, b, op_activation(t, op_sub(t, a, b), ACT_RELU));
}

/* Jumping knowledge (Xu et al. 2018): what the roots were after each hop, put together. */
struct tensor *link_finish(const struct link_classifier *m, struct tape *t,
                           struct tensor *const *hops)
{
    unsigned n = m->options.hops;
    struct tensor *h = hops[n - 1];
    if (m->jump_weight != PARAM_NONE)
        h = op_linear(t, op_concat(t, hops, n), m->jump_weight, m->jump_bias, ACT_NONE);
    else if (strcmp(m->options.jumping, "max") == 0)
        for (unsigned i = 0; i + 1 < n; i++)
            h = larger(t, h, hops[i]);
    return normalised(m, t, h, 1);
}

struct tensor *link_layer(const struct link_classifier *m, struct tape *t, unsigned layer,
                          struct tensor *h, const struct block *b)
{
    struct tensor *next = m->ops->forward(t, &m->layers[layer], h, b);
    next = dropped(m, t, op_activation(t, next, ACT_RELU));
    return op_add(t, next, op_rows(t, h, b->self, b->n_targets));
}

struct tensor *link_last(const struct link_classifier *m, struct tape *t,
                         const struct sample *s, struct tensor *const *hops)
{
    struct tensor *at[GNN_MAX_HOPS];
    at[s->hops - 1] = hops[s->hops - 1]; /* the last block's targets are the roots */
    for (unsigned i = 0; i + 1 < s->hops; i++)
        at[i] = strcmp(m->options.jumping, "last") == 0 ? NULL : roots_after(t, s, i, hops[i]);
    return link_finish(m, t, at);
}

/* Samples, and reads the leaves' features. */
static struct encoding *sampled(const struct link_classifier *m, struct tape *t,
                                struct sampler *s, const struct sample_request *r,
                                const struct feature_source *features, medley_status *st,
                                medley_error *err)
{
    /* On the tape: the way back reads the blocks. */
    struct encoding *e = tape_alloc(t, 1, sizeof *e);
    if (!e)
        return NULL;
    *st = sampler_run(s, r, &e->sample, err);
    if (*st != MEDLEY_OK)
        return NULL;
    e->leaf = read_leaves(m, t, features, &e->sample);
    return e->leaf ? e : NULL;
}

struct encoding *link_encode(const struct link_classifier *m, struct tape *t, struct sampler *s,
                             const struct sample_request *r,
                             const struct feature_source *features, medley_status *st,
                             medley_error *err)
{
    struct encoding *e = sampled(m, t, s, r, features, st, err);
    if (!e)
        return NULL;
    struct tensor *h = project(m, t, features, e), *hops[GNN_MAX_HOPS] = {NULL};
    for (unsigned i = 0; i < e->sample.hops; i++) {
        e->levels[i] = h;
        h = hops[i] = link_layer(m, t, i, h, &e->sample.blocks[i]);
    }
    e->roots = link_last(m, t, &e->sample, hops);
    return e->roots ? e : NULL;
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

/* Mean of q*p within each of PARTS runs of columns. */
static void similarity_backward(struct tape *t, void *context)
{
    (void)t;
    const struct pair_entry *e = context;
    size_t d = e->x->cols, n = e->y->rows;
    for (size_t i = 0; i < n; i++) {
        const float *q = e->x->value + i * d, *p = q + n * d, *g = e->y->grad + i * PARTS;
        float *dq = e->x->grad + i * d, *dp = dq + n * d;
        for (size_t k = 0; k < d; k++) {
            float slope = g[k * PARTS / d] * (float)PARTS / (float)d;
            dq[k] += slope * p[k];
            dp[k] += slope * q[k];
        }
    }
}

static struct tensor *similarities(struct tape *t, struct tensor *x)
{
    if (!x)
        return NULL;
    size_t d = x->cols, n = x->rows / 2;
    bool needs = tape_needs(t, x, NULL);
    struct tensor *y = tape_tensor(t, n, PARTS, needs);
    struct pair_entry *e = tape_alloc(t, 1, sizeof *e);
    if (!y || !e)
        return NULL;
    memset(y->value, 0, n * PARTS * sizeof *y->value);
    for (size_t i = 0; i < n; i++) {
        const float *q = x->value + i * d, *p = q + n * d;
        for (size_t k = 0; k < d; k++)
            y->value[i * PARTS + k * PARTS / d] += q[k] * p[k] * (float)PARTS / (float)d;
    }
    *e = (struct pair_entry){x, y};
    if (needs)
        tape_record(t, similarity_backward, e);
    return y;
}

static struct tensor *head(const struct link_classifier *m, struct tape *t,
                           const struct link_head *h, struct tensor *x)
{
    struct tensor *z = op_linear(t, x, h->hidden_weight, h->hidden_bias, ACT_RELU);
    return op_linear(t, dropped(m, t, z), h->out_weight, h->out_bias, ACT_NONE);
}

struct tensor *link_heads(const struct link_classifier *m, struct tape *t, struct tensor *rows,
                          const float *match, size_t n)
{
    struct tensor *parts[2] = {tape_input(t, match, n, MATCH_COLUMNS, false),
                               similarities(t, rows)};
    if (!parts[0] || !parts[1])
        return NULL;
    struct tensor *first = head(m, t, &m->match, op_concat(t, parts, 2));
    return op_add(t, first, head(m, t, &m->pair, pair_features(t, rows)));
}

/* The neighbourhoods of the pairs' nodes, own edges hidden. NULL when the tape failed. */
static struct sample_request *request_of(const struct link_classifier *m, struct tape *t,
                                         const struct link_batch *batch)
{
    size_t n = batch->n;
    struct sample_request *r = tape_alloc(t, 1, sizeof *r);
    uint32_t *root = tape_alloc(t, 2 * n, sizeof *root),
             *pair = tape_alloc(t, 2 * n, sizeof *pair);
    if (!r || !root || !pair)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        root[i] = batch->query[i];
        root[n + i] = batch->product[i];
        pair[i] = pair[n + i] = (uint32_t)i;
    }
    *r = (struct sample_request){.view = batch->view,
                                 .root = root,
                                 .pair = pair,
                                 .n = 2 * n,
                                 .query = batch->query,
                                 .product = batch->product,
                                 .n_pairs = n,
                                 .hops = m->options.hops,
                                 .fanout = batch->fanout,
                                 .hop_fanout = batch->hop_fanout,
                                 .relation_fanout = batch->relation_fanout,
                                 .seed = batch->seed,
                                 .degrees = m->ops->degrees,
                                 .relations = m->ops->relations};
    return r;
}

static float *matches_of(const struct link_classifier *m, struct tape *t,
                         const struct encoding *e, size_t n)
{
    float *match = tape_alloc(t, n * MATCH_COLUMNS, sizeof *match);
    float *scratch = tape_alloc(t, match_scratch(e, m->width, n), sizeof *scratch);
    if (!match || !scratch)
        return NULL;
    match_features(e, m->width, n, scratch, match);
    return match;
}

float *link_matches(const struct link_classifier *m, struct tape *t, struct sampler *s,
                    const struct link_batch *batch, medley_status *st, medley_error *err)
{
    struct sample_request *r = request_of(m, t, batch);
    if (!r)
        return NULL;
    r->hops = 1; /* the nodes' neighbours are the same whatever lies behind them */
    r->degrees = r->relations = false;
    struct encoding *e = sampled(m, t, s, r, batch->features, st, err);
    return e ? matches_of(m, t, e, batch->n) : NULL;
}

struct tensor *link_forward(const struct link_classifier *m, struct tape *t, struct sampler *s,
                            const struct link_batch *batch, medley_status *st,
                            medley_error *err)
{
    struct sample_request *r = request_of(m, t, batch);
    struct encoding *e = r ? link_encode(m, t, s, r, batch->features, st, err) : NULL;
    float *match = e ? matches_of(m, t, e, batch->n) : NULL;
    return match ? link_heads(m, t, e->roots, match, batch->n) : NULL;
}
