/* svg.c: see svg.h. Proof: tests/test_report.c (ticks, escaping, well-formed output). */
#include "report/svg.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- text ---- */

void html_escape(struct strbuf *out, struct str text)
{
    for (size_t i = 0; i < text.n;) {
        uint32_t c = 0;
        size_t n = utf8_decode((struct str){text.s + i, text.n - i}, &c);
        bool bad = n == 0 || (c < 0x20 && c != '\n' && c != '\t') || (c >= 0x7F && c < 0xA0);
        if (bad)
            sb_addz(out, "\xEF\xBF\xBD");
        else if (c == '&')
            sb_addz(out, "&amp;");
        else if (c == '<')
            sb_addz(out, "&lt;");
        else if (c == '>')
            sb_addz(out, "&gt;");
        else if (c == '"')
            sb_addz(out, "&quot;");
        else if (c == '\'')
            sb_addz(out, "&#39;");
        else
            sb_add(out, text.s + i, n);
        i += n ? n : 1;
    }
}

void html_escapez(struct strbuf *out, const char *z)
{
    html_escape(out, str_of(z));
}

const char *number_text(char text[NUMBER_TEXT], double v, int decimals)
{
    if (!isfinite(v)) {
        snprintf(text, NUMBER_TEXT, "\xE2\x80\x93");
        return text;
    }
    if (fabs(v) * pow(10, decimals) < 0.5)
        v = 0; /* no "-0.00" */
    snprintf(text, NUMBER_TEXT, fabs(v) < 1e15 ? "%.*f" : "%.*e", decimals, v);
    for (char *p = text; *p; p++) /* the host program may have set a locale with a comma */
        if (*p == ',')
            *p = '.';
    return text;
}

void put_number(struct strbuf *out, double v, int decimals)
{
    char text[NUMBER_TEXT];
    sb_addz(out, number_text(text, v, decimals));
}

/* Coordinates: two decimals are finer than any screen. */
static void attribute(struct strbuf *out, const char *name, double v)
{
    sb_addf(out, " %s=\"", name);
    put_number(out, isfinite(v) ? v : 0, 2);
    sb_addc(out, '"');
}

static void css_class(struct strbuf *out, const char *css)
{
    if (css && *css)
        sb_addf(out, " class=\"%s\"", css);
}

/* Units a character takes at most, in the widest of the usual fonts at the size for phones; CJK
 * and other wide ones take a full em. */
static double char_width(uint32_t c)
{
    if (c >= 0x1100)
        return 13;
    if (c > 0 && c < 0x80 && strchr("ijlI.,:;|!' ", (int)c))
        return 4.4;
    return (c >= 'A' && c <= 'Z') || c == 'm' || c == 'w' ? 10 : 7.7;
}

double svg_text_width(const char *text)
{
    struct str s = str_of(text);
    double width = 0;
    while (s.n > 0) {
        uint32_t c = 0xFFFD;
        size_t n = utf8_decode(s, &c);
        n = n ? n : 1;
        width += char_width(c);
        s.s += n;
        s.n -= n;
    }
    return width;
}

/* Bytes of text that fit, leaving room for an ellipsis when not all do. */
static size_t fitting_bytes(struct str s, double max_width)
{
    size_t i = 0;
    double width = 0;
    while (i < s.n) {
        uint32_t c = 0xFFFD;
        size_t n = utf8_decode((struct str){s.s + i, s.n - i}, &c);
        width += char_width(c);
        if (width > max_width - 12)
            break;
        i += n ? n : 1;
    }
    return i;
}

/* ---- marks ---- */

void svg_begin(struct strbuf *out, const char *id, double width, double height,
               const char *title, const char *description)
{
    sb_addz(out, "<svg viewBox=\"0 0 ");
    put_number(out, width, 0);
    sb_addc(out, ' ');
    put_number(out, height, 0);
    sb_addf(out, "\" role=\"img\" aria-labelledby=\"%s-t %s-d\"><title id=\"%s-t\">", id, id,
            id);
    html_escapez(out, title);
    sb_addf(out, "</title><desc id=\"%s-d\">", id);
    html_escapez(out, description);
    sb_addz(out, "</desc>\n");
}

void svg_end(struct strbuf *out)
{
    sb_addz(out, "</svg>\n");
}

static void close_mark(struct strbuf *out, const char *element, const char *tip)
{
    if (!tip) {
        sb_addz(out, "/>\n");
        return;
    }
    sb_addz(out, "><title>");
    html_escapez(out, tip);
    sb_addf(out, "</title></%s>\n", element);
}

void svg_rect(struct strbuf *out, double x, double y, double width, double height,
              const char *css, const char *tip)
{
    sb_addz(out, "<rect");
    attribute(out, "x", x);
    attribute(out, "y", y);
    attribute(out, "width", width > 0 ? width : 0);
    attribute(out, "height", height > 0 ? height : 0);
    css_class(out, css);
    close_mark(out, "rect", tip);
}

void svg_circle(struct strbuf *out, double x, double y, double r, const char *css,
                const char *tip)
{
    sb_addz(out, "<circle");
    attribute(out, "cx", x);
    attribute(out, "cy", y);
    attribute(out, "r", r);
    css_class(out, css);
    close_mark(out, "circle", tip);
}

void svg_line(struct strbuf *out, double x1, double y1, double x2, double y2, const char *css)
{
    sb_addz(out, "<line");
    attribute(out, "x1", x1);
    attribute(out, "y1", y1);
    attribute(out, "x2", x2);
    attribute(out, "y2", y2);
    css_class(out, css);
    close_mark(out, "line", NULL);
}

void svg_text(struct strbuf *out, double x, double y, const char *anchor, const char *css,
              const char *text, double max_width)
{
    struct str s = str_of(text);
    bool cut = max_width > 0 && svg_text_width(text) > max_width;
    sb_addz(out, "<text");
    attribute(out, "x", x);
    attribute(out, "y", y);
    if (strcmp(anchor, "start") != 0)
        sb_addf(out, " text-anchor=\"%s\"", anchor);
    css_class(out, css);
    sb_addc(out, '>');
    if (cut)
        s.n = fitting_bytes(s, max_width);
    html_escape(out, s);
    if (cut) {
        sb_addz(out, "\xE2\x80\xA6<title>");
        html_escapez(out, text);
        sb_addz(out, "</title>");
    }
    sb_addz(out, "</text>\n");
}

/* ---- axes ---- */

/* 1, 2 or 5 times a power of ten, so that about `ticks` of them span `range` (Heckbert 1990).
 */
static double nice_step(double range, int ticks)
{
    double raw = range / (ticks > 1 ? ticks : 1), power = pow(10, floor(log10(raw)));
    double f = raw / power;
    return power * (f < 1.5 ? 1 : f < 3.5 ? 2 : f < 7.5 ? 5 : 10);
}

struct axis axis_linear(double low, double high, double from, double to, int ticks)
{
    if (!isfinite(low) || !isfinite(high) || fabs(low) > 1e15 || fabs(high) > 1e15) {
        low = 0;
        high = 1;
    }
    if (low > high) {
        double swap = low;
        low = high;
        high = swap;
    }
    double least = 1e-9 * fmax(1, fmax(fabs(low), fabs(high)));
    if (high - low < least) { /* one value: show it in the middle */
        double margin = fmax(fabs(low) * 0.1, 0.01);
        low -= margin;
        high += margin;
    }
    double step = nice_step(high - low, ticks);
    int decimals = (int)ceil(-log10(step) - 1e-9);
    return (struct axis){.low = step * floor(low / step + 1e-9),
                         .high = step * ceil(high / step - 1e-9),
                         .from = from,
                         .to = to,
                         .step = step,
                         .decimals = decimals > 0 ? decimals : 0};
}

struct axis axis_log(double low, double high, double from, double to)
{
    low = isfinite(low) && low > 1e-12 ? low : 1e-12;
    high = isfinite(high) && high > low * 1.01 ? high : low * 10;
    return (struct axis){
        .low = low * 0.8, .high = fmin(high * 1.25, 1e15), .from = from, .to = to};
}

double axis_at(const struct axis *a, double v)
{
    double share = a->step > 0 ? (v - a->low) / (a->high - a->low)
                               : log(fmax(v, a->low) / a->low) / log(a->high / a->low);
    share = isfinite(share) ? fmin(fmax(share, 0), 1) : 0;
    return a->from + share * (a->to - a->from);
}

static size_t log_ticks(const struct axis *a, double out[AXIS_MAX_TICKS])
{
    static const double mantissas[] = {1, 2, 5};
    bool only_powers = a->high / a->low > 1e3;
    size_t n = 0;
    for (int power = (int)floor(log10(a->low)); power <= (int)ceil(log10(a->high)); power++)
        for (int m = 0; m < (only_powers ? 1 : 3); m++) {
            double v = mantissas[m] * pow(10, power);
            if (v >= a->low && v <= a->high && n < AXIS_MAX_TICKS)
                out[n++] = v;
        }
    return n;
}

size_t axis_ticks(const struct axis *a, double out[AXIS_MAX_TICKS])
{
    if (!(a->step > 0))
        return log_ticks(a, out);
    size_t n = 0;
    double first = ceil(a->low / a->step - 1e-9);
    for (; n < AXIS_MAX_TICKS; n++) {
        double v = (first + (double)n) * a->step;
        if (v > a->high + a->step * 1e-6)
            break;
        out[n] = v;
    }
    return n;
}

static const char *tick_label(char text[NUMBER_TEXT], const struct axis *a, double v)
{
    int decimals = a->decimals;
    if (!(a->step > 0))
        decimals = v >= 1 ? 0 : (int)ceil(-log10(v) - 1e-9);
    return number_text(text, v, decimals);
}

/* Every how many ticks a label fits: 1 for all. */
static size_t label_stride(const struct axis *a, const double *ticks, size_t n)
{
    char text[NUMBER_TEXT];
    double widest = 0, gap = fabs(a->to - a->from);
    for (size_t i = 0; i < n; i++) {
        widest = fmax(widest, svg_text_width(tick_label(text, a, ticks[i])));
        if (i > 0)
            gap = fmin(gap, fabs(axis_at(a, ticks[i]) - axis_at(a, ticks[i - 1])));
    }
    size_t stride = 1;
    while (stride < n && gap * (double)stride < widest + 4)
        stride++;
    return stride;
}

void svg_axis_x(struct strbuf *out, const struct axis *a, double top, double bottom,
                const char *label)
{
    double ticks[AXIS_MAX_TICKS];
    size_t n = axis_ticks(a, ticks), stride = label_stride(a, ticks, n);
    for (size_t i = 0; i < n; i++) {
        char text[NUMBER_TEXT];
        double x = axis_at(a, ticks[i]);
        svg_line(out, x, top, x, bottom, "grid");
        if (i % stride == 0)
            svg_text(out, x, bottom + 15, "middle", "tick", tick_label(text, a, ticks[i]), 0);
    }
    svg_text(out, (a->from + a->to) / 2, bottom + 32, "middle", "label", label, 0);
}

void svg_axis_y(struct strbuf *out, const struct axis *a, double left, double right,
                const char *label)
{
    double ticks[AXIS_MAX_TICKS];
    size_t n = axis_ticks(a, ticks);
    for (size_t i = 0; i < n; i++) {
        char text[NUMBER_TEXT];
        double y = axis_at(a, ticks[i]);
        tick_label(text, a, ticks[i]);
        svg_line(out, left, y, right, y, "grid");
        svg_text(out, left - 6, y + 4, "end", "tick", text, 0);
    }
    /* above the axis, and level: easier to read than turned */
    svg_text(out, 2, fmin(a->from, a->to) - 10, "start", "label", label, 0);
}
