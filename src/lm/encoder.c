/* encoder.c: the table of families; running an encoder. */
#include "lm/encoder.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/pool.h"
#include "nn/recompute.h"

#include <string.h>

const struct encoder_family *const encoder_families[] = {
    &bert_family,  &roberta_family, &xlm_roberta_family, &camembert_family,  &electra_family,
    &mpnet_family, &deberta_family, &bigbird_family,     &modernbert_family, NULL,
};

medley_status encoder_family_find(const char *model_type, const struct encoder_family **out,
                                  medley_error *err)
{
    char list[256] = "";
    for (size_t i = 0; encoder_families[i]; i++) {
        if (strcmp(encoder_families[i]->model_type, model_type) == 0) {
            *out = encoder_families[i];
            return MEDLEY_OK;
        }
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "",
                 encoder_families[i]->model_type);
    }
    return fail(err, MEDLEY_EUNSUPPORTED,
                "encoder family '%s' is not supported (there are: %s)", model_type, list);
}

void encoder_deinit(struct encoder *e)
{
    mem_free(e->ids);
    mem_free(e->marks);
    e->ids = NULL;
    e->marks = NULL;
}

void encoder_mark(struct encoder *e, struct params *p)
{
    if (!e->marks)
        e->marks = mem_alloc(e->config.layers + 1, sizeof *e->marks);
    if (e->marks)
        e->marks[e->n_marks++] = (param_id)p->count;
    else
        p->failed = true;
}

void encoder_freeze(const struct encoder *e, struct params *p, unsigned layers)
{
    unsigned last = layers < e->config.layers ? layers : e->config.layers;
    for (param_id i = 0; i < e->marks[last]; i++)
        p->items[i].frozen = true;
}

void encoder_decay_rates(const struct encoder *e, struct params *p, double decay)
{
    double rate = 1;
    size_t end = p->count;
    for (unsigned i = e->n_marks; i-- > 0;) {
        for (param_id id = e->marks[i]; id < end; id++)
            p->items[id].rate = (float)rate;
        end = e->marks[i];
        rate *= decay;
    }
    for (param_id id = 0; id < end; id++)
        p->items[id].rate = (float)rate;
}

static struct tensor *finish(const struct encoder *e, struct tape *t, struct tensor *x)
{
    return e->family->finish ? e->family->finish(e, t, x) : x;
}

struct layer_call {
    const struct encoder *e;
    const struct encoder_batch *batch;
    unsigned layer;
    float dropout;
};

static struct tensor *run_layer(const void *context, struct tape *t, struct tensor *x)
{
    const struct layer_call *c = context;
    return c->e->family->layer(c->e, t, c->layer, x, c->batch, c->dropout);
}

struct tensor *encoder_forward(const struct encoder *e, struct tape *t,
                               const struct encoder_batch *batch, float dropout)
{
    struct tensor *x = e->family->embed(e, t, batch, dropout);
    struct encoder_batch *kept = NULL;
    if (e->recompute && t->training && (kept = tape_alloc(t, 1, sizeof *kept)))
        *kept = *batch;
    for (unsigned i = 0; i < e->config.layers; i++) {
        struct layer_call call = {e, kept ? kept : batch, i, dropout};
        x = kept ? op_recompute(t, x, run_layer, &call, sizeof call) : run_layer(&call, t, x);
    }
    return finish(e, t, x);
}

/* The first `layers` layers; *on is the tape that holds the result. NULL: interrupted, or out
 * of memory. */
static struct tensor *infer_layers(const struct encoder *e, struct tape tapes[2],
                                   const struct encoder_batch *batch, unsigned layers,
                                   struct tape **on)
{
    struct tape *t = &tapes[0];
    tape_reset(t, false, 0);
    struct tensor *x = e->family->embed(e, t, batch, 0);
    for (unsigned i = 0; i < layers; i++) {
        if (interrupted())
            return NULL;
        t = &tapes[(i + 1) % 2];
        tape_reset(t, false, 0);
        x = e->family->layer(e, t, i, x, batch, 0);
    }
    *on = t;
    return x;
}

struct tensor *encoder_infer(const struct encoder *e, struct tape tapes[2],
                             const struct encoder_batch *batch, struct tape **on)
{
    struct tensor *x = infer_layers(e, tapes, batch, e->config.layers, on);
    return x ? finish(e, *on, x) : NULL;
}

struct tensor *encoder_infer_first(const struct encoder *e, struct tape tapes[2],
                                   const struct encoder_batch *batch, struct tape **on,
                                   struct encoder_batch *first)
{
    unsigned last = e->config.layers - 1;
    if (!e->family->layer_first) {
        *first = *batch;
        return encoder_infer(e, tapes, batch, on);
    }
    struct tensor *x = infer_layers(e, tapes, batch, last, on);
    if (!x)
        return NULL;
    *on = &tapes[(last + 1) % 2];
    tape_reset(*on, false, 0);
    x = e->family->layer_first(e, *on, last, x, batch);
    uint32_t *offsets = tape_alloc(*on, batch->sequences.n + 1, sizeof *offsets);
    for (size_t s = 0; offsets && s <= batch->sequences.n; s++)
        offsets[s] = (uint32_t)s;
    *first = (struct encoder_batch){.tokens = batch->sequences.n,
                                    .sequences = {offsets, batch->sequences.n}};
    return finish(e, *on, offsets ? x : NULL);
}
