/* results.c: the tables of metrics: all models and ensembles, differences with their
 * significance, and the same per locale; and a plot of the main metric with its intervals. */
#include "report/page.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* The best value of a metric in both lists; NaN when nobody has it. */
static double best_value(const json *where, const struct metric *m)
{
    static const char *const lists[] = {"models", "ensembles"};
    double best = NAN;
    for (size_t i = 0; i < 2; i++)
        for (const json *r = json_first(json_get(where, lists[i])); r; r = json_next(r)) {
            double v = get_number(r, m->key);
            if (isfinite(v) && (isnan(best) || (m->low_is_good ? v < best : v > best)))
                best = v;
        }
    return best;
}

static void put_interval(struct strbuf *out, const json *pair, int decimals)
{
    double low = NAN, high = NAN;
    json_as_double(json_first(pair), &low);
    if (pair && json_first(pair))
        json_as_double(json_next(json_first(pair)), &high);
    if (!isfinite(low) || !isfinite(high))
        return;
    sb_addz(out, "<small>");
    put_number(out, low, decimals);
    sb_addz(out, "\xE2\x80\x93");
    put_number(out, high, decimals);
    sb_addz(out, "</small>");
}

static void metric_cells(struct page *p, const json *row, const double best[])
{
    const json *intervals = json_get(row, "ci95");
    for (size_t m = 0; report_metrics[m].key; m++) {
        double v = get_number(row, report_metrics[m].key);
        bool is_best = isfinite(v) && fabs(v - best[m]) < 5e-7;
        sb_addz(&p->out, is_best ? "<td class=\"n\"><b>" : "<td class=\"n\">");
        put_number(&p->out, v, 3);
        sb_addz(&p->out, is_best ? "</b>" : "");
        put_interval(&p->out, json_get(intervals, report_metrics[m].key), 3);
        sb_addz(&p->out, "</td>");
    }
}

static void result_rows(struct page *p, const json *list, const double best[], bool ensembles)
{
    for (const json *r = json_first(list); r; r = json_next(r)) {
        open_row(p, ensembles ? "ensemble" : NULL);
        name_cell(p, get_text(r, "name"));
        if (ensembles) {
            sb_addf(&p->out, "<td>ensemble of %zu</td>", json_count(json_get(r, "models")));
        } else {
            text_cell(p, get_text(r, "kind"));
        }
        metric_cells(p, r, best);
        close_row(p);
    }
}

static void result_table(struct page *p, const json *where, const char *caption)
{
    static const char *const head[] = {"Model",        "Kind",      "#Accuracy", "#Macro-F1",
                                       "#Weighted F1", "#Log-loss", NULL};
    double best[8];
    for (size_t m = 0; report_metrics[m].key; m++)
        best[m] = best_value(where, &report_metrics[m]);
    open_table(p, caption);
    head_cells(p, head);
    sb_addz(&p->out, "<tbody>");
    result_rows(p, json_get(where, "models"), best, false);
    result_rows(p, json_get(where, "ensembles"), best, true);
    sb_addz(&p->out, "</tbody>");
    close_table(p);
}

/* ---- the plot ---- */

#define WIDTH 380
#define ROW 26

struct interval {
    double low, value, high;
};

static struct interval interval_of(const json *row, const char *key)
{
    struct interval i = {NAN, get_number(row, key), NAN};
    const json *pair = json_get(json_get(row, "ci95"), key), *first = json_first(pair);
    json_as_double(first, &i.low);
    if (first)
        json_as_double(json_next(first), &i.high);
    if (!isfinite(i.low) || !isfinite(i.high))
        i.low = i.high = i.value;
    return i;
}

static void widen(const json *list, const char *key, double *low, double *high, double *names)
{
    for (const json *r = json_first(list); r; r = json_next(r)) {
        struct interval i = interval_of(r, key);
        if (!isfinite(i.value))
            continue;
        *low = fmin(*low, i.low);
        *high = fmax(*high, i.high);
        *names = fmax(*names, svg_text_width(get_text(r, "name")));
    }
}

static double plot_rows(struct page *p, const json *list, const char *key, const struct axis *a,
                        double y, const char *css)
{
    for (const json *r = json_first(list); r; r = json_next(r)) {
        struct interval i = interval_of(r, key);
        char tip[256], t[3][NUMBER_TEXT];
        if (!isfinite(i.value))
            continue;
        snprintf(tip, sizeof tip, "%.80s: %s (%s to %s)", get_text(r, "name"),
                 number_text(t[0], i.value, 3), number_text(t[1], i.low, 3),
                 number_text(t[2], i.high, 3));
        svg_text(&p->out, a->from - 8, y + 4, "end", "name", get_text(r, "name"), a->from - 12);
        svg_line(&p->out, axis_at(a, i.low), y, axis_at(a, i.high), y, "whisker");
        svg_circle(&p->out, axis_at(a, i.value), y, 5, css, tip);
        y += ROW;
    }
    return y;
}

static void plot_metric(struct page *p, const json *e)
{
    const json *models = json_get(e, "models"), *ensembles = json_get(e, "ensembles");
    double low = INFINITY, high = -INFINITY, names = 40;
    widen(models, "macro_f1", &low, &high, &names);
    widen(ensembles, "macro_f1", &low, &high, &names);
    if (!isfinite(low))
        return;
    size_t rows = json_count(models) + json_count(ensembles);
    double left = fmin(names, 165) + 14, bottom = 12 + ROW * (double)rows;
    struct axis a = axis_linear(low, high, left, WIDTH - 16, 4);
    open_figure(p, "small");
    svg_begin(&p->out, "forest", WIDTH, bottom + 40, "Macro-F1 of models and ensembles",
              "One row a model: the point is its macro-F1, the line its 95% interval.");
    svg_axis_x(&p->out, &a, 4, bottom, "macro-F1 with 95% interval");
    double y = plot_rows(p, models, "macro_f1", &a, 4 + ROW / 2.0, "dot");
    plot_rows(p, ensembles, "macro_f1", &a, y, "dot strong");
    svg_end(&p->out);
    close_figure(
        p, "Points: macro-F1 on held-out queries. Lines: 95% intervals. Ensembles are the "
           "coloured points.");
}

/* ---- differences ---- */

static void put_difference(struct page *p, const json *d)
{
    sb_addz(&p->out, "<td class=\"n\">");
    put_signed(&p->out, get_number(d, "difference"), 3);
    sb_addz(&p->out, "<small>");
    put_signed(&p->out, get_number(d, "low"), 3);
    sb_addz(&p->out, " to ");
    put_signed(&p->out, get_number(d, "high"), 3);
    sb_addz(&p->out, "</small></td><td class=\"n\">");
    double v = get_number(d, "p_value");
    if (v < 0.001)
        sb_addz(&p->out, "&lt; 0.001");
    else
        put_number(&p->out, v, 3);
    sb_addz(&p->out, "</td>");
}

static void difference_table(struct page *p, const json *paired)
{
    static const char *const head[] = {"Compared", "#Accuracy", "#p", "#Macro-F1", "#p", NULL};
    if (json_count(paired) == 0)
        return;
    sb_addz(&p->out, "<h3>Are the differences real?</h3>\n");
    open_table(p, "Differences between pairs of models on the same queries");
    head_cells(p, head);
    sb_addz(&p->out, "<tbody>");
    for (const json *d = json_first(paired); d; d = json_next(d)) {
        open_row(p, NULL);
        sb_addz(&p->out, "<th scope=\"row\">");
        html_escapez(&p->out, get_text(d, "a"));
        sb_addz(&p->out, " \xE2\x88\x92 ");
        html_escapez(&p->out, get_text(d, "b"));
        sb_addz(&p->out, "</th>");
        put_difference(p, json_get(d, "accuracy"));
        put_difference(p, json_get(d, "macro_f1"));
        close_row(p);
    }
    sb_addz(&p->out, "</tbody>");
    close_table(p);
}

void section_results(struct page *p)
{
    const json *e = p->evaluation;
    open_section(p, "results", "Results", NULL);
    if (!e) {
        absent(p, "The models have not been evaluated yet.");
        close_section(p);
        return;
    }
    sb_addz(&p->out, "<p class=\"intro\">Measured on ");
    put_count(&p->out, get_number(e, "n"));
    sb_addz(&p->out, " pairs of the split \xE2\x80\x9C");
    html_escapez(&p->out, get_text(e, "split"));
    sb_addz(&p->out,
            "\xE2\x80\x9D. The best figure of each column is bold; 95% intervals stand below "
            "the figures. Log-loss is better when lower.</p>\n");
    sb_addz(&p->out, "<div class=\"pair\">");
    result_table(p, e, "Models and ensembles on held-out queries");
    plot_metric(p, e);
    sb_addz(&p->out, "</div>\n");
    difference_table(p, json_get(e, "paired"));
    close_section(p);
}

/* ---- locales ---- */

void section_locales(struct page *p)
{
    const json *locales = json_get(p->evaluation, "per_locale");
    open_section(p, "locales", "Per locale", NULL);
    if (json_count(locales) == 0)
        absent(p, p->evaluation ? "The evaluation has no figures per locale."
                                : "There are no figures per locale without an evaluation.");
    for (const json *l = json_first(locales); l; l = json_next(l)) {
        const char *tag = json_key(l);
        sb_addz(&p->out, "<h3>");
        html_escapez(&p->out, tag);
        sb_addz(&p->out, " <span class=\"muted\">");
        put_count(&p->out, get_number(l, "n"));
        sb_addz(&p->out, " pairs</span></h3>\n");
        result_table(p, l, "Models and ensembles in this locale");
    }
    close_section(p);
}
