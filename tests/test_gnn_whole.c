/* test_gnn_whole.c: layers over a whole graph against the same layers edge by edge (forward and
 * all gradients), every kernel against its definition, and the same bits on 1 to 3 threads. */
#include "tests/tap.h"

#include "base/pool.h"
#include "base/rng.h"
#include "gnn/layer.h"
#include "gnn/whole.h"
#include "nn/ops.h"

/* Large enough for several parts; node 0 is a hub, some nodes have no edges. */
enum { NODES = 900, EDGES = 21000 };

struct world {
    struct block b;
    uint32_t self[NODES], offsets[NODES + 1], source[EDGES];
    float weight[EDGES], target_degree[NODES], source_degree[EDGES];
};

static void world_fill(struct world *w, bool weighted, struct rng *rng)
{
    size_t at = 0;
    for (size_t i = 0; i < NODES; i++) {
        size_t room = EDGES - at, n = i == 0 ? 3000 : i % 7 == 3 ? 0 : rng_below(rng, 40);
        n = n < room ? n : room;
        w->self[i] = (uint32_t)i;
        w->offsets[i] = (uint32_t)at;
        w->target_degree[i] = 0;
        for (size_t k = 0; k < n; k++, at++) {
            w->source[at] = rng_below(rng, NODES);
            w->weight[at] = weighted ? (float)(0.2 + rng_uniform(rng)) : 1;
            w->target_degree[i] += w->weight[at];
        }
    }
    w->offsets[NODES] = (uint32_t)at;
    for (size_t e = 0; e < at; e++)
        w->source_degree[e] = w->target_degree[w->source[e]];
    w->b = (struct block){.n_targets = NODES,
                          .n_sources = NODES,
                          .n_edges = at,
                          .self = w->self,
                          .offsets = w->offsets,
                          .source = w->source,
                          .weight = w->weight,
                          .target_degree = w->target_degree,
                          .source_degree = w->source_degree};
}

static float *random_floats(size_t n, struct rng *rng)
{
    float *x = malloc((n + 1) * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)rng_normal(rng);
    return x;
}

static double worst(const float *a, const float *b, size_t n)
{
    double most = 0;
    for (size_t i = 0; i < n; i++)
        most = fmax(most, fabs((double)a[i] - (double)b[i]) / (1 + fabs((double)a[i])));
    return most;
}

/* Result, gradient of the input, gradients of the parameters. */
struct answer {
    float *y, *dx, *grads;
};
static void answer_free(struct answer *a)
{
    free(a->y), free(a->dx), free(a->grads);
}

static struct answer run(const struct params *p, const struct layer *l, const struct block *b,
                         const float *x, const float *target)
{
    size_t in = l->shape.in, out = l->shape.out;
    struct answer a = {calloc(NODES * out, 4), calloc(NODES * in, 4), calloc(p->total, 4)};
    struct tape t;
    tape_init(&t, p, a.grads);
    tape_reset(&t, true, 0);
    struct tensor *input = tape_input(&t, x, NODES, in, true);
    struct tensor *y = l->ops->forward(&t, l, input, b);
    if (y)
        memcpy(a.y, y->value, NODES * out * sizeof *a.y);
    /* The square loss's mean would make gradients too small to compare. */
    struct tensor *loss = op_scale(&t, op_square_loss(&t, y, target), (float)NODES);
    if (tape_backward(&t, loss, 1, NULL) == MEDLEY_OK)
        memcpy(a.dx, input->grad, NODES * in * sizeof *a.dx);
    tape_deinit(&t);
    return a;
}

static void test_layer(const struct layer_ops *ops, struct layer_shape shape, bool weighted)
{
    static struct world w;
    struct rng rng;
    struct params p;
    struct layer l;
    struct reverse *reverse = NULL;
    rng_init(&rng, 21, shape.out);
    world_fill(&w, weighted, &rng);
    params_init(&p);
    layer_declare(&l, ops, shape, &p, "layer");
    ok(params_allocate(&p, 3, NULL) == MEDLEY_OK, "%s %zu to %zu: parameters", ops->name,
       shape.in, shape.out);
    for (size_t i = 0; i < p.total; i++)
        p.values[i] += 0.1f * (float)rng_normal(&rng);
    float *x = random_floats(NODES * shape.in, &rng);
    float *target = random_floats(NODES * shape.out, &rng);
    struct answer plain = run(&p, &l, &w.b, x, target);
    ok(reverse_new(&w.b, &reverse, NULL) == MEDLEY_OK, "%s: seen from the sources", ops->name);
    w.b.reverse = reverse;
    struct answer first = {0};
    for (unsigned threads = 1; threads <= 3; threads++) {
        pool_set_threads(threads);
        struct answer got = run(&p, &l, &w.b, x, target);
        if (threads == 1) {
            double y = worst(plain.y, got.y, NODES * shape.out);
            double dx = worst(plain.dx, got.dx, NODES * shape.in);
            double dw = worst(plain.grads, got.grads, p.total);
            ok(y < 1e-5 && dx < 1e-5, "%s: whole as edge by edge (%.1e, input %.1e, seed 21)",
               ops->name, y, dx);
            ok(dw < 1e-4, "%s: gradients of parameters (%.1e)", ops->name, dw);
            first = got;
            continue;
        }
        ok(memcmp(first.y, got.y, NODES * shape.out * 4) == 0 &&
               memcmp(first.dx, got.dx, NODES * shape.in * 4) == 0 &&
               memcmp(first.grads, got.grads, p.total * 4) == 0,
           "%s: the same bits on %u threads", ops->name, threads);
        answer_free(&got);
    }
    answer_free(&first), answer_free(&plain);
    reverse_free(reverse);
    params_deinit(&p);
    free(x), free(target);
}

/* A symmetric graph needs no arrays of its own to be seen from the other end; another does. */
static void test_shared(void)
{
    enum { N = 5, LINKS = 6 };
    uint32_t self[N] = {0, 1, 2, 3, 4}, offsets[N + 1] = {0, 1, 3, 4, 5, 6};
    uint32_t symmetric[LINKS] = {1, 0, 2, 1, 4, 3}, other[LINKS] = {1, 0, 3, 1, 4, 3};
    float weight[LINKS] = {2, 2, 3, 3, 4, 4};
    struct block b = {.n_targets = N,
                      .n_sources = N,
                      .n_edges = LINKS,
                      .self = self,
                      .offsets = offsets,
                      .source = symmetric,
                      .weight = weight};
    for (int i = 0; i < 3; i++) {
        struct reverse *r = NULL;
        b.source = i == 1 ? other : symmetric;
        weight[3] = i == 2 ? 5 : 3; /* there and back of different weight */
        ok(reverse_new(&b, &r, NULL) == MEDLEY_OK && r->borrowed == (i == 0) &&
               (r->target == b.source) == (i == 0),
           "graph %d is %sits own mirror image", i, i ? "not " : "");
        reverse_free(r);
    }
}

static void test_elements(const struct whole_impl *impl, struct rng *rng)
{
    enum { MOST = 70 };
    bool same = true;
    for (size_t n = 0; n <= MOST; n++) {
        float *x = random_floats(MOST, rng), *g = random_floats(MOST, rng), a[3][MOST],
              b[3][MOST];
        x[n / 2] = 0;
        for (int k = 0; k < 3; k++) {
            memcpy(a[k], k == 1 ? x : g, sizeof a[k]);
            memcpy(b[k], k == 1 ? x : g, sizeof b[k]);
        }
        whole_ref.add(a[0], x, n), impl->add(b[0], x, n);
        whole_ref.relu(a[1], n), impl->relu(b[1], n);
        whole_ref.relu_back(x, a[2], n), impl->relu_back(x, b[2], n);
        same &= memcmp(a, b, sizeof a) == 0; /* nothing past n, either */
        free(x), free(g);
    }
    ok(same, "add, relu and its way back %s as their definitions", impl->name);
}

static void test_gather(const struct whole_impl *impl, const struct world *w, struct rng *rng)
{
    double most = 0;
    for (size_t columns = 1; columns <= 290; columns += columns < 40 ? 3 : 25) {
        float *x = random_floats(NODES * columns, rng), *scale = random_floats(NODES, rng);
        float *a = random_floats(NODES * columns, rng),
              *b = random_floats(NODES * columns, rng);
        struct gather g = {.offsets = w->offsets,
                           .source = w->source,
                           .edges = w->b.n_edges,
                           .weight = columns % 2 ? w->weight : NULL,
                           .row_scale = columns % 3 ? scale : NULL,
                           .column_scale = columns % 3 ? NULL : scale,
                           .self = columns % 5 == 0,
                           .columns = columns};
        whole_ref.gather(&g, x, 1, NODES - 1, a);
        impl->gather(&g, x, 1, NODES - 1, b);
        most = fmax(most, worst(a, b, (NODES - 1) * columns));
        free(x), free(scale), free(a), free(b);
    }
    ok(most < 2e-5, "gather %s as its definition (%.1e)", impl->name, most);
}

static void test_attend(const struct whole_impl *impl, const struct world *w, struct rng *rng)
{
    enum { HEADS = 3, C = 16, WIDTH = HEADS * C };
    float *left = random_floats(NODES * WIDTH, rng), *right = random_floats(NODES * WIDTH, rng);
    float *dy = random_floats(NODES * WIDTH, rng), *inner = random_floats(NODES * HEADS, rng);
    float *att = random_floats(WIDTH, rng), *bias = random_floats(WIDTH, rng);
    float *out[2];
    for (int k = 0; k < WIDTH; k++)
        att[k] *= 0.2f; /* exp of great scores would magnify rounding */
    size_t size = NODES * (3 * WIDTH + HEADS) + WIDTH;
    for (int k = 0; k < 2; k++) {
        const struct whole_impl *i = k ? impl : &whole_ref;
        float *o = out[k] = calloc(size, sizeof *o);
        struct attend a = {.offsets = w->offsets,
                           .source = w->source,
                           .edges = w->b.n_edges,
                           .heads = HEADS,
                           .c = C,
                           .att = att,
                           .left = left,
                           .right = right,
                           .bias = bias,
                           .y = o,
                           .log_sum = o + NODES * WIDTH,
                           .dy = dy,
                           .inner = inner,
                           .dleft = o + NODES * (WIDTH + HEADS),
                           .dright = o + NODES * (2 * WIDTH + HEADS),
                           .datt = o + NODES * (3 * WIDTH + HEADS)};
        i->attend(&a, 0, NODES);
        i->back_right(&a, 0, NODES);
        i->back_left(&a, 0, NODES); /* any square graph will do */
    }
    double d = worst(out[0], out[1], size);
    ok(d < 2e-4, "attention %s as its definition (%.1e)", impl->name, d);
    free(left), free(right), free(dy), free(inner), free(att), free(bias);
    free(out[0]), free(out[1]);
}

static void test_not_whole(void)
{
    static struct world w;
    struct rng rng;
    struct reverse *r = NULL;
    medley_error err = {0};
    rng_init(&rng, 5, 0);
    world_fill(&w, false, &rng);
    w.self[4] = 5;
    ok(reverse_new(&w.b, &r, &err) == MEDLEY_EINVAL && !r, "a permuted block is no graph");
    w.self[4] = 4;
    w.source[7] = NODES;
    ok(reverse_new(&w.b, &r, &err) == MEDLEY_EINVAL && !r, "an edge out of range is refused");
}

/* gatv2 reads its result on the way back: what the relu in place leaves of it must do. */
static void test_relu(const struct layer_ops *ops)
{
    enum { OUT = 32 };
    static struct world w;
    struct rng rng;
    struct params p;
    struct layer l;
    struct reverse *r = NULL;
    rng_init(&rng, 23, 0);
    world_fill(&w, true, &rng);
    params_init(&p);
    layer_declare(&l, ops, (struct layer_shape){.in = OUT, .out = OUT, .heads = 2}, &p,
                  "layer");
    if (params_allocate(&p, 3, NULL) || reverse_new(&w.b, &r, NULL)) {
        ok(false, "%s: a graph and parameters", ops->name);
        return;
    }
    for (size_t i = 0; i < p.total; i++)
        p.values[i] += 0.1f * (float)rng_normal(&rng);
    w.b.reverse = r;
    float *x = random_floats(NODES * OUT, &rng), *target = random_floats(NODES * OUT, &rng);
    float *grads[2], *dx[2], loss[2] = {0, 1};
    for (int k = 0; k < 2; k++) {
        struct tape t;
        grads[k] = calloc(p.total, sizeof(float));
        dx[k] = calloc(NODES * OUT, sizeof(float));
        tape_init(&t, &p, grads[k]);
        tape_reset(&t, true, 0);
        struct tensor *input = tape_input(&t, x, NODES, OUT, true);
        struct tensor *y = ops->forward(&t, &l, input, &w.b);
        y = k ? op_whole_relu(&t, y) : op_activation(&t, y, ACT_RELU);
        struct tensor *sum = op_scale(&t, op_square_loss(&t, y, target), (float)NODES);
        if (tape_backward(&t, sum, 1, NULL) == MEDLEY_OK) {
            loss[k] = sum->value[0];
            memcpy(dx[k], input->grad, NODES * OUT * sizeof(float));
        }
        tape_deinit(&t);
    }
    double d = fmax(worst(grads[0], grads[1], p.total), worst(dx[0], dx[1], NODES * OUT));
    ok(fabsf(loss[0] - loss[1]) <= 1e-6f * loss[0] && d < 1e-5,
       "%s: relu in place as relu (%.1e)", ops->name, d);
    for (int k = 0; k < 2; k++)
        free(grads[k]), free(dx[k]);
    reverse_free(r);
    params_deinit(&p);
    free(x), free(target);
}

int main(void)
{
    static struct world w;
    struct rng rng;
    rng_init(&rng, 22, 0);
    world_fill(&w, true, &rng);
    for (const struct whole_impl *const *i = whole_impls + 1; *i; i++) {
        if (!(*i)->usable()) {
            skip("whole %s: not on this CPU", (*i)->name);
            continue;
        }
        test_elements(*i, &rng);
        test_gather(*i, &w, &rng);
        test_attend(*i, &w, &rng);
    }
    for (int weighted = 0; weighted < 2; weighted++) {
        test_layer(&layer_gcn, (struct layer_shape){.in = 21, .out = 33, .heads = 1}, weighted);
        test_layer(&layer_gcn, (struct layer_shape){.in = 128, .out = 32, .heads = 1},
                   weighted);
        test_layer(&layer_sage, (struct layer_shape){.in = 18, .out = 40, .heads = 1},
                   weighted);
        test_layer(&layer_gatv2, (struct layer_shape){.in = 20, .out = 48, .heads = 3},
                   weighted);
        test_layer(&layer_gatv2, (struct layer_shape){.in = 16, .out = 10, .heads = 2},
                   weighted);
    }
    test_layer(&layer_gatv2, (struct layer_shape){.in = 20, .out = 24, .heads = 3}, false);
    test_relu(&layer_gcn);
    test_relu(&layer_sage);
    test_relu(&layer_gatv2);
    test_not_whole();
    test_shared();
    return tap_done();
}
