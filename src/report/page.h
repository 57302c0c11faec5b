/* page.h: the report while it is being written, and the pieces its sections share. Private to
 * src/report; one section is one function in a file of its subject. */
#ifndef REPORT_PAGE_H
#define REPORT_PAGE_H

#include "base/json.h"
#include "report/report.h"
#include "report/svg.h"

struct page {
    struct strbuf out;
    const struct report_input *in;
    /* parsed files; NULL where there is none */
    json *evaluation, *ranking, *selection, *summary, *cascade, *calibration, *hardest;
};

/* The document up to and with <body>, and from </main> on. */
void page_head(struct page *p, const char *title);
void page_foot(struct page *p);
/* explanation.c: one decision; e is what `medley explain --json` prints. id: of its plot. */
void put_explanation(struct page *p, const json *e, const char *id);

/* Sections, in the order of the page. Each writes a heading with its own id. */
void section_glance(struct page *p);  /* glance.c */
void section_results(struct page *p); /* results.c */
void section_ranking(struct page *p); /* ranking.c */
void section_contributions(struct page *p);
void section_spread(struct page *p); /* spread.c */
void section_swarm(struct page *p);  /* swarm.c */
void section_worth(struct page *p);  /* worth.c */
void section_pairs(struct page *p);
void section_confusion(struct page *p);                      /* confusion.c */
void section_hardest(struct page *p);                        /* hardest.c */
void section_selection(struct page *p);                      /* selection.c */
void selection_steps(struct page *p, const json *selection); /* steps.c: its last part */
void section_cascade(struct page *p);                        /* cascade.c */
void section_calibration(struct page *p);                    /* calibration.c */
void section_locales(struct page *p);                        /* results.c */
void section_data(struct page *p);                           /* data.c */
void section_reading(struct page *p);                        /* style.c */
extern const char report_css[];                              /* style.c */

/* ---- JSON, leniently: what is absent or of another kind is NaN or "" ---- */
double get_number(const json *object, const char *key);
const char *get_text(const json *object, const char *key);
bool get_bool(const json *object, const char *key);
const json *find_named(const json *array, const char *name); /* the member with that "name" */
bool has_text(const json *array, const char *text);          /* an array of texts */
size_t longest(const json *array, size_t most);              /* json_count, at most `most` */

/* ---- HTML ---- */
void open_section(struct page *p, const char *id, const char *heading, const char *intro);
void close_section(struct page *p);
void absent(struct page *p,
            const char *sentence); /* a paragraph that says why there is nothing */
void open_table(struct page *p, const char *caption);
void close_table(struct page *p);
void head_cells(struct page *p, const char *const *names); /* a whole row; NULL-terminated;
                                                              a name that begins with '#' is of
                                                              a column of numbers */
void open_row(struct page *p, const char *css);            /* css NULL: none */
void close_row(struct page *p);
void text_cell(struct page *p, const char *text);
void name_cell(struct page *p, const char *text); /* heads its row */
void number_cell(struct page *p, double v, int decimals);
void open_figure(struct page *p, const char *css); /* css NULL: none */
void close_figure(struct page *p, const char *caption);
void open_details(struct page *p, const char *summary);
void close_details(struct page *p);
/* Class swatches with their names, in the colours c0, c1, ... */
void legend(struct page *p, const json *labels);

/* ---- texts ---- */
const char *metric_name(const char *key);            /* "macro_f1" -> "macro-F1" */
void put_count(struct strbuf *out, double v);        /* 12,345 */
void put_bytes(struct strbuf *out, double v);        /* 1.5 MB */
void put_milliseconds(struct strbuf *out, double v); /* 0.12, 3.4, 120 */
void put_signed(struct strbuf *out, double v, int decimals);
void put_names(struct strbuf *out, const json *names, const char *separator); /* not escaped */

/* The metrics of result tables, in order; NULL-terminated keys. */
struct metric {
    const char *key, *name;
    bool low_is_good;
};
extern const struct metric report_metrics[];
#define REPORT_COLOURS 8 /* classes beyond these repeat colours */

#endif
