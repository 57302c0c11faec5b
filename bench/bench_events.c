/* bench_events.c: behaviour events streamed into relations: time, and memory bounded by the
 * graph, not by the log. A thread writes EVENTS generated events (UBI lines, some repeated, in
 * sessions) into a pipe from which the import reads; nothing of the log is kept.
 *
 *   build/release/bench_events [EVENTS [QUERIES [PRODUCTS]]]     default 1000000 20000 100000
 *
 * Prints CSV: events,queries,products,edges,seconds,events_per_second,peak_mib. Every query has
 * 40 products that it can lead to, so that the number of edges does not grow with the log. */
#include "base/file.h"
#include "base/rng.h"
#include "data/import.h"
#include "data/relations.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { REACH = 40, PER_SESSION = 8 };

struct shop {
    uint64_t events;
    uint32_t queries, products;
    char folder[64], path[96];
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double peak_mib(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)u.ru_maxrss / 1024;
}

static const char *in_folder(const struct shop *s, const char *file)
{
    static char path[4][128];
    static int next;
    char *p = path[next = (next + 1) % 4];
    snprintf(p, sizeof *path, "%s/%s", s->folder, file);
    return p;
}

/* A power law: the square of a uniform number favours the low ids. */
static uint32_t popular(struct rng *r, uint32_t n)
{
    double u = rng_uniform(r);
    return (uint32_t)(u * u * n);
}

static uint32_t product_of(const struct shop *s, uint32_t query, uint32_t rank)
{
    return (uint32_t)(mix64(7, query, rank) % s->products);
}

static void *write_events(void *context)
{
    static const char *const actions[] = {"impression", "impression",  "impression", "click",
                                          "click",      "add_to_cart", "purchase",   "view"};
    const struct shop *s = context;
    FILE *f = fopen(s->path, "w");
    struct rng r;
    rng_init(&r, 1, 2);
    if (!f)
        return NULL;
    uint32_t query = 0;
    for (uint64_t i = 0; i < s->events; i++) {
        if (i % PER_SESSION == 0)
            query = popular(&r, s->queries);
        uint32_t product = product_of(s, query, popular(&r, REACH));
        fprintf(f,
                "{\"action_name\":\"%s\",\"query_id\":\"q%u\",\"session_id\":\"s%" PRIu64
                "\",\"timestamp\":%" PRIu64
                ",\"event_attributes\":{\"object\":{\"object_id\":\"p%u\"}}}\n",
                actions[rng_below(&r, 8)], query, i / PER_SESSION,
                UINT64_C(1700000000000) + i * 250, product);
    }
    fclose(f);
    return NULL;
}

static bool write_tables(const struct shop *s)
{
    FILE *products = fopen(in_folder(s, "products.csv"), "w"),
         *examples = fopen(in_folder(s, "examples.csv"), "w");
    if (!products || !examples)
        return false;
    fprintf(products, "product_id,product_title\n");
    for (uint32_t p = 0; p < s->products; p++)
        fprintf(products, "p%u,product %u\n", p, p);
    fprintf(examples, "example_id,query,query_id,product_id,esci_label\n");
    for (uint32_t q = 0; q < s->queries; q++)
        fprintf(examples, "%u,query %u,q%u,p%u,%c\n", q, q, q, product_of(s, q, 0),
                "ESCI"[q % 4]);
    return fclose(products) == 0 && fclose(examples) == 0;
}

static uint64_t count_edges(const char *folder)
{
    struct relations r;
    uint64_t edges = 0;
    if (relations_open(folder, &r, NULL) != MEDLEY_OK)
        return 0;
    for (size_t i = 0; i < r.count; i++)
        edges += r.items[i].n;
    relations_close(&r);
    return edges;
}

static void tidy(const struct shop *s)
{
    static const char *const files[] = {"products.csv",
                                        "examples.csv",
                                        "events.jsonl",
                                        "data/dataset.safetensors",
                                        "data/relations.safetensors",
                                        "data/summary.json"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        unlink(in_folder(s, files[i]));
    rmdir(in_folder(s, "data"));
    rmdir(s->folder);
}

static int run(struct shop *s)
{
    pthread_t writer;
    medley_error err = {0};
    if (!write_tables(s) || mkfifo(s->path, 0600) != 0 ||
        pthread_create(&writer, NULL, write_events, s) != 0) {
        fprintf(stderr, "bench_events: cannot write to %s\n", s->folder);
        return 1;
    }
    struct import_options options = {.examples = in_folder(s, "examples.csv"),
                                     .products = in_folder(s, "products.csv"),
                                     .events = s->path};
    char data[96];
    snprintf(data, sizeof data, "%s/data", s->folder);
    double start = now();
    medley_status st = dataset_import(&options, data, &err);
    double seconds = now() - start;
    pthread_join(writer, NULL);
    if (st != MEDLEY_OK) {
        fprintf(stderr, "bench_events: %s\n", err.message);
        return 1;
    }
    printf("events,queries,products,edges,seconds,events_per_second,peak_mib\n");
    printf("%" PRIu64 ",%u,%u,%" PRIu64 ",%.1f,%.0f,%.0f\n", s->events, s->queries, s->products,
           count_edges(data), seconds, (double)s->events / seconds, peak_mib());
    return 0;
}

int main(int argc, char **argv)
{
    struct shop s = {.events = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000,
                     .queries = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 20000,
                     .products = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 100000,
                     .folder = "/tmp/medley-events-XXXXXX"};
    if (!s.events || !s.queries || !s.products || !mkdtemp(s.folder)) {
        fprintf(stderr, "usage: bench_events [EVENTS [QUERIES [PRODUCTS]]]\n");
        return 2;
    }
    snprintf(s.path, sizeof s.path, "%s/events.jsonl", s.folder);
    int rc = run(&s);
    tidy(&s);
    return rc;
}
