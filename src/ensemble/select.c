/* select.c: which models are worth their cost: refits of subsets, the best one within the
 * budget, a new ensemble and bundle of it; see decide.h and select.h. */
#include "ensemble/select.h"

#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/progress.h"
#include "ensemble/bundle_write.h"

#include <math.h>
#include <string.h>

static struct cost_rules rules_of(const struct budget_config *b)
{
    struct cost_rules r = {.cores = b->cores, .core_hour = b->core_hour};
    while (r.size + 1 < COST_SIZES && cost_list_sizes[r.size] < b->pairs)
        r.size++;
    return r;
}

/* Says how far the budget is from the least that any subset needs. */
static medley_status fail_budget(const struct selection *x, medley_error *err)
{
    const struct budget_config *b = &x->w->config.budget;
    double ms = INFINITY;
    uint64_t memory = UINT64_MAX;
    char limits[128] = "";
    for (size_t i = 0; i < x->n; i++) {
        ms = fmin(ms, x->subsets[i].cost.p50_ms);
        if (x->subsets[i].cost.memory < memory)
            memory = x->subsets[i].cost.memory;
    }
    int n = 0;
    if (b->latency_ms)
        n = snprintf(limits, sizeof limits, " of %g ms", b->latency_ms);
    if (b->memory)
        snprintf(limits + n, sizeof limits - (size_t)n, "%s %.1f MB", n ? "," : " of",
                 (double)b->memory / 1e6);
    return fail(err, MEDLEY_EINVAL,
                "no subset of the models fits the budget%s: the fastest takes %.3g ms, the "
                "smallest %.1f MB",
                limits, ms, (double)memory / 1e6);
}

static medley_status choose(struct selection *x, struct selected *out, medley_error *err)
{
    const char *prefer = x->w->config.budget.prefer;
    select_mark(x);
    out->best = select_best(x);
    if (!out->best)
        return fail_budget(x, err);
    medley_status st = select_play_told(x, out->best, err);
    if (!st)
        st = select_cheapest(x, &out->cheapest, err);
    if (st)
        return st;
    out->knee = select_knee(x);
    out->chosen = strcmp(prefer, "knee") == 0       ? out->knee
                  : strcmp(prefer, "cheapest") == 0 ? out->cheapest
                                                    : out->best;
    return out->chosen == out->best ? MEDLEY_OK : select_play_told(x, out->chosen, err);
}

static medley_status refit(const struct selection *x, struct selected *chosen,
                           medley_error *err)
{
    medley_gbdt *model = NULL;
    uint32_t mask = chosen->chosen->mask;
    medley_status st = stack_cross_validate(&x->s, mask, &chosen->rounds, NULL, err);
    if (!st)
        st = stack_fit(&x->s, mask, chosen->rounds, &model, err);
    if (!st)
        st = medley_gbdt_save(model, workspace_path(x->w, "ensemble/selected.txt").s, err);
    medley_gbdt_free(model);
    return st;
}

medley_status select_open(struct selection *x, struct workspace *w, medley_error *err)
{
    x->w = w;
    static const char *const names[FOLD_VALUES] = {"macro_f1", "accuracy", "log_loss"};
    while (x->value + 1 < FOLD_VALUES && strcmp(names[x->value], w->config.budget.metric) != 0)
        x->value++;
    x->rules = rules_of(&w->config.budget);
    x->cost = mem_zalloc(MEDLEY_MAX_MODELS, sizeof *x->cost);
    medley_status st = x->cost ? costs_load(w, x->cost, err) : fail_memory(err, "costs");
    if (!st)
        st = stack_open(w, SPLIT_TRAIN, &x->s, err);
    if (!st)
        st = slices_open(&x->s, &x->slices, err);
    if (!st)
        st = players_open(&x->s, PLAYERS_MODEL, &x->players, err);
    if (!st && file_exists(workspace_path(w, "ensemble/stack.json").s))
        return decide_rounds(w, &x->rounds, err);
    return st ? st : stack_cross_validate(&x->s, stack_all(&x->s), &x->rounds, NULL, err);
}

void select_close(struct selection *x)
{
    mem_free(x->subsets);
    mem_free(x->kept);
    mem_free(x->cost);
    refits_close(&x->game);
    players_close(&x->players);
    slices_close(&x->slices);
    stack_close(&x->s);
}

medley_status decide_select(struct workspace *w, medley_error *err)
{
    struct selection x = {0};
    struct selected chosen = {0};
    medley_status st = select_open(&x, w, err);
    if (!st)
        st = select_search(&x, err);
    if (!st)
        st = choose(&x, &chosen, err);
    if (!st)
        st = refit(&x, &chosen, err);
    if (!st)
        st = select_write(&x, &chosen, err);
    if (!st)
        st = bundle_write(w, chosen.chosen->mask, err);
    if (!st && (w->config.decide.cascade || w->config.decide.calibrate))
        progress_note("the bundle answers plainly until 'medley run' adds what decide: wants");
    select_close(&x);
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
