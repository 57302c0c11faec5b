/* bundle_ask.c: asks base models for one list of candidates, until the time is over. Models
 * that others run are asked meanwhile, each on a thread of its own: waiting for a network takes
 * no processor, and one that hangs must not take the time of those that would have answered.
 * Proof: tests/test_remote.c, tests/test_plugin.c, tests/test_deadline.c. */
#include "base/cpu.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/pool.h"
#include "base/progress.h"
#include "ensemble/answers.h"
#include "ensemble/bundle_private.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

/* Feature rows of what the graph has never seen: the query, and products that came with text.
 */
static medley_status encode_new(struct request *r, size_t g, medley_error *err)
{
    const struct shared_graph *graph = &r->b->graphs[g];
    size_t width = graph->inputs.width, n = r->model.n, fresh = 0;
    float *rows = mem_zalloc(n + 1, width * sizeof *rows);
    float *encoded = mem_alloc(n + 1, width * sizeof *encoded);
    struct str *text = mem_alloc(n + 1, sizeof *text),
               *locale = mem_alloc(n + 1, sizeof *locale);
    size_t *to = mem_alloc(n + 1, sizeof *to), *offset = mem_alloc(n + 2, sizeof *offset);
    struct strbuf built;
    sb_init(&built);
    medley_status st = MEDLEY_OK;
    if (!rows || !encoded || !text || !locale || !to || !offset) {
        st = fail_memory(err, "feature rows");
        goto done;
    }
    for (size_t i = 0; i <= n; i++) {
        bool is_query = i == n;
        if (is_query ? r->model.query != UINT32_MAX : r->product[i] != UINT32_MAX)
            continue;
        offset[fresh] = built.n;
        if (is_query)
            sb_add(&built, r->texts[0].query.s, r->texts[0].query.n);
        else
            product_feature_text(&r->texts[i].product, &built);
        locale[fresh] = r->texts[0].locale;
        to[fresh++] = i;
    }
    if (built.failed) {
        st = fail_memory(err, "feature texts");
        goto done;
    }
    if (fresh) {
        offset[fresh] = built.n;
        for (size_t i = 0; i < fresh; i++)
            text[i] =
                (struct str){built.s ? built.s + offset[i] : "", offset[i + 1] - offset[i]};
        st = feature_encoder_run(&graph->encoder, locale, text, fresh, NULL, encoded, err);
    }
    for (size_t i = 0; i < fresh && !st; i++)
        memcpy(rows + to[i] * width, encoded + i * width, width * sizeof *rows);
    r->new_rows[g] = rows;
    rows = NULL;
done:
    sb_deinit(&built);
    mem_free(rows);
    mem_free(encoded);
    mem_free(text);
    mem_free(locale);
    mem_free(to);
    mem_free(offset);
    return st;
}

static bool has_new(const struct request *r)
{
    for (size_t i = 0; i < r->model.n; i++)
        if (r->product[i] == UINT32_MAX)
            return true;
    return r->model.query == UINT32_MAX;
}

/* What others run may fail: the ensemble then answers without it. So it does when any model
 * says what are no probabilities, or has none when the time is over. */
static medley_status settle_answer(struct request *r, size_t m, medley_status st,
                                   const medley_error *why)
{
    const struct base_model_ops *ops = base_model_kinds[r->b->models[m].config.kind];
    size_t k = r->b->shape.n_classes, n = r->model.n;
    /* a time limit in whole milliseconds may end a little early */
    bool over = r->until && clock_seconds() >= r->until - 1e-3;
    if (over && (st == MEDLEY_EINTERRUPTED || st == MEDLEY_EIO) && !interrupt_requested()) {
        answers_none(r->probabilities[m], n, k);
        r->late |= UINT32_C(1) << m;
        return MEDLEY_OK;
    }
    bool ours = !ops->outside || st == MEDLEY_ENOMEM || st == MEDLEY_EINTERRUPTED;
    if (st && ours)
        return st;
    if (st)
        answers_none(r->probabilities[m], n, k);
    else if (answers_drop(r->probabilities[m], n, k) == 0)
        return MEDLEY_OK;
    r->failed |= UINT32_C(1) << m;
    uint64_t times = atomic_fetch_add(&r->b->failed[m], 1) + 1;
    if ((times & (times - 1)) == 0) /* 1, 2, 4, ...: a server that is down fills no log */
        progress_note("without '%s', %" PRIu64 " times so far: %s", r->b->models[m].config.name,
                      times, st ? why->message : "it answered with what are no probabilities");
    return MEDLEY_OK;
}

static void note_time(struct model_clock *c, double seconds)
{
    size_t slot = 0;
    for (double limit = 1e-5; slot < MEDLEY_TOOK_LIMITS && seconds > limit; limit *= 2)
        slot++;
    atomic_fetch_add_explicit(&c->lists, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&c->ns, (uint64_t)(seconds * 1e9), memory_order_relaxed);
    atomic_fetch_add_explicit(&c->took[slot], 1, memory_order_relaxed);
}

/* For all of r's pairs. */
static medley_status ask_model(struct request *r, size_t m, medley_error *err)
{
    const struct bundle_model *model = &r->b->models[m];
    size_t k = r->b->shape.n_classes, n = r->model.n;
    medley_error why = {.message = ""};
    medley_status st = MEDLEY_OK;
    if (r->until && clock_seconds() >= r->until) {
        answers_none(r->probabilities[m], n, k);
        r->late |= UINT32_C(1) << m;
        return MEDLEY_OK;
    }
    r->model.query_features = r->model.product_features = NULL;
    r->model.stored = NULL;
    if (model->store) {
        if (!(r->stored[m] = mem_zalloc(n, 1)))
            return fail_memory(err, "probabilities");
        r->model.stored = r->stored[m];
    }
    double before = time_limit_set(r->until), started = clock_seconds();
    if (model->graph != SIZE_MAX && has_new(r)) {
        if (!r->new_rows[model->graph])
            st = encode_new(r, model->graph, &why);
        if (!st) {
            r->model.product_features = r->new_rows[model->graph];
            r->model.query_features = r->model.product_features + n * model->context.width;
        }
    }
    if (!st)
        st = base_model_kinds[model->config.kind]->answer(&model->context, model->model,
                                                          &r->model, r->probabilities[m], &why);
    time_limit_set(before);
    double took = clock_seconds() - started;
    bool answered = !st;
    st = settle_answer(r, m, st, &why);
    if (answered || r->late >> m & 1) /* what an open breaker refuses at once says nothing */
        note_time(&r->b->clocks[m], took);
    if (st && err)
        *err = why;
    return st;
}

/* The pairs of which nothing is given. */
static medley_status ask_rest(struct request *r, size_t m, const uint32_t *rows, size_t n,
                              medley_error *err)
{
    struct request part = {.b = NULL};
    medley_status st = request_part_open(r, rows, n, &part, err);
    if (!st)
        st = request_ask(&part, m, err);
    if (!st)
        st = request_part_merge(r, &part, rows, m, err);
    request_free(&part);
    return st;
}

medley_status request_ask(struct request *r, size_t m, medley_error *err)
{
    size_t k = r->b->shape.n_classes, n = r->model.n, left = 0;
    bool may = r->asked >> m & 1;
    if (!(r->probabilities[m] = mem_alloc(n, k * sizeof(float))))
        return fail_memory(err, "probabilities");
    if (may && !(r->given_some >> m & 1))
        return ask_model(r, m, err);
    uint32_t *rows = mem_alloc(n, sizeof *rows);
    if (!rows)
        return fail_memory(err, "probabilities");
    for (size_t i = 0; i < n; i++) {
        const float *given = request_given(r, i, m);
        if (given)
            memcpy(r->probabilities[m] + i * k, given, k * sizeof *given);
        else
            rows[left++] = (uint32_t)i;
    }
    medley_status st = MEDLEY_OK;
    if (may && left == n)
        st = ask_model(r, m, err);
    else if (may && left)
        st = ask_rest(r, m, rows, left, err);
    else
        for (size_t i = 0; i < left; i++)
            answers_none(r->probabilities[m] + rows[i] * k, 1, k);
    mem_free(rows);
    return st;
}

/* ---- all of them ------------------------------------------------------------------------- */

/* A model that others run, asked on a thread of its own; `part` borrows the list of the
 * request. */
struct errand {
    struct request part;
    size_t model;
    medley_status status;
    medley_error error;
    pthread_t thread;
    bool started;
};

static void *run_errand(void *context)
{
    struct errand *e = context;
    e->status = request_ask(&e->part, e->model, &e->error);
    return NULL;
}

static void start_errand(struct errand *e, const struct request *r, size_t m)
{
    sigset_t all, old;
    *e = (struct errand){.part = *r, .model = m};
    memset(e->part.probabilities, 0, sizeof e->part.probabilities);
    sigfillset(&all); /* signals are for the host's threads */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    e->started = pthread_create(&e->thread, NULL, run_errand, e) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (!e->started)
        run_errand(e);
}

static medley_status end_errand(struct errand *e, struct request *r, medley_error *err)
{
    if (e->started)
        pthread_join(e->thread, NULL);
    r->probabilities[e->model] = e->part.probabilities[e->model];
    r->failed |= e->part.failed;
    r->late |= e->part.late;
    if (e->status && err)
        *err = e->error;
    return e->status;
}

/* Whether others have to be asked for a pair at least. */
static bool goes_out(const struct request *r, size_t m)
{
    return (r->asked & ~r->given_all) >> m & 1 &&
           base_model_kinds[r->b->models[m].config.kind]->outside;
}

medley_status request_ask_all(struct request *r, medley_error *err)
{
    const medley_bundle *b = r->b;
    struct errand *errands = mem_alloc(b->n_models + 1, sizeof *errands);
    size_t n_errands = 0;
    if (!errands)
        return fail_memory(err, "a request");
    for (size_t m = 0; m < b->n_models; m++)
        if (goes_out(r, m))
            start_errand(&errands[n_errands++], r, m);
    medley_status st = MEDLEY_OK;
    for (size_t i = 0; i < b->n_models && !st; i++) {
        size_t m = b->by_size[i];
        if (interrupted())
            st = fail(err, MEDLEY_EINTERRUPTED, "interrupted");
        else if ((r->asked | r->given_some) >> m & 1 && !goes_out(r, m))
            st = request_ask(r, m, err);
    }
    for (size_t i = 0; i < n_errands; i++) {
        medley_status ended = end_errand(&errands[i], r, st ? NULL : err);
        st = st ? st : ended;
    }
    mem_free(errands);
    return st;
}
