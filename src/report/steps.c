/* steps.c: around the choice of models: other choices, one model less or more, and models that
 * are down. */
#include "report/page.h"

#include <math.h>
#include <string.h>

#define MOST_DOWN_ROWS 64

static void difference_cells(struct page *p, const json *d)
{
    number_cell(p, get_number(d, "value"), 4);
    sb_addz(&p->out, "<td class=\"n\">");
    put_signed(&p->out, get_number(d, "low"), 4);
    sb_addz(&p->out, " to ");
    put_signed(&p->out, get_number(d, "high"), 4);
    sb_addz(&p->out, "</td>");
}

static void step_rows(struct page *p, const json *steps, const char *verb, const char *metric)
{
    for (const json *s = json_first(steps); s; s = json_next(s)) {
        open_row(p, NULL);
        sb_addf(&p->out, "<th scope=\"row\">%s ", verb);
        html_escapez(&p->out, get_text(s, "name"));
        sb_addz(&p->out, "</th>");
        difference_cells(p, json_get(s, metric));
        sb_addz(&p->out, "<td class=\"n\">");
        put_signed(&p->out, get_number(s, "latency_ms"), 2);
        sb_addz(&p->out, "</td><td class=\"n\">");
        put_signed(&p->out, get_number(s, "memory_bytes") / 1e6, 1);
        sb_addz(&p->out, "</td>");
        close_row(p);
    }
}

static void put_choices(struct page *p, const json *s)
{
    const json *choices = json_get(s, "choices");
    static const char *const keys[] = {"best", "knee", "cheapest"};
    static const char *const texts[] = {
        "The best within the budget: ", "; the knee of the front: ",
        "; the cheapest that is not worse beyond noise: "};
    double optimism = get_number(json_get(s, "search"), "optimism");
    if (json_count(choices) == 0)
        return;
    sb_addz(&p->out, "<p>");
    for (size_t i = 0; i < 3; i++) {
        struct strbuf names;
        sb_init(&names);
        put_names(&names, json_get(choices, keys[i]), " + ");
        sb_addz(&p->out, texts[i]);
        html_escape(&p->out, sb_str(&names));
        p->out.failed |= names.failed;
        sb_deinit(&names);
    }
    sb_addz(&p->out, ".");
    if (isfinite(optimism)) {
        sb_addz(
            &p->out,
            " Choosing among so many subsets by the same pairs flatters the choice by about ");
        put_number(&p->out, optimism, 3);
        sb_addz(&p->out, ".");
    }
    sb_addz(&p->out, "</p>\n");
}

static void down_table(struct page *p, const json *s)
{
    static const char *const head[] = {
        "Down", "#Macro-F1", "#95% interval", "#Accuracy", "#Macro-F1 if refitted without",
        NULL};
    const json *all = json_get(s, "when_down");
    size_t rows = 0;
    if (json_count(all) < 2)
        return;
    sb_addz(&p->out, "<h3>When models are down</h3>\n");
    open_details(
        p, "What to expect of the chosen ensemble when some of its models give no answer");
    open_table(p, "Out of fold, the same ensemble with answers missing");
    head_cells(p, head);
    sb_addz(&p->out, "<tbody>");
    for (const json *d = json_first(all); d && rows < MOST_DOWN_ROWS;
         d = json_next(d), rows++) {
        struct strbuf names;
        const json *ci = json_first(json_get(d, "macro_f1_ci95"));
        double low = NAN, high = NAN;
        json_as_double(ci, &low);
        json_as_double(ci ? json_next(ci) : NULL, &high);
        sb_init(&names);
        put_names(&names, json_get(d, "down"), ", ");
        open_row(p, NULL);
        sb_addz(&p->out, "<th scope=\"row\">");
        html_escape(&p->out, names.n ? sb_str(&names) : STR("none"));
        sb_addz(&p->out, "</th>");
        number_cell(p, get_number(d, "macro_f1"), 3);
        sb_addz(&p->out, "<td class=\"n\">");
        put_number(&p->out, low, 3);
        sb_addz(&p->out, " to ");
        put_number(&p->out, high, 3);
        sb_addz(&p->out, "</td>");
        number_cell(p, get_number(d, "accuracy"), 3);
        number_cell(p, get_number(d, "refitted_macro_f1"), 3);
        close_row(p);
        p->out.failed |= names.failed;
        sb_deinit(&names);
    }
    sb_addz(&p->out, "</tbody>");
    close_table(p);
    close_details(p);
}

void selection_steps(struct page *p, const json *s)
{
    static const char *const head[] = {"One model less or more", "#Change",     "#95% interval",
                                       "#Latency, ms",           "#Memory, MB", NULL};
    const char *metric = get_text(s, "metric");
    put_choices(p, s);
    if (json_count(json_get(s, "drop")) + json_count(json_get(s, "add")) > 0) {
        sb_addz(&p->out, "<h3>One model less or more</h3>\n");
        open_table(p, "What changes, out of fold, and what it costs or saves");
        head_cells(p, head);
        sb_addz(&p->out, "<tbody>");
        step_rows(p, json_get(s, "drop"), "without", metric);
        step_rows(p, json_get(s, "add"), "with", metric);
        sb_addz(&p->out, "</tbody>");
        close_table(p);
    }
    down_table(p, s);
}
