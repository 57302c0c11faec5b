/* select_write.c: the selection as JSON (docs/schemas.md); see select.h. */
#include "ensemble/select.h"

#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "ensemble/missing.h"

#include <math.h>
#include <string.h>

static const char *const value_names[FOLD_VALUES] = {"macro_f1", "accuracy", "log_loss"};

static void write_estimate(struct json_writer *w, const struct estimate *e)
{
    jw_object(w);
    jw_key(w, "value"), jw_double(w, e->value);
    jw_key(w, "low"), jw_double(w, e->low);
    jw_key(w, "high"), jw_double(w, e->high);
    jw_key(w, "p_value"), jw_double(w, e->p_value);
    jw_object_end(w);
}

/* a less b, per value, with intervals. */
static medley_status write_difference(struct json_writer *w, const struct selection *x,
                                      uint32_t a, uint32_t b, medley_error *err)
{
    size_t i = refits_find(&x->game, a), j = refits_find(&x->game, b);
    medley_status st = MEDLEY_OK;
    for (size_t v = 0; v < FOLD_VALUES && !st; v++) {
        struct estimate e = {NAN, NAN, NAN, NAN, 0};
        if (i != SIZE_MAX && j != SIZE_MAX)
            st = refits_difference(&x->game, i, j, 0, v, &e, err);
        jw_key(w, value_names[v]), write_estimate(w, &e);
    }
    return st;
}

static void write_cost_of(struct json_writer *w, const struct subset_cost *c)
{
    jw_key(w, "latency_ms"), jw_double(w, c->p50_ms);
    jw_key(w, "latency_p99_ms"), jw_double(w, c->p99_ms);
    jw_key(w, "pairs_per_s_per_core"), jw_double(w, c->pairs_per_s_per_core);
    jw_key(w, "memory_bytes"), jw_i64(w, (int64_t)c->memory);
    jw_key(w, "price"), c->price > 0 ? jw_double(w, c->price) : jw_null(w);
}

static medley_status write_subset(struct json_writer *w, const struct selection *x,
                                  const struct subset *a, medley_error *err)
{
    medley_status st = MEDLEY_OK;
    jw_object(w);
    decide_write_names(w, x->w, "models", a->mask);
    for (size_t v = 0; v < FOLD_VALUES; v++)
        jw_key(w, value_names[v]), jw_double(w, a->value[v]);
    write_cost_of(w, &a->cost);
    jw_key(w, "pareto"), jw_bool(w, a->pareto);
    jw_key(w, "within_budget"), jw_bool(w, a->within_budget);
    if (a->pareto) {
        jw_key(w, "against_all"), jw_object(w);
        st = write_difference(w, x, a->mask, stack_all(&x->s), err);
        jw_object_end(w);
    }
    jw_object_end(w);
    return st;
}

static void write_limit(struct json_writer *w, const char *key, double limit)
{
    jw_key(w, key), limit > 0 ? jw_double(w, limit) : jw_null(w);
}

static void write_budget(struct json_writer *w, const struct budget_config *b)
{
    jw_key(w, "metric"), jw_textz(w, b->metric);
    jw_key(w, "prefer"), jw_textz(w, b->prefer);
    jw_key(w, "budget"), jw_object(w);
    write_limit(w, "latency_ms", b->latency_ms);
    write_limit(w, "latency_p99_ms", b->latency_p99_ms);
    jw_key(w, "pairs"), jw_i64(w, b->pairs);
    jw_key(w, "cores"), jw_i64(w, b->cores ? b->cores : 1);
    write_limit(w, "throughput", b->throughput);
    jw_key(w, "memory_bytes"), b->memory ? jw_i64(w, (int64_t)b->memory) : jw_null(w);
    write_limit(w, "price", b->price);
    write_limit(w, "core_hour", b->core_hour);
    jw_key(w, "top"), b->top ? jw_i64(w, b->top) : jw_null(w);
    jw_object_end(w);
}

static void write_machine(struct json_writer *w, const struct machine *m)
{
    struct machine here;
    machine_here(&here);
    jw_key(w, "machine"), jw_object(w);
    jw_key(w, "id"), jw_textz(w, m->id);
    jw_key(w, "cpu"), jw_textz(w, m->cpu);
    jw_key(w, "cores"), jw_i64(w, m->cores);
    jw_key(w, "threads"), jw_i64(w, m->threads);
    jw_key(w, "memory_bytes"), jw_i64(w, (int64_t)m->memory);
    jw_key(w, "system"), jw_textz(w, m->system);
    jw_key(w, "is_this_one"), jw_bool(w, strcmp(m->id, here.id) == 0);
    jw_object_end(w);
}

static void write_list_times(struct json_writer *w, const struct model_cost *c)
{
    jw_key(w, "lists"), jw_array(w);
    for (size_t s = 0; s < COST_SIZES; s++) {
        jw_object(w);
        jw_key(w, "pairs"), jw_i64(w, (int64_t)cost_list_sizes[s]);
        jw_key(w, "p50_ms"), jw_double(w, c->list[s].p50_ms);
        jw_key(w, "p99_ms"), jw_double(w, c->list[s].p99_ms);
        jw_key(w, "samples"), jw_i64(w, (int64_t)c->list[s].n);
        jw_object_end(w);
    }
    jw_array_end(w);
}

static void write_costs(struct json_writer *w, const struct selection *x)
{
    const size_t last = COST_SIZES - 1;
    write_machine(w, &x->cost[0].machine);
    jw_key(w, "costs"), jw_array(w);
    for (size_t m = 0; m < x->s.n_models; m++) {
        const struct model_cost *c = &x->cost[m];
        struct subset_cost alone;
        subset_cost(x->w, x->cost, UINT32_C(1) << m, &x->rules, &alone);
        jw_object(w);
        jw_key(w, "name"), jw_textz(w, x->w->config.models[m].name);
        jw_key(w, "latency_ms"), jw_double(w, c->list[0].p50_ms);
        jw_key(w, "latency_p99_ms"), jw_double(w, c->list[0].p99_ms);
        jw_key(w, "batch_ms_per_pair"),
            jw_double(w, c->list[last].p50_ms / (double)cost_list_sizes[last]);
        jw_key(w, "features_ms"), jw_double(w, c->features.p50_ms);
        jw_key(w, "cpu_ms_per_pair"), jw_double(w, c->cpu_ms_per_pair);
        jw_key(w, "pairs_per_s_per_core"), jw_double(w, alone.pairs_per_s_per_core);
        jw_key(w, "price"), alone.price > 0 ? jw_double(w, alone.price) : jw_null(w);
        jw_key(w, "memory_bytes"), jw_i64(w, (int64_t)c->memory);
        jw_key(w, "features_memory_bytes"), jw_i64(w, (int64_t)c->features_memory);
        write_list_times(w, c);
        jw_object_end(w);
    }
    jw_array_end(w);
}

static void write_three(struct json_writer *w, const char *key, const double *values)
{
    jw_key(w, key), jw_object(w);
    for (size_t v = 0; v < FOLD_VALUES; v++)
        jw_key(w, value_names[v]), jw_double(w, values[v]);
    jw_object_end(w);
}

static void write_lost(struct json_writer *w, const double *full, const double *kept)
{
    double lost[FOLD_VALUES];
    for (size_t v = 0; v < FOLD_VALUES; v++)
        lost[v] = v == VALUE_LOG_LOSS ? kept[v] - full[v] : full[v] - kept[v];
    write_three(w, "lost", lost);
}

/* One model more or less than chosen: what changes, and what it saves. */
static medley_status write_step(struct json_writer *w, const struct selection *x,
                                const struct subset *chosen, size_t m, medley_error *err)
{
    uint32_t mask = chosen->mask ^ (UINT32_C(1) << m);
    struct subset_cost c;
    if (mask == 0)
        return MEDLEY_OK;
    subset_cost(x->w, x->cost, mask, &x->rules, &c);
    jw_object(w);
    jw_key(w, "name"), jw_textz(w, x->w->config.models[m].name);
    medley_status st = write_difference(w, x, mask, chosen->mask, err);
    jw_key(w, "latency_ms"), jw_double(w, c.p50_ms - chosen->cost.p50_ms);
    jw_key(w, "cpu_ms_per_pair"),
        jw_double(w, c.cpu_ms_per_pair - chosen->cost.cpu_ms_per_pair);
    jw_key(w, "memory_bytes"), jw_i64(w, (int64_t)c.memory - (int64_t)chosen->cost.memory);
    jw_object_end(w);
    return st;
}

static medley_status write_steps(struct json_writer *w, const struct selection *x,
                                 const struct subset *chosen, const char *key, bool inside,
                                 medley_error *err)
{
    medley_status st = MEDLEY_OK;
    jw_key(w, key), jw_array(w);
    for (size_t m = 0; m < x->s.n_models && !st; m++)
        if ((chosen->mask >> m & 1) == inside)
            st = write_step(w, x, chosen, m, err);
    jw_array_end(w);
    return st;
}

/* The rest of this file: the chosen ensemble when models of it are down. */

enum { DOWN_EXACT = 7 }; /* models: beyond, at most two are down at once */

static size_t list_down(uint32_t mask, uint32_t *available)
{
    size_t n = 0, models = (size_t)__builtin_popcount(mask);
    for (uint32_t up = mask;; up = (up - 1) & mask) {
        if (models <= DOWN_EXACT || __builtin_popcount(mask & ~up) <= 2)
            available[n++] = up;
        if (up == 0)
            break;
    }
    return n;
}

static medley_status write_down(struct json_writer *w, const struct selection *x,
                                const struct subset *chosen, unsigned rounds, medley_error *err)
{
    size_t models = (size_t)__builtin_popcount(chosen->mask);
    size_t most = models > DOWN_EXACT ? 1 + models + models * models : (size_t)1 << models;
    uint32_t *available = mem_alloc(most, sizeof *available);
    float **out = mem_zalloc(most, sizeof *out);
    size_t n = available && out ? list_down(chosen->mask, available) : 0;
    medley_status st = available && out ? MEDLEY_OK : fail_memory(err, "answers");
    for (size_t i = 0; i < n && !st; i++)
        if (!(out[i] = mem_alloc(x->s.n, x->s.n_classes * sizeof **out)))
            st = fail_memory(err, "answers");
    if (!st)
        st = missing_cross_validate(&x->s, chosen->mask, rounds, available, n, out, err);
    jw_key(w, "when_down"), jw_array(w);
    for (size_t i = 0; i < n && !st; i++) {
        struct metrics m;
        struct interval ci[METRIC_ROOM];
        metrics_compute(out[i], x->s.label, NULL, x->s.n, x->s.n_classes, &m);
        st = metrics_bootstrap(out[i], x->s.label, x->s.query, NULL, x->s.n, x->s.n_classes,
                               300, x->w->config.stacking.seed, ci, err);
        const struct subset *anew = select_find(x, available[i]);
        jw_object(w);
        decide_write_names(w, x->w, "down", chosen->mask & ~available[i]);
        jw_key(w, "macro_f1"), jw_double(w, m.macro_f1);
        jw_key(w, "accuracy"), jw_double(w, m.accuracy);
        jw_key(w, "log_loss"), jw_double(w, m.log_loss);
        jw_key(w, "macro_f1_ci95"), jw_array(w);
        jw_double(w, ci[METRIC_MACRO_F1].low), jw_double(w, ci[METRIC_MACRO_F1].high);
        jw_array_end(w);
        jw_key(w, "refitted_macro_f1"),
            anew ? jw_double(w, anew->value[VALUE_MACRO_F1]) : jw_null(w);
        jw_object_end(w);
    }
    jw_array_end(w);
    for (size_t i = 0; i < n && out; i++)
        mem_free(out[i]);
    mem_free(out);
    mem_free(available);
    return st;
}

static void write_choices(struct json_writer *w, const struct selection *x,
                          const struct selected *s)
{
    const struct subset *choices[] = {s->best, s->knee, s->cheapest};
    static const char *const names[] = {"best", "knee", "cheapest"};
    jw_key(w, "choices"), jw_object(w);
    for (size_t i = 0; i < 3; i++)
        decide_write_names(w, x->w, names[i], choices[i]->mask);
    jw_object_end(w);
}

/* The gap of a bounded search: how much better the best subset seen is, whatever it costs. No
 * subset can be known not to be better still, unless all were tried. */
static void write_search(struct json_writer *w, const struct selection *x,
                         const struct subset *chosen)
{
    const struct subset *top = &x->subsets[0];
    for (size_t i = 0; i < x->n; i++)
        if (select_score(x, &x->subsets[i]) > select_score(x, top))
            top = &x->subsets[i];
    jw_key(w, "exact"), jw_bool(w, x->exact);
    jw_key(w, "search"), jw_object(w);
    jw_key(w, "tried"), jw_i64(w, (int64_t)x->n);
    jw_key(w, "of"), jw_double(w, exp2((double)x->s.n_models) - 1);
    jw_key(w, "gap"), jw_double(w, select_score(x, top) - select_score(x, chosen));
    decide_write_names(w, x->w, "best_seen", top->mask);
    jw_key(w, "optimism"), jw_double(w, select_optimism(x));
    jw_object_end(w);
}

static medley_status write_all(struct json_writer *w, const struct selection *x,
                               const struct selected *s, medley_error *err)
{
    const struct subset *chosen = s->chosen, *full = select_find(x, stack_all(&x->s));
    medley_status st = MEDLEY_OK;
    jw_object(w);
    decide_write_labels(w, x->w);
    write_budget(w, &x->w->config.budget);
    write_costs(w, x);
    write_search(w, x, chosen);
    jw_key(w, "subsets"), jw_array(w);
    for (size_t i = 0; i < x->n && !st; i++)
        st = write_subset(w, x, &x->subsets[i], err);
    jw_array_end(w);
    decide_write_names(w, x->w, "selected", chosen->mask);
    write_choices(w, x, s);
    jw_key(w, "rounds"), jw_i64(w, s->rounds);
    write_three(w, "full", full->value);
    write_three(w, "chosen", chosen->value);
    write_lost(w, full->value, chosen->value);
    jw_key(w, "against_all"), jw_object(w);
    if (!st)
        st = write_difference(w, x, chosen->mask, full->mask, err);
    jw_object_end(w);
    if (!st)
        st = write_steps(w, x, chosen, "drop", true, err);
    if (!st)
        st = write_steps(w, x, chosen, "add", false, err);
    if (!st)
        st = write_down(w, x, chosen, x->rounds, err);
    jw_object_end(w);
    return st;
}

medley_status select_write(const struct selection *x, const struct selected *s,
                           medley_error *err)
{
    struct strbuf text;
    struct json_writer w;
    sb_init(&text);
    jw_init(&w, &text, true);
    medley_status st = write_all(&w, x, s, err);
    if (!st)
        st = decide_write_file(x->w, "selection.json", &text, err);
    sb_deinit(&text);
    return st;
}
