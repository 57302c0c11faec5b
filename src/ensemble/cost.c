/* cost.c: measuring base models; see cost.h. */
#include "ensemble/cost.h"

#include "base/cpu.h"
#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/pool.h"
#include "base/progress.h"
#include "ensemble/crossfit.h"

#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

enum { MOST_PAIRS = 64, WARM_UPS = 3 };

const size_t cost_list_sizes[COST_SIZES] = {1, 8, MOST_PAIRS};
const struct cost_effort cost_quick = {{41, 11, 5}, 1.0};
const struct cost_effort cost_thorough = {{COST_SAMPLES, 100, 40}, 5.0};

void machine_here(struct machine *m)
{
    struct utsname u;
    long cores = sysconf(_SC_NPROCESSORS_ONLN), pages = sysconf(_SC_PHYS_PAGES);
    memset(m, 0, sizeof *m);
    m->cores = cores > 0 ? (unsigned)cores : 1;
    m->threads = pool_threads();
    m->memory = pages > 0 ? (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
    snprintf(m->cpu, sizeof m->cpu, "%s", cpu_name());
    if (uname(&u) == 0)
        snprintf(m->system, sizeof m->system, "%.60s %.60s", u.sysname, u.machine);
    /* Memory to the nearest GiB: kernels keep back a little, not always the same. */
    uint64_t parts[] = {m->cores, m->threads, (m->memory + (1 << 29)) >> 30};
    hash_text(hash_bytes(m->cpu, strlen(m->cpu),
                         hash_bytes(parts, sizeof parts, (struct hash128){0, 0})),
              m->id);
}

static int ascending(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void take_percentiles(struct cost_times *t)
{
    float sorted[COST_SAMPLES];
    if (t->n == 0)
        return;
    memcpy(sorted, t->ms, t->n * sizeof *sorted);
    qsort(sorted, t->n, sizeof *sorted, ascending);
    t->p50_ms = (double)sorted[t->n / 2];
    t->p99_ms = (double)sorted[(t->n * 99 + 99) / 100 - 1];
}

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

struct measuring {
    const struct model_context *context;
    const struct base_model_ops *ops;
    const void *model;
    struct feature_encoder *encoder; /* NULL: none */
    float *row;                      /* [encoder->width] */
};

/* The i-th of COST_SAMPLES requests is the same for every model. */
static uint32_t example_of(const struct dataset *d, size_t i)
{
    return (uint32_t)((uint64_t)i * d->n_examples / COST_SAMPLES);
}

static medley_status answer(const struct measuring *x, size_t i, size_t n, medley_error *err)
{
    const struct dataset *d = x->context->data;
    struct pair_text texts[MOST_PAIRS];
    uint32_t product[MOST_PAIRS], e = example_of(d, i);
    float out[MOST_PAIRS * MAX_CLASSES];
    for (size_t j = 0; j < n; j++) {
        product[j] = (uint32_t)((d->example_product[e] + j) % d->n_products);
        texts[j] = dataset_pair(d, d->example_query[e], product[j]);
    }
    struct model_request request = {
        .data = d, .query = d->example_query[e], .product = product, .texts = texts, .n = n};
    return x->ops->answer(x->context, x->model, &request, out, err);
}

static medley_status encode(const struct measuring *x, size_t i, medley_error *err)
{
    const struct dataset *d = x->context->data;
    uint32_t q = d->example_query[example_of(d, i)];
    struct str locale = str_of(d->locale_names[d->query_locale[q]]);
    struct str text = column_at(&d->query_text, q);
    return feature_encoder_run(x->encoder, &locale, &text, 1, NULL, x->row, err);
}

/* n 0: encodes queries. */
static medley_status one(const struct measuring *x, size_t i, size_t n, medley_error *err)
{
    return n ? answer(x, i, n, err) : encode(x, i, err);
}

static medley_status time_requests(const struct measuring *x, size_t n, size_t samples,
                                   double limit, struct cost_times *out, medley_error *err)
{
    medley_status st = MEDLEY_OK;
    double begun = clock_seconds();
    for (size_t i = 0; i < WARM_UPS && !st; i++)
        st = one(x, i * COST_SAMPLES / WARM_UPS, n, err);
    /* Few samples are spread over all lengths; times of one index are of one request. */
    for (size_t i = 0; i < samples && !st; i++) {
        double start = clock_seconds();
        if (out->n >= 3 && start - begun > limit)
            break;
        st = interrupted() ? fail(err, MEDLEY_EINTERRUPTED, "interrupted")
                           : one(x, i * 67 % COST_SAMPLES, n, err);
        out->ms[out->n++] = (float)(1e3 * (clock_seconds() - start));
    }
    take_percentiles(out);
    return st;
}

static medley_status measure(const struct measuring *x, const struct cost_effort *effort,
                             struct model_cost *c, medley_error *err)
{
    medley_status st = MEDLEY_OK;
    for (size_t s = 0; s < COST_SIZES && !st; s++) {
        double before = cpu_seconds();
        st = time_requests(x, cost_list_sizes[s], effort->samples[s], effort->seconds,
                           &c->list[s], err);
        c->cpu_ms_per_pair = 1e3 * (cpu_seconds() - before) /
                             (double)((c->list[s].n + WARM_UPS) * cost_list_sizes[s]);
    }
    if (!st && x->encoder)
        st = time_requests(x, 0, effort->samples[0], effort->seconds, &c->features, err);
    return st;
}

/* ---- the file ---- */

static void write_times(struct json_writer *w, const struct cost_times *t)
{
    jw_key(w, "p50_ms"), jw_double(w, t->p50_ms);
    jw_key(w, "p99_ms"), jw_double(w, t->p99_ms);
    jw_key(w, "samples_ms"), jw_array(w);
    for (size_t i = 0; i < t->n; i++)
        jw_float(w, t->ms[i]);
    jw_array_end(w);
}

static void write_machine(struct json_writer *w, const struct machine *m)
{
    jw_key(w, "machine"), jw_object(w);
    jw_key(w, "id"), jw_textz(w, m->id);
    jw_key(w, "cpu"), jw_textz(w, m->cpu);
    jw_key(w, "cores"), jw_i64(w, m->cores);
    jw_key(w, "threads"), jw_i64(w, m->threads);
    jw_key(w, "memory_bytes"), jw_i64(w, (int64_t)m->memory);
    jw_key(w, "system"), jw_textz(w, m->system);
    jw_object_end(w);
}

static medley_status write_cost(const struct workspace *w, const char *name,
                                const struct model_cost *c, medley_error *err)
{
    struct strbuf text;
    struct json_writer j;
    sb_init(&text);
    jw_init(&j, &text, false);
    jw_object(&j);
    write_machine(&j, &c->machine);
    jw_key(&j, "lists"), jw_array(&j);
    for (size_t s = 0; s < COST_SIZES; s++) {
        jw_object(&j);
        jw_key(&j, "pairs"), jw_i64(&j, (int64_t)cost_list_sizes[s]);
        write_times(&j, &c->list[s]);
        jw_object_end(&j);
    }
    jw_array_end(&j);
    jw_key(&j, "features"), jw_object(&j);
    write_times(&j, &c->features);
    jw_object_end(&j);
    jw_key(&j, "cpu_ms_per_pair"), jw_double(&j, c->cpu_ms_per_pair);
    jw_key(&j, "memory_bytes"), jw_i64(&j, (int64_t)c->memory);
    jw_key(&j, "features_memory_bytes"), jw_i64(&j, (int64_t)c->features_memory);
    jw_object_end(&j);
    sb_addc(&text, '\n');
    struct path p = workspace_path(w, "models/%s/cost.json", name);
    medley_status st =
        text.failed ? fail_memory(err, "cost.json") : file_write(p.s, text.s, text.n, err);
    sb_deinit(&text);
    return st;
}

static bool read_times(const json *v, struct cost_times *t)
{
    const json *samples = json_get(v, "samples_ms");
    if (json_count(samples) > COST_SAMPLES)
        return false;
    for (const json *s = json_first(samples); s; s = json_next(s)) {
        double ms;
        if (!json_as_double(s, &ms) || !(ms >= 0))
            return false;
        t->ms[t->n++] = (float)ms;
    }
    take_percentiles(t);
    return true;
}

static bool read_count(const json *v, uint64_t *out)
{
    int64_t n;
    if (!json_as_i64(v, &n) || n < 0)
        return false;
    *out = (uint64_t)n;
    return true;
}

static void read_text(const json *v, char *out, size_t size)
{
    const char *s = "";
    json_as_text(v, &s);
    snprintf(out, size, "%s", s);
}

static bool read_cost(const json *root, struct model_cost *c)
{
    const json *m = json_get(root, "machine"), *lists = json_get(root, "lists");
    uint64_t cores = 0, threads = 0, memory = 0, features = 0;
    size_t s = 0;
    read_text(json_get(m, "id"), c->machine.id, sizeof c->machine.id);
    read_text(json_get(m, "cpu"), c->machine.cpu, sizeof c->machine.cpu);
    read_text(json_get(m, "system"), c->machine.system, sizeof c->machine.system);
    bool good = c->machine.id[0] && read_count(json_get(m, "cores"), &cores) &&
                read_count(json_get(m, "threads"), &threads) &&
                read_count(json_get(m, "memory_bytes"), &c->machine.memory) &&
                read_count(json_get(root, "memory_bytes"), &memory) &&
                read_count(json_get(root, "features_memory_bytes"), &features) &&
                json_as_double(json_get(root, "cpu_ms_per_pair"), &c->cpu_ms_per_pair) &&
                json_count(lists) == COST_SIZES;
    for (const json *l = json_first(lists); l && good; l = json_next(l), s++)
        good = read_times(l, &c->list[s]) && c->list[s].n > 0;
    good = good && read_times(json_get(root, "features"), &c->features);
    c->machine.cores = (unsigned)cores;
    c->machine.threads = (unsigned)threads;
    c->memory = (size_t)memory;
    c->features_memory = (size_t)features;
    return good;
}

medley_status cost_load(const struct workspace *w, const char *name, struct model_cost *out,
                        medley_error *err)
{
    struct path p = workspace_path(w, "models/%s/cost.json", name);
    json *root = NULL;
    memset(out, 0, sizeof *out);
    if (!file_exists(p.s))
        return fail(err, MEDLEY_ESTALE,
                    "what '%s' costs was not measured (run 'medley profile -C %s')", name,
                    w->root);
    medley_status st = json_load(p.s, &root, err);
    if (st)
        return st;
    if (!json_get(root, "machine"))
        st = fail(
            err, MEDLEY_ESTALE,
            "%s does not say on which machine it was measured (run 'medley profile -C %s')",
            p.s, w->root);
    else if (!read_cost(root, out))
        st =
            fail(err, MEDLEY_EFORMAT,
                 "%s: expected machine, lists of 1, 8 and 64 pairs, features, cpu_ms_per_pair, "
                 "memory_bytes and features_memory_bytes (run 'medley profile -C %s')",
                 p.s, w->root);
    json_free(root);
    return st;
}

medley_status costs_load(const struct workspace *w, struct model_cost *out, medley_error *err)
{
    for (size_t m = 0; m < w->config.n_models; m++) {
        const char *name = w->config.models[m].name;
        medley_status st = cost_load(w, name, &out[m], err);
        if (st)
            return st;
        if (strcmp(out[m].machine.id, out[0].machine.id) != 0)
            return fail(err, MEDLEY_ESTALE,
                        "'%s' was measured on %s (%u threads), '%s' on %s (%u threads): run "
                        "'medley profile -C %s'",
                        w->config.models[0].name, out[0].machine.cpu, out[0].machine.threads,
                        name, out[m].machine.cpu, out[m].machine.threads, w->root);
    }
    return MEDLEY_OK;
}

/* ---- measuring ---- */

static medley_status open_encoder(const struct workspace *w, struct measuring *x,
                                  struct feature_encoder *e, struct model_cost *c,
                                  medley_error *err)
{
    const struct dataset *d = &w->data;
    if (!x->ops->needs_graph)
        return MEDLEY_OK;
    medley_status st = workspace_features(w, x->context->config->features, e, err);
    if (st)
        return st;
    x->encoder = e;
    x->row = mem_alloc(e->width, sizeof *x->row);
    c->features_memory = (d->n_queries + d->n_products) * e->width * sizeof(float) +
                         (e->encoder ? cross_encoder_memory(e->encoder) : 0);
    return x->row ? MEDLEY_OK : fail_memory(err, "a feature row");
}

medley_status cost_measure(const struct workspace *w, const struct model_context *context,
                           const struct base_model_ops *ops, const void *model,
                           const struct cost_effort *effort, medley_error *err)
{
    struct measuring x = {.context = context, .ops = ops, .model = model};
    struct model_cost *c = mem_zalloc(1, sizeof *c);
    struct feature_encoder e;
    if (!c)
        return fail_memory(err, "a cost");
    machine_here(&c->machine);
    medley_status st = open_encoder(w, &x, &e, c, err);
    if (!st)
        st = measure(&x, effort, c, err);
    c->memory = ops->memory(model); /* with what its first predictions made */
    if (!st)
        st = write_cost(w, context->config->name, c, err);
    if (x.encoder)
        feature_encoder_close(&e);
    mem_free(x.row);
    mem_free(c);
    return st;
}

static medley_status profile_one(struct workspace *w, size_t m,
                                 const struct cost_effort *effort, medley_error *err)
{
    const struct model_config *config = &w->config.models[m];
    const struct base_model_ops *ops = base_model_kinds[config->kind];
    struct graph_inputs graph = {0};
    struct model_context context;
    void *model = NULL;
    progress_note("measuring %s", config->name);
    medley_status st = model_context_open(w, m, &graph, &context, err);
    if (!st)
        st = ops->load(&context, workspace_path(w, "models/%s", config->name).s, &model, err);
    if (!st)
        st = cost_measure(w, &context, ops, model, effort, err);
    if (model)
        ops->free(model);
    graph_inputs_close(&graph);
    return st;
}

medley_status cost_profile(struct workspace *w, const struct cost_effort *effort,
                           medley_error *err)
{
    medley_status st = MEDLEY_OK;
    for (size_t m = 0; m < w->config.n_models && !st; m++)
        st = profile_one(w, m, effort, err);
    return st;
}
