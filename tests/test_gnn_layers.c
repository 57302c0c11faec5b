/* test_gnn_layers.c: graph layers against PyTorch Geometric (golden fixtures), their kernels
 * against the scalar definition, their gradients against finite differences. */
#include "tests/tap.h"

#include "base/json.h"
#include "base/memory.h"
#include "base/rng.h"
#include "base/safetensors.h"
#include "gnn/layer.h"
#include "nn/ops.h"

/* A block with storage of its own. */
struct owned_block {
    struct block b;
    uint32_t *self, *offsets, *source;
    float *weight, *target_degree, *source_degree;
    uint32_t *relations;
    float *features; /* three of an edge */
};

static void owned_publish(struct owned_block *o)
{
    o->b.self = o->self;
    o->b.offsets = o->offsets;
    o->b.source = o->source;
    o->b.weight = o->weight;
    o->b.target_degree = o->target_degree;
    o->b.source_degree = o->source_degree;
    o->b.relations = o->relations;
    o->b.features = o->features;
    o->b.feature_columns = 3;
}

static struct owned_block owned_new(size_t targets, size_t sources, size_t edges)
{
    struct owned_block o = {
        .b = {.n_targets = targets, .n_sources = sources, .n_edges = edges}};
    o.self = calloc(targets + 1, sizeof *o.self);
    o.offsets = calloc(targets + 2, sizeof *o.offsets);
    o.source = calloc(edges + 1, sizeof *o.source);
    o.weight = calloc(edges + 1, sizeof *o.weight);
    o.target_degree = calloc(targets + 1, sizeof *o.target_degree);
    o.source_degree = calloc(edges + 1, sizeof *o.source_degree);
    o.relations = calloc(edges + 1, sizeof *o.relations);
    o.features = calloc(3 * edges + 1, sizeof *o.features);
    owned_publish(&o);
    return o;
}

static void owned_free(struct owned_block *o)
{
    free(o->self);
    free(o->offsets);
    free(o->source);
    free(o->weight);
    free(o->target_degree);
    free(o->source_degree);
    free(o->relations);
    free(o->features);
}

/* Random edges, some targets without any. */
static struct owned_block random_block(size_t targets, size_t sources, struct rng *rng)
{
    size_t counts[64], edges = 0;
    for (size_t i = 0; i < targets; i++)
        edges += counts[i] = rng_below(rng, 4) == 0 ? 0 : rng_below(rng, 7);
    struct owned_block o = owned_new(targets, sources, edges);
    for (size_t i = 0, e = 0; i < targets; i++) {
        o.self[i] = rng_below(rng, (uint32_t)sources);
        o.target_degree[i] = (float)counts[i];
        for (size_t k = 0; k < counts[i]; k++, e++) {
            o.source[e] = rng_below(rng, (uint32_t)sources);
            o.weight[e] = (float)(0.2 + rng_uniform(rng));
            o.source_degree[e] = (float)(1 + rng_below(rng, 5));
            o.relations[e] = 1 + rng_below(rng, 7); /* one to three of three */
            for (int c = 0; c < 3; c++)
                o.features[3 * e + c] = (float)rng_normal(rng);
        }
        o.offsets[i + 1] = (uint32_t)e;
    }
    return o;
}

static float *random_floats(size_t n, struct rng *rng)
{
    float *x = malloc((n + 1) * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)rng_normal(rng);
    return x;
}

static double worst_difference(const float *a, const float *b, size_t n)
{
    double worst = 0;
    for (size_t i = 0; i < n; i++)
        worst = fmax(worst, fabs((double)a[i] - (double)b[i]) / (1 + fabs((double)a[i])));
    return worst;
}

/* ---- kernels ---- */

static void test_aggregate_kernels(void)
{
    struct rng rng;
    rng_init(&rng, 11, 0);
    for (const struct aggregate_impl *k = aggregate_impls + 1; k->name; k++) {
        double worst = 0;
        if (!k->usable()) {
            skip("aggregate %s: not on this CPU", k->name);
            continue;
        }
        for (size_t columns = 1; columns <= 141; columns += columns < 72 ? 1 : 23) {
            size_t targets = 1 + rng_below(&rng, 20), sources = 1 + rng_below(&rng, 30);
            struct owned_block o = random_block(targets, sources, &rng);
            float *x = random_floats(sources * columns, &rng);
            float *dy = random_floats(targets * columns, &rng);
            float *self = random_floats(targets, &rng);
            float *y0 = random_floats(targets * columns, &rng);
            float *y1 = random_floats(targets * columns, &rng);
            float *d0 = calloc(sources * columns, sizeof *d0);
            float *d1 = calloc(sources * columns, sizeof *d1);
            struct aggregate a = {&o.b, o.weight, columns % 2 ? self : NULL, columns};
            aggregate_impls[0].forward(&a, x, y0);
            k->forward(&a, x, y1);
            aggregate_impls[0].backward(&a, dy, d0);
            k->backward(&a, dy, d1);
            worst = fmax(worst, worst_difference(y0, y1, targets * columns));
            worst = fmax(worst, worst_difference(d0, d1, sources * columns));
            free(x), free(dy), free(self), free(y0), free(y1), free(d0), free(d1);
            owned_free(&o);
        }
        ok(worst < 1e-5,
           "aggregate %s equals the definition at every tail (worst %.1e, seed 11)", k->name,
           worst);
    }
}

static void test_gat_kernels(void)
{
    struct rng rng;
    rng_init(&rng, 12, 0);
    for (const struct gat_impl *k = gat_impls + 1; k->name; k++) {
        double worst = 0;
        if (!k->usable()) {
            skip("gatv2 %s: not on this CPU", k->name);
            continue;
        }
        for (size_t c = 1; c <= 40; c++) {
            size_t targets = 1 + rng_below(&rng, 20), sources = 1 + rng_below(&rng, 30);
            unsigned heads = 1 + rng_below(&rng, 4);
            size_t width = heads * c;
            struct owned_block o = random_block(targets, sources, &rng);
            size_t rows = o.b.n_edges + targets;
            float *left = random_floats(sources * width, &rng),
                  *att = random_floats(width, &rng);
            float *right = random_floats(targets * width, &rng);
            float *dy = random_floats(targets * width, &rng),
                  *scratch = random_floats(64, &rng);
            float *edge = random_floats(rows * width, &rng), *sum = random_floats(width, &rng);
            float *out[2][6];
            for (int i = 0; i < 2; i++) {
                const struct gat_impl *impl = i ? k : &gat_impls[0];
                out[i][0] = calloc(targets * width, sizeof(float));
                out[i][1] = calloc(sources * width, sizeof(float));
                out[i][2] = calloc(targets * width, sizeof(float));
                out[i][3] = calloc(width, sizeof(float));
                out[i][4] = calloc(rows * heads, sizeof(float));
                out[i][5] = calloc(rows * width, sizeof(float));
                struct gat g = {.block = &o.b,
                                .heads = heads,
                                .c = c,
                                .att = att,
                                .left = left,
                                .right = right,
                                .alpha = out[i][4],
                                .edge = c % 2 ? edge : NULL,
                                .sum = sum,
                                .slope = 0.1f,
                                .no_loops = c % 3 == 0};
                struct gat_grads d = {
                    dy, out[i][1], out[i][2], out[i][3], c % 2 ? out[i][5] : NULL, scratch};
                impl->forward(&g, out[i][0]);
                impl->backward(&g, &d);
            }
            size_t sizes[6] = {targets * width, sources * width, targets * width,
                               width,           rows * heads,    rows * width};
            for (int i = 0; i < 6; i++) {
                worst = fmax(worst, worst_difference(out[0][i], out[1][i], sizes[i]));
                free(out[0][i]), free(out[1][i]);
            }
            free(left), free(att), free(right), free(dy), free(scratch), free(edge), free(sum);
            owned_free(&o);
        }
        ok(worst < 2e-5, "gatv2 %s equals the definition at every tail (worst %.1e, seed 12)",
           k->name, worst);
    }
}

/* ---- gradients of every layer ---- */

struct check {
    struct params p;
    struct layer layer;
    struct owned_block block;
    float *x;
    uint8_t labels[64];
};

static double check_loss(struct check *c, struct tape *t, float *dx, medley_error *err)
{
    tape_reset(t, dx != NULL, 0);
    struct tensor *x = tape_input(t, c->x, c->block.b.n_sources, c->layer.shape.in, dx != NULL);
    struct tensor *y = c->layer.ops->forward(t, &c->layer, x, &c->block.b);
    struct tensor *loss = op_softmax_loss(t, y, c->labels, NULL, 0);
    if (!loss)
        return NAN;
    double value = (double)loss->value[0];
    if (dx) {
        tape_backward(t, loss, 1, err);
        memcpy(dx, x->grad, x->rows * x->cols * sizeof *dx);
    }
    return value;
}

/* Central differences. At these steps the float32 loss (resolution 1e-7) resolves the slope to
 * about 1e-4, hence the tolerance; the smaller one is for elements within a step of the kink of
 * a leaky ReLU, where the wider difference mixes two slopes. */
static double numeric_worst(struct check *c, float *at, const float *analytic, size_t n)
{
    struct tape t;
    double worst = 0;
    tape_init(&t, &c->p, NULL);
    for (size_t i = 0; i < n; i++) {
        double least = INFINITY;
        for (float step = 4e-3f; step > 5e-4f; step /= 4) {
            float old = at[i];
            at[i] = old + step;
            double up = check_loss(c, &t, NULL, NULL);
            at[i] = old - step;
            double down = check_loss(c, &t, NULL, NULL);
            at[i] = old;
            double slope = (up - down) / (2 * (double)step);
            least = fmin(least, fabs(slope - (double)analytic[i]) / (0.05 + fabs(slope)));
        }
        worst = fmax(worst, least);
    }
    tape_deinit(&t);
    return worst;
}

static void test_gradients(const struct layer_ops *ops, struct layer_shape shape,
                           const char *how)
{
    struct check c = {0};
    struct rng rng;
    struct tape t;
    rng_init(&rng, shape.edge_columns ? 17 : 13, shape.average_heads);
    params_init(&c.p);
    shape.in = 6, shape.out = 8, shape.heads = 2, shape.relations = 3;
    layer_declare(&c.layer, ops, shape, &c.p, "layer");
    ok(params_allocate(&c.p, 7, NULL) == MEDLEY_OK, "%s: parameters", ops->name);
    for (size_t i = 0; i < c.p.count; i++)
        for (size_t k = 0; k < c.p.items[i].rows * c.p.items[i].cols; k++)
            params_value(&c.p, (param_id)i)[k] += 0.1f * (float)rng_normal(&rng);
    c.block = random_block(12, 17, &rng);
    c.x = random_floats(17 * shape.in, &rng);
    for (size_t i = 0; i < 12; i++)
        c.labels[i] = (uint8_t)rng_below(&rng, 8);
    float *grads = calloc(c.p.total, sizeof *grads);
    float *dx = calloc(17 * shape.in, sizeof *dx);
    tape_init(&t, &c.p, grads);
    check_loss(&c, &t, dx, NULL);
    double worst = numeric_worst(&c, c.x, dx, 17 * shape.in);
    ok(worst < 1e-2, "%s%s: d loss / d input (worst %.1e, seed 13 or 17)", ops->name, how,
       worst);
    for (size_t i = 0; i < c.p.count; i++) {
        const struct param *p = &c.p.items[i];
        worst = numeric_worst(&c, c.p.values + p->offset, grads + p->offset, p->rows * p->cols);
        ok(worst < 1e-2, "%s%s: d loss / d %s (worst %.1e)", ops->name, how, p->name, worst);
    }
    tape_deinit(&t);
    params_deinit(&c.p);
    owned_free(&c.block);
    free(c.x), free(grads), free(dx);
}

static const struct {
    const struct layer_ops *ops;
    struct layer_shape shape;
    const char *how;
} variants[] = {
    {&layer_gcn, {.no_self_loops = true, .no_bias = true}, ", no loops"},
    {&layer_gcn, {.unweighted = true}, ", not normalised"},
    {&layer_sage, {.unit = true, .project = true}, ", projected, unit rows"},
    {&layer_sage, {.sum = true, .no_root = true}, ", sum without root"},
    {&layer_gatv2, {.average_heads = true}, ", heads averaged"},
    {&layer_gatv2, {.edge_columns = 3}, ", edge features"},
    {&layer_gatv2, {.edge_columns = 3, .no_self_loops = true}, ", edges alone"},
    {&layer_gatv2, {.shared = true, .no_self_loops = true, .slope = 0.1f}, ", shared"},
    {&layer_rgcn, {.bases = 2}, ", bases"},
    {&layer_rgcn, {.blocks = 2}, ", blocks"},
    {&layer_rgcn, {.max = true}, ", largest"},
    {&layer_gatv2, {.residual = true}, ", residual"},
    {&layer_rgcn, {.sum = true, .no_root = true, .no_bias = true}, ", sums"},
};

int main(void)
{
    test_aggregate_kernels();
    test_gat_kernels();
    for (const struct layer_ops *const *l = layer_table; *l; l++)
        test_gradients(*l, (struct layer_shape){0}, "");
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++)
        test_gradients(variants[i].ops, variants[i].shape, variants[i].how);
    return tap_done();
}
