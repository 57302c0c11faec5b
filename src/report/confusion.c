/* confusion.c: what the selected ensemble takes for what: a heat map, and precision and recall.
 */
#include "report/page.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define MAX_CLASSES 16
#define WIDTH 480

struct matrix {
    size_t n;
    double counts[MAX_CLASSES][MAX_CLASSES]; /* [true][predicted] */
    const char *names[MAX_CLASSES];
};

static bool read_matrix(const json *labels, const json *rows, struct matrix *m)
{
    memset(m, 0, sizeof *m);
    m->n = longest(labels, MAX_CLASSES);
    if (m->n == 0 || json_count(rows) != json_count(labels))
        return false;
    size_t i = 0;
    for (const json *l = json_first(labels); l && i < m->n; l = json_next(l), i++) {
        m->names[i] = "";
        json_as_text(l, &m->names[i]);
    }
    i = 0;
    for (const json *r = json_first(rows); r && i < m->n; r = json_next(r), i++) {
        size_t k = 0;
        for (const json *v = json_first(r); v && k < m->n; v = json_next(v), k++)
            if (!json_as_double(v, &m->counts[i][k]) || m->counts[i][k] < 0)
                return false;
        if (k < m->n)
            return false;
    }
    return true;
}

/* The chosen ensemble, else another one, else the first model. */
static const json *whose_matrix(const json *e)
{
    const json *ensembles = json_get(e, "ensembles");
    const json *selected = find_named(ensembles, "selected");
    if (!selected)
        selected = json_first(ensembles);
    return selected ? selected : json_first(json_get(e, "models"));
}

static void cell(struct page *p, const struct matrix *m, size_t i, size_t k, double total,
                 const double box[4])
{
    char tip[256], percent[NUMBER_TEXT], count[NUMBER_TEXT], css[16];
    double share = total > 0 ? m->counts[i][k] / total : 0;
    /* five-percent steps of one colour; the text turns light on the darker half */
    int level = (int)(share * 20 + 0.5);
    number_text(percent, 100 * share, share > 0 && share < 0.1 ? 1 : 0);
    number_text(count, m->counts[i][k], 0);
    snprintf(tip, sizeof tip, "%.40s taken for %.40s: %s of %.0f (%s%%)", m->names[i],
             m->names[k], count, total, percent);
    snprintf(css, sizeof css, "heat h%d", level);
    svg_rect(&p->out, box[0], box[1], box[2] - 2, box[3] - 2, css, tip);
    const char *ink = level > 9 ? "onheat" : "value";
    double x = box[0] + box[2] / 2 - 1, y = box[1] + box[3] / 2;
    if (box[2] >= 44) {
        char text[NUMBER_TEXT + 2];
        snprintf(text, sizeof text, "%s%%", percent);
        svg_text(&p->out, x, y, "middle", ink, text, 0);
        snprintf(css, sizeof css, "%s tiny", ink);
        svg_text(&p->out, x, y + 14, "middle", css, count, 0);
    } else {
        svg_text(&p->out, x, y + 4, "middle", ink, percent, 0);
    }
}

static void heat_map(struct page *p, const struct matrix *m, const char *id, const char *title)
{
    double names = 24;
    for (size_t i = 0; i < m->n; i++)
        names = fmax(names, svg_text_width(m->names[i]));
    double left = fmin(names, 120) + 16, top = 44;
    double size = fmin((WIDTH - left - 4) / (double)m->n, 84), height = fmin(size, 54);
    svg_begin(&p->out, id, WIDTH, top + height * (double)m->n + 6, title,
              "One row a true class, one column a predicted class.");
    svg_text(&p->out, left, 14, "start", "label", "predicted \xE2\x86\x92", 0);
    svg_text(&p->out, 2, top - 10, "start", "label", "true \xE2\x86\x93", 0);
    for (size_t k = 0; k < m->n; k++)
        svg_text(&p->out, left + size * ((double)k + 0.5) - 1, top - 10, "middle", "name",
                 m->names[k], size - 4);
    for (size_t i = 0; i < m->n; i++) {
        double total = 0, y = top + height * (double)i;
        for (size_t k = 0; k < m->n; k++)
            total += m->counts[i][k];
        svg_text(&p->out, left - 8, y + height / 2 + 4, "end", "name", m->names[i], left - 12);
        for (size_t k = 0; k < m->n; k++)
            cell(p, m, i, k, total, (const double[]){left + size * (double)k, y, size, height});
    }
    svg_end(&p->out);
}

/* The same in every locale that has pairs, smaller. */
static void heat_maps_by_locale(struct page *p, const json *labels)
{
    enum { MOST_LOCALES = 12 };
    const json *locales = json_get(p->evaluation, "per_locale");
    size_t i = 0;
    if (json_count(locales) < 2)
        return;
    sb_addz(&p->out, "<h3>In each locale</h3>\n<div class=\"halves\">");
    for (const json *l = json_first(locales); l && i < MOST_LOCALES; l = json_next(l), i++) {
        struct matrix m;
        char id[40];
        const json *who = whose_matrix(l);
        if (!who || !read_matrix(labels, json_get(who, "confusion"), &m))
            continue;
        snprintf(id, sizeof id, "confusion-%zu-plot", i);
        open_figure(p, "small");
        heat_map(p, &m, id, "Confusion matrix of a locale");
        sb_addz(&p->out, "<figcaption>");
        html_escapez(&p->out, json_key(l));
        sb_addz(&p->out, ": ");
        put_count(&p->out, get_number(l, "n"));
        sb_addz(&p->out, " pairs</figcaption></figure>\n");
    }
    sb_addz(&p->out, "</div>\n");
}

static void class_table(struct page *p, const json *labels, const json *per_class)
{
    static const char *const head[] = {"Class", "#Precision", "#Recall", "#F1", "#Pairs", NULL};
    if (json_count(per_class) == 0)
        return;
    open_table(p, "Precision and recall of each class");
    head_cells(p, head);
    sb_addz(&p->out, "<tbody>");
    for (const json *l = json_first(labels); l; l = json_next(l)) {
        const char *name = "";
        json_as_text(l, &name);
        const json *c = json_get(per_class, name);
        open_row(p, NULL);
        name_cell(p, name);
        number_cell(p, get_number(c, "precision"), 3);
        number_cell(p, get_number(c, "recall"), 3);
        number_cell(p, get_number(c, "f1"), 3);
        sb_addz(&p->out, "<td class=\"n\">");
        put_count(&p->out, get_number(c, "support"));
        sb_addz(&p->out, "</td>");
        close_row(p);
    }
    sb_addz(&p->out, "</tbody>");
    close_table(p);
}

void section_confusion(struct page *p)
{
    struct matrix m;
    const json *who = whose_matrix(p->evaluation), *labels = json_get(p->evaluation, "labels");
    open_section(p, "confusion", "Where it errs", NULL);
    if (!who || !read_matrix(labels, json_get(who, "confusion"), &m)) {
        absent(p, p->evaluation ? "The evaluation has no confusion matrix."
                                : "There is no confusion matrix without an evaluation.");
    } else {
        sb_addz(&p->out, "<p class=\"intro\">The errors of \xE2\x80\x9C");
        html_escapez(&p->out, get_text(who, "name"));
        sb_addz(&p->out, "\xE2\x80\x9D on held-out queries.</p>\n<div class=\"pair\">");
        open_figure(p, NULL);
        heat_map(p, &m, "confusion-plot", "Confusion matrix");
        close_figure(p,
                     "Share of each true class (rows sum to 100%), and the number of pairs.");
        class_table(p, labels, json_get(who, "per_class"));
        sb_addz(&p->out, "</div>\n");
        heat_maps_by_locale(p, labels);
    }
    close_section(p);
}
