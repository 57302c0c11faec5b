/* lanes.c: lanes run side by side on the pool. Lane 0 adds to the sum at once; the buffers of
 * the others are added after it, in lane order, and zeroed in the same pass. */
#include "nn/lanes.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/pool.h"
#include "base/rng.h"
#include "nn/vec.h"

#include <string.h>

enum { CHUNK = 1 << 16 }; /* floats summed at a time */

static float *new_gradients(size_t total)
{
    float *g = mem_alloc64(total, sizeof *g);
    if (g)
        memset(g, 0, total * sizeof *g);
    return g;
}

medley_status lanes_init(struct lanes *l, const struct params *p, unsigned count,
                         medley_error *err)
{
    count = count ? count : 1;
    struct lanes made = {.count = count, .tapes = mem_zalloc(count, sizeof *made.tapes)};
    struct param_span span = params_trainable(p);
    made.n_grads = span.end - span.begin;
    bool good = made.tapes != NULL;
    for (unsigned i = 0; good && i < count; i++) {
        float *grads = new_gradients(made.n_grads + 1); /* never 0 */
        good = grads != NULL;
        tape_init(&made.tapes[i], p, grads);
    }
    if (!good) {
        lanes_deinit(&made);
        return fail_memory(err, "gradients");
    }
    made.grads = made.tapes[0].grads;
    *l = made;
    return MEDLEY_OK;
}

void lanes_deinit(struct lanes *l)
{
    for (unsigned i = 0; l->tapes && i < l->count; i++) {
        mem_free(l->tapes[i].grads);
        tape_deinit(&l->tapes[i]);
    }
    mem_free(l->tapes);
    *l = (struct lanes){0};
}

struct run {
    struct lanes *l;
    uint64_t seed;
    lane_body *body;
    void *context;
    struct result {
        medley_status status;
        double loss;
        medley_error error;
    } * results; /* [count] */
};

static void run_lane(const struct run *r, unsigned lane)
{
    struct tape *t = &r->l->tapes[lane];
    struct result *result = &r->results[lane];
    tape_reset(t, true, mix64(r->seed, lane, 0));
    struct tensor *loss = r->body(r->context, t, lane);
    if (!loss && !t->failed) /* nothing for this lane */
        return;
    result->status = tape_backward(t, loss, 1, &result->error);
    if (result->status == MEDLEY_OK)
        result->loss = loss->value[0];
}

static void run_lanes(void *context, size_t begin, size_t end, unsigned worker)
{
    (void)worker;
    for (size_t i = begin; i < end; i++)
        run_lane(context, (unsigned)i);
}

static void sum_chunks(void *context, size_t begin, size_t end, unsigned worker)
{
    (void)worker;
    struct lanes *l = context;
    size_t total = l->n_grads;
    for (size_t c = begin; c < end; c++) {
        size_t from = c * CHUNK, n = total - from < CHUNK ? total - from : CHUNK;
        for (unsigned lane = 1; lane < l->count; lane++)
            vec()->drain(l->grads + from, l->tapes[lane].grads + from, n);
    }
}

/* The first failure in lane order; else the sum of the losses. */
static medley_status collect(const struct run *r, double *loss, medley_error *err)
{
    double sum = 0;
    for (unsigned i = 0; i < r->l->count; i++) {
        if (r->results[i].status != MEDLEY_OK) {
            if (err)
                *err = r->results[i].error;
            return r->results[i].status;
        }
        sum += r->results[i].loss;
    }
    *loss = sum;
    return MEDLEY_OK;
}

medley_status lanes_run(struct lanes *l, uint64_t seed, lane_body *body, void *context,
                        double *loss, medley_error *err)
{
    struct run r = {l, seed, body, context, mem_zalloc(l->count, sizeof *r.results)};
    size_t total = l->n_grads;
    medley_status st;
    if (r.results) {
        parallel_for(l->count, 1, run_lanes, &r);
        st = collect(&r, loss, err);
    } else {
        st = fail_memory(err, "results of lanes");
    }
    if (st == MEDLEY_OK && l->count > 1)
        parallel_for((total + CHUNK - 1) / CHUNK, 1, sum_chunks, l);
    for (unsigned i = 0; st != MEDLEY_OK && i < l->count; i++)
        memset(l->tapes[i].grads, 0, total * sizeof *l->grads);
    mem_free(r.results);
    return st;
}
