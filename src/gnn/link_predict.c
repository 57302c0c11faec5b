/* link_predict.c: prediction and embeddings over whole neighbourhoods. */
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

struct worker {
    struct tape tape;
    struct sampler *sampler;
};

/* One run over n items in chunks, each on a worker's own tape. */
struct sweep {
    const struct link_classifier *m;
    const struct predict_job *job;      /* pairs; or, when NULL: */
    bool match_only;                    /* of pairs */
    const struct sample_request *embed; /* nodes (root, n), for: */
    const struct node_job *nodes;
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
    bool done = false;
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
        struct tensor *y = NULL;
        float *match = NULL;
        if (s->match_only)
            match = link_matches(s->m, &w->tape, w->sampler, &batch, &st, err);
        else
            y = link_forward(s->m, &w->tape, w->sampler, &batch, &st, err);
        if ((done = st == MEDLEY_OK && match))
            memcpy(s->out + begin * MATCH_COLUMNS, match,
                   (end - begin) * MATCH_COLUMNS * sizeof *match);
        else if ((done = st == MEDLEY_OK && y))
            softmax_rows(y->value, y->rows, y->cols, s->out + begin * y->cols);
    } else {
        struct sample_request r = *s->embed;
        r.root += begin;
        r.n = end - begin;
        struct encoding *e = link_encode(s->m, &w->tape, w->sampler, &r, s->features, &st, err);
        if ((done = st == MEDLEY_OK && e))
            s->nodes->take(s->m, e, r.n, s->out + begin * s->nodes->stride);
    }
    if (st == MEDLEY_OK && !done)
        st = fail_memory(err, "a graph model's activations");
    return st;
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

medley_status link_match_nodes(const struct link_classifier *m, const struct predict_job *job,
                               float *out, medley_error *err)
{
    struct sweep s = {.m = m,
                      .job = job,
                      .match_only = true,
                      .features = job->features,
                      .n = job->n,
                      .out = out};
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

medley_status link_encode_nodes(const struct link_classifier *m, const struct node_job *job,
                                float *out, medley_error *err)
{
    const struct graph *g = job->graph;
    for (size_t i = 0; i < job->n; i++)
        if (job->nodes[i] >= g->n_nodes)
            return fail(err, MEDLEY_EINVAL, "node %u is not in the graph (%zu nodes)",
                        job->nodes[i], g->n_nodes);
    struct graph_view view = {.base = &g->all};
    struct feature_source source = {.stored = job->features,
                                    .n_stored = g->n_nodes,
                                    .n_queries = g->n_queries,
                                    .width = m->width};
    struct sample_request r = {
        .view = &view,
        .root = job->nodes,
        .n = job->n,
        .hops = m->options.hops,
        .fanout = WHOLE,
        .seed = WHOLE_SEED,
        .degrees = m->ops->degrees,
        .relations = m->ops->relations,
    };
    struct sweep s = {
        .m = m, .embed = &r, .nodes = job, .features = &source, .n = job->n, .out = out};
    return sweep_run(&s, NULL, err);
}

static void take_roots(const struct link_classifier *m, const struct encoding *e, size_t n,
                       float *out)
{
    memcpy(out, e->roots->value, n * m->options.hidden * sizeof *out);
}

medley_status link_classifier_embed(const struct link_classifier *m, const struct graph *g,
                                    const float *features, const uint32_t *nodes, size_t n,
                                    float *out, medley_error *err)
{
    struct node_job job = {g, features, nodes, n, m->options.hidden, take_roots};
    return link_encode_nodes(m, &job, out, err);
}
