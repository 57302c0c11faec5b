/* link_store.c: reads the file of link_store.h, and answers pairs from it. */
#include "gnn/link_store_file.h"

#include "base/error.h"
#include "base/memory.h"
#include "nn/ops.h"

#include <math.h>
#include <string.h>

/* Pairs whose heads run together. */
enum { CHUNK = 64 };

struct link_store {
    struct mapping file; /* owned when `mapped` */
    bool mapped;
    const char *name; /* for messages; only while opening */
    char *path;       /* owned */
    const struct link_store_header *header;
    struct link_store_layout layout;
    const uint32_t *query_ids, *product_ids, *pair_product;
    const uint64_t *pair_offsets;
    const float *pair, *query_rows, *product_rows;
};

static uint64_t padded(uint64_t n)
{
    return (n + 63) & ~UINT64_C(63);
}

bool link_store_layout(const struct link_store_header *h, struct link_store_layout *out)
{
    struct link_store_layout l = {.query_ids = sizeof *h};
    const uint64_t most = UINT64_C(1) << 32, most_pairs = UINT64_C(1) << 40;
    if (h->hidden > 4096 || h->width > 65536 || h->classes > MAX_CLASSES || h->queries > most ||
        h->products > most || h->pairs > most_pairs)
        return false;
    size_t row = row_degree(h->hidden, h->width) + 1;
    l.product_stride = (row + 15) / 16 * 16;
    l.query_stride = (row + 1 + WHOLE + 15) / 16 * 16;
    l.product_ids = l.query_ids + padded(h->queries * sizeof(uint32_t));
    l.pair_offsets = l.product_ids + padded(h->products * sizeof(uint32_t));
    l.pair_product = l.pair_offsets + padded((h->queries + 1) * sizeof(uint64_t));
    l.pair = l.pair_product + padded(h->pairs * sizeof(uint32_t));
    l.query_rows = l.pair + padded(h->pairs * h->classes * sizeof(float));
    l.product_rows = l.query_rows + h->queries * l.query_stride * sizeof(float);
    l.end = l.product_rows + h->products * l.product_stride * sizeof(float);
    *out = l;
    return true;
}

/* ---- reading ---- */

static medley_status refuse(const struct link_store *s, medley_error *err, const char *why)
{
    return fail(err, MEDLEY_EFORMAT, "%s: precomputed embeddings: %s", s->name, why);
}

static medley_status check_header(struct link_store *s, medley_error *err)
{
    const struct link_store_header *h = s->header = (const void *)s->file.data;
    if (s->file.n < sizeof *h || memcmp(h->magic, LINK_STORE_MAGIC, sizeof h->magic) != 0)
        return refuse(s, err, "not such a file, or cut short");
    if (h->version != LINK_STORE_VERSION)
        return fail(err, MEDLEY_EUNSUPPORTED,
                    "%s: precomputed embeddings of version %u (expected %d)", s->name,
                    h->version, LINK_STORE_VERSION);
    struct hash128 hash = link_store_hash_header(h);
    if (memcmp(&hash, &h->header, sizeof hash) != 0)
        return refuse(s, err, "the header was altered");
    if (h->header_bytes != sizeof *h || h->neighbours != WHOLE || !h->hidden || !h->width ||
        !h->classes || h->queries > h->graph_queries || h->products > h->graph_products ||
        h->graph_queries > UINT32_MAX || h->graph_products > UINT32_MAX ||
        !link_store_layout(h, &s->layout) || s->layout.end != h->file_bytes)
        return refuse(s, err, "the header contradicts itself");
    if (s->file.n != h->file_bytes)
        return fail(err, MEDLEY_EFORMAT,
                    "%s: precomputed embeddings: %zu bytes, but its header says %llu", s->name,
                    s->file.n, (unsigned long long)h->file_bytes);
    hash = link_store_hash(s->file.data + sizeof *h, s->file.n - sizeof *h);
    if (memcmp(&hash, &h->payload, sizeof hash) != 0)
        return refuse(s, err, "the contents were altered");
    return MEDLEY_OK;
}

static bool ascending(const uint32_t *ids, size_t n, uint64_t limit)
{
    for (size_t i = 0; i < n; i++)
        if (ids[i] >= limit || (i && ids[i] <= ids[i - 1]))
            return false;
    return true;
}

static bool good_pairs(const struct link_store *s)
{
    const struct link_store_header *h = s->header;
    const uint64_t *at = s->pair_offsets;
    if (at[0] != 0 || at[h->queries] != h->pairs)
        return false;
    for (size_t q = 0; q < h->queries; q++)
        if (at[q + 1] < at[q] || at[q + 1] > h->pairs ||
            !ascending(s->pair_product + at[q], (size_t)(at[q + 1] - at[q]), h->graph_products))
            return false;
    for (size_t i = 0; i < h->pairs * h->classes; i++)
        if (!(s->pair[i] >= 0 && s->pair[i] <= 1))
            return false;
    return true;
}

static bool good_rows(const float *rows, size_t n, size_t stride)
{
    for (size_t i = 0; i < n * stride; i++)
        if (!isfinite(rows[i]))
            return false;
    return true;
}

/* The number of neighbours is used as a length. */
static bool good_counts(const struct link_store *s)
{
    const struct link_store_header *h = s->header;
    size_t others = row_others(h->hidden, h->width);
    for (size_t q = 0; q < h->queries; q++) {
        float n = s->query_rows[q * s->layout.query_stride + others];
        if (!(n >= 0 && n <= WHOLE) || n != floorf(n))
            return false;
    }
    return true;
}

static medley_status check_contents(const struct link_store *s, medley_error *err)
{
    const struct link_store_header *h = s->header;
    if (!ascending(s->query_ids, (size_t)h->queries, h->graph_queries) ||
        !ascending(s->product_ids, (size_t)h->products, h->graph_products))
        return refuse(s, err, "ids out of order or out of range");
    if (!good_pairs(s))
        return refuse(s, err, "pairs out of order, or no probabilities");
    if (!good_rows(s->query_rows, (size_t)h->queries, s->layout.query_stride) ||
        !good_rows(s->product_rows, (size_t)h->products, s->layout.product_stride) ||
        !good_counts(s))
        return refuse(s, err, "a row holds what no model gives");
    return MEDLEY_OK;
}

medley_status link_store_parse(struct mapping bytes, const char *name, struct link_store **out,
                               medley_error *err)
{
    struct link_store *s = mem_zalloc(1, sizeof *s);
    if (!s)
        return fail_memory(err, "precomputed embeddings");
    s->file = bytes;
    s->name = name;
    medley_status st = check_header(s, err);
    if (st == MEDLEY_OK) {
        const uint8_t *data = s->file.data;
        s->query_ids = (const void *)(data + s->layout.query_ids);
        s->product_ids = (const void *)(data + s->layout.product_ids);
        s->pair_offsets = (const void *)(data + s->layout.pair_offsets);
        s->pair_product = (const void *)(data + s->layout.pair_product);
        s->pair = (const void *)(data + s->layout.pair);
        s->query_rows = (const void *)(data + s->layout.query_rows);
        s->product_rows = (const void *)(data + s->layout.product_rows);
        st = check_contents(s, err);
    }
    if (st == MEDLEY_OK)
        *out = s;
    else
        link_store_close(s);
    return st;
}

medley_status link_store_open(const char *path, struct link_store **out, medley_error *err)
{
    struct mapping bytes = {0};
    struct link_store *s = NULL;
    char *name = mem_strdup(path);
    medley_status st = name ? mapping_open(path, &bytes, err) : fail_memory(err, "a path");
    if (st == MEDLEY_OK)
        st = link_store_parse(bytes, name, &s, err);
    if (st != MEDLEY_OK) {
        mapping_close(&bytes);
        mem_free(name);
        return st;
    }
    s->mapped = true;
    s->name = s->path = name;
    *out = s;
    return MEDLEY_OK;
}

void link_store_close(struct link_store *s)
{
    if (!s)
        return;
    if (s->mapped)
        mapping_close(&s->file);
    mem_free(s->path);
    mem_free(s);
}

medley_status link_store_check(const struct link_store *s, const struct link_classifier *m,
                               const struct graph *g, const float *features, medley_error *err)
{
    const struct link_store_header *h = s->header;
    if (h->hidden != m->options.hidden || h->width != m->width || h->classes != m->n_classes ||
        h->graph_queries != g->n_queries || h->graph_products != g->n_products)
        return refuse(s, err, "made for another model or graph");
    struct hash128 source = link_store_source(m, g, features);
    if (memcmp(&source, &h->source, sizeof source) != 0)
        return refuse(s, err, "made from another model, graph or features");
    return MEDLEY_OK;
}

struct link_store_size link_store_size(const struct link_store *s)
{
    const struct link_store_header *h = s->header;
    return (struct link_store_size){(size_t)h->queries, (size_t)h->products, (size_t)h->pairs,
                                    s->file.n};
}

/* ---- answering ---- */

size_t link_store_find(const uint32_t *ids, size_t n, uint32_t id)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (ids[middle] < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < n && ids[low] == id ? low : SIZE_MAX;
}

/* Pairs gathered for the heads, up to CHUNK. */
struct gathered {
    struct tape tape;
    uint32_t place[CHUNK]; /* in the request */
    size_t row[CHUNK];     /* of the product */
    size_t n;
};

static struct match_side side_of(const struct link_store *s, const float *row, const float *raw,
                                 bool query)
{
    const struct link_store_header *h = s->header;
    struct match_side side = {.raw = raw,
                              .around = row + row_around(h->hidden),
                              .log_degree = row[row_degree(h->hidden, h->width)]};
    if (query) {
        const float *others = row + row_others(h->hidden, h->width);
        side.n_others = (size_t)others[0];
        side.others = others + 1;
    }
    return side;
}

/* One classifier evaluation over the stored rows of the gathered pairs. */
static medley_status run_heads(const struct link_store *s, const struct link_classifier *m,
                               const struct link_request *r, size_t query_at,
                               struct gathered *c, float *probabilities, medley_error *err)
{
    size_t hidden = m->options.hidden, width = m->width, n = c->n, k = m->n_classes;
    struct tape *t = &c->tape;
    tape_reset(t, false, 0);
    struct tensor *rows = tape_tensor(t, 2 * n, hidden, false);
    float *match = tape_alloc(t, n * MATCH_COLUMNS, sizeof *match),
          *raw = tape_alloc(t, 2 * width, sizeof *raw),
          *out = tape_alloc(t, n * k, sizeof *out);
    if (!rows || !match || !raw || !out)
        return fail_memory(err, "a request");
    const float *q = s->query_rows + query_at * s->layout.query_stride;
    link_raw_row(r->features + r->query * width, width, raw);
    struct match_side query = side_of(s, q, raw, true);
    for (size_t i = 0; i < n; i++) {
        const float *p = s->product_rows + c->row[i] * s->layout.product_stride;
        size_t node = r->graph->n_queries + r->product[c->place[i]];
        memcpy(rows->value + i * hidden, q, hidden * sizeof *q);
        memcpy(rows->value + (n + i) * hidden, p, hidden * sizeof *p);
        link_raw_row(r->features + node * width, width, raw + width);
        struct match_side product = side_of(s, p, raw + width, false);
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

medley_status link_store_answer(const struct link_store *s, const struct link_classifier *m,
                                const struct link_request *r, uint8_t *stored,
                                float *probabilities, medley_error *err)
{
    const struct link_store_header *h = s->header;
    const struct graph *g = r->graph;
    size_t k = m->n_classes, query_at = SIZE_MAX;
    if (r->query != UINT32_MAX)
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
