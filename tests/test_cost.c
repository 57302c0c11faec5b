/* test_cost.c: measuring what models cost, files of it, and what subsets cost together. */
#include "ensemble/cost.h"
#include "tests/ensemble_shop.h"

static struct model_cost costs[MEDLEY_MAX_MODELS];

static void set(struct model_cost *c, const float *ms, size_t n, double cpu)
{
    memset(c, 0, sizeof *c);
    for (size_t s = 0; s < COST_SIZES; s++) {
        c->list[s].n = n;
        memcpy(c->list[s].ms, ms, n * sizeof *ms);
    }
    c->cpu_ms_per_pair = cpu;
    c->memory = 1000;
}

/* Three tables: what they cost is as written here. */
static void test_together(struct workspace *w)
{
    const float a[] = {1, 2, 3, 4}, b[] = {4, 3, 2, 1}, c[] = {1, 1, 1, 10};
    struct subset_cost out;
    struct cost_rules one_core = {.core_hour = 3.6}, two_cores = {.cores = 2};
    set(&costs[0], a, 4, 1);
    set(&costs[1], b, 4, 3);
    set(&costs[2], c, 3, 4);
    subset_cost(w, costs, 3, &one_core, &out);
    ok(out.p50_ms == 5 && out.p99_ms == 5, "sums are of the same request, not of percentiles");
    ok(out.pairs_per_s_per_core == 250 && out.memory == 2000, "processor time and memory add");
    ok(fabs(out.price - 4) < 1e-12, "4 ms a pair at 3.6 an hour: 4 for a million pairs");
    subset_cost(w, costs, 3, &two_cores, &out);
    ok(out.p50_ms == 4 && out.p99_ms == 4, "side by side, the longer one counts");
    subset_cost(w, costs, 7, &two_cores, &out);
    ok(out.p99_ms == 4 && out.p50_ms == 3, "the third beside the shorter one");
    subset_cost(w, costs, 4, &one_core, &out);
    ok(out.p99_ms == 1, "requests that both have");
    w->config.budget.price_of[0] = 7;
    subset_cost(w, costs, 1, &one_core, &out);
    ok(out.price == 7, "a price that was given");
    w->config.budget.price_of[0] = 0;
    /* Graph models of the same features: the query is encoded once, and the others wait for it.
     */
    for (size_t m = 0; m < 2; m++) {
        w->config.models[m].kind = KIND_GNN;
        w->config.models[m].features = "hashed";
        costs[m].features = (struct cost_times){.n = 1, .p50_ms = 10, .ms = {10}};
        costs[m].features_memory = 500;
    }
    subset_cost(w, costs, 3, &one_core, &out);
    ok(out.p50_ms == 15 && out.memory == 2500, "features are shared");
    subset_cost(w, costs, 3, &two_cores, &out);
    ok(out.p50_ms == 14, "and waited for (%g)", out.p50_ms);
    w->config.models[0].kind = w->config.models[1].kind = KIND_TABLE;
}

static void test_file(struct workspace *w, const char *folder)
{
    medley_error err = {0};
    struct path p = workspace_path(w, "models/good/cost.json");
    char *whole = NULL;
    size_t n = 0;
    int accepted = 0;
    (void)folder;
    ok(cost_profile(w, &cost_quick, &err) == MEDLEY_OK, "profiles: %s", err.message);
    ok(costs_load(w, costs, &err) == MEDLEY_OK, "loads: %s", err.message);
    ok(costs[0].list[0].n == cost_quick.samples[0] &&
           costs[0].list[0].p50_ms <= costs[0].list[0].p99_ms && costs[0].machine.cores > 0,
       "with samples, percentiles and the machine");
    if (!ok(file_read(p.s, 1 << 20, &whole, &n, &err) == MEDLEY_OK, "reads"))
        return;
    for (size_t cut = 0; cut < n - 2; cut += 37) {
        ok(file_write(p.s, whole, cut, &err) == MEDLEY_OK, "cut");
        accepted += costs_load(w, costs, &err) == MEDLEY_OK;
    }
    ok(accepted == 0, "a file cut short is refused");
    char *id = strstr(whole, "\"id\"");
    id = id ? strchr(id + 4, '"') : NULL;
    if (ok(id != NULL, "the machine's id")) {
        id[1] = id[1] == '0' ? '1' : '0';
        file_write(p.s, whole, n, &err);
        ok(costs_load(w, costs, &err) == MEDLEY_ESTALE && strstr(err.message, "medley profile"),
           "costs of two machines are not mixed: %s", err.message);
    }
    mem_free(whole);
    ok(unlink(p.s) == 0 && costs_load(w, costs, &err) == MEDLEY_ESTALE, "none: %s",
       err.message);
}

int main(void)
{
    char folder[64];
    medley_error err = {0};
    struct workspace w;
    snprintf(folder, sizeof folder, "%s", tap_folder());
    ok(shop_run(folder, "budget: {core_hour: 3.6, prices: {good: 2}}", &err) == MEDLEY_OK,
       "all stages run: %s", err.message);
    if (ok(workspace_open(folder, &w, &err) == MEDLEY_OK &&
               workspace_open_data(&w, &err) == MEDLEY_OK,
           "opens")) {
        ok(w.config.budget.price_of[0] == 2 && w.config.budget.price_of[1] == 0, "prices");
        w.config.budget.price_of[0] = 0;
        test_together(&w);
        test_file(&w, folder);
        workspace_close(&w);
    }
    return tap_done();
}
