/* rank_write.c: the three rankings as JSON (docs/schemas.md). See rank.h. */
#include "ensemble/rank.h"

#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const value_names[FOLD_VALUES] = {"macro_f1", "accuracy", "log_loss"};

static void write_estimate(struct json_writer *w, const struct estimate *e)
{
    jw_object(w);
    jw_key(w, "value"), jw_double(w, e->value);
    jw_key(w, "low"), jw_double(w, e->low);
    jw_key(w, "high"), jw_double(w, e->high);
    if (!isnan(e->p_value))
        jw_key(w, "p_value"), jw_double(w, e->p_value);
    if (e->sampling_error > 0)
        jw_key(w, "sampling_error"), jw_double(w, e->sampling_error);
    jw_object_end(w);
}

/* ---- the tree game ---- */

/* "per_locale" or "per_band" of a player: one estimate each. */
static medley_status write_tree_slices(struct json_writer *w, const struct ranking *r, size_t p,
                                       enum slice_by by, medley_error *err)
{
    medley_status st = MEDLEY_OK;
    jw_key(w, by == SLICE_LOCALE ? "per_locale" : "per_band"), jw_object(w);
    for (size_t i = 0; i < r->row_slices.n && !st; i++) {
        struct estimate e;
        if (r->row_slices.items[i].by != by)
            continue;
        st = rank_tree_estimate(r, p, r->rows.n_classes, i, &e, err);
        jw_key(w, r->row_slices.items[i].name), write_estimate(w, &e);
    }
    jw_object_end(w);
    return st;
}

static int ascending(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* How the signed contributions to each class are spread over rows: percentiles 5, 25, 50,
 * 75, 95. */
static void write_spread(struct json_writer *w, const struct ranking *r, size_t p)
{
    static const double at[] = {0.05, 0.25, 0.5, 0.75, 0.95};
    size_t k = r->rows.n_classes, n = r->rows.n;
    jw_key(w, "spread"), jw_object(w);
    for (size_t c = 0; c < k; c++) {
        for (size_t i = 0; i < n; i++)
            r->strength[i] = r->values[(i * (r->players.n + 1) + p) * k + c];
        qsort(r->strength, n, sizeof *r->strength, ascending);
        jw_key(w, r->w->data.class_names[c]), jw_array(w);
        for (size_t q = 0; q < sizeof at / sizeof *at; q++)
            jw_float(w, r->strength[(size_t)(at[q] * (double)(n - 1) + 0.5)]);
        jw_array_end(w);
    }
    jw_object_end(w);
}

/* Four digits are enough for a plot, and a third of the bytes. */
static double rounded(float v)
{
    return isnan(v) ? NAN : round((double)v * 1e4) / 1e4;
}

/* Of the same evenly spaced rows for every player: the contribution to each class and, of a
 * base model, the probability that it gave. */
static void write_sample(struct json_writer *w, const struct ranking *r, size_t p)
{
    enum { SAMPLE_ROWS = 120 };
    size_t k = r->rows.n_classes, n = r->rows.n, step = (n + SAMPLE_ROWS - 1) / SAMPLE_ROWS;
    bool model = r->players.by == PLAYERS_MODEL && p < r->players.n;
    jw_key(w, "sample"), jw_object(w);
    for (size_t c = 0; c < k; c++) {
        jw_key(w, r->w->data.class_names[c]), jw_array(w);
        for (size_t i = 0; i < n; i += step) {
            jw_array(w);
            jw_double(w, rounded(r->values[(i * (r->players.n + 1) + p) * k + c]));
            jw_double(w, model ? rounded(r->rows.probabilities[p][i * k + c]) : (double)NAN);
            jw_array_end(w);
        }
        jw_array_end(w);
    }
    jw_object_end(w);
}

static medley_status write_tree_player(struct json_writer *w, const struct ranking *r, size_t p,
                                       medley_error *err)
{
    bool context = p == r->players.n;
    size_t k = r->rows.n_classes;
    struct estimate e;
    medley_status st = rank_tree_estimate(r, p, k, 0, &e, err);
    jw_object(w);
    jw_key(w, "name"), jw_textz(w, context ? "context" : r->players.items[p].name);
    jw_key(w, "kind"), jw_textz(w, context ? "context" : r->players.items[p].kind);
    jw_key(w, "mean_abs_contribution"), jw_double(w, e.value);
    jw_key(w, "ci95"), jw_array(w);
    jw_double(w, e.low), jw_double(w, e.high);
    jw_array_end(w);
    jw_key(w, "per_class"), jw_object(w);
    struct estimate of_class[MAX_CLASSES];
    for (size_t c = 0; c < k && !st; c++) {
        st = rank_tree_estimate(r, p, c, 0, &of_class[c], err);
        jw_key(w, r->w->data.class_names[c]), jw_double(w, of_class[c].value);
    }
    jw_object_end(w);
    jw_key(w, "per_class_ci95"), jw_object(w);
    for (size_t c = 0; c < k && !st; c++) {
        jw_key(w, r->w->data.class_names[c]), jw_array(w);
        jw_double(w, of_class[c].low), jw_double(w, of_class[c].high);
        jw_array_end(w);
    }
    jw_object_end(w);
    write_spread(w, r, p);
    write_sample(w, r, p);
    if (!st)
        st = write_tree_slices(w, r, p, SLICE_LOCALE, err);
    if (!st)
        st = write_tree_slices(w, r, p, SLICE_BAND, err);
    jw_object_end(w);
    return st;
}

struct place {
    size_t player;
    double value;
};

static int best_first(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    if (x->value != y->value)
        return x->value < y->value ? 1 : -1;
    return x->player < y->player ? -1 : 1;
}

/* Players, best first. */
static void sort_players(const double *values, size_t n, struct place *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (struct place){i, values[i]};
    qsort(out, n, sizeof *out, best_first);
}

static medley_status write_tree(struct json_writer *w, const struct ranking *r,
                                medley_error *err)
{
    struct place order[MEDLEY_COALITION_PLAYERS];
    medley_status st = MEDLEY_OK;
    sort_players(r->tree_by_seed, r->players.n, order);
    jw_key(w, "models"), jw_array(w);
    for (size_t i = 0; i < r->players.n && !st; i++)
        st = write_tree_player(w, r, order[i].player, err);
    /* The context stays last: it is no model that could be dropped. */
    if (!st && r->n_tree > r->players.n)
        st = write_tree_player(w, r, r->players.n, err);
    jw_array_end(w);
    return st;
}

/* ---- the game of refits ---- */

/* A value of every player on one slice, by both rankings. */
struct worths {
    struct estimate shapley[MEDLEY_COALITION_PLAYERS], without[MEDLEY_COALITION_PLAYERS];
};

static medley_status find_worths(const struct ranking *r, size_t slice, size_t value,
                                 struct worths *out, medley_error *err)
{
    const struct refits *g = &r->refits;
    uint64_t all = refits_all(g);
    medley_status st = refits_shapley(g, slice, value, out->shapley, err);
    for (size_t p = 0; p < r->players.n && !st; p++)
        st =
            refits_difference(g, refits_find(g, all), refits_find(g, all & ~((uint64_t)1 << p)),
                              slice, value, &out->without[p], err);
    return st;
}

static void write_worth(struct json_writer *w, const struct worths *x, size_t p)
{
    jw_object(w);
    jw_key(w, "shapley"), write_estimate(w, &x->shapley[p]);
    jw_key(w, "leave_one_out"), write_estimate(w, &x->without[p]);
    jw_object_end(w);
}

/* All that is worked out once and written player by player. */
struct all_worths {
    struct worths value[FOLD_VALUES]; /* over all rows */
    struct worths f1[MAX_CLASSES];    /* of a class's F1 */
    struct worths slice[MAX_SLICES][FOLD_VALUES];
};

static medley_status find_all(const struct ranking *r, struct all_worths *x, medley_error *err)
{
    medley_status st = MEDLEY_OK;
    for (size_t v = 0; v < FOLD_VALUES && !st; v++)
        st = find_worths(r, 0, v, &x->value[v], err);
    for (size_t c = 0; c < r->train.n_classes && !st; c++)
        st = find_worths(r, 0, VALUE_F1 + c, &x->f1[c], err);
    for (size_t i = 1; i < r->slices.n && !st; i++)
        for (size_t v = 0; v < FOLD_VALUES && !st; v++)
            st = find_worths(r, i, v, &x->slice[i][v], err);
    return st;
}

static void write_values(struct json_writer *w, const struct worths *x, size_t p)
{
    for (size_t v = 0; v < FOLD_VALUES; v++)
        jw_key(w, value_names[v]), write_worth(w, &x[v], p);
}

static void write_worth_slices(struct json_writer *w, const struct ranking *r,
                               const struct all_worths *x, size_t p, enum slice_by by)
{
    jw_key(w, by == SLICE_LOCALE ? "per_locale" : "per_band"), jw_object(w);
    for (size_t i = 1; i < r->slices.n; i++) {
        if (r->slices.items[i].by != by)
            continue;
        jw_key(w, r->slices.items[i].name), jw_object(w);
        jw_key(w, "n"), jw_i64(w, (int64_t)r->slices.items[i].n);
        write_values(w, x->slice[i], p);
        jw_object_end(w);
    }
    jw_object_end(w);
}

static void write_worth_player(struct json_writer *w, const struct ranking *r,
                               const struct all_worths *x, size_t p)
{
    const struct refits *g = &r->refits;
    const double *alone =
        g->worth + refits_find(g, (uint64_t)1 << p) * g->n_slices * g->n_values;
    jw_object(w);
    jw_key(w, "name"), jw_textz(w, r->players.items[p].name);
    jw_key(w, "kind"), jw_textz(w, r->players.items[p].kind);
    write_values(w, x->value, p);
    jw_key(w, "alone"), jw_object(w);
    for (size_t v = 0; v < FOLD_VALUES; v++)
        jw_key(w, value_names[v]), jw_double(w, alone[v]);
    jw_object_end(w);
    jw_key(w, "per_class"), jw_object(w);
    for (size_t c = 0; c < r->train.n_classes; c++)
        jw_key(w, r->w->data.class_names[c]), write_worth(w, &x->f1[c], p);
    jw_object_end(w);
    write_worth_slices(w, r, x, p, SLICE_LOCALE);
    write_worth_slices(w, r, x, p, SLICE_BAND);
    jw_object_end(w);
}

/* The metrics of the empty or the full coalition, with intervals. */
static medley_status write_end(struct json_writer *w, const struct ranking *r, const char *key,
                               uint64_t coalition, medley_error *err)
{
    medley_status st = MEDLEY_OK;
    jw_key(w, key), jw_object(w);
    for (size_t v = 0; v < FOLD_VALUES && !st; v++) {
        struct estimate e;
        st = refits_difference(&r->refits, refits_find(&r->refits, coalition), SIZE_MAX, 0, v,
                               &e, err);
        e.p_value = NAN;
        jw_key(w, value_names[v]), write_estimate(w, &e);
    }
    jw_object_end(w);
    return st;
}

static size_t ranked_value(const struct ranking *r)
{
    for (size_t v = 0; v < FOLD_VALUES; v++)
        if (strcmp(value_names[v], r->w->config.budget.metric) == 0)
            return v;
    return VALUE_MACRO_F1;
}

static medley_status write_game(struct json_writer *w, const struct ranking *r,
                                const struct all_worths *x, medley_error *err)
{
    struct place order[MEDLEY_COALITION_PLAYERS];
    sort_players(r->shapley_by_seed[ranked_value(r)], r->players.n, order);
    jw_key(w, "worth"), jw_object(w);
    jw_key(w, "split"), jw_textz(w, "train");
    jw_key(w, "n"), jw_i64(w, (int64_t)r->train.n);
    jw_key(w, "metric"), jw_textz(w, value_names[ranked_value(r)]);
    jw_key(w, "exact"), jw_bool(w, r->refits.plan.n_orders == 0);
    jw_key(w, "coalitions"), jw_i64(w, (int64_t)r->refits.plan.n_coalitions);
    jw_key(w, "folds"), jw_i64(w, (int64_t)r->refits.n_folds);
    jw_key(w, "rounds"), jw_i64(w, r->rounds);
    jw_key(w, "resamples"), jw_i64(w, (int64_t)r->refits.resamples);
    jw_key(w, "band_of"), jw_textz(w, r->slices.band_of);
    medley_status st = write_end(w, r, "none", 0, err);
    if (!st)
        st = write_end(w, r, "all", refits_all(&r->refits), err);
    jw_key(w, "players"), jw_array(w);
    for (size_t i = 0; i < r->players.n && !st; i++)
        write_worth_player(w, r, x, order[i].player);
    jw_array_end(w);
    jw_object_end(w);
    return st;
}

/* ---- pairs ---- */

/* A P x P matrix; cells come from `cell`. NaN becomes null. */
static void write_matrix(struct json_writer *w, const struct ranking *r, const char *key,
                         double (*cell)(const struct ranking *, size_t i, size_t j))
{
    jw_key(w, key), jw_array(w);
    for (size_t i = 0; i < r->players.n; i++) {
        jw_array(w);
        for (size_t j = 0; j < r->players.n; j++)
            jw_double(w, cell(r, i, j));
        jw_array_end(w);
    }
    jw_array_end(w);
}

/* Half of a pair's interaction stands on either side of the diagonal. */
static double tree_interaction(const struct ranking *r, size_t i, size_t j)
{
    size_t p = r->players.n + 1;
    return (double)r->interactions[i * p + j] * (i == j ? 1 : 2);
}

static double metric_interaction(const struct ranking *r, size_t i, size_t j)
{
    return refits_interaction(&r->refits, 0, ranked_value(r), i, j);
}

static double loss_interaction(const struct ranking *r, size_t i, size_t j)
{
    return refits_interaction(&r->refits, 0, VALUE_LOG_LOSS, i, j);
}

/* Of what the two gain alone, how much is lost when they are together? Log-loss, which unlike
 * F1 has no thresholds and is the steadier for it. Nothing to share: NaN. */
static double gain_lost(const struct ranking *r, size_t i, size_t j)
{
    const struct refits *g = &r->refits;
    size_t width = g->n_slices * g->n_values;
    uint64_t a = (uint64_t)1 << i, b = (uint64_t)1 << j;
    size_t both = refits_find(g, a | b);
    if (i == j || both == SIZE_MAX)
        return NAN;
    double none = g->worth[VALUE_LOG_LOSS];
    double alone = 2 * none - g->worth[refits_find(g, a) * width + VALUE_LOG_LOSS] -
                   g->worth[refits_find(g, b) * width + VALUE_LOG_LOSS];
    double together = none - g->worth[both * width + VALUE_LOG_LOSS];
    return alone > 0 ? 1 - together / alone : NAN;
}

static double margin_correlation(const struct ranking *r, size_t i, size_t j)
{
    return rank_likeness(&r->train, i, j).correlation;
}

static double shared_errors(const struct ranking *r, size_t i, size_t j)
{
    return rank_likeness(&r->train, i, j).shared_errors;
}

static void write_pairs(struct json_writer *w, const struct ranking *r)
{
    jw_key(w, "pairs"), jw_object(w);
    jw_key(w, "names"), jw_array(w);
    for (size_t i = 0; i < r->players.n; i++)
        jw_textz(w, r->players.items[i].name);
    jw_array_end(w);
    write_matrix(w, r, "tree_interaction", tree_interaction);
    write_matrix(w, r, "metric_interaction", metric_interaction);
    write_matrix(w, r, "log_loss_interaction", loss_interaction);
    write_matrix(w, r, "gain_lost", gain_lost);
    if (r->players.by == PLAYERS_MODEL) {
        write_matrix(w, r, "margin_correlation", margin_correlation);
        write_matrix(w, r, "shared_errors", shared_errors);
    }
    jw_object_end(w);
}

/* ---- stability ---- */

static void write_agreement(struct json_writer *w, const char *key, struct agreement a)
{
    jw_key(w, key), jw_object(w);
    jw_key(w, "kendall"), jw_double(w, a.kendall);
    jw_key(w, "spearman"), jw_double(w, a.spearman);
    jw_key(w, "rankings"), jw_i64(w, (int64_t)a.sets);
    jw_object_end(w);
}

static medley_status write_stability(struct json_writer *w, const struct ranking *r,
                                     medley_error *err)
{
    medley_status st = MEDLEY_OK;
    size_t n = r->players.n;
    jw_key(w, "stability"), jw_object(w);
    jw_key(w, "seeds"), jw_i64(w, r->seeds);
    jw_key(w, "folds"), jw_i64(w, (int64_t)r->refits.n_folds);
    jw_key(w, "tree"), jw_object(w);
    write_agreement(w, "seeds", agreement_of(r->tree_by_seed, r->seeds, n));
    jw_object_end(w);
    for (int without = 0; without < 2 && !st; without++) {
        jw_key(w, without ? "leave_one_out" : "shapley"), jw_object(w);
        for (size_t v = 0; v < FOLD_VALUES && !st; v++) {
            double *const *by_seed = without ? r->without_by_seed : r->shapley_by_seed;
            jw_key(w, value_names[v]), jw_object(w);
            write_agreement(w, "seeds", agreement_of(by_seed[v], r->seeds, n));
            write_agreement(w, "folds", rank_fold_agreement(r, v, without, &st, err));
            jw_object_end(w);
        }
        jw_object_end(w);
    }
    jw_object_end(w);
    return st;
}

/* How far the three rankings are of one mind, by the metric of the budget. */
static void write_three(struct json_writer *w, const struct ranking *r)
{
    size_t v = ranked_value(r), n = r->players.n;
    jw_key(w, "agreement"), jw_object(w);
    jw_key(w, "tree_shapley"), jw_double(w, kendall(r->tree_by_seed, r->shapley_by_seed[v], n));
    jw_key(w, "tree_leave_one_out"),
        jw_double(w, kendall(r->tree_by_seed, r->without_by_seed[v], n));
    jw_key(w, "shapley_leave_one_out"),
        jw_double(w, kendall(r->shapley_by_seed[v], r->without_by_seed[v], n));
    jw_object_end(w);
}

static medley_status write_all(const struct ranking *r, const struct all_worths *x,
                               struct strbuf *text, medley_error *err)
{
    struct json_writer w;
    jw_init(&w, text, true);
    jw_object(&w);
    jw_key(&w, "split"), jw_textz(&w, r->split);
    jw_key(&w, "n"), jw_i64(&w, (int64_t)r->rows.n);
    jw_key(&w, "players"), jw_textz(&w, players_names[r->players.by]);
    decide_write_labels(&w, r->w);
    medley_status st = write_tree(&w, r, err);
    if (!st)
        st = write_game(&w, r, x, err);
    if (!st && r->players.by != PLAYERS_PROBABILITY)
        write_pairs(&w, r);
    if (!st)
        st = write_stability(&w, r, err);
    write_three(&w, r);
    jw_object_end(&w);
    return st;
}

medley_status rank_write(const struct ranking *r, medley_error *err)
{
    struct strbuf text;
    char name[64] = "ranking.json";
    struct all_worths *x = mem_alloc(1, sizeof *x);
    if (!x)
        return fail_memory(err, "rankings");
    sb_init(&text);
    if (r->players.by != PLAYERS_MODEL)
        snprintf(name, sizeof name, "ranking-%s.json", players_names[r->players.by]);
    medley_status st = find_all(r, x, err);
    if (!st)
        st = write_all(r, x, &text, err);
    if (!st)
        st = decide_write_file(r->w, name, &text, err);
    sb_deinit(&text);
    mem_free(x);
    return st;
}
