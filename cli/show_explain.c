/* show_explain.c: an explanation for the terminal, from the JSON of `medley explain --json`. */
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
    const char *v = "";
    json_as_text(json_get(object, key), &v);
    return v;
}

static bool flag(const json *object, const char *key)
{
    bool v = false;
    json_as_bool(json_get(object, key), &v);
    return v;
}

/* A line: a name, and a number for each class. */
static void print_line(const json *e, const char *name, const json *values, const char *format)
{
    printf("%-20s", name);
    for (const json *c = json_first(json_get(e, "probabilities")); c; c = json_next(c)) {
        double v = number(values, json_key(c));
        if (isnan(v))
            printf(" %9s", "-");
        else
            printf(format, v);
    }
    printf("\n");
}

static void print_names(const json *list)
{
    for (const json *m = json_first(list); m; m = json_next(m)) {
        const char *name = "";
        json_as_text(m, &name);
        printf(" %s", name);
    }
}

static void print_head(const json *e)
{
    const json *cascade = json_get(e, "cascade");
    printf("label %s%s", text(e, "label"),
           flag(e, "known_product") ? ""
                                    : " (the product is unknown: judged by the query alone)");
    if (number(e, "list_size") > 1)
        printf(", in a list of %.0f", number(e, "list_size"));
    if (json_kind_of(cascade) == JSON_OBJECT) {
        printf(", at stage %.0f of %.0f", number(cascade, "stage"), number(cascade, "of"));
        if (json_count(json_get(cascade, "not_asked"))) {
            printf("; not asked:");
            print_names(json_get(cascade, "not_asked"));
        }
    }
    printf("\n\n%-20s", "");
    for (const json *c = json_first(json_get(e, "probabilities")); c; c = json_next(c))
        printf(" %9.9s", json_key(c));
    printf("\n");
}

static void print_models(const json *e)
{
    print_line(e, "probability", json_get(e, "probabilities"), " %9.4f");
    for (const json *m = json_first(json_get(e, "models")); m; m = json_next(m)) {
        char name[40];
        if (strcmp(text(m, "kind"), "context") == 0)
            continue;
        snprintf(name, sizeof name, "  %.17s", text(m, "name"));
        print_line(e, name, json_get(m, "probabilities"), " %9.4f");
    }
    printf("\n");
    print_line(e, "base", json_get(e, "base"), " %+9.4f");
    for (const json *m = json_first(json_get(e, "models")); m; m = json_next(m)) {
        char name[40];
        snprintf(name, sizeof name, "+ %.17s", text(m, "name"));
        print_line(e, name, json_get(m, "contributions"), " %+9.4f");
    }
    print_line(e, "= margin", json_get(e, "margins"), " %+9.4f");
}

static void print_interaction(const json *e)
{
    const json *top = json_first(json_get(e, "interactions"));
    if (!top)
        return;
    printf("\nmattered most together:");
    print_names(json_get(top, "players"));
    printf(", %+.4f of the margin of %s\n", number(json_get(top, "values"), text(e, "label")),
           text(e, "label"));
}

static void print_side(const json *side, const char *what)
{
    if (!flag(side, "known")) {
        printf("  near the %s: it is new to the graph, compared by its text\n", what);
        return;
    }
    printf("  near the %s: %.0f\n", what, number(side, "count"));
    for (const json *n = json_first(json_get(side, "nearest")); n; n = json_next(n)) {
        printf("    %5.2f  %-7s %.70s (", number(n, "likeness"), text(n, "kind"),
               text(n, "text"));
        const char *joint = "";
        for (const json *r = json_first(json_get(n, "relations")); r; r = json_next(r)) {
            const char *name = "";
            json_as_text(r, &name);
            printf("%s%s", joint, name);
            joint = ", ";
        }
        printf(")\n");
    }
}

static void print_neighbours(const json *e)
{
    for (const json *g = json_first(json_get(e, "neighbours")); g; g = json_next(g)) {
        printf("\nseen in the graph by");
        print_names(json_get(g, "models"));
        printf("%s\n", flag(g, "linked") ? " (the pair's own edge is hidden)" : "");
        print_side(json_get(g, "query"), "query");
        print_side(json_get(g, "product"), "product");
    }
}

static void print_words(const json *e)
{
    static const char *const parts[] = {"query", "product"};
    const json *t = json_get(e, "tokens");
    const char *label = text(e, "label");
    if (json_kind_of(t) != JSON_OBJECT)
        return;
    printf("\nwords that moved %s for or against %s: %+.3f in all, from %+.3f without words to "
           "%+.3f\n",
           text(t, "model"), label,
           number(json_get(t, "output"), label) - number(json_get(t, "masked"), label),
           number(json_get(t, "masked"), label), number(json_get(t, "output"), label));
    for (size_t i = 0; i < 2; i++) {
        printf("  %s:", parts[i]);
        for (const json *w = json_first(json_get(t, "words")); w; w = json_next(w))
            if (strcmp(text(w, "part"), parts[i]) == 0)
                printf(" %s%+.2f", text(w, "text"), number(json_get(w, "values"), label));
        printf("\n");
    }
}

void show_explanation(const json *e)
{
    print_head(e);
    print_models(e);
    print_interaction(e);
    print_neighbours(e);
    print_words(e);
}
