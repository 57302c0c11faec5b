/* adamw.c: gradient norm, schedule and one fused pass over parameters, moments and gradients;
 * bound by memory bandwidth (7 floats moved per parameter, 8 where the gradient is not zero).
 */
#include "nn/adamw.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/pool.h"
#include "nn/vec.h"

#include <math.h>
#include <string.h>

enum { CHUNK = 1 << 16 }; /* floats; the norm is summed per chunk, then over chunks in order */

static double otherwise(double value, double normal)
{
    return value > 0 ? value : normal;
}

medley_status adamw_init(struct adamw *a, const struct params *p, const struct adamw_options *o,
                         medley_error *err)
{
    struct param_span span = params_trainable(p);
    size_t n = span.end - span.begin + 1; /* never 0 */
    float *m = mem_alloc64(n, sizeof *m), *v = mem_alloc64(n, sizeof *v);
    if (!m || !v) {
        mem_free(m);
        mem_free(v);
        return fail_memory(err, "moments of AdamW");
    }
    memset(m, 0, n * sizeof *m);
    memset(v, 0, n * sizeof *v);
    *a = (struct adamw){.options = *o, .m = m, .v = v, .span = span};
    a->options.learning_rate = otherwise(o->learning_rate, 2e-5);
    a->options.beta1 = otherwise(o->beta1, 0.9);
    a->options.beta2 = otherwise(o->beta2, 0.999);
    a->options.epsilon = otherwise(o->epsilon, 1e-8);
    return MEDLEY_OK;
}

void adamw_deinit(struct adamw *a)
{
    mem_free(a->m);
    mem_free(a->v);
    a->m = a->v = NULL;
}

double adamw_rate(const struct adamw *a)
{
    const struct adamw_options *o = &a->options;
    if (o->total_steps == 0)
        return o->learning_rate;
    double total = (double)o->total_steps, step = (double)a->step;
    double warm = floor(o->warmup * total);
    if (step < warm)
        return o->learning_rate * (step + 1) / warm;
    double left = total > warm ? fmax(0, (total - step) / (total - warm)) : 1;
    switch (o->schedule) {
    case SCHEDULE_LINEAR:
        return o->learning_rate * left;
    case SCHEDULE_COSINE:
        return o->learning_rate * 0.5 * (1 - cos(3.14159265358979323846 * left));
    case SCHEDULE_CONSTANT:
        break;
    }
    return o->learning_rate;
}

/* ---- over the parameters in parallel ---- */

struct step {
    struct adamw *a;
    const struct params *p;
    float *grads;
    double *squares; /* [chunks] */
    struct adamw_span common;
    double rate;
};

/* The index of the last parameter that starts at or before `offset`. */
static size_t param_at(const struct params *p, size_t offset)
{
    size_t low = 0, high = p->count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (p->items[middle].offset <= offset)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* The part of parameter `item` in floats [begin, end) of the layout; 0 when frozen or outside.
 */
static size_t overlap(const struct param *item, size_t begin, size_t end, size_t *first)
{
    size_t stop = item->offset + item->rows * item->cols;
    *first = item->offset > begin ? item->offset : begin;
    stop = stop < end ? stop : end;
    return item->frozen || stop <= *first ? 0 : stop - *first;
}

static double squares_of_chunk(const struct step *s, size_t c)
{
    size_t from = c * CHUNK, to = from + CHUNK, first;
    double sum = 0;
    for (size_t i = param_at(s->p, from); i < s->p->count && s->p->items[i].offset < to; i++) {
        size_t n = overlap(&s->p->items[i], from, to, &first);
        sum += n ? vec()->sum_squares(s->grads + (first - s->a->span.begin), n) : 0;
    }
    return sum;
}

static void chunk_squares(void *context, size_t begin, size_t end, unsigned worker)
{
    (void)worker;
    struct step *s = context;
    for (size_t c = begin; c < end; c++)
        s->squares[c] = squares_of_chunk(s, c);
}

static void update_param(const struct step *s, const struct param *item, size_t first, size_t n)
{
    const struct adamw_options *o = &s->a->options;
    double rate = s->rate * item->rate;
    struct adamw_span span = s->common;
    span.n = n;
    span.p = s->p->values + first;
    size_t at = first - s->a->span.begin;
    span.m = s->a->m + at;
    span.v = s->a->v + at;
    span.g = s->grads + at;
    span.keep = (float)(1 - (item->decay ? rate * o->weight_decay : 0));
    span.step = (float)(rate / (1 - pow(o->beta1, (double)s->a->step)));
    vec()->adamw(&span);
}

static void chunk_update(void *context, size_t begin, size_t end, unsigned worker)
{
    (void)worker;
    struct step *s = context;
    for (size_t c = begin; c < end; c++) {
        size_t from = c * CHUNK, to = from + CHUNK, first;
        for (size_t i = param_at(s->p, from); i < s->p->count && s->p->items[i].offset < to;
             i++) {
            size_t n = overlap(&s->p->items[i], from, to, &first);
            if (n)
                update_param(s, &s->p->items[i], first, n);
        }
    }
}

/* The norm of all gradients, summed in a fixed order, whatever the number of threads. */
static double gradient_norm(struct step *s, size_t chunks)
{
    double sum = 0;
    s->squares = mem_alloc(chunks, sizeof *s->squares);
    if (s->squares)
        parallel_for(chunks, 1, chunk_squares, s);
    for (size_t c = 0; c < chunks; c++) /* out of memory: the same sums one after another */
        sum += s->squares ? s->squares[c] : squares_of_chunk(s, c);
    mem_free(s->squares);
    return sqrt(sum);
}

double adamw_step(struct adamw *a, struct params *p, float *grads)
{
    const struct adamw_options *o = &a->options;
    struct step s = {.a = a, .p = p, .grads = grads, .rate = adamw_rate(a)};
    size_t chunks = (p->total + CHUNK - 1) / CHUNK;
    if (chunks == 0)
        return 0;
    double norm = gradient_norm(&s, chunks);
    if (!isfinite(norm)) { /* an update would spoil everything */
        memset(grads, 0, (a->span.end - a->span.begin) * sizeof *grads);
        return norm;
    }
    a->step++;
    double shrink = o->clip > 0 ? fmin(1, o->clip / (norm + 1e-6)) : 1; /* as torch has it */
    s.common = (struct adamw_span){.grad_scale = (float)shrink,
                                   .beta1 = (float)o->beta1,
                                   .beta2 = (float)o->beta2,
                                   .rest1 = (float)(1 - o->beta1),
                                   .rest2 = (float)(1 - o->beta2),
                                   .epsilon = (float)o->epsilon};
    s.common.rsqrt_correction = (float)(1 / sqrt(1 - pow(o->beta2, (double)a->step)));
    parallel_for(chunks, 1, chunk_update, &s);
    return norm;
}
