/* test_graph.c: relations to CSR against a matrix; sampled neighbourhoods against a recursion
 * on the graph from which a pair's own edge is really removed. */
#include "tests/tap.h"

#include "base/memory.h"
#include "gnn/graph.h"
#include "gnn/sampler.h"
#include "tests/gnn_shop.h"

enum { MAX = 64 };

/* ---- graph ---- */

static bool csr_is(const struct csr *c, double matrix[MAX][MAX])
{
    uint64_t edges = 0;
    for (uint32_t i = 0; i < c->n; i++) {
        double degree = 0;
        for (uint32_t j = 0; j < c->n; j++) {
            size_t at = csr_find(c, i, j);
            if ((at != SIZE_MAX) != (matrix[i][j] > 0))
                return false;
            if (at == SIZE_MAX)
                continue;
            edges++;
            degree += matrix[i][j];
            if (fabs((double)c->weight[at] - matrix[i][j]) > 1e-6)
                return false;
            if (at > c->offsets[i] && c->target[at - 1] >= c->target[at])
                return false;
        }
        if (fabs((double)c->degree[i] - degree) > 1e-5)
            return false;
    }
    return edges == c->offsets[c->n];
}

static void to_matrix(const struct shop *s, int relation, double matrix[MAX][MAX])
{
    const struct relation *r = &s->items[relation];
    size_t from = r->kind == RELATION_QUERY_PRODUCT ? 0 : s->d.n_queries;
    for (size_t e = 0; e < r->n; e++) {
        size_t a = from + r->source[e], b = s->d.n_queries + r->target[e];
        matrix[a][b] += (double)r->weight[e];
        matrix[b][a] += (double)r->weight[e];
    }
}

static void test_random_graphs(void)
{
    int good = 0, rounds = 60;
    for (int round = 0; round < rounds; round++) {
        struct rng rng;
        rng_init(&rng, 1, (uint64_t)round);
        struct shop *s = shop_new(1 + rng_below(&rng, 15), 2 + rng_below(&rng, 40));
        shop_fill(s, rng_below(&rng, 80), &rng);
        struct graph g;
        if (graph_build(&s->d, &s->r, NULL, &g, NULL) == MEDLEY_OK) {
            double all[MAX][MAX] = {{0}};
            bool same = g.n_relations == SHOP_RELATIONS;
            for (int r = 0; r < SHOP_RELATIONS; r++) {
                double one[MAX][MAX] = {{0}};
                to_matrix(s, r, one);
                to_matrix(s, r, all);
                same &= csr_is(&g.relations[r], one);
                same &= strcmp(g.relation_names[r], s->items[r].name) == 0;
            }
            good += same && csr_is(&g.all, all);
            graph_free(&g);
        }
        free(s);
    }
    ok(good == rounds, "%d of %d random graphs agree with their matrices (seed 1)", good,
       rounds);
}

static void test_selection(void)
{
    struct shop *s = shop_new(3, 4);
    struct graph g;
    medley_error err;
    shop_link(s, 0, 0, 1, 1);
    shop_link(s, 1, 0, 1, 2);
    shop_link(s, 2, 1, 3, 5);
    const char *const two[] = {"co-listed", "listing", NULL};
    ok(graph_build(&s->d, &s->r, two, &g, &err) == MEDLEY_OK, "two of three relations");
    is_text(g.relation_names[0], "co-listed", "relations keep the order of the names");
    size_t e = csr_find(&g.all, 0, 4);
    ok(e != SIZE_MAX && g.all.weight[e] == 1.0f,
       "a relation left out adds nothing to the union");
    graph_free(&g);
    ok(graph_build(&s->d, &s->r, NULL, &g, &err) == MEDLEY_OK, "all relations");
    e = csr_find(&g.all, 4, 0);
    ok(e != SIZE_MAX && g.all.weight[e] == 3.0f, "weights of parallel edges add up");
    graph_free(&g);
    const char *const unknown[] = {"listing", "smells", NULL};
    ok(graph_build(&s->d, &s->r, unknown, &g, &err) == MEDLEY_EINVAL &&
           strstr(err.message, "smells"),
       "an unknown relation is refused by name: %s", err.message);
    const char *const twice[] = {"listing", "listing", NULL};
    ok(graph_build(&s->d, &s->r, twice, &g, &err) == MEDLEY_EINVAL, "twice: %s", err.message);
    free(s);
}

static void test_bad_relations(void)
{
    struct shop *s = shop_new(3, 4);
    struct graph g;
    medley_error err;
    shop_link(s, 0, 0, 1, 1);
    shop_link(s, 0, 2, 3, 1);
    s->target[0][1] = 4;
    ok(graph_build(&s->d, &s->r, NULL, &g, &err) == MEDLEY_EFORMAT, "range: %s", err.message);
    s->target[0][1] = 1;
    s->source[0][1] = 0;
    ok(graph_build(&s->d, &s->r, NULL, &g, &err) == MEDLEY_EFORMAT, "order: %s", err.message);
    s->source[0][1] = 2;
    s->weight[0][1] = NAN;
    ok(graph_build(&s->d, &s->r, NULL, &g, &err) == MEDLEY_EFORMAT, "weight: %s", err.message);
    s->weight[0][1] = 1;
    shop_link(s, 2, 2, 2, 1);
    ok(graph_build(&s->d, &s->r, NULL, &g, &err) == MEDLEY_EFORMAT, "self loop: %s",
       err.message);
    free(s);
}

static void test_no_memory(void)
{
    struct rng rng;
    rng_init(&rng, 2, 0);
    struct shop *s = shop_new(5, 9);
    shop_fill(s, 20, &rng);
    int failures = 0;
    for (size_t n = 0; n < 200; n++) {
        struct graph g;
        mem_fail_after(n);
        medley_status st = graph_build(&s->d, &s->r, NULL, &g, NULL);
        mem_fail_after(SIZE_MAX);
        if (st == MEDLEY_OK) {
            graph_free(&g);
            break;
        }
        failures += st == MEDLEY_ENOMEM;
        if (st != MEDLEY_ENOMEM)
            failures = -1000;
    }
    ok(failures > 5, "each of %d allocations may fail", failures);
    free(s);
}

/* ---- sampler ---- */

/* h_l(i) = h_{l-1}(i) / 2 + sum over j of c_ij h_{l-1}(j), on a graph as a matrix. */
static double recursion(double matrix[MAX][MAX], size_t n, const double *h0, bool degrees,
                        size_t i, unsigned hops)
{
    if (hops == 0)
        return h0[i];
    double sum = recursion(matrix, n, h0, degrees, i, hops - 1) / 2, di = 1;
    for (size_t j = 0; j < n; j++)
        di += matrix[i][j];
    for (size_t j = 0; j < n; j++) {
        if (matrix[i][j] <= 0)
            continue;
        double dj = 1;
        for (size_t k = 0; k < n; k++)
            dj += matrix[j][k];
        double c = degrees ? matrix[i][j] / sqrt(di * dj) : matrix[i][j];
        sum += c * recursion(matrix, n, h0, degrees, j, hops - 1);
    }
    return sum;
}

/* The same over the blocks of a sample; out[roots]. */
static void over_blocks(const struct sample *s, const double *h0, bool degrees, double *out)
{
    static double a[1 << 16], b[1 << 16];
    double *x = a, *y = b;
    for (size_t i = 0; i < s->n_leaves; i++)
        x[i] = h0[s->leaves[i]];
    for (unsigned h = 0; h < s->hops; h++) {
        const struct block *k = &s->blocks[h];
        for (size_t i = 0; i < k->n_targets; i++) {
            y[i] = x[k->self[i]] / 2;
            for (size_t e = k->offsets[i]; e < k->offsets[i + 1]; e++) {
                double c = (double)k->weight[e];
                if (degrees)
                    c /= sqrt((1 + (double)k->target_degree[i]) *
                              (1 + (double)k->source_degree[e]));
                y[i] += c * x[k->source[e]];
            }
        }
        double *swap = x;
        x = y;
        y = swap;
    }
    memcpy(out, x, s->blocks[s->hops - 1].n_targets * sizeof *out);
}

/* Every pair of the shop as one batch, some of them linked, some not. */
static void test_hiding(unsigned hops, bool degrees)
{
    enum { QUERIES = 4, PRODUCTS = 9, PAIRS = QUERIES * PRODUCTS, N = QUERIES + PRODUCTS };
    struct rng rng;
    rng_init(&rng, 3, hops);
    struct shop *s = shop_new(QUERIES, PRODUCTS);
    shop_fill(s, 7, &rng);
    struct graph g;
    struct sampler *sampler = sampler_new();
    struct sample sample;
    uint32_t query[PAIRS], product[PAIRS], root[2 * PAIRS], pair[2 * PAIRS];
    double h0[N], got[2 * PAIRS], all[MAX][MAX] = {{0}}, worst = 0;
    for (size_t i = 0; i < N; i++)
        h0[i] = rng_normal(&rng);
    for (uint32_t i = 0; i < PAIRS; i++) {
        root[i] = query[i] = i / PRODUCTS;
        root[PAIRS + i] = product[i] = QUERIES + i % PRODUCTS;
        pair[i] = pair[PAIRS + i] = i;
    }
    graph_build(&s->d, &s->r, NULL, &g, NULL);
    for (int r = 0; r < SHOP_RELATIONS; r++)
        to_matrix(s, r, all);
    struct graph_view view = {.base = &g.all};
    struct sample_request request = {.view = &view,
                                     .root = root,
                                     .pair = pair,
                                     .n = 2 * PAIRS,
                                     .query = query,
                                     .product = product,
                                     .n_pairs = PAIRS,
                                     .hops = hops,
                                     .fanout = 100,
                                     .degrees = degrees};
    ok(sampler_run(sampler, &request, &sample, NULL) == MEDLEY_OK, "sampled");
    over_blocks(&sample, h0, degrees, got);
    int linked = 0;
    for (size_t i = 0; i < PAIRS; i++) {
        double without[MAX][MAX];
        memcpy(without, all, sizeof without);
        linked += all[query[i]][product[i]] > 0;
        without[query[i]][product[i]] = without[product[i]][query[i]] = 0;
        double q = recursion(without, N, h0, degrees, query[i], hops);
        double p = recursion(without, N, h0, degrees, product[i], hops);
        worst = fmax(worst, fabs(q - got[i]) / (1 + fabs(q)));
        worst = fmax(worst, fabs(p - got[PAIRS + i]) / (1 + fabs(p)));
    }
    ok(worst < 1e-5 && linked > 5,
       "%u hops%s: %d linked pairs see the graph without their edge (worst %.1e, seed 3)", hops,
       degrees ? ", degrees" : "", linked, worst);
    if (hops == 2 && !degrees)
        ok(sample.blocks[1].n_sources <= 2 * PAIRS + N,
           "two hops: %zu rows, two of each pair's own and the shared rest",
           sample.blocks[1].n_sources);
    sampler_free(sampler);
    graph_free(&g);
    free(s);
}

/* A query with 30 products listed and 4 clicked, of which 2 are both. */
static void test_relation_fanout(void)
{
    enum { LISTED = 30, CLICKED = 4, ROUNDS = 2000 };
    struct shop *s = shop_new(1, LISTED + 2);
    struct graph g;
    struct sampler *sampler = sampler_new();
    unsigned limits[GRAPH_TYPED_RELATIONS] = {[0] = 3}, hops[2] = {6, 2};
    uint32_t root[1] = {0};
    double weight = 0;
    int wrong = 0, clicked = 0;
    for (uint32_t p = 0; p < LISTED; p++)
        shop_link(s, 0, 0, p, 1);
    for (uint32_t p = LISTED - 2; p < LISTED + 2; p++)
        shop_link(s, 1, 0, p, 1);
    graph_build(&s->d, &s->r, NULL, &g, NULL);
    struct graph_view view = {.base = &g.all};
    struct sample_request request = {.view = &view,
                                     .root = root,
                                     .n = 1,
                                     .hops = 1,
                                     .fanout = 100,
                                     .relation_fanout = limits,
                                     .relations = true};
    for (uint64_t seed = 0; seed < ROUNDS; seed++) {
        struct sample x;
        request.seed = seed;
        sampler_run(sampler, &request, &x, NULL);
        const struct block *b = &x.blocks[0];
        wrong += b->n_edges != 3 + 2;
        for (size_t e = 0; e < b->n_edges; e++) {
            weight += (double)b->weight[e] / ROUNDS;
            clicked += b->relations[e] == 2;
        }
    }
    ok(wrong == 0 && clicked == 2 * ROUNDS,
       "three of the listed, and the two that are clicked alone");
    ok(fabs(weight - (LISTED + CLICKED)) < 0.5, "weights stand for all 34 edges' sum: %.2f",
       weight);
    request.hop_fanout = hops;
    request.hops = 2;
    limits[0] = 0, limits[1] = 1;
    struct sample x;
    sampler_run(sampler, &request, &x, NULL);
    ok(x.blocks[1].n_edges == 6, "six at the first hop (%zu)", x.blocks[1].n_edges);
    bool two = true;
    for (size_t i = 0; i < x.blocks[0].n_targets; i++)
        two = two && x.blocks[0].offsets[i + 1] - x.blocks[0].offsets[i] <= 2;
    ok(two, "two at most at the second");
    sampler_free(sampler);
    graph_free(&g);
    free(s);
}

/* Neighbours of one query among 40, five taken. */
static void test_fanout(void)
{
    enum { PRODUCTS = 40, FANOUT = 5, ROUNDS = 4000 };
    struct shop *s = shop_new(2, PRODUCTS);
    for (uint32_t p = 0; p < PRODUCTS; p++)
        shop_link(s, 0, 0, p, 1);
    struct graph g, cut;
    graph_build(&s->d, &s->r, NULL, &g, NULL);
    shop_unlink(s, 0, 0, 7);
    graph_build(&s->d, &s->r, NULL, &cut, NULL);
    struct sampler *a = sampler_new(), *b = sampler_new();
    struct graph_view view = {.base = &g.all}, cut_view = {.base = &cut.all};
    uint32_t query = 0, product = 2 + 7, root[2] = {0, 1}, pair[2] = {0, NOBODY};
    struct sample_request request = {.view = &view,
                                     .root = root,
                                     .pair = pair,
                                     .n = 1,
                                     .query = &query,
                                     .product = &product,
                                     .n_pairs = 1,
                                     .hops = 1,
                                     .fanout = FANOUT};
    int taken[PRODUCTS] = {0}, wrong_count = 0, differ = 0;
    float scale = 0;
    for (uint64_t seed = 0; seed < ROUNDS; seed++) {
        struct sample x, y;
        struct sample_request other = request;
        request.seed = other.seed = seed;
        other.view = &cut_view;
        other.n = 2; /* a batch-mate must not matter */
        sampler_run(a, &request, &x, NULL);
        sampler_run(b, &other, &y, NULL);
        wrong_count += x.blocks[0].offsets[1] != FANOUT;
        for (size_t e = 0; e < FANOUT; e++) {
            uint32_t node = x.leaves[x.blocks[0].source[e]];
            taken[node - 2]++;
            differ += node != y.leaves[y.blocks[0].source[e]];
            scale = x.blocks[0].weight[e];
        }
    }
    int least = ROUNDS, most = 0;
    for (int p = 0; p < PRODUCTS; p++)
        if (p != 7) {
            least = taken[p] < least ? taken[p] : least;
            most = taken[p] > most ? taken[p] : most;
        }
    ok(wrong_count == 0, "exactly the fan-out is taken");
    ok(taken[7] == 0, "the pair's own product never");
    ok(differ == 0,
       "the same neighbours whether the hidden edge exists, whoever is in the batch");
    /* Binomial(4000, 5/39): mean 513, deviation 21; the bounds are 5 deviations. */
    ok(least > 407 && most < 619, "evenly: each neighbour %d to %d times of 513", least, most);
    ok(fabsf(scale - 39.0f / 5) < 1e-5f, "weights make up for the neighbours not taken");
    sampler_free(a);
    sampler_free(b);
    graph_free(&g);
    graph_free(&cut);
    free(s);
}

int main(void)
{
    test_random_graphs();
    test_selection();
    test_bad_relations();
    test_no_memory();
    for (unsigned hops = 1; hops <= GNN_MAX_HOPS; hops++)
        for (int degrees = 0; degrees < 2; degrees++)
            test_hiding(hops, degrees);
    test_relation_fanout();
    test_fanout();
    return tap_done();
}
