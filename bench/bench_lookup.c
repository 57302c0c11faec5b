/* bench_lookup.c: what embeddings made ahead save on a stream of requests, one thread. Rows
 * `name,medley,peer,peer_version,ratio` on stdout, the peer being Medley's own live path;
 * the table of hit shares on stderr.
 *
 * The shop: queries and products whose popularity falls as rank^-0.8, 2 hops of sage. A request
 * is a query, drawn by Zipf(1.0), with 20 products: half of its list, half by popularity. */
#include "base/memory.h"
#include "base/pool.h"
#include "base/rng.h"
#include "gnn/link_store.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    QUERIES = 4000,
    PRODUCTS = 16000,
    EDGES = 80000,
    WIDTH = 128,
    CLASSES = 4,
    LIST = 20,
    REQUESTS = 500,
    ROUNDS = 3
};

struct request {
    uint32_t query, product[LIST];
};

struct subject {
    struct dataset data;
    struct graph graph;
    float *features; /* [nodes, WIDTH] */
    struct link_classifier *model;
    struct request requests[REQUESTS];
    double query_rank[QUERIES]; /* cumulated Zipf(1.0) shares; query i is i-th in popularity */
};

static void need(medley_status st, const char *what, const medley_error *err)
{
    if (!st)
        return;
    fprintf(stderr, "%s: %s\n", what, err->message);
    exit(1);
}

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

/* ---- the shop ---- */

static uint32_t popular(struct rng *rng, uint32_t n)
{
    uint32_t rank = (uint32_t)(pow(rng_uniform(rng), 1 / (1 - 0.8)) * n);
    return rank < n ? rank : n - 1;
}

static int by_edge(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void make_graph(struct subject *s, struct rng *rng)
{
    uint64_t *edge = mem_alloc(EDGES, sizeof *edge);
    uint32_t *source = mem_alloc(EDGES, sizeof *source),
             *target = mem_alloc(EDGES, sizeof *target);
    float *weight = mem_alloc(EDGES, sizeof *weight);
    size_t n = 0;
    for (size_t i = 0; i < EDGES; i++)
        edge[i] = (uint64_t)popular(rng, QUERIES) << 32 | popular(rng, PRODUCTS);
    qsort(edge, EDGES, sizeof *edge, by_edge);
    for (size_t i = 0; i < EDGES; i++) {
        if (i && edge[i] == edge[i - 1]) {
            weight[n - 1] += 1;
            continue;
        }
        source[n] = (uint32_t)(edge[i] >> 32);
        target[n] = (uint32_t)edge[i];
        weight[n++] = 1;
    }
    struct relation listing = {"clicks", RELATION_QUERY_PRODUCT, n, source, target, weight};
    struct relations all = {.count = 1, .items = &listing};
    medley_error err;
    s->data.n_queries = QUERIES;
    s->data.n_products = PRODUCTS;
    need(graph_build(&s->data, &all, NULL, &s->graph, &err), "graph", &err);
    mem_free(edge);
    mem_free(source);
    mem_free(target);
    mem_free(weight);
}

static uint32_t zipf_query(const struct subject *s, struct rng *rng)
{
    double u = rng_uniform(rng) * s->query_rank[QUERIES - 1];
    uint32_t low = 0, high = QUERIES - 1;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (s->query_rank[middle] < u)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void make_requests(struct subject *s, struct rng *rng)
{
    double sum = 0;
    for (size_t i = 0; i < QUERIES; i++)
        s->query_rank[i] = sum += 1 / (double)(i + 1);
    for (size_t i = 0; i < REQUESTS; i++) {
        struct request *r = &s->requests[i];
        r->query = zipf_query(s, rng);
        const struct csr *all = &s->graph.all;
        uint64_t from = all->offsets[r->query], listed = all->offsets[r->query + 1] - from;
        for (size_t k = 0; k < LIST; k++)
            r->product[k] = k < LIST / 2 && k < listed ? all->target[from + k] - QUERIES
                                                       : popular(rng, PRODUCTS);
    }
}

static struct subject *subject_new(void)
{
    struct subject *s = mem_zalloc(1, sizeof *s);
    struct gnn_options o = {.layer = "sage", .hops = 2, .hidden = 64, .relations = 1};
    struct rng rng;
    medley_error err;
    rng_init(&rng, 1, 0);
    s->features = mem_alloc((size_t)(QUERIES + PRODUCTS) * WIDTH, sizeof(float));
    for (size_t i = 0; i < (size_t)(QUERIES + PRODUCTS) * WIDTH; i++)
        s->features[i] = (float)rng_normal(&rng);
    make_graph(s, &rng);
    make_requests(s, &rng);
    need(link_classifier_new(&o, WIDTH, CLASSES, &s->model, &err), "model", &err);
    return s;
}

/* ---- stores of the most popular nodes: those of the lowest numbers ---- */

static struct link_store *make_store(const struct subject *s, double share, bool half)
{
    char path[] = "/tmp/medley-lookup-XXXXXX";
    uint32_t *ids = mem_alloc(PRODUCTS, sizeof *ids);
    struct link_store *out = NULL;
    medley_error err;
    for (uint32_t i = 0; i < PRODUCTS; i++)
        ids[i] = i;
    struct link_store_job job = {
        .model = s->model,
        .graph = &s->graph,
        .features = s->features,
        .half = half,
        .plan = {ids, ids, (size_t)(share * QUERIES), (size_t)(share * PRODUCTS)}};
    int file = mkstemp(path);
    if (file >= 0)
        close(file);
    pool_set_threads(0);
    need(link_store_write(&job, path, NULL, &err), "store", &err);
    pool_set_threads(1);
    need(link_store_open(path, &out, &err), path, &err);
    unlink(path); /* it stays mapped */
    mem_free(ids);
    return out;
}

/* ---- timing ---- */

struct latency {
    double mean, p50, p99; /* us a request */
    double hits;           /* share of pairs */
};

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

enum what { ONE_PAIR, LISTS, NEW_QUERIES };

/* One round over all requests; each keeps its least time over the rounds so far. */
static void time_round(const struct subject *s, const struct link_store *store, enum what what,
                       double least[REQUESTS], size_t *hits)
{
    medley_error err;
    size_t n = what == ONE_PAIR ? 1 : LIST;
    *hits = 0;
    for (size_t i = 0; i < REQUESTS; i++) {
        const struct request *q = &s->requests[i];
        float out[LIST * CLASSES];
        uint8_t used[LIST] = {0};
        struct link_request r = {.graph = &s->graph,
                                 .features = s->features,
                                 .query = what == NEW_QUERIES ? UINT32_MAX : q->query,
                                 .query_features = s->features + i * WIDTH,
                                 .product = q->product + (n == 1 ? i % LIST : 0),
                                 .n = n,
                                 .store = store,
                                 .stored = used};
        double from = now_us();
        need(link_classifier_answer(s->model, &r, out, &err), "answer", &err);
        least[i] = fmin(least[i], now_us() - from);
        for (size_t k = 0; k < n; k++)
            *hits += used[k];
    }
}

static struct latency summary(double us[REQUESTS], size_t hits, size_t n)
{
    struct latency l = {.hits = (double)hits / (double)(REQUESTS * n)};
    for (size_t i = 0; i < REQUESTS; i++)
        l.mean += us[i] / REQUESTS;
    qsort(us, REQUESTS, sizeof *us, by_value);
    l.p50 = us[REQUESTS / 2];
    l.p99 = us[REQUESTS * 99 / 100];
    return l;
}

/* The live path and the store take turns. */
static void compare(const struct subject *s, const struct link_store *store, enum what what,
                    struct latency *live, struct latency *stored)
{
    double least[2][REQUESTS];
    size_t hits[2], n = what == ONE_PAIR ? 1 : LIST;
    for (size_t i = 0; i < REQUESTS; i++)
        least[0][i] = least[1][i] = INFINITY;
    for (int round = 0; round < ROUNDS; round++)
        for (int which = 0; which < 2; which++)
            time_round(s, which ? store : NULL, what, least[which], &hits[which]);
    *live = summary(least[0], hits[0], n);
    *stored = summary(least[1], hits[1], n);
}

static void row(const char *name, double ours, double live)
{
    printf("lookup_%s,%.3g,%.3g,live path,%.2f\n", name, ours, live, live / ours);
    fflush(stdout);
}

/* A pair of stored nodes; a new query with 20 stored products. */
static void pairs(const struct subject *s, bool half)
{
    struct link_store *store = make_store(s, 1, half);
    struct latency live, kept;
    compare(s, store, ONE_PAIR, &live, &kept);
    row(half ? "pair_p50_us_float16" : "pair_p50_us", kept.p50, live.p50);
    row(half ? "pair_p99_us_float16" : "pair_p99_us", kept.p99, live.p99);
    compare(s, store, NEW_QUERIES, &live, &kept);
    row(half ? "new_query_20_p50_us_float16" : "new_query_20_p50_us", kept.p50, live.p50);
    link_store_close(store);
}

static void stream(const struct subject *s)
{
    static const double shares[] = {0, .01, .05, .1, .25, .5, 1};
    fprintf(stderr, "# Zipf(1.0) over %d queries, lists of %d, us a request on one thread\n",
            QUERIES, LIST);
    fprintf(stderr, "# share made ahead   pairs from the store      p50      p99     mean\n");
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
        struct link_store *store = shares[i] > 0 ? make_store(s, shares[i], false) : NULL;
        struct latency live, kept;
        char name[64];
        compare(s, store, LISTS, &live, &kept);
        fprintf(stderr, "# %15.0f%%   %19.1f%% %8.1f %8.1f %8.1f\n", 100 * shares[i],
                100 * kept.hits, kept.p50, kept.p99, kept.mean);
        snprintf(name, sizeof name, "zipf_%.0fpct_mean_us", 100 * shares[i]);
        row(name, kept.mean, live.mean);
        link_store_close(store);
    }
}

int main(void)
{
    pool_set_threads(1);
    struct subject *s = subject_new();
    pairs(s, false);
    pairs(s, true);
    stream(s);
    link_classifier_free(s->model);
    graph_free(&s->graph);
    mem_free(s->features);
    mem_free(s);
    return 0;
}
