/* page.c: JSON accessors, HTML pieces and number formats that the sections share. */
#include "report/page.h"

#include <math.h>
#include <string.h>

const struct metric report_metrics[] = {
    {"accuracy", "Accuracy", false},
    {"macro_f1", "Macro-F1", false},
    {"weighted_f1", "Weighted F1", false},
    {"log_loss", "Log-loss", true},
    {NULL, NULL, false},
};

/* ---- JSON ---- */

double get_number(const json *object, const char *key)
{
    double v = NAN;
    json_as_double(json_get(object, key), &v);
    return v;
}

const char *get_text(const json *object, const char *key)
{
    const char *text = "";
    json_as_text(json_get(object, key), &text);
    return text;
}

bool get_bool(const json *object, const char *key)
{
    bool b = false;
    json_as_bool(json_get(object, key), &b);
    return b;
}

const json *find_named(const json *array, const char *name)
{
    for (const json *m = json_first(array); m; m = json_next(m))
        if (strcmp(get_text(m, "name"), name) == 0)
            return m;
    return NULL;
}

bool has_text(const json *array, const char *text)
{
    for (const json *m = json_first(array); m; m = json_next(m)) {
        const char *t = NULL;
        if (json_as_text(m, &t) && strcmp(t, text) == 0)
            return true;
    }
    return false;
}

size_t longest(const json *array, size_t most)
{
    size_t n = json_count(array);
    return n < most ? n : most;
}

/* ---- HTML ---- */

void open_section(struct page *p, const char *id, const char *heading, const char *intro)
{
    sb_addf(&p->out, "<section id=\"%s\"><h2>%s</h2>\n", id, heading);
    if (intro)
        sb_addf(&p->out, "<p class=\"intro\">%s</p>\n", intro);
}

void close_section(struct page *p)
{
    sb_addz(&p->out, "</section>\n");
}

void absent(struct page *p, const char *sentence)
{
    sb_addf(&p->out, "<p class=\"absent\">%s</p>\n", sentence);
}

void open_table(struct page *p, const char *caption)
{
    /* focusable, so that a keyboard can scroll a wide table */
    sb_addf(&p->out,
            "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"%s\"><table>"
            "<caption>%s</caption>\n",
            caption, caption);
}

void close_table(struct page *p)
{
    sb_addz(&p->out, "</table></div>\n");
}

void head_cells(struct page *p, const char *const *names)
{
    sb_addz(&p->out, "<thead><tr>");
    for (; *names; names++) {
        bool number = **names == '#';
        sb_addz(&p->out, number ? "<th scope=\"col\" class=\"n\">" : "<th scope=\"col\">");
        html_escapez(&p->out, *names + number);
        sb_addz(&p->out, "</th>");
    }
    sb_addz(&p->out, "</tr></thead>\n");
}

void open_row(struct page *p, const char *css)
{
    if (css)
        sb_addf(&p->out, "<tr class=\"%s\">", css);
    else
        sb_addz(&p->out, "<tr>");
}

void close_row(struct page *p)
{
    sb_addz(&p->out, "</tr>\n");
}

void text_cell(struct page *p, const char *text)
{
    sb_addz(&p->out, "<td>");
    html_escapez(&p->out, text);
    sb_addz(&p->out, "</td>");
}

void name_cell(struct page *p, const char *text)
{
    sb_addz(&p->out, "<th scope=\"row\">");
    html_escapez(&p->out, text);
    sb_addz(&p->out, "</th>");
}

void number_cell(struct page *p, double v, int decimals)
{
    sb_addz(&p->out, "<td class=\"n\">");
    put_number(&p->out, v, decimals);
    sb_addz(&p->out, "</td>");
}

void open_figure(struct page *p, const char *css)
{
    sb_addf(&p->out, "<figure class=\"%s\">\n", css ? css : "");
}

void close_figure(struct page *p, const char *caption)
{
    if (caption)
        sb_addf(&p->out, "<figcaption>%s</figcaption>", caption);
    sb_addz(&p->out, "</figure>\n");
}

void open_details(struct page *p, const char *summary)
{
    sb_addf(&p->out, "<details><summary>%s</summary>\n", summary);
}

void close_details(struct page *p)
{
    sb_addz(&p->out, "</details>\n");
}

void legend(struct page *p, const json *labels)
{
    size_t i = 0;
    sb_addz(&p->out, "<ul class=\"legend\">");
    for (const json *l = json_first(labels); l; l = json_next(l), i++) {
        const char *text = "";
        json_as_text(l, &text);
        sb_addf(&p->out, "<li><i class=\"c%zu\"></i>", i % REPORT_COLOURS);
        html_escapez(&p->out, text);
        sb_addz(&p->out, "</li>");
    }
    sb_addz(&p->out, "</ul>\n");
}

/* ---- texts ---- */

const char *metric_name(const char *key)
{
    if (strcmp(key, "macro_f1") == 0)
        return "macro-F1";
    if (strcmp(key, "weighted_f1") == 0)
        return "weighted F1";
    if (strcmp(key, "log_loss") == 0)
        return "log-loss";
    return strcmp(key, "accuracy") == 0 ? "accuracy" : "quality";
}

void put_count(struct strbuf *out, double v)
{
    if (!(fabs(v) < 1e15)) {
        put_number(out, NAN, 0);
        return;
    }
    struct strbuf digits;
    sb_init(&digits);
    put_number(&digits, floor(fabs(v) + 0.5), 0);
    if (v < 0)
        sb_addc(out, '-');
    for (size_t i = 0; i < digits.n; i++) {
        if (i > 0 && (digits.n - i) % 3 == 0)
            sb_addc(out, ',');
        sb_addc(out, digits.s[i]);
    }
    out->failed |= digits.failed;
    sb_deinit(&digits);
}

void put_bytes(struct strbuf *out, double v)
{
    static const char *const units[] = {" B", " kB", " MB", " GB", " TB"};
    size_t u = 0;
    for (; u < 4 && fabs(v) >= 1000; u++)
        v /= 1000;
    put_number(out, v, u > 0 && fabs(v) < 99.5 ? 1 : 0);
    if (isfinite(v))
        sb_addz(out, units[u]);
}

void put_milliseconds(struct strbuf *out, double v)
{
    put_number(out, v, fabs(v) >= 99.5 ? 0 : fabs(v) >= 9.95 ? 1 : fabs(v) >= 0.0995 ? 2 : 3);
}

void put_signed(struct strbuf *out, double v, int decimals)
{
    double least = 0.5 * pow(10, -decimals);
    if (v >= least)
        sb_addc(out, '+');
    if (v <= -least) {
        sb_addz(out, "\xE2\x88\x92"); /* a minus as wide as the plus */
        v = -v;
    }
    put_number(out, v, decimals);
}

void put_names(struct strbuf *out, const json *names, const char *separator)
{
    bool first = true;
    for (const json *n = json_first(names); n; n = json_next(n)) {
        const char *text = "";
        json_as_text(n, &text);
        if (!first)
            sb_addz(out, separator);
        sb_addz(out, text);
        first = false;
    }
}
