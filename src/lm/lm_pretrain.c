/* lm_pretrain.c: see lm_pretrain.h. As in fine-tuning, everything random is a function of seed,
 * epoch and step. */
#include "lm/lm_pretrain.h"

#include "base/cpu.h"
#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/pool.h"
#include "base/progress.h"
#include "lm/masked_head.h"
#include "lm/pretrain_text.h"
#include "nn/lanes.h"
#include "nn/resume.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHECKPOINT_FILE "pretrain.checkpoint"
#define LOG_FILE "pretrain.log.jsonl"
#define DONE_FILE "pretrain.json"
enum { BUCKET_BATCHES = 16 }; /* sorted by length at a time, so that lanes get equal work */
enum stream { STREAM_ORDER = 1, STREAM_BATCHES, STREAM_DROPOUT };

struct pretraining {
    struct cross_encoder *m; /* tokenizer and fields; its own parameters are not used */
    struct lm_pretrain_options o;
    uint64_t seed;
    unsigned n_lanes;
    const char *folder, *start; /* start: a pretrained folder, or NULL */
    struct encoder encoder;     /* with a masked head */
    struct params params;
    struct masked_head head;
    struct pretrain_text text;
    struct masked_batch *batches; /* [n_lanes] of the coming step */
    uint32_t *order;              /* [documents] */
    uint32_t *batch_order;        /* [steps of an epoch] */
    size_t hidden;                /* tokens to guess in the coming step */
    struct lanes lanes;
    struct adamw adamw;
    struct train_position at;
    struct hash128 identity;
    double started, saved; /* clock_seconds() */
};

static void fill_defaults(struct pretraining *p)
{
    struct lm_pretrain_options *o = &p->o;
    if (!o->epochs)
        o->epochs = 10;
    if (!o->batch)
        o->batch = 64;
    if (!o->mask_rate)
        o->mask_rate = 0.15;
    if (!o->learning_rate)
        o->learning_rate = p->start ? 1e-4 : 1e-3;
    o->weight_decay = lm_or_none(o->weight_decay, 0.01);
    o->warmup = lm_or_none(o->warmup, 0.1);
    o->clip = lm_or_none(o->clip, 1);
}

static uint64_t steps_of_epoch(const struct pretraining *p)
{
    return (p->text.documents.n + p->o.batch - 1) / p->o.batch;
}

static uint64_t all_steps(const struct pretraining *p)
{
    uint64_t all = steps_of_epoch(p) * p->o.epochs;
    return p->o.steps && p->o.steps < all ? p->o.steps : all;
}

/* ---- the model ---- */

static medley_status make_model(struct pretraining *p, medley_error *err)
{
    p->encoder =
        (struct encoder){.family = p->m->encoder.family, .config = p->m->encoder.config};
    params_init(&p->params);
    medley_status st =
        p->encoder.family->declare(&p->encoder, &p->params, p->m->n_classes, err);
    if (!st)
        st = masked_head_declare(&p->encoder, &p->params, &p->head, err);
    if (!st && p->start)
        st = encoder_check_params(&p->encoder, &p->params, p->start, false, err);
    if (!st)
        st = params_allocate(&p->params, p->seed, err);
    if (!st && p->start)
        st = encoder_load_params(&p->encoder, &p->params, p->start, err);
    return st;
}

static void identify(struct pretraining *p)
{
    const struct lm_pretrain_options *o = &p->o;
    const double numbers[] = {(double)o->epochs,
                              (double)o->steps,
                              (double)o->batch,
                              o->mask_rate,
                              o->learning_rate,
                              o->weight_decay,
                              o->warmup,
                              o->clip,
                              o->dropout,
                              (double)p->n_lanes,
                              (double)p->m->options.max_tokens};
    const struct lm_inputs *in = &p->text.documents;
    const char *family = p->encoder.family->model_type;
    struct hash128 h = hash_bytes(numbers, sizeof numbers, (struct hash128){p->seed, 1});
    h = hash_bytes(family, strlen(family), h);
    h = hash_bytes(&p->encoder.config.heads, sizeof p->encoder.config.heads, h);
    h = hash_bytes(in->ids, in->n_tokens * sizeof *in->ids, h);
    h = hash_bytes(in->offsets, (in->n + 1) * sizeof *in->offsets, h);
    p->identity = hash_bytes(p->params.values, p->params.total * sizeof(float), h);
}

/* ---- one step ---- */

static int by_length(const void *a, const void *b, void *context)
{
    const uint32_t *offsets = context;
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    uint32_t lx = offsets[x + 1] - offsets[x], ly = offsets[y + 1] - offsets[y];
    return lx != ly ? (lx < ly ? -1 : 1) : (x > y) - (x < y);
}

static void order_epoch(struct pretraining *p)
{
    struct rng rng;
    size_t n = p->text.documents.n, bucket = (size_t)p->o.batch * BUCKET_BATCHES;
    uint64_t steps = steps_of_epoch(p);
    rng_init(&rng, p->seed, mix64(p->at.epoch, STREAM_ORDER, 0));
    for (uint32_t i = 0; i < n; i++)
        p->order[i] = i;
    rng_shuffle_u32(&rng, p->order, n);
    for (size_t b = 0; b < n; b += bucket)
        qsort_r(p->order + b, n - b < bucket ? n - b : bucket, sizeof *p->order, by_length,
                p->text.documents.offsets);
    for (uint32_t s = 0; s < steps; s++)
        p->batch_order[s] = s;
    rng_shuffle_u32(&rng, p->batch_order, steps);
}

/* Deals the documents of the coming step to the lanes like cards, there and back. */
static medley_status load_batch(struct pretraining *p, medley_error *err)
{
    size_t begin = (size_t)p->batch_order[p->at.step] * p->o.batch;
    size_t n =
        p->text.documents.n - begin < p->o.batch ? p->text.documents.n - begin : p->o.batch;
    bool failed = false;
    p->hidden = 0;
    for (unsigned l = 0; l < p->n_lanes; l++)
        masked_batch_clear(&p->batches[l]);
    for (size_t i = 0; i < n; i++) {
        size_t round = i / p->n_lanes, seat = i % p->n_lanes;
        struct masked_batch *b = &p->batches[round % 2 ? p->n_lanes - 1 - seat : seat];
        masked_batch_add(b, &p->text, p->order[begin + i], p->o.mask_rate, p->seed,
                         p->at.epoch);
    }
    for (unsigned l = 0; l < p->n_lanes; l++) {
        p->hidden += p->batches[l].n;
        failed |= p->batches[l].inputs.failed;
    }
    return failed ? fail_memory(err, "a batch") : MEDLEY_OK;
}

static struct tensor *lane_loss(void *context, struct tape *tape, unsigned lane)
{
    struct pretraining *p = context;
    const struct masked_batch *b = &p->batches[lane];
    if (b->n == 0)
        return NULL;
    struct encoder_batch batch = lm_inputs_batch(&b->inputs);
    struct tensor *hidden = encoder_forward(&p->encoder, tape, &batch, (float)p->o.dropout);
    struct tensor *asked = op_rows(tape, hidden, b->index, b->n);
    struct tensor *logits = masked_head_apply(tape, &p->head, asked);
    struct tensor *loss = op_vocabulary_loss(tape, logits, b->target);
    return op_scale(tape, loss, (float)b->n / (float)p->hidden);
}

static medley_status pretrain_step(struct pretraining *p, medley_error *err)
{
    uint64_t step = p->at.epoch * steps_of_epoch(p) + p->at.step;
    double loss = 0;
    medley_status st = load_batch(p, err);
    if (!st)
        st = lanes_run(&p->lanes, mix64(p->seed, STREAM_DROPOUT, step), lane_loss, p, &loss,
                       err);
    if (st)
        return st;
    double norm = adamw_step(&p->adamw, &p->params, p->lanes.grads);
    if (!isfinite(loss) || !isfinite(norm))
        return fail(err, MEDLEY_EINVAL,
                    "pre-training diverged at step %llu: try a lower learning rate",
                    (unsigned long long)step);
    p->at.loss_sum += loss;
    p->at.step++;
    return MEDLEY_OK;
}

/* ---- the run ---- */

static medley_status in_folder(const struct pretraining *p, const char *name, char **path,
                               medley_error *err)
{
    *path = path_join(p->folder, name);
    return *path ? MEDLEY_OK : fail_memory(err, "a path");
}

static medley_status log_epoch(const struct pretraining *p, medley_error *err)
{
    char *path;
    medley_status st = in_folder(p, LOG_FILE, &path, err);
    if (st)
        return st;
    FILE *f = fopen(path, "a");
    if (!f) {
        st = fail(err, MEDLEY_EIO, "cannot open '%s': %s", path, strerror(errno));
    } else {
        fprintf(f, "{\"epoch\": %llu, \"masked_loss\": %.6f, \"seconds\": %.1f}\n",
                (unsigned long long)p->at.epoch + 1,
                p->at.loss_sum / (double)(p->at.step ? p->at.step : 1),
                clock_seconds() - p->started);
        if (fclose(f) != 0)
            st = fail(err, MEDLEY_EIO, "cannot write '%s': %s", path, strerror(errno));
    }
    mem_free(path);
    return st;
}

static medley_status run_epoch(struct pretraining *p, const struct resume *resume,
                               const char *checkpoint, medley_error *err)
{
    uint64_t steps = steps_of_epoch(p), all = all_steps(p);
    medley_status st = MEDLEY_OK;
    order_epoch(p);
    while (!st && p->at.step < steps && p->at.epoch * steps + p->at.step < all) {
        st = pretrain_step(p, err);
        progress_step("pretrain", (p->at.epoch * steps + p->at.step) * p->o.batch,
                      all * p->o.batch, "texts");
        bool asked = interrupted();
        if (!st && (asked || clock_seconds() - p->saved > RESUME_SECONDS)) {
            st = resume_write(resume, &p->at, checkpoint, err);
            p->saved = clock_seconds();
        }
        if (!st && asked)
            st = fail(err, MEDLEY_EINTERRUPTED,
                      "pre-training was interrupted; run again to go on");
    }
    if (!st)
        st = log_epoch(p, err);
    p->at.loss_sum = 0;
    p->at.epoch++;
    p->at.step = 0;
    return st;
}

static medley_status run_epochs(struct pretraining *p, medley_error *err)
{
    struct resume resume = {.identity = p->identity,
                            .params = &p->params,
                            .adamw = &p->adamw,
                            .epochs = p->o.epochs,
                            .steps = steps_of_epoch(p)};
    char *checkpoint;
    medley_status st = in_folder(p, CHECKPOINT_FILE, &checkpoint, err);
    if (st)
        return st;
    resume_read(&resume, checkpoint, &p->at);
    while (!st && p->at.epoch * steps_of_epoch(p) + p->at.step < all_steps(p))
        st = run_epoch(p, &resume, checkpoint, err);
    progress_end("pretrain");
    mem_free(checkpoint);
    return st;
}

/* ---- the folder ---- */

static bool is_done(const struct pretraining *p)
{
    char *path = path_join(p->folder, DONE_FILE), *weights;
    json *root = NULL;
    const char *theirs = NULL;
    char ours[33];
    bool done = false;
    hash_text(p->identity, ours);
    weights = path_join(p->folder, "model.safetensors");
    if (path && weights && file_exists(path) && file_exists(weights) &&
        json_load(path, &root, NULL) == MEDLEY_OK)
        done = json_as_text(json_get(root, "identity"), &theirs) && strcmp(theirs, ours) == 0;
    json_free(root);
    mem_free(path);
    mem_free(weights);
    return done;
}

static medley_status write_text(const struct pretraining *p, const char *name,
                                const struct strbuf *text, medley_error *err)
{
    char *path;
    medley_status st = in_folder(p, name, &path, err);
    if (!st)
        st = text->failed ? fail_memory(err, name) : file_write(path, text->s, text->n, err);
    mem_free(path);
    return st;
}

static medley_status write_done(const struct pretraining *p, medley_error *err)
{
    struct strbuf text;
    struct json_writer w;
    char identity[33];
    hash_text(p->identity, identity);
    sb_init(&text);
    jw_init(&w, &text, true);
    jw_object(&w);
    jw_key(&w, "identity"), jw_textz(&w, identity);
    jw_key(&w, "texts"), jw_i64(&w, (int64_t)p->text.documents.n);
    jw_key(&w, "tokens"), jw_i64(&w, (int64_t)p->text.documents.n_tokens);
    jw_key(&w, "steps"), jw_i64(&w, (int64_t)all_steps(p));
    jw_object_end(&w);
    sb_addc(&text, '\n');
    medley_status st = write_text(p, DONE_FILE, &text, err);
    sb_deinit(&text);
    return st;
}

static medley_status save(const struct pretraining *p, medley_error *err)
{
    struct strbuf config;
    char *checkpoint;
    sb_init(&config);
    encoder_config_write(&p->encoder, "ForMaskedLM", (const char *const *)p->m->class_names,
                         p->m->n_classes, &config);
    medley_status st = tokenizer_save(p->m->tokenizer, p->folder, err);
    if (!st)
        st = write_text(p, "config.json", &config, err);
    if (!st)
        st = masked_head_save(&p->encoder, &p->params, p->folder, err);
    if (!st)
        st = write_done(p, err);
    sb_deinit(&config);
    if (!st)
        st = in_folder(p, CHECKPOINT_FILE, &checkpoint, err);
    if (st)
        return st;
    unlink(checkpoint);
    mem_free(checkpoint);
    return MEDLEY_OK;
}

static medley_status prepare(struct pretraining *p, const struct dataset *d, medley_error *err)
{
    medley_status st = make_folders(p->folder, err);
    if (!st)
        st = pretrain_text_init(&p->text, p->m, d, p->o.fields_only, err);
    if (!st)
        st = make_model(p, err);
    if (st)
        return st;
    identify(p);
    if (is_done(p))
        return MEDLEY_OK;
    p->order = mem_alloc(p->text.documents.n, sizeof *p->order);
    p->batch_order = mem_alloc(p->text.documents.n, sizeof *p->batch_order);
    p->batches = mem_zalloc(p->n_lanes, sizeof *p->batches);
    if (!p->order || !p->batch_order || !p->batches)
        return fail_memory(err, "pre-training");
    for (unsigned i = 0; i < p->n_lanes; i++)
        masked_batch_init(&p->batches[i]);
    struct adamw_options a = {
        .learning_rate = p->o.learning_rate,
        .beta2 = 0.98, /* as RoBERTa: few steps */
        .weight_decay = p->o.weight_decay,
        .clip = p->o.clip,
        .warmup = p->o.warmup,
        .total_steps = all_steps(p),
        .schedule = SCHEDULE_LINEAR,
    };
    st = lanes_init(&p->lanes, &p->params, p->n_lanes, err);
    return st ? st : adamw_init(&p->adamw, &p->params, &a, err);
}

static void pretraining_deinit(struct pretraining *p)
{
    for (unsigned i = 0; p->batches && i < p->n_lanes; i++)
        masked_batch_deinit(&p->batches[i]);
    mem_free(p->batches);
    mem_free(p->order);
    mem_free(p->batch_order);
    lanes_deinit(&p->lanes);
    adamw_deinit(&p->adamw);
    pretrain_text_deinit(&p->text);
    params_deinit(&p->params);
    encoder_deinit(&p->encoder);
    cross_encoder_free(p->m);
}

medley_status lm_pretrain(const struct lm_options *options, const struct dataset *d,
                          const char *folder, medley_error *err)
{
    struct pretraining p = {.o = options->pretrain,
                            .seed =
                                options->pretrain.seed ? options->pretrain.seed : options->seed,
                            .folder = folder,
                            .start = options->pretrained,
                            .started = clock_seconds(),
                            .saved = clock_seconds()};
    fill_defaults(&p);
    struct lm_options own = *options;
    own.lora.rank = 0; /* all of it learns here */
    medley_status st = cross_encoder_new(&own, d, &p.m, err);
    if (st)
        return st;
    p.n_lanes = p.m->options.lanes;
    st = prepare(&p, d, err);
    if (!st && p.adamw.m) {
        progress_note("pre-training on %zu texts, %zu tokens", p.text.documents.n,
                      p.text.documents.n_tokens);
        st = run_epochs(&p, err);
        if (!st)
            st = save(&p, err);
    }
    pretraining_deinit(&p);
    return st;
}
