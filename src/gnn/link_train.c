/* link_train.c: mini-batch training of a link classifier, with early stopping and resumption.
 *
 * Everything random is a function of (seed, epoch or step): the order of the pairs, the sampled
 * neighbours, the dropout masks. A checkpoint therefore needs parameters, optimiser state and
 * counters, no generator state, and a resumed run ends in the bits of an uninterrupted one. */
#include "gnn/link_model.h"

#include "base/cpu.h"
#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/pool.h"
#include "base/progress.h"
#include "nn/lanes.h"
#include "nn/ops.h"
#include "nn/resume.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Share of the training queries that early stopping watches instead of learning from. */
#define HELD_OUT 0.1

/* Steps of an epoch over the whole graph, each of which costs a pass however few its pairs are:
 * at most so many, and at least so many, because all edges of a step's pairs are out of the
 * graph. On ESCI 16 steps an epoch where sampling takes 26 learnt too little: training loss
 * 1.109 against 1.066 after 10 epochs; as many steps, 1.066. */
enum { FULL_PARTS = 32, LEAST_PARTS = 8 };

enum stream { STREAM_ORDER = 1, STREAM_DROPOUT, STREAM_SAMPLE, STREAM_HELD_OUT };

struct lane_state {
    struct sampler *sampler;
    medley_status status;
    medley_error error;
};

struct training {
    struct link_classifier *m;
    const struct link_data *data;
    struct graph_view view;
    struct feature_source features;
    uint32_t *fit, *held; /* [n_fit], [n_held] indices of pairs */
    size_t n_fit, n_held;
    uint32_t *order;           /* [n_fit] of this epoch */
    uint32_t *query, *product; /* [batch] node ids of the coming step */
    uint8_t *label;            /* [batch] */
    size_t n_batch;
    uint64_t sample_seed;
    struct lane_state *lane_states; /* [lanes] */
    struct lanes lanes;
    struct link_full *full;   /* NULL: sampled */
    uint32_t *nodes, *chosen; /* full: [2n] queries', products' node ids; [n] a step's pairs */
    size_t step_pairs;        /* at most, a step */
    struct adamw adamw;
    float *best; /* [total] parameters of the best evaluation; NULL without early stopping */
    struct train_position at;
    struct hash128 identity; /* of options, pairs, labels, graph and features */
    double started;          /* seconds */
};

static bool is_held_out(const struct training *t, uint32_t query)
{
    uint64_t h = mix64(t->m->options.seed, STREAM_HELD_OUT, query);
    return t->m->options.patience && (double)(h >> 11) * 0x1p-53 < HELD_OUT;
}

/* Early stopping needs pairs on both sides; with too few queries all pairs are trained on. */
static void split_held_out(struct training *t)
{
    for (size_t i = 0; i < t->data->n; i++)
        if (is_held_out(t, t->data->query[i]))
            t->held[t->n_held++] = (uint32_t)i;
        else
            t->fit[t->n_fit++] = (uint32_t)i;
    if (t->n_held && t->n_fit)
        return;
    t->n_held = 0;
    t->n_fit = t->data->n;
    for (size_t i = 0; i < t->n_fit; i++)
        t->fit[i] = (uint32_t)i;
}

static medley_status identify(struct training *t, medley_error *err)
{
    const struct link_data *d = t->data;
    const struct csr *all = &d->graph->all;
    struct strbuf config;
    sb_init(&config);
    link_config_write(t->m, &config);
    if (config.failed) {
        sb_deinit(&config);
        return fail_memory(err, "training");
    }
    struct hash128 h = {0, 0};
    h = hash_bytes(config.s, config.n, h);
    h = hash_bytes(d->query, d->n * sizeof *d->query, h);
    h = hash_bytes(d->product, d->n * sizeof *d->product, h);
    h = hash_bytes(d->label, d->n, h);
    h = hash_bytes(d->features, d->graph->n_nodes * t->m->width * sizeof *d->features, h);
    h = hash_bytes(all->offsets, (all->n + 1) * sizeof *all->offsets, h);
    h = hash_bytes(all->target, all->offsets[all->n] * sizeof *all->target, h);
    if (t->m->ops->relations)
        h = hash_bytes(all->relations, all->offsets[all->n] * sizeof *all->relations, h);
    if (all->weight)
        h = hash_bytes(all->weight, all->offsets[all->n] * sizeof *all->weight, h);
    /* The starting point too: training goes on from the parameters there are. */
    t->identity = hash_bytes(t->m->params.values, t->m->params.total * sizeof(float), h);
    sb_deinit(&config);
    return MEDLEY_OK;
}

static uint64_t steps_of_epoch(const struct training *t)
{
    return (t->n_fit + t->step_pairs - 1) / t->step_pairs;
}

static size_t full_step(const struct training *t)
{
    size_t parts = (t->n_fit + t->m->options.batch - 1) / t->m->options.batch;
    parts = parts > FULL_PARTS ? FULL_PARTS : parts < LEAST_PARTS ? LEAST_PARTS : parts;
    return (t->n_fit + parts - 1) / parts;
}

static medley_status start_full(struct training *t, medley_error *err)
{
    const struct link_data *d = t->data;
    size_t n = d->n;
    t->nodes = mem_alloc(n, 2 * sizeof *t->nodes);
    t->chosen = mem_alloc(t->step_pairs, sizeof *t->chosen);
    if (!t->nodes || !t->chosen)
        return fail_memory(err, "training");
    for (size_t i = 0; i < n; i++) {
        t->nodes[i] = d->query[i];
        t->nodes[n + i] = (uint32_t)d->graph->n_queries + d->product[i];
    }
    struct predict_job pairs = {.view = &t->view,
                                .features = &t->features,
                                .query = t->nodes,
                                .product = t->nodes + n,
                                .n = n};
    return link_full_new(t->m, d->graph, &pairs, &t->full, err);
}

/* A pass over the graph pays when there are many pairs to each node: with 6,000 pairs on 12,000
 * nodes samples are as fast or up to three times faster, and no worse. */
static bool trains_full(const struct training *t)
{
    const char *how = t->m->options.training;
    const struct graph *g = t->data->graph;
    return strcmp(how, "full") == 0 ||
           (strcmp(how, "auto") == 0 && t->data->n >= g->n_nodes && link_full_fits(t->m, g));
}

static medley_status training_init(struct training *t, medley_error *err)
{
    const struct gnn_options *o = &t->m->options;
    const struct params *p = &t->m->params;
    size_t n = t->data->n;
    t->fit = mem_alloc(n, sizeof *t->fit);
    t->held = mem_alloc(n, sizeof *t->held);
    t->order = mem_alloc(n, sizeof *t->order);
    t->lane_states = mem_zalloc(o->lanes, sizeof *t->lane_states);
    if (!t->fit || !t->held || !t->order || !t->lane_states)
        return fail_memory(err, "training");
    split_held_out(t);
    bool full = trains_full(t);
    t->step_pairs = full ? full_step(t) : o->batch;
    t->query = mem_alloc(t->step_pairs, sizeof *t->query);
    t->product = mem_alloc(t->step_pairs, sizeof *t->product);
    t->label = mem_alloc(t->step_pairs, sizeof *t->label);
    if (!t->query || !t->product || !t->label)
        return fail_memory(err, "training");
    if (t->n_held && !(t->best = mem_alloc(p->total, sizeof *t->best)))
        return fail_memory(err, "training");
    for (unsigned i = 0; i < o->lanes; i++)
        if (!(t->lane_states[i].sampler = sampler_new()))
            return fail_memory(err, "training");
    struct adamw_options a = {
        .learning_rate = o->learning_rate,
        .weight_decay = link_rate(o->weight_decay),
        .clip = 1,
        .warmup = 0.05,
        .total_steps = steps_of_epoch(t) * o->epochs,
        .schedule = SCHEDULE_COSINE,
    };
    medley_status st = identify(t, err);
    if (st == MEDLEY_OK)
        st = lanes_init(&t->lanes, p, full ? 1 : o->lanes, err);
    if (st == MEDLEY_OK)
        st = adamw_init(&t->adamw, p, &a, err);
    return st == MEDLEY_OK && full ? start_full(t, err) : st;
}

static void training_deinit(struct training *t)
{
    for (unsigned i = 0; t->lane_states && i < t->m->options.lanes; i++)
        sampler_free(t->lane_states[i].sampler);
    mem_free(t->lane_states);
    mem_free(t->fit);
    mem_free(t->held);
    mem_free(t->order);
    mem_free(t->query);
    mem_free(t->product);
    mem_free(t->label);
    mem_free(t->best);
    mem_free(t->nodes);
    mem_free(t->chosen);
    link_full_free(t->full);
    lanes_deinit(&t->lanes);
    adamw_deinit(&t->adamw);
}

static struct resume resume_of(struct training *t)
{
    return (struct resume){.identity = t->identity,
                           .params = &t->m->params,
                           .adamw = &t->adamw,
                           .best = t->best,
                           .epochs = t->m->options.epochs,
                           .steps = steps_of_epoch(t)};
}

/* ---- one step ---- */

static bool has_limits(const struct gnn_options *o)
{
    for (size_t i = 0; i < GRAPH_TYPED_RELATIONS; i++)
        if (o->relation_fanout[i])
            return true;
    return false;
}

static struct tensor *lane_loss(void *context, struct tape *tape, unsigned lane)
{
    struct training *t = context;
    struct lane_state *own = &t->lane_states[lane];
    size_t begin = t->n_batch * lane / t->lanes.count;
    size_t end = t->n_batch * (lane + 1) / t->lanes.count;
    own->status = MEDLEY_OK;
    if (begin == end)
        return NULL;
    struct link_batch batch = {
        .view = &t->view,
        .features = &t->features,
        .query = t->query + begin,
        .product = t->product + begin,
        .n = end - begin,
        .fanout = t->m->options.fanout,
        .hop_fanout = t->m->options.hop_fanout,
        .relation_fanout = has_limits(&t->m->options) ? t->m->options.relation_fanout : NULL,
        .seed = t->sample_seed,
    };
    struct tensor *logits =
        link_forward(t->m, tape, own->sampler, &batch, &own->status, &own->error);
    struct tensor *loss = op_softmax_loss(tape, logits, t->label + begin, NULL, 0);
    return op_scale(tape, loss, (float)(end - begin) / (float)t->n_batch);
}

static struct tensor *full_loss(void *context, struct tape *tape, unsigned lane)
{
    struct training *t = context;
    struct lane_state *own = &t->lane_states[lane];
    struct link_part part = {t->chosen, t->query, t->product, t->n_batch};
    own->status = MEDLEY_OK;
    struct tensor *logits = link_full_forward(t->full, tape, &part, &own->status, &own->error);
    return op_softmax_loss(tape, logits, t->label, NULL, 0);
}

static int by_query(const void *a, const void *b, void *context)
{
    const struct link_data *d = context;
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    if (d->query[x] != d->query[y])
        return d->query[x] < d->query[y] ? -1 : 1;
    return (x > y) - (x < y);
}

/* Pairs of one query stand together within a batch: their neighbourhoods overlap, and lanes cut
 * the batch in order, so fewer rows are computed twice. */
static void load_batch(struct training *t, uint64_t step)
{
    size_t batch = t->step_pairs, begin = (size_t)step * batch;
    t->n_batch = t->n_fit - begin < batch ? t->n_fit - begin : batch;
    qsort_r(t->order + begin, t->n_batch, sizeof *t->order, by_query, (void *)t->data);
    for (size_t i = 0; i < t->n_batch; i++) {
        uint32_t pair = t->order[begin + i];
        t->query[i] = t->data->query[pair];
        t->product[i] = (uint32_t)t->data->graph->n_queries + t->data->product[pair];
        t->label[i] = t->data->label[pair];
        if (t->full)
            t->chosen[i] = pair;
    }
}

static medley_status train_step(struct training *t, medley_error *err)
{
    uint64_t seed = t->m->options.seed, step = t->at.epoch * steps_of_epoch(t) + t->at.step;
    double loss = 0;
    load_batch(t, t->at.step);
    t->sample_seed = mix64(seed, STREAM_SAMPLE, step);
    medley_status st = lanes_run(&t->lanes, mix64(seed, STREAM_DROPOUT, step),
                                 t->full ? full_loss : lane_loss, t, &loss, err);
    for (unsigned i = 0; i < t->lanes.count; i++)
        if (t->lane_states[i].status != MEDLEY_OK) {
            if (err)
                *err = t->lane_states[i].error;
            return t->lane_states[i].status;
        }
    if (st != MEDLEY_OK)
        return st;
    if (!isfinite(loss))
        return fail(err, MEDLEY_EINVAL,
                    "training diverged at step %llu: try a lower learning rate",
                    (unsigned long long)step);
    t->at.loss_sum += loss * (double)t->n_batch;
    adamw_step(&t->adamw, &t->m->params, t->lanes.grads);
    return MEDLEY_OK;
}

/* ---- epochs ---- */

static medley_status held_out_loss(struct training *t, double *out, medley_error *err)
{
    size_t k = t->m->n_classes;
    double sum = 0;
    uint32_t *nodes = mem_alloc(2 * t->n_held, sizeof *nodes);
    float *probabilities = mem_alloc(t->n_held * k, sizeof *probabilities);
    medley_status st = MEDLEY_OK;
    if (!nodes || !probabilities) {
        st = fail_memory(err, "an evaluation");
        goto done;
    }
    for (size_t i = 0; i < t->n_held; i++) {
        nodes[i] = t->data->query[t->held[i]];
        nodes[t->n_held + i] =
            (uint32_t)t->data->graph->n_queries + t->data->product[t->held[i]];
    }
    struct predict_job job = {&t->view,          &t->features, nodes,
                              nodes + t->n_held, t->n_held,    NULL};
    st = link_predict_nodes(t->m, &job, probabilities, err);
    if (st != MEDLEY_OK)
        goto done;
    for (size_t i = 0; i < t->n_held; i++)
        sum -= log(fmax((double)probabilities[i * k + t->data->label[t->held[i]]], 1e-15));
    *out = sum / (double)t->n_held;
done:
    mem_free(nodes);
    mem_free(probabilities);
    return st;
}

static medley_status log_epoch(const struct training *t, const char *path, double loss,
                               double held_out, medley_error *err)
{
    if (!path)
        return MEDLEY_OK;
    struct strbuf line;
    struct json_writer w;
    sb_init(&line);
    jw_init(&w, &line, false);
    jw_object(&w);
    jw_key(&w, "epoch");
    jw_i64(&w, (int64_t)t->at.epoch + 1);
    jw_key(&w, "training");
    jw_textz(&w, t->full ? "full" : "sampled");
    jw_key(&w, "step");
    jw_i64(&w, (int64_t)t->adamw.step);
    jw_key(&w, "loss");
    jw_double(&w, loss);
    if (t->n_held) {
        jw_key(&w, "held_out_log_loss");
        jw_double(&w, held_out);
    }
    jw_key(&w, "learning_rate");
    jw_double(&w, adamw_rate(&t->adamw));
    jw_key(&w, "seconds");
    jw_double(&w, clock_seconds() - t->started);
    jw_object_end(&w);
    sb_addc(&line, '\n');
    medley_status st = MEDLEY_OK;
    FILE *f = fopen(path, "a");
    if (line.failed)
        st = fail_memory(err, "a log line");
    else if (!f)
        st = fail(err, MEDLEY_EIO, "cannot open '%s': %s", path, strerror(errno));
    else if (fwrite(line.s, 1, line.n, f) != line.n)
        st = fail(err, MEDLEY_EIO, "cannot write '%s': %s", path, strerror(errno));
    if (f && fclose(f) != 0 && st == MEDLEY_OK)
        st = fail(err, MEDLEY_EIO, "cannot write '%s': %s", path, strerror(errno));
    sb_deinit(&line);
    return st;
}

/* Evaluates where there are held-out queries, logs, and moves on to the next epoch. */
static medley_status end_epoch(struct training *t, const char *log_path, medley_error *err)
{
    double held_out = 0;
    if (t->n_held) {
        medley_status st = held_out_loss(t, &held_out, err);
        if (st != MEDLEY_OK)
            return st;
        if (held_out < t->at.best_loss) {
            t->at.best_loss = held_out;
            t->at.stale = 0;
            memcpy(t->best, t->m->params.values, t->m->params.total * sizeof(float));
        } else {
            t->at.stale++;
        }
    }
    medley_status st = log_epoch(t, log_path, t->at.loss_sum / (double)t->n_fit, held_out, err);
    t->at.epoch++;
    t->at.step = 0;
    t->at.loss_sum = 0;
    return st;
}

static void shuffle(struct training *t)
{
    struct rng r;
    memcpy(t->order, t->fit, t->n_fit * sizeof *t->order);
    rng_init(&r, mix64(t->m->options.seed, STREAM_ORDER, 0), t->at.epoch);
    rng_shuffle_u32(&r, t->order, t->n_fit);
}

static bool stopped(const struct training *t)
{
    return t->at.epoch >= t->m->options.epochs ||
           (t->n_held && t->at.stale >= t->m->options.patience);
}

static medley_status train_loop(struct training *t, const char *checkpoint,
                                const char *log_path, medley_error *err)
{
    struct resume resume = resume_of(t);
    double saved = clock_seconds();
    uint64_t steps = steps_of_epoch(t), total = steps * t->m->options.epochs;
    char task[32];
    snprintf(task, sizeof task, "train %s", t->m->ops->name);
    while (!stopped(t)) {
        shuffle(t);
        while (t->at.step < steps) {
            bool stop = interrupted();
            if (checkpoint && (stop || clock_seconds() - saved > RESUME_SECONDS)) {
                medley_status st = resume_write(&resume, &t->at, checkpoint, err);
                if (st != MEDLEY_OK)
                    return st;
                saved = clock_seconds();
            }
            if (stop)
                return fail(err, MEDLEY_EINTERRUPTED, "interrupted while training");
            medley_status st = train_step(t, err);
            if (st != MEDLEY_OK)
                return st;
            t->at.step++;
            progress_step(task, t->at.epoch * steps + t->at.step, total, "steps");
        }
        medley_status st = end_epoch(t, log_path, err);
        if (st != MEDLEY_OK)
            return st;
    }
    progress_end(task);
    return MEDLEY_OK;
}

medley_status link_classifier_train(struct link_classifier *m, const struct link_data *data,
                                    const char *checkpoint, const char *log_path,
                                    medley_error *err)
{
    const struct graph *g = data->graph;
    medley_status st = link_data_check(m, data, true, err);
    if (st != MEDLEY_OK)
        return st;
    struct training t = {
        .m = m,
        .data = data,
        .view = {.base = &g->all},
        .features = {.stored = data->features,
                     .n_stored = g->n_nodes,
                     .n_queries = g->n_queries,
                     .width = m->width},
        .at = {.best_loss = INFINITY},
        .started = clock_seconds(),
    };
    st = training_init(&t, err);
    if (st != MEDLEY_OK)
        goto done;
    struct resume resume = resume_of(&t);
    resume_read(&resume, checkpoint, &t.at);
    st = train_loop(&t, checkpoint, log_path, err);
    if (st != MEDLEY_OK)
        goto done;
    if (t.best && isfinite(t.at.best_loss))
        memcpy(m->params.values, t.best, m->params.total * sizeof(float));
    if (checkpoint && file_exists(checkpoint))
        st = remove_tree(checkpoint, err);
done:
    training_deinit(&t);
    return st;
}
