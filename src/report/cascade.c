/* cascade.c: models in stages: what stopping early saves and loses. */
#include "report/page.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define WIDTH 480
#define HEIGHT 300

/* What is saved: 0 nothing, 0.5 half. */
static double saved(const json *run, bool time)
{
    return time ? 1 - get_number(run, "cost_ms") / get_number(run, "cost_ms_full")
                : 1 - get_number(run, "evaluations") / get_number(run, "evaluations_full");
}

static double changed(const json *run)
{
    return get_number(json_get(json_get(run, "against_full"), "macro_f1"), "value");
}

static void draw_series(struct page *p, const json *curve, const char *which, bool time,
                        const struct axis *x, const struct axis *y, const char *css)
{
    for (const json *c = json_first(curve); c; c = json_next(c)) {
        const json *run = json_get(c, which);
        double s = saved(run, time), f = changed(run);
        char tip[160], t[2][NUMBER_TEXT];
        if (!isfinite(s) || !isfinite(f))
            continue;
        snprintf(tip, sizeof tip, "%s: %s%% saved, macro-F1 %s",
                 strcmp(which, "test") == 0 ? "test split" : "out of fold",
                 number_text(t[0], 100 * s, 0), number_text(t[1], f, 4));
        if (get_bool(c, "chosen"))
            svg_circle(&p->out, axis_at(x, 100 * s), axis_at(y, f), 9, "ring", NULL);
        svg_circle(&p->out, axis_at(x, 100 * s), axis_at(y, f), 4, css, tip);
    }
}

static void draw_curve(struct page *p, const json *c, bool time)
{
    const json *curve = json_get(c, "curve");
    static const char *const series[] = {"out_of_fold", "test"};
    double low = 0, high = 0, loss = get_number(c, "loss");
    for (const json *a = json_first(curve); a; a = json_next(a))
        for (size_t i = 0; i < 2; i++) {
            double v = changed(json_get(a, series[i]));
            low = fmin(low, v), high = fmax(high, v); /* skip NaN */
        }
    struct axis x = axis_linear(0, 100, 58, WIDTH - 14, 5);
    struct axis y = axis_linear(fmax(low, -1), fmin(high, 1), HEIGHT - 42, 28, 6);
    open_figure(p, "wide");
    sb_addz(&p->out,
            "<ul class=\"legend\"><li><i class=\"c0\"></i>out of fold (thresholds are chosen "
            "here)</li><li><i class=\"c1\"></i>test split</li></ul>\n");
    svg_begin(
        &p->out, "cascade-plot", WIDTH, HEIGHT, "What stopping early saves and loses",
        "One point a set of thresholds: what is saved to the right, the change of macro-F1 "
        "upwards; rings mark the chosen one.");
    svg_axis_x(&p->out, &x, 28, HEIGHT - 42,
               time ? "processor time saved, %" : "evaluations of models saved, %");
    svg_axis_y(&p->out, &y, x.from, x.to, "change of macro-F1");
    if (isfinite(loss))
        svg_line(&p->out, x.from, axis_at(&y, -loss), x.to, axis_at(&y, -loss), "budget");
    draw_series(p, curve, "out_of_fold", time, &x, &y, "c0");
    draw_series(p, curve, "test", time, &x, &y, "c1");
    svg_end(&p->out);
    close_figure(
        p, "Against all stages for every pair. The broken line is the loss that was allowed.");
}

static void put_thresholds(struct page *p, const json *thresholds)
{
    const char *joint = "";
    sb_addz(&p->out, "<td>");
    for (const json *t = json_first(thresholds); t; t = json_next(t)) {
        double v;
        if (!json_as_double(t, &v))
            continue;
        sb_addz(&p->out, joint);
        html_escapez(&p->out, json_key(t));
        sb_addc(&p->out, ' ');
        put_number(&p->out, v, 2);
        joint = ", ";
    }
    sb_addz(&p->out, *joint ? "</td>" : "never</td>");
}

static void stages_table(struct page *p, const json *c)
{
    static const char *const head[] = {"Stage",
                                       "#Time, ms a pair",
                                       "#Macro-F1 so far",
                                       "#Pairs that stop",
                                       "Stop at a margin of",
                                       NULL};
    const json *share = json_first(json_get(json_get(c, "test"), "stopped"));
    open_table(p, "Stages in their order; shares are of the test split");
    head_cells(p, head);
    sb_addz(&p->out, "<tbody>");
    for (const json *s = json_first(json_get(c, "stages")); s; s = json_next(s)) {
        double stop = NAN;
        json_as_double(share, &stop);
        open_row(p, NULL);
        name_cell(p, get_text(s, "model"));
        sb_addz(&p->out, "<td class=\"n\">");
        put_milliseconds(&p->out, get_number(s, "cost_ms"));
        sb_addz(&p->out, "</td>");
        number_cell(p, get_number(s, "macro_f1"), 3);
        sb_addz(&p->out, "<td class=\"n\">");
        put_number(&p->out, 100 * stop, 1);
        sb_addz(&p->out, "%</td>");
        if (json_next(s))
            put_thresholds(p, json_get(s, "thresholds"));
        else
            text_cell(p, "all that are left");
        close_row(p);
        share = share ? json_next(share) : NULL;
    }
    sb_addz(&p->out, "</tbody>");
    close_table(p);
}

static void put_result(struct page *p, const json *run)
{
    const json *d = json_get(json_get(run, "against_full"), "macro_f1");
    sb_addz(&p->out, "<p class=\"intro\">On the test split a pair needs ");
    put_number(&p->out, get_number(run, "evaluations"), 2);
    sb_addz(&p->out, " of ");
    put_count(&p->out, get_number(run, "evaluations_full"));
    sb_addz(&p->out, " models and ");
    put_milliseconds(&p->out, get_number(run, "cost_ms"));
    sb_addz(&p->out, " of ");
    put_milliseconds(&p->out, get_number(run, "cost_ms_full"));
    sb_addz(&p->out, " ms; macro-F1 changes by <b>");
    put_signed(&p->out, get_number(d, "value"), 4);
    sb_addz(&p->out, "</b> (95% interval ");
    put_signed(&p->out, get_number(d, "low"), 4);
    sb_addz(&p->out, " to ");
    put_signed(&p->out, get_number(d, "high"), 4);
    sb_addz(&p->out, ").</p>\n");
}

void section_cascade(struct page *p)
{
    const json *c = p->cascade;
    open_section(p, "cascade", "Cheap models first", NULL);
    if (json_count(json_get(c, "stages")) == 0) {
        absent(p, "No cascade was made yet.");
    } else {
        put_result(p, json_get(c, "test"));
        draw_curve(p, c, strcmp(get_text(c, "save"), "models") != 0);
        stages_table(p, c);
    }
    close_section(p);
}
