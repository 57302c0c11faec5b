/* explanation.c: one decision, told: `medley explain --html`, and a part of the report's
 * hardest queries. Reads the JSON of `medley explain --json`. Proof: tests/test_report.c. */
#include "base/error.h"
#include "base/file.h"
#include "report/page.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define WIDTH 480
#define ROW 22
enum { MOST_CLASSES = 16, SHADES = 5 };

static double of_class(const json *values, const char *class)
{
    return get_number(values, class);
}

/* The class second to the label. */
static const char *runner_up(const json *e)
{
    const char *label = get_text(e, "label"), *second = "";
    double most = -1;
    for (const json *c = json_first(json_get(e, "probabilities")); c; c = json_next(c)) {
        double p = NAN;
        if (strcmp(json_key(c), label) != 0 && json_as_double(c, &p) && p > most)
            most = p, second = json_key(c);
    }
    return second;
}

static void put_percent(struct strbuf *out, double share)
{
    put_number(out, 100 * share, share < 0.0995 ? 1 : 0);
    sb_addc(out, '%');
}

static void put_escaped_names(struct page *p, const json *list)
{
    struct strbuf names;
    sb_init(&names);
    put_names(&names, list, ", ");
    html_escape(&p->out, sb_str(&names));
    p->out.failed |= names.failed;
    sb_deinit(&names);
}

static void put_verdict(struct page *p, const json *e)
{
    const json *cascade = json_get(e, "cascade");
    sb_addz(&p->out, "<p class=\"intro\">Label <b>");
    html_escapez(&p->out, get_text(e, "label"));
    sb_addz(&p->out, "</b>, ");
    put_percent(&p->out, of_class(json_get(e, "probabilities"), get_text(e, "label")));
    sb_addz(&p->out, " probable; next comes ");
    html_escapez(&p->out, runner_up(e));
    sb_addz(&p->out, " with ");
    put_percent(&p->out, of_class(json_get(e, "probabilities"), runner_up(e)));
    sb_addz(&p->out, ".");
    if (!get_bool(e, "known_product"))
        sb_addz(&p->out, " The product is unknown: judged by the query alone.");
    if (json_kind_of(cascade) == JSON_OBJECT) {
        sb_addz(&p->out, " Decided at stage ");
        put_count(&p->out, get_number(cascade, "stage"));
        sb_addz(&p->out, " of ");
        put_count(&p->out, get_number(cascade, "of"));
        if (json_count(json_get(cascade, "not_asked"))) {
            sb_addz(&p->out, "; not asked: ");
            put_escaped_names(p, json_get(cascade, "not_asked"));
        }
        sb_addz(&p->out, ".");
    }
    sb_addz(&p->out, "</p>\n");
}

/* ---- what each player added to the label over the runner-up ---- */

static double added(const json *contributions, const char *label, const char *second)
{
    return of_class(contributions, label) - of_class(contributions, second);
}

static void draw_bars(struct page *p, const json *e, const char *id)
{
    const json *models = json_get(e, "models");
    const char *label = get_text(e, "label"), *second = runner_up(e);
    double start = added(json_get(e, "base"), label, second), low = fmin(start, 0),
           high = fmax(start, 0), sum = start, y = 8;
    char title[200];
    for (const json *m = json_first(models); m; m = json_next(m)) {
        sum += added(json_get(m, "contributions"), label, second);
        low = fmin(low, sum), high = fmax(high, sum);
    }
    if (!(high > low) || !isfinite(sum))
        return;
    double bottom = 8 + ROW * (double)(json_count(models) + 2);
    struct axis a = axis_linear(low, high, 104, WIDTH - 56, 5);
    snprintf(title, sizeof title, "From the base to the margin of %.40s over %.40s", label,
             second);
    open_figure(p, NULL);
    svg_begin(&p->out, id, WIDTH, bottom + 38, title,
              "One bar a model: where it begins the models above have ended.");
    svg_axis_x(&p->out, &a, 4, bottom, title + strlen("From the base to the "));
    svg_line(&p->out, axis_at(&a, 0), 4, axis_at(&a, 0), bottom, "zero");
    sum = 0;
    const json *m = NULL;
    for (size_t i = 0; i <= json_count(models) + 1; i++, y += ROW) {
        bool last = i == json_count(models) + 1;
        m = i == 1 ? json_first(models) : m && i > 1 ? json_next(m) : NULL;
        double v = i == 0 ? start
                   : last ? sum
                          : added(json_get(m, "contributions"), label, second);
        double from = last ? 0 : sum, to = last ? sum : sum + v;
        const char *name = i == 0 ? "base" : last ? "margin" : get_text(m, "name");
        if (!last && !isfinite(v))
            continue;
        svg_text(&p->out, a.from - 8, y + ROW / 2.0 + 4, "end", last ? "value" : "name", name,
                 92);
        svg_rect(&p->out, fmin(axis_at(&a, from), axis_at(&a, to)), y + 4,
                 fmax(fabs(axis_at(&a, to) - axis_at(&a, from)), 1), ROW - 8,
                 last || i == 0 ? "bar faint"
                 : v >= 0       ? "c0"
                                : "c5",
                 NULL);
        struct strbuf text;
        sb_init(&text);
        put_signed(&text, v, 3);
        svg_text(&p->out, fmax(axis_at(&a, from), axis_at(&a, to)) + 4, y + ROW / 2.0 + 4,
                 "start", "value", text.s ? text.s : "", 0);
        p->out.failed |= text.failed;
        sb_deinit(&text);
        sum = last ? sum : to;
    }
    svg_end(&p->out);
    close_figure(p, "Each bar begins where the one above ends; they sum exactly.");
}

/* ---- tables ---- */

static void class_heads(struct page *p, const json *e, const char *first)
{
    sb_addz(&p->out, "<thead><tr><th scope=\"col\">");
    html_escapez(&p->out, first);
    sb_addz(&p->out, "</th>");
    for (const json *c = json_first(json_get(e, "probabilities")); c; c = json_next(c)) {
        sb_addz(&p->out, "<th scope=\"col\" class=\"n\">");
        html_escapez(&p->out, json_key(c));
        sb_addz(&p->out, "</th>");
    }
    sb_addz(&p->out, "</tr></thead><tbody>");
}

static void class_row(struct page *p, const json *e, const char *name, const json *values,
                      bool is_signed, const char *css)
{
    open_row(p, css);
    name_cell(p, name);
    for (const json *c = json_first(json_get(e, "probabilities")); c; c = json_next(c)) {
        double v = of_class(values, json_key(c));
        sb_addz(&p->out, "<td class=\"n\">");
        if (is_signed)
            put_signed(&p->out, v, 4);
        else
            put_number(&p->out, v, 3);
        sb_addz(&p->out, "</td>");
    }
    close_row(p);
}

static void models_table(struct page *p, const json *e)
{
    open_table(p, "What each model says by itself, and the ensemble of them");
    class_heads(p, e, "Model");
    for (const json *m = json_first(json_get(e, "models")); m; m = json_next(m)) {
        char name[160];
        if (strcmp(get_text(m, "kind"), "context") == 0)
            continue;
        snprintf(name, sizeof name, "%.100s%s", get_text(m, "name"),
                 get_bool(m, "answered") ? "" : " (not asked)");
        class_row(p, e, name, json_get(m, "probabilities"), false, NULL);
    }
    class_row(p, e, "ensemble", json_get(e, "probabilities"), false, "chosen");
    sb_addz(&p->out, "</tbody>");
    close_table(p);
}

static void contributions_table(struct page *p, const json *e)
{
    open_table(p, "What each adds to the margin of every class; columns sum to the margin");
    class_heads(p, e, "Contribution");
    class_row(p, e, "base", json_get(e, "base"), true, NULL);
    for (const json *m = json_first(json_get(e, "models")); m; m = json_next(m))
        class_row(p, e, get_text(m, "name"), json_get(m, "contributions"), true, NULL);
    class_row(p, e, "margin", json_get(e, "margins"), true, "chosen");
    sb_addz(&p->out, "</tbody>");
    close_table(p);
}

static void put_interaction(struct page *p, const json *e)
{
    const json *top = json_first(json_get(e, "interactions"));
    const char *names[2] = {"", ""};
    const json *who = json_get(top, "players");
    double v = of_class(json_get(top, "values"), get_text(e, "label"));
    json_as_text(json_first(who), &names[0]);
    json_as_text(json_first(who) ? json_next(json_first(who)) : NULL, &names[1]);
    if (!top || !isfinite(v))
        return;
    sb_addz(&p->out, "<p>What mattered most together: <b>");
    html_escapez(&p->out, names[0]);
    sb_addz(&p->out, "</b> and <b>");
    html_escapez(&p->out, names[1]);
    sb_addz(&p->out, "</b> move ");
    html_escapez(&p->out, get_text(e, "label"));
    sb_addz(&p->out, " by ");
    put_signed(&p->out, v, 4);
    sb_addz(&p->out, " beyond what either does without the other.</p>\n");
}

/* ---- words ---- */

/* p1 .. p5 speak for the label, m1 .. m5 against it. */
static void put_word(struct page *p, const json *word, const char *label, double most)
{
    double v = of_class(json_get(word, "values"), label);
    bool known = isfinite(v) && isfinite(most) && most > 0;
    int shade = known ? (int)ceil(SHADES * fabs(v) / most - 0.25) : 0;
    char t[NUMBER_TEXT];
    if (strcmp(get_text(word, "part"), "frame") == 0)
        return;
    shade = shade > SHADES ? SHADES : shade;
    sb_addf(&p->out, "<span class=\"w %c%d\" title=\"%s\">", v < 0 ? 'm' : 'p',
            shade < 0 ? 0 : shade, number_text(t, v, 4));
    html_escapez(&p->out, get_text(word, "text"));
    sb_addz(&p->out, "</span> ");
}

static void put_words(struct page *p, const json *e)
{
    static const char *const parts[] = {"query", "product"};
    const json *tokens = json_get(e, "tokens"), *words = json_get(tokens, "words");
    const char *label = get_text(e, "label");
    double most = 0;
    if (json_count(words) == 0)
        return;
    for (const json *w = json_first(words); w; w = json_next(w))
        most = fmax(most, fabs(of_class(json_get(w, "values"), label)));
    sb_addz(&p->out, "<h3>Words that moved <code>");
    html_escapez(&p->out, get_text(tokens, "model"));
    sb_addz(&p->out, "</code></h3>\n");
    for (size_t i = 0; i < 2; i++) {
        sb_addf(&p->out, "<p class=\"words\"><small>%s</small> ", parts[i]);
        for (const json *w = json_first(words); w; w = json_next(w))
            if (strcmp(get_text(w, "part"), parts[i]) == 0)
                put_word(p, w, label, most);
        sb_addz(&p->out, "</p>\n");
    }
    sb_addz(&p->out, "<p class=\"muted\">Blue speaks for ");
    html_escapez(&p->out, label);
    sb_addz(&p->out, ", orange against it. The words sum to ");
    put_signed(&p->out,
               of_class(json_get(tokens, "output"), label) -
                   of_class(json_get(tokens, "masked"), label),
               3);
    sb_addz(&p->out, ": the model's margin here (");
    put_signed(&p->out, of_class(json_get(tokens, "output"), label), 3);
    sb_addz(&p->out, ") less that of the same pair with every word masked (");
    put_signed(&p->out, of_class(json_get(tokens, "masked"), label), 3);
    sb_addz(&p->out, ").</p>\n");
}

/* ---- neighbours ---- */

static void put_side(struct page *p, const json *side, const char *what)
{
    sb_addf(&p->out, "<div class=\"scroll\" tabindex=\"0\"><p><b>%s</b>: ", what);
    if (!get_bool(side, "known")) {
        sb_addz(&p->out, "new to the graph, compared by its text</p></div>\n");
        return;
    }
    put_count(&p->out, get_number(side, "count"));
    sb_addz(&p->out, get_number(side, "count") == 1 ? " neighbour</p>" : " neighbours</p>");
    sb_addz(&p->out, "<ul class=\"near\">");
    for (const json *n = json_first(json_get(side, "nearest")); n; n = json_next(n)) {
        sb_addz(&p->out, "<li>");
        html_escapez(&p->out, get_text(n, "text"));
        sb_addz(&p->out, " <small>");
        put_escaped_names(p, json_get(n, "relations"));
        sb_addz(&p->out, ", alike ");
        put_number(&p->out, get_number(n, "likeness"), 2);
        sb_addz(&p->out, "</small></li>");
    }
    sb_addz(&p->out, "</ul></div>\n");
}

static void put_neighbours(struct page *p, const json *e)
{
    for (const json *g = json_first(json_get(e, "neighbours")); g; g = json_next(g)) {
        sb_addz(&p->out, "<h3>What <code>");
        put_escaped_names(p, json_get(g, "models"));
        sb_addz(&p->out, "</code> saw in the graph</h3>\n");
        if (get_bool(g, "linked"))
            sb_addz(&p->out, "<p>Query and product are linked; that edge is hidden.</p>\n");
        sb_addz(&p->out, "<div class=\"columns\">");
        put_side(p, json_get(g, "query"), "Near the query");
        put_side(p, json_get(g, "product"), "Near the product");
        sb_addz(&p->out, "</div>\n");
    }
}

void put_explanation(struct page *p, const json *e, const char *id)
{
    put_verdict(p, e);
    draw_bars(p, e, id);
    put_words(p, e);
    put_interaction(p, e);
    models_table(p, e);
    open_details(p, "Contributions to every class");
    contributions_table(p, e);
    close_details(p);
    put_neighbours(p, e);
}

static const char reading_one[] =
    "<section id=\"reading\"><h2>How to read this</h2><p>A margin is the score of a class "
    "before "
    "it becomes a probability. The base is what the ensemble says of any pair; every model "
    "then adds "
    "its Shapley value, the fair share of what it changes over all orders of asking, and the "
    "sum is the margin, exactly. Contributions say what moved this decision. They do not say "
    "what would happen without the model: of two that say the same each gets half of the "
    "credit, and "
    "either could be missed. Words are integrated gradients of one language model, in "
    "its own log-odds, not in those of the ensemble.</p></section>\n";

medley_status explanation_write(const json *e, const char *path, medley_error *err)
{
    struct report_input in = {.bundle = get_text(e, "bundle")};
    struct page p = {.in = &in};
    struct strbuf title;
    sb_init(&p.out);
    sb_init(&title);
    sb_addf(&title, "%s: %s", get_text(e, "query"),
            *get_text(e, "title") ? get_text(e, "title") : get_text(e, "product"));
    page_head(&p, title.s ? title.s : "");
    sb_addz(&p.out, "<header><h1>");
    html_escape(&p.out, sb_str(&title));
    sb_addz(&p.out, "</h1>\n<p class=\"muted\">Product <code>");
    html_escapez(&p.out, get_text(e, "product"));
    sb_addz(&p.out, "</code>, bundle <code>");
    html_escapez(&p.out, get_text(e, "bundle"));
    sb_addz(&p.out, "</code></p></header>\n<main>\n");
    open_section(&p, "why", "Why this label", NULL);
    put_explanation(&p, e, "why-plot");
    close_section(&p);
    sb_addz(&p.out, reading_one);
    page_foot(&p);
    medley_status st = p.out.failed || title.failed ? fail_memory(err, "an explanation")
                                                    : file_write(path, p.out.s, p.out.n, err);
    sb_deinit(&title);
    sb_deinit(&p.out);
    return st;
}
