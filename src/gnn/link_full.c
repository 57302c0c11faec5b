/* link_full.c: training over the whole graph: one pass encodes every node for many pairs at
 * once, where a sampled step encodes a neighbourhood for each pair.
 *
 * The leak rule: an epoch is cut into parts; while a part's pairs are learnt from, the edges
 * between the two nodes of each of them are taken out of the graph, in both directions, for
 * every node and every hop. So no number that a pair's loss depends on has seen its edge, nor
 * that of any other pair of the part. A pair is hidden from a little more than itself: with 32
 * parts a node lacks a thirty-second of its edges to training pairs, others each time. (The
 * exact rule, own edge only, would need rows of their own for every pair and hop: the
 * sampler's.) Degrees are those of the graph without these edges.
 *
 * What raw features say of a pair (match.c) is not trained: made once, by the exact rule, over
 * the neighbourhoods that prediction reads.
 *
 * Steps are as wide as the graph, so that layers spread over the pool; sums run in one order
 * whatever the number of threads (whole.h). Proof: tests/test_link_full.c. */
#include "gnn/link_model.h"
#include "gnn/whole.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/pool.h"
#include "nn/ops.h"

#include <string.h>

struct link_full {
    const struct link_classifier *m;
    const struct csr *all;
    size_t n_nodes, n_edges;
    float *x;       /* [n_nodes, width] features as the model reads them */
    int32_t *kind;  /* [n_nodes] 0: query, 1: product */
    float *match;   /* [n_pairs, MATCH_COLUMNS] */
    uint8_t *taken; /* [n_edges] out of the graph for this part; zero in between */
    uint32_t *self, *offsets, *source, *relations;
    float *weight;
    struct block block;
    struct reverse *reverse;
};

/* ---- memory ---- */

/* Floats a node that a hop's layer keeps besides its result: values and gradients. */
static size_t layer_floats(const struct link_classifier *m)
{
    size_t hidden = m->options.hidden;
    if (m->ops == &layer_gatv2) /* two maps, and three numbers a head */
        return 4 * hidden + 3 * m->options.heads;
    if (m->ops->relations) /* a mean for each relation, and all side by side */
        return (4 * m->options.relations + 6) * hidden;
    return m->ops == &layer_sage_max ? 9 * hidden : 0;
}

size_t link_full_bytes(const struct link_classifier *m, const struct graph *g)
{
    const struct gnn_options *o = &m->options;
    double nodes = (double)g->n_nodes, edges = (double)g->all.offsets[g->all.n];
    /* Projection: linear, kind, sum, norm with its own copy, dropout; a hop: layer, dropout,
     * sum; each with its gradient. */
    double a_node = (double)m->width + (double)(11 + 6 * o->hops) * (double)o->hidden +
                    (double)(o->hops * layer_floats(m));
    double an_edge = 4 * 4 + 1; /* source, weight; the same from the other end; taken */
    if (m->ops->relations)
        an_edge += 4 + 8.0 * o->hops * o->relations;
    double bytes = 4 * (a_node + 8) * nodes + an_edge * edges;
    return bytes < 1e18 ? (size_t)bytes : SIZE_MAX;
}

bool link_full_fits(const struct link_classifier *m, const struct graph *g)
{
    return g->all.offsets[g->all.n] < UINT32_MAX &&
           link_full_bytes(m, g) / 1048576 < m->options.full_memory_mb;
}

/* ---- life ---- */

static void scale_rows(void *context, size_t begin, size_t end, unsigned worker)
{
    (void)worker;
    struct link_full *f = context;
    size_t width = f->m->width;
    for (size_t i = begin; i < end; i++) /* x holds the features as they came */
        link_raw_row(f->x + i * width, width, f->x + i * width);
}

static medley_status allocate(struct link_full *f, size_t n_pairs, medley_error *err)
{
    size_t n = f->n_nodes, edges = f->n_edges + 1;
    f->x = mem_alloc64(n + 1, f->m->width * sizeof *f->x);
    f->kind = mem_alloc(n + 1, sizeof *f->kind);
    f->match = mem_alloc(n_pairs + 1, MATCH_COLUMNS * sizeof *f->match);
    f->taken = mem_zalloc(edges, sizeof *f->taken);
    f->self = mem_alloc(n + 1, sizeof *f->self);
    f->offsets = mem_alloc(n + 1, sizeof *f->offsets);
    f->source = mem_alloc(edges, sizeof *f->source);
    f->weight = mem_alloc(edges, sizeof *f->weight);
    if (f->m->ops->relations)
        f->relations = mem_alloc(edges, sizeof *f->relations);
    return f->x && f->kind && f->match && f->taken && f->self && f->offsets && f->source &&
                   f->weight && (f->relations || !f->m->ops->relations)
               ? MEDLEY_OK
               : fail_memory(err, "full-graph training");
}

void link_full_free(struct link_full *f)
{
    if (!f)
        return;
    mem_free(f->x);
    mem_free(f->kind);
    mem_free(f->match);
    mem_free(f->taken);
    mem_free(f->self);
    mem_free(f->offsets);
    mem_free(f->source);
    mem_free(f->weight);
    mem_free(f->relations);
    reverse_free(f->reverse);
    mem_free(f);
}

medley_status link_full_new(const struct link_classifier *m, const struct graph *g,
                            const struct predict_job *pairs, struct link_full **out,
                            medley_error *err)
{
    if (g->all.offsets[g->all.n] >= UINT32_MAX)
        return fail(err, MEDLEY_EINVAL,
                    "a graph of %llu edges is too large for full-graph training",
                    (unsigned long long)g->all.offsets[g->all.n]);
    struct link_full *f = mem_zalloc(1, sizeof *f);
    if (!f)
        return fail_memory(err, "full-graph training");
    f->m = m;
    f->all = &g->all;
    f->n_nodes = g->n_nodes;
    f->n_edges = (size_t)g->all.offsets[g->all.n];
    medley_status st = allocate(f, pairs->n, err);
    if (st != MEDLEY_OK)
        goto done;
    for (size_t i = 0; i < f->n_nodes; i++) {
        f->self[i] = (uint32_t)i;
        f->kind[i] = i < g->n_queries ? 0 : 1;
    }
    memcpy(f->x, pairs->features->stored, f->n_nodes * m->width * sizeof *f->x);
    parallel_for(f->n_nodes, 256, scale_rows, f);
    st = link_match_nodes(m, pairs, f->match, err);
done:
    if (st == MEDLEY_OK)
        *out = f;
    else
        link_full_free(f);
    return st;
}

/* ---- the graph of a part ---- */

static void take(struct link_full *f, const struct link_part *p, uint8_t taken)
{
    for (size_t i = 0; i < p->n; i++) {
        size_t there = csr_find(f->all, p->query[i], p->product[i]);
        size_t back = csr_find(f->all, p->product[i], p->query[i]);
        if (there != SIZE_MAX)
            f->taken[there] = taken;
        if (back != SIZE_MAX)
            f->taken[back] = taken;
    }
}

static medley_status graph_without(struct link_full *f, const struct link_part *p,
                                   medley_error *err)
{
    const struct csr *c = f->all;
    size_t n = 0;
    take(f, p, 1);
    f->offsets[0] = 0;
    for (size_t i = 0; i < f->n_nodes; i++) {
        for (uint64_t e = c->offsets[i]; e < c->offsets[i + 1]; e++) {
            if (f->taken[e])
                continue;
            f->source[n] = c->target[e];
            f->weight[n] = c->weight ? c->weight[e] : 1;
            if (f->relations)
                f->relations[n] = c->relations ? c->relations[e] : 1;
            n++;
        }
        f->offsets[i + 1] = (uint32_t)n;
    }
    take(f, p, 0);
    f->block = (struct block){.n_targets = f->n_nodes,
                              .n_sources = f->n_nodes,
                              .n_edges = n,
                              .self = f->self,
                              .offsets = f->offsets,
                              .source = f->source,
                              .weight = f->weight,
                              .relations = f->relations};
    reverse_free(f->reverse);
    f->reverse = NULL;
    medley_status st = reverse_new(&f->block, &f->reverse, err);
    f->block.reverse = f->reverse;
    return st;
}

/* ---- the forward pass ---- */

/* Rows [2n, hidden] of the part's queries, then of its products, after the last hop. */
static struct tensor *encode(const struct link_full *f, struct tape *t, const uint32_t *roots,
                             size_t n)
{
    const struct link_classifier *m = f->m;
    struct tensor *hops[GNN_MAX_HOPS];
    struct tensor *h = link_project(m, t, f->x, f->kind, f->n_nodes);
    for (unsigned i = 0; i < m->options.hops; i++) {
        struct tensor *next = m->ops->forward(t, &m->layers[i], h, &f->block);
        next = op_dropout(t, op_whole_relu(t, next), (float)link_rate(m->options.dropout));
        h = op_add(t, next, h);
        hops[i] = op_rows(t, h, roots, n);
    }
    return link_finish(m, t, hops);
}

struct tensor *link_full_forward(struct link_full *f, struct tape *t, const struct link_part *p,
                                 medley_status *st, medley_error *err)
{
    uint32_t *roots = tape_alloc(t, 2 * p->n, sizeof *roots);
    float *match = tape_alloc(t, p->n * MATCH_COLUMNS, sizeof *match);
    if (!roots || !match)
        return NULL;
    memcpy(roots, p->query, p->n * sizeof *roots);
    memcpy(roots + p->n, p->product, p->n * sizeof *roots);
    for (size_t i = 0; i < p->n; i++)
        memcpy(match + i * MATCH_COLUMNS, f->match + p->pair[i] * (size_t)MATCH_COLUMNS,
               MATCH_COLUMNS * sizeof *match);
    *st = graph_without(f, p, err);
    if (*st != MEDLEY_OK)
        return NULL;
    t->spread = true;
    return link_heads(f->m, t, encode(f, t, roots, 2 * p->n), match, p->n);
}
