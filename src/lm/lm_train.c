/* lm_train.c: fine-tuning of a cross-encoder, with early stopping and resumption.
 *
 * Everything random is a function of (seed, epoch or step): the order of the pairs and the
 * dropout masks. A checkpoint therefore needs parameters, optimiser state and counters, no
 * generator state, and a resumed run ends in the bits of an uninterrupted one. */
#include "lm/cross_encoder_model.h"

#include "base/cpu.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/pool.h"
#include "base/progress.h"
#include "lm/distill.h"
#include "nn/lanes.h"
#include "nn/resume.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Share of the training queries that early stopping watches instead of learning from. */
#define HELD_OUT 0.1
/* Batches are cut from runs of this many batches sorted by length: lanes get equal work. */
enum { BUCKET_BATCHES = 16 };

enum stream { STREAM_ORDER = 1, STREAM_BATCHES, STREAM_DROPOUT, STREAM_HELD_OUT };

struct training {
    struct cross_encoder *m;
    const struct dataset *d;
    const uint32_t *rows;
    size_t n;
    struct lm_inputs inputs;       /* all pairs, in the order of rows */
    struct lm_inputs *lane_inputs; /* [lanes] of the coming step */
    uint8_t **lane_labels;         /* [lanes][batch] */
    float **lane_weights;          /* [lanes][batch] of the pairs, by their classes */
    double class_weights[MAX_CLASSES];
    uint32_t *fit, *held; /* indices into rows */
    size_t n_fit, n_held;
    uint32_t *order;       /* [n_fit] pairs of this epoch, batch by batch */
    uint32_t *batch_order; /* [steps] */
    double step_weight;    /* of all pairs of the coming step */
    struct distill distill;
    struct lanes lanes;
    struct adamw adamw;
    float *best; /* [total]; NULL without early stopping */
    struct train_position at;
    struct hash128 identity; /* of options, pairs, labels and starting parameters */
    const char *log_path;
    double started;
};

/* Pairs of a step: as many passes as are accumulated. */
static size_t pairs_of_step(const struct training *t)
{
    return (size_t)t->m->options.batch * t->m->options.accumulate;
}

static uint64_t steps_of_epoch(const struct training *t)
{
    return (t->n_fit + pairs_of_step(t) - 1) / pairs_of_step(t);
}

static void split_held_out(struct training *t)
{
    for (size_t i = 0; i < t->n; i++) {
        uint64_t h =
            mix64(t->m->options.seed, STREAM_HELD_OUT, t->d->example_query[t->rows[i]]);
        if (t->m->options.patience && (double)(h >> 11) * 0x1p-53 < HELD_OUT)
            t->held[t->n_held++] = (uint32_t)i;
        else
            t->fit[t->n_fit++] = (uint32_t)i;
    }
    if (t->n_held && t->n_fit)
        return;
    t->n_held = 0; /* too few queries: all pairs are trained on */
    t->n_fit = t->n;
    for (size_t i = 0; i < t->n; i++)
        t->fit[i] = (uint32_t)i;
}

static uint8_t label_of(const struct training *t, uint32_t i)
{
    return t->d->example_label[t->rows[i]];
}

static medley_status encode_all(struct training *t, medley_error *err)
{
    const struct dataset *d = t->d;
    for (size_t i = 0; i < t->n; i++) {
        if (label_of(t, (uint32_t)i) >= t->m->n_classes)
            return fail(err, MEDLEY_EINVAL, "example %u has no label to train on", t->rows[i]);
        struct pair_text pair =
            dataset_pair(d, d->example_query[t->rows[i]], d->example_product[t->rows[i]]);
        lm_inputs_add_pair(&t->inputs, t->m, &pair);
    }
    return t->inputs.failed ? fail_memory(err, "training inputs") : MEDLEY_OK;
}

static void identify(struct training *t)
{
    struct hash128 h = lm_options_hash(t->m, (struct hash128){t->m->options.seed, 0});
    h = hash_bytes(t->rows, t->n * sizeof *t->rows, h);
    h = hash_bytes(t->inputs.ids, t->inputs.n_tokens * sizeof *t->inputs.ids, h);
    h = hash_bytes(t->inputs.offsets, (t->n + 1) * sizeof *t->inputs.offsets, h);
    for (size_t i = 0; i < t->n; i++) {
        uint8_t label = label_of(t, (uint32_t)i);
        h = hash_bytes(&label, 1, h);
    }
    h = distill_hash(&t->distill, t->n, h);
    t->identity = hash_bytes(t->m->params.values, t->m->params.total * sizeof(float), h);
}

static void weigh_classes(struct training *t)
{
    size_t counts[MAX_CLASSES] = {0};
    for (size_t i = 0; i < t->n_fit; i++)
        counts[label_of(t, t->fit[i])]++;
    class_weights_fill(&t->m->recipe.class_weights, counts, t->m->n_classes, t->class_weights);
}

static medley_status allocate(struct training *t, medley_error *err)
{
    const struct lm_options *o = &t->m->options;
    t->fit = mem_alloc(t->n, sizeof *t->fit);
    t->held = mem_alloc(t->n, sizeof *t->held);
    t->order = mem_alloc(t->n, sizeof *t->order);
    t->batch_order = mem_alloc(t->n, sizeof *t->batch_order);
    t->lane_inputs = mem_zalloc(o->lanes, sizeof *t->lane_inputs);
    t->lane_labels = mem_zalloc(o->lanes, sizeof *t->lane_labels);
    t->lane_weights = mem_zalloc(o->lanes, sizeof *t->lane_weights);
    if (!t->fit || !t->held || !t->order || !t->batch_order || !t->lane_inputs ||
        !t->lane_labels || !t->lane_weights)
        return fail_memory(err, "training");
    for (unsigned i = 0; i < o->lanes; i++) {
        lm_inputs_init(&t->lane_inputs[i]);
        t->lane_labels[i] = mem_alloc(o->batch, 1);
        t->lane_weights[i] = mem_alloc(o->batch, sizeof *t->lane_weights[i]);
        if (!t->lane_labels[i] || !t->lane_weights[i])
            return fail_memory(err, "training");
    }
    split_held_out(t);
    if (t->n_held && !(t->best = mem_alloc(t->m->params.total, sizeof *t->best)))
        return fail_memory(err, "training");
    return MEDLEY_OK;
}

static medley_status training_init(struct training *t, medley_error *err)
{
    const struct lm_options *o = &t->m->options;
    lm_inputs_init(&t->inputs);
    medley_status st = allocate(t, err);
    if (!st)
        st = encode_all(t, err);
    if (!st)
        st = distill_init(&t->distill, o, t->d, t->rows, t->n, err);
    if (st)
        return st;
    identify(t);
    weigh_classes(t);
    encoder_decay_rates(&t->m->encoder, &t->m->params, o->layer_decay);
    struct adamw_options a = {
        .learning_rate = o->learning_rate,
        .weight_decay = o->weight_decay,
        .clip = o->clip,
        .warmup = o->warmup,
        .total_steps = steps_of_epoch(t) * o->epochs,
        .schedule = t->m->recipe.schedule,
    };
    st = lanes_init(&t->lanes, &t->m->params, o->lanes, err);
    return st ? st : adamw_init(&t->adamw, &t->m->params, &a, err);
}

static void training_deinit(struct training *t)
{
    for (unsigned i = 0; t->lane_inputs && i < t->m->options.lanes; i++)
        lm_inputs_deinit(&t->lane_inputs[i]);
    for (unsigned i = 0; t->lane_labels && i < t->m->options.lanes; i++)
        mem_free(t->lane_labels[i]);
    for (unsigned i = 0; t->lane_weights && i < t->m->options.lanes; i++)
        mem_free(t->lane_weights[i]);
    lm_inputs_deinit(&t->inputs);
    mem_free(t->lane_inputs);
    mem_free(t->lane_labels);
    mem_free(t->lane_weights);
    mem_free(t->fit);
    mem_free(t->held);
    mem_free(t->order);
    mem_free(t->batch_order);
    mem_free(t->best);
    distill_deinit(&t->distill);
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

/* ---- one epoch's order ---- */

static size_t length_of(const struct training *t, uint32_t i)
{
    return t->inputs.offsets[i + 1] - t->inputs.offsets[i];
}

static int by_length(const void *a, const void *b, void *context)
{
    const struct training *t = context;
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    size_t lx = length_of(t, x), ly = length_of(t, y);
    return lx != ly ? (lx < ly ? -1 : 1) : (x > y) - (x < y);
}

static void order_epoch(struct training *t)
{
    struct rng rng;
    size_t bucket = pairs_of_step(t) * BUCKET_BATCHES, steps = steps_of_epoch(t);
    memcpy(t->order, t->fit, t->n_fit * sizeof *t->order);
    rng_init(&rng, t->m->options.seed, mix64(t->at.epoch, STREAM_ORDER, 0));
    rng_shuffle_u32(&rng, t->order, t->n_fit);
    for (size_t b = 0; b < t->n_fit; b += bucket)
        qsort_r(t->order + b, t->n_fit - b < bucket ? t->n_fit - b : bucket, sizeof *t->order,
                by_length, t);
    for (uint32_t s = 0; s < steps; s++)
        t->batch_order[s] = s;
    rng_shuffle_u32(&rng, t->batch_order, steps);
}

/* Deals order[begin..end) to the lanes like cards, there and back, so that tokens balance. */
static void load_batch(struct training *t, size_t begin, size_t end)
{
    const struct lm_options *o = &t->m->options;
    for (unsigned l = 0; l < o->lanes; l++)
        lm_inputs_clear(&t->lane_inputs[l]);
    for (size_t i = 0; i < end - begin; i++) {
        size_t round = i / o->lanes, seat = i % o->lanes;
        unsigned lane = (unsigned)(round % 2 ? o->lanes - 1 - seat : seat);
        uint32_t pair = t->order[begin + i];
        struct lm_inputs *in = &t->lane_inputs[lane];
        t->lane_labels[lane][in->n] = label_of(t, pair);
        t->lane_weights[lane][in->n] = (float)t->class_weights[label_of(t, pair)];
        distill_take(&t->distill, lane, in->n, pair);
        lm_inputs_copy(in, &t->inputs, pair);
    }
}

static struct tensor *lane_loss(void *context, struct tape *tape, unsigned lane)
{
    struct training *t = context;
    const struct encoder *e = &t->m->encoder;
    const struct lm_inputs *in = &t->lane_inputs[lane];
    double weight = 0;
    if (in->n == 0)
        return NULL;
    for (size_t i = 0; i < in->n; i++)
        weight += (double)t->lane_weights[lane][i];
    struct encoder_batch batch = lm_inputs_batch(in);
    float dropout = (float)t->m->options.dropout;
    struct tensor *hidden = encoder_forward(e, tape, &batch, dropout);
    struct tensor *logits = lm_head_forward(t->m, tape, hidden, &batch, dropout);
    struct label_loss how = {t->lane_weights[lane], (float)t->m->options.label_smoothing,
                             t->m->recipe.sigmoid};
    struct tensor *loss = op_label_loss(tape, logits, t->lane_labels[lane], &how);
    loss = distill_loss(&t->distill, tape, lane, loss, logits);
    return op_scale(tape, loss, (float)(weight / t->step_weight));
}

/* Gradients of order[begin..end), added to those of the step. */
static medley_status run_pass(struct training *t, uint64_t pass, size_t begin, size_t end,
                              double *loss, medley_error *err)
{
    double sum = 0;
    load_batch(t, begin, end);
    for (unsigned l = 0; l < t->m->options.lanes; l++)
        if (t->lane_inputs[l].failed)
            return fail_memory(err, "a batch");
    medley_status st = lanes_run(&t->lanes, mix64(t->m->options.seed, STREAM_DROPOUT, pass),
                                 lane_loss, t, &sum, err);
    *loss += sum;
    return st;
}

static medley_status train_step(struct training *t, medley_error *err)
{
    const struct lm_options *o = &t->m->options;
    uint64_t step = t->at.epoch * steps_of_epoch(t) + t->at.step;
    size_t begin = (size_t)t->batch_order[t->at.step] * pairs_of_step(t);
    size_t end = t->n_fit - begin < pairs_of_step(t) ? t->n_fit : begin + pairs_of_step(t);
    medley_status st = MEDLEY_OK;
    double loss = 0;
    t->step_weight = 0;
    for (size_t i = begin; i < end; i++)
        t->step_weight += t->class_weights[label_of(t, t->order[i])];
    if (t->step_weight == 0) /* classes of no weight only */
        return MEDLEY_OK;
    for (unsigned p = 0; !st && p < o->accumulate && begin + (size_t)p * o->batch < end; p++) {
        size_t from = begin + (size_t)p * o->batch;
        size_t to = end - from < o->batch ? end : from + o->batch;
        st = run_pass(t, step * o->accumulate + p, from, to, &loss, err);
    }
    if (st)
        return st;
    if (!isfinite(loss))
        return fail(err, MEDLEY_EINVAL,
                    "training diverged at step %llu: try a lower learning rate",
                    (unsigned long long)step);
    t->at.loss_sum += loss * (double)(end - begin);
    adamw_step(&t->adamw, &t->m->params, t->lanes.grads);
    return MEDLEY_OK;
}

/* ---- epochs ---- */

static medley_status held_out_loss(struct training *t, double *out, medley_error *err)
{
    size_t k = t->m->n_classes;
    struct pair_text *pairs = mem_alloc(t->n_held, sizeof *pairs);
    float *p = mem_alloc(t->n_held, k * sizeof *p);
    medley_status st = pairs && p ? MEDLEY_OK : fail_memory(err, "held-out pairs");
    for (size_t i = 0; i < t->n_held && !st; i++) {
        uint32_t row = t->rows[t->held[i]];
        pairs[i] = dataset_pair(t->d, t->d->example_query[row], t->d->example_product[row]);
    }
    if (!st)
        st = cross_encoder_predict(t->m, pairs, t->n_held, NULL, p, err);
    double sum = 0;
    for (size_t i = 0; i < t->n_held && !st; i++)
        sum -= log(fmax((double)p[i * k + label_of(t, t->held[i])], 1e-15));
    if (!st)
        *out = sum / (double)t->n_held;
    mem_free(pairs);
    mem_free(p);
    return st;
}

static medley_status log_epoch(const struct training *t, double held_out, medley_error *err)
{
    if (!t->log_path)
        return MEDLEY_OK;
    FILE *f = fopen(t->log_path, "a");
    if (!f)
        return fail(err, MEDLEY_EIO, "cannot open '%s': %s", t->log_path, strerror(errno));
    fprintf(f, "{\"epoch\": %llu, \"train_loss\": %.6f", (unsigned long long)t->at.epoch,
            t->at.loss_sum / (double)t->n_fit);
    if (t->n_held)
        fprintf(f, ", \"held_out_loss\": %.6f", held_out);
    fprintf(f, ", \"seconds\": %.1f}\n", clock_seconds() - t->started);
    return fclose(f) == 0
               ? MEDLEY_OK
               : fail(err, MEDLEY_EIO, "cannot write '%s': %s", t->log_path, strerror(errno));
}

/* End of an epoch: log, and keep the best parameters; *stop when patience has run out. */
static medley_status end_epoch(struct training *t, bool *stop, medley_error *err)
{
    double loss = 0;
    medley_status st = t->n_held ? held_out_loss(t, &loss, err) : MEDLEY_OK;
    if (st) /* the epoch is not over: a resumed run begins with this evaluation */
        return st;
    t->at.epoch++;
    t->at.step = 0;
    st = log_epoch(t, loss, err);
    t->at.loss_sum = 0;
    if (st || !t->n_held)
        return st;
    size_t bytes = t->m->params.total * sizeof(float);
    if (loss < t->at.best_loss) {
        t->at.best_loss = loss;
        t->at.stale = 0;
        memcpy(t->best, t->m->params.values, bytes);
    } else if (++t->at.stale >= t->m->options.patience) {
        *stop = true;
    }
    return MEDLEY_OK;
}

static medley_status run_epochs(struct training *t, const char *checkpoint, medley_error *err)
{
    struct resume resume = resume_of(t);
    uint64_t steps = steps_of_epoch(t), epochs = t->m->options.epochs;
    double saved = clock_seconds();
    bool stop = t->n_held && t->at.stale >= t->m->options.patience;
    medley_status st = MEDLEY_OK;
    while (!st && !stop && t->at.epoch < epochs) {
        order_epoch(t);
        while (!st && t->at.step < steps) {
            st = train_step(t, err);
            t->at.step++;
            uint64_t done = (t->at.epoch * steps + t->at.step) * pairs_of_step(t);
            progress_step("train", done, epochs * steps * pairs_of_step(t), "pairs");
            bool asked = interrupted();
            if (!st && checkpoint && (asked || clock_seconds() - saved > RESUME_SECONDS)) {
                st = resume_write(&resume, &t->at, checkpoint, err);
                saved = clock_seconds();
            }
            if (!st && asked)
                st = fail(err, MEDLEY_EINTERRUPTED, "training was interrupted%s",
                          checkpoint ? "; run again to go on" : "");
        }
        if (st)
            break;
        st = end_epoch(t, &stop, err);
        if (st == MEDLEY_EINTERRUPTED && checkpoint &&
            resume_write(&resume, &t->at, checkpoint, NULL))
            progress_note("%s: the checkpoint could not be written", checkpoint);
    }
    progress_end("train");
    if (!st && t->n_held && isfinite(t->at.best_loss))
        memcpy(t->m->params.values, t->best, t->m->params.total * sizeof(float));
    return st;
}

medley_status cross_encoder_train(struct cross_encoder *m, const struct dataset *d,
                                  const uint32_t *rows, size_t n, const char *checkpoint,
                                  const char *log_path, medley_error *err)
{
    struct training t = {.m = m,
                         .d = d,
                         .rows = rows,
                         .n = n,
                         .log_path = log_path,
                         .at = {.best_loss = INFINITY},
                         .started = clock_seconds()};
    if (n == 0)
        return fail(err, MEDLEY_EINVAL, "no examples to train on");
    lm_unseal(m);
    medley_status st = training_init(&t, err);
    if (!st) {
        struct resume resume = resume_of(&t);
        resume_read(&resume, checkpoint, &t.at);
        st = run_epochs(&t, checkpoint, err);
    }
    if (!st && checkpoint && unlink(checkpoint) != 0 && errno != ENOENT)
        st = fail(err, MEDLEY_EIO, "cannot remove '%s': %s", checkpoint, strerror(errno));
    training_deinit(&t);
    if (!st)
        st = adapters_merge(&m->params, err);
    return st ? st : lm_seal(m, err);
}
