/* gnn_shop.h: a small shop in memory for the graph tests: queries, products, relations. */
#ifndef TESTS_GNN_SHOP_H
#define TESTS_GNN_SHOP_H

#include "base/rng.h"
#include "data/dataset.h"
#include "data/relations.h"

#include <stdlib.h>
#include <string.h>

enum { SHOP_RELATIONS = 3, SHOP_EDGES = 8192 };

struct shop {
    struct dataset d;
    struct relations r;
    struct relation items[SHOP_RELATIONS];
    uint32_t source[SHOP_RELATIONS][SHOP_EDGES], target[SHOP_RELATIONS][SHOP_EDGES];
    float weight[SHOP_RELATIONS][SHOP_EDGES];
};

/* Empty relations "listing" and "clicks" (query-product) and "co-listed" (product-product). */
__attribute__((unused)) static struct shop *shop_new(size_t queries, size_t products)
{
    static const char *const names[] = {"listing", "clicks", "co-listed"};
    struct shop *s = calloc(1, sizeof *s);
    s->d.n_queries = queries;
    s->d.n_products = products;
    s->r.count = SHOP_RELATIONS;
    s->r.items = s->items;
    for (int i = 0; i < SHOP_RELATIONS; i++)
        s->items[i] =
            (struct relation){names[i],
                              i < 2 ? RELATION_QUERY_PRODUCT : RELATION_PRODUCT_PRODUCT,
                              0,
                              s->source[i],
                              s->target[i],
                              s->weight[i]};
    return s;
}

/* Inserts in order; an edge that is there already gets the new weight. */
__attribute__((unused)) static void shop_link(struct shop *s, int relation, uint32_t source,
                                              uint32_t target, float weight)
{
    uint32_t *from = s->source[relation], *to = s->target[relation];
    float *w = s->weight[relation];
    size_t n = s->items[relation].n, at = n;
    while (at && (from[at - 1] > source || (from[at - 1] == source && to[at - 1] >= target)))
        at--;
    if (at < n && from[at] == source && to[at] == target) {
        w[at] = weight;
        return;
    }
    if (n == SHOP_EDGES)
        abort();
    memmove(from + at + 1, from + at, (n - at) * sizeof *from);
    memmove(to + at + 1, to + at, (n - at) * sizeof *to);
    memmove(w + at + 1, w + at, (n - at) * sizeof *w);
    from[at] = source;
    to[at] = target;
    w[at] = weight;
    s->items[relation].n++;
}

__attribute__((unused)) static void shop_unlink(struct shop *s, int relation, uint32_t source,
                                                uint32_t target)
{
    uint32_t *from = s->source[relation], *to = s->target[relation];
    float *w = s->weight[relation];
    size_t n = s->items[relation].n;
    for (size_t at = 0; at < n; at++)
        if (from[at] == source && to[at] == target) {
            memmove(from + at, from + at + 1, (n - at - 1) * sizeof *from);
            memmove(to + at, to + at + 1, (n - at - 1) * sizeof *to);
            memmove(w + at, w + at + 1, (n - at - 1) * sizeof *w);
            s->items[relation].n--;
            return;
        }
}

/* Random edges in all three relations; weights like 0.7, 1.3 that floats cannot hold exactly.
 */
__attribute__((unused)) static void shop_fill(struct shop *s, size_t edges, struct rng *rng)
{
    uint32_t queries = (uint32_t)s->d.n_queries, products = (uint32_t)s->d.n_products;
    for (size_t i = 0; i < edges; i++)
        for (int r = 0; r < SHOP_RELATIONS; r++) {
            float weight = (float)(0.1 + rng_uniform(rng));
            uint32_t a = rng_below(rng, r < 2 ? queries : products),
                     b = rng_below(rng, products);
            if (r < 2)
                shop_link(s, r, a, b, weight);
            else if (a != b)
                shop_link(s, r, a < b ? a : b, a < b ? b : a, weight);
        }
}

#endif
