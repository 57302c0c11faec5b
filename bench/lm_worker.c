/* lm_worker.c: a saved language model on token ids, for bench/peers/lm.py.
 *
 *     lm_worker FOLDER INPUTS PRECISION OUT
 *
 * INPUTS: int32 n, offsets[n + 1], ids, types (of all tokens). Each line on stdin is a job over
 * all texts, answered by a line of JSON with its seconds on stdout: all    predicts them in one
 * call each   predicts them one a call train  fine-tuning steps on batches of 32 of nearly
 * equal length, labels 0 1 2 3 0 ... At the end the last probabilities [n, K] are in OUT,
 * float32. */
#include "base/cpu.h"
#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/pool.h"
#include "lm/cross_encoder_model.h"
#include "nn/adamw.h"
#include "nn/lanes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BATCH = 32, LANES_MOST = 16 };

struct bench {
    struct cross_encoder *m;
    struct mapping file;
    const int32_t *data; /* the file */
    size_t n;
    float *out; /* [n, K] */
    /* training */
    struct lanes lanes;
    struct adamw adamw;
    uint32_t *order; /* [n] texts by length */
    struct lm_inputs inputs[LANES_MOST];
    uint8_t labels[LANES_MOST][BATCH];
    size_t in_batch;
};

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* A view of texts first .. first + n of the inputs. */
static struct lm_inputs texts(const struct bench *b, size_t first, size_t n)
{
    struct lm_inputs in = {.n = n};
    size_t tokens = (size_t)b->data[1 + b->n];
    in.offsets = (uint32_t *)(uintptr_t)(b->data + 1) + first;
    in.ids = (int32_t *)(uintptr_t)(b->data + 2 + b->n);
    in.types = in.ids + tokens;
    in.n_tokens = in.offsets[n];
    return in;
}

static medley_status predict(struct bench *b, bool each, medley_error *err)
{
    size_t k = cross_encoder_classes(b->m);
    medley_status st = MEDLEY_OK;
    for (size_t i = 0; i < b->n && !st; i += each ? 1 : b->n) {
        struct lm_inputs in = texts(b, i, each ? 1 : b->n);
        st = lm_predict_inputs(b->m, &in, b->out + i * k, err);
    }
    return st;
}

/* ---- training ---- */

static int by_length(const void *a, const void *b, void *context)
{
    const int32_t *offsets = context;
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    int32_t lx = offsets[x + 1] - offsets[x], ly = offsets[y + 1] - offsets[y];
    return lx != ly ? (lx < ly ? -1 : 1) : (x > y) - (x < y);
}

static medley_status prepare(struct bench *b, medley_error *err)
{
    struct adamw_options o = {.learning_rate = 3e-5, .weight_decay = 0.01, .clip = 1};
    unsigned lanes = pool_threads() < LANES_MOST ? pool_threads() : LANES_MOST;
    lm_unseal(b->m);
    if (!(b->order = mem_alloc(b->n, sizeof *b->order)))
        return fail_memory(err, "texts");
    for (uint32_t i = 0; i < b->n; i++)
        b->order[i] = i;
    qsort_r(b->order, b->n, sizeof *b->order, by_length, (void *)(uintptr_t)(b->data + 1));
    medley_status st = lanes_init(&b->lanes, &b->m->params, lanes, err);
    return st ? st : adamw_init(&b->adamw, &b->m->params, &o, err);
}

static struct tensor *lane_loss(void *context, struct tape *t, unsigned lane)
{
    const struct bench *b = context;
    const struct lm_inputs *in = &b->inputs[lane];
    if (in->n == 0)
        return NULL;
    struct encoder_batch batch = lm_inputs_batch(in);
    struct tensor *hidden = encoder_forward(&b->m->encoder, t, &batch, 0.1f);
    struct tensor *logits = lm_head_forward(b->m, t, hidden, &batch, 0.1f);
    struct tensor *loss = op_softmax_loss(t, logits, b->labels[lane], NULL, 0);
    return op_scale(t, loss, (float)in->n / (float)b->in_batch);
}

static medley_status train(struct bench *b, medley_error *err)
{
    struct lm_inputs all = texts(b, 0, b->n);
    medley_status st = MEDLEY_OK;
    double loss;
    for (size_t begin = 0; begin < b->n && !st; begin += BATCH) {
        b->in_batch = b->n - begin < BATCH ? b->n - begin : BATCH;
        for (unsigned l = 0; l < b->lanes.count; l++)
            lm_inputs_clear(&b->inputs[l]);
        for (size_t i = 0; i < b->in_batch; i++) {
            struct lm_inputs *in = &b->inputs[i % b->lanes.count];
            b->labels[i % b->lanes.count][in->n] = (uint8_t)(i % 4);
            lm_inputs_copy(in, &all, b->order[begin + i]);
        }
        st = lanes_run(&b->lanes, begin, lane_loss, b, &loss, err);
        if (!st)
            adamw_step(&b->adamw, &b->m->params, b->lanes.grads);
    }
    return st;
}

/* ---- jobs ---- */

static medley_status run(struct bench *b, const char *job, medley_error *err)
{
    if (strcmp(job, "train\n") != 0)
        return predict(b, strcmp(job, "each\n") == 0, err);
    medley_status st = b->order ? MEDLEY_OK : prepare(b, err);
    return st ? st : train(b, err);
}

static medley_status bench_open(struct bench *b, char **argv, medley_error *err)
{
    enum precision precision;
    medley_status st = precision_parse(argv[3], &precision, err);
    if (!st)
        st = cross_encoder_load(argv[1], &b->m, err);
    if (!st)
        st = cross_encoder_set_precision(b->m, precision, err);
    if (!st)
        st = mapping_open(argv[2], &b->file, err);
    if (st)
        return st;
    b->data = (const int32_t *)(const void *)b->file.data;
    b->n = (size_t)b->data[0];
    b->out = mem_zalloc(b->n, cross_encoder_classes(b->m) * sizeof *b->out);
    for (size_t l = 0; l < LANES_MOST; l++)
        lm_inputs_init(&b->inputs[l]);
    return b->out ? MEDLEY_OK : fail_memory(err, "probabilities");
}

static void bench_close(struct bench *b)
{
    for (size_t l = 0; l < LANES_MOST; l++)
        lm_inputs_deinit(&b->inputs[l]);
    lanes_deinit(&b->lanes);
    adamw_deinit(&b->adamw);
    mem_free(b->order);
    mem_free(b->out);
    mapping_close(&b->file);
    cross_encoder_free(b->m);
}

int main(int argc, char **argv)
{
    static struct bench b;
    medley_error err;
    char job[16];
    if (argc != 5)
        return 2;
    medley_status st = bench_open(&b, argv, &err);
    while (!st && fgets(job, sizeof job, stdin)) {
        double start = clock_seconds(), cpu = cpu_seconds();
        st = run(&b, job, &err);
        printf("{\"cpu\": %.9f, \"seconds\": %.9f, \"bytes\": %zu}\n", cpu_seconds() - cpu,
               clock_seconds() - start, cross_encoder_memory(b.m));
        fflush(stdout);
    }
    if (!st)
        st = file_write(argv[4], b.out, b.n * cross_encoder_classes(b.m) * sizeof *b.out, &err);
    if (st)
        fprintf(stderr, "lm_worker: %s\n", err.message);
    bench_close(&b);
    return st != MEDLEY_OK;
}
