/* glance.c: the first lines of the report: what was reached, with how many models, at what
 * cost. */
#include "report/page.h"

#include <math.h>

static void tile(struct page *p, const char *label, const struct strbuf *value,
                 const char *note)
{
    sb_addz(&p->out, "<div class=\"tile\"><span>");
    html_escapez(&p->out, label);
    sb_addz(&p->out, "</span><strong>");
    html_escape(&p->out, sb_str(value));
    sb_addz(&p->out, "</strong><small>");
    html_escapez(&p->out, note);
    sb_addz(&p->out, "</small></div>\n");
}

static const json *best_model(const json *models)
{
    const json *best = NULL;
    for (const json *m = json_first(models); m; m = json_next(m))
        if (isfinite(get_number(m, "macro_f1")) &&
            (!best || get_number(m, "macro_f1") > get_number(best, "macro_f1")))
            best = m;
    return best;
}

static void quality_tiles(struct page *p)
{
    const json *ensembles = json_get(p->evaluation, "ensembles");
    const json *chosen = find_named(ensembles, "selected");
    const json *best = best_model(json_get(p->evaluation, "models"));
    struct strbuf value, note;
    sb_init(&value);
    sb_init(&note);
    if (!chosen)
        chosen = json_first(ensembles);
    if (chosen) {
        put_number(&value, get_number(chosen, "macro_f1"), 3);
        sb_addz(&note, "accuracy ");
        put_number(&note, get_number(chosen, "accuracy"), 3);
        tile(p, "Macro-F1 of the ensemble", &value, note.s);
    }
    if (best) {
        sb_clear(&value);
        put_number(&value, get_number(best, "macro_f1"), 3);
        tile(p, "Macro-F1 of the best single model", &value, get_text(best, "name"));
    }
    p->out.failed |= value.failed | note.failed;
    sb_deinit(&value);
    sb_deinit(&note);
}

/* The subset that was chosen, among all that were measured. */
static const json *chosen_subset(const json *s)
{
    const json *selected = json_get(s, "selected");
    for (const json *c = json_first(json_get(s, "subsets")); c; c = json_next(c)) {
        const json *models = json_get(c, "models");
        bool same = json_count(models) == json_count(selected);
        for (const json *m = json_first(models); m && same; m = json_next(m)) {
            const char *name = "";
            json_as_text(m, &name);
            same = has_text(selected, name);
        }
        if (same)
            return c;
    }
    return NULL;
}

static void cost_tiles(struct page *p)
{
    const json *s = p->selection, *chosen = chosen_subset(s);
    struct strbuf value, note;
    sb_init(&value);
    sb_init(&note);
    sb_addf(&value, "%zu of %zu", json_count(json_get(s, "selected")),
            json_count(json_get(s, "costs")));
    put_names(&note, json_get(s, "selected"), ", ");
    tile(p, "Models kept", &value, note.s);
    if (isfinite(get_number(chosen, "latency_ms"))) {
        sb_clear(&value);
        sb_clear(&note);
        put_milliseconds(&value, get_number(chosen, "latency_ms"));
        sb_addz(&value, " ms");
        put_bytes(&note, get_number(chosen, "memory_bytes"));
        sb_addz(&note, " of memory");
        tile(p, "Latency a pair", &value, note.s);
    }
    double change = get_number(json_get(s, "chosen"), "macro_f1") -
                    get_number(json_get(s, "full"), "macro_f1");
    if (isfinite(change)) {
        sb_clear(&value);
        put_signed(&value, change, 3);
        tile(p, "Macro-F1 against all models", &value, "what the choice costs or gains");
    }
    p->out.failed |= value.failed | note.failed;
    sb_deinit(&value);
    sb_deinit(&note);
}

void section_glance(struct page *p)
{
    if (!p->evaluation && !p->selection)
        return; /* their own sections say what is missing */
    sb_addz(&p->out,
            "<section id=\"glance\" aria-label=\"At a glance\"><div class=\"tiles\">\n");
    if (p->evaluation)
        quality_tiles(p);
    if (p->selection)
        cost_tiles(p);
    sb_addz(&p->out, "</div></section>\n");
}
