/* lm_shop.h: a small synthetic shop and tiny language models, for tests. */
#ifndef TESTS_LM_SHOP_H
#define TESTS_LM_SHOP_H

#include "tests/data_help.h"

#include "base/pool.h"
#include "base/progress.h"
#include "data/import.h"
#include "data/synth.h"
#include "lm/cross_encoder_model.h"

static const char *folder;
static struct dataset shop;
static uint32_t *rows; /* every example of the shop */

static const struct lm_options tiny = {.hidden = 32,
                                       .heads = 2,
                                       .layers = 1,
                                       .intermediate = 64,
                                       .vocabulary = 700,
                                       .max_tokens = 40,
                                       .fields = "query,title,brand,color",
                                       .epochs = 2,
                                       .batch = 16,
                                       .learning_rate = 3e-3,
                                       .seed = 11};

__attribute__((unused)) static void make_shop(void)
{
    struct synth_options o = {
        .products = 240, .queries = 60, .sessions = 1, .judged = 10, .seed = 3};
    static const char *const names[] = {"examples.csv", "products.csv", "product_metadata.csv"};
    char paths[3][256];
    medley_error err;
    for (int i = 0; i < 3; i++)
        snprintf(paths[i], sizeof paths[i], "%s/shop/%s", folder, names[i]);
    struct import_options in = {
        .examples = paths[0], .products = paths[1], .metadata = paths[2]};
    if (synth_write(at(folder, "shop"), &o, &err) ||
        dataset_import(&in, at(folder, "data"), &err) ||
        dataset_open(at(folder, "data"), &shop, &err)) {
        printf("Bail out! %s\n", err.message);
        exit(1);
    }
    rows = mem_alloc(shop.n_examples, sizeof *rows);
    for (uint32_t i = 0; i < shop.n_examples; i++)
        rows[i] = i;
}

__attribute__((unused)) static struct cross_encoder *new_model(const struct lm_options *o)
{
    struct cross_encoder *m = NULL;
    medley_error err;
    if (cross_encoder_new(o, &shop, &m, &err)) {
        printf("Bail out! %s\n", err.message);
        exit(1);
    }
    return m;
}

__attribute__((unused)) static struct cross_encoder *trained(const struct lm_options *o,
                                                             size_t n)
{
    struct cross_encoder *m = new_model(o);
    medley_error err;
    if (cross_encoder_train(m, &shop, rows, n, NULL, NULL, &err)) {
        printf("Bail out! %s\n", err.message);
        exit(1);
    }
    return m;
}

__attribute__((unused)) static struct pair_text *pairs_of_shop(void)
{
    struct pair_text *pairs = mem_alloc(shop.n_examples, sizeof *pairs);
    for (size_t i = 0; i < shop.n_examples; i++)
        pairs[i] = dataset_pair(&shop, shop.example_query[i], shop.example_product[i]);
    return pairs;
}

/* probabilities[n * n_classes] of the shop's first n examples; the caller frees. */
__attribute__((unused)) static float *predict(const struct cross_encoder *m, size_t n)
{
    struct pair_text *pairs = pairs_of_shop();
    float *p = mem_zalloc(n, shop.n_classes * sizeof *p);
    if (cross_encoder_predict(m, pairs, n, NULL, p, NULL))
        abort();
    mem_free(pairs);
    return p;
}

__attribute__((unused)) static bool same(const float *a, const float *b, size_t n)
{
    return memcmp(a, b, n * sizeof *a) == 0;
}

__attribute__((unused)) static bool same_params(const struct cross_encoder *a,
                                                const struct cross_encoder *b)
{
    return a->params.total == b->params.total &&
           same(a->params.values, b->params.values, a->params.total);
}

__attribute__((unused)) static double share_right(const float *p, size_t n)
{
    size_t right = 0, k = shop.n_classes;
    for (size_t i = 0; i < n; i++) {
        size_t best = 0;
        for (size_t c = 1; c < k; c++)
            best = p[i * k + c] > p[i * k + best] ? c : best;
        right += best == shop.example_label[i];
    }
    return (double)right / (double)n;
}

__attribute__((unused)) static double largest_share(void)
{
    size_t count[MAX_CLASSES] = {0}, most = 0;
    for (size_t i = 0; i < shop.n_examples; i++) {
        size_t c = ++count[shop.example_label[i]];
        most = c > most ? c : most;
    }
    return (double)most / (double)shop.n_examples;
}

/* ---- interruption ---- */

struct stop {
    uint64_t at; /* pairs trained on */
};

__attribute__((unused)) static void interrupt_at(void *context, const char *task, uint64_t done,
                                                 uint64_t total, const char *unit)
{
    struct stop *stop = context;
    (void)unit;
    (void)total;
    if (strcmp(task, "train") == 0 && done >= stop->at) {
        interrupt_request();
        stop->at = done + 16 * 13; /* a later step of the resumed run */
    }
}

#endif
