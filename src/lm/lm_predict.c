/* lm_predict.c: class probabilities and text embeddings. Texts are sorted by length and cut
 * into ragged batches; each result depends on its own text alone, not on its neighbours in a
 * batch. */
#include "lm/workspace.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/pool.h"
#include "base/progress.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    BLOCK_TEXTS = 8192, /* encoded at a time: bounds memory */
    BATCH_TOKENS = 512, /* tokens per forward pass: fills the matrix kernels, stays in cache */
    LEAST_TOKENS = 32,  /* fewer are not worth a thread of their own */
    EMBED_TOKENS = 128  /* longest text that is embedded */
};

/* One block of texts on its way through the model. */
struct inference {
    const struct cross_encoder *m;
    struct lm_workspace *w;
    size_t n_batches;
    enum { GIVES_PROBABILITIES, GIVES_LOGITS, GIVES_EMBEDDINGS } gives;
    float *out; /* [n * width] of this block */
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
    const struct lm_inputs *in = &f->w->inputs;
    uint32_t *order = f->w->order;
    /* A small request is spread over the threads. Rows do not see each other, so the cut does
     * not change a bit of the results. */
    size_t tokens = 0, limit = in->n_tokens / f->w->n + 1;
    limit = limit > BATCH_TOKENS ? BATCH_TOKENS : limit < LEAST_TOKENS ? LEAST_TOKENS : limit;
    for (uint32_t i = 0; i < in->n; i++)
        order[i] = i;
    qsort_r(order, in->n, sizeof *order, by_length, &f->w->inputs);
    f->n_batches = 0;
    for (uint32_t i = 0; i < in->n; i++) {
        size_t length = in->offsets[order[i] + 1] - in->offsets[order[i]];
        if (i == 0 || tokens + length > limit) {
            f->w->batch_begin[f->n_batches++] = i;
            tokens = 0;
        }
        tokens += length;
    }
    f->w->batch_begin[f->n_batches] = (uint32_t)in->n;
}

static struct tensor *embeddings(const struct encoder *e, struct tape tapes[2],
                                 const struct encoder_batch *batch)
{
    struct tape *t;
    struct tensor *hidden = encoder_infer(e, tapes, batch, &t);
    if (!hidden)
        return NULL;
    return op_l2_normalize(t, op_mean_pool(t, hidden, batch->sequences));
}

static struct tensor *logits(const struct cross_encoder *m, struct tape tapes[2],
                             const struct encoder_batch *batch)
{
    struct tape *t;
    struct encoder_batch read = *batch; /* what the head sees */
    struct tensor *hidden = m->head == HEAD_CLS
                                ? encoder_infer_first(&m->encoder, tapes, batch, &t, &read)
                                : encoder_infer(&m->encoder, tapes, batch, &t);
    if (!hidden)
        return NULL;
    return lm_head_forward(m, t, hidden, &read, 0);
}

static bool run_batch(struct inference *f, struct lm_worker *w, size_t b)
{
    const struct encoder *e = &f->m->encoder;
    const uint32_t *order = f->w->order;
    size_t begin = f->w->batch_begin[b], end = f->w->batch_begin[b + 1];
    lm_inputs_clear(&w->inputs);
    for (size_t i = begin; i < end; i++)
        lm_inputs_copy(&w->inputs, &f->w->inputs, order[i]);
    if (w->inputs.failed)
        return false;
    struct encoder_batch batch = lm_inputs_batch(&w->inputs);
    struct tensor *out = f->gives == GIVES_EMBEDDINGS ? embeddings(e, w->tapes, &batch)
                                                      : logits(f->m, w->tapes, &batch);
    if (!out)
        return false;
    for (size_t i = begin; i < end; i++) {
        float *to = f->out + order[i] * f->width;
        const float *from = out->value + (i - begin) * f->width;
        if (f->gives == GIVES_PROBABILITIES)
            lm_probabilities(f->m, from, to);
        else
            memcpy(to, from, f->width * sizeof *to);
    }
    return true;
}

static void run_batches(void *context, size_t begin, size_t end, unsigned worker)
{
    struct inference *f = context;
    for (size_t b = begin; b < end && !interrupted(); b++) {
        size_t last = f->n_batches - 1 - b; /* longest first */
        if (!run_batch(f, &f->w->workers[worker], last))
            atomic_store(&f->failed, true);
        size_t texts = f->w->batch_begin[last + 1] - f->w->batch_begin[last];
        size_t done = atomic_fetch_add(&f->done, texts) + texts;
        if (f->task)
            progress_step(f->task, f->done_before + done, f->total, "texts");
    }
}

/* One batch alone has the pool to itself: its layers are spread instead. */
static void spread_layers(struct inference *f)
{
    bool lone = f->n_batches == 1;
    for (unsigned i = 0; i < f->w->n; i++)
        f->w->workers[i].tapes[0].spread = f->w->workers[i].tapes[1].spread = lone;
    if (lone)
        run_batches(f, 0, 1, 0);
    else
        parallel_for(f->n_batches, 1, run_batches, f);
}

/* inputs of the block are encoded; out is the block's. */
static medley_status run_block(struct inference *f, medley_error *err)
{
    struct lm_workspace *w = f->w;
    size_t n = w->inputs.n;
    if (w->inputs.failed || !mem_reserve(&w->order, &w->order_capacity, n, sizeof *w->order) ||
        !mem_reserve(&w->batch_begin, &w->begin_capacity, n + 1, sizeof *w->batch_begin))
        return fail_memory(err, "texts");
    cut_batches(f);
    atomic_store(&f->done, 0);
    spread_layers(f);
    if (interrupted())
        return fail(err, MEDLEY_EINTERRUPTED, "interrupted");
    return atomic_load(&f->failed) ? fail_memory(err, "a forward pass") : MEDLEY_OK;
}

/* Adds text i of the caller's to the block. */
typedef void add_text(struct inference *f, const void *texts, size_t i);

static medley_status run_all(struct inference *f, add_text *add, const void *texts, size_t n,
                             float *out, medley_error *err)
{
    medley_status st = MEDLEY_OK;
    f->w = lm_workspace_take(f->m);
    if (!f->w)
        return fail_memory(err, "a forward pass");
    f->total = n;
    for (size_t begin = 0; begin < n && !st; begin += BLOCK_TEXTS) {
        size_t end = n - begin < BLOCK_TEXTS ? n : begin + BLOCK_TEXTS;
        lm_inputs_clear(&f->w->inputs);
        for (size_t i = begin; i < end; i++)
            add(f, texts, i);
        f->out = out + begin * f->width;
        f->done_before = begin;
        st = run_block(f, err);
    }
    if (f->task)
        progress_end(f->task);
    lm_workspace_give(f->m, f->w);
    return st;
}

static void add_pair(struct inference *f, const void *texts, size_t i)
{
    lm_inputs_add_pair(&f->w->inputs, f->m, (const struct pair_text *)texts + i);
}

medley_status cross_encoder_predict(const struct cross_encoder *m,
                                    const struct pair_text *pairs, size_t n, const char *task,
                                    float *probabilities, medley_error *err)
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
    const struct encoder_config *c = &f->m->encoder.config;
    unsigned limit = c->positions - c->first_position;
    lm_inputs_add_text(&f->w->inputs, f->m, t->locales[i], t->texts[i],
                       limit < EMBED_TOKENS ? limit : EMBED_TOKENS);
}

medley_status cross_encoder_embed(const struct cross_encoder *m, const struct str *locales,
                                  const struct str *texts, size_t n, const char *task,
                                  float *out, medley_error *err)
{
    struct inference f = {
        .m = m, .width = cross_encoder_width(m), .gives = GIVES_EMBEDDINGS, .task = task};
    return run_all(&f, add_plain, &(struct plain_texts){locales, texts}, n, out, err);
}

static void add_encoded(struct inference *f, const void *texts, size_t i)
{
    lm_inputs_copy(&f->w->inputs, texts, i);
}

medley_status lm_predict_inputs(const struct cross_encoder *m, const struct lm_inputs *inputs,
                                float *probabilities, medley_error *err)
{
    struct inference f = {.m = m, .width = m->n_classes};
    return run_all(&f, add_encoded, inputs, inputs->n, probabilities, err);
}

medley_status lm_logits_inputs(const struct cross_encoder *m, const struct lm_inputs *inputs,
                               float *logits, medley_error *err)
{
    struct inference f = {.m = m, .width = m->n_classes, .gives = GIVES_LOGITS};
    return run_all(&f, add_encoded, inputs, inputs->n, logits, err);
}
