/* test_link_train.c: training a link classifier, over samples and over the whole graph: what it
 * learns, what it may not learn from, interruptions, and running out of memory. */
#include "tests/tap.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/pool.h"
#include "base/progress.h"
#include "tests/link_world.h"

/* An edge stands exactly where the label is 1, labels and features are coin flips: whoever sees
 * the own edge is right, whoever does not can only guess. With `shadows` the same fact is told
 * by an edge to a double of the product, which nothing hides: the control that the fact can be
 * learned. */
static double leak_accuracy(const char *layer, const char *training, bool shadows)
{
    enum { QUERIES = 400, PRODUCTS = 40, EACH = 4 };
    struct rng rng;
    rng_init(&rng, 5, 0);
    struct world *w = world_new(QUERIES, 2 * PRODUCTS, &rng);
    float *products = w->features + QUERIES * WIDTH;
    memcpy(products + PRODUCTS * WIDTH, products, PRODUCTS * WIDTH * sizeof *products);
    for (uint32_t q = 0; q < QUERIES; q++) {
        uint32_t first = rng_below(&rng, PRODUCTS);
        for (uint32_t i = 0; i < EACH; i++) {
            uint32_t p = (first + i * 5) % PRODUCTS;
            unsigned label = rng_below(&rng, 2);
            if (label)
                shop_link(w->shop, 0, q, shadows ? PRODUCTS + p : p, 1);
            add_pair(w, q, p, label);
        }
    }
    world_build(w);
    struct gnn_options o = {.layer = layer,
                            .hidden = 32,
                            .hops = 1,
                            .epochs = 20,
                            .batch = 64,
                            .learning_rate = 4e-3,
                            .dropout = -1,
                            .training = training};
    struct link_classifier *m = model_new(&o, 2);
    size_t cut = w->n * 3 / 4;
    if (train_first(m, w, cut) != MEDLEY_OK)
        exit(1);
    float *p = predict(m, w, 2);
    double result = accuracy(p, w, 2, cut, w->n);
    free(p);
    link_classifier_free(m);
    world_free(w);
    return result;
}

static void test_leak(const char *training)
{
    for (const struct layer_ops *const *l = layer_table; *l; l++) {
        double a = leak_accuracy((*l)->name, training, false);
        /* 400 held-out pairs: deviation 0.025 around one half; the bounds are 4 deviations. */
        ok(a > 0.40 && a < 0.60,
           "%s, %s: an edge that tells the label does not help (%.2f, seed 5)", (*l)->name,
           training, a);
    }
    double control = leak_accuracy("sage", training, true);
    ok(control > 0.70, "%s: control: the same fact in the open is learned (%.2f)", training,
       control);
}

/* ---- training ---- */

/* Labels follow from the text match and from a neighbour: 1 when co-listed with the query's
 * first product, else 2 when features agree. */
static void test_learns(const char *training)
{
    struct rng rng;
    rng_init(&rng, 6, 0);
    struct world *w = world_new(150, 300, &rng);
    for (uint32_t q = 0; q < 150; q++)
        for (uint32_t i = 0; i < 6; i++) {
            uint32_t p = rng_below(&rng, 300);
            unsigned label = rng_below(&rng, 2);
            shop_link(w->shop, 0, q, p, 1);
            if (label)
                for (size_t k = 0; k < WIDTH; k++)
                    w->features[(150 + p) * WIDTH + k] += w->features[q * WIDTH + k];
            add_pair(w, q, p, label);
        }
    world_build(w);
    for (const struct layer_ops *const *l = layer_table; *l; l++) {
        struct gnn_options o = {.layer = (*l)->name,
                                .hidden = 32,
                                .epochs = 12,
                                .batch = 64,
                                .learning_rate = 3e-3,
                                .training = training};
        struct link_classifier *m = model_new(&o, 2);
        train_first(m, w, 720);
        float *p = predict(m, w, 2);
        double a = accuracy(p, w, 2, 720, w->n);
        ok(a > 0.75, "%s, %s: learns a text match on new queries (%.2f, seed 6)", (*l)->name,
           training, a);
        free(p);
        link_classifier_free(m);
    }
    world_free(w);
}

/* Asks for an interruption after a number of steps. */
static void interrupt_at(void *context, const char *task, uint64_t done, uint64_t total,
                         const char *unit)
{
    (void)task, (void)total, (void)unit;
    if (done == *(const uint64_t *)context)
        interrupt_request();
}

static void test_resume(const char *layer, const char *training, unsigned patience)
{
    const char *folder = tap_folder();
    char checkpoint[128], log[128];
    snprintf(checkpoint, sizeof checkpoint, "%s/checkpoint", folder);
    snprintf(log, sizeof log, "%s/log.jsonl", folder);
    struct world *w = random_world(40, 80, 5, 7);
    struct gnn_options o = {.layer = layer,
                            .hidden = 16,
                            .epochs = 4,
                            .batch = 32,
                            .patience = patience,
                            .fanout = 4,
                            .seed = 9,
                            .training = training};
    struct link_classifier *whole = model_new(&o, 3), *parts = model_new(&o, 3);
    struct link_data d = data_of(w);
    pool_set_threads(1);
    ok(link_classifier_train(whole, &d, NULL, NULL, NULL) == MEDLEY_OK, "%s, %s: trained",
       layer, training);
    pool_set_threads(2);
    int stops = 0;
    medley_status st = MEDLEY_EINTERRUPTED;
    for (uint64_t at = 3; st == MEDLEY_EINTERRUPTED && stops < 20; at += 5, stops++) {
        struct progress_sink sink = {.step = interrupt_at, .context = &at};
        if (stops) { /* a new process: the model starts from its beginning */
            link_classifier_free(parts);
            parts = model_new(&o, 3);
        }
        progress_install(&sink);
        st = link_classifier_train(parts, &d, checkpoint, log, NULL);
        interrupt_clear();
    }
    progress_install(NULL);
    pool_set_threads(0);
    /* Early stopping may leave little to interrupt. */
    ok(st == MEDLEY_OK && stops > (patience ? 1 : 3), "finished after %d interruptions",
       stops - 1);
    float *a = predict(whole, w, 3), *b = predict(parts, w, 3);
    ok(memcmp(a, b, w->n * 3 * sizeof *a) == 0,
       "... with the bits of a run on one thread at once");
    ok(!file_exists(checkpoint), "... and without a checkpoint left");
    char *text = NULL;
    size_t n = 0, lines = 0;
    if (file_read(log, 1 << 20, &text, &n, NULL) == MEDLEY_OK)
        for (size_t i = 0; i < n; i++)
            lines += text[i] == '\n';
    ok(lines >= 1 && lines <= 4 && (patience || lines == 4), "%zu lines of log", lines);
    mem_free(text);
    free(a), free(b);
    link_classifier_free(whole);
    link_classifier_free(parts);
    world_free(w);
    remove_tree(folder, NULL);
}

static void test_foreign_checkpoint(void)
{
    const char *folder = tap_folder();
    char path[128];
    snprintf(path, sizeof path, "%s/checkpoint", folder);
    struct world *w = random_world(20, 30, 4, 8);
    struct gnn_options o = {.hidden = 16, .epochs = 2, .batch = 32};
    struct link_classifier *a = model_new(&o, 3), *b = model_new(&o, 3);
    struct link_data d = data_of(w);
    file_write(path, "not a checkpoint", 16, NULL);
    link_classifier_train(a, &d, NULL, NULL, NULL);
    ok(link_classifier_train(b, &d, path, NULL, NULL) == MEDLEY_OK,
       "damaged checkpoint: ignored");
    float *x = predict(a, w, 3), *y = predict(b, w, 3);
    ok(memcmp(x, y, w->n * 3 * sizeof *x) == 0, "... and without effect");
    free(x), free(y);
    link_classifier_free(a);
    link_classifier_free(b);
    world_free(w);
    remove_tree(folder, NULL);
}

/* The n-th allocation fails, for n = 0, 1, ... until all succeed: an error, never a crash. */
static int failing_runs(struct world *w, struct link_classifier *m, int which)
{
    struct link_data d = data_of(w);
    uint32_t product[2] = {1, UINT32_MAX};
    float p[64 * 3];
    struct link_request r = {.graph = &w->g,
                             .features = w->features,
                             .query = UINT32_MAX,
                             .query_features = w->features,
                             .product = product,
                             .product_features = w->features,
                             .n = 2};
    for (size_t n = 0; n < 2000; n++) {
        mem_fail_after(n);
        medley_status st = which == 0   ? link_classifier_train(m, &d, NULL, NULL, NULL)
                           : which == 1 ? link_classifier_predict(m, &d, NULL, p, NULL)
                                        : link_classifier_answer(m, &r, p, NULL);
        mem_fail_after(SIZE_MAX);
        if (st != MEDLEY_ENOMEM)
            return st == MEDLEY_OK ? (int)n : -1;
    }
    return -1;
}

static void test_no_memory(const char *layer, const char *training)
{
    struct world *w = random_world(4, 8, 3, 15);
    struct gnn_options o = {.layer = layer, .hidden = 8, .epochs = 1, .training = training};
    struct link_classifier *m = model_new(&o, 3);
    static const char *const names[] = {"train", "predict", "answer"};
    printf("# %s, %s\n", layer, training);
    for (int which = 0; which < (strcmp(training, "full") ? 3 : 1); which++) {
        int n = failing_runs(w, m, which);
        ok(n > 3, "%s: each of %d allocations may fail", names[which], n);
    }
    link_classifier_free(m);
    world_free(w);
}

int main(void)
{
    static const char *const trainings[] = {"sampled", "full"};
    for (size_t i = 0; i < 2; i++) {
        test_no_memory("gatv2", trainings[i]);
        for (const struct layer_ops *const *l = layer_table; *l; l++)
            test_resume((*l)->name, trainings[i], 0);
        test_resume("sage", trainings[i], 1);
        test_leak(trainings[i]);
        test_learns(trainings[i]);
    }
    test_no_memory("rgcn", "full");
    test_foreign_checkpoint();
    return tap_done();
}
