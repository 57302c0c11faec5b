/* slices.c: see slices.h. */
#include "ensemble/slices.h"

#include "base/error.h"
#include "base/memory.h"

#include <string.h>

enum { BANDS = 5 };
/* Bands are of a fixed width in powers of ten, so that they mean the same in every workspace.
 */
static const char *const band_names[BANDS] = {"0", "1", "2-9", "10-99", "100 and more"};

static unsigned band_of(double count)
{
    return count < 0.5 ? 0 : count < 1.5 ? 1 : count < 9.5 ? 2 : count < 99.5 ? 3 : 4;
}

void slices_close(struct slices *x)
{
    mem_free(x->cell);
    mem_free(x->holds);
    memset(x, 0, sizeof *x);
}

/* count[n_queries]: how often each query was asked. Impressions come a product at a time, so
 * the largest number over its products is the nearest that is known. */
static void count_queries(const struct stack *s, double *count, struct slices *x)
{
    const struct dataset *d = &s->w->data;
    const struct relation *r = relations_find(&s->w->relations, "impressions");
    x->band_of = r && r->kind == RELATION_QUERY_PRODUCT ? "impressions" : "examples";
    if (strcmp(x->band_of, "examples") == 0) {
        for (size_t i = 0; i < d->n_examples; i++)
            count[d->example_query[i]]++;
        return;
    }
    for (size_t i = 0; i < r->n; i++)
        if (count[r->source[i]] < (double)r->weight[i])
            count[r->source[i]] = (double)r->weight[i];
}

static void add_slice(struct slices *x, const char *name, enum slice_by by)
{
    struct slice *a = &x->items[x->n++];
    snprintf(a->name, sizeof a->name, "%s", name);
    a->by = by;
}

/* Slices that hold rows, and which cells they hold. rows[n_cells] counts. */
static void find_slices(const struct stack *s, const size_t *rows, struct slices *x)
{
    const struct dataset *d = &s->w->data;
    add_slice(x, "all", SLICE_ALL);
    x->items[0].n = s->n;
    memset(x->holds, 1, x->n_cells);
    for (size_t pass = 0; pass < d->n_locales + BANDS && x->n < MAX_SLICES; pass++) {
        bool locale = pass < d->n_locales;
        size_t which = locale ? pass : pass - d->n_locales, n = 0;
        uint8_t *holds = x->holds + x->n * x->n_cells;
        for (size_t c = 0; c < x->n_cells; c++) {
            holds[c] = (locale ? c / BANDS : c % BANDS) == which;
            n += holds[c] ? rows[c] : 0;
        }
        if (n == 0)
            continue;
        add_slice(x, locale ? d->locale_names[which] : band_names[which],
                  locale ? SLICE_LOCALE : SLICE_BAND);
        x->items[x->n - 1].n = n;
    }
}

medley_status slices_open(const struct stack *s, struct slices *out, medley_error *err)
{
    const struct dataset *d = &s->w->data;
    struct slices x = {.n_cells = d->n_locales * BANDS};
    double *count = mem_zalloc(d->n_queries, sizeof *count);
    size_t *rows = mem_zalloc(x.n_cells, sizeof *rows);
    x.cell = mem_alloc(s->n, sizeof *x.cell);
    x.holds = mem_alloc(MAX_SLICES, x.n_cells);
    medley_status st =
        count && rows && x.cell && x.holds ? MEDLEY_OK : fail_memory(err, "slices");
    if (!st) {
        count_queries(s, count, &x);
        for (size_t i = 0; i < s->n; i++) {
            size_t q = s->query[i];
            x.cell[i] = (uint16_t)(d->query_locale[q] * BANDS + band_of(count[q]));
            rows[x.cell[i]]++;
        }
        find_slices(s, rows, &x);
    }
    mem_free(count);
    mem_free(rows);
    if (st)
        slices_close(&x);
    else
        *out = x;
    return st;
}
