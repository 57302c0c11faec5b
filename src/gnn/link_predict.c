/* link_predict.c: prediction, embeddings and answers to requests, over whole neighbourhoods. */
#include "gnn/link_model.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/pool.h"
#include "base/progress.h"
#include "nn/ops.h"

#include <stdlib.h>
#include <string.h>

/* Pairs a thread takes at a time: enough for neighbours to be shared, small enough for the rows
 * to stay in the second-level cache. */
enum { CHUNK = 64 };

/* The hash seed of the cap on whole neighbourhoods. */
#define WHOLE_SEED UINT64_C(0x67726170682d616c)

struct worker {
    struct tape tape;
    struct sampler *sampler;
};

/* One run over n items in chunks, each on a worker's own tape. */
struct sweep {
    const struct link_classifier *m;
    const struct predict_job *job;      /* pairs; or, when NULL: */
    const struct sample_request *embed; /* nodes (root, n) */
    const struct feature_source *features;
    size_t begin; /* of this round */
    size_t n;     /* items in all */
    float *out;   /* [n, columns] */
    struct worker *workers;
    medley_status *status; /* [chunks of a round] */
    medley_error *errors;  /* [chunks of a round] */
};

static medley_status sweep_chunk(struct sweep *s, struct worker *w, size_t begin, size_t end,
                                 medley_error *err)
{
    medley_status st = MEDLEY_OK;
    tape_reset(&w->tape, false, 0);
    struct tensor *y = NULL;
    if (s->job) {
        struct link_batch batch = {
            .view = s->job->view,
            .features = s->features,
            .query = s->job->query + begin,
            .product = s->job->product + begin,
            .n = end - begin,
            .fanout = WHOLE,
            .seed = WHOLE_SEED,
        };
        y = link_forward(s->m, &w->tape, w->sampler, &batch, &st, err);
    } else {
        struct sample_request r = *s->embed;
        r.root += begin;
        r.n = end - begin;
        struct encoding *e = link_encode(s->m, &w->tape, w->sampler, &r, s->features, &st, err);
        y = e ? e->roots : NULL;
    }
    if (st != MEDLEY_OK)
        return st;
    if (!y)
        return fail_memory(err, "a graph model's activations");
    float *out = s->out + begin * y->cols;
    if (s->job)
        softmax_rows(y->value, y->rows, y->cols, out);
    else
        memcpy(out, y->value, y->rows * y->cols * sizeof *out);
    return MEDLEY_OK;
}

static void sweep_body(void *context, size_t begin, size_t end, unsigned worker)
{
    struct sweep *s = context;
    for (size_t c = begin; c < end; c++) {
        size_t from = s->begin + c * CHUNK, to = from + CHUNK < s->n ? from + CHUNK : s->n;
        s->status[c] = sweep_chunk(s, &s->workers[worker], from, to, &s->errors[c]);
    }
}

/* Rounds of a few chunks a thread, so that progress and interruption are looked at in between.
 */
static medley_status sweep_run(struct sweep *s, const char *task, medley_error *err)
{
    unsigned threads = pool_threads();
    size_t round = (size_t)threads * 4;
    medley_status st = MEDLEY_OK;
    s->workers = mem_zalloc(threads, sizeof *s->workers);
    s->status = mem_zalloc(round, sizeof *s->status);
    s->errors = mem_zalloc(round, sizeof *s->errors);
    if (!s->workers || !s->status || !s->errors) {
        st = fail_memory(err, "prediction");
        goto done;
    }
    for (unsigned i = 0; i < threads; i++) {
        tape_init(&s->workers[i].tape, &s->m->params, NULL);
        s->workers[i].sampler = sampler_new();
        if (!s->workers[i].sampler)
            st = fail_memory(err, "prediction");
    }
    while (st == MEDLEY_OK && s->begin < s->n) {
        size_t left = (s->n - s->begin + CHUNK - 1) / CHUNK,
               chunks = left < round ? left : round;
        if (interrupted()) {
            st = fail(err, MEDLEY_EINTERRUPTED, "interrupted while predicting");
            break;
        }
        parallel_for(chunks, 1, sweep_body, s);
        for (size_t c = 0; c < chunks && st == MEDLEY_OK; c++)
            if (s->status[c] != MEDLEY_OK) {
                st = s->status[c];
                if (err)
                    *err = s->errors[c];
            }
        s->begin += chunks * CHUNK;
        if (task && st == MEDLEY_OK)
            progress_step(task, s->begin < s->n ? s->begin : s->n, s->n, "pairs");
    }
    if (task)
        progress_end(task);
done:
    for (unsigned i = 0; s->workers && i < threads; i++) {
        if (s->workers[i].tape.params)
            tape_deinit(&s->workers[i].tape);
        sampler_free(s->workers[i].sampler);
    }
    mem_free(s->workers);
    mem_free(s->status);
    mem_free(s->errors);
    return st;
}

medley_status link_predict_nodes(const struct link_classifier *m, const struct predict_job *job,
                                 float *probabilities, medley_error *err)
{
    struct sweep s = {
        .m = m, .job = job, .features = job->features, .n = job->n, .out = probabilities};
    return sweep_run(&s, job->task, err);
}

medley_status link_classifier_predict(const struct link_classifier *m,
                                      const struct link_data *data, const char *task,
                                      float *probabilities, medley_error *err)
{
    const struct graph *g = data->graph;
    uint32_t *product = NULL;
    medley_status st = link_data_check(m, data, false, err);
    if (st != MEDLEY_OK)
        return st;
    product = mem_alloc(data->n + 1, sizeof *product);
    if (!product)
        return fail_memory(err, "prediction");
    for (size_t i = 0; i < data->n; i++)
        product[i] = (uint32_t)g->n_queries + data->product[i];
    struct graph_view view = {.base = &g->all};
    struct feature_source features = {.stored = data->features,
                                      .n_stored = g->n_nodes,
                                      .n_queries = g->n_queries,
                                      .width = m->width};
    struct predict_job job = {&view, &features, data->query, product, data->n, task};
    st = link_predict_nodes(m, &job, probabilities, err);
    mem_free(product);
    return st;
}

medley_status link_classifier_embed(const struct link_classifier *m, const struct graph *g,
                                    const float *features, const uint32_t *nodes, size_t n,
                                    float *out, medley_error *err)
{
    for (size_t i = 0; i < n; i++)
        if (nodes[i] >= g->n_nodes)
            return fail(err, MEDLEY_EINVAL, "node %u is not in the graph (%zu nodes)", nodes[i],
                        g->n_nodes);
    struct graph_view view = {.base = &g->all};
    struct feature_source source = {.stored = features,
                                    .n_stored = g->n_nodes,
                                    .n_queries = g->n_queries,
                                    .width = m->width};
    struct sample_request r = {
        .view = &view,
        .root = nodes,
        .n = n,
        .hops = m->options.hops,
        .fanout = WHOLE,
        .seed = WHOLE_SEED,
        .degrees = m->ops->degrees,
    };
    struct sweep s = {.m = m, .embed = &r, .features = &source, .n = n, .out = out};
    return sweep_run(&s, NULL, err);
}

/* The rows that a new query changes: its own (all candidates), and those of its candidates
 * (plus the query). Weight 1, as one listing. */
struct patch {
    struct arena arena;
    struct graph_view view;
};

static int by_id(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

struct patch_arrays {
    uint32_t *node, *target;
    uint64_t *offsets;
    float *weight, *degree;
};

/* Appends row i: the stored neighbours of `node`, then those in extra[n]. */
static void patch_row(struct patch_arrays *a, const struct csr *base, size_t i, uint32_t node,
                      const uint32_t *extra, size_t n)
{
    struct graph_view stored = {.base = base};
    struct graph_row row = view_row(&stored, node);
    uint64_t at = a->offsets[i];
    double degree = 0;
    for (size_t e = 0; e < row.n + n; e++, at++) {
        a->target[at] = e < row.n ? row.target[e] : extra[e - row.n];
        a->weight[at] = e < row.n ? row.weight[e] : 1.0f;
        degree += (double)a->weight[at];
    }
    a->node[i] = node;
    a->degree[i] = (float)degree;
    a->offsets[i + 1] = at;
}

/* candidates[n]: node ids of the request's products. Ids: stored nodes, the query, new
 * products; ascending in that order, so rows stay sorted. */
static bool patch_build(struct patch *p, const struct graph *g, const uint32_t *candidates,
                        size_t n)
{
    const struct csr *base = &g->all;
    uint32_t query = (uint32_t)g->n_nodes;
    uint32_t *unique = arena_alloc(&p->arena, n, sizeof *unique);
    if (!unique)
        return false;
    memcpy(unique, candidates, n * sizeof *unique);
    qsort(unique, n, sizeof *unique, by_id);
    size_t count = 0, stored = 0, edges = 0;
    for (size_t i = 0; i < n; i++)
        if (i == 0 || unique[i] != unique[i - 1])
            unique[count++] = unique[i];
    while (stored < count && unique[stored] < g->n_nodes)
        stored++;
    for (size_t i = 0; i < stored; i++)
        edges += (size_t)(base->offsets[unique[i] + 1] - base->offsets[unique[i]]);
    edges += 2 * count;
    struct patch_arrays a = {
        .node = arena_alloc(&p->arena, count + 1, sizeof *a.node),
        .target = arena_alloc(&p->arena, edges, sizeof *a.target),
        .offsets = arena_alloc(&p->arena, count + 2, sizeof *a.offsets),
        .weight = arena_alloc(&p->arena, edges, sizeof *a.weight),
        .degree = arena_alloc(&p->arena, count + 1, sizeof *a.degree),
    };
    if (!a.node || !a.target || !a.offsets || !a.weight || !a.degree)
        return false;
    a.offsets[0] = 0;
    for (size_t i = 0; i < stored; i++)
        patch_row(&a, base, i, unique[i], &query, 1);
    patch_row(&a, base, stored, query, unique, count);
    for (size_t i = stored; i < count; i++)
        patch_row(&a, base, i + 1, unique[i], &query, 1);
    p->view.n_patched = count + 1;
    p->view.patched = a.node;
    p->view.patch = (struct csr){count + 1, a.offsets, a.target, a.weight, a.degree};
    return true;
}

static medley_status request_check(const struct link_request *r, medley_error *err)
{
    const struct graph *g = r->graph;
    if (r->query != UINT32_MAX && r->query >= g->n_queries)
        return fail(err, MEDLEY_EINVAL, "query %u is not in the graph (%zu queries)", r->query,
                    g->n_queries);
    if (r->query == UINT32_MAX && !r->query_features)
        return fail(err, MEDLEY_EINVAL, "a new query needs features");
    if (r->n > UINT32_MAX / 4)
        return fail(err, MEDLEY_EINVAL, "a request of %zu candidates is too large", r->n);
    for (size_t i = 0; i < r->n; i++) {
        if (r->product[i] != UINT32_MAX && r->product[i] >= g->n_products)
            return fail(err, MEDLEY_EINVAL,
                        "candidate %zu: product %u is not in the graph (%zu)", i, r->product[i],
                        g->n_products);
        if (r->product[i] == UINT32_MAX && !r->product_features)
            return fail(err, MEDLEY_EINVAL, "candidate %zu is new and needs features", i);
    }
    return MEDLEY_OK;
}

/* A graph of product-product relations alone gives no query a neighbour; a new one gets none
 * either. */
static bool has_query_edges(const struct graph *g)
{
    return g->all.offsets[g->n_queries] > 0;
}

medley_status link_classifier_answer(const struct link_classifier *m,
                                     const struct link_request *request, float *probabilities,
                                     medley_error *err)
{
    const struct graph *g = request->graph;
    size_t n = request->n;
    medley_status st = request_check(request, err);
    if (st != MEDLEY_OK || n == 0)
        return st;
    struct patch patch = {.view.base = &g->all};
    arena_init(&patch.arena, 0);
    uint32_t *query = arena_alloc(&patch.arena, n, sizeof *query);
    uint32_t *product = arena_alloc(&patch.arena, n, sizeof *product);
    if (!query || !product) {
        st = fail_memory(err, "a request");
        goto done;
    }
    bool new_query = request->query == UINT32_MAX;
    for (size_t i = 0; i < n; i++) {
        query[i] = new_query ? (uint32_t)g->n_nodes : request->query;
        product[i] = request->product[i] == UINT32_MAX
                         ? (uint32_t)(g->n_nodes + 1 + i)
                         : (uint32_t)(g->n_queries + request->product[i]);
    }
    if (new_query && has_query_edges(g) && !patch_build(&patch, g, product, n)) {
        st = fail_memory(err, "a request");
        goto done;
    }
    struct feature_source features = {
        .stored = request->features,
        .n_stored = g->n_nodes,
        .n_queries = g->n_queries,
        .width = m->width,
        .query = request->query_features,
        .products = request->product_features,
    };
    struct predict_job job = {&patch.view, &features, query, product, n, NULL};
    st = link_predict_nodes(m, &job, probabilities, err);
done:
    arena_deinit(&patch.arena);
    return st;
}
