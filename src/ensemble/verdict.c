/* verdict.c: see verdict.h. Reads the game of refits: the place of the new model by Shapley
 * value, what the ensemble gains by it, whom it makes redundant, and the best subset with and
 * without. */
#include "ensemble/verdict.h"

#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "ensemble/select.h"

#include <math.h>
#include <string.h>

static const char *const value_names[FOLD_VALUES] = {"macro_f1", "accuracy", "log_loss"};

struct judging {
    struct selection x;
    size_t model;
    struct refits told; /* with resamples: what is told of */
    const struct refits *game;
};

static void write_estimate(struct json_writer *w, const char *key, const struct estimate *e)
{
    jw_key(w, key), jw_object(w);
    jw_key(w, "value"), jw_double(w, e->value);
    jw_key(w, "low"), jw_double(w, e->low);
    jw_key(w, "high"), jw_double(w, e->high);
    jw_key(w, "p_value"), jw_double(w, e->p_value);
    jw_object_end(w);
}

static medley_status difference(const struct judging *j, uint32_t a, uint32_t b, size_t value,
                                struct estimate *out, medley_error *err)
{
    return refits_difference(j->game, refits_find(j->game, a), refits_find(j->game, b), 0,
                             value, out, err);
}

/* Coalitions with and without the new model and each other one: all that is asked for below. */
static medley_status play_told(struct judging *j, medley_error *err)
{
    const struct selection *x = &j->x;
    uint32_t all = stack_all(&x->s), without = all & ~(UINT32_C(1) << j->model);
    uint64_t list[4 * MEDLEY_MAX_MODELS + 2];
    size_t n = 0;
    j->game = &x->game;
    if (x->exact)
        return MEDLEY_OK;
    for (size_t m = 0; m < x->s.n_models; m++) {
        uint32_t bit = UINT32_C(1) << m;
        list[n++] = all & ~bit;
        list[n++] = without & ~bit ? without & ~bit : all;
    }
    list[n++] = all;
    struct refit_options o = {
        .rounds = x->rounds, .seed = x->w->config.stacking.seed, .list = list, .n_list = n};
    j->game = &j->told;
    return refits_play(&x->s, &x->players, &x->slices, &o, &j->told, err);
}

static medley_status write_rank(struct json_writer *w, const struct judging *j,
                                medley_error *err)
{
    const struct selection *x = &j->x;
    struct estimate e[MEDLEY_COALITION_PLAYERS];
    size_t place = 1;
    jw_key(w, "shapley");
    if (!x->exact) {
        jw_null(w);
        return MEDLEY_OK;
    }
    jw_object(w);
    medley_status st = MEDLEY_OK;
    for (size_t v = 0; v < FOLD_VALUES && !st; v++) {
        st = refits_shapley(&x->game, 0, v, e, err);
        double sign = v == VALUE_LOG_LOSS ? -1 : 1;
        for (size_t m = 0; m < x->s.n_models && !st && v == x->value; m++)
            place += sign * e[m].value > sign * e[j->model].value;
        if (!st)
            write_estimate(w, value_names[v], &e[j->model]);
    }
    jw_object_end(w);
    jw_key(w, "place"), jw_i64(w, (int64_t)place);
    return st;
}

/* Who gained before, beyond noise, and no longer does? */
static medley_status write_redundant(struct json_writer *w, const struct judging *j,
                                     medley_error *err)
{
    const struct selection *x = &j->x;
    uint32_t all = stack_all(&x->s), without = all & ~(UINT32_C(1) << j->model);
    medley_status st = MEDLEY_OK;
    jw_key(w, "others"), jw_array(w);
    for (size_t m = 0; m < x->s.n_models && !st; m++) {
        uint32_t bit = UINT32_C(1) << m;
        struct estimate before, after;
        if (m == j->model || !(without & ~bit))
            continue;
        st = difference(j, without, without & ~bit, x->value, &before, err);
        if (!st)
            st = difference(j, all, all & ~bit, x->value, &after, err);
        if (st)
            break;
        bool loss = x->value == VALUE_LOG_LOSS;
        bool gained = loss ? before.high < 0 : before.low > 0;
        bool gains = loss ? after.high < 0 : after.low > 0;
        jw_object(w);
        jw_key(w, "name"), jw_textz(w, x->w->config.models[m].name);
        write_estimate(w, "gain_before", &before);
        write_estimate(w, "gain_after", &after);
        jw_key(w, "made_redundant"), jw_bool(w, gained && !gains);
        jw_object_end(w);
    }
    jw_array_end(w);
    return st;
}

static void write_best(struct json_writer *w, const struct judging *j, const char *key,
                       bool with_new)
{
    const struct selection *x = &j->x;
    const struct subset *best = NULL;
    for (size_t i = 0; i < x->n; i++) {
        const struct subset *a = &x->subsets[i];
        if (!a->within_budget || (!with_new && a->mask >> j->model & 1))
            continue;
        if (!best || select_score(x, a) > select_score(x, best))
            best = a;
    }
    jw_key(w, key);
    if (!best) {
        jw_null(w);
        return;
    }
    jw_object(w);
    decide_write_names(w, x->w, "models", best->mask);
    for (size_t v = 0; v < FOLD_VALUES; v++)
        jw_key(w, value_names[v]), jw_double(w, best->value[v]);
    jw_key(w, "latency_ms"), jw_double(w, best->cost.p50_ms);
    jw_key(w, "latency_p99_ms"), jw_double(w, best->cost.p99_ms);
    jw_key(w, "pairs_per_s_per_core"), jw_double(w, best->cost.pairs_per_s_per_core);
    jw_key(w, "memory_bytes"), jw_i64(w, (int64_t)best->cost.memory);
    jw_object_end(w);
}

/* A model of a new locale or relation has no answers elsewhere: how many it has, and what it
 * adds to each locale. */
static medley_status write_coverage(struct json_writer *w, const struct judging *j,
                                    medley_error *err)
{
    const struct selection *x = &j->x;
    uint32_t all = stack_all(&x->s), without = all & ~(UINT32_C(1) << j->model);
    size_t k = x->s.n_classes, answered = 0;
    medley_status st = MEDLEY_OK;
    for (size_t i = 0; i < x->s.n; i++)
        answered += !isnan(x->s.probabilities[j->model][i * k]);
    jw_key(w, "coverage"), jw_double(w, (double)answered / (double)x->s.n);
    jw_key(w, "per_locale"), jw_object(w);
    for (size_t i = 0; i < x->slices.n && !st; i++) {
        struct estimate e;
        if (x->slices.items[i].by != SLICE_LOCALE)
            continue;
        st = refits_difference(j->game, refits_find(j->game, all),
                               refits_find(j->game, without), i, x->value, &e, err);
        write_estimate(w, x->slices.items[i].name, &e);
    }
    jw_object_end(w);
    return st;
}

static medley_status write_verdict(const struct judging *j, medley_error *err)
{
    const struct selection *x = &j->x;
    uint32_t all = stack_all(&x->s), without = all & ~(UINT32_C(1) << j->model);
    const char *name = x->w->config.models[j->model].name;
    struct strbuf text;
    struct json_writer w;
    char file[128];
    sb_init(&text);
    jw_init(&w, &text, true);
    jw_object(&w);
    jw_key(&w, "model"), jw_textz(&w, name);
    jw_key(&w, "kind"), jw_textz(&w, x->w->config.models[j->model].kind_name);
    jw_key(&w, "metric"), jw_textz(&w, value_names[x->value]);
    jw_key(&w, "models"), jw_i64(&w, (int64_t)x->s.n_models);
    medley_status st = write_rank(&w, j, err);
    jw_key(&w, "gain"), jw_object(&w);
    for (size_t v = 0; v < FOLD_VALUES && !st; v++) {
        struct estimate e;
        st = difference(j, all, without, v, &e, err);
        write_estimate(&w, value_names[v], &e);
    }
    jw_object_end(&w);
    if (!st)
        st = write_coverage(&w, j, err);
    if (!st)
        st = write_redundant(&w, j, err);
    write_best(&w, j, "best_without", false);
    write_best(&w, j, "best_with", true);
    jw_object_end(&w);
    snprintf(file, sizeof file, "verdict-%s.json", name);
    if (!st)
        st = decide_write_file(x->w, file, &text, err);
    sb_deinit(&text);
    return st;
}

medley_status decide_verdict(struct workspace *w, size_t model, medley_error *err)
{
    struct judging *j = mem_zalloc(1, sizeof *j);
    if (!j)
        return fail_memory(err, "a verdict");
    j->model = model;
    medley_status st = w->config.n_models > 1 ? select_open(&j->x, w, err)
                                              : fail(err, MEDLEY_EINVAL,
                                                     "there is no other model to compare with");
    if (!st)
        st = select_search(&j->x, err);
    if (!st)
        st = play_told(j, err);
    if (!st)
        st = write_verdict(j, err);
    refits_close(&j->told);
    select_close(&j->x);
    mem_free(j);
    return st;
}
