/* lm_predict.c: class probabilities and text embeddings. Texts are sorted by length and cut into
 * ragged batches; each result depends on its own text alone, not on its neighbours in a batch. */
#include "lm/cross_encoder_model.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/pool.h"
#include "base/progress.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    BLOCK_TEXTS = 8192,  /* encoded at a time: bounds memory */
    BATCH_TOKENS = 2048, /* tokens per forward pass: fills the matrix kernels, stays in cache */
    EMBED_TOKENS = 128   /* longest text that is embedded */
};

/* One block of texts on its way through the model. */
struct inference {
    const struct cross_encoder *m;
    struct lm_inputs inputs;
    uint32_t *order;       /* [n] by length */
    uint32_t *batch_begin; /* [n_batches + 1] into order */
    size_t n_batches;
    bool embed;
    float *out;            /* [n * width] of this block */
    size_t width;
    const char *task;
    uint64_t done_before, total;
    atomic_size_t done;
    atomic_bool failed;
};

static int by_length(const void *a, const void *b, void *context)
{
    const struct lm_inputs *in = context;
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    uint32_t lx = in->offsets[x + 1] - in->offsets[x], ly = in->offsets[y + 1] - in->offsets[y];
    return lx != ly ? (lx < ly ? -1 : 1) : (x > y) - (x < y);
}

static void cut_batches(struct inference *f)
{
    const struct lm_inputs *in = &f->inputs;
    size_t tokens = 0;
    for (uint32_t i = 0; i < in->n; i++)
        f->order[i] = i;
    qsort_r(f->order, in->n, sizeof *f->order, by_length, &f->inputs);
    f->n_batches = 0;
    for (uint32_t i = 0; i < in->n; i++) {
        size_t length = in->offsets[f->order[i] + 1] - in->offsets[f->order[i]];
        if (i == 0 || tokens + length > BATCH_TOKENS) {
            f->batch_begin[f->n_batches++] = i;
            tokens = 0;
        }
        tokens += length;
    }
    f->batch_begin[f->n_batches] = (uint32_t)in->n;
}

static bool run_batch(struct inference *f, struct tape *tape, struct lm_inputs *batch_inputs,
                      size_t b)
{
    const struct encoder *e = &f->m->encoder;
    size_t begin = f->batch_begin[b], end = f->batch_begin[b + 1];
    lm_inputs_clear(batch_inputs);
    for (size_t i = begin; i < end; i++)
        lm_inputs_copy(batch_inputs, &f->inputs, f->order[i]);
    if (batch_inputs->failed)
        return false;
    struct encoder_batch batch = lm_inputs_batch(batch_inputs);
    tape_reset(tape, false, 0);
    struct tensor *hidden = e->family->forward(e, tape, &batch, 0);
    struct tensor *out = f->embed ? op_l2_normalize(tape, op_mean_pool(tape, hidden, batch.sequences))
                                  : e->family->classify(e, tape, hidden, &batch, 0);
    if (!out)
        return false;
    for (size_t i = begin; i < end; i++) {
        float *to = f->out + f->order[i] * f->width;
        const float *from = out->value + (i - begin) * f->width;
        if (f->embed)
            memcpy(to, from, f->width * sizeof *to);
        else
            softmax_rows(from, 1, f->width, to);
    }
    return true;
}

static void run_batches(void *context, size_t begin, size_t end, unsigned worker)
{
    struct inference *f = context;
    struct tape tape;
    struct lm_inputs batch_inputs;
    (void)worker;
    tape_init(&tape, &f->m->params, NULL);
    lm_inputs_init(&batch_inputs);
    for (size_t b = begin; b < end && !interrupted(); b++) {
        if (!run_batch(f, &tape, &batch_inputs, f->n_batches - 1 - b)) /* longest first */
            atomic_store(&f->failed, true);
        size_t texts = f->batch_begin[f->n_batches - b] - f->batch_begin[f->n_batches - 1 - b];
        size_t done = atomic_fetch_add(&f->done, texts) + texts;
        if (f->task)
            progress_step(f->task, f->done_before + done, f->total, "texts");
    }
    lm_inputs_deinit(&batch_inputs);
    tape_deinit(&tape);
}

/* inputs of the block are encoded; out is the block's. */
static medley_status run_block(struct inference *f, medley_error *err)
{
    size_t n = f->inputs.n;
    f->order = mem_alloc(n, sizeof *f->order);
    f->batch_begin = mem_alloc(n + 1, sizeof *f->batch_begin);
    medley_status st =
        f->order && f->batch_begin && !f->inputs.failed ? MEDLEY_OK : fail_memory(err, "texts");
    if (!st) {
        cut_batches(f);
        atomic_store(&f->done, 0);
        parallel_for(f->n_batches, 1, run_batches, f);
        if (interrupted())
            st = fail(err, MEDLEY_EINTERRUPTED, "interrupted");
        else if (atomic_load(&f->failed))
            st = fail_memory(err, "a forward pass");
    }
    mem_free(f->order);
    mem_free(f->batch_begin);
    return st;
}

/* Adds text i of the caller's to the block. */
typedef void add_text(struct inference *f, const void *texts, size_t i);

static medley_status run_all(struct inference *f, add_text *add, const void *texts, size_t n,
                             float *out, medley_error *err)
{
    medley_status st = MEDLEY_OK;
    lm_inputs_init(&f->inputs);
    f->total = n;
    for (size_t begin = 0; begin < n && !st; begin += BLOCK_TEXTS) {
        size_t end = n - begin < BLOCK_TEXTS ? n : begin + BLOCK_TEXTS;
        lm_inputs_clear(&f->inputs);
        for (size_t i = begin; i < end; i++)
            add(f, texts, i);
        f->out = out + begin * f->width;
        f->done_before = begin;
        st = run_block(f, err);
    }
    if (f->task)
        progress_end(f->task);
    lm_inputs_deinit(&f->inputs);
    return st;
}

static void add_pair(struct inference *f, const void *texts, size_t i)
{
    lm_inputs_add_pair(&f->inputs, f->m, (const struct pair_text *)texts + i);
}

medley_status cross_encoder_predict(const struct cross_encoder *m, const struct pair_text *pairs,
                                    size_t n, const char *task, float *probabilities,
                                    medley_error *err)
{
    struct inference f = {.m = m, .width = m->n_classes, .task = task};
    return run_all(&f, add_pair, pairs, n, probabilities, err);
}

struct plain_texts {
    const struct str *locales, *texts;
};

static void add_plain(struct inference *f, const void *texts, size_t i)
{
    const struct plain_texts *t = texts;
    unsigned limit = f->m->encoder.config.positions;
    lm_inputs_add_text(&f->inputs, f->m, t->locales[i], t->texts[i],
                       limit < EMBED_TOKENS ? limit : EMBED_TOKENS);
}

medley_status cross_encoder_embed(const struct cross_encoder *m, const struct str *locales,
                                  const struct str *texts, size_t n, const char *task, float *out,
                                  medley_error *err)
{
    struct inference f = {.m = m, .width = cross_encoder_width(m), .embed = true, .task = task};
    return run_all(&f, add_plain, &(struct plain_texts){locales, texts}, n, out, err);
}
