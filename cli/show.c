/* show.c: see show.h. */
#include "cli/show.h"

#include <stdio.h>
#include <string.h>

static double number(const json *object, const char *key)
{
    double v = 0;
    json_as_double(json_get(object, key), &v);
    return v;
}

static const char *text(const json *object, const char *key)
{
    const char *s = "";
    json_as_text(json_get(object, key), &s);
    return s;
}

static void show_counts(const char *title, const json *counts)
{
    printf("%-10s", title);
    for (const json *c = json_first(counts); c; c = json_next(c)) {
        double v = 0;
        json_as_double(c, &v);
        printf(" %s %.0f", json_key(c), v);
    }
    printf("\n");
}

void show_summary(const struct workspace *w, const json *s)
{
    (void)w;
    printf("%-10s %.0f examples, %.0f queries, %.0f products\n", "read", number(s, "examples"),
           number(s, "queries"), number(s, "products"));
    show_counts("labels", json_get(s, "labels"));
    show_counts("locales", json_get(s, "locales"));
    show_counts("splits", json_get(s, "splits"));
    if (json_get(s, "sources"))
        show_counts("sources", json_get(s, "sources"));
    show_counts("relations", json_get(s, "relations"));
    for (const json *i = json_first(json_get(s, "issues")); i; i = json_next(i))
        printf("issue      %s: %.0f rows (%s)\n", text(i, "kind"), number(i, "count"),
               text(i, "handled"));
}

void show_stack(const struct workspace *w, const json *s)
{
    const json *cv = json_get(s, "cross_validated");
    (void)w;
    printf("ensemble of all models: %.0f rounds; cross-validated on %.0f pairs: accuracy %.4f, "
           "macro-F1 %.4f, log-loss %.4f\n",
           number(s, "rounds"), number(s, "n"), number(cv, "accuracy"), number(cv, "macro_f1"),
           number(cv, "log_loss"));
}

static void show_metrics(const json *list)
{
    for (const json *m = json_first(list); m; m = json_next(m))
        printf("  %-20s %-8s %9.4f %9.4f %11.4f %9.4f\n", text(m, "name"), text(m, "kind"),
               number(m, "accuracy"), number(m, "macro_f1"), number(m, "weighted_f1"),
               number(m, "log_loss"));
}

void show_evaluation(const struct workspace *w, const json *e)
{
    (void)w;
    printf("\nTest split, %.0f pairs of unseen queries\n", number(e, "n"));
    printf("  %-20s %-8s %9s %9s %11s %9s\n", "model", "kind", "accuracy", "macro-F1",
           "weighted-F1", "log-loss");
    show_metrics(json_get(e, "models"));
    show_metrics(json_get(e, "ensembles"));
}
