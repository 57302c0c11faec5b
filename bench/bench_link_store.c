/* bench_link_store.c: answers of a bundle's graph models from embeddings made ahead against the
 * live path, one thread. `bench_link_store [BUNDLE]`, demo/bundle/current unless given; CSV on
 * stdout. For each model: CPU time a pair, for one pair and for lists of 20, of listed pairs
 * (edges of the graph) and of others; the largest difference of probabilities over the test
 * pairs; how many test pairs a store of the n most frequent nodes of each kind answers. */
#include "base/cpu.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/pool.h"
#include "ensemble/precompute.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RUNS = 9, PAIRS = 200, LIST = 20 };

struct subject {
    struct dataset data;
    struct relations relations;
    struct graph_inputs inputs;
    struct link_classifier *model;
    struct link_store *store;
    float *live, *kept; /* [LIST * MAX_CLASSES] */
    size_t classes;
};

static void die(const char *what, const medley_error *err)
{
    fprintf(stderr, "%s: %s\n", what, err->message);
    exit(1);
}

static double cpu_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

static void answer(const struct subject *s, uint32_t query, const uint32_t *product, size_t n,
                   bool stored, uint8_t *used, float *out)
{
    medley_error err;
    struct link_request r = {.graph = &s->inputs.graph,
                             .features = s->inputs.rows,
                             .query = query,
                             .product = product,
                             .n = n,
                             .store = stored ? s->store : NULL,
                             .stored = used};
    if (link_classifier_answer(s->model, &r, out, &err))
        die("answer", &err);
}

/* The products of test queries, n at a time: of the pair's own list, or of any other. */
static void pick(const struct subject *s, size_t i, bool listed, size_t n, uint32_t *query,
                 uint32_t *product)
{
    const struct dataset *d = &s->data;
    size_t at = i * 7919 % d->n_examples;
    *query = d->example_query[at];
    for (size_t k = 0; k < n; k++)
        product[k] = listed ? d->example_product[(at + k) % d->n_examples]
                            : d->example_product[(at + 1000 + 31 * k) % d->n_examples];
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median CPU time a pair; live and stored runs take turns. */
static void time_case(const struct subject *s, const char *name, bool listed, size_t n)
{
    double us[2][RUNS];
    size_t hits = 0;
    for (int run = 0; run < RUNS; run++)
        for (int stored = 0; stored < 2; stored++) {
            double from = cpu_us();
            for (size_t i = 0; i < PAIRS; i++) {
                uint32_t query, product[LIST];
                uint8_t used[LIST] = {0};
                pick(s, i, listed, n, &query, product);
                answer(s, query, product, n, stored, used, s->kept);
                for (size_t k = 0; k < n; k++)
                    hits += run == 0 && used[k];
            }
            us[stored][run] = (cpu_us() - from) / (double)(PAIRS * n);
        }
    for (int stored = 0; stored < 2; stored++)
        qsort(us[stored], RUNS, sizeof(double), by_value);
    printf("%s,%s,%zu,%.2f,%.2f,%.0f,%.2f\n", name, listed ? "listed" : "other", n,
           us[0][RUNS / 2], us[1][RUNS / 2], us[0][RUNS / 2] / us[1][RUNS / 2],
           (double)hits / (double)(PAIRS * n));
}

static size_t best_of(const float *p, size_t k)
{
    size_t best = 0;
    for (size_t c = 1; c < k; c++)
        if (p[c] > p[best])
            best = c;
    return best;
}

/* Over the test pairs, one by one. */
static void compare(const struct subject *s, const char *name)
{
    const struct dataset *d = &s->data;
    double worst = 0, loss[2] = {0, 0};
    size_t n = 0, hits = 0, agree = 0;
    for (size_t i = 0; i < d->n_examples; i++) {
        uint8_t used = 0, label = d->example_label[i];
        if (d->example_split[i] != SPLIT_TEST || label == LABEL_NONE)
            continue;
        answer(s, d->example_query[i], &d->example_product[i], 1, false, NULL, s->live);
        answer(s, d->example_query[i], &d->example_product[i], 1, true, &used, s->kept);
        for (size_t c = 0; c < s->classes; c++)
            worst = fmax(worst, fabs((double)s->live[c] - (double)s->kept[c]));
        loss[0] -= log((double)s->live[label]);
        loss[1] -= log((double)s->kept[label]);
        agree += best_of(s->live, s->classes) == best_of(s->kept, s->classes);
        hits += used;
        n++;
    }
    printf("# %s: %zu test pairs, %zu from the store; largest difference %g; same class %zu; "
           "log-loss live %.6f, stored %.6f\n",
           name, n, hits, worst, agree, loss[0] / (double)n, loss[1] / (double)n);
}

/* Which share of the test pairs has both nodes among the most frequent. */
static void hit_shares(const struct dataset *d, const struct relations *r)
{
    static const double shares[] = {0.05, 0.1, 0.25, 0.5, 1};
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
        struct precompute_config how = {(uint64_t)(shares[i] * (double)d->n_products),
                                        (uint64_t)(shares[i] * (double)d->n_queries)};
        struct precompute p;
        medley_error err;
        if (precompute_choose(d, r, &how, &p, &err))
            die("choose", &err);
        bool *query = mem_zalloc(d->n_queries, 1), *product = mem_zalloc(d->n_products, 1);
        size_t n = 0, hits = 0;
        for (size_t k = 0; k < p.plan.n_queries; k++)
            query[p.plan.queries[k]] = true;
        for (size_t k = 0; k < p.plan.n_products; k++)
            product[p.plan.products[k]] = true;
        for (size_t k = 0; k < d->n_examples; k++) {
            if (d->example_split[k] != SPLIT_TEST)
                continue;
            n++;
            hits += query[d->example_query[k]] && product[d->example_product[k]];
        }
        printf("# the %.0f%% most frequent (%zu products, %zu queries): %.1f%% of test pairs\n",
               100 * shares[i], p.plan.n_products, p.plan.n_queries,
               100 * (double)hits / (double)n);
        mem_free(query);
        mem_free(product);
        precompute_free(&p);
    }
}

static void run_model(struct subject *s, const char *folder, const json *entry)
{
    struct model_config config = {.kind = KIND_GNN};
    const json *list = json_get(entry, "relations");
    const char *relations[64] = {NULL}, *name = "", *features = "", *kind = "";
    char path[1200];
    medley_error err;
    size_t n = 0;
    json_as_text(json_get(entry, "kind"), &kind);
    if (strcmp(kind, "gnn") != 0)
        return;
    json_as_text(json_get(entry, "name"), &name);
    json_as_text(json_get(entry, "features"), &features);
    for (const json *item = json_first(list); item && n < 63; item = json_next(item))
        json_as_text(item, &relations[n++]);
    config.relations = n ? relations : NULL;
    snprintf(path, sizeof path, "%s/features/%s.npy", folder, features);
    if (graph_inputs_open(&s->data, &s->relations, &config, path, &s->inputs, &err))
        die(path, &err);
    snprintf(path, sizeof path, "%s/models/%s", folder, name);
    if (link_classifier_load(path, &s->model, &err))
        die(path, &err);
    snprintf(path, sizeof path, "%s/embeddings/%s.bin", folder, name);
    double from = clock_seconds();
    if (link_store_open(path, &s->store, &err) ||
        link_store_check(s->store, s->model, &s->inputs.graph, s->inputs.rows, &err))
        die(path, &err);
    struct link_store_size size = link_store_size(s->store);
    printf("# %s: %zu queries, %zu products, %zu pairs, %zu bytes, opened and checked in %.1f "
           "ms\n",
           name, size.queries, size.products, size.pairs, size.bytes,
           1e3 * (clock_seconds() - from));
    for (int listed = 1; listed >= 0; listed--) {
        time_case(s, name, listed, 1);
        time_case(s, name, listed, LIST);
    }
    compare(s, name);
    link_store_close(s->store);
    link_classifier_free(s->model);
    graph_inputs_close(&s->inputs);
}

int main(int argc, char **argv)
{
    const char *folder = argc > 1 ? argv[1] : "demo/bundle/current";
    struct subject s = {.live = mem_alloc(LIST * MAX_CLASSES, sizeof(float)),
                        .kept = mem_alloc(LIST * MAX_CLASSES, sizeof(float))};
    char path[1200];
    json *manifest = NULL;
    medley_error err;
    if (!folder_exists(folder)) {
        printf("# bench_link_store skipped: no bundle at %s\n", folder);
        return 0;
    }
    pool_set_threads(1);
    snprintf(path, sizeof path, "%s/bundle.json", folder);
    if (json_load(path, &manifest, &err))
        die(path, &err);
    snprintf(path, sizeof path, "%s/data", folder);
    if (dataset_open(path, &s.data, &err) || relations_open(path, &s.relations, &err))
        die(path, &err);
    s.classes = s.data.n_classes;
    printf("model,pairs,list,live_us_a_pair,stored_us_a_pair,ratio,stored_share\n");
    const json *models = json_get(manifest, "models");
    for (const json *m = json_first(models); m; m = json_next(m))
        run_model(&s, folder, m);
    hit_shares(&s.data, &s.relations);
    relations_close(&s.relations);
    dataset_close(&s.data);
    json_free(manifest);
    mem_free(s.live);
    mem_free(s.kept);
    return 0;
}
