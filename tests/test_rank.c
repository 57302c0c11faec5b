/* test_rank.c: the game of refits against refits made one by one, the three rankings, and the
 * agreement between rankings. */
#include "base/pool.h"
#include "ensemble/agreement.h"
#include "ensemble/decide.h"
#include "ensemble/refits.h"
#include "tests/ensemble_shop.h"

static void test_agreement(void)
{
    /* Values from scipy.stats 1.14: kendalltau (b) and spearmanr. */
    const double a[] = {1, 2, 3, 4, 5}, b[] = {3, 1, 2, 5, 4}, tied[] = {1, 1, 2, 3, 3};
    ok(fabs(kendall(a, b, 5) - 0.4) < 1e-12, "tau of five");
    ok(fabs(spearman(a, b, 5) - 0.6) < 1e-12, "rho of five");
    ok(fabs(kendall(a, tied, 5) - 8 / sqrt(80)) < 1e-12, "tau-b with ties");
    ok(fabs(spearman(a, tied, 5) - 0.9486832980505138) < 1e-12, "rho with ties");
    ok(isnan(kendall(a, a, 1)), "one value has no order");
    struct agreement same = agreement_of((const double[]){1, 2, 3, 1, 2, 3, 3, 2, 1}, 3, 3);
    ok(fabs(same.kendall + 1.0 / 3) < 1e-12, "mean over three pairs of rankings");
}

/* One coalition by hand: subset tables, cut and fitted anew. */
static medley_status by_hand(const struct stack *s, uint32_t mask, unsigned rounds,
                             struct metrics *out, medley_error *err)
{
    struct design_shape shape = stack_shape(s, mask);
    size_t f = design_columns(&shape), k = s->n_classes;
    float *x = NULL, *fit = mem_alloc(s->n, f * sizeof *fit);
    float *p = mem_alloc(s->n, k * sizeof *p);
    uint8_t *label = mem_alloc(s->n, 1);
    medley_status st = stack_design(s, mask, &x, err);
    for (unsigned fold = 0; fold < s->n_folds && !st; fold++) {
        medley_gbdt_options o = stack_gbdt_options(s, NULL);
        medley_gbdt *model = NULL;
        size_t n = 0;
        for (size_t i = 0; i < s->n; i++) {
            if (s->fold[i] == fold)
                continue;
            memcpy(fit + n * f, x + i * f, f * sizeof *x);
            label[n++] = s->label[i];
        }
        o.rounds = rounds;
        st = medley_gbdt_train(&(medley_table){fit, label, NULL, n, f, k}, NULL, &o, &model,
                               err);
        for (size_t i = 0; i < s->n && !st; i++)
            if (s->fold[i] == fold)
                st = medley_gbdt_predict(model, x + i * f, 1, p + i * k, err);
        medley_gbdt_free(model);
    }
    metrics_compute(p, s->label, NULL, s->n, k, out);
    mem_free(x), mem_free(fit), mem_free(p), mem_free(label);
    return st;
}

static void test_game(const struct workspace *w)
{
    medley_error err;
    struct stack s;
    struct slices slices;
    struct players players;
    struct refits r;
    struct refit_options options = {.rounds = 20, .resamples = 60, .seed = 1};
    ok(stack_open(w, SPLIT_TRAIN, &s, &err) == MEDLEY_OK &&
           slices_open(&s, &slices, &err) == MEDLEY_OK &&
           players_open(&s, PLAYERS_MODEL, &players, &err) == MEDLEY_OK,
       "opens");
    if (!ok(refits_play(&s, &players, &slices, &options, &r, &err) == MEDLEY_OK, "plays"))
        return;
    ok(r.plan.n_coalitions == 8 && r.resamples == 60 && slices.n == 3,
       "eight coalitions; all rows, one locale, one band");
    double worst = 0;
    for (uint32_t mask = 1; mask < 8; mask++) {
        struct metrics m;
        const double *v = r.worth + mask * r.n_slices * r.n_values;
        ok(by_hand(&s, mask, 20, &m, &err) == MEDLEY_OK, "by hand");
        worst = fmax(worst, fabs(m.macro_f1 - v[VALUE_MACRO_F1]));
        worst = fmax(worst, fabs(m.log_loss - v[VALUE_LOG_LOSS]));
        worst = fmax(worst, fabs(m.per_class[1].f1 - v[VALUE_F1 + 1]));
        worst = fmax(worst, fabs(v[VALUE_ACCURACY] - v[r.n_values + VALUE_ACCURACY]));
    }
    ok(worst < 1e-12, "every coalition is what a refit by hand gives (%g)", worst);
    struct estimate e[3], all;
    for (size_t v = 0; v < r.n_values; v++) {
        ok(refits_shapley(&r, 0, v, e, &err) == MEDLEY_OK &&
               refits_difference(&r, 7, 0, 0, v, &all, &err) == MEDLEY_OK,
           "values");
        ok(fabs(e[0].value + e[1].value + e[2].value - all.value) < 1e-12,
           "value %zu: players share what all gain", v);
        ok(e[0].low <= e[0].value && e[0].value <= e[0].high, "within its interval");
    }
    /* Three players: the index by its definition. */
    double i01 = 0;
    for (int with = 0; with < 2; with++) {
        size_t c = with ? 4 : 0, width = r.n_slices * r.n_values;
        i01 += 0.5 * (r.worth[(c | 3) * width] - r.worth[(c | 1) * width] -
                      r.worth[(c | 2) * width] + r.worth[c * width]);
    }
    ok(fabs(refits_interaction(&r, 0, VALUE_MACRO_F1, 0, 1) - i01) < 1e-12, "interaction");
    refits_close(&r);
    players_close(&players);
    slices_close(&slices);
    stack_close(&s);
}

static char *ranking_text(const char *folder, enum players_by by, medley_error *err)
{
    struct workspace w;
    char *text = NULL;
    size_t n;
    struct path file;
    struct rank_options options = {.players = by, .seeds = 2};
    if (workspace_open(folder, &w, err))
        return NULL;
    file = workspace_path(
        &w, by == PLAYERS_MODEL ? "ensemble/ranking.json" : "ensemble/ranking-%s.json",
        players_names[by]);
    if (workspace_open_data(&w, err) == MEDLEY_OK &&
        decide_rank(&w, &options, err) == MEDLEY_OK)
        file_read(file.s, 1 << 22, &text, &n, err);
    workspace_close(&w);
    return text;
}

static double worth(const json *ranking, const char *name, const char *kind)
{
    double v = NAN;
    for (const json *p = json_first(json_get(json_get(ranking, "worth"), "players")); p;
         p = json_next(p)) {
        const char *s = "";
        json_as_text(json_get(p, "name"), &s);
        if (strcmp(s, name) == 0)
            json_as_double(json_get(json_get(json_get(p, "macro_f1"), kind), "value"), &v);
    }
    return v;
}

static void test_rankings(const char *folder)
{
    medley_error err = {0};
    json *ranking = NULL;
    char *a = ranking_text(folder, PLAYERS_MODEL, &err);
    if (!ok(a && json_parse(str_of(a), "ranking", &ranking, &err) == MEDLEY_OK, "ranks: %s",
            err.message))
        return;
    ok(worth(ranking, "good", "shapley") > 0.2 &&
           worth(ranking, "good", "shapley") > worth(ranking, "half", "shapley"),
       "who knows is worth most");
    ok(worth(ranking, "half", "shapley") > 0.05 &&
           worth(ranking, "half", "leave_one_out") < 0.05,
       "half is worth something, but nothing beside good: it errs with it");
    ok(worth(ranking, "noise", "shapley") < 0.1 &&
           fabs(worth(ranking, "noise", "leave_one_out")) < 0.05,
       "noise is worth next to nothing");
    json_free(ranking);

    /* Kept coalitions give the same; damaged ones are played again, also the same; and so on
     * one thread. */
    struct path bin;
    snprintf(bin.s, sizeof bin.s, "%s/ensemble/refits-model.bin", folder);
    for (int i = 0; i < 3; i++) {
        char *bytes = NULL;
        size_t n = 0;
        if (i > 0 && ok(file_read(bin.s, 1 << 26, &bytes, &n, &err) == MEDLEY_OK, "kept")) {
            bytes[n / 2] ^= 1;
            ok(file_write(bin.s, bytes, n / (size_t)i, &err) == MEDLEY_OK, "damaged");
        }
        pool_set_threads(i == 2 ? 1 : 0);
        char *b = ranking_text(folder, PLAYERS_MODEL, &err);
        ok(b && strcmp(a, b) == 0, "the same again (%d)", i);
        mem_free(b);
        mem_free(bytes);
    }
    pool_set_threads(0);
    mem_free(a);
}

static void test_players(const char *folder)
{
    static const size_t expected[] = {3, 1, 1, 9};
    for (enum players_by by = PLAYERS_FAMILY; by <= PLAYERS_PROBABILITY; by++) {
        medley_error err = {0};
        json *ranking = NULL;
        char *text = ranking_text(folder, by, &err);
        if (!ok(text && json_parse(str_of(text), "ranking", &ranking, &err) == MEDLEY_OK,
                "%s: %s", players_names[by], err.message))
            continue;
        ok(json_count(json_get(json_get(ranking, "worth"), "players")) == expected[by],
           "players by %s", players_names[by]);
        json_free(ranking);
        mem_free(text);
    }
}

int main(void)
{
    char folder[64];
    medley_error err = {0};
    struct workspace w;
    snprintf(folder, sizeof folder, "%s", tap_folder());
    test_agreement();
    if (ok(shop_run(folder, "", &err) == MEDLEY_OK, "all stages run: %s", err.message)) {
        test_rankings(folder);
        test_players(folder);
        /* Masks are drawn by player, and a subset's players are numbered otherwise. */
        char *yaml = NULL;
        size_t n = 0;
        file_read(at(folder, "medley.yaml"), 1 << 16, &yaml, &n, &err);
        struct strbuf b;
        sb_init(&b);
        const char *cut = strstr(yaml, "rounds: 40");
        sb_add(&b, yaml, (size_t)(cut - yaml));
        sb_addz(&b, "mask_rate: 0, feature_fraction: 1, ");
        sb_addz(&b, cut);
        put(folder, "medley.yaml", b.s);
        sb_deinit(&b);
        mem_free(yaml);
        if (ok(workspace_open(folder, &w, &err) == MEDLEY_OK &&
                   workspace_open_data(&w, &err) == MEDLEY_OK,
               "opens")) {
            test_game(&w);
            workspace_close(&w);
        }
    }
    return tap_done();
}
