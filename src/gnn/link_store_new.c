/* link_store_new.c: pairs of a new query whose candidates are all stored: text features, one
 * hop over what the store has of the candidates, the classifier.
 *
 * As in the live path a new query's neighbours are its candidates, each pair's own edge hidden:
 * pair i has a row of the query that reads all candidates but product i. The live path also
 * lets the candidates see the query; here they are as they were stored, so no layer is run over
 * them. Everything the classifier reads of raw features is exact. */
#include "gnn/link_store_file.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/rng.h"
#include "nn/ops.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The candidates, each once, and what is known of them. */
struct listing {
    const struct link_store *store;
    const struct link_classifier *model;
    const struct link_request *request;
    size_t n;          /* different candidates */
    size_t *row;       /* [n] in the store, ascending */
    uint32_t *order;   /* [n] as a hub's neighbours are chosen, the first first */
    const float **put; /* [n] their rows as floats */
    float *raw;        /* [n, width] of unit RMS */
    float *cosine;     /* [n] with the query */
    float *query_raw;  /* [width] */
};

struct ranked {
    uint64_t hash;
    uint32_t at;
};

static int by_row(const void *a, const void *b)
{
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

static int by_hash(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->hash != y->hash)
        return x->hash > y->hash ? 1 : -1;
    return (x->at > y->at) - (x->at < y->at);
}

static bool choose_order(struct listing *l, struct tape *t)
{
    const struct graph *g = l->request->graph;
    struct ranked *ranked = tape_alloc(t, l->n, sizeof *ranked);
    l->order = tape_alloc(t, l->n, sizeof *l->order);
    if (!ranked || !l->order)
        return false;
    for (size_t i = 0; i < l->n; i++) {
        uint32_t node = (uint32_t)g->n_queries + l->store->product_ids[l->row[i]];
        ranked[i] = (struct ranked){mix64(WHOLE_SEED, g->n_nodes, node), (uint32_t)i};
    }
    qsort(ranked, l->n, sizeof *ranked, by_hash);
    for (size_t i = 0; i < l->n; i++)
        l->order[i] = ranked[i].at;
    return true;
}

static bool listing_read(struct listing *l, struct tape *t, const size_t *row)
{
    const struct link_store *s = l->store;
    const struct link_request *r = l->request;
    size_t width = l->model->width, columns = s->layout.product.columns;
    l->row = tape_alloc(t, r->n, sizeof *l->row);
    if (!l->row)
        return false;
    memcpy(l->row, row, r->n * sizeof *row);
    qsort(l->row, r->n, sizeof *l->row, by_row);
    for (size_t i = 0; i < r->n; i++)
        if (i == 0 || l->row[i] != l->row[i - 1])
            l->row[l->n++] = l->row[i];
    float *scratch = s->header->half ? tape_alloc(t, l->n * columns, sizeof *scratch) : NULL;
    l->put = tape_alloc(t, l->n, sizeof *l->put);
    l->raw = tape_alloc(t, l->n * width, sizeof *l->raw);
    l->cosine = tape_alloc(t, l->n, sizeof *l->cosine);
    l->query_raw = tape_alloc(t, width, sizeof *l->query_raw);
    if (!l->put || !l->raw || !l->cosine || !l->query_raw || (s->header->half && !scratch))
        return false;
    link_raw_row(r->query_features, width, l->query_raw);
    for (size_t i = 0; i < l->n; i++) {
        size_t node = r->graph->n_queries + s->product_ids[l->row[i]];
        l->put[i] = link_store_row(s, &s->layout.product, s->product_rows, l->row[i],
                                   scratch ? scratch + i * columns : NULL);
        link_raw_row(r->features + node * width, width, l->raw + i * width);
        l->cosine[i] = match_cosine(l->query_raw, l->raw + i * width, width);
    }
    return choose_order(l, t);
}

static size_t place_of(const struct listing *l, size_t row)
{
    return (size_t)((const size_t *)bsearch(&row, l->row, l->n, sizeof row, by_row) - l->row);
}

/* What pair i's row of the query reads: all candidates but `own`, or WHOLE of them. */
static size_t neighbours(const struct listing *l, size_t own, uint32_t *out)
{
    size_t n = 0;
    if (l->n - 1 <= WHOLE) {
        for (uint32_t j = 0; j < l->n; j++)
            if (j != own)
                out[n++] = j;
        return n;
    }
    bool taken[LINK_STORE_LISTING] = {false};
    for (size_t k = 0; n < WHOLE; k++)
        if (l->order[k] != own) {
            taken[l->order[k]] = true;
            n++;
        }
    n = 0;
    for (uint32_t j = 0; j < l->n; j++)
        if (taken[j])
            out[n++] = j;
    return n;
}

/* Sources of every hop: the n query rows, then the candidates. */
static bool build_block(const struct listing *l, struct tape *t, const size_t *own,
                        struct block *b)
{
    size_t n = l->request->n, most = l->n - 1 < WHOLE ? l->n - 1 : WHOLE, edges = n * most;
    bool degrees = l->model->ops->degrees, relations = l->model->ops->relations;
    uint32_t *self = tape_alloc(t, n, sizeof *self),
             *offsets = tape_alloc(t, n + 1, sizeof *offsets),
             *source = tape_alloc(t, edges + 1, sizeof *source),
             *relation = tape_alloc(t, edges + 1, sizeof *relation);
    float *weight = tape_alloc(t, edges + 1, sizeof *weight),
          *target_degree = tape_alloc(t, n, sizeof *target_degree),
          *source_degree = tape_alloc(t, edges + 1, sizeof *source_degree);
    if (!self || !offsets || !source || !relation || !weight || !target_degree ||
        !source_degree)
        return false;
    const struct graph *g = l->request->graph;
    uint32_t listing = link_listing_relation(g, true);
    offsets[0] = 0;
    for (size_t i = 0; i < n; i++) {
        size_t at = offsets[i], k = neighbours(l, own[i], source + at);
        float scale = k ? (float)(l->n - 1) / (float)k : 1;
        self[i] = (uint32_t)i;
        target_degree[i] = (float)(l->n - 1);
        for (size_t e = at; e < at + k; e++) {
            uint32_t node = (uint32_t)g->n_queries + l->store->product_ids[l->row[source[e]]];
            source_degree[e] = g->all.degree[node] + 1;
            relation[e] = listing;
            weight[e] = scale;
            source[e] += (uint32_t)n;
        }
        offsets[i + 1] = (uint32_t)(at + k);
    }
    *b = (struct block){.n_targets = n,
                        .n_sources = n + l->n,
                        .n_edges = offsets[n],
                        .self = self,
                        .offsets = offsets,
                        .source = source,
                        .weight = weight,
                        .target_degree = degrees ? target_degree : NULL,
                        .source_degree = degrees ? source_degree : NULL,
                        .relations = relations ? relation : NULL};
    return true;
}

/* The query's last rows, one a pair; NULL when the tape failed. */
static struct tensor *query_rows(const struct listing *l, struct tape *t, const struct block *b)
{
    const struct link_classifier *m = l->model;
    size_t n = l->request->n, hidden = m->options.hidden;
    struct sample sample = {.hops = m->options.hops};
    struct tensor *hops[GNN_MAX_HOPS];
    const int32_t kind = 0;
    struct tensor *first = link_project(m, t, l->query_raw, &kind, 1);
    for (unsigned i = 0; i < m->options.hops; i++) {
        struct tensor *h = tape_tensor(t, b->n_sources, hidden, false);
        if (!h || !first)
            return NULL;
        for (size_t k = 0; k < n; k++)
            memcpy(h->value + k * hidden, i ? hops[i - 1]->value + k * hidden : first->value,
                   hidden * sizeof(float));
        for (size_t k = 0; k < l->n; k++)
            memcpy(h->value + (n + k) * hidden, l->put[k] + (1 + i) * hidden,
                   hidden * sizeof(float));
        sample.blocks[i] = *b;
        if (!(hops[i] = link_layer(m, t, i, h, b)))
            return NULL;
    }
    return link_last(m, t, &sample, hops);
}

/* The query's side of pair i: means over its neighbours. scratch[width + WHOLE]. */
static struct match_side query_side(const struct listing *l, const struct block *b, size_t i,
                                    float *scratch)
{
    size_t width = l->model->width, n = l->request->n;
    size_t from = b->offsets[i], k = b->offsets[i + 1] - from;
    float *others = scratch + width, sum = 0;
    memset(scratch, 0, width * sizeof *scratch);
    for (size_t e = 0; e < k; e++) {
        size_t j = b->source[from + e] - n;
        const float *x = l->raw + j * width;
        for (size_t c = 0; c < width; c++)
            scratch[c] += x[c] / (float)k;
        others[e] = l->cosine[j];
        sum += b->weight[from + e];
    }
    return (struct match_side){.raw = l->query_raw,
                               .around = scratch,
                               .log_degree = log1pf(sum),
                               .n_others = k,
                               .others = others};
}

static bool answer(struct listing *l, struct tape *t, const size_t *row, float *probabilities)
{
    const struct link_classifier *m = l->model;
    size_t n = l->request->n, hidden = m->options.hidden, width = m->width;
    size_t *own = tape_alloc(t, n, sizeof *own);
    float *match = tape_alloc(t, n * MATCH_COLUMNS, sizeof *match),
          *scratch = tape_alloc(t, width + WHOLE, sizeof *scratch);
    struct tensor *rows = tape_tensor(t, 2 * n, hidden, false);
    struct block b;
    if (!own || !match || !scratch || !rows || !listing_read(l, t, row))
        return false;
    for (size_t i = 0; i < n; i++)
        own[i] = place_of(l, row[i]);
    if (!build_block(l, t, own, &b))
        return false;
    struct tensor *query = query_rows(l, t, &b);
    if (!query)
        return false;
    memcpy(rows->value, query->value, n * hidden * sizeof(float));
    for (size_t i = 0; i < n; i++) {
        const float *p = l->put[own[i]];
        memcpy(rows->value + (n + i) * hidden, p, hidden * sizeof(float));
        struct match_side q = query_side(l, &b, i, scratch),
                          product = link_store_product(l->store, p, l->raw + own[i] * width);
        match_pair(&q, &product, width, match + i * MATCH_COLUMNS);
    }
    struct tensor *logits = link_heads(m, t, rows, match, n);
    if (logits)
        softmax_rows(logits->value, n, m->n_classes, probabilities);
    return logits != NULL;
}

medley_status link_store_answer_new(const struct link_store *s, const struct link_classifier *m,
                                    const struct link_request *r, const size_t *row,
                                    float *probabilities, medley_error *err)
{
    struct listing l = {.store = s, .model = m, .request = r};
    struct tape t;
    tape_init(&t, &m->params, NULL);
    tape_reset(&t, false, 0);
    bool good = answer(&l, &t, row, probabilities);
    tape_deinit(&t);
    return good ? MEDLEY_OK : fail_memory(err, "a request");
}
