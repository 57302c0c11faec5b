/* test_link_store.c: precomputed embeddings: the same bits as the live path wherever they are
 * used, the live path wherever they are not; files that are damaged, contradict themselves or
 * belong to another model; killed writers. */
#include "tests/tap.h"

#include "base/memory.h"
#include "base/pool.h"
#include "gnn/link_store_file.h"
#include "tests/gnn_shop.h"

#include <math.h>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WIDTH = 20, QUERIES = 14, PRODUCTS = 90, CLASSES = 3, NEW = 2 };

static char folder[] = "/tmp/medley-store-XXXXXX";

struct world {
    struct shop *shop;
    struct graph g;
    float *features, *fresh; /* [nodes, WIDTH]; [1 + PRODUCTS, WIDTH] of new ones */
};

/* Query 0 lists every product: more than the 64 neighbours that are read. */
static struct world *world_new(uint64_t seed)
{
    struct rng rng;
    struct world *w = calloc(1, sizeof *w);
    rng_init(&rng, seed, 0);
    w->shop = shop_new(QUERIES, PRODUCTS);
    shop_fill(w->shop, 60, &rng);
    for (uint32_t p = 0; p + 1 < PRODUCTS; p++)
        shop_link(w->shop, 0, 0, p, 1);
    w->features = malloc((QUERIES + PRODUCTS) * WIDTH * sizeof(float));
    w->fresh = malloc((1 + PRODUCTS) * WIDTH * sizeof(float));
    for (size_t i = 0; i < (QUERIES + PRODUCTS) * WIDTH; i++)
        w->features[i] = (float)rng_normal(&rng);
    for (size_t i = 0; i < (1 + PRODUCTS) * WIDTH; i++)
        w->fresh[i] = (float)rng_normal(&rng);
    memset(w->features + 3 * WIDTH, 0, WIDTH * sizeof(float)); /* an empty text */
    if (graph_build(&w->shop->d, &w->shop->r, NULL, &w->g, NULL) != MEDLEY_OK)
        abort();
    return w;
}

static void world_free(struct world *w)
{
    graph_free(&w->g);
    free(w->shop);
    free(w->features);
    free(w->fresh);
    free(w);
}

/* With noise in every parameter: a head that starts at zero would hide what it is given. */
static struct link_classifier *model_new(const char *layer, unsigned hops, uint64_t seed)
{
    struct link_classifier *m = NULL;
    struct gnn_options o = {
        .layer = layer, .hops = hops, .hidden = 16, .relations = SHOP_RELATIONS, .seed = seed};
    struct rng rng;
    if (link_classifier_new(&o, WIDTH, CLASSES, &m, NULL) != MEDLEY_OK)
        abort();
    rng_init(&rng, seed, 1);
    for (size_t i = 0; i < m->params.count; i++) {
        const struct param *p = &m->params.items[i];
        for (size_t k = 0; k < p->rows * p->cols; k++)
            m->params.values[p->offset + k] += 0.2f * (float)rng_normal(&rng);
    }
    return m;
}

/* Every step-th query and product. */
static struct link_store_plan plan_of(unsigned step, uint32_t ids[PRODUCTS])
{
    for (uint32_t i = 0; i < PRODUCTS; i++)
        ids[i] = i * step;
    return (struct link_store_plan){ids, ids, (QUERIES + step - 1) / step,
                                    (PRODUCTS + step - 1) / step};
}

static struct link_store_job job_of(const struct link_classifier *m, const struct world *w,
                                    struct link_store_plan plan)
{
    return (struct link_store_job){.model = m,
                                   .graph = &w->g,
                                   .features = w->features,
                                   .plan = plan,
                                   .made = 1700000000,
                                   .cutoff = 1690000000};
}

static medley_status write_store(const struct link_classifier *m, const struct world *w,
                                 const struct link_store_plan *plan, const char *path,
                                 medley_error *err)
{
    struct link_store_job job = job_of(m, w, *plan);
    return link_store_write(&job, path, NULL, err);
}

static const char *path_of(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static struct link_store *store_of(const struct link_classifier *m, const struct world *w,
                                   unsigned step)
{
    struct link_store *s = NULL;
    medley_error err = {0};
    uint32_t ids[PRODUCTS];
    struct link_store_plan plan = plan_of(step, ids);
    const char *path = path_of("store");
    if (write_store(m, w, &plan, path, &err) != MEDLEY_OK ||
        link_store_open(path, &s, &err) != MEDLEY_OK ||
        link_store_check(s, m, &w->g, w->features, &err) != MEDLEY_OK) {
        printf("# %s\n", err.message);
        exit(1);
    }
    return s;
}

/* All products for one query (UINT32_MAX: new); those in `fresh` brought as new ones. */
static void answer_all(const struct link_classifier *m, const struct world *w, uint32_t query,
                       unsigned fresh_every, const struct link_store *store, uint8_t *stored,
                       float *out)
{
    uint32_t product[PRODUCTS];
    for (uint32_t i = 0; i < PRODUCTS; i++)
        product[i] = fresh_every && i % fresh_every == 1 ? UINT32_MAX : i;
    struct link_request r = {.graph = &w->g,
                             .features = w->features,
                             .query = query,
                             .query_features = w->fresh,
                             .product = product,
                             .product_features = w->fresh + WIDTH,
                             .n = PRODUCTS,
                             .store = store,
                             .stored = stored};
    medley_error err = {0};
    if (link_classifier_answer(m, &r, out, &err) != MEDLEY_OK) {
        printf("# %s\n", err.message);
        exit(1);
    }
}

/* ---- the same answers ---- */

static void test_same(const char *layer, unsigned hops, unsigned step, unsigned fresh_every)
{
    struct world *w = world_new(5);
    struct link_classifier *m = model_new(layer, hops, 7);
    struct link_store *s = store_of(m, w, step);
    size_t differ = 0, wrong_use = 0, edges = 0, others = 0;
    for (uint32_t q = 0; q <= QUERIES; q++) {
        uint32_t query = q < QUERIES ? q : UINT32_MAX;
        float live[PRODUCTS * CLASSES], kept[PRODUCTS * CLASSES];
        uint8_t stored[PRODUCTS];
        if (query == UINT32_MAX && step == 1 && !fresh_every)
            continue; /* from the store, and not the same: test_new_query */
        memset(stored, 7, sizeof stored);
        answer_all(m, w, query, fresh_every, NULL, NULL, live);
        answer_all(m, w, query, fresh_every, s, stored, kept);
        differ += memcmp(live, kept, sizeof live) != 0;
        for (uint32_t p = 0; p < PRODUCTS; p++) {
            bool is_new = fresh_every && p % fresh_every == 1;
            bool wanted = q < QUERIES && q % step == 0 && p % step == 0 && !is_new;
            wrong_use += stored[p] != wanted;
            bool edge = q < QUERIES && csr_find(&w->g.all, q, QUERIES + p) != SIZE_MAX;
            edges += wanted && edge;
            others += wanted && !edge;
        }
    }
    ok(differ == 0,
       "%s, %u hops, each %u. stored: the bits of the live path (%zu edges, %zu not)", layer,
       hops, step, edges, others);
    ok(wrong_use == 0 && edges && others,
       "%s, %u hops: used where query and product are stored", layer, hops);
    link_store_close(s);
    link_classifier_free(m);
    world_free(w);
}

/* A new query whose candidates are all stored. With one hop nothing of a candidate depends on
 * who else looks at it, unless its degree counts; with more the stored rows do not know the new
 * query. */
static void test_new_query(const struct layer_ops *layer, unsigned hops)
{
    struct world *w = world_new(5);
    struct link_classifier *m = model_new(layer->name, hops, 7);
    struct link_store *s = store_of(m, w, 1);
    float live[PRODUCTS * CLASSES], kept[PRODUCTS * CLASSES];
    uint8_t stored[PRODUCTS];
    size_t used = 0;
    double distance = 0;
    answer_all(m, w, UINT32_MAX, 0, NULL, NULL, live);
    answer_all(m, w, UINT32_MAX, 0, s, stored, kept);
    for (size_t i = 0; i < PRODUCTS; i++)
        used += stored[i];
    for (size_t i = 0; i < PRODUCTS * CLASSES; i++)
        distance += fabs((double)live[i] - (double)kept[i]) / (2.0 * PRODUCTS);
    ok(used == PRODUCTS && (hops > 1 || layer->degrees || distance == 0) && distance < 0.2,
       "%s, %u hops: a new query over stored rows, total variation %.4f", layer->name, hops,
       distance);
    /* a short list, one product twice */
    uint32_t product[] = {4, 60, 4, 9, 33};
    struct link_request r = {.graph = &w->g,
                             .features = w->features,
                             .query = UINT32_MAX,
                             .query_features = w->fresh,
                             .product = product,
                             .n = 5};
    float few[2][5 * CLASSES];
    medley_status st = link_classifier_answer(m, &r, few[0], NULL);
    r.store = s;
    st = st ? st : link_classifier_answer(m, &r, few[1], NULL);
    distance = 0;
    for (size_t i = 0; i < 5 * CLASSES; i++)
        distance += fabs((double)few[0][i] - (double)few[1][i]) / 10;
    ok(st == MEDLEY_OK && (hops > 1 || layer->degrees || distance == 0) && distance < 0.2 &&
           memcmp(few[1], few[1] + 2 * CLASSES, CLASSES * sizeof(float)) == 0,
       "  five candidates, one twice: %.4f", distance);
    link_store_close(s);
    link_classifier_free(m);
    world_free(w);
}

static uint8_t *bytes_of(const char *path, size_t *n)
{
    char *data = NULL;
    if (file_read(path, SIZE_MAX / 2, &data, n, NULL) != MEDLEY_OK)
        abort();
    return (uint8_t *)data;
}

static void test_threads_do_not_matter(void)
{
    struct world *w = world_new(5);
    struct link_classifier *m = model_new("gatv2", 2, 7);
    size_t n[2];
    uint8_t *data[2];
    for (unsigned i = 0; i < 2; i++) {
        pool_set_threads(i ? 3 : 1);
        link_store_close(store_of(m, w, 1));
        data[i] = bytes_of(path_of("store"), &n[i]);
    }
    ok(n[0] == n[1] && memcmp(data[0], data[1], n[0]) == 0, "1 or 3 threads: the same file");
    mem_free(data[0]);
    mem_free(data[1]);
    link_classifier_free(m);
    world_free(w);
}

/* ---- bad files ---- */

/* Parses a 64-byte aligned copy. */
static medley_status parse(const uint8_t *data, size_t n, medley_error *err)
{
    struct link_store *s = NULL;
    uint8_t *copy = mem_alloc64(n + 1, 1);
    memcpy(copy, data, n);
    medley_status st = link_store_parse((struct mapping){copy, n}, "x", &s, err);
    link_store_close(s);
    mem_free(copy);
    return st;
}

/* Makes the checksums right again. */
static void seal(uint8_t *data, size_t n)
{
    struct link_store_header h;
    memcpy(&h, data, sizeof h);
    h.payload = link_store_hash(data + sizeof h, n - sizeof h);
    h.header = link_store_hash_header(&h);
    memcpy(data, &h, sizeof h);
}

static void test_damaged(void)
{
    struct world *w = world_new(6);
    struct link_classifier *m = model_new("sage", 2, 7);
    link_store_close(store_of(m, w, 3));
    size_t n, taken = 0, tried = 0;
    uint8_t *data = bytes_of(path_of("store"), &n);
    medley_error err = {0};
    ok(parse(data, n, &err) == MEDLEY_OK, "the file as written is taken");
    for (size_t cut = 0; cut < n; cut += cut < 400 ? 1 : 97)
        taken += parse(data, cut, &err) == MEDLEY_OK;
    ok(taken == 0, "cut short: %s", err.message);
    for (size_t at = 0; at < n; at += at < 1200 ? 1 : 61, tried++) {
        data[at] ^= (uint8_t)(1u << at % 8);
        taken += parse(data, n, &err) == MEDLEY_OK;
        data[at] ^= (uint8_t)(1u << at % 8);
    }
    ok(taken == 0, "one bit flipped at %zu places: %s", tried, err.message);
    mem_free(data);
    link_classifier_free(m);
    world_free(w);
}

/* Right checksums, wrong contents: each change of one value must be found. */
static void test_contradictions(void)
{
    struct world *w = world_new(6);
    struct link_classifier *m = model_new("sage", 2, 7);
    link_store_close(store_of(m, w, 3));
    size_t n;
    uint8_t *data = bytes_of(path_of("store"), &n);
    struct link_store_header h;
    struct link_store_layout l;
    memcpy(&h, data, sizeof h);
    link_store_layout(&h, &l);
    const uint64_t huge = UINT64_MAX;
    const float nan_value = NAN, many = 65, half = 1.5f, two = 2;
    const uint32_t far = PRODUCTS, zero = 0;
    const struct {
        const char *what;
        size_t at;
        const void *value;
        size_t size;
    } changes[] = {
        {"hidden", offsetof(struct link_store_header, hidden), &far, 4},
        {"no hidden", offsetof(struct link_store_header, hidden), &zero, 4},
        {"queries", offsetof(struct link_store_header, queries), &huge, 8},
        {"products", offsetof(struct link_store_header, products), &huge, 8},
        {"pairs", offsetof(struct link_store_header, pairs), &huge, 8},
        {"the size", offsetof(struct link_store_header, file_bytes), &huge, 8},
        {"a query id out of order", l.query_ids + 4, &zero, 4},
        {"a product id out of range", l.product_ids + 4 * (h.products - 1), &far, 4},
        {"pair offsets that do not begin at 0", l.pair_offsets, &huge, 8},
        {"pair offsets out of range", l.pair_offsets + 8, &huge, 8},
        {"pairs out of order", l.pair_product + 4, &zero, 4},
        {"a probability of 2", l.pair, &two, 4},
        {"a probability that is no number", l.pair, &nan_value, 4},
        {"a row that is no number", l.product_rows, &nan_value, 4},
        {"65 neighbours", l.query_rows + 4 * row_others(h.hidden, h.width), &many, 4},
        {"one and a half neighbours", l.query_rows + 4 * row_others(h.hidden, h.width), &half,
         4},
    };
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        medley_error err = {0};
        uint8_t *bad = malloc(n);
        memcpy(bad, data, n);
        memcpy(bad + changes[i].at, changes[i].value, changes[i].size);
        seal(bad, n);
        ok(parse(bad, n, &err) == MEDLEY_EFORMAT, "%s: %s", changes[i].what, err.message);
        free(bad);
    }
    mem_free(data);
    link_classifier_free(m);
    world_free(w);
}

static void test_other_model(void)
{
    struct world *w = world_new(6), *other = world_new(8);
    struct link_classifier *m = model_new("gcn", 2, 7), *again = model_new("gcn", 2, 8),
                           *deeper = model_new("gcn", 3, 7);
    struct link_store *s = store_of(m, w, 2);
    medley_error err = {0};
    ok(link_store_check(s, again, &w->g, w->features, &err) == MEDLEY_EFORMAT,
       "other parameters: %s", err.message);
    ok(link_store_check(s, deeper, &w->g, w->features, NULL) == MEDLEY_EFORMAT,
       "another depth");
    ok(link_store_check(s, m, &other->g, w->features, NULL) == MEDLEY_EFORMAT, "another graph");
    w->features[WIDTH] += 1;
    ok(link_store_check(s, m, &w->g, w->features, NULL) == MEDLEY_EFORMAT, "other features");
    uint32_t ids[2] = {4, 4};
    struct link_store_plan plan = {ids, ids, 2, 1};
    ok(write_store(m, w, &plan, path_of("x"), &err) == MEDLEY_EINVAL &&
           !file_exists(path_of("x")),
       "a node twice: %s", err.message);
    link_store_close(s);
    link_classifier_free(m);
    link_classifier_free(again);
    link_classifier_free(deeper);
    world_free(w);
    world_free(other);
}

static void test_empty(void)
{
    struct world *w = world_new(6);
    struct link_classifier *m = model_new("sage", 1, 7);
    struct link_store_plan plan = {0};
    struct link_store *s = NULL;
    float live[PRODUCTS * CLASSES], kept[PRODUCTS * CLASSES];
    ok(!write_store(m, w, &plan, path_of("none"), NULL) &&
           !link_store_open(path_of("none"), &s, NULL),
       "a store of nothing");
    answer_all(m, w, 1, 0, NULL, NULL, live);
    answer_all(m, w, 1, 0, s, NULL, kept);
    ok(memcmp(live, kept, sizeof live) == 0, "answers nothing");
    link_store_close(s);
    link_classifier_free(m);
    world_free(w);
}

/* ---- faults ---- */

static void test_no_memory(void)
{
    struct world *w = world_new(6);
    struct link_classifier *m = model_new("sage", 2, 7);
    uint32_t ids[PRODUCTS];
    struct link_store_plan plan = plan_of(4, ids);
    const char *path = path_of("store");
    link_store_close(store_of(m, w, 3));
    size_t n = 0, after = 0, failed = 0, bad = 0;
    uint8_t *before = bytes_of(path, &n);
    medley_status st = MEDLEY_ENOMEM;
    for (size_t i = 0; st != MEDLEY_OK && i < 2000; i++) {
        mem_fail_after(i);
        st = write_store(m, w, &plan, path, NULL);
        mem_fail_after(SIZE_MAX);
        failed += st != MEDLEY_OK;
        uint8_t *now = bytes_of(path, &after);
        bad += st != MEDLEY_OK && (st != MEDLEY_ENOMEM || after != n || memcmp(before, now, n));
        mem_free(now);
    }
    ok(st == MEDLEY_OK && failed > 5 && bad == 0,
       "writing fails cleanly at each of %zu allocations, the old file stays", failed);
    mem_free(before);
    st = MEDLEY_ENOMEM;
    struct link_store *s = NULL;
    for (size_t i = 0; st != MEDLEY_OK && i < 100; i++) {
        mem_fail_after(i);
        st = link_store_open(path, &s, NULL);
        mem_fail_after(SIZE_MAX);
    }
    ok(st == MEDLEY_OK, "opening too");
    float whole[PRODUCTS * CLASSES], out[PRODUCTS * CLASSES];
    answer_all(m, w, 4, 0, s, NULL, whole);
    uint32_t product[PRODUCTS];
    for (uint32_t i = 0; i < PRODUCTS; i++)
        product[i] = i;
    struct link_request r = {.graph = &w->g,
                             .features = w->features,
                             .query = 4,
                             .query_features = w->fresh,
                             .product = product,
                             .n = PRODUCTS,
                             .store = s};
    st = MEDLEY_ENOMEM;
    failed = 0;
    for (size_t i = 0; st == MEDLEY_ENOMEM && i < 1000; i++) {
        mem_fail_after(i);
        st = link_classifier_answer(m, &r, out, NULL);
        mem_fail_after(SIZE_MAX);
        failed += st != MEDLEY_OK;
    }
    ok(st == MEDLEY_OK && failed > 3 && memcmp(whole, out, sizeof out) == 0,
       "answering fails cleanly at each of %zu allocations", failed);
    link_store_close(s);
    link_classifier_free(m);
    world_free(w);
}

/* A writer killed at any time leaves a whole file: the old one or the new one. */
static void test_killed(void)
{
    struct world *w = world_new(6);
    struct link_classifier *m = model_new("sage", 2, 7);
    uint32_t ids[PRODUCTS];
    link_store_close(store_of(m, w, 1));
    char path[256];
    snprintf(path, sizeof path, "%s", path_of("store"));
    pool_set_threads(1); /* threads do not survive a fork */
    size_t bad = 0;
    enum { TIMES = 25 };
    for (unsigned i = 0; i < TIMES; i++) {
        pid_t child = fork();
        if (child == 0) {
            for (unsigned step = 1;; step = step % 3 + 1) {
                struct link_store_plan plan = plan_of(step, ids);
                if (write_store(m, w, &plan, path, NULL) != MEDLEY_OK)
                    _exit(1);
            }
        }
        usleep(1000 + 1700 * i);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        struct link_store *s = NULL;
        bad += link_store_open(path, &s, NULL) != MEDLEY_OK ||
               link_store_check(s, m, &w->g, w->features, NULL) != MEDLEY_OK;
        link_store_close(s);
    }
    ok(bad == 0, "a writer killed %d times leaves whole files", TIMES);
    link_classifier_free(m);
    world_free(w);
}

int main(void)
{
    if (!mkdtemp(folder))
        return 1;
    test_no_memory();
    for (const struct layer_ops *const *l = layer_table; *l; l++) {
        for (unsigned hops = 1; hops <= 3; hops++)
            test_same((*l)->name, hops, 1 + hops % 2, 0);
        test_same((*l)->name, 2, 2, 5);
        for (unsigned hops = 1; hops <= 3; hops++)
            test_new_query(*l, hops);
    }
    test_threads_do_not_matter();
    test_damaged();
    test_contradictions();
    test_other_model();
    test_empty();
    test_killed();
    remove_tree(folder, NULL);
    return tap_done();
}
