/* test_link_relations.c: a union of relations is more than its edges where a layer reads their
 * types: exchanging types changes what it predicts, and what only types tell is learned. */
#include "tests/tap.h"

#include "tests/link_world.h"

enum { QUERIES = 300, PRODUCTS = 40, EACH = 4, SEED = 21 };

/* For every pair the query has an edge to a double of the product, a listing where the label is
 * 0 and a click where it is 1. Nothing else tells the label: edges, weights and features are
 * the same. */
static struct world *typed_world(void)
{
    struct rng rng;
    rng_init(&rng, SEED, 0);
    struct world *w = world_new(QUERIES, 2 * PRODUCTS, &rng);
    float *products = w->features + QUERIES * WIDTH;
    memcpy(products + PRODUCTS * WIDTH, products, PRODUCTS * WIDTH * sizeof *products);
    for (uint32_t q = 0; q < QUERIES; q++) {
        uint32_t first = rng_below(&rng, PRODUCTS);
        for (uint32_t i = 0; i < EACH; i++) {
            uint32_t p = (first + i * 5) % PRODUCTS;
            unsigned label = rng_below(&rng, 2);
            shop_link(w->shop, label ? 1 : 0, q, PRODUCTS + p, 1);
            add_pair(w, q, p, label);
        }
    }
    world_build(w);
    return w;
}

static struct link_classifier *trained(const char *layer, const struct world *w, size_t n,
                                       unsigned epochs)
{
    struct gnn_options o = {.layer = layer,
                            .hidden = 32,
                            .hops = 1,
                            .epochs = epochs,
                            .batch = 64,
                            .learning_rate = 4e-3,
                            .dropout = -1};
    struct link_classifier *m = model_new(&o, 2);
    if (train_first(m, w, n))
        abort();
    return m;
}

static void test_learned(void)
{
    struct world *w = typed_world();
    size_t cut = w->n * 3 / 4;
    double right[2];
    static const char *const layers[] = {"rgcn", "sage"};
    for (int i = 0; i < 2; i++) {
        struct link_classifier *m = trained(layers[i], w, cut, 30);
        float *p = predict(m, w, 2);
        right[i] = accuracy(p, w, 2, cut, w->n);
        free(p);
        link_classifier_free(m);
    }
    /* 300 held-out pairs: deviation 0.029 around one half; the bounds are 4 deviations. */
    ok(right[0] > 0.70, "rgcn learns what only types tell (%.2f, seed %d)", right[0], SEED);
    ok(right[1] > 0.38 && right[1] < 0.62, "control: sage cannot (%.2f)", right[1]);
    world_free(w);
}

/* The types of all query-product edges dealt out anew: the union has the same edges, the same
 * weights, and as many of each type. */
static void shuffle_types(struct world *w, uint64_t seed)
{
    uint32_t q[2 * SHOP_EDGES], p[2 * SHOP_EDGES];
    size_t n = 0, listings = w->shop->items[0].n;
    struct rng rng;
    rng_init(&rng, seed, 0);
    for (int r = 0; r < 2; r++)
        for (size_t e = 0; e < w->shop->items[r].n; e++, n++) {
            q[n] = w->shop->source[r][e];
            p[n] = w->shop->target[r][e];
        }
    w->shop->items[0].n = w->shop->items[1].n = 0;
    for (size_t i = n; i-- > 0;) {
        size_t j = rng_below(&rng, (uint32_t)i + 1);
        shop_link(w->shop, i < listings ? 0 : 1, q[j], p[j], 1);
        q[j] = q[i], p[j] = p[i];
    }
    world_build(w);
}

static void test_shuffled(void)
{
    for (const struct layer_ops *const *l = layer_table; *l; l++) {
        struct world *w = typed_world();
        struct link_classifier *m = trained((*l)->name, w, w->n, 2);
        float *before = predict(m, w, 2);
        size_t changed = 0, edges = (size_t)w->g.all.offsets[w->g.n_nodes];
        shuffle_types(w, SEED);
        float *after = predict(m, w, 2);
        for (size_t i = 0; i < w->n; i++)
            changed += memcmp(before + 2 * i, after + 2 * i, 2 * sizeof *after) != 0;
        ok(edges == w->g.all.offsets[w->g.n_nodes], "%s: the same union", (*l)->name);
        if ((*l)->relations)
            ok(changed > w->n * 9 / 10, "... shuffled types change %zu of %zu predictions",
               changed, w->n);
        else
            ok(changed == 0, "... whose types this layer does not read");
        free(before), free(after);
        link_classifier_free(m);
        world_free(w);
    }
}

int main(void)
{
    test_shuffled();
    test_learned();
    return tap_done();
}
