/* data.c: what was imported, and what import did with odd rows. */
#include "report/page.h"

#include <math.h>

static void count_tile(struct page *p, const char *label, double v)
{
    if (!isfinite(v))
        return;
    sb_addf(&p->out, "<div class=\"tile\"><span>%s</span><strong>", label);
    put_count(&p->out, v);
    sb_addz(&p->out, "</strong></div>\n");
}

/* One bar of 100%, divided by label, and the counts below it. */
static void label_bar(struct page *p, const json *labels)
{
    double total = 0, x = 0;
    size_t i = 0;
    for (const json *l = json_first(labels); l; l = json_next(l)) {
        double v = 0;
        json_as_double(l, &v);
        total += v > 0 ? v : 0;
    }
    if (!(total > 0))
        return;
    open_figure(p, NULL);
    svg_begin(&p->out, "label-plot", 480, 26, "Labels",
              "Share of each label among the examples.");
    for (const json *l = json_first(labels); l; l = json_next(l), i++) {
        struct strbuf tip;
        double v = 0;
        json_as_double(l, &v);
        double width = v > 0 ? 480 * v / total : 0;
        sb_init(&tip);
        sb_addf(&tip, "%s: ", json_key(l));
        put_count(&tip, v);
        char css[16] = {'c', (char)('0' + i % REPORT_COLOURS), 0};
        svg_rect(&p->out, x, 2, width - 1, 22, css, tip.s);
        x += width;
        p->out.failed |= tip.failed;
        sb_deinit(&tip);
    }
    svg_end(&p->out);
    sb_addz(&p->out, "<ul class=\"legend\">");
    i = 0;
    for (const json *l = json_first(labels); l; l = json_next(l), i++) {
        double v = NAN;
        json_as_double(l, &v);
        sb_addf(&p->out, "<li><i class=\"c%zu\"></i>", i % REPORT_COLOURS);
        html_escapez(&p->out, json_key(l));
        sb_addz(&p->out, " <span class=\"muted\">");
        put_count(&p->out, v);
        sb_addz(&p->out, " (");
        put_number(&p->out, 100 * v / total, 1);
        sb_addz(&p->out, "%)</span></li>");
    }
    sb_addz(&p->out, "</ul>\n");
    close_figure(p, NULL);
}

/* {"name": count, ...} as a table of two columns. */
static void count_table(struct page *p, const json *counts, const char *what, const char *unit)
{
    if (json_count(counts) == 0)
        return;
    open_table(p, what);
    sb_addf(&p->out,
            "<thead><tr><th scope=\"col\">%s</th><th scope=\"col\" class=\"n\">%s</th>"
            "</tr></thead><tbody>\n",
            what, unit);
    for (const json *c = json_first(counts); c; c = json_next(c)) {
        double v = NAN;
        json_as_double(c, &v);
        open_row(p, NULL);
        name_cell(p, json_key(c));
        sb_addz(&p->out, "<td class=\"n\">");
        put_count(&p->out, v);
        sb_addz(&p->out, "</td>");
        close_row(p);
    }
    sb_addz(&p->out, "</tbody>");
    close_table(p);
}

static void first_cases(struct page *p, const json *first)
{
    sb_addz(&p->out, "<td>");
    for (const json *f = json_first(first); f; f = json_next(f)) {
        sb_addz(&p->out, "<div><code>");
        html_escapez(&p->out, get_text(f, "file"));
        double line = get_number(f, "line");
        if (isfinite(line)) {
            sb_addc(&p->out, ':');
            put_number(&p->out, line, 0);
        }
        sb_addz(&p->out, "</code> ");
        html_escapez(&p->out, get_text(f, "detail"));
        sb_addz(&p->out, "</div>");
    }
    sb_addz(&p->out, "</td>");
}

static void issue_table(struct page *p, const json *issues)
{
    static const char *const head[] = {"Issue", "#Rows", "What was done", "First cases", NULL};
    sb_addz(&p->out, "<h3>Odd rows</h3>\n");
    if (json_count(issues) == 0) {
        sb_addz(&p->out, "<p>Import met no odd rows.</p>\n");
        return;
    }
    open_table(p, "Rows that import could not take as they are");
    head_cells(p, head);
    sb_addz(&p->out, "<tbody>");
    for (const json *i = json_first(issues); i; i = json_next(i)) {
        open_row(p, NULL);
        name_cell(p, get_text(i, "kind"));
        sb_addz(&p->out, "<td class=\"n\">");
        put_count(&p->out, get_number(i, "count"));
        sb_addz(&p->out, "</td>");
        text_cell(p, get_text(i, "handled"));
        first_cases(p, json_get(i, "first"));
        close_row(p);
    }
    sb_addz(&p->out, "</tbody>");
    close_table(p);
}

void section_data(struct page *p)
{
    const json *s = p->summary;
    open_section(p, "data", "The data", NULL);
    if (!s) {
        absent(p, "There is no summary of the imported data.");
        close_section(p);
        return;
    }
    sb_addz(&p->out, "<div class=\"tiles\">\n");
    count_tile(p, "Examples", get_number(s, "examples"));
    count_tile(p, "Queries", get_number(s, "queries"));
    count_tile(p, "Products", get_number(s, "products"));
    sb_addz(&p->out, "</div>\n");
    label_bar(p, json_get(s, "labels"));
    sb_addz(&p->out, "<div class=\"columns\">\n");
    count_table(p, json_get(s, "locales"), "Locale", "Examples");
    count_table(p, json_get(s, "splits"), "Split", "Examples");
    count_table(p, json_get(s, "relations"), "Relation", "Edges");
    sb_addz(&p->out, "</div>\n");
    issue_table(p, json_get(s, "issues"));
    close_section(p);
}
