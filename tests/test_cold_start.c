/* test_cold_start.c: queries and products that the graph has never seen, in a synthetic shop:
 * they join by text, are answered better than by chance, and never crash. A fifth of the
 * queries and of the products are taken out of the graph, of the text features that it knows
 * and of training, and come back as new. */
#include "tests/tap.h"

#include "base/file.h"
#include "base/rng.h"
#include "data/import.h"
#include "data/synth.h"
#include "ensemble/features.h"
#include "gnn/link_model.h"
#include "gnn/neighbours.h"
#include "tests/data_help.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct world {
    const char *folder;
    struct dataset d;
    struct relations all, kept; /* kept: without edges of new nodes */
    struct graph g;
    float *features; /* of all nodes */
    float *stored;   /* the same, zero for new ones */
    size_t width;
};

static bool is_new(const struct world *w, size_t node)
{
    return mix64(17, node < w->d.n_queries, node) % 5 == 0;
}

static void keep_relation(const struct world *w, const struct relation *r, struct relation *out)
{
    uint32_t *source = malloc((r->n + 1) * sizeof *source), *target = malloc((r->n + 1) * 4);
    float *weight = malloc((r->n + 1) * sizeof *weight);
    size_t n = 0, queries = w->d.n_queries;
    for (size_t e = 0; e < r->n; e++) {
        size_t s = r->source[e] + (r->kind == RELATION_QUERY_PRODUCT ? 0 : queries);
        if (is_new(w, s) || is_new(w, queries + r->target[e]))
            continue;
        source[n] = r->source[e];
        target[n] = r->target[e];
        weight[n++] = r->weight[e];
    }
    *out = (struct relation){r->name, r->kind, n, source, target, weight};
}

static void read_features(struct world *w)
{
    struct feature_encoder e;
    struct npy file;
    char *path = path_join(w->folder, "features.npy");
    size_t n = w->d.n_queries + w->d.n_products;
    if (feature_encoder_open("hashed", &w->d, &e, NULL) ||
        features_write(&e, &w->d, path, NULL) || npy_open(path, &file, NULL))
        abort();
    w->width = e.width;
    w->features = malloc(n * w->width * sizeof(float));
    w->stored = calloc(n * w->width, sizeof(float));
    memcpy(w->features, file.data, n * w->width * sizeof(float));
    for (size_t i = 0; i < n; i++)
        if (!is_new(w, i))
            memcpy(w->stored + i * w->width, w->features + i * w->width,
                   w->width * sizeof(float));
    npy_close(&file);
    feature_encoder_close(&e);
    free(path);
}

static struct world *world_new(const char *const *names)
{
    static const char *const files[] = {"examples.csv", "products.csv", "product_metadata.csv",
                                        "colistings.csv", "events.jsonl"};
    struct world *w = calloc(1, sizeof *w);
    char *paths[5];
    w->folder = tap_folder();
    struct synth_options shop = {.products = 600, .queries = 200, .seed = 3};
    if (synth_write(w->folder, &shop, NULL) != MEDLEY_OK)
        abort();
    for (int i = 0; i < 5; i++)
        paths[i] = path_join(w->folder, files[i]);
    struct import_options o = {.examples = paths[0],
                               .products = paths[1],
                               .metadata = paths[2],
                               .lists = paths[3],
                               .events = paths[4]};
    char *data = path_join(w->folder, "data");
    if (dataset_import(&o, data, NULL) || dataset_open(data, &w->d, NULL) ||
        relations_open(data, &w->all, NULL))
        abort();
    w->kept.count = w->all.count;
    w->kept.items = calloc(w->all.count, sizeof *w->kept.items);
    for (size_t i = 0; i < w->all.count; i++)
        keep_relation(w, &w->all.items[i], &w->kept.items[i]);
    medley_error err = {0};
    if (graph_build(&w->d, &w->kept, names, &w->g, &err)) {
        printf("# %s\n", err.message);
        abort();
    }
    read_features(w);
    for (int i = 0; i < 5; i++)
        free(paths[i]);
    free(data);
    return w;
}

static void world_free(struct world *w)
{
    for (size_t i = 0; i < w->kept.count; i++) {
        free((uint32_t *)w->kept.items[i].source);
        free((uint32_t *)w->kept.items[i].target);
        free((float *)w->kept.items[i].weight);
    }
    free(w->kept.items);
    graph_free(&w->g);
    relations_close(&w->all);
    dataset_close(&w->d);
    remove_tree(w->folder, NULL);
    free(w->features);
    free(w->stored);
    free(w);
}

static struct link_classifier *train(const struct world *w, const char *layer)
{
    struct link_classifier *m;
    const struct dataset *d = &w->d;
    struct gnn_options o = {.layer = layer,
                            .hidden = 32,
                            .epochs = 6,
                            .relations = (unsigned)w->g.n_relations,
                            .learning_rate = 3e-3,
                            .seed = 1};
    uint32_t *query = malloc(d->n_examples * 4), *product = malloc(d->n_examples * 4);
    uint8_t *label = malloc(d->n_examples);
    size_t n = 0;
    for (size_t i = 0; i < d->n_examples; i++)
        if (!is_new(w, d->example_query[i]) &&
            !is_new(w, d->n_queries + d->example_product[i])) {
            query[n] = d->example_query[i];
            product[n] = d->example_product[i];
            label[n++] = d->example_label[i];
        }
    struct link_data data = {&w->g, w->stored, query, product, label, n};
    medley_error err = {0};
    if (link_classifier_new(&o, w->width, d->n_classes, &m, &err) ||
        link_classifier_train(m, &data, NULL, NULL, &err)) {
        printf("# %s\n", err.message);
        abort();
    }
    free(query);
    free(product);
    free(label);
    return m;
}

struct score {
    size_t n, right;
    double loss, chance_loss; /* chance: class frequencies of all examples */
};

/* Answers all pairs of one query in one request; only pairs with something new count. */
static void ask_query(const struct world *w, const struct link_classifier *m, uint32_t q,
                      unsigned neighbours, const double *frequency, struct score scores[3])
{
    const struct dataset *d = &w->d;
    uint32_t product[256], index[256];
    uint8_t label[256];
    float *fresh = calloc(256 * w->width, sizeof *fresh), p[256 * MAX_CLASSES];
    size_t n = 0;
    for (size_t i = 0; i < d->n_examples && n < 256; i++)
        if (d->example_query[i] == q) {
            uint32_t node = (uint32_t)d->n_queries + d->example_product[i];
            memcpy(fresh + n * w->width, w->features + node * w->width,
                   w->width * sizeof *fresh);
            index[n] = node;
            product[n] = is_new(w, node) ? UINT32_MAX : d->example_product[i];
            label[n++] = d->example_label[i];
        }
    struct link_request r = {.graph = &w->g,
                             .features = w->stored,
                             .query = is_new(w, q) ? UINT32_MAX : q,
                             .query_features = w->features + q * w->width,
                             .product = product,
                             .product_features = fresh,
                             .n = n,
                             .neighbours = neighbours,
                             .query_group = d->query_locale,
                             .product_group = d->product_locale,
                             .group = d->query_locale[q]};
    medley_error err = {0};
    if (link_classifier_answer(m, &r, p, &err) != MEDLEY_OK) {
        printf("# %s\n", err.message);
        abort();
    }
    for (size_t i = 0; i < n; i++) {
        int kind = is_new(w, q) + 2 * is_new(w, index[i]) - 1;
        const float *row = p + i * d->n_classes;
        size_t best = 0;
        for (size_t c = 1; c < d->n_classes; c++)
            best = row[c] > row[best] ? c : best;
        if (kind < 0)
            continue;
        scores[kind].n++;
        scores[kind].right += best == label[i];
        scores[kind].loss -= log(fmax((double)row[label[i]], 1e-9));
        scores[kind].chance_loss -= log(frequency[label[i]]);
    }
    free(fresh);
}

static void ask_all(const struct world *w, const struct link_classifier *m, unsigned neighbours,
                    struct score scores[3])
{
    double frequency[MAX_CLASSES] = {0};
    for (size_t i = 0; i < w->d.n_examples; i++)
        frequency[w->d.example_label[i]] += 1.0 / (double)w->d.n_examples;
    memset(scores, 0, 3 * sizeof *scores);
    for (uint32_t q = 0; q < w->d.n_queries; q++)
        ask_query(w, m, q, neighbours, frequency, scores);
}

static void test_shop(const char *layer, const char *const *names, const char *what)
{
    static const char *const kinds[] = {"new query", "new product", "both new"};
    struct world *w = world_new(names);
    struct link_classifier *m = train(w, layer);
    struct score joined[3], alone[3];
    ask_all(w, m, TEXT_NEIGHBOURS, joined);
    ask_all(w, m, 0, alone);
    double sum[3] = {0};
    for (int k = 0; k < 3; k++) {
        double n = (double)joined[k].n, loss = joined[k].loss / n;
        sum[0] += joined[k].loss, sum[1] += alone[k].loss, sum[2] += n;
        ok(joined[k].n > 20 && joined[k].loss < joined[k].chance_loss,
           "%s, %s, %s: %zu pairs, log-loss %.3f (chance %.3f, without neighbours %.3f), "
           "accuracy %.2f (%.2f)",
           layer, what, kinds[k], joined[k].n, loss, joined[k].chance_loss / n,
           alone[k].loss / n, (double)joined[k].right / n, (double)alone[k].right / n);
    }
    printf("# %s, %s: all new pairs %.4f, without neighbours %.4f\n", layer, what,
           sum[0] / sum[2], sum[1] / sum[2]);
    link_classifier_free(m);
    world_free(w);
}

int main(void)
{
    static const char *const behaviour[] = {"clicks", "purchases", "co-viewed", NULL};
    static const char *const listing[] = {"listing", "co-listed", NULL};
    test_shop("sage", behaviour, "behaviour");
    test_shop("rgcn", behaviour, "behaviour");
    test_shop("gatv2", listing, "listing");
    return tap_done();
}
