/* report.c: reads the files, writes the sections in order. Proof: tests/test_report.c. */
#include "report/report.h"

#include "base/error.h"
#include "base/file.h"
#include "report/page.h"

#include <string.h>

static medley_status load_part(const char *path, json **out, medley_error *err)
{
    *out = NULL;
    if (!path || !file_exists(path))
        return MEDLEY_OK;
    medley_status st = json_load(path, out, err);
    if (st == MEDLEY_OK && json_kind_of(*out) != JSON_OBJECT)
        return fail(err, MEDLEY_EFORMAT, "%s: expected a JSON object", path);
    return st;
}

void page_head(struct page *p, const char *title)
{
    sb_addz(&p->out, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
                     "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
                     "<meta name=\"generator\" content=\"Medley ");
    html_escapez(&p->out, medley_version());
    sb_addz(&p->out, "\">\n<title>");
    html_escapez(&p->out, title);
    sb_addz(&p->out, "</title>\n<style>\n");
    sb_addz(&p->out, report_css);
    for (int level = 0; level <= 20; level++) { /* the heat map's steps of five percent */
        sb_addf(&p->out, ".h%d{fill-opacity:", level);
        put_number(&p->out, level ? 0.05 * level : 0.03, 2);
        sb_addc(&p->out, '}');
    }
    sb_addz(&p->out, "\n</style></head>\n<body>\n");
}

static void write_header(struct page *p, const char *title)
{
    static const struct {
        const char *id, *name;
    } links[] = {{"results", "Results"},          {"ranking", "Which models matter"},
                 {"classes", "Per class"},        {"spread", "Pair by pair"},
                 {"swarm", "Every pair a dot"},   {"worth", "What models are worth"},
                 {"pairs", "Which say the same"}, {"confusion", "Errors"},
                 {"hardest", "Hardest queries"},  {"selection", "Cost"},
                 {"cascade", "Cascade"},          {"calibration", "Calibration"},
                 {"locales", "Locales"},          {"data", "Data"},
                 {"reading", "How to read this"}};
    sb_addz(&p->out, "<header><h1>");
    html_escapez(&p->out, title);
    sb_addz(&p->out, "</h1>\n<p class=\"muted\">");
    if (p->in->bundle && *p->in->bundle) {
        sb_addz(&p->out, "Bundle <code>");
        html_escapez(&p->out, p->in->bundle);
        sb_addz(&p->out, "</code>");
    }
    if (p->in->created && *p->in->created) {
        sb_addz(&p->out, p->in->bundle && *p->in->bundle ? ", made " : "Made ");
        html_escapez(&p->out, p->in->created);
    }
    sb_addz(&p->out, "</p>\n<nav aria-label=\"Sections\"><ul>");
    for (size_t i = 0; i < sizeof links / sizeof links[0]; i++)
        sb_addf(&p->out, "<li><a href=\"#%s\">%s</a></li>", links[i].id, links[i].name);
    sb_addz(&p->out, "</ul></nav></header>\n<main>\n");
}

void page_foot(struct page *p)
{
    sb_addz(&p->out, "</main>\n<footer>Written by Medley ");
    html_escapez(&p->out, medley_version());
    sb_addz(&p->out, "</footer>\n</body></html>\n");
}

static void write_page(struct page *p)
{
    const char *title = p->in->title && *p->in->title ? p->in->title : "Medley report";
    page_head(p, title);
    write_header(p, title);
    section_glance(p);
    section_results(p);
    section_ranking(p);
    section_contributions(p);
    section_spread(p);
    section_swarm(p);
    section_worth(p);
    section_pairs(p);
    section_confusion(p);
    section_hardest(p);
    section_selection(p);
    section_cascade(p);
    section_calibration(p);
    section_locales(p);
    section_data(p);
    section_reading(p);
    page_foot(p);
}

medley_status report_write(const struct report_input *in, const char *path, medley_error *err)
{
    struct page p = {.in = in};
    sb_init(&p.out);
    const struct {
        const char *path;
        json **out;
    } parts[] = {{in->evaluation, &p.evaluation},   {in->ranking, &p.ranking},
                 {in->selection, &p.selection},     {in->cascade, &p.cascade},
                 {in->calibration, &p.calibration}, {in->hardest, &p.hardest},
                 {in->summary, &p.summary}};
    enum { PARTS = sizeof parts / sizeof *parts };
    medley_status st = MEDLEY_OK;
    for (size_t i = 0; i < PARTS && st == MEDLEY_OK; i++)
        st = load_part(parts[i].path, parts[i].out, err);
    if (st == MEDLEY_OK) {
        write_page(&p);
        st =
            p.out.failed ? fail_memory(err, "report") : file_write(path, p.out.s, p.out.n, err);
    }
    for (size_t i = 0; i < PARTS; i++)
        json_free(*parts[i].out);
    sb_deinit(&p.out);
    return st;
}
