/* ranking.c: how much each model contributes: bars with intervals, and the same split by class.
 */
#include "report/page.h"

#include <math.h>
#include <stdio.h>

#define WIDTH 440
#define ROW 30

static const json *models_of(const struct page *p)
{
    return json_get(p->ranking, "models");
}

static double left_margin(const json *models)
{
    double widest = 40;
    for (const json *m = json_first(models); m; m = json_next(m))
        widest = fmax(widest, svg_text_width(get_text(m, "name")));
    return fmin(widest, 185) + 14;
}

static void interval(const json *m, double *low, double *high)
{
    const json *pair = json_get(m, "ci95"), *first = json_first(pair);
    *low = *high = NAN;
    json_as_double(first, low);
    if (first)
        json_as_double(json_next(first), high);
}

static void bar(struct page *p, const json *m, const struct axis *a, double y)
{
    double v = get_number(m, "mean_abs_contribution"), low, high;
    char tip[256], t[3][NUMBER_TEXT];
    interval(m, &low, &high);
    bool context = get_text(m, "kind")[0] == 'c' && find_named(models_of(p), "context") == m;
    snprintf(tip, sizeof tip, "%.80s: %s (%s to %s)", get_text(m, "name"),
             number_text(t[0], v, 4), number_text(t[1], low, 4), number_text(t[2], high, 4));
    svg_text(&p->out, a->from - 8, y + 4, "end", "name", get_text(m, "name"), a->from - 12);
    if (!isfinite(v))
        return;
    svg_rect(&p->out, a->from, y - 9, axis_at(a, v) - a->from, 18,
             context ? "bar faint" : "bar", tip);
    double end = axis_at(a, v);
    if (isfinite(low) && isfinite(high)) {
        end = fmax(end, axis_at(a, high));
        svg_line(&p->out, axis_at(a, low), y, axis_at(a, high), y, "whisker");
        svg_line(&p->out, axis_at(a, low), y - 4, axis_at(a, low), y + 4, "whisker");
        svg_line(&p->out, axis_at(a, high), y - 4, axis_at(a, high), y + 4, "whisker");
    }
    svg_text(&p->out, end + 7, y + 4, "start", "value", number_text(t[0], v, 3), 0);
}

static void ranking_plot(struct page *p)
{
    const json *models = models_of(p);
    double most = 0, bottom = 8 + ROW * (double)json_count(models), y = 4 + ROW / 2.0;
    for (const json *m = json_first(models); m; m = json_next(m)) {
        double low, high;
        interval(m, &low, &high);
        most = fmax(most, fmax(get_number(m, "mean_abs_contribution"), high)); /* skips NaN */
    }
    struct axis a = axis_linear(0, most, left_margin(models), WIDTH - 52, 5);
    open_figure(p, NULL);
    svg_begin(&p->out, "ranking-plot", WIDTH, bottom + 40, "Contribution of each model",
              "One bar a model, the most important first; lines are 95% intervals.");
    svg_axis_x(&p->out, &a, 4, bottom, "mean |contribution| to the ensemble's margins");
    for (const json *m = json_first(models); m; m = json_next(m), y += ROW)
        bar(p, m, &a, y);
    svg_end(&p->out);
    close_figure(
        p, "Mean absolute Shapley value of each model, with its 95% interval over queries. "
           "\xE2\x80\x9C"
           "context\xE2\x80\x9D stands for all other features together.");
}

/* The figures behind both plots. */
static void ranking_table(struct page *p)
{
    const json *labels = json_get(p->ranking, "labels");
    open_details(p, "The figures as a table");
    open_table(p, "Contribution of each model, in all and per class");
    sb_addz(&p->out, "<thead><tr><th scope=\"col\">Model</th><th scope=\"col\">Kind</th>"
                     "<th scope=\"col\" class=\"n\">All</th>"
                     "<th scope=\"col\" class=\"n\">95% interval</th>");
    for (const json *l = json_first(labels); l; l = json_next(l)) {
        const char *text = "";
        json_as_text(l, &text);
        sb_addz(&p->out, "<th scope=\"col\" class=\"n\">");
        html_escapez(&p->out, text);
        sb_addz(&p->out, "</th>");
    }
    sb_addz(&p->out, "</tr></thead><tbody>\n");
    for (const json *m = json_first(models_of(p)); m; m = json_next(m)) {
        double low, high;
        interval(m, &low, &high);
        open_row(p, NULL);
        name_cell(p, get_text(m, "name"));
        text_cell(p, get_text(m, "kind"));
        number_cell(p, get_number(m, "mean_abs_contribution"), 4);
        sb_addz(&p->out, "<td class=\"n\">");
        put_number(&p->out, low, 4);
        sb_addz(&p->out, " to ");
        put_number(&p->out, high, 4);
        sb_addz(&p->out, "</td>");
        for (const json *l = json_first(labels); l; l = json_next(l)) {
            const char *text = "";
            json_as_text(l, &text);
            number_cell(p, get_number(json_get(m, "per_class"), text), 4);
        }
        close_row(p);
    }
    sb_addz(&p->out, "</tbody>");
    close_table(p);
    close_details(p);
}

void section_ranking(struct page *p)
{
    open_section(p, "ranking", "Which models matter", NULL);
    if (json_count(models_of(p)) == 0) {
        absent(p, "The models have not been ranked yet.");
    } else {
        ranking_plot(p);
        ranking_table(p);
    }
    close_section(p);
}

/* ---- per class ---- */

static double class_sum(const json *m, const json *labels)
{
    double sum = 0;
    for (const json *l = json_first(labels); l; l = json_next(l)) {
        const char *text = "";
        json_as_text(l, &text);
        double v = get_number(json_get(m, "per_class"), text);
        sum += v > 0 ? v : 0;
    }
    return sum;
}

static void stack(struct page *p, const json *m, const json *labels, const struct axis *a,
                  double y)
{
    double before = 0;
    size_t i = 0;
    svg_text(&p->out, a->from - 8, y + 4, "end", "name", get_text(m, "name"), a->from - 12);
    for (const json *l = json_first(labels); l; l = json_next(l), i++) {
        const char *text = "";
        char tip[256], css[16], t[NUMBER_TEXT];
        json_as_text(l, &text);
        double v = get_number(json_get(m, "per_class"), text);
        if (!(v > 0))
            continue;
        snprintf(tip, sizeof tip, "%.80s, %.40s: %s", get_text(m, "name"), text,
                 number_text(t, v, 4));
        snprintf(css, sizeof css, "c%zu", i % REPORT_COLOURS);
        double x = axis_at(a, before), end = axis_at(a, before + v);
        svg_rect(&p->out, x, y - 9, end - x - 1, 18, css,
                 tip); /* 1: a gap between neighbours */
        before += v;
    }
}

void section_contributions(struct page *p)
{
    const json *models = models_of(p), *labels = json_get(p->ranking, "labels");
    open_section(p, "classes", "What each model decides", NULL);
    double most = 0, bottom = 8 + ROW * (double)json_count(models), y = 4 + ROW / 2.0;
    for (const json *m = json_first(models); m; m = json_next(m))
        most = fmax(most, class_sum(m, labels));
    if (!(most > 0)) {
        absent(p, "There are no contributions per class.");
        close_section(p);
        return;
    }
    struct axis a = axis_linear(0, most, left_margin(models), WIDTH - 14, 5);
    open_figure(p, NULL);
    legend(p, labels);
    svg_begin(
        &p->out, "class-plot", WIDTH, bottom + 40, "Contribution of each model per class",
        "One bar a model, divided by class; the figures are in the table of the ranking.");
    svg_axis_x(&p->out, &a, 4, bottom, "mean |contribution|, summed over classes");
    for (const json *m = json_first(models); m; m = json_next(m), y += ROW)
        stack(p, m, labels, &a, y);
    svg_end(&p->out);
    close_figure(
        p, "How far each model moves the margin of each class. A model that is weak in all "
           "may still be the one that tells two classes apart.");
    close_section(p);
}
