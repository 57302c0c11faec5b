/* calibration.c: can the probabilities be believed? Reliability before and after, and what
 * other ways to decide are worth. */
#include "report/page.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define WIDTH 400
#define HEIGHT 320

static void draw_bins(struct page *p, const json *bins, const char *what, const char *css,
                      const struct axis *x, const struct axis *y)
{
    double before_x = NAN, before_y = NAN;
    for (const json *b = json_first(bins); b; b = json_next(b)) {
        double confidence = get_number(b, "confidence"), accuracy = get_number(b, "accuracy");
        char tip[160], t[2][NUMBER_TEXT], line[32];
        if (!isfinite(confidence) || !isfinite(accuracy))
            continue;
        snprintf(tip, sizeof tip, "%s: said %s, true %s", what,
                 number_text(t[0], confidence, 3), number_text(t[1], accuracy, 3));
        double cx = axis_at(x, confidence), cy = axis_at(y, accuracy);
        snprintf(line, sizeof line, "line %.8s", css);
        if (isfinite(before_x))
            svg_line(&p->out, before_x, before_y, cx, cy, line);
        svg_circle(&p->out, cx, cy, 4, css, tip);
        before_x = cx, before_y = cy;
    }
}

static void reliability_plot(struct page *p, const char *part, const char *id,
                             const char *title)
{
    const json *methods = json_get(p->calibration, "methods");
    const char *best = get_text(p->calibration, "method");
    const json *before = json_get(json_get(find_named(methods, "none"), part), "bins");
    const json *after = json_get(json_get(find_named(methods, best), part), "bins");
    struct axis x = axis_linear(0, 1, 44, WIDTH - 14, 5);
    struct axis y = axis_linear(0, 1, HEIGHT - 42, 28, 5);
    open_figure(p, NULL);
    sb_addf(&p->out, "<h3>%s</h3>\n<ul class=\"legend\"><li><i class=\"c1\"></i>as it is</li>",
            title);
    if (strcmp(best, "none") != 0) {
        sb_addz(&p->out, "<li><i class=\"c0\"></i>after ");
        html_escapez(&p->out, best);
        sb_addz(&p->out, "</li>");
    }
    sb_addz(&p->out, "</ul>\n");
    svg_begin(&p->out, id, WIDTH, HEIGHT, title,
              "Confidence to the right, accuracy upwards; on the diagonal they are the same.");
    svg_axis_x(&p->out, &x, 28, HEIGHT - 42, "probability of the label given");
    svg_axis_y(&p->out, &y, x.from, x.to, "share that is right");
    svg_line(&p->out, x.from, y.from, x.to, y.to, "zero");
    draw_bins(p, before, "as it is", "c1", &x, &y);
    if (strcmp(best, "none") != 0)
        draw_bins(p, after, "calibrated", "c0", &x, &y);
    svg_end(&p->out);
    close_figure(p, "Pairs in bins of equal numbers, by the probability of the label given.");
}

static void methods_table(struct page *p)
{
    static const char *const head[] = {"Method",
                                       "#Calibration error, out of fold",
                                       "#of every class",
                                       "#Log-loss",
                                       "#Calibration error, test",
                                       "#of every class",
                                       "#Log-loss",
                                       NULL};
    static const char *const parts[] = {"cross_fitted", "test"};
    const char *best = get_text(p->calibration, "method");
    open_table(p, "Expected calibration error; methods are fitted on other folds than they are "
                  "judged by");
    head_cells(p, head);
    sb_addz(&p->out, "<tbody>");
    for (const json *m = json_first(json_get(p->calibration, "methods")); m; m = json_next(m)) {
        open_row(p, strcmp(get_text(m, "name"), best) == 0 ? "chosen" : NULL);
        name_cell(p, get_text(m, "name"));
        for (size_t i = 0; i < 2; i++) {
            const json *q = json_get(m, parts[i]);
            number_cell(p, get_number(q, "ece"), 4);
            number_cell(p, get_number(q, "classwise_ece"), 4);
            number_cell(p, get_number(q, "log_loss"), 4);
        }
        close_row(p);
    }
    sb_addz(&p->out, "</tbody>");
    close_table(p);
}

static void put_gain(struct page *p, const json *gain, const char *where)
{
    const json *d = json_get(gain, "macro_f1");
    sb_addf(&p->out, "%s macro-F1 ", where);
    put_signed(&p->out, get_number(d, "value"), 3);
    sb_addz(&p->out, " (");
    put_signed(&p->out, get_number(d, "low"), 3);
    sb_addz(&p->out, " to ");
    put_signed(&p->out, get_number(d, "high"), 3);
    sb_addz(&p->out, "), accuracy ");
    put_signed(&p->out, get_number(json_get(gain, "accuracy"), "value"), 3);
}

static void put_offsets(struct page *p)
{
    const json *o = json_get(p->calibration, "offsets");
    if (json_count(json_get(o, "values")) == 0)
        return;
    sb_addz(&p->out, "<h3>Deciding for macro-F1</h3>\n<p>Offsets on the log-probabilities (");
    const char *joint = "";
    for (const json *v = json_first(json_get(o, "values")); v; v = json_next(v)) {
        double offset = NAN;
        json_as_double(v, &offset);
        sb_addz(&p->out, joint);
        html_escapez(&p->out, json_key(v));
        sb_addc(&p->out, ' ');
        put_signed(&p->out, offset, 2);
        joint = ", ";
    }
    sb_addz(&p->out, ") give rare classes a chance: ");
    put_gain(p, json_get(o, "cross_fitted"), "out of fold");
    put_gain(p, json_get(o, "test"), "; on the test split");
    sb_addz(&p->out, ". What serves decides by the most probable label.</p>\n");
}

static void put_costs(struct page *p)
{
    const json *c = json_get(p->calibration, "costs");
    if (json_count(c) == 0)
        return;
    sb_addz(&p->out,
            "<p>Under the costs of medley.yaml, deciding for the least expected cost takes ");
    put_number(&p->out, get_number(c, "test"), 3);
    sb_addz(&p->out, " a pair on the test split, the most probable label ");
    put_number(&p->out, get_number(c, "test_most_probable"), 3);
    sb_addz(&p->out, ".</p>\n");
}

void section_calibration(struct page *p)
{
    open_section(p, "calibration", "Can the probabilities be believed", NULL);
    if (json_count(json_get(p->calibration, "methods")) == 0) {
        absent(p, "The ensemble was not calibrated yet.");
    } else {
        sb_addz(&p->out, "<div class=\"pair\">");
        reliability_plot(p, "cross_fitted", "reliability-plot", "Out of fold");
        reliability_plot(p, "test", "reliability-test-plot", "Test split");
        sb_addz(&p->out, "</div>\n");
        methods_table(p);
        put_offsets(p);
        put_costs(p);
    }
    close_section(p);
}
