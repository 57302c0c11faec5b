/* selection.c: cost against quality of the subsets of models, the Pareto front, and what was
 * chosen under which budget. */
#include "base/memory.h"
#include "report/page.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WIDTH 480
#define HEIGHT 330
#define MOST_POINTS 700 /* beyond, only the front and the best others are drawn */
#define MOST_FRONT_ROWS 40

struct point {
    const json *subset;
    double cost, quality;
    bool front, within, chosen;
};

struct plot {
    const char *metric; /* key, "macro_f1" */
    bool low_is_good;
    struct point *points; /* [n] the front first, by cost; then the best others */
    size_t n;
};

static bool same_models(const json *models, const json *selected)
{
    if (json_count(models) != json_count(selected))
        return false;
    for (const json *m = json_first(models); m; m = json_next(m)) {
        const char *name = "";
        json_as_text(m, &name);
        if (!has_text(selected, name))
            return false;
    }
    return true;
}

static int front_then_quality(const void *left, const void *right)
{
    const struct point *a = left, *b = right;
    if (a->front != b->front)
        return a->front ? -1 : 1;
    if (a->front)
        return (a->cost > b->cost) - (a->cost < b->cost);
    if (a->chosen != b->chosen)
        return a->chosen ? -1 : 1;
    return (a->quality < b->quality) - (a->quality > b->quality);
}

static bool read_points(const json *s, struct plot *plot)
{
    const json *subsets = json_get(s, "subsets");
    plot->metric = get_text(s, "metric");
    if (!*plot->metric)
        plot->metric = "macro_f1";
    plot->low_is_good = strcmp(plot->metric, "log_loss") == 0;
    plot->points = mem_zalloc(json_count(subsets) + 1, sizeof plot->points[0]);
    if (!plot->points)
        return false;
    for (const json *c = json_first(subsets); c; c = json_next(c)) {
        struct point pt = {.subset = c,
                           .cost = get_number(c, "latency_ms"),
                           .quality = get_number(c, plot->metric),
                           .front = get_bool(c, "pareto"),
                           .within = get_bool(c, "within_budget"),
                           .chosen =
                               same_models(json_get(c, "models"), json_get(s, "selected"))};
        if (plot->low_is_good)
            pt.quality = -pt.quality; /* for sorting; undone below */
        if (isfinite(pt.cost) && isfinite(pt.quality) && pt.cost >= 0)
            plot->points[plot->n++] = pt;
    }
    qsort(plot->points, plot->n, sizeof plot->points[0], front_then_quality);
    if (plot->n > MOST_POINTS)
        plot->n = MOST_POINTS;
    for (size_t i = 0; plot->low_is_good && i < plot->n; i++)
        plot->points[i].quality = -plot->points[i].quality;
    return true;
}

/* ---- the plot ---- */

static void draw_point(struct page *p, const struct plot *plot, const struct point *pt,
                       const struct axis *x, const struct axis *y)
{
    struct strbuf tip;
    char number[NUMBER_TEXT];
    double cx = axis_at(x, pt->cost), cy = axis_at(y, pt->quality);
    sb_init(&tip);
    put_names(&tip, json_get(pt->subset, "models"), " + ");
    sb_addf(&tip, ": %s %s, ", metric_name(plot->metric), number_text(number, pt->quality, 3));
    put_milliseconds(&tip, pt->cost);
    sb_addf(&tip, " ms%s", pt->within ? "" : ", over the budget");
    if (pt->chosen)
        svg_circle(&p->out, cx, cy, 10, "ring", NULL);
    svg_circle(&p->out, cx, cy, pt->front ? 5 : 3.2,
               pt->front    ? pt->within ? "dot strong" : "dot strong out"
               : pt->within ? "dot faint"
                            : "dot faint out",
               tip.s);
    p->out.failed |= tip.failed;
    sb_deinit(&tip);
}

/* Between two points of the front nothing better is to be had for the cost in between: a
 * staircase. */
static void draw_front(struct page *p, const struct plot *plot, const struct axis *x,
                       const struct axis *y)
{
    const struct point *before = NULL;
    for (size_t i = 0; i < plot->n && plot->points[i].front; i++) {
        const struct point *pt = &plot->points[i];
        if (before) {
            double x1 = axis_at(x, before->cost), y1 = axis_at(y, before->quality);
            double x2 = axis_at(x, pt->cost), y2 = axis_at(y, pt->quality);
            svg_line(&p->out, x1, y1, x2, y1, "front");
            svg_line(&p->out, x2, y1, x2, y2, "front");
        }
        before = pt;
    }
}

static void draw_budget(struct page *p, const json *s, const struct axis *x, double top,
                        double bottom)
{
    double budget = get_number(json_get(s, "budget"), "latency_ms");
    if (!(budget >= x->low && budget <= x->high))
        return;
    double at = axis_at(x, budget);
    bool right = at < WIDTH - 90;
    svg_line(&p->out, at, top, at, bottom, "budget");
    svg_text(&p->out, at + (right ? 5 : -5), top + 12, right ? "start" : "end", "label",
             "budget", 0);
}

static void draw_plot(struct page *p, const struct plot *plot)
{
    double low = INFINITY, high = -INFINITY, least = INFINITY, most = 0;
    char label[64];
    for (size_t i = 0; i < plot->n; i++) {
        low = fmin(low, plot->points[i].quality);
        high = fmax(high, plot->points[i].quality);
        least = fmin(least, plot->points[i].cost);
        most = fmax(most, plot->points[i].cost);
    }
    double top = 28, bottom = HEIGHT - 42;
    struct axis x = least > 0 && most > 12 * least ? axis_log(least, most, 48, WIDTH - 14)
                                                   : axis_linear(0, most, 48, WIDTH - 14, 6);
    struct axis y = axis_linear(low, high, bottom, top, 6);
    open_figure(p, "wide");
    svg_begin(
        &p->out, "cost-plot", WIDTH, HEIGHT, "Cost and quality of subsets of models",
        "One point a subset: latency to the right, quality upwards; the line is the Pareto "
        "front, the ring the chosen subset.");
    snprintf(label, sizeof label, "latency in ms a pair%s", x.step > 0 ? "" : " (logarithmic)");
    svg_axis_x(&p->out, &x, top, bottom, label);
    svg_axis_y(&p->out, &y, x.from, x.to, metric_name(plot->metric));
    draw_budget(p, p->selection, &x, top, bottom);
    draw_front(p, plot, &x, &y);
    for (size_t i = plot->n; i-- > 0;) /* the front last, on top */
        draw_point(p, plot, &plot->points[i], &x, &y);
    svg_end(&p->out);
    close_figure(
        p, "Each point is a subset of the models, with the ensemble refitted on it. The line "
           "joins subsets that none beats in both cost and quality; the ring is the chosen "
           "one; hollow points are over the budget.");
}

/* ---- tables ---- */

static void front_table(struct page *p, const struct plot *plot)
{
    static const char *const head[] = {"Models",       "#Macro-F1", "#Accuracy", "#Log-loss",
                                       "#Latency, ms", "#Memory",   NULL};
    open_table(p, "Subsets on the Pareto front, the chosen one marked");
    head_cells(p, head);
    sb_addz(&p->out, "<tbody>");
    for (size_t i = 0, rows = 0; i < plot->n && rows < MOST_FRONT_ROWS; i++) {
        const struct point *pt = &plot->points[i];
        struct strbuf names;
        if (!pt->front && !pt->chosen)
            continue;
        rows++;
        sb_init(&names);
        put_names(&names, json_get(pt->subset, "models"), " + ");
        open_row(p, pt->chosen ? "chosen" : pt->within ? NULL : "over");
        sb_addz(&p->out, "<th scope=\"row\">");
        html_escape(&p->out, sb_str(&names));
        sb_addz(&p->out, pt->chosen   ? " <em>chosen</em></th>"
                         : pt->within ? "</th>"
                                      : " <em>over the budget</em></th>");
        number_cell(p, get_number(pt->subset, "macro_f1"), 3);
        number_cell(p, get_number(pt->subset, "accuracy"), 3);
        number_cell(p, get_number(pt->subset, "log_loss"), 3);
        sb_addz(&p->out, "<td class=\"n\">");
        put_milliseconds(&p->out, pt->cost);
        sb_addz(&p->out, "</td><td class=\"n\">");
        put_bytes(&p->out, get_number(pt->subset, "memory_bytes"));
        sb_addz(&p->out, "</td>");
        close_row(p);
        p->out.failed |= names.failed;
        sb_deinit(&names);
    }
    sb_addz(&p->out, "</tbody>");
    close_table(p);
}

static void cost_table(struct page *p, const json *s)
{
    static const char *const head[] = {
        "Model", "#Single pair, ms", "#Query features, ms", "#In batches, ms a pair", "#Memory",
        NULL};
    const json *costs = json_get(s, "costs"), *machine = json_get(s, "machine");
    if (json_count(costs) == 0)
        return;
    sb_addz(&p->out, "<h3>Measured cost of each model</h3>\n");
    open_table(p, "Latency and memory of each model; the chosen ones are shaded");
    head_cells(p, head);
    sb_addz(&p->out, "<tbody>");
    for (const json *c = json_first(costs); c; c = json_next(c)) {
        open_row(p, has_text(json_get(s, "selected"), get_text(c, "name")) ? "chosen" : NULL);
        name_cell(p, get_text(c, "name"));
        sb_addz(&p->out, "<td class=\"n\">");
        put_milliseconds(&p->out, get_number(c, "latency_ms"));
        sb_addz(&p->out, "</td><td class=\"n\">");
        put_milliseconds(&p->out, get_number(c, "features_ms"));
        sb_addz(&p->out, "</td><td class=\"n\">");
        put_milliseconds(&p->out, get_number(c, "batch_ms_per_pair"));
        sb_addz(&p->out, "</td><td class=\"n\">");
        put_bytes(&p->out, get_number(c, "memory_bytes"));
        sb_addz(&p->out, "</td>");
        close_row(p);
    }
    sb_addz(&p->out, "</tbody>");
    close_table(p);
    if (*get_text(machine, "cpu")) {
        sb_addz(&p->out, "<p class=\"muted\">Measured on ");
        html_escapez(&p->out, get_text(machine, "cpu"));
        sb_addz(&p->out, ", ");
        put_count(&p->out, get_number(machine, "cores"));
        sb_addz(&p->out, " cores.</p>\n");
    }
}

/* "A latency of 20 ms and 500 MB": the budget in words. */
static void put_budget(struct strbuf *out, const json *budget)
{
    double ms = get_number(budget, "latency_ms"), bytes = get_number(budget, "memory_bytes");
    double top = get_number(budget, "top");
    const char *joint = "";
    if (isfinite(ms)) {
        put_milliseconds(out, ms);
        sb_addz(out, " ms a pair");
        joint = ", ";
    }
    if (isfinite(bytes)) {
        sb_addz(out, joint);
        put_bytes(out, bytes);
        joint = ", ";
    }
    if (isfinite(top)) {
        sb_addz(out, joint);
        put_count(out, top);
        sb_addz(out, top == 1 ? " model" : " models");
        joint = ", ";
    }
    if (!*joint)
        sb_addz(out, "none");
}

static void put_choice(struct page *p, const json *s)
{
    struct strbuf text;
    sb_init(&text);
    put_names(&text, json_get(s, "selected"), ", ");
    sb_addz(&p->out, "<p class=\"intro\">Chosen: <b>");
    html_escape(&p->out, sb_str(&text));
    sb_addz(&p->out, "</b>. Budget: ");
    put_budget(&p->out, json_get(s, "budget"));
    sb_addz(&p->out, ". Against the ensemble of all models: ");
    for (size_t m = 0, n = 0; report_metrics[m].key; m++) {
        const char *key = report_metrics[m].key;
        double v =
            get_number(json_get(s, "chosen"), key) - get_number(json_get(s, "full"), key);
        if (!isfinite(v))
            continue;
        sb_addf(&p->out, "%s%s ", n++ ? ", " : "", metric_name(key));
        put_signed(&p->out, v, 3);
    }
    sb_addz(&p->out, ".</p>\n");
    p->out.failed |= text.failed;
    sb_deinit(&text);
}

void section_selection(struct page *p)
{
    struct plot plot = {0};
    open_section(p, "selection", "Cost and quality", NULL);
    if (!p->selection) {
        absent(p, "No selection of models was made yet.");
    } else {
        put_choice(p, p->selection);
        if (!read_points(p->selection, &plot)) {
            p->out.failed = true;
        } else if (plot.n == 0) {
            absent(p, "No subset of the models was measured.");
        } else {
            draw_plot(p, &plot);
            front_table(p, &plot);
        }
        selection_steps(p, p->selection);
        cost_table(p, p->selection);
    }
    mem_free(plot.points);
    close_section(p);
}
