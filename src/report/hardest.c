/* hardest.c: the queries that the ensemble gets most wrong, each with its worst pair explained.
 */
#include "report/page.h"

#include <stdio.h>

static void put_query(struct page *p, const json *q, size_t i)
{
    const json *worst = json_get(q, "worst"), *e = json_get(q, "explanation");
    char id[32];
    snprintf(id, sizeof id, "hardest-%zu-plot", i);
    sb_addz(&p->out, "<h3>");
    html_escapez(&p->out, get_text(q, "query"));
    sb_addz(&p->out, " <span class=\"muted\">");
    html_escapez(&p->out, get_text(q, "locale"));
    sb_addz(&p->out, ", ");
    put_count(&p->out, get_number(q, "n"));
    sb_addz(&p->out, get_number(q, "n") == 1 ? " pair, " : " pairs, ");
    put_number(&p->out, 100 * get_number(q, "accuracy"), 0);
    sb_addz(&p->out, "% right, log-loss ");
    put_number(&p->out, get_number(q, "log_loss"), 2);
    sb_addz(&p->out, "</span></h3>\n<p>Worst: ");
    html_escapez(&p->out, *get_text(worst, "title") ? get_text(worst, "title")
                                                    : get_text(worst, "product"));
    sb_addz(&p->out, " is judged <b>");
    html_escapez(&p->out, get_text(worst, "truth"));
    sb_addz(&p->out, "</b>; the ensemble says <b>");
    html_escapez(&p->out, get_text(worst, "label"));
    sb_addz(&p->out, "</b> and gives the judgement ");
    put_number(&p->out, 100 * get_number(worst, "probability"), 1);
    sb_addz(&p->out, "%.</p>\n");
    if (json_kind_of(e) != JSON_OBJECT)
        return;
    open_details(p, "Why");
    put_explanation(p, e, id);
    close_details(p);
}

void section_hardest(struct page *p)
{
    const json *queries = json_get(p->hardest, "queries");
    size_t i = 0;
    open_section(p, "hardest", "Hardest queries", NULL);
    if (json_count(queries) == 0) {
        absent(p, "No queries were looked at one by one yet.");
        close_section(p);
        return;
    }
    sb_addz(
        &p->out,
        "<p class=\"intro\">Held-out queries whose judgements surprise the ensemble most, for "
        "their number of pairs. Look at the judgement first: often it is the odd "
        "one.</p>\n");
    for (const json *q = json_first(queries); q; q = json_next(q))
        put_query(p, q, i++);
    close_section(p);
}
