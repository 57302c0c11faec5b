/* show_select.c: the selection as text; see show.h. */
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

static void names(const json *list)
{
    if (!json_first(list))
        printf(" nothing");
    for (const json *m = json_first(list); m; m = json_next(m)) {
        const char *name = "";
        json_as_text(m, &name);
        printf(" %s", name);
    }
}

static bool same_names(const json *a, const json *b)
{
    a = json_first(a), b = json_first(b);
    for (; a && b; a = json_next(a), b = json_next(b)) {
        const char *x = "", *y = "";
        json_as_text(a, &x);
        json_as_text(b, &y);
        if (strcmp(x, y) != 0)
            return false;
    }
    return !a && !b;
}

static const json *subset_of(const json *s, const json *models)
{
    for (const json *a = json_first(json_get(s, "subsets")); a; a = json_next(a))
        if (same_names(json_get(a, "models"), models))
            return a;
    return NULL;
}

static void estimate(const json *e, double sign)
{
    printf(" %+.4f [%+.4f, %+.4f]", sign * number(e, "value"),
           sign * number(e, sign < 0 ? "high" : "low"),
           sign * number(e, sign < 0 ? "low" : "high"));
}

static void show_machine(const json *s)
{
    const json *m = json_get(s, "machine");
    bool here = true;
    json_as_bool(json_get(m, "is_this_one"), &here);
    printf("  costs: %s, %.0f threads%s\n", text(m, "cpu"), number(m, "threads"),
           here ? "" : ". That is NOT this machine: 'medley profile' measures here");
}

static void show_subset(const json *s, const char *what, const json *models, const char *metric)
{
    const json *a = subset_of(s, models);
    printf("  %-10s %.4f  %8.2f ms, p99 %8.2f  %8.0f pairs/s/core %7.1f MB ", what,
           number(a, metric), number(a, "latency_ms"), number(a, "latency_p99_ms"),
           number(a, "pairs_per_s_per_core"), number(a, "memory_bytes") / 1e6);
    if (isfinite(number(a, "price")))
        printf(" price %.3g ", number(a, "price"));
    names(models);
    printf("\n");
}

static void show_steps(const json *s, const char *key, const char *verb, const char *metric)
{
    for (const json *d = json_first(json_get(s, key)); d; d = json_next(d)) {
        printf("  %s %-18s %s", verb, text(d, "name"), metric);
        estimate(json_get(d, metric), 1);
        printf("  %+8.2f ms %+7.1f MB\n", number(d, "latency_ms"),
               number(d, "memory_bytes") / 1e6);
    }
}

static void show_down(const json *s)
{
    const json *all = json_get(s, "when_down");
    if (json_count(all) < 2)
        return;
    printf("  when models are down (out of fold, the same ensemble):\n");
    for (const json *d = json_first(all); d; d = json_next(d)) {
        if (json_count(json_get(d, "down")) > 1)
            continue;
        printf("    macro-F1 %.4f  accuracy %.4f  down:", number(d, "macro_f1"),
               number(d, "accuracy"));
        names(json_get(d, "down"));
        printf("\n");
    }
}

void show_selection(const struct workspace *w, const json *s)
{
    const char *metric = text(s, "metric");
    const json *choices = json_get(s, "choices"), *search = json_get(s, "search");
    bool exact = true;
    (void)w;
    json_as_bool(json_get(s, "exact"), &exact);
    printf("\nSelected:");
    names(json_get(s, "selected"));
    printf("\n  against all models (out of fold): %s", metric);
    estimate(json_get(json_get(s, "against_all"), metric), 1);
    printf("\n");
    show_machine(s);
    for (const json *c = json_first(choices); c; c = json_next(c))
        show_subset(s, json_key(c), c, metric);
    show_steps(s, "drop", "drop", metric);
    show_steps(s, "add", "add ", metric);
    if (!exact)
        printf(
            "  %.0f of %.3g subsets were tried; the best of them, whatever it costs, is %.4f "
            "better\n",
            number(search, "tried"), number(search, "of"), number(search, "gap"));
    if (isfinite(number(search, "optimism")))
        printf("  choosing among %.0f subsets on the same rows flatters by about %.4f\n",
               number(search, "tried"), number(search, "optimism"));
    show_down(s);
}
