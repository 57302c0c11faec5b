/* test_link_refresh.c: stores made anew from an older one: after any change of the graph the
 * same bytes as a store made from nothing, with only what the change can reach computed; nodes
 * that were renumbered; float16. */
#include "tests/tap.h"

#include "base/memory.h"
#include "base/pool.h"
#include "gnn/link_store_file.h"
#include "tests/gnn_shop.h"

#include <math.h>
#include <unistd.h>

enum { WIDTH = 12, QUERIES = 40, PRODUCTS = 160, NODES = QUERIES + PRODUCTS, CLASSES = 3 };

static char folder[] = "/tmp/medley-refresh-XXXXXX";

struct world {
    struct shop *shop;
    struct graph g;
    float *features;          /* [NODES, WIDTH] */
    struct hash128 *identity; /* [NODES] */
    struct link_classifier *m;
};

static void connect_graph(struct world *w)
{
    graph_free(&w->g);
    if (graph_build(&w->shop->d, &w->shop->r, NULL, &w->g, NULL) != MEDLEY_OK)
        abort();
}

/* Sparse, so that there is something out of a change's reach. With a hub, query 0 lists 120
 * products: more than are read. */
static struct world *world_new(const char *layer, unsigned hops, bool hub, uint64_t seed)
{
    struct rng rng;
    struct world *w = calloc(1, sizeof *w);
    rng_init(&rng, seed, 0);
    w->shop = shop_new(QUERIES, PRODUCTS);
    shop_fill(w->shop, 40, &rng);
    for (uint32_t p = 0; hub && p < 120; p++)
        shop_link(w->shop, 0, 0, p, 1 + (float)p / 64);
    w->features = malloc(NODES * WIDTH * sizeof(float));
    w->identity = malloc(NODES * sizeof *w->identity);
    for (size_t i = 0; i < NODES * WIDTH; i++)
        w->features[i] = (float)rng_normal(&rng);
    /* twins: the same text, told apart by identity alone */
    memcpy(w->features + (QUERIES + 7) * WIDTH, w->features + (QUERIES + 9) * WIDTH,
           WIDTH * sizeof(float));
    for (uint64_t i = 0; i < NODES; i++)
        w->identity[i] = (struct hash128){i * 77 + 5, seed};
    connect_graph(w);
    struct gnn_options o = {
        .layer = layer, .hops = hops, .hidden = 16, .relations = SHOP_RELATIONS, .seed = seed};
    if (link_classifier_new(&o, WIDTH, CLASSES, &w->m, NULL) != MEDLEY_OK)
        abort();
    rng_init(&rng, seed, 1);
    for (size_t i = 0; i < w->m->params.total; i++)
        w->m->params.values[i] += 0.2f * (float)rng_normal(&rng);
    return w;
}

static void world_free(struct world *w)
{
    graph_free(&w->g);
    link_classifier_free(w->m);
    free(w->shop);
    free(w->features);
    free(w->identity);
    free(w);
}

static const char *path_of(const char *name)
{
    static char path[2][256];
    static int turn;
    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

static struct link_store *open_store(const char *name)
{
    struct link_store *s = NULL;
    medley_error err;
    if (link_store_open(path_of(name), &s, &err) != MEDLEY_OK) {
        printf("# %s\n", err.message);
        exit(1);
    }
    return s;
}

/* Every node but each `skip`-th; from `before` (a name) where it is given. */
static struct link_store_work write_store(const struct world *w, const char *name,
                                          const char *before, bool half, unsigned skip)
{
    uint32_t ids[PRODUCTS + QUERIES];
    struct link_store_plan plan = {.queries = ids + PRODUCTS, .products = ids};
    for (uint32_t i = 0; i < PRODUCTS; i++)
        if (i % skip != skip - 1)
            ids[plan.n_products++] = i;
    for (uint32_t i = 0; i < QUERIES; i++)
        if (i % skip != skip - 1)
            ids[PRODUCTS + plan.n_queries++] = i;
    struct link_store *old = before ? open_store(before) : NULL;
    struct link_store_job job = {.model = w->m,
                                 .graph = &w->g,
                                 .features = w->features,
                                 .plan = plan,
                                 .half = half,
                                 .made = 1700000000,
                                 .cutoff = 1690000000,
                                 .bundle = {1, 2},
                                 .identity = w->identity,
                                 .before = old};
    struct link_store_work work = {0};
    medley_error err;
    if (link_store_write(&job, path_of(name), &work, &err) != MEDLEY_OK) {
        printf("# %s\n", err.message);
        exit(1);
    }
    link_store_close(old);
    return work;
}

static bool same_files(const char *a, const char *b)
{
    char *data[2] = {NULL, NULL};
    size_t n[2];
    if (file_read(path_of(a), SIZE_MAX / 2, &data[0], &n[0], NULL) ||
        file_read(path_of(b), SIZE_MAX / 2, &data[1], &n[1], NULL))
        abort();
    bool same = n[0] == n[1] && memcmp(data[0], data[1], n[0]) == 0;
    mem_free(data[0]);
    mem_free(data[1]);
    return same;
}

static size_t made(const struct link_store_work *w)
{
    return w->queries.made + w->products.made + w->pairs.made;
}

static size_t copied(const struct link_store_work *w)
{
    return w->queries.copied + w->products.copied + w->pairs.copied;
}

/* ---- changes ---- */

static void change(struct world *w, unsigned what, struct rng *rng)
{
    uint32_t q = rng_below(rng, QUERIES), p = rng_below(rng, PRODUCTS),
             o = rng_below(rng, PRODUCTS);
    switch (what % 6) {
    case 0: /* an event */
        shop_link(w->shop, 1, q, p, 1);
        break;
    case 1: /* the weight of an edge, of the hub too */
        shop_link(w->shop, 0, w->shop->source[0][0], w->shop->target[0][0],
                  (float)rng_uniform(rng) + 0.5f);
        break;
    case 2: /* products listed together */
        if (p != o)
            shop_link(w->shop, 2, p < o ? p : o, p < o ? o : p, 0.5f);
        break;
    case 3: /* a text */
        w->features[(QUERIES + p) * WIDTH + 3] += 1;
        break;
    case 4: /* an edge less */
        shop_unlink(w->shop, 0, w->shop->source[0][5], w->shop->target[0][5]);
        break;
    default: /* one that the hub does not read, or does; and an edge that another relation has
              */
        shop_link(w->shop, 1, 0, p, 2);
        shop_link(w->shop, 0, w->shop->source[1][2], w->shop->target[1][2], 1);
    }
    connect_graph(w);
}

/* Refreshed again and again, against a store made from nothing each time. */
static void test_changes(const char *layer, unsigned hops, bool hub)
{
    struct world *w = world_new(layer, hops, hub, 3 + hops);
    struct rng rng;
    size_t differ = 0, did = 0, spared = 0;
    rng_init(&rng, 11, hops);
    write_store(w, "a", NULL, false, 7);
    struct link_store_work none = write_store(w, "b", "a", false, 7);
    ok(made(&none) == 0 && copied(&none) > 150 && same_files("a", "b"),
       "%s, %u hops%s: nothing changed: all %zu copied", layer, hops, hub ? ", hub" : "",
       copied(&none));
    for (unsigned i = 0; i < 18; i++) {
        change(w, i, &rng);
        struct link_store_work work = write_store(w, "a", "a", false, 7);
        write_store(w, "full", NULL, false, 7);
        differ += !same_files("a", "full");
        did += made(&work);
        spared += copied(&work);
    }
    ok(differ == 0 && did > 0 && spared > 0,
       "  18 changes: each time the bytes of a full store; %zu computed, %zu copied", did,
       spared);
    world_free(w);
}

/* An edge between two nodes reaches no further than the hops of the model. */
static void test_reach(void)
{
    struct world *w = world_new("sage", 1, false, 9);
    memset(w->shop->items, 0, sizeof w->shop->items);
    for (int r = 0; r < SHOP_RELATIONS; r++)
        w->shop->items[r] =
            (struct relation){(const char *[]){"listing", "clicks", "co"}[r],
                              r < 2 ? RELATION_QUERY_PRODUCT : RELATION_PRODUCT_PRODUCT,
                              0,
                              w->shop->source[r],
                              w->shop->target[r],
                              w->shop->weight[r]};
    for (uint32_t q = 0; q < QUERIES; q++) /* islands of a query and four products */
        for (uint32_t k = 0; k < 4; k++)
            shop_link(w->shop, 0, q, 4 * q + k, 1);
    connect_graph(w);
    write_store(w, "a", NULL, false, 1000);
    shop_link(w->shop, 1, 3, 12, 1); /* a click where there is a listing: the weight grows */
    connect_graph(w);
    struct link_store_work work = write_store(w, "a", "a", false, 1000);
    ok(work.queries.made == 1 && work.products.made == 1 && work.pairs.made == 4,
       "a click: its query, its product, the pairs of its query (%zu, %zu, %zu)",
       work.queries.made, work.products.made, work.pairs.made);
    w->features[(QUERIES + 40) * WIDTH] += 1;
    work = write_store(w, "a", "a", false, 1000);
    ok(work.queries.made == 1 && work.products.made == 1 && work.pairs.made == 4,
       "a text: the same of its own");
    w->m->params.values[3] += 1;
    work = write_store(w, "a", "a", false, 1000);
    ok(copied(&work) == 0, "another model: nothing is copied");
    world_free(w);
}

/* A larger graph: nodes that were there have other numbers and the same identity. */
static void test_renumbered(void)
{
    struct world *w = world_new("gatv2", 2, false, 4);
    write_store(w, "a", NULL, false, 1000);
    struct shop *more = shop_new(QUERIES + 1, PRODUCTS);
    for (int r = 0; r < SHOP_RELATIONS; r++)
        for (size_t e = 0; e < w->shop->items[r].n; e++)
            shop_link(more, r, w->shop->source[r][e] + (r < 2), w->shop->target[r][e],
                      w->shop->weight[r][e]);
    float *features = calloc((NODES + 1) * WIDTH, sizeof *features);
    struct hash128 *identity = calloc(NODES + 1, sizeof *identity);
    memcpy(features + WIDTH, w->features, NODES * WIDTH * sizeof *features);
    memcpy(identity + 1, w->identity, NODES * sizeof *identity);
    free(w->shop);
    free(w->features);
    free(w->identity);
    w->shop = more, w->features = features, w->identity = identity;
    connect_graph(w);
    struct link_store_work work = write_store(w, "a", "a", false, 1000);
    write_store(w, "full", NULL, false, 1000);
    ok(made(&work) == 1 && copied(&work) > 200 && same_files("a", "full"),
       "every query has another number: but the new one all %zu copied, the same bytes",
       copied(&work));
    world_free(w);
}

/* ---- float16 ---- */

static void test_half_numbers(void)
{
    size_t wrong = 0;
    for (uint32_t bits = 0; bits < 0x10000; bits++) {
        uint16_t h = (uint16_t)bits;
        float f;
        if ((h & 0x7c00) == 0x7c00)
            continue;
        half_to_floats(&h, 1, &f);
        int exponent = h >> 10 & 31;
        double wanted =
            exponent ? ldexp(1024 + (h & 1023), exponent - 25) : ldexp(h & 1023, -24);
        wrong += fabs((double)f) != wanted || (bool)signbit(f) != (bool)(h >> 15);
        wrong += half_of(f) != h;
    }
    ok(wrong == 0, "each float16 is read as what it is, and written back");
    const struct {
        float from;
        uint16_t to;
    } rounds[] = {{1 + 0x1p-11f, 0x3c00}, {1 + 0x1.8p-10f, 0x3c02},
                  {65519, 0x7bff},        {65520, 0x7c00},
                  {-1e30f, 0xfc00},       {0x1p-25f, 0},
                  {0x1.000002p-25f, 1},   {0x1.8p-24f, 2},
                  {INFINITY, 0x7c00},     {0x1.ffcp-15f + 0x1p-30f, 0x0400}};
    for (size_t i = 0; i < sizeof rounds / sizeof *rounds; i++)
        wrong += half_of(rounds[i].from) != rounds[i].to;
    ok(wrong == 0 && (half_of(NAN) & 0x7fff) > 0x7c00, "rounded to the nearest, ties to even");
}

static void answers(const struct world *w, const struct link_store *s, uint32_t query,
                    float *out)
{
    uint32_t product[PRODUCTS];
    for (uint32_t i = 0; i < PRODUCTS; i++)
        product[i] = i;
    struct link_request r = {.graph = &w->g,
                             .features = w->features,
                             .query = query,
                             .query_features = w->features + 3,
                             .product = product,
                             .n = PRODUCTS,
                             .store = s};
    if (link_classifier_answer(w->m, &r, out, NULL) != MEDLEY_OK)
        abort();
}

static void test_half(const char *layer)
{
    struct world *w = world_new(layer, 2, true, 5);
    struct link_store_work work;
    static float live[PRODUCTS * CLASSES], kept[PRODUCTS * CLASSES], whole[PRODUCTS * CLASSES];
    write_store(w, "a", NULL, false, 1000);
    write_store(w, "h", NULL, true, 1000);
    work = write_store(w, "h2", "a", true, 1000);
    ok(made(&work) == 0 && same_files("h", "h2"), "%s: float32 rows become float16 ones",
       layer);
    work = write_store(w, "h2", "h", true, 1000);
    ok(made(&work) == 0 && same_files("h", "h2"), "  float16 rows are copied");
    work = write_store(w, "b", "h", false, 1000);
    ok(copied(&work) == 0 && same_files("a", "b"), "  and do not become float32 ones");
    struct link_store *s = open_store("h"), *full = open_store("a");
    struct link_store_size size = link_store_size(s);
    ok(size.half && size.bytes < link_store_size(full).bytes && size.made == 1700000000 &&
           size.cutoff == 1690000000 && size.bundle.low == 1 && size.bundle.high == 2,
       "  %zu bytes instead of %zu, and what the header was given", size.bytes,
       link_store_size(full).bytes);
    double worst = 0;
    for (uint32_t q = 0; q < QUERIES; q++) {
        answers(w, NULL, q, live);
        answers(w, s, q, kept);
        for (size_t i = 0; i < PRODUCTS * CLASSES; i++)
            worst = fmax(worst, fabs((double)live[i] - (double)kept[i]));
    }
    ok(worst > 0 && worst < 5e-3, "  largest difference of a probability: %.2g", worst);
    answers(w, full, UINT32_MAX, whole);
    answers(w, s, UINT32_MAX, kept);
    worst = 0;
    for (size_t i = 0; i < PRODUCTS * CLASSES; i++)
        worst = fmax(worst, fabs((double)whole[i] - (double)kept[i]));
    ok(worst > 0 && worst < 5e-3, "  of a new query: %.2g", worst);
    link_store_close(s);
    link_store_close(full);
    world_free(w);
}

static void test_half_too_large(void)
{
    struct world *w = world_new("sage", 1, false, 5);
    param_id last = w->m->norm_weight[1];
    w->m->params.values[w->m->params.items[last].offset] = 1e9f;
    uint32_t ids[] = {1, 2};
    struct link_store_job job = {.model = w->m,
                                 .graph = &w->g,
                                 .features = w->features,
                                 .plan = {ids, ids, 2, 2},
                                 .half = true};
    medley_error err = {0};
    ok(link_store_write(&job, path_of("x"), NULL, &err) == MEDLEY_EINVAL &&
           !file_exists(path_of("x")),
       "a value beyond float16 is refused: %s", err.message);
    world_free(w);
}

static void test_no_memory(void)
{
    struct world *w = world_new("gcn", 2, true, 6);
    size_t failed = 0, bad = 0;
    medley_status st = MEDLEY_ENOMEM;
    uint32_t ids[] = {0, 1, 2, 3, 4, 5};
    write_store(w, "a", NULL, false, 3);
    write_store(w, "b", NULL, false, 3);
    shop_link(w->shop, 1, 2, 3, 1);
    connect_graph(w);
    struct link_store *old = open_store("a");
    struct link_store_job job = {.model = w->m,
                                 .graph = &w->g,
                                 .features = w->features,
                                 .plan = {ids, ids, 6, 6},
                                 .identity = w->identity,
                                 .before = old};
    pool_set_threads(1);
    for (size_t i = 0; st != MEDLEY_OK && i < 2000; i++) {
        mem_fail_after(i);
        st = link_store_write(&job, path_of("a"), NULL, NULL);
        mem_fail_after(SIZE_MAX);
        failed += st != MEDLEY_OK;
        bad += st != MEDLEY_OK && (st != MEDLEY_ENOMEM || !same_files("a", "b"));
    }
    ok(st == MEDLEY_OK && failed > 10 && bad == 0,
       "a refresh fails cleanly at each of %zu allocations, the old file stays", failed);
    link_store_close(old);
    world_free(w);
}

int main(void)
{
    if (!mkdtemp(folder))
        return 1;
    for (const struct layer_ops *const *l = layer_table; *l; l++)
        for (unsigned hops = 1; hops <= 3; hops++)
            test_changes((*l)->name, hops, hops != 2);
    test_changes("gcn", 2, true);
    test_changes("sage", 2, true);
    test_reach();
    test_renumbered();
    test_half_numbers();
    test_half("sage");
    test_half("gatv2");
    test_half_too_large();
    test_no_memory();
    remove_tree(folder, NULL);
    return tap_done();
}
