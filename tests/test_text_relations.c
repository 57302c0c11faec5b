/* test_text_relations.c: relations of near texts: the nearest by brute force, a locale at a
 * time, in a file that relations_open_beside and a graph read. */
#include "tests/tap.h"

#include "base/file.h"
#include "base/rng.h"
#include "ensemble/text_relations.h"
#include "gnn/graph.h"
#include "gnn/neighbours.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { QUERIES = 30, PRODUCTS = 70, WIDTH = 16, NODES = QUERIES + PRODUCTS };

static float rows[NODES * WIDTH];
static uint8_t locale[NODES];

static double cosine(size_t a, size_t b)
{
    double ab = 0, aa = 0, bb = 0;
    for (size_t k = 0; k < WIDTH; k++) {
        double x = (double)rows[a * WIDTH + k], y = (double)rows[b * WIDTH + k];
        ab += x * y, aa += x * x, bb += y * y;
    }
    return aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : 0;
}

/* Whether b is among the nearest of a within [from, to). */
static bool near(size_t a, size_t b, size_t from, size_t to)
{
    size_t before = 0;
    double own = cosine(a, b);
    if (locale[a] != locale[b] || own <= 0)
        return false;
    for (size_t i = from; i < to; i++) {
        double c = cosine(a, i);
        before +=
            i != a && i != b && locale[i] == locale[a] && (c > own || (c == own && i < b));
    }
    return before < TEXT_NEIGHBOURS;
}

static void check(const struct relations *r, const char *name, enum relation_kind kind,
                  size_t a_from, size_t a_to, size_t b_from, size_t b_to)
{
    const struct relation *x = relations_find(r, name);
    size_t expected = 0, found = 0;
    if (!ok(x && x->kind == kind, "%s is there", name))
        return;
    bool self = a_from == b_from, right = true;
    for (size_t a = a_from; a < a_to; a++)
        for (size_t b = self ? a + 1 : b_from; b < b_to; b++)
            expected += near(a, b, b_from, b_to) || (self && near(b, a, a_from, a_to));
    for (size_t e = 0; e < x->n; e++) {
        size_t a = a_from + x->source[e], b = b_from + x->target[e];
        found += near(a, b, b_from, b_to) || (self && near(b, a, a_from, a_to));
        right = right && fabs((double)x->weight[e] - cosine(a, b)) < 1e-5;
    }
    ok(x->n == expected && found == expected, "%s: %zu edges, those of brute force (%zu)", name,
       x->n, expected);
    ok(right, "... weighted by their cosine");
}

int main(void)
{
    struct rng rng;
    struct relations r;
    struct graph g;
    medley_error err = {0};
    const char *folder = tap_folder();
    rng_init(&rng, 3, 0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        rows[i] = (float)rng_normal(&rng);
    for (size_t i = 0; i < NODES; i++)
        locale[i] = (uint8_t)(i % 3 == 0);
    memset(rows + 5 * WIDTH, 0, WIDTH * sizeof *rows); /* an empty text */
    struct dataset d = {.n_queries = QUERIES,
                        .n_products = PRODUCTS,
                        .query_locale = locale,
                        .product_locale = locale + QUERIES};
    struct path features, beside;
    snprintf(features.s, sizeof features.s, "%s/hashed.npy", folder);
    beside = text_relations_path(features.s);
    ok(strcmp(beside.s + strlen(folder), "/hashed.text") == 0, "beside the features");
    ok(is_text_relation("text-queries") && !is_text_relation("clicks"), "known by name");
    ok(relations_open_beside(beside.s, QUERIES, PRODUCTS, &r, &err) != MEDLEY_OK,
       "not there: %s", err.message);
    ok(text_relations_write(&d, rows, WIDTH, beside.s, &err) == MEDLEY_OK &&
           relations_open_beside(beside.s, QUERIES, PRODUCTS, &r, &err) == MEDLEY_OK,
       "written and read: %s", err.message);
    check(&r, "text", RELATION_QUERY_PRODUCT, 0, QUERIES, QUERIES, NODES);
    check(&r, "text-queries", RELATION_QUERY_QUERY, 0, QUERIES, 0, QUERIES);
    check(&r, "text-products", RELATION_PRODUCT_PRODUCT, QUERIES, NODES, QUERIES, NODES);
    ok(graph_build(&d, &r, NULL, &g, &err) == MEDLEY_OK, "a graph of them: %s", err.message);
    bool symmetric = true;
    for (uint32_t i = 0; i < NODES; i++)
        for (uint64_t e = g.all.offsets[i]; e < g.all.offsets[i + 1]; e++)
            symmetric = symmetric && csr_find(&g.all, g.all.target[e], i) != SIZE_MAX;
    ok(symmetric && g.all.offsets[6] == g.all.offsets[5],
       "both ways; an empty text joins nobody");
    graph_free(&g);
    relations_close(&r);
    ok(relations_open_beside(beside.s, QUERIES - 1, PRODUCTS, &r, &err) == MEDLEY_EFORMAT,
       "of another dataset: %s", err.message);
    remove_tree(folder, NULL);
    return tap_done();
}
