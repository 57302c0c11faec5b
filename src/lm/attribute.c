/* attribute.c: see attribute.h. Proof: tests/test_attribute.c. */
#include "lm/attribute.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/pool.h"
#include "lm/cross_encoder_model.h"

#include <math.h>
#include <string.h>

/* Gauss-Legendre on [0, 1]: exact for polynomials of degree 15. */
enum { NODES = 8, MOST_PIECES = 32 };
static const double node[NODES] = {0.0198550717512319, 0.1016667612931866, 0.2372337950418355,
                                   0.4082826787521751, 0.5917173212478249, 0.7627662049581645,
                                   0.8983332387068134, 0.9801449282487681};
static const double weight[NODES] = {0.0506142681451881, 0.1111905172266872, 0.1568533229389437,
                                     0.1813418916891810, 0.1813418916891810, 0.1568533229389437,
                                     0.1111905172266872, 0.0506142681451881};
static const double tolerance = 1e-3;

struct attributing {
    const struct cross_encoder *m;
    struct params frozen; /* the model's, with no gradient for any: items are ours */
    struct tape tape;
    float no_grads[1];
    struct lm_inputs pair, copies; /* the pair; NODES of it, or the pair and its masked self */
    size_t n, d, k;                /* tokens, width, classes */
    float *real, *masked;          /* [n, d] what enters the first layer */
    float *x;                      /* [NODES * n, d] */
};

static void attributing_close(struct attributing *t)
{
    tape_deinit(&t->tape);
    lm_inputs_deinit(&t->pair);
    lm_inputs_deinit(&t->copies);
    mem_free(t->frozen.items);
    mem_free(t->real);
    mem_free(t->masked);
    mem_free(t->x);
}

/* The tape records for the inputs' sake alone: no parameter gets a gradient. */
static medley_status freeze(struct attributing *t, medley_error *err)
{
    t->frozen = t->m->params;
    t->frozen.items = mem_alloc(t->m->params.count + 1, sizeof *t->frozen.items);
    if (!t->frozen.items)
        return fail_memory(err, "parameters");
    memcpy(t->frozen.items, t->m->params.items, t->frozen.count * sizeof *t->frozen.items);
    for (size_t i = 0; i < t->frozen.count; i++)
        t->frozen.items[i].frozen = true;
    tape_init(&t->tape, &t->frozen, t->no_grads);
    return MEDLEY_OK;
}

static struct tensor *through_layers(const struct attributing *t, struct tape *tape,
                                     struct tensor *x, const struct encoder_batch *batch)
{
    const struct encoder *e = &t->m->encoder;
    for (unsigned i = 0; i < e->config.layers; i++)
        x = e->family->layer(e, tape, i, x, batch, 0);
    if (e->family->finish)
        x = e->family->finish(e, tape, x);
    return lm_head_forward(t->m, tape, x, batch, 0);
}

/* Specials stay: the frame, and the fields' markers. */
static bool is_frame(const struct cross_encoder *m, int32_t id)
{
    struct tokenizer_specials s = tokenizer_specials(m->tokenizer);
    bool frame = id == s.cls || id == s.sep || id == s.pad;
    for (size_t f = 0; f < FIELD_COUNT; f++)
        frame |= m->marker[f] >= 0 && id == m->marker[f];
    return frame;
}

static int32_t mask_token(const struct cross_encoder *m)
{
    struct tokenizer_specials s = tokenizer_specials(m->tokenizer);
    return s.mask >= 0 ? s.mask : s.unknown >= 0 ? s.unknown : s.pad;
}

/* t->real, t->masked, and the centred logits of both. */
static medley_status embed_both(struct attributing *t, struct lm_attribution *a,
                                medley_error *err)
{
    const struct encoder *e = &t->m->encoder;
    int32_t hidden = mask_token(t->m);
    if (hidden < 0)
        return fail(err, MEDLEY_EUNSUPPORTED, "the tokenizer has no token that hides another");
    lm_inputs_clear(&t->copies);
    lm_inputs_copy(&t->copies, &t->pair, 0);
    lm_inputs_copy(&t->copies, &t->pair, 0);
    if (t->copies.failed)
        return fail_memory(err, "tokens");
    for (size_t i = 0; i < t->n; i++)
        if (!is_frame(t->m, t->pair.ids[i]))
            t->copies.ids[t->n + i] = hidden;
    struct encoder_batch batch = lm_inputs_batch(&t->copies);
    tape_reset(&t->tape, false, 0);
    struct tensor *x = e->family->embed(e, &t->tape, &batch, 0);
    struct tensor *logits = through_layers(t, &t->tape, x, &batch);
    if (!logits)
        return fail_memory(err, "a forward pass");
    t->d = x->cols;
    t->real = mem_alloc(t->n, t->d * sizeof *t->real);
    t->masked = mem_alloc(t->n, t->d * sizeof *t->masked);
    t->x = mem_alloc(NODES * t->n, t->d * sizeof *t->x);
    if (!t->real || !t->masked || !t->x)
        return fail_memory(err, "embeddings");
    memcpy(t->real, x->value, t->n * t->d * sizeof *t->real);
    memcpy(t->masked, x->value + t->n * t->d, t->n * t->d * sizeof *t->masked);
    for (size_t s = 0; s < 2; s++) {
        double mean = 0, *to = s ? a->masked : a->output;
        for (size_t c = 0; c < t->k; c++)
            mean += (double)logits->value[s * t->k + c] / (double)t->k;
        for (size_t c = 0; c < t->k; c++)
            to[c] = (double)logits->value[s * t->k + c] - mean;
    }
    return MEDLEY_OK;
}

/* Adds one piece [begin, begin + length] of the way, for one class. */
static medley_status add_piece(struct attributing *t, double begin, double length, size_t class,
                               double *values, medley_error *err)
{
    size_t cells = t->n * t->d;
    float weights[NODES], contrast[MAX_CLASSES];
    for (size_t i = 0; i < NODES; i++) {
        float at = (float)(begin + length * node[i]);
        weights[i] = (float)(length * weight[i]);
        for (size_t j = 0; j < cells; j++)
            t->x[i * cells + j] = t->masked[j] + at * (t->real[j] - t->masked[j]);
    }
    for (size_t c = 0; c < t->k; c++)
        contrast[c] = (c == class ? 1.0f : 0.0f) - 1.0f / (float)t->k;
    struct encoder_batch batch = lm_inputs_batch(&t->copies);
    tape_reset(&t->tape, true, 0);
    struct tensor *x = tape_input(&t->tape, t->x, NODES * t->n, t->d, true);
    struct tensor *logits = through_layers(t, &t->tape, x, &batch);
    struct tensor *each =
        op_matmul(&t->tape, logits, tape_input(&t->tape, contrast, t->k, 1, false));
    struct tensor *sum =
        op_matmul(&t->tape, tape_input(&t->tape, weights, 1, NODES, false), each);
    medley_status st =
        sum ? tape_backward(&t->tape, sum, 1, err) : fail_memory(err, "a forward pass");
    for (size_t i = 0; i < NODES && !st; i++)
        for (size_t j = 0; j < cells; j++)
            values[j / t->d * t->k + class] +=
                (double)x->grad[i * cells + j] * (double)(t->real[j] - t->masked[j]);
    return st;
}

static double gap_of(const struct lm_attribution *a, size_t class)
{
    double sum = 0;
    for (size_t i = 0; i < a->n_tokens; i++)
        sum += a->values[i * a->n_classes + class];
    return fabs(sum - (a->output[class] - a->masked[class]));
}

static medley_status integrate(struct attributing *t, unsigned pieces, size_t class,
                               struct lm_attribution *a, medley_error *err)
{
    medley_status st = MEDLEY_OK;
    for (size_t i = 0; i < t->n; i++)
        a->values[i * t->k + class] = 0;
    for (unsigned p = 0; p < pieces && !st; p++)
        st = interrupted()
                 ? fail(err, MEDLEY_EINTERRUPTED, "interrupted")
                 : add_piece(t, (double)p / pieces, 1.0 / pieces, class, a->values, err);
    return st;
}

/* Twice as many pieces until the shares of a class sum to what they should. */
static medley_status refine(struct attributing *t, struct lm_attribution *a, medley_error *err)
{
    double most = 1;
    medley_status st = MEDLEY_OK;
    for (size_t c = 0; c < t->k; c++)
        most = fmax(most, fabs(a->output[c] - a->masked[c]));
    lm_inputs_clear(&t->copies);
    for (size_t i = 0; i < NODES; i++)
        lm_inputs_copy(&t->copies, &t->pair, 0);
    if (t->copies.failed)
        return fail_memory(err, "tokens");
    for (size_t c = 0; c < t->k && !st; c++) {
        unsigned pieces = 1;
        st = integrate(t, pieces, c, a, err);
        while (!st && gap_of(a, c) > tolerance * most && pieces < MOST_PIECES)
            st = integrate(t, pieces *= 2, c, a, err);
        a->steps = pieces * NODES > a->steps ? pieces * NODES : a->steps;
        a->gap = fmax(a->gap, gap_of(a, c));
    }
    return st;
}

static void name_tokens(const struct attributing *t, struct lm_attribution *a)
{
    a->marks = tokenizer_marks(t->m->tokenizer);
    for (size_t i = 0; i < t->n; i++) {
        int32_t id = t->pair.ids[i];
        a->tokens[i].text = tokenizer_token(t->m->tokenizer, id);
        a->tokens[i].part = is_frame(t->m, id)      ? PART_FRAME
                            : t->pair.types[i] == 0 ? PART_QUERY
                                                    : PART_PRODUCT;
    }
}

medley_status cross_encoder_attribute(const struct cross_encoder *m,
                                      const struct pair_text *pair, struct lm_attribution *out,
                                      medley_error *err)
{
    struct attributing t = {.m = m, .k = m->n_classes};
    struct lm_attribution a = {.n_classes = m->n_classes};
    lm_inputs_init(&t.pair);
    lm_inputs_init(&t.copies);
    medley_status st = freeze(&t, err);
    if (!st) {
        lm_inputs_add_pair(&t.pair, m, pair);
        a.n_tokens = t.n = t.pair.n_tokens;
        a.tokens = mem_zalloc(t.n + 1, sizeof *a.tokens);
        a.values = mem_alloc(t.n + 1, t.k * sizeof *a.values);
        if (t.pair.failed || !a.tokens || !a.values)
            st = fail_memory(err, "tokens");
    }
    if (!st)
        st = embed_both(&t, &a, err);
    if (!st)
        st = refine(&t, &a, err);
    if (!st)
        name_tokens(&t, &a);
    attributing_close(&t);
    if (st)
        lm_attribution_free(&a);
    else
        *out = a;
    return st;
}

void lm_attribution_free(struct lm_attribution *a)
{
    mem_free(a->tokens);
    mem_free(a->values);
    memset(a, 0, sizeof *a);
}
