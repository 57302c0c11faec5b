/* show_rank.c: the three rankings as text; see show.h. */
#include "cli/show.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static double number(const json *object, const char *key)
{
    double v = NAN;
    json_as_double(json_get(object, key), &v);
    return v;
}

static const char *text(const json *object, const char *key)
{
    const char *s = "";
    json_as_text(json_get(object, key), &s);
    return s;
}

static const json *named(const json *array, const char *name)
{
    for (const json *a = json_first(array); a; a = json_next(a))
        if (strcmp(text(a, "name"), name) == 0)
            return a;
    return NULL;
}

static void estimate(const json *e)
{
    printf("  %+.4f [%+.4f, %+.4f]", number(e, "value"), number(e, "low"), number(e, "high"));
}

static void show_player(const json *m, const json *worth, const char *metric)
{
    const json *p = named(json_get(worth, "players"), text(m, "name")), *ci;
    double low = NAN, high = NAN;
    ci = json_first(json_get(m, "ci95"));
    json_as_double(ci, &low);
    json_as_double(ci ? json_next(ci) : NULL, &high);
    printf("  %-20.20s %-8s %7.4f [%.4f, %.4f]", text(m, "name"), text(m, "kind"),
           number(m, "mean_abs_contribution"), low, high);
    if (p) {
        estimate(json_get(json_get(p, metric), "shapley"));
        estimate(json_get(json_get(p, metric), "leave_one_out"));
    }
    printf("\n");
}

static double cell(const json *matrix, size_t i, size_t j)
{
    double v = NAN;
    const json *row = json_first(matrix);
    while (row && i--)
        row = json_next(row);
    row = json_first(row);
    while (row && j--)
        row = json_next(row);
    json_as_double(row, &v);
    return v;
}

/* Pairs that lose at least a quarter of what they gain alone. */
static void show_redundancy(const json *pairs)
{
    const json *names = json_get(pairs, "names"), *lost = json_get(pairs, "gain_lost");
    const json *likeness = json_get(pairs, "margin_correlation");
    size_t i = 0;
    for (const json *a = json_first(names); a; a = json_next(a), i++) {
        size_t j = i + 1;
        for (const json *b = json_next(a); b; b = json_next(b), j++) {
            const char *x = "", *y = "";
            double share = cell(lost, i, j);
            json_as_text(a, &x);
            json_as_text(b, &y);
            if (!(share >= 0.25))
                continue;
            printf(
                "  %s and %s overlap: together they lose %.0f%% of what they gain alone",
                x, y, 100 * share);
            if (likeness)
                printf(" (margins correlate at %.2f)", cell(likeness, i, j));
            printf("\n");
        }
    }
}

static double agreed(const json *stability, const char *ranking, const char *metric,
                     const char *over)
{
    const json *r = json_get(stability, ranking);
    return number(json_get(metric ? json_get(r, metric) : r, over), "kendall");
}

static void show_trust(const json *ranking, const char *metric)
{
    const json *s = json_get(ranking, "stability");
    printf(
        "  contribution   what moved the scores of the ensemble as it is; a model and its twin "
        "both count.\n"
        "                 Trust it to explain scores, not to drop models. Kendall's tau over "
        "%.0f seeds %.2f\n",
        number(s, "seeds"), agreed(s, "tree", NULL, "seeds"));
    printf("  Shapley        what a model is worth over all subsets it could join; twins share "
           "one worth.\n"
           "                 Trust it to compare models and to pay for them. Over seeds %.2f, "
           "over folds %.2f\n",
           agreed(s, "shapley", metric, "seeds"), agreed(s, "shapley", metric, "folds"));
    printf(
        "  leave one out  what goes when only this model goes; both of twins show nothing.\n"
        "                 Trust it to drop one model, then rank again. Over seeds %.2f, over "
        "folds %.2f\n",
        agreed(s, "leave_one_out", metric, "seeds"),
        agreed(s, "leave_one_out", metric, "folds"));
}

void show_ranking(const struct workspace *w, const json *ranking)
{
    const json *worth = json_get(ranking, "worth");
    const char *metric = text(worth, "metric");
    (void)w;
    printf("\nWhat each %s is worth: three rankings, 95%% intervals over queries\n",
           text(ranking, "players"));
    printf("  %-20s %-8s %-24s  %-25s  leave one out\n", "", "", "contribution",
           strcmp(metric, "macro_f1") == 0   ? "Shapley of macro-F1"
           : strcmp(metric, "accuracy") == 0 ? "Shapley of accuracy"
                                             : "Shapley of log-loss");
    for (const json *m = json_first(json_get(ranking, "models")); m; m = json_next(m))
        show_player(m, worth, metric);
    show_redundancy(json_get(ranking, "pairs"));
    show_trust(ranking, metric);
}
