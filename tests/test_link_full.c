/* test_link_full.c: a step over the whole graph beside the sampled step that sees everything:
 * the same numbers and gradients for the pair alone; for many pairs those of a graph that never
 * had their edges. */
#include "tests/tap.h"

#include "base/memory.h"
#include "base/pool.h"
#include "nn/ops.h"
#include "tests/link_world.h"

enum { K = 3, MANY = 1000 };

/* What a step gives: logits of the pairs, and the gradient of their loss. */
struct step {
    float *logits; /* [n, K] */
    float *grads;  /* [params] */
};

static void step_free(struct step *s)
{
    free(s->logits), free(s->grads);
}

struct part {
    uint32_t pair[MAX_PAIRS], query[MAX_PAIRS], product[MAX_PAIRS];
    uint8_t label[MAX_PAIRS];
    size_t n;
};

static void part_add(struct part *p, const struct world *w, size_t i)
{
    p->pair[p->n] = (uint32_t)i;
    p->query[p->n] = w->query[i];
    p->product[p->n] = (uint32_t)w->g.n_queries + w->product[i];
    p->label[p->n++] = w->label[i];
}

static void differentiate(struct tape *t, struct tensor *logits, const struct part *p,
                          struct step *out)
{
    size_t n = p->n * K * sizeof *out->logits;
    out->logits = malloc(n);
    if (!logits || logits->rows != p->n || logits->cols != K)
        abort();
    memcpy(out->logits, logits->value, n);
    if (tape_backward(t, op_softmax_loss(t, logits, p->label, NULL, 0), 1, NULL))
        abort();
    out->grads = t->grads;
    tape_deinit(t);
}

static void tape_start(struct tape *t, const struct link_classifier *m)
{
    float *grads = calloc(m->params.total, sizeof *grads);
    tape_init(t, &m->params, grads);
    tape_reset(t, true, 5);
}

static struct feature_source features_of(const struct world *w)
{
    return (struct feature_source){.stored = w->features,
                                   .n_stored = w->g.n_nodes,
                                   .n_queries = w->g.n_queries,
                                   .width = WIDTH};
}

static struct step sampled_step(const struct link_classifier *m, const struct world *w,
                                const struct part *p)
{
    struct step out;
    struct tape t;
    struct sampler *s = sampler_new();
    struct graph_view view = {.base = &w->g.all};
    struct feature_source f = features_of(w);
    struct link_batch batch = {.view = &view,
                               .features = &f,
                               .query = p->query,
                               .product = p->product,
                               .n = p->n,
                               .fanout = MANY,
                               .seed = 1};
    medley_status st = MEDLEY_OK;
    tape_start(&t, m);
    differentiate(&t, link_forward(m, &t, s, &batch, &st, NULL), p, &out);
    sampler_free(s);
    return out;
}

/* All pairs of the world are known to it, those of `p` are learnt from. `arena`: bytes. */
static struct step full_step(const struct link_classifier *m, const struct world *w,
                             const struct part *p)
{
    struct step out;
    struct tape t;
    struct graph_view view = {.base = &w->g.all};
    struct feature_source f = features_of(w);
    struct part *all = calloc(1, sizeof *all);
    struct link_full *full = NULL;
    for (size_t i = 0; i < w->n; i++)
        part_add(all, w, i);
    struct predict_job pairs = {
        .view = &view, .features = &f, .query = all->query, .product = all->product, .n = w->n};
    struct link_part part = {p->pair, p->query, p->product, p->n};
    medley_status st = link_full_new(m, &w->g, &pairs, &full, NULL);
    tape_start(&t, m);
    differentiate(&t, st ? NULL : link_full_forward(full, &t, &part, &st, NULL), p, &out);
    link_full_free(full);
    free(all);
    return out;
}

static double worst_gap(const float *a, const float *b, size_t n)
{
    double worst = 0;
    for (size_t i = 0; i < n; i++)
        worst = fmax(worst, fabs((double)a[i] - (double)b[i]) / (1 + fabs((double)b[i])));
    return worst;
}

/* The larger of the gaps of logits and of gradients. */
static double gap(const struct link_classifier *m, const struct step *a, const struct step *b,
                  size_t n)
{
    return fmax(worst_gap(a->logits, b->logits, n * K),
                worst_gap(a->grads, b->grads, m->params.total));
}

static bool same_bits(const struct link_classifier *m, const struct step *a,
                      const struct step *b, size_t n)
{
    return memcmp(a->logits, b->logits, n * K * sizeof *a->logits) == 0 &&
           memcmp(a->grads, b->grads, m->params.total * sizeof *a->grads) == 0;
}

static struct link_classifier *subject(const char *layer, unsigned hops, const char *jumping,
                                       const struct world *w)
{
    struct gnn_options o = {.layer = layer,
                            .hops = hops,
                            .hidden = 16,
                            .heads = 2,
                            .jumping = jumping,
                            .dropout = -1,
                            .epochs = 1};
    struct link_classifier *m = model_new(&o, K);
    train_first(m, w, w->n); /* no parameter is zero any more */
    const struct param *last = &m->params.items[m->pair.out_weight]; /* which learns slowly */
    struct rng rng;
    rng_init(&rng, 8, 0);
    for (size_t i = 0; i < last->rows * last->cols; i++)
        m->params.values[last->offset + i] = 0.3f * (float)rng_normal(&rng);
    return m;
}

/* Pairs one at a time: both hide one edge, and see all others. The bound: sums of some hundred
 * products of numbers near 1, in other orders. */
static void test_one_pair(const char *layer, unsigned hops, const char *jumping)
{
    struct world *w = random_world(12, 30, 6, 2);
    struct link_classifier *m = subject(layer, hops, jumping, w);
    double worst = 0, least_grad = INFINITY;
    for (size_t i = 0; i < w->n; i += 5) {
        struct part p = {.n = 0};
        part_add(&p, w, i);
        struct step full = full_step(m, w, &p), sampled = sampled_step(m, w, &p);
        worst = fmax(worst, gap(m, &full, &sampled, 1));
        double sum = 0;
        for (size_t k = 0; k < m->params.total; k++)
            sum += fabs((double)sampled.grads[k]);
        least_grad = fmin(least_grad, sum);
        step_free(&full), step_free(&sampled);
    }
    ok(worst < 2e-5 && least_grad > 0.1,
       "%s, %u hops, %s: a pair alone as sampled with everything in reach (%.1e)", layer, hops,
       jumping ? jumping : "last", worst);
    link_classifier_free(m);
    world_free(w);
}

/* Every third pair in one step. Match features follow the exact rule, so the graph without
 * these edges is given to the encoder only: the model's match head is silenced. */
static void test_part(const char *layer, unsigned hops)
{
    struct world *w = random_world(12, 30, 6, 3);
    struct link_classifier *m = subject(layer, hops, NULL, w);
    memset(m->params.values + m->params.items[m->match.hidden_weight].offset, 0,
           m->params.items[m->match.hidden_weight].rows *
               m->params.items[m->match.hidden_weight].cols * sizeof(float));
    struct part *p = calloc(1, sizeof *p);
    for (size_t i = 0; i < w->n; i += 3)
        part_add(p, w, i);
    pool_set_threads(1);
    struct step with = full_step(m, w, p);
    pool_set_threads(3);
    struct step threads = full_step(m, w, p);
    pool_set_threads(0);
    ok(same_bits(m, &with, &threads, p->n), "%s, %u hops: the same bits on any threads", layer,
       hops);
    struct graph before = w->g;
    w->g = (struct graph){0};
    for (size_t i = 0; i < w->n; i += 3)
        shop_unlink(w->shop, 0, w->query[i], w->product[i]);
    world_build(w);
    uint64_t gone = before.all.offsets[before.n_nodes] - w->g.all.offsets[w->g.n_nodes];
    struct step without = full_step(m, w, p), sampled = sampled_step(m, w, p);
    ok(gone > p->n && memcmp(with.logits, without.logits, p->n * K * sizeof(float)) == 0,
       "... and those of a graph that never had the pairs' %d edges", (int)gone);
    double off = worst_gap(with.logits, sampled.logits, p->n * K);
    ok(off < 2e-5, "... which sampling agrees with (%.1e)", off);
    struct graph after = w->g;
    w->g = before;
    struct step shown = sampled_step(m, w, p); /* each hides its own edge, and no other */
    off = worst_gap(with.logits, shown.logits, p->n * K);
    ok(off > 1e-3, "... and differ from what they are with them (%.1e)", off);
    w->g = after;
    step_free(&shown);
    step_free(&with), step_free(&threads), step_free(&without), step_free(&sampled);
    graph_free(&before);
    free(p);
    link_classifier_free(m);
    world_free(w);
}

/* The estimate behind "auto" is above what a step takes, and not far above. */
static void test_estimate(const char *layer, unsigned hops)
{
    struct world *w = random_world(100, 400, 8, 4);
    struct link_classifier *m = subject(layer, hops, NULL, w);
    struct graph_view view = {.base = &w->g.all};
    struct feature_source f = features_of(w);
    struct part *p = calloc(1, sizeof *p);
    struct link_full *full = NULL;
    for (size_t i = 0; i < 20; i++)
        part_add(p, w, i);
    struct predict_job pairs = {
        .view = &view, .features = &f, .query = p->query, .product = p->product, .n = p->n};
    struct link_part part = {p->pair, p->query, p->product, p->n};
    struct tape t;
    medley_status st = link_full_new(m, &w->g, &pairs, &full, NULL);
    tape_start(&t, m);
    struct tensor *y = link_full_forward(full, &t, &part, &st, NULL);
    tape_backward(&t, op_softmax_loss(&t, y, p->label, NULL, 0), 1, NULL);
    double used = (double)arena_used(&t.arena), wanted = (double)link_full_bytes(m, &w->g);
    ok(wanted > 0.7 * used && wanted < 1.6 * used,
       "%s, %u hops: %.0f KiB of tape, estimated with all else %.0f", layer, hops, used / 1024,
       wanted / 1024);
    free(t.grads);
    tape_deinit(&t);
    link_full_free(full);
    free(p);
    link_classifier_free(m);
    world_free(w);
}

/* With more pairs than nodes "auto" trains fully what fits, in the bits of "full", and samples
 * what does not. */
static void test_auto(void)
{
    struct world *w = random_world(160, 320, 5, 6);
    float *p[4];
    const struct gnn_options how[4] = {{.training = "auto"},
                                       {.training = "full"},
                                       {.training = "auto", .full_memory_mb = 1},
                                       {.training = "sampled"}};
    for (size_t i = 0; i < 4; i++) {
        struct gnn_options o = how[i];
        o.epochs = 2;
        struct link_classifier *m = model_new(&o, K);
        if (train_first(m, w, w->n))
            abort();
        p[i] = predict(m, w, K);
        link_classifier_free(m);
    }
    size_t bytes = w->n * K * sizeof **p;
    ok(memcmp(p[0], p[1], bytes) == 0, "auto: full where it fits");
    ok(memcmp(p[2], p[3], bytes) == 0, "... sampled where it does not");
    ok(memcmp(p[0], p[2], bytes) != 0, "... which are two things");
    for (size_t i = 0; i < 4; i++)
        free(p[i]);
    world_free(w);
}

int main(void)
{
    for (const struct layer_ops *const *l = layer_table; *l; l++) {
        for (unsigned hops = 1; hops <= 3; hops++)
            test_one_pair((*l)->name, hops, NULL);
        test_part((*l)->name, 2);
        test_estimate((*l)->name, 2);
    }
    test_one_pair("gcn", 2, "cat");
    test_one_pair("sage", 3, "max");
    test_estimate("sage", 4);
    test_auto();
    return tap_done();
}
