/* inference.c: the Open Inference Protocol v2 (KServe) for the ensemble and each of its base
 * models, so that what asks Triton or MLServer can ask Medley; another Medley can, as a model
 * of kind remote. */
#include "serve/inference_request.h"
#include "serve/classification.h"

#include "base/decimal.h"
#include "base/error.h"
#include "base/memory.h"

#include <math.h>
#include <string.h>

#define ENSEMBLE "ensemble"

/* The model that the path names: its index, n_models for the ensemble, SIZE_MAX for none. */
static size_t find_model(const struct engine *e, const struct strbuf *name)
{
    struct str asked = sb_str(name);
    for (size_t m = 0; m < e->n_models; m++)
        if (str_is(asked, e->models[m]))
            return m;
    return str_is(asked, ENSEMBLE) ? e->n_models : SIZE_MAX;
}

/* Enters the active bundle; SIZE_MAX: answered 404. */
static size_t enter(struct request *r)
{
    r->deployment = deployment_enter(&r->server->deployments);
    const struct engine *e = &r->deployment->engine;
    size_t m = find_model(e, &r->argument);
    if (m == SIZE_MAX)
        answer_error(r, 404, "there is no model '%.100s'", r->argument.s ? r->argument.s : "");
    return m;
}

static void finish(struct request *r)
{
    sb_addc(&r->out, '\n');
    answer(r, 200, "application/json");
}

/* ---- about ------------------------------------------------------------------------------- */

enum handled handle_inference_server(struct request *r)
{
    struct json_writer w;
    jw_init(&w, &r->out, false);
    jw_object(&w);
    jw_key(&w, "name"), jw_textz(&w, "medley");
    jw_key(&w, "version"), jw_textz(&w, medley_version());
    jw_key(&w, "extensions"), jw_array(&w), jw_array_end(&w);
    jw_object_end(&w);
    finish(r);
    return HANDLED;
}

static void write_state(struct request *r, const char *key)
{
    struct json_writer w;
    jw_init(&w, &r->out, false);
    jw_object(&w);
    jw_key(&w, key), jw_bool(&w, true);
    jw_object_end(&w);
    finish(r);
}

enum handled handle_inference_live(struct request *r)
{
    write_state(r, "live");
    return HANDLED;
}

enum handled handle_inference_ready(struct request *r)
{
    write_state(r, "ready");
    return HANDLED;
}

enum handled handle_inference_model_ready(struct request *r)
{
    if (enter(r) != SIZE_MAX)
        write_state(r, "ready");
    return HANDLED;
}

static void write_tensor(struct json_writer *w, const char *name, const char *datatype,
                         int columns)
{
    jw_object(w);
    jw_key(w, "name"), jw_textz(w, name);
    jw_key(w, "datatype"), jw_textz(w, datatype);
    jw_key(w, "shape"), jw_array(w), jw_i64(w, -1);
    if (columns)
        jw_i64(w, columns);
    jw_array_end(w);
    jw_object_end(w);
}

enum handled handle_inference_model(struct request *r)
{
    static const char *const names[] = {"query", "locale",      "product_id",
                                        "title", "description", "bullets",
                                        "brand", "color",       "category"};
    size_t m = enter(r);
    if (m == SIZE_MAX)
        return HANDLED;
    const struct engine *e = &r->deployment->engine;
    struct json_writer w;
    jw_init(&w, &r->out, false);
    jw_object(&w);
    jw_key(&w, "name"), jw_textz(&w, m < e->n_models ? e->models[m] : ENSEMBLE);
    jw_key(&w, "versions"), jw_array(&w), jw_textz(&w, e->id), jw_array_end(&w);
    jw_key(&w, "platform"), jw_textz(&w, m < e->n_models ? e->kinds[m] : "medley");
    jw_key(&w, "inputs"), jw_array(&w);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        write_tensor(&w, names[i], "BYTES", 0);
    jw_array_end(&w);
    jw_key(&w, "outputs"), jw_array(&w);
    write_tensor(&w, inference_outputs[OUTPUT_PROBABILITIES], "FP32", (int)e->n_classes);
    write_tensor(&w, inference_outputs[OUTPUT_LABEL], "BYTES", 0);
    jw_array_end(&w);
    jw_key(&w, "classes"), jw_array(&w);
    for (size_t k = 0; k < e->n_classes; k++)
        jw_textz(&w, e->classes[k]);
    jw_array_end(&w);
    jw_object_end(&w);
    finish(r);
    return HANDLED;
}

/* ---- asking ------------------------------------------------------------------------------ */

struct inference {
    const struct engine *e;
    struct product_texts *texts; /* NULL: none */
    size_t model;                /* e->n_models: the ensemble */
    struct inference_request asked;
    float *probabilities; /* [n * K]; NaN where the model has no answer */
};

static medley_status ask_list(struct inference *t, size_t begin, size_t end,
                              medley_product *products, medley_result *results, float *said,
                              medley_error *err)
{
    const struct engine *e = t->e;
    const struct inference_request *a = &t->asked;
    size_t n = end - begin, k = e->n_classes, first = a->order[begin];
    bool alone = t->model < e->n_models;
    medley_classify_options o = {.models = alone ? UINT32_C(1) << t->model : 0,
                                 .said = alone ? said : NULL};
    for (size_t i = 0; i < n; i++)
        products[i] = a->products[a->order[begin + i]];
    struct arena texts;
    arena_init(&texts, 16384);
    medley_status st = MEDLEY_OK;
    if (t->texts)
        st = product_texts_fill(t->texts, a->locale[first], products, n, &texts, err);
    if (!st)
        st = e->classify(e->context, a->query[first], a->locale[first], products, n, &o,
                         results, err);
    arena_deinit(&texts);
    for (size_t i = 0; i < n && !st; i++)
        memcpy(t->probabilities + a->order[begin + i] * k,
               alone ? said + (i * e->n_models + t->model) * k : results[i].probabilities,
               k * sizeof(float));
    return st;
}

static medley_status ask(struct inference *t, medley_error *err)
{
    const struct inference_request *a = &t->asked;
    size_t k = t->e->n_classes;
    medley_product *products = mem_alloc(a->n, sizeof *products);
    medley_result *results = mem_zalloc(a->n, sizeof *results);
    float *said = mem_alloc(a->n, (t->e->n_models + 1) * k * sizeof *said);
    t->probabilities = mem_alloc(a->n, k * sizeof *t->probabilities);
    medley_status st = products && results && said && t->probabilities
                           ? MEDLEY_OK
                           : fail_memory(err, "an inference");
    for (size_t l = 0; l < a->n_lists && !st; l++)
        st = ask_list(t, l ? a->list_end[l - 1] : 0, a->list_end[l], products, results, said,
                      err);
    mem_free(products);
    mem_free(results);
    mem_free(said);
    return st;
}

/* A missing answer is NaN, which JSON has not: nulls, as other servers write them. */
static void write_probabilities(struct json_writer *w, const struct inference *t)
{
    size_t k = t->e->n_classes;
    jw_object(w);
    jw_key(w, "name"), jw_textz(w, inference_outputs[OUTPUT_PROBABILITIES]);
    jw_key(w, "datatype"), jw_textz(w, "FP32");
    jw_key(w, "shape"), jw_array(w);
    jw_i64(w, (int64_t)t->asked.n), jw_i64(w, (int64_t)k), jw_array_end(w);
    jw_key(w, "data"), jw_array(w);
    for (size_t i = 0; i < t->asked.n * k; i++)
        jw_float(w, t->probabilities[i]);
    jw_array_end(w);
    jw_object_end(w);
}

static void write_labels(struct json_writer *w, const struct inference *t)
{
    size_t k = t->e->n_classes;
    jw_object(w);
    jw_key(w, "name"), jw_textz(w, inference_outputs[OUTPUT_LABEL]);
    jw_key(w, "datatype"), jw_textz(w, "BYTES");
    jw_key(w, "shape"), jw_array(w), jw_i64(w, (int64_t)t->asked.n), jw_array_end(w);
    jw_key(w, "data"), jw_array(w);
    for (size_t i = 0; i < t->asked.n; i++) {
        const float *p = t->probabilities + i * k;
        size_t best = 0;
        for (size_t c = 1; c < k; c++)
            best = p[c] > p[best] ? c : best;
        jw_textz(w, isnan(p[0]) ? "" : t->e->classes[best]);
    }
    jw_array_end(w);
    jw_object_end(w);
}

static void answer_inference(struct request *r, const struct inference *t)
{
    struct json_writer w;
    jw_init(&w, &r->out, false);
    jw_object(&w);
    jw_key(&w, "model_name"),
        jw_textz(&w, t->model < t->e->n_models ? t->e->models[t->model] : ENSEMBLE);
    jw_key(&w, "model_version"), jw_textz(&w, t->e->id);
    if (t->asked.id)
        jw_key(&w, "id"), jw_textz(&w, t->asked.id);
    jw_key(&w, "outputs"), jw_array(&w);
    if (t->asked.outputs >> OUTPUT_PROBABILITIES & 1)
        write_probabilities(&w, t);
    if (t->asked.outputs >> OUTPUT_LABEL & 1)
        write_labels(&w, t);
    jw_array_end(&w);
    jw_object_end(&w);
    finish(r);
}

/* On a worker. */
static void run_job(struct job *job)
{
    struct request *r = (struct request *)job;
    struct server *s = r->server;
    struct inference t = {.e = &r->deployment->engine, .texts = r->server->texts};
    medley_error err = {0};
    medley_status st = MEDLEY_OK;
    t.model = find_model(t.e, &r->argument);
    if (atomic_load(&s->hurrying))
        st = fail(&err, MEDLEY_EINTERRUPTED, "shutting down");
    if (!st)
        st = inference_request_parse(sb_str(&r->body), &t.asked, &err);
    if (!st)
        st = ask(&t, &err);
    r->pairs = t.asked.n;
    if (st) {
        classification_fail(r, st, &err);
    } else {
        counters_add(&s->counters.pairs_evaluated, t.asked.n);
        answer_inference(r, &t);
    }
    mem_free(t.probabilities);
    inference_request_deinit(&t.asked);
    request_done(r);
    atomic_fetch_sub(&s->classifying, 1);
}

enum handled handle_infer(struct request *r)
{
    if (enter(r) == SIZE_MAX)
        return HANDLED;
    r->job.run = run_job;
    request_submit(r);
    return SUBMITTED;
}
