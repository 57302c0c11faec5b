/* worth.c: what models are worth by refitting: Shapley values and leave one out with intervals,
 * when to trust which ranking, and which models say the same. */
#include "report/page.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define WIDTH 440
#define ROW 30
#define MOST_PLAYERS 16 /* in the matrix; more would be too small to read */

static const json *players_of(const struct page *p)
{
    return json_get(json_get(p->ranking, "worth"), "players");
}

static const json *estimate_of(const struct page *p, const json *player, const char *which)
{
    const char *metric = get_text(json_get(p->ranking, "worth"), "metric");
    return json_get(json_get(player, metric), which);
}

static double left_margin(const json *players)
{
    double widest = 40;
    for (const json *m = json_first(players); m; m = json_next(m))
        widest = fmax(widest, svg_text_width(get_text(m, "name")));
    return fmin(widest, 150) + 14;
}

static void dot(struct page *p, const json *player, const char *which, const struct axis *a,
                double y)
{
    const json *e = estimate_of(p, player, which);
    double v = get_number(e, "value"), low = get_number(e, "low"), high = get_number(e, "high");
    char tip[256], t[3][NUMBER_TEXT];
    svg_text(&p->out, a->from - 8, y + 4, "end", "name", get_text(player, "name"),
             a->from - 12);
    if (!isfinite(v))
        return;
    snprintf(tip, sizeof tip, "%.80s: %s (%s to %s)", get_text(player, "name"),
             number_text(t[0], v, 4), number_text(t[1], low, 4), number_text(t[2], high, 4));
    if (isfinite(low) && isfinite(high))
        svg_line(&p->out, axis_at(a, low), y, axis_at(a, high), y, "whisker");
    bool sure = low > 0 || high < 0;
    svg_circle(&p->out, axis_at(a, v), y, 5, sure ? "dot strong" : "dot strong out", tip);
    svg_text(&p->out, WIDTH - 4, y + 4, "end", "value", number_text(t[0], v, 4), 0);
}

static void dots_plot(struct page *p, const char *which, const char *id, const char *title,
                      const char *caption)
{
    const json *players = players_of(p);
    double low = 0, high = 0, bottom = 8 + ROW * (double)json_count(players), y = 4 + ROW / 2.0;
    char label[80];
    for (const json *m = json_first(players); m; m = json_next(m)) {
        const json *e = estimate_of(p, m, which);
        low = fmin(low, fmin(get_number(e, "low"), get_number(e, "value"))); /* skips NaN */
        high = fmax(high, fmax(get_number(e, "high"), get_number(e, "value")));
    }
    struct axis a = axis_linear(low, high, left_margin(players), WIDTH - 58, 5);
    snprintf(label, sizeof label, "%s",
             metric_name(get_text(json_get(p->ranking, "worth"), "metric")));
    open_figure(p, NULL);
    sb_addf(&p->out, "<h3>%s</h3>\n", title);
    svg_begin(&p->out, id, WIDTH, bottom + 40, title,
              "One dot a model with its 95% interval; hollow ones may be nothing.");
    svg_axis_x(&p->out, &a, 4, bottom, label);
    svg_line(&p->out, axis_at(&a, 0), 4, axis_at(&a, 0), bottom, "zero");
    for (const json *m = json_first(players); m; m = json_next(m), y += ROW)
        dot(p, m, which, &a, y);
    svg_end(&p->out);
    close_figure(p, caption);
}

/* ---- trust ---- */

static void put_agreement(struct page *p, const char *ranking, const char *metric)
{
    const json *r = json_get(json_get(p->ranking, "stability"), ranking);
    if (metric)
        r = json_get(r, metric);
    static const char *const over[] = {"seeds", "folds"};
    for (size_t i = 0; i < 2; i++) {
        double tau = get_number(json_get(r, over[i]), "kendall");
        if (!isfinite(tau))
            continue;
        sb_addf(&p->out, " Rankings over %s agree with Kendall\xE2\x80\x99s tau ", over[i]);
        put_number(&p->out, tau, 2);
        sb_addc(&p->out, '.');
    }
    sb_addz(&p->out, "</dd>\n");
}

static void trust(struct page *p)
{
    const char *metric = get_text(json_get(p->ranking, "worth"), "metric");
    sb_addz(&p->out,
            "<h3>When to trust which ranking</h3>\n<dl><dt>Contribution (above)</dt><dd>What "
            "moved the scores of the ensemble as it is. A model and its twin both "
            "count. Trust it to explain scores, not to drop models.");
    put_agreement(p, "tree", NULL);
    sb_addz(&p->out,
            "<dt>Shapley value of the metric</dt><dd>What a model adds on average over "
            "all subsets that it could join; twins share one worth. Trust it to compare "
            "models and to pay for them.");
    put_agreement(p, "shapley", metric);
    sb_addz(&p->out, "<dt>Leave one out</dt><dd>What goes when only this model goes; both of "
                     "twins show nothing. Trust it to drop one model, then rank again.");
    put_agreement(p, "leave_one_out", metric);
    sb_addz(&p->out, "</dl>\n");
}

/* ---- per locale, band and class ---- */

static void slice_cells(struct page *p, const json *slices, const char *metric)
{
    for (const json *s = json_first(slices); s; s = json_next(s))
        number_cell(p, get_number(json_get(json_get(s, metric), "shapley"), "value"), 4);
}

static void slice_heads(struct page *p, const json *slices, const char *before)
{
    for (const json *s = json_first(slices); s; s = json_next(s)) {
        sb_addf(&p->out, "<th scope=\"col\" class=\"n\">%s", before);
        html_escapez(&p->out, json_key(s));
        sb_addz(&p->out, "</th>");
    }
}

static void slices_table(struct page *p)
{
    const json *worth = json_get(p->ranking, "worth"), *first = json_first(players_of(p));
    const char *metric = get_text(worth, "metric");
    open_details(p, "Shapley values per locale, query frequency and class");
    open_table(
        p,
        "Shapley value of the metric on parts of the pairs, and of each class\xE2\x80\x99s F1");
    sb_addz(&p->out, "<thead><tr><th scope=\"col\">Model</th>");
    slice_heads(p, json_get(first, "per_locale"), "");
    slice_heads(p, json_get(first, "per_band"), "queries with ");
    slice_heads(p, json_get(first, "per_class"), "F1 of ");
    sb_addz(&p->out, "</tr></thead><tbody>\n");
    for (const json *m = json_first(players_of(p)); m; m = json_next(m)) {
        open_row(p, NULL);
        name_cell(p, get_text(m, "name"));
        slice_cells(p, json_get(m, "per_locale"), metric);
        slice_cells(p, json_get(m, "per_band"), metric);
        for (const json *c = json_first(json_get(m, "per_class")); c; c = json_next(c))
            number_cell(p, get_number(json_get(c, "shapley"), "value"), 4);
        close_row(p);
    }
    sb_addz(&p->out, "</tbody>");
    close_table(p);
    sb_addz(&p->out, "<p class=\"muted\">Bands count ");
    html_escapez(&p->out, get_text(worth, "band_of"));
    sb_addz(&p->out, " of a query.</p>\n");
    close_details(p);
}

void section_worth(struct page *p)
{
    open_section(p, "worth", "What each model is worth", NULL);
    if (json_count(players_of(p)) == 0) {
        absent(p, "The worth of models by refitting was not measured yet.");
        close_section(p);
        return;
    }
    const json *worth = json_get(p->ranking, "worth");
    sb_addz(&p->out, "<p class=\"intro\">The ensemble was fitted anew on ");
    put_count(&p->out, get_number(worth, "coalitions"));
    sb_addz(&p->out, get_bool(worth, "exact")
                         ? " subsets of the models, all there are, and measured "
                         : " drawn subsets of the models, and measured ");
    sb_addz(&p->out, "on queries that it had not seen.</p>\n<div class=\"pair\">");
    dots_plot(p, "shapley", "shapley-plot", "Shapley value of the metric",
              "What each model adds, on average over all orders in which the models could "
              "join. Lines "
              "are 95% intervals over queries; hollow dots may be nothing.");
    dots_plot(p, "leave_one_out", "without-plot", "Leave one out",
              "What the ensemble loses when it is refitted without this model.");
    sb_addz(&p->out, "</div>\n");
    trust(p);
    slices_table(p);
    close_section(p);
}

/* ---- pairs ---- */

static double cell_of(const json *matrix, size_t i, size_t j)
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

static void matrix_plot(struct page *p, const char *key, const char *id, const char *title,
                        const char *caption)
{
    const json *names = json_get(json_get(p->ranking, "pairs"), "names");
    const json *matrix = json_get(json_get(p->ranking, "pairs"), key);
    size_t n = longest(names, MOST_PLAYERS);
    const char *name[MOST_PLAYERS];
    double widest = 24;
    size_t i = 0;
    if (!matrix || n < 2)
        return;
    for (const json *v = json_first(names); v && i < n; v = json_next(v), i++) {
        name[i] = "";
        json_as_text(v, &name[i]);
        widest = fmax(widest, svg_text_width(name[i]));
    }
    double left = fmin(widest, 120) + 14, top = 26;
    double size = fmin((WIDTH - left - 4) / (double)n, 70), height = fmin(size, 40);
    open_figure(p, NULL);
    sb_addf(&p->out, "<h3>%s</h3>\n", title);
    svg_begin(&p->out, id, WIDTH, top + height * (double)n + 6, title, caption);
    for (i = 0; i < n; i++) {
        double y = top + height * (double)i;
        svg_text(&p->out, left - 8, y + height / 2 + 4, "end", "name", name[i], left - 12);
        svg_text(&p->out, left + size * ((double)i + 0.5) - 1, top - 10, "middle", "name tiny",
                 name[i], size - 4);
        for (size_t j = 0; j < n; j++) {
            double v = cell_of(matrix, i, j);
            char tip[256], css[16], t[NUMBER_TEXT];
            if (i == j || !isfinite(v))
                continue;
            int level = v <= 0 ? 0 : v >= 1 ? 20 : (int)(20 * v + 0.5);
            snprintf(tip, sizeof tip, "%.80s and %.80s: %s", name[i], name[j],
                     number_text(t, v, 2));
            snprintf(css, sizeof css, "heat h%d", level);
            double x = left + size * (double)j;
            svg_rect(&p->out, x, y, size - 2, height - 2, css, tip);
            svg_text(&p->out, x + size / 2 - 1, y + height / 2 + 4, "middle",
                     level > 9 ? "onheat" : "value", t, 0);
        }
    }
    svg_end(&p->out);
    close_figure(p, caption);
}

static void interactions_table(struct page *p)
{
    const json *pairs = json_get(p->ranking, "pairs"), *names = json_get(pairs, "names");
    static const char *const head[] = {"Pair",
                                       "#Share of gain lost",
                                       "#Margins correlate",
                                       "#Same wrong label",
                                       "#Interaction, metric",
                                       "#Interaction, log-loss",
                                       "#Interaction, margins",
                                       NULL};
    static const char *const keys[] = {
        "gain_lost",          "margin_correlation",   "shared_errors",
        "metric_interaction", "log_loss_interaction", "tree_interaction"};
    open_details(p, "All figures of pairs");
    open_table(p, "Redundancy and interaction of two models");
    head_cells(p, head);
    sb_addz(&p->out, "<tbody>");
    size_t i = 0;
    for (const json *a = json_first(names); a && i < MOST_PLAYERS; a = json_next(a), i++) {
        size_t j = i + 1;
        for (const json *b = json_next(a); b && j < MOST_PLAYERS; b = json_next(b), j++) {
            const char *x = "", *y = "";
            json_as_text(a, &x);
            json_as_text(b, &y);
            open_row(p, NULL);
            sb_addz(&p->out, "<th scope=\"row\">");
            html_escapez(&p->out, x);
            sb_addz(&p->out, " and ");
            html_escapez(&p->out, y);
            sb_addz(&p->out, "</th>");
            for (size_t k = 0; k < 6; k++)
                number_cell(p, cell_of(json_get(pairs, keys[k]), i, j), k < 3 ? 2 : 4);
            close_row(p);
        }
    }
    sb_addz(&p->out, "</tbody>");
    close_table(p);
    close_details(p);
}

void section_pairs(struct page *p)
{
    const json *pairs = json_get(p->ranking, "pairs");
    open_section(p, "pairs", "Which models say the same", NULL);
    if (json_count(json_get(pairs, "names")) < 2) {
        absent(p, "There are no two models to compare.");
        close_section(p);
        return;
    }
    sb_addz(&p->out, "<div class=\"pair\">");
    matrix_plot(
        p, "gain_lost", "lost-plot", "Share of gain lost together",
        "Of what two models gain alone (in log-loss), the share that is lost when they are "
        "together: 0 for models that know different things, 0.5 for twins.");
    matrix_plot(
        p, "margin_correlation", "correlation-plot", "Correlation of margins",
        "How alike the out-of-fold margins of two models are among pairs of the same label.");
    sb_addz(&p->out, "</div>\n");
    interactions_table(p);
    close_section(p);
}
