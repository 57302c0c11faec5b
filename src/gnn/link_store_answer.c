/* link_store_answer.c: answers pairs of stored nodes: the probabilities of edges as they are,
 * one classifier evaluation for others. */
#include "gnn/link_store_file.h"

#include "base/error.h"
#include "base/memory.h"
#include "nn/ops.h"

#include <string.h>

/* Pairs whose heads run together. */
enum { CHUNK = 64 };

/* Pairs gathered for the heads, up to CHUNK. */
struct gathered {
    struct tape tape;
    uint32_t place[CHUNK]; /* in the request */
    size_t row[CHUNK];     /* of the product */
    size_t n;
};

struct match_side link_store_product(const struct link_store *s, const float *row,
                                     const float *raw)
{
    const struct link_store_header *h = s->header;
    return (struct match_side){.raw = raw,
                               .around = row + row_around(h->hidden, h->levels),
                               .log_degree = row[row_degree(h->hidden, h->levels, h->width)]};
}

static struct match_side stored_query(const struct link_store *s, const float *row,
                                      const float *raw)
{
    const struct link_store_header *h = s->header;
    const float *others = row + row_others(h->hidden, h->width);
    return (struct match_side){.raw = raw,
                               .around = row + row_around(h->hidden, 0),
                               .log_degree = row[row_degree(h->hidden, 0, h->width)],
                               .n_others = (size_t)others[0],
                               .others = others + 1};
}

/* One classifier evaluation over the stored rows of the gathered pairs. */
static medley_status run_heads(const struct link_store *s, const struct link_classifier *m,
                               const struct link_request *r, size_t query_at,
                               struct gathered *c, float *probabilities, medley_error *err)
{
    size_t hidden = m->options.hidden, width = m->width, n = c->n, k = m->n_classes;
    const struct link_store_layout *l = &s->layout;
    struct tape *t = &c->tape;
    tape_reset(t, false, 0);
    struct tensor *rows = tape_tensor(t, 2 * n, hidden, false);
    float *match = tape_alloc(t, n * MATCH_COLUMNS, sizeof *match),
          *raw = tape_alloc(t, 2 * width, sizeof *raw),
          *scratch = tape_alloc(t, l->query.columns + l->product.columns, sizeof *scratch),
          *out = tape_alloc(t, n * k, sizeof *out);
    if (!rows || !match || !raw || !scratch || !out)
        return fail_memory(err, "a request");
    const float *q = link_store_row(s, &l->query, s->query_rows, query_at, scratch);
    link_raw_row(r->features + r->query * width, width, raw);
    struct match_side query = stored_query(s, q, raw);
    for (size_t i = 0; i < n; i++) {
        const float *p = link_store_row(s, &l->product, s->product_rows, c->row[i],
                                        scratch + l->query.columns);
        size_t node = r->graph->n_queries + r->product[c->place[i]];
        memcpy(rows->value + i * hidden, q, hidden * sizeof *q);
        memcpy(rows->value + (n + i) * hidden, p, hidden * sizeof *p);
        link_raw_row(r->features + node * width, width, raw + width);
        struct match_side product = link_store_product(s, p, raw + width);
        match_pair(&query, &product, width, match + i * MATCH_COLUMNS);
    }
    struct tensor *logits = link_heads(m, t, rows, match, n);
    if (!logits)
        return fail_memory(err, "a request");
    softmax_rows(logits->value, n, k, out);
    for (size_t i = 0; i < n; i++)
        memcpy(probabilities + c->place[i] * k, out + i * k, k * sizeof *out);
    c->n = 0;
    return MEDLEY_OK;
}

/* The stored rows of all candidates of a new query, who have edges only where queries do. */
static bool all_stored(const struct link_store *s, const struct link_request *r, size_t *row)
{
    if (r->graph->all.offsets[r->graph->n_queries] == 0 || !link_joins_by_listing(r))
        return false;
    for (size_t i = 0; i < r->n; i++) {
        row[i] = SIZE_MAX;
        if (r->product[i] != UINT32_MAX)
            row[i] =
                link_store_find(s->product_ids, (size_t)s->header->products, r->product[i]);
        if (row[i] == SIZE_MAX)
            return false;
    }
    return true;
}

static medley_status answer_new(const struct link_store *s, const struct link_classifier *m,
                                const struct link_request *r, uint8_t *stored,
                                float *probabilities, medley_error *err)
{
    if (r->n > LINK_STORE_LISTING)
        return MEDLEY_OK;
    size_t *row = mem_alloc(r->n, sizeof *row);
    if (!row)
        return fail_memory(err, "a request");
    medley_status st = MEDLEY_OK;
    if (all_stored(s, r, row)) {
        st = link_store_answer_new(s, m, r, row, probabilities, err);
        if (st == MEDLEY_OK)
            memset(stored, 1, r->n);
    }
    mem_free(row);
    return st;
}

medley_status link_store_answer(const struct link_store *s, const struct link_classifier *m,
                                const struct link_request *r, uint8_t *stored,
                                float *probabilities, medley_error *err)
{
    const struct link_store_header *h = s->header;
    const struct graph *g = r->graph;
    size_t k = m->n_classes, query_at = SIZE_MAX;
    if (r->query == UINT32_MAX)
        return answer_new(s, m, r, stored, probabilities, err);
    query_at = link_store_find(s->query_ids, (size_t)h->queries, r->query);
    if (query_at == SIZE_MAX)
        return MEDLEY_OK;
    const uint64_t *span = s->pair_offsets + query_at;
    medley_status st = MEDLEY_OK;
    struct gathered c = {.n = 0};
    tape_init(&c.tape, &m->params, NULL);
    for (size_t i = 0; i < r->n && st == MEDLEY_OK; i++) {
        if (r->product[i] == UINT32_MAX)
            continue;
        size_t row = link_store_find(s->product_ids, (size_t)h->products, r->product[i]);
        if (row == SIZE_MAX)
            continue;
        size_t pair = link_store_find(s->pair_product + span[0], (size_t)(span[1] - span[0]),
                                      r->product[i]);
        if (pair != SIZE_MAX) {
            memcpy(probabilities + i * k, s->pair + (span[0] + pair) * k, k * sizeof(float));
        } else if (csr_find(&g->all, r->query, (uint32_t)g->n_queries + r->product[i]) ==
                   SIZE_MAX) {
            c.place[c.n] = (uint32_t)i;
            c.row[c.n++] = row;
        } else {
            continue; /* an edge whose pair is not kept: live */
        }
        stored[i] = 1;
        if (c.n == CHUNK)
            st = run_heads(s, m, r, query_at, &c, probabilities, err);
    }
    if (c.n && st == MEDLEY_OK)
        st = run_heads(s, m, r, query_at, &c, probabilities, err);
    tape_deinit(&c.tape);
    return st;
}
