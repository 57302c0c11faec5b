/* select.c: which models are worth their cost: the metric of every subset by cross-validated
 * refit, the best one within the budget, and what was lost; see decide.h. */
#include "ensemble/decide.h"

#include "base/cpu.h"
#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/pool.h"
#include "base/progress.h"
#include "ensemble/bundle_write.h"
#include "ensemble/crossfit.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

enum { EXACT_MODELS = 8 }; /* up to 2^8 refits; beyond, models are dropped one at a time */

struct subset {
    uint32_t mask;
    unsigned rounds;
    struct metrics metrics;
    double latency_ms;
    uint64_t memory;
    bool pareto, within_budget, tried;
};

struct selection {
    struct workspace *w;
    struct stack s;
    struct model_cost cost[MEDLEY_MAX_MODELS];
    struct subset *subsets;
    size_t n;
    size_t first; /* subsets before this one were tried in an earlier round */
    atomic_size_t done;
    atomic_int failed; /* medley_status of the first failure */
    medley_error error;
};

/* Higher is better. */
static double score(const struct selection *x, const struct subset *a)
{
    const char *metric = x->w->config.budget.metric;
    if (strcmp(metric, "log_loss") == 0)
        return -a->metrics.log_loss;
    return strcmp(metric, "accuracy") == 0 ? a->metrics.accuracy : a->metrics.macro_f1;
}

/* Models with the same features encode a query once. */
static void add_costs(const struct selection *x, struct subset *a)
{
    const struct model_config *models = x->w->config.models;
    for (size_t m = 0; m < x->s.n_models; m++) {
        if (!(a->mask >> m & 1))
            continue;
        bool shared = false;
        for (size_t j = 0; j < m; j++)
            shared |= (a->mask >> j & 1) && models[j].kind == KIND_GNN &&
                      models[m].kind == KIND_GNN &&
                      strcmp(models[j].features, models[m].features) == 0;
        a->latency_ms += x->cost[m].latency_ms + (shared ? 0 : x->cost[m].features_ms);
        a->memory += x->cost[m].memory + (shared ? 0 : x->cost[m].features_memory);
    }
    const struct budget_config *b = &x->w->config.budget;
    a->within_budget = (!b->latency_ms || a->latency_ms <= b->latency_ms) &&
                       (!b->memory || a->memory <= b->memory) &&
                       (!b->top || (unsigned)__builtin_popcount(a->mask) <= b->top);
}

static void try_subsets(void *context, size_t begin, size_t end, unsigned worker)
{
    struct selection *x = context;
    (void)worker;
    for (size_t i = x->first + begin; i < x->first + end; i++) {
        struct subset *a = &x->subsets[i];
        medley_error error = {0};
        float *p = mem_alloc(x->s.n, x->s.n_classes * sizeof *p);
        medley_status st = interrupted() ? fail(&error, MEDLEY_EINTERRUPTED, "interrupted")
                           : p ? stack_cross_validate(&x->s, a->mask, &a->rounds, p, &error)
                               : fail_memory(&error, "a subset's predictions");
        if (!st)
            metrics_compute(p, x->s.label, NULL, x->s.n, x->s.n_classes, &a->metrics);
        a->tried = !st;
        mem_free(p);
        int none = MEDLEY_OK;
        if (st && atomic_compare_exchange_strong(&x->failed, &none, (int)st))
            x->error = error;
        progress_step("model subsets", atomic_fetch_add(&x->done, 1) + 1, x->n, "refits");
    }
}

static medley_status try_from(struct selection *x, size_t first, medley_error *err)
{
    x->first = first;
    for (size_t i = first; i < x->n; i++)
        add_costs(x, &x->subsets[i]);
    parallel_for(x->n - first, 1, try_subsets, x);
    medley_status st = (medley_status)atomic_load(&x->failed);
    if (st && err)
        *err = x->error;
    return st;
}

/* Every subset; or, with many models, the way down from all of them, dropping each time the
 * model whose loss costs least (the best of M refits a round: M^2 / 2 in all). */
static medley_status try_all(struct selection *x, medley_error *err)
{
    size_t m = x->s.n_models;
    if (m <= EXACT_MODELS) {
        x->n = ((size_t)1 << m) - 1;
        for (size_t i = 0; i < x->n; i++)
            x->subsets[i].mask = (uint32_t)i + 1;
        return try_from(x, 0, err);
    }
    x->subsets[0].mask = stack_all(&x->s);
    x->n = 1;
    medley_status st = try_from(x, 0, err);
    uint32_t best = stack_all(&x->s);
    while (!st && __builtin_popcount(best) > 1) {
        size_t first = x->n;
        for (size_t j = 0; j < m; j++)
            if (best >> j & 1)
                x->subsets[x->n++].mask = best & ~(1u << j);
        st = try_from(x, first, err);
        size_t top = first;
        for (size_t i = first; i < x->n; i++)
            if (score(x, &x->subsets[i]) > score(x, &x->subsets[top]))
                top = i;
        best = x->subsets[top].mask;
    }
    return st;
}

/* Better score wins; at equal scores the cheaper. */
static bool better(const struct selection *x, const struct subset *a, const struct subset *b)
{
    double d = score(x, a) - score(x, b);
    if (d != 0)
        return d > 0;
    if (a->latency_ms != b->latency_ms)
        return a->latency_ms < b->latency_ms;
    return a->mask < b->mask;
}

static void mark_pareto(struct selection *x)
{
    for (size_t i = 0; i < x->n; i++) {
        struct subset *a = &x->subsets[i];
        a->pareto = true;
        for (size_t j = 0; j < x->n && a->pareto; j++) {
            const struct subset *b = &x->subsets[j];
            a->pareto = !(b->latency_ms <= a->latency_ms && score(x, b) >= score(x, a) &&
                          (b->latency_ms < a->latency_ms || score(x, b) > score(x, a)));
        }
    }
}

static const struct subset *choose(const struct selection *x)
{
    const struct subset *best = NULL;
    for (size_t i = 0; i < x->n; i++)
        if (x->subsets[i].within_budget && (!best || better(x, &x->subsets[i], best)))
            best = &x->subsets[i];
    return best;
}

/* Says how far the budget is from the least that any subset needs. */
static medley_status fail_budget(const struct selection *x, medley_error *err)
{
    const struct budget_config *b = &x->w->config.budget;
    double latency_ms = INFINITY;
    uint64_t memory = UINT64_MAX;
    for (size_t i = 0; i < x->n; i++) {
        latency_ms = fmin(latency_ms, x->subsets[i].latency_ms);
        if (x->subsets[i].memory < memory)
            memory = x->subsets[i].memory;
    }
    char limits[96] = "";
    int n = 0;
    if (b->latency_ms)
        n = snprintf(limits, sizeof limits, " of %g ms", b->latency_ms);
    if (b->memory)
        snprintf(limits + n, sizeof limits - (size_t)n, "%s %.1f MB", n ? "," : " of",
                 (double)b->memory / 1e6);
    return fail(err, MEDLEY_EINVAL,
                "no subset of the models fits the budget%s: the fastest takes %.3g ms, the "
                "smallest %.1f MB",
                limits, latency_ms, (double)memory / 1e6);
}

static const struct subset *find_mask(const struct selection *x, uint32_t mask)
{
    for (size_t i = 0; i < x->n; i++)
        if (x->subsets[i].mask == mask)
            return &x->subsets[i];
    return NULL;
}

static void write_names(struct json_writer *w, const struct selection *x, const char *key,
                        uint32_t mask)
{
    jw_key(w, key), jw_array(w);
    for (size_t m = 0; m < x->s.n_models; m++)
        if (mask >> m & 1)
            jw_textz(w, x->w->config.models[m].name);
    jw_array_end(w);
}

static void write_subset(struct json_writer *w, const struct selection *x,
                         const struct subset *a)
{
    jw_object(w);
    write_names(w, x, "models", a->mask);
    jw_key(w, "macro_f1"), jw_double(w, a->metrics.macro_f1);
    jw_key(w, "accuracy"), jw_double(w, a->metrics.accuracy);
    jw_key(w, "log_loss"), jw_double(w, a->metrics.log_loss);
    jw_key(w, "latency_ms"), jw_double(w, a->latency_ms);
    jw_key(w, "memory_bytes"), jw_i64(w, (int64_t)a->memory);
    jw_key(w, "pareto"), jw_bool(w, a->pareto);
    jw_key(w, "within_budget"), jw_bool(w, a->within_budget);
    jw_object_end(w);
}

static void write_three(struct json_writer *w, const char *key, double macro_f1,
                        double accuracy, double log_loss)
{
    jw_key(w, key), jw_object(w);
    jw_key(w, "macro_f1"), jw_double(w, macro_f1);
    jw_key(w, "accuracy"), jw_double(w, accuracy);
    jw_key(w, "log_loss"), jw_double(w, log_loss);
    jw_object_end(w);
}

static void write_budget(struct json_writer *w, const struct budget_config *b)
{
    jw_key(w, "metric"), jw_textz(w, b->metric);
    jw_key(w, "budget"), jw_object(w);
    jw_key(w, "latency_ms"), b->latency_ms ? jw_double(w, b->latency_ms) : jw_null(w);
    jw_key(w, "memory_bytes"), b->memory ? jw_i64(w, (int64_t)b->memory) : jw_null(w);
    jw_key(w, "top"), b->top ? jw_i64(w, b->top) : jw_null(w);
    jw_object_end(w);
}

static void write_costs(struct json_writer *w, const struct selection *x)
{
    jw_key(w, "machine"), jw_object(w);
    jw_key(w, "cpu"), jw_textz(w, cpu_name());
    jw_key(w, "cores"), jw_i64(w, pool_threads());
    jw_object_end(w);
    jw_key(w, "costs"), jw_array(w);
    for (size_t m = 0; m < x->s.n_models; m++) {
        const struct model_cost *c = &x->cost[m];
        jw_object(w);
        jw_key(w, "name"), jw_textz(w, x->w->config.models[m].name);
        jw_key(w, "latency_ms"), jw_double(w, c->latency_ms);
        jw_key(w, "batch_ms_per_pair"), jw_double(w, c->batch_ms_per_pair);
        jw_key(w, "features_ms"), jw_double(w, c->features_ms);
        jw_key(w, "memory_bytes"), jw_i64(w, (int64_t)c->memory);
        jw_key(w, "features_memory_bytes"), jw_i64(w, (int64_t)c->features_memory);
        jw_object_end(w);
    }
    jw_array_end(w);
}

static medley_status write_selection(const struct selection *x, const struct subset *chosen,
                                     medley_error *err)
{
    const struct metrics *full = &find_mask(x, stack_all(&x->s))->metrics,
                         *kept = &chosen->metrics;
    struct strbuf text;
    struct json_writer w;
    sb_init(&text);
    jw_init(&w, &text, true);
    jw_object(&w);
    jw_key(&w, "labels"), jw_array(&w);
    for (size_t k = 0; k < x->s.n_classes; k++)
        jw_textz(&w, x->w->data.class_names[k]);
    jw_array_end(&w);
    write_budget(&w, &x->w->config.budget);
    write_costs(&w, x);
    jw_key(&w, "exact"), jw_bool(&w, x->s.n_models <= EXACT_MODELS);
    jw_key(&w, "subsets"), jw_array(&w);
    for (size_t i = 0; i < x->n; i++)
        write_subset(&w, x, &x->subsets[i]);
    jw_array_end(&w);
    write_names(&w, x, "selected", chosen->mask);
    jw_key(&w, "rounds"), jw_i64(&w, chosen->rounds);
    write_three(&w, "full", full->macro_f1, full->accuracy, full->log_loss);
    write_three(&w, "chosen", kept->macro_f1, kept->accuracy, kept->log_loss);
    write_three(&w, "lost", full->macro_f1 - kept->macro_f1, full->accuracy - kept->accuracy,
                kept->log_loss - full->log_loss);
    jw_object_end(&w);
    medley_status st = decide_write_file(x->w, "selection.json", &text, err);
    sb_deinit(&text);
    return st;
}

static medley_status refit(const struct selection *x, const struct subset *chosen,
                           medley_error *err)
{
    medley_gbdt *model = NULL;
    medley_status st = stack_fit(&x->s, chosen->mask, chosen->rounds, &model, err);
    if (!st)
        st = medley_gbdt_save(model, workspace_path(x->w, "ensemble/selected.txt").s, err);
    medley_gbdt_free(model);
    return st;
}

medley_status decide_select(struct workspace *w, medley_error *err)
{
    struct selection x = {.w = w};
    const struct subset *chosen = NULL;
    size_t models = w->config.n_models;
    size_t capacity =
        models <= EXACT_MODELS ? (size_t)1 << models : models * (models + 1) / 2 + 1;
    medley_status st = stack_open(w, SPLIT_TRAIN, &x.s, err);
    if (st)
        return st;
    x.subsets = mem_zalloc(capacity, sizeof *x.subsets);
    if (!x.subsets)
        st = fail_memory(err, "model subsets");
    for (size_t m = 0; m < models && !st; m++)
        st = model_cost_load(w, w->config.models[m].name, &x.cost[m], err);
    if (!st)
        st = try_all(&x, err);
    progress_end("model subsets");
    if (!st) {
        mark_pareto(&x);
        chosen = choose(&x);
        if (!chosen)
            st = fail_budget(&x, err);
    }
    if (!st)
        st = refit(&x, chosen, err);
    if (!st)
        st = write_selection(&x, chosen, err);
    if (!st)
        st = bundle_write(w, chosen->mask, err);
    mem_free(x.subsets);
    stack_close(&x.s);
    return st;
}

medley_status selection_load(const struct workspace *w, uint32_t *mask, unsigned *rounds,
                             medley_error *err)
{
    struct path p = workspace_path(w, "ensemble/selection.json");
    if (!file_exists(p.s))
        return fail(err, MEDLEY_ESTALE, "nothing is selected yet (run 'medley select -C %s')",
                    w->root);
    json *root = NULL;
    medley_status st = json_load(p.s, &root, err);
    if (st)
        return st;
    uint32_t found = 0;
    int64_t n = 0;
    for (const json *item = json_first(json_get(root, "selected")); item && !st;
         item = json_next(item)) {
        const char *name = NULL;
        size_t m = 0;
        json_as_text(item, &name);
        while (name && m < w->config.n_models && strcmp(w->config.models[m].name, name) != 0)
            m++;
        if (!name || m == w->config.n_models)
            st = fail(err, MEDLEY_ESTALE, "%s: selected model '%s' is not in medley.yaml", p.s,
                      name ? name : "?");
        else
            found |= 1u << m;
    }
    if (!st && (!found || !json_as_i64(json_get(root, "rounds"), &n) || n < 1))
        st = fail(err, MEDLEY_EFORMAT, "%s: expected selected models and rounds", p.s);
    json_free(root);
    if (!st) {
        *mask = found;
        *rounds = (unsigned)n;
    }
    return st;
}
