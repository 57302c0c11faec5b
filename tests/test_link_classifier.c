/* test_link_classifier.c: what a graph model's predictions may and may not see, files, and that
 * serving agrees with prediction. Training: test_link_train.c. */
#include "tests/tap.h"

#include "base/file.h"
#include "base/memory.h"
#include "nn/tape.h"
#include "tests/link_world.h"

/* ---- options and arguments ---- */

static void test_refusals(void)
{
    struct link_classifier *m = NULL;
    medley_error err;
    const struct gnn_options bad[] = {
        {.layer = "gin"}, {.jumping = "first"}, {.hops = 5},           {.heads = 3},
        {.dropout = 1},   {.hidden = 100000},   {.learning_rate = -1}, {.training = "some"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        medley_status st = link_classifier_new(&bad[i], WIDTH, 4, &m, &err);
        ok(st == MEDLEY_EINVAL, "options %zu: %s", i, err.message);
    }
    struct world *w = random_world(5, 9, 2, 1);
    struct link_data d = data_of(w);
    float p[64];
    m = model_new(&(struct gnn_options){.hidden = 16}, 3);
    w->product[3] = 9;
    ok(link_classifier_predict(m, &d, NULL, p, &err) == MEDLEY_EINVAL, "pair: %s", err.message);
    w->product[3] = 1;
    w->label[4] = 3;
    ok(link_classifier_train(m, &d, NULL, NULL, &err) == MEDLEY_EINVAL, "label: %s",
       err.message);
    w->label[4] = 1;
    w->features[40] = INFINITY;
    ok(link_classifier_train(m, &d, NULL, NULL, &err) == MEDLEY_EINVAL, "feature: %s",
       err.message);
    link_classifier_free(m);
    world_free(w);
}

/* ---- what a prediction may not see ---- */

static void test_own_edge_bits(const char *layer, unsigned hops, const char *jumping)
{
    struct world *w = random_world(12, 30, 6, 2);
    struct gnn_options o = {.layer = layer,
                            .hops = hops,
                            .hidden = 16,
                            .heads = 2,
                            .jumping = jumping,
                            .epochs = 1};
    struct link_classifier *m = model_new(&o, 3);
    ok(train_first(m, w, w->n) == MEDLEY_OK, "%s, %u hops: trained", layer, hops);
    struct link_data d = data_of(w);
    float *with = predict(m, w, 3), alone[3];
    size_t same = 0, same_alone = 0, others = 0;
    for (size_t i = 0; i < w->n; i++) {
        shop_unlink(w->shop, 0, w->query[i], w->product[i]);
        world_build(w);
        d = data_of(w);
        float *without = predict(m, w, 3);
        same += memcmp(with + 3 * i, without + 3 * i, sizeof alone) == 0;
        others += memcmp(with, without, w->n * sizeof alone) != 0;
        d.query += i;
        d.product += i;
        d.n = 1;
        link_classifier_predict(m, &d, NULL, alone, NULL);
        same_alone += memcmp(with + 3 * i, alone, sizeof alone) == 0;
        free(without);
        shop_link(w->shop, 0, w->query[i], w->product[i], 1);
    }
    ok(same == w->n, "%s, %u hops: %zu of %zu pairs have the same bits without their own edge",
       layer, hops, same, w->n);
    ok(same_alone == w->n, "... and when asked alone (%zu)", same_alone);
    ok(others == w->n, "... while other pairs of the query notice (%zu)", others);
    free(with);
    link_classifier_free(m);
    world_free(w);
}

static void test_labels_stay_out(const char *layer)
{
    struct world *w = random_world(15, 40, 5, 3);
    struct link_classifier *m =
        model_new(&(struct gnn_options){.layer = layer, .hidden = 16}, 3);
    float *before = predict(m, w, 3);
    struct rng rng;
    rng_init(&rng, 4, 0);
    for (size_t i = w->n; i-- > 1;) {
        size_t j = rng_below(&rng, (uint32_t)i + 1);
        uint8_t swap = w->label[i];
        w->label[i] = w->label[j];
        w->label[j] = swap;
    }
    w->shop->d.example_label = w->label;
    w->shop->d.n_examples = w->n;
    struct graph old = w->g;
    w->g = (struct graph){0};
    world_build(w);
    uint64_t edges = old.all.offsets[old.n_nodes];
    ok(memcmp(old.all.offsets, w->g.all.offsets, (old.n_nodes + 1) * sizeof *old.all.offsets) ==
               0 &&
           memcmp(old.all.target, w->g.all.target, edges * sizeof *old.all.target) == 0 &&
           memcmp(old.all.weight, w->g.all.weight, edges * sizeof *old.all.weight) == 0,
       "%s: permuted labels leave the graph as it was", layer);
    float *after = predict(m, w, 3);
    ok(memcmp(before, after, w->n * 3 * sizeof *after) == 0, "... and every prediction");
    graph_free(&old);
    free(before), free(after);
    link_classifier_free(m);
    world_free(w);
}

/* ---- match features ---- */

static double cosine_of(const double *a, const double *b)
{
    double ab = 0, aa = 0, bb = 0;
    for (size_t k = 0; k < WIDTH; k++) {
        ab += a[k] * b[k];
        aa += a[k] * a[k];
        bb += b[k] * b[k];
    }
    return aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : 0;
}

/* Features of unit root mean square, as doubles. */
static void unit_row(const struct world *w, size_t node, double *out)
{
    double sum = 0;
    for (size_t k = 0; k < WIDTH; k++)
        sum += pow((double)w->features[node * WIDTH + k], 2);
    for (size_t k = 0; k < WIDTH; k++)
        out[k] = (double)w->features[node * WIDTH + k] * sqrt(WIDTH / sum);
}

/* Mean unit row and weighted degree of the neighbours of `node` but for `hidden`. */
static double around(const struct world *w, uint32_t node, uint32_t hidden, double *mean)
{
    const struct csr *c = &w->g.all;
    double degree = 0, n = 0, x[WIDTH];
    memset(mean, 0, WIDTH * sizeof *mean);
    for (uint64_t e = c->offsets[node]; e < c->offsets[node + 1]; e++) {
        if (c->target[e] == hidden)
            continue;
        unit_row(w, c->target[e], x);
        for (size_t k = 0; k < WIDTH; k++)
            mean[k] += x[k];
        n++;
        degree += (double)c->weight[e];
    }
    for (size_t k = 0; k < WIDTH && n > 0; k++)
        mean[k] /= n;
    return degree;
}

static void naive_match(const struct world *w, uint32_t q, uint32_t p, double *out)
{
    const struct csr *c = &w->g.all;
    double xq[WIDTH], xp[WIDTH], mq[WIDTH], mp[WIDTH], x[WIDTH], mean = 0, better = 0, n = 0;
    unit_row(w, q, xq);
    unit_row(w, p, xp);
    double own = cosine_of(xq, xp);
    for (uint64_t e = c->offsets[q]; e < c->offsets[q + 1]; e++) {
        if (c->target[e] == p)
            continue;
        unit_row(w, c->target[e], x);
        double other = cosine_of(xq, x);
        mean += other;
        better += other > own;
        n++;
    }
    if (n > 0) {
        mean /= n;
        better /= n;
    }
    double degree_q = around(w, q, p, mq), degree_p = around(w, p, q, mp);
    double all[MATCH_COLUMNS] = {3 * own,
                                 3 * mean,
                                 n > 0 ? 3 * (own - mean) : 0,
                                 n > 0 ? 3 * (0.5 - better) : 0,
                                 3 * cosine_of(mq, xp),
                                 3 * cosine_of(xq, mp),
                                 3 * cosine_of(mq, mp),
                                 log1p(degree_q),
                                 log1p(degree_p)};
    memcpy(out, all, sizeof all);
}

static void test_match(unsigned hops)
{
    enum { QUERIES = 8, N = 32 };
    struct world *w = random_world(QUERIES, 20, 4, 14);
    struct gnn_options o = {.hops = hops, .hidden = 8};
    struct link_classifier *m = model_new(&o, 3);
    struct sampler *s = sampler_new();
    struct tape t;
    struct graph_view view = {.base = &w->g.all};
    struct feature_source f = {
        .stored = w->features, .n_stored = w->g.n_nodes, .n_queries = QUERIES, .width = WIDTH};
    uint32_t root[2 * N], pair[2 * N];
    for (uint32_t i = 0; i < N; i++) {
        root[i] = w->query[i];
        root[N + i] = QUERIES + w->product[i];
        pair[i] = pair[N + i] = i;
    }
    struct sample_request r = {.view = &view,
                               .root = root,
                               .pair = pair,
                               .n = 2 * N,
                               .query = root,
                               .product = root + N,
                               .n_pairs = N,
                               .hops = hops,
                               .fanout = WHOLE};
    medley_status st = MEDLEY_OK;
    tape_init(&t, &m->params, NULL);
    tape_reset(&t, false, 0);
    struct encoding *e = link_encode(m, &t, s, &r, &f, &st, NULL);
    float got[N * MATCH_COLUMNS], scratch[2 * WIDTH + WHOLE];
    double worst = 0, wanted[MATCH_COLUMNS];
    match_features(e, WIDTH, N, scratch, got);
    for (uint32_t i = 0; i < N; i++) {
        naive_match(w, root[i], root[N + i], wanted);
        for (size_t k = 0; k < MATCH_COLUMNS; k++)
            worst = fmax(worst, fabs(wanted[k] - (double)got[i * MATCH_COLUMNS + k]));
    }
    ok(worst < 1e-5, "%u hops: match features as by definition (%.1e, seed 14)", hops, worst);
    tape_deinit(&t);
    sampler_free(s);
    link_classifier_free(m);
    world_free(w);
}

/* ---- files ---- */

static void test_files(const char *layer, const char *jumping)
{
    const char *folder = tap_folder();
    struct world *w = random_world(10, 20, 4, 10);
    struct gnn_options o = {.layer = layer,
                            .hidden = 16,
                            .heads = 2,
                            .jumping = jumping,
                            .epochs = 3,
                            .dropout = -1,
                            .batch = 16,
                            .seed = UINT64_MAX};
    struct link_classifier *m = model_new(&o, 3), *back = NULL;
    medley_error err;
    train_first(m, w, w->n);
    ok(link_classifier_save(m, folder, &err) == MEDLEY_OK, "%s: saved", layer);
    ok(link_classifier_load(folder, &back, &err) == MEDLEY_OK, "%s: loaded", layer);
    ok(link_classifier_memory(back) == link_classifier_memory(m) &&
           link_classifier_width(back) == 16,
       "%s: same size", layer);
    float *a = predict(m, w, 3), *b = predict(back, w, 3);
    ok(memcmp(a, b, w->n * 3 * sizeof *a) == 0, "%s: predicts the same bits", layer);
    /* Training it further must be the same too: settings are kept. */
    train_first(m, w, w->n);
    train_first(back, w, w->n);
    float *c = predict(m, w, 3), *d = predict(back, w, 3);
    ok(memcmp(c, d, w->n * 3 * sizeof *c) == 0 && memcmp(a, c, w->n * 3 * sizeof *c) != 0,
       "%s: learns on in the same way", layer);
    free(a), free(b), free(c), free(d);
    link_classifier_free(m);
    link_classifier_free(back);
    world_free(w);
    remove_tree(folder, NULL);
}

/* Every cut and many bit flips of both files: an error or a model that predicts numbers. */
static void test_damaged_files(void)
{
    const char *folder = tap_folder();
    struct world *w = random_world(3, 6, 2, 10);
    struct link_classifier *m = model_new(&(struct gnn_options){.hidden = 4}, 3);
    static const char *const files[] = {"config.json", "model.safetensors"};
    link_classifier_save(m, folder, NULL);
    struct rng rng;
    rng_init(&rng, 11, 0);
    for (int f = 0; f < 2; f++) {
        char *path = path_join(folder, files[f]), *text = NULL;
        size_t n = 0, refused = 0, cuts = 0, crashes = 0;
        file_read(path, 1 << 20, &text, &n, NULL);
        for (size_t round = 0; round < 300; round++) {
            bool cut = round < 100;
            size_t at = rng_below(&rng, (uint32_t)n);
            char old = text[at];
            text[at] = (char)(old ^ (1 << rng_below(&rng, 8)));
            file_write(path, text, cut ? at : n, NULL);
            text[at] = old;
            struct link_classifier *back = NULL;
            medley_error err = {0};
            medley_status st = link_classifier_load(folder, &back, &err);
            crashes += st != MEDLEY_OK && (back || !err.message[0]);
            refused += cut && st != MEDLEY_OK;
            cuts += cut;
            link_classifier_free(back);
        }
        file_write(path, text, n, NULL);
        /* The last byte of config.json is a newline that nothing needs. */
        ok(refused + 4 >= cuts && crashes == 0, "%s: %zu of %zu cuts refused (seed 11)",
           files[f], refused, cuts);
        mem_free(text);
        mem_free(path);
    }
    link_classifier_free(m);
    world_free(w);
    remove_tree(folder, NULL);
}

/* ---- serving ---- */

static double worst_gap(const float *a, const float *b, size_t n)
{
    double worst = 0;
    for (size_t i = 0; i < n; i++)
        worst = fmax(worst, fabs((double)a[i] - (double)b[i]));
    return worst;
}

/* The pairs of one query, from the list of all. */
static struct link_request request_of(const struct world *w, uint32_t query, uint32_t *product,
                                      const float *all, float *wanted)
{
    struct link_request r = {
        .graph = &w->g, .features = w->features, .query = query, .product = product};
    for (size_t i = 0; i < w->n; i++)
        if (w->query[i] == query) {
            memcpy(wanted + 3 * r.n, all + 3 * i, 3 * sizeof *wanted);
            product[r.n++] = w->product[i];
        }
    return r;
}

static void test_answer(const char *layer)
{
    enum { QUERIES = 20, PRODUCTS = 60 };
    struct world *w = random_world(QUERIES, PRODUCTS, 6, 12);
    struct gnn_options o = {.layer = layer, .hidden = 16, .epochs = 2};
    struct link_classifier *m = model_new(&o, 3);
    train_first(m, w, w->n);
    float *all = predict(m, w, 3), wanted[64 * 3], got[64 * 3];
    uint32_t product[64];
    double worst = 0, worst_new = 0, worst_fresh = 0;
    for (uint32_t q = 0; q < QUERIES; q++) {
        struct link_request r = request_of(w, q, product, all, wanted);
        link_classifier_answer(m, &r, got, NULL);
        worst = fmax(worst, worst_gap(got, wanted, 3 * r.n));
    }
    ok(worst < 1e-6, "%s: a stored query is answered as predicted (%.1e)", layer, worst);

    /* The last query is taken out of the graph and comes back as a new one; then its last
     * candidate, which nothing else points to, comes as a new product too. */
    uint32_t last = QUERIES - 1, alone = PRODUCTS - 1;
    for (uint32_t p = 0; p < PRODUCTS; p++) {
        shop_unlink(w->shop, 2, p, alone);
        for (uint32_t q = 0; q < QUERIES; q++)
            shop_unlink(w->shop, 0, q, alone);
    }
    size_t kept = 0;
    for (size_t i = 0; i < w->n; i++)
        if (w->product[i] != alone) {
            w->query[kept] = w->query[i];
            w->product[kept++] = w->product[i];
        }
    w->n = kept;
    shop_link(w->shop, 0, last, alone, 1);
    add_pair(w, last, alone, 0);
    world_build(w);
    free(all);
    all = predict(m, w, 3);
    struct link_request r = request_of(w, last, product, all, wanted);
    for (uint32_t p = 0; p < PRODUCTS; p++)
        shop_unlink(w->shop, 0, last, p);
    world_build(w);
    r.query = UINT32_MAX;
    r.query_features = w->features + last * WIDTH;
    medley_error err = {0};
    ok(link_classifier_answer(m, &r, got, &err) == MEDLEY_OK, "%s: new query %s", layer,
       err.message);
    worst_new = worst_gap(got, wanted, 3 * r.n);
    ok(worst_new < 1e-5, "%s: a new query with its candidates, as if it were stored (%.1e)",
       layer, worst_new);
    float fresh[64 * WIDTH];
    r.product_features = fresh;
    memcpy(fresh + (r.n - 1) * WIDTH, w->features + (QUERIES + alone) * WIDTH,
           sizeof(float) * WIDTH);
    product[r.n - 1] = UINT32_MAX;
    link_classifier_answer(m, &r, got, NULL);
    worst_fresh = worst_gap(got, wanted, 3 * r.n);
    ok(worst_fresh < 1e-5, "%s: a new product too (%.1e)", layer, worst_fresh);
    r.product_features = NULL;
    ok(link_classifier_answer(m, &r, got, &err) == MEDLEY_EINVAL, "refused: %s", err.message);
    free(all);
    link_classifier_free(m);
    world_free(w);
}

static void test_embed(void)
{
    struct world *w = random_world(20, 60, 6, 13);
    struct link_classifier *m = model_new(&(struct gnn_options){.hidden = 16}, 3);
    uint32_t nodes[80];
    float all[80 * 16], one[16], moved[80 * 16];
    for (uint32_t i = 0; i < 80; i++)
        nodes[i] = i;
    ok(link_classifier_embed(m, &w->g, w->features, nodes, 80, all, NULL) == MEDLEY_OK,
       "embedded");
    size_t same = 0, changed = 0;
    for (uint32_t i = 0; i < 80; i++) {
        link_classifier_embed(m, &w->g, w->features, nodes + i, 1, one, NULL);
        same += memcmp(one, all + 16 * i, sizeof one) == 0;
    }
    ok(same == 80, "each node alone has the same bits (%zu)", same);
    w->features[20 * WIDTH] +=
        1; /* product 0: its own embedding and those within two hops change */
    link_classifier_embed(m, &w->g, w->features, nodes, 80, moved, NULL);
    for (uint32_t i = 0; i < 80; i++)
        changed += memcmp(moved + 16 * i, all + 16 * i, sizeof one) != 0;
    ok(memcmp(moved + 16 * 20, all + 16 * 20, sizeof one) != 0 && changed > 1 && changed < 80,
       "a changed product reaches its neighbourhood (%zu nodes) and no further", changed);
    medley_error err;
    nodes[0] = 80;
    ok(link_classifier_embed(m, &w->g, w->features, nodes, 80, all, &err) == MEDLEY_EINVAL,
       "%s", err.message);
    link_classifier_free(m);
    world_free(w);
}

int main(void)
{
    test_refusals();
    for (const struct layer_ops *const *l = layer_table; *l; l++) {
        for (unsigned hops = 1; hops <= 3; hops++)
            test_own_edge_bits((*l)->name, hops, NULL);
        test_labels_stay_out((*l)->name);
        test_files((*l)->name, NULL);
        test_answer((*l)->name);
    }
    for (unsigned hops = 1; hops <= 3; hops++) {
        test_own_edge_bits("gcn", hops, "cat");
        test_own_edge_bits("sage", hops, "max");
    }
    test_files("sage", "cat");
    test_files("gatv2", "max");
    for (unsigned hops = 1; hops <= 3; hops++)
        test_match(hops);
    test_damaged_files();
    test_embed();
    return tap_done();
}
