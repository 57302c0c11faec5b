/* bench_gnn.c: graph layers over a whole graph, one job a process, a line of JSON on stdout;
 * bench/peers/gnn.py runs it beside its peers.
 *
 *   bench_gnn graph OUT.bin NODES EDGES        a power-law bipartite graph, both directions
 *   bench_gnn layer GRAPH gcn|sage|gatv2 forward|train REPEATS
 *   bench_gnn gather GRAPH REPEATS             the sparse product and what memory allows
 *
 * OUT.bin: uint64 nodes, edges; uint32 offsets[nodes + 1]; uint32 source[edges]. */
#include "base/cpu.h"
#include "base/memory.h"
#include "base/pool.h"
#include "base/rng.h"
#include "base/str.h"
#include "gnn/layer.h"
#include "gnn/whole.h"
#include "nn/adamw.h"
#include "nn/ops.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { WIDTH = 128, HEADS = 4, CLASSES = 4 };
enum { AHEAD = 24 }; /* rows asked for ahead, as whole_body.h does */

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Of one thread the CPU time, which other work on the machine changes less. */
static double quiet_seconds(void)
{
    return pool_threads() == 1 ? cpu_seconds() : clock_seconds();
}

struct file {
    size_t nodes, edges;
    uint32_t *offsets, *source;
};

/* ---- the graph ---- */

/* Popularity falls as rank^-0.8; ranks are shuffled over the ids, as ids of real tables are. */
static uint32_t popular(struct rng *rng, size_t n, const uint32_t *shuffled)
{
    double u = rng_uniform(rng), rank = pow(u, 1 / (1 - 0.8)) * (double)n;
    size_t i = (size_t)rank;
    return shuffled[i < n ? i : n - 1];
}

static uint32_t *shuffled_ids(struct rng *rng, size_t n)
{
    uint32_t *ids = mem_alloc(n, sizeof *ids);
    for (size_t i = 0; ids && i < n; i++)
        ids[i] = (uint32_t)i;
    for (size_t i = n; ids && i > 1; i--) {
        size_t j = rng_below(rng, (uint32_t)i);
        uint32_t old = ids[i - 1];
        ids[i - 1] = ids[j];
        ids[j] = old;
    }
    return ids;
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Queries are the first half of the nodes; every edge is stored from both ends. */
static int make_graph(const char *path, size_t nodes, size_t edges)
{
    struct rng rng;
    size_t half = nodes / 2, pairs = edges / 2;
    rng_init(&rng, 1, 0);
    uint32_t *q = mem_alloc(pairs, sizeof *q), *p = mem_alloc(pairs, sizeof *p);
    uint32_t *queries = shuffled_ids(&rng, half), *products = shuffled_ids(&rng, half);
    uint32_t *offsets = mem_zalloc(nodes + 2, sizeof *offsets);
    uint32_t *source = mem_alloc(2 * pairs, sizeof *source);
    FILE *f = fopen(path, "wb");
    if (!q || !p || !queries || !products || !offsets || !source || !f)
        return 1;
    for (size_t e = 0; e < pairs; e++) {
        q[e] = popular(&rng, half, queries);
        p[e] = (uint32_t)half + popular(&rng, half, products);
        offsets[q[e] + 2]++;
        offsets[p[e] + 2]++;
    }
    for (size_t i = 2; i < nodes + 2; i++)
        offsets[i] += offsets[i - 1];
    for (size_t e = 0; e < pairs; e++) {
        source[offsets[q[e] + 1]++] = p[e];
        source[offsets[p[e] + 1]++] = q[e];
    }
    for (size_t i = 0; i < nodes; i++)
        qsort(source + offsets[i], offsets[i + 1] - offsets[i], sizeof *source, compare);
    uint64_t head[2] = {nodes, 2 * pairs};
    bool written = fwrite(head, sizeof head, 1, f) == 1 &&
                   fwrite(offsets, sizeof *offsets, nodes + 1, f) == nodes + 1 &&
                   fwrite(source, sizeof *source, 2 * pairs, f) == 2 * pairs;
    mem_free(q), mem_free(p), mem_free(queries), mem_free(products);
    mem_free(offsets), mem_free(source);
    return fclose(f) != 0 || !written;
}

static bool read_graph(const char *path, struct file *g)
{
    uint64_t head[2];
    FILE *f = fopen(path, "rb");
    if (!f)
        return false;
    bool fine = fread(head, sizeof head, 1, f) == 1;
    g->nodes = fine ? (size_t)head[0] : 0;
    g->edges = fine ? (size_t)head[1] : 0;
    g->offsets = mem_alloc(g->nodes + 1, sizeof *g->offsets);
    g->source = mem_alloc(g->edges + 1, sizeof *g->source);
    fine = fine && g->offsets && g->source &&
           fread(g->offsets, sizeof *g->offsets, g->nodes + 1, f) == g->nodes + 1 &&
           fread(g->source, sizeof *g->source, g->edges, f) == g->edges;
    fclose(f);
    return fine;
}

static float *features(size_t rows)
{
    struct rng rng;
    float *x = mem_alloc64(rows * WIDTH, sizeof *x);
    rng_init(&rng, 2, 0);
    if (x)
        mem_advise(x, rows * WIDTH * sizeof *x);
    for (size_t i = 0; x && i < rows * WIDTH; i++)
        x[i] = (float)rng_uniform(&rng) - 0.5f;
    return x;
}

/* ---- layers ---- */

static double memory_mb(const char *field)
{
    char line[256];
    double kb = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, field, strlen(field)) == 0)
            kb = strtod(line + strlen(field) + 1, NULL);
    if (f)
        fclose(f);
    return kb / 1024;
}

struct net {
    struct params p;
    struct layer one, two;
    struct block b;
    struct reverse *reverse;
    const float *x;
    uint8_t *labels;
};

static bool net_init(struct net *n, const struct file *g, const struct layer_ops *ops)
{
    uint32_t *self = mem_alloc(g->nodes, sizeof *self);
    for (size_t i = 0; self && i < g->nodes; i++)
        self[i] = (uint32_t)i;
    n->labels = mem_zalloc(g->nodes, 1);
    for (size_t i = 0; n->labels && i < g->nodes; i++)
        n->labels[i] = (uint8_t)(i % CLASSES);
    n->b = (struct block){.n_targets = g->nodes,
                          .n_sources = g->nodes,
                          .n_edges = g->edges,
                          .self = self,
                          .offsets = g->offsets,
                          .source = g->source};
    if (!self || !n->labels || reverse_new(&n->b, &n->reverse, NULL))
        return false;
    n->b.reverse = n->reverse;
    struct layer_shape shape = {.in = WIDTH, .out = WIDTH, .heads = HEADS};
    params_init(&n->p);
    layer_declare(&n->one, ops, shape, &n->p, "one");
    layer_declare(&n->two, ops, shape, &n->p, "two");
    return params_allocate(&n->p, 1, NULL) == MEDLEY_OK;
}

static struct tensor *forward(struct net *n, struct tape *t)
{
    struct tensor *x = tape_input(t, n->x, n->b.n_targets, WIDTH, false);
    x = op_whole_relu(t, n->one.ops->forward(t, &n->one, x, &n->b));
    return n->two.ops->forward(t, &n->two, x, &n->b);
}

static int run_layer(const struct file *g, const char *name, bool train, size_t repeats)
{
    static struct net n;
    const struct layer_ops *ops = layer_find(name);
    n.x = features(g->nodes);
    double before = memory_mb("VmRSS");
    if (!ops || !n.x || !net_init(&n, g, ops))
        return 1;
    struct tape t;
    struct adamw a;
    struct adamw_options o = {.learning_rate = 1e-3};
    float *grads = mem_zalloc(n.p.total, sizeof *grads);
    if (!grads || adamw_init(&a, &n.p, &o, NULL))
        return 1;
    tape_init(&t, &n.p, grads);
    struct strbuf wall, cpu;
    sb_init(&wall), sb_init(&cpu);
    double check = 0;
    for (size_t i = 0; i <= repeats; i++) {
        double start = clock_seconds(), cpu_start = cpu_seconds();
        tape_reset(&t, train, i);
        struct tensor *y = forward(&n, &t);
        if (!y)
            return 1;
        if (train) { /* the loss of every node, of its first four columns */
            struct tensor *logits = op_columns(&t, y, 0, CLASSES);
            tape_drop(y);
            struct tensor *loss = op_softmax_loss(&t, logits, n.labels, NULL, 0);
            tape_drop(logits);
            if (tape_backward(&t, loss, 1, NULL))
                return 1;
            adamw_step(&a, &n.p, grads);
            check = (double)loss->value[0];
        } else {
            check = (double)y->value[0];
        }
        if (!i) /* the first round brings the pages in */
            continue;
        sb_addf(&wall, "%s%.6f", i > 1 ? ", " : "", clock_seconds() - start);
        sb_addf(&cpu, "%s%.6f", i > 1 ? ", " : "", cpu_seconds() - cpu_start);
    }
    printf("{\"seconds\": [%.*s], \"cpu\": [%.*s], \"check\": %.6g, \"extra_mb\": %.1f}\n",
           (int)wall.n, wall.s, (int)cpu.n, cpu.s, check, memory_mb("VmHWM") - before);
    return 0;
}

/* ---- what memory allows ---- */

struct bound {
    const struct file *g;
    const float *x;
    float *out;
    bool random;
    double sums[256];
};

/* Rows are read in the order of the edges, eight running sums and nothing written: no sparse
 * product over these rows can be faster. With `random` off rows are read in sequence. */
static __attribute__((target("avx2,fma"))) void read_rows(void *context, size_t begin,
                                                          size_t end, unsigned worker)
{
    typedef float v8 __attribute__((vector_size(32), aligned(4)));
    struct bound *b = context;
    v8 s[8] = {{0}};
    for (size_t e = begin; e < end; e++) {
        const float *row =
            b->x + (b->random ? b->g->source[e] : e % b->g->nodes) * (size_t)WIDTH;
        if (b->random && e + AHEAD < b->g->edges)
            for (size_t k = 0; k < WIDTH; k += 16)
                __builtin_prefetch(b->x + b->g->source[e + AHEAD] * (size_t)WIDTH + k);
        for (int k = 0; k < 16; k++)
            s[k % 8] += *(const v8 *)(row + 8 * k);
    }
    for (int k = 0; k < 8; k++)
        b->sums[worker] += (double)s[k][0];
}

static int run_gather(const struct file *g, size_t repeats)
{
    static struct net n;
    struct bound b = {.g = g, .x = features(g->nodes), .out = features(g->nodes)};
    if (!b.x || !b.out || !net_init(&n, g, &layer_gcn))
        return 1;
    struct gather product = {.offsets = g->offsets,
                             .source = g->source,
                             .edges = g->edges,
                             .row_scale = n.reverse->inverse_root,
                             .column_scale = n.reverse->inverse_root,
                             .self = true,
                             .columns = WIDTH};
    double best[3] = {1e9, 1e9, 1e9}; /* interleaved: neighbours disturb all three alike */
    for (size_t i = 0; i <= repeats; i++)
        for (int what = 0; what < 3; what++) {
            double start = quiet_seconds();
            b.random = what == 1;
            if (what == 2)
                whole_gather(&product, b.x, g->nodes, b.out);
            else
                parallel_for(g->edges, 8192, read_rows, &b);
            double seconds = quiet_seconds() - start;
            best[what] = i && seconds < best[what] ? seconds : best[what];
        }
    double gb = (double)g->edges * WIDTH * 4e-9;
    /* The product reads the nodes' own rows, too, and writes its result. */
    double more = (double)g->nodes * WIDTH * 4e-9;
    printf("{\"stream\": %.4f, \"random\": %.4f, \"product\": %.4f, \"with_writes\": %.4f, "
           "\"seconds\": %.6f, \"check\": %g}\n",
           gb / best[0], gb / best[1], gb / best[2], (gb + 2 * more) / best[2], best[2],
           b.sums[0] + (double)b.out[0]);
    return 0;
}

int main(int argc, char **argv)
{
    struct file g;
    if (argc == 5 && strcmp(argv[1], "graph") == 0)
        return make_graph(argv[2], strtoull(argv[3], NULL, 10), strtoull(argv[4], NULL, 10));
    if (argc < 4 || !read_graph(argv[2], &g)) {
        fprintf(stderr, "see the top of bench/bench_gnn.c\n");
        return argc == 1 ? 0 : 2; /* `make bench` runs every benchmark bare */
    }
    size_t repeats = strtoull(argv[argc - 1], NULL, 10);
    if (strcmp(argv[1], "gather") == 0)
        return run_gather(&g, repeats);
    if (strcmp(argv[1], "layer") == 0 && argc == 6)
        return run_layer(&g, argv[3], strcmp(argv[4], "train") == 0, repeats);
    return 2;
}
