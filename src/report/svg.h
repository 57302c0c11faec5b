/* svg.h: the few marks and axes that the report's plots need, as inline SVG. Colours come from
 * CSS classes, so that plots follow light and dark. Lengths are in units of the view box. */
#ifndef REPORT_SVG_H
#define REPORT_SVG_H

#include "base/str.h"

/* Appends text with & < > " ' escaped; control characters and bytes that are not UTF-8 become
 * U+FFFD. For HTML and SVG, in texts and in quoted attributes. */
void html_escape(struct strbuf *out, struct str text);
void html_escapez(struct strbuf *out, const char *z); /* NULL: nothing */
/* Appends a number with so many decimals, with a point in every locale; an en dash for NaN. */
void put_number(struct strbuf *out, double v, int decimals);
/* The same into a buffer, which it returns. */
#define NUMBER_TEXT 40
const char *number_text(char text[NUMBER_TEXT], double v, int decimals);

/* id is a constant unique in the page; title and description are read out by screen readers. */
void svg_begin(struct strbuf *out, const char *id, double width, double height,
               const char *title, const char *description);
void svg_end(struct strbuf *out);

/* css is a class list; tip (may be NULL) is shown on hovering. */
void svg_rect(struct strbuf *out, double x, double y, double width, double height,
              const char *css, const char *tip);
void svg_circle(struct strbuf *out, double x, double y, double r, const char *css,
                const char *tip);
void svg_line(struct strbuf *out, double x1, double y1, double x2, double y2, const char *css);
/* anchor is start, middle or end; at most max_width units wide (0: any), then cut with an
 * ellipsis and the whole text as tip. */
void svg_text(struct strbuf *out, double x, double y, const char *anchor, const char *css,
              const char *text, double max_width);
double svg_text_width(const char *text); /* an estimate for the plots' type size */

/* A scale from values to units. */
struct axis {
    double low, high; /* values at the ends */
    double from, to;  /* units at the ends */
    double step;      /* between ticks; 0: logarithmic, ticks at 1, 2, 5 times powers of ten */
    int decimals;     /* that tick labels need */
};
/* Ends widened to nice values, with about `ticks` ticks. low == high and NaN are mended. */
struct axis axis_linear(double low, double high, double from, double to, int ticks);
struct axis axis_log(double low, double high, double from, double to); /* both > 0 */
double axis_at(const struct axis *a, double v);                        /* clamped to the ends */
#define AXIS_MAX_TICKS 32
size_t axis_ticks(const struct axis *a, double out[AXIS_MAX_TICKS]);

/* Grid lines across [begin, end] of the other direction, tick labels at `end` (x: below) or
 * `begin` (y: to the left), and the label. */
void svg_axis_x(struct strbuf *out, const struct axis *a, double top, double bottom,
                const char *label);
void svg_axis_y(struct strbuf *out, const struct axis *a, double left, double right,
                const char *label);

#endif
