/* spread.c: how the contributions of each model are spread over pairs, up and down, per class.
 */
#include "report/page.h"

#include <math.h>
#include <stdio.h>

#define WIDTH 620
#define BAND 11 /* of one class */
#define MOST_CLASSES 16

/* The five percentiles of one class; false when they are not there. */
static bool read_five(const json *list, double out[5])
{
    size_t n = 0;
    for (const json *v = json_first(list); v && n < 5; v = json_next(v), n++)
        if (!json_as_double(v, &out[n]) || !isfinite(out[n]))
            return false;
    return n == 5;
}

static void band(struct page *p, const char *model, const char *class, size_t i,
                 const double five[5], const struct axis *a, double y)
{
    char tip[400], css[16], t[5][NUMBER_TEXT];
    for (size_t q = 0; q < 5; q++)
        number_text(t[q], five[q], 3);
    snprintf(tip, sizeof tip, "%.80s, %.40s: half of the pairs %s to %s, 90%% %s to %s", model,
             class, t[1], t[3], t[0], t[4]);
    snprintf(css, sizeof css, "c%zu", i % REPORT_COLOURS);
    svg_line(&p->out, axis_at(a, five[0]), y, axis_at(a, five[4]), y, "whisker");
    svg_rect(&p->out, axis_at(a, five[1]), y - 4,
             fmax(axis_at(a, five[3]) - axis_at(a, five[1]), 1), 8, css, tip);
    svg_line(&p->out, axis_at(a, five[2]), y - 5, axis_at(a, five[2]), y + 5, "whisker");
}

static void draw(struct page *p, const json *models, const json *labels, const struct axis *a,
                 double row)
{
    double y = 8;
    for (const json *m = json_first(models); m; m = json_next(m), y += row) {
        size_t i = 0;
        svg_text(&p->out, a->from - 8, y + row / 2, "end", "name", get_text(m, "name"),
                 a->from - 12);
        for (const json *l = json_first(labels); l && i < MOST_CLASSES; l = json_next(l), i++) {
            const char *class = "";
            double five[5];
            json_as_text(l, &class);
            if (read_five(json_get(json_get(m, "spread"), class), five))
                band(p, get_text(m, "name"), class, i, five, a, y + BAND * ((double)i + 0.5));
        }
    }
}

void section_spread(struct page *p)
{
    const json *models = json_get(p->ranking, "models"),
               *labels = json_get(p->ranking, "labels");
    double low = 0, high = 0, widest = 40;
    for (const json *m = json_first(models); m; m = json_next(m)) {
        widest = fmax(widest, svg_text_width(get_text(m, "name")));
        for (const json *c = json_first(json_get(m, "spread")); c; c = json_next(c)) {
            double five[5];
            if (!read_five(c, five))
                continue;
            low = fmin(low, five[0]), high = fmax(high, five[4]);
        }
    }
    open_section(p, "spread", "How much, pair by pair", NULL);
    if (!(high > low)) {
        absent(p, "The spread of contributions was not measured yet.");
        close_section(p);
        return;
    }
    double row = BAND * (double)longest(labels, MOST_CLASSES) + 12;
    double bottom = 8 + row * (double)json_count(models);
    struct axis a = axis_linear(low, high, fmin(widest, 150) + 14, WIDTH - 14, 7);
    open_figure(p, "wide");
    legend(p, labels);
    svg_begin(&p->out, "spread-plot", WIDTH, bottom + 40, "Contributions pair by pair",
              "One band a model and class: boxes hold half of the pairs, lines 90%.");
    svg_axis_x(&p->out, &a, 4, bottom, "contribution to the class's margin");
    svg_line(&p->out, axis_at(&a, 0), 4, axis_at(&a, 0), bottom, "zero");
    draw(p, models, labels, &a, row);
    svg_end(&p->out);
    close_figure(
        p, "Above zero a model speaks for a class, below against it. Boxes hold half of the "
           "pairs, lines 90%, strokes are medians. A wide band is a model that tells pairs "
           "apart; a narrow one says the same of all.");
    close_section(p);
}
