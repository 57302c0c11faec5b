/* link_store_print.c: prints: what a node's stored row depends on, as one hash.
 *
 *   print(v, 0)  = hash(query or product, identity of v, features of v)
 *   print(v, l)  = hash(print(v, l-1), number of neighbours, for each neighbour u that is read:
 *                       print(u, l-1), weight, relations, and degrees for layers that ask)
 *
 * print(v, hops) covers all that link_encode reads of v, in the order in which it is read, so
 * equal prints mean equal bits. The pair of an edge is computed with that edge hidden; then one
 * neighbour more of a hub may be read, which is why one more is hashed. Identities in the
 * prints tell twins apart (two products of the same text), so the prints of both ends and the
 * place of the edge in their rows say all of it. */
#include "gnn/link_store_file.h"

#include "base/cpu.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/pool.h"
#include "base/rng.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* A neighbour as it is hashed. No padding: every byte counts. */
struct seen {
    struct hash128 print;
    float weight, degree;
    uint32_t relations, at;
};
_Static_assert(sizeof(struct seen) == 32, "hashed as bytes");

struct ranked {
    uint64_t hash;
    uint32_t at;
};

struct round {
    const struct link_store_job *job;
    const struct hash128 *below; /* [n_nodes] of the round before; NULL: the first */
    struct hash128 *out;
    atomic_bool no_memory;
};

struct hash128 link_store_model(const struct link_classifier *m, const struct graph *g)
{
    struct strbuf config;
    struct hash128 h = {LINK_STORE_VERSION, WHOLE};
    bool sets[] = {cpu_has_avx2(), cpu_has_avx512(), cpu_has_vbmi(), cpu_has_vnni()};
    sb_init(&config);
    link_config_write(m, &config);
    h = hash_bytes(config.s, config.n, h);
    bool failed = config.failed;
    sb_deinit(&config);
    if (failed)
        return (struct hash128){0, 0};
    h = hash_bytes(m->params.values, m->params.total * sizeof(float), h);
    for (size_t r = 0; m->ops->relations && r < g->n_relations; r++)
        h = hash_bytes(g->relation_names[r], strlen(g->relation_names[r]) + 1, h);
    return hash_bytes(sets, sizeof sets, h);
}

static int by_hash(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->hash != y->hash)
        return x->hash > y->hash ? 1 : -1;
    return (x->at > y->at) - (x->at < y->at);
}

static int by_place(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    return (x->at > y->at) - (x->at < y->at);
}

/* The neighbours that the sampler would read of a hub, and the next one: WHOLE + 1 of the n. */
static void choose(uint32_t node, const struct csr *all, size_t n, struct ranked *out)
{
    const uint32_t *target = all->target + all->offsets[node];
    for (size_t e = 0; e < n; e++)
        out[e] = (struct ranked){mix64(WHOLE_SEED, node, target[e]), (uint32_t)e};
    qsort(out, n, sizeof *out, by_hash);
    out[WHOLE].hash = UINT64_MAX; /* the one that is not read is told apart below */
    qsort(out, WHOLE + 1, sizeof *out, by_place);
}

static bool print_node(const struct round *r, uint32_t node, struct hash128 *out)
{
    const struct csr *all = &r->job->graph->all;
    bool degrees = r->job->model->ops->degrees, relations = r->job->model->ops->relations;
    size_t n = (size_t)(all->offsets[node + 1] - all->offsets[node]), read = n;
    struct ranked *chosen = NULL;
    struct seen seen[WHOLE + 1];
    if (n > WHOLE) {
        if (!(chosen = mem_alloc(n, sizeof *chosen)))
            return false;
        choose(node, all, n, chosen);
        read = WHOLE + 1;
    }
    uint64_t extra = UINT64_MAX;
    for (size_t i = 0; i < read; i++) {
        size_t at = chosen ? chosen[i].at : i, e = (size_t)all->offsets[node] + at;
        uint32_t u = all->target[e];
        if (chosen && chosen[i].hash == UINT64_MAX)
            extra = i;
        seen[i] =
            (struct seen){.print = r->below[u],
                          .weight = all->weight ? all->weight[e] : 1,
                          .degree = degrees ? all->degree[u] : 0,
                          .relations = relations && all->relations ? all->relations[e] : 0,
                          .at = (uint32_t)at};
    }
    struct {
        struct hash128 self;
        uint64_t n, extra, degree;
    } head = {r->below[node], n, extra, 0};
    if (degrees)
        memcpy(&head.degree, &all->degree[node], sizeof all->degree[node]);
    struct hash128 h = hash_bytes(seen, read * sizeof *seen,
                                  hash_bytes(&head, sizeof head, (struct hash128){1, 0}));
    if (degrees && chosen && all->weight) /* a hub's degree without an edge sums all the rest */
        h = hash_bytes(all->weight + all->offsets[node], n * sizeof *all->weight, h);
    mem_free(chosen);
    *out = h;
    return true;
}

static void print_leaf(const struct round *r, uint32_t node, struct hash128 *out)
{
    const struct link_store_job *job = r->job;
    size_t width = job->model->width;
    struct hash128 who = {node, 0};
    if (job->identity)
        who = job->identity[node];
    struct hash128 h = {node < job->graph->n_queries ? 2 : 3, 0};
    h = hash_bytes(&who, sizeof who, h);
    *out = hash_bytes(job->features + node * width, width * sizeof(float), h);
}

static void run_round(void *context, size_t begin, size_t end, unsigned worker)
{
    struct round *r = context;
    (void)worker;
    for (size_t i = begin; i < end; i++) {
        if (!r->below)
            print_leaf(r, (uint32_t)i, &r->out[i]);
        else if (!print_node(r, (uint32_t)i, &r->out[i]))
            atomic_store(&r->no_memory, true);
    }
}

medley_status link_prints(const struct link_store_job *job, struct hash128 **out,
                          medley_error *err)
{
    size_t n = job->graph->n_nodes;
    struct hash128 *prints[2] = {mem_alloc(n + 1, sizeof **prints),
                                 mem_alloc(n + 1, sizeof **prints)};
    struct round r = {.job = job};
    bool good = prints[0] && prints[1];
    unsigned hops = job->model->options.hops;
    for (unsigned l = 0; l <= hops && good; l++) {
        r.below = l ? prints[(l - 1) % 2] : NULL;
        r.out = prints[l % 2];
        parallel_for(n, 256, run_round, &r);
        good = !atomic_load(&r.no_memory);
    }
    mem_free(prints[(hops + 1) % 2]);
    if (good)
        *out = prints[hops % 2];
    else
        mem_free(prints[hops % 2]);
    return good ? MEDLEY_OK : fail_memory(err, "the prints of the graph's nodes");
}

struct hash128 link_pair_print(const struct graph *g, const struct hash128 *prints,
                               uint32_t query, uint32_t product_node)
{
    struct {
        struct hash128 query, product;
        uint64_t place[2];
    } p = {prints[query],
           prints[product_node],
           {csr_find(&g->all, query, product_node) - g->all.offsets[query],
            csr_find(&g->all, product_node, query) - g->all.offsets[product_node]}};
    return hash_bytes(&p, sizeof p, (struct hash128){4, 0});
}
