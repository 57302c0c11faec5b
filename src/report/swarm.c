/* swarm.c: contributions as beeswarms: one plot a class, one row a model, one dot a pair, its
 * colour the probability that the model itself gave the class. */
#include "report/page.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define WIDTH 480
#define ROW 34
#define STEP 4.5 /* width of a column of dots */
enum { MOST_CLASSES = 8, COLUMNS = 128, SHADES = 5 };

struct range {
    double low, high;
};

static bool read_dot(const json *dot, double *value, double *p)
{
    const json *first = json_first(dot);
    *p = NAN;
    if (!json_as_double(first, value) || !isfinite(*value))
        return false;
    json_as_double(first ? json_next(first) : NULL, p);
    return true;
}

static struct range range_of(const json *models, const char *class)
{
    struct range r = {0, 0};
    for (const json *m = json_first(models); m; m = json_next(m)) {
        const json *dots = json_get(json_get(m, "sample"), class);
        for (const json *d = json_first(dots); d; d = json_next(d)) {
            double v, p;
            if (read_dot(d, &v, &p))
                r.low = fmin(r.low, v), r.high = fmax(r.high, v);
        }
    }
    return r;
}

/* Dots of one column are stacked up and down from the middle, those of a full one on top of
 * each other. */
static void draw_row(struct page *p, const json *dots, const struct axis *a, double middle)
{
    unsigned count[COLUMNS] = {0};
    for (const json *d = json_first(dots); d; d = json_next(d)) {
        double v, own;
        char css[16];
        if (!read_dot(d, &v, &own))
            continue;
        double x = axis_at(a, v);
        size_t column = (size_t)fmax((x - a->from) / STEP, 0);
        unsigned k = column < COLUMNS ? count[column]++ : 0;
        double off = fmin(ceil(k / 2.0) * 3.4, ROW / 2.0 - 3);
        int shade = (int)fmin(fmax(own, 0) * SHADES, SHADES - 1);
        snprintf(css, sizeof css, "s%d", shade);
        svg_circle(&p->out, x, middle + (k % 2 ? off : -off), 2.2, isnan(own) ? "c7" : css,
                   NULL);
    }
}

static void draw_class(struct page *p, const json *models, const char *class, size_t i)
{
    struct range r = range_of(models, class);
    char id[32], label[120];
    double y = 6, bottom = 6 + ROW * (double)json_count(models);
    struct axis a = axis_linear(r.low, r.high, 92, WIDTH - 10, 5);
    snprintf(id, sizeof id, "swarm-%zu-plot", i);
    snprintf(label, sizeof label, "contribution to the margin of %.60s", class);
    open_figure(p, NULL);
    svg_begin(&p->out, id, WIDTH, bottom + 40, label, "One row a model, one dot a pair.");
    svg_axis_x(&p->out, &a, 2, bottom, label);
    svg_line(&p->out, axis_at(&a, 0), 2, axis_at(&a, 0), bottom, "zero");
    for (const json *m = json_first(models); m; m = json_next(m), y += ROW) {
        svg_text(&p->out, a.from - 8, y + ROW / 2.0 + 4, "end", "name", get_text(m, "name"),
                 82);
        draw_row(p, json_get(json_get(m, "sample"), class), &a, y + ROW / 2.0);
    }
    svg_end(&p->out);
    close_figure(p, "");
}

static void put_legend(struct page *p)
{
    static const char *const names[SHADES] = {"under .2", ".2 to .4", ".4 to .6", ".6 to .8",
                                              "above .8"};
    sb_addz(&p->out, "<ul class=\"legend\">");
    for (int i = 0; i < SHADES; i++)
        sb_addf(&p->out, "<li><i class=\"s%d\"></i>%s</li>", i, names[i]);
    sb_addz(&p->out, "</ul>\n");
}

void section_swarm(struct page *p)
{
    const json *models = json_get(p->ranking, "models"),
               *labels = json_get(p->ranking, "labels");
    size_t i = 0;
    open_section(p, "swarm", "Every pair a dot", NULL);
    if (json_count(json_get(json_first(models), "sample")) == 0) {
        absent(p, "The ranking holds no single pairs yet.");
        close_section(p);
        return;
    }
    sb_addz(
        &p->out,
        "<p class=\"intro\">The same pairs in every row. The colour is the probability that "
        "the model itself gave the class: where warm dots lie to the right, the ensemble "
        "believes the model; where they lie on both sides, it depends on the "
        "others.</p>\n");
    put_legend(p);
    sb_addz(&p->out, "<div class=\"halves\">");
    for (const json *l = json_first(labels); l && i < MOST_CLASSES; l = json_next(l)) {
        const char *class = "";
        if (json_as_text(l, &class))
            draw_class(p, models, class, i++);
    }
    sb_addz(&p->out, "</div>\n");
    close_section(p);
}
