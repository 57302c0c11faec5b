/* link_world.h: a shop with features and judged pairs, for the tests of the link classifier. */
#ifndef TESTS_LINK_WORLD_H
#define TESTS_LINK_WORLD_H

#include "gnn/link_model.h"
#include "tests/gnn_shop.h"

enum { WIDTH = 24, MAX_PAIRS = 4096 };

/* A shop with random features and a list of pairs. */
struct world {
    struct shop *shop;
    struct graph g;
    float *features;
    uint32_t query[MAX_PAIRS], product[MAX_PAIRS];
    uint8_t label[MAX_PAIRS];
    size_t n;
};

__attribute__((unused)) static struct link_data data_of(const struct world *w)
{
    return (struct link_data){&w->g, w->features, w->query, w->product, w->label, w->n};
}

__attribute__((unused)) static struct world *world_new(size_t queries, size_t products,
                                                       struct rng *rng)
{
    struct world *w = calloc(1, sizeof *w);
    size_t n = (queries + products) * WIDTH;
    w->shop = shop_new(queries, products);
    w->features = malloc(n * sizeof *w->features);
    for (size_t i = 0; i < n; i++)
        w->features[i] = (float)rng_normal(rng);
    return w;
}

__attribute__((unused)) static void world_build(struct world *w)
{
    graph_free(&w->g);
    if (graph_build(&w->shop->d, &w->shop->r, NULL, &w->g, NULL) != MEDLEY_OK)
        abort();
}

__attribute__((unused)) static void world_free(struct world *w)
{
    graph_free(&w->g);
    free(w->shop);
    free(w->features);
    free(w);
}

__attribute__((unused)) static void add_pair(struct world *w, uint32_t query, uint32_t product,
                                             unsigned label)
{
    w->query[w->n] = query;
    w->product[w->n] = product;
    w->label[w->n++] = (uint8_t)label;
}

/* A listing of `each` candidates a query, labels at random, and some product-product edges. */
__attribute__((unused)) static struct world *random_world(size_t queries, size_t products,
                                                          size_t each, uint64_t seed)
{
    struct rng rng;
    rng_init(&rng, seed, 0);
    struct world *w = world_new(queries, products, &rng);
    for (uint32_t q = 0; q < queries; q++)
        for (size_t i = 0; i < each; i++) {
            uint32_t p = rng_below(&rng, (uint32_t)products);
            shop_link(w->shop, 0, q, p, 1);
            add_pair(w, q, p, rng_below(&rng, 3));
        }
    for (size_t i = 0; i < products; i++) {
        uint32_t a = rng_below(&rng, (uint32_t)products),
                 b = rng_below(&rng, (uint32_t)products);
        if (a != b)
            shop_link(w->shop, 2, a < b ? a : b, a < b ? b : a, 0.7f);
    }
    world_build(w);
    return w;
}

__attribute__((unused)) static struct link_classifier *model_new(const struct gnn_options *o,
                                                                 size_t classes)
{
    struct link_classifier *m = NULL;
    struct gnn_options options = *o;
    medley_error err;
    options.relations = SHOP_RELATIONS;
    if (link_classifier_new(&options, WIDTH, classes, &m, &err) != MEDLEY_OK) {
        printf("# %s\n", err.message);
        exit(1);
    }
    return m;
}

__attribute__((unused)) static float *predict(const struct link_classifier *m,
                                              const struct world *w, size_t classes)
{
    struct link_data d = data_of(w);
    float *p = malloc(w->n * classes * sizeof *p);
    if (link_classifier_predict(m, &d, NULL, p, NULL) != MEDLEY_OK)
        exit(1);
    return p;
}

__attribute__((unused)) static double accuracy(const float *p, const struct world *w,
                                               size_t classes, size_t from, size_t to)
{
    size_t right = 0;
    for (size_t i = from; i < to; i++) {
        size_t best = 0;
        for (size_t c = 1; c < classes; c++)
            if (p[i * classes + c] > p[i * classes + best])
                best = c;
        right += best == w->label[i];
    }
    return (double)right / (double)(to - from);
}

__attribute__((unused)) static medley_status train_first(struct link_classifier *m,
                                                         const struct world *w, size_t n)
{
    struct link_data d = data_of(w);
    d.n = n;
    return link_classifier_train(m, &d, NULL, NULL, NULL);
}

#endif
