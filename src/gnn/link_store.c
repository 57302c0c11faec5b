/* link_store.c: reads the file of link_store.h and checks every byte of it. */
#include "gnn/link_store_file.h"

#include "base/error.h"
#include "base/memory.h"

#include <math.h>
#include <string.h>

static uint64_t padded(uint64_t n)
{
    return (n + 63) & ~UINT64_C(63);
}

static struct row_shape shape_of(size_t packed, size_t columns, bool half)
{
    struct row_shape s = {.columns = columns, .packed = packed};
    s.rest = half ? (packed + packed % 2) * sizeof(uint16_t) : packed * sizeof(float);
    s.bytes = (size_t)padded(s.rest + (columns - packed) * sizeof(float));
    return s;
}

bool link_store_layout(const struct link_store_header *h, struct link_store_layout *out)
{
    struct link_store_layout l = {.query_ids = sizeof *h};
    const uint64_t most = UINT64_C(1) << 32, most_pairs = UINT64_C(1) << 40;
    if (h->hidden > 4096 || h->width > 65536 || h->classes > MAX_CLASSES ||
        h->levels > GNN_MAX_HOPS || h->half > 1 || h->queries > most || h->products > most ||
        h->pairs > most_pairs)
        return false;
    size_t degree = row_degree(h->hidden, h->levels, h->width);
    l.product = shape_of(degree, degree + 1, h->half);
    l.query = shape_of(row_degree(h->hidden, 0, h->width),
                       row_others(h->hidden, h->width) + 1 + WHOLE, h->half);
    l.product_ids = l.query_ids + padded(h->queries * sizeof(uint32_t));
    l.pair_offsets = l.product_ids + padded(h->products * sizeof(uint32_t));
    l.pair_product = l.pair_offsets + padded((h->queries + 1) * sizeof(uint64_t));
    l.pair = l.pair_product + padded(h->pairs * sizeof(uint32_t));
    l.query_prints = l.pair + padded(h->pairs * h->classes * sizeof(float));
    l.product_prints = l.query_prints + padded(h->queries * sizeof(struct hash128));
    l.pair_prints = l.product_prints + padded(h->products * sizeof(struct hash128));
    l.query_rows = l.pair_prints + padded(h->pairs * sizeof(struct hash128));
    l.product_rows = l.query_rows + h->queries * l.query.bytes;
    l.end = l.product_rows + h->products * l.product.bytes;
    *out = l;
    return true;
}

/* ---- float16 ---- */

uint16_t half_of(float x)
{
    union {
        float f;
        uint32_t u;
    } v = {x}, magic = {0.5f};
    uint32_t sign = v.u >> 16 & 0x8000;
    v.u &= 0x7fffffff;
    if (v.u >= 0x47800000) /* 65536 and beyond, infinite, no number */
        return (uint16_t)(sign | (v.u > 0x7f800000 ? 0x7e00 : 0x7c00));
    if (v.u < 0x38800000) { /* below 2^-14: the addition rounds to the fixed last place */
        v.f += magic.f;
        return (uint16_t)(sign | (v.u - magic.u));
    }
    uint32_t odd = v.u >> 13 & 1;
    return (uint16_t)(sign | ((v.u - 0x38000000 + 0xfff + odd) >> 13));
}

/* Finite values only: the exponent is moved, and denormals are put right by a subtraction. No
 * branch, so that it becomes vector code. */
void half_to_floats(const uint16_t *from, size_t n, float *to)
{
    for (size_t i = 0; i < n; i++) {
        union {
            float f;
            uint32_t u;
        } normal = {.u = ((uint32_t)(from[i] & 0x7fff) << 13) + 0x38000000},
          small = {.u = 0x38800000 + ((uint32_t)(from[i] & 0x3ff) << 13)};
        small.f -= 6.103515625e-05f;
        uint32_t magnitude = from[i] & 0x7c00 ? normal.u : small.u;
        normal.u = magnitude | (uint32_t)(from[i] & 0x8000) << 16;
        to[i] = normal.f;
    }
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
                    "%s: precomputed embeddings of version %u, expected %d (make them anew: "
                    "'medley precompute')",
                    s->name, h->version, LINK_STORE_VERSION);
    struct hash128 hash = link_store_hash_header(h);
    if (memcmp(&hash, &h->header, sizeof hash) != 0)
        return refuse(s, err, "the header was altered");
    if (h->header_bytes != sizeof *h || h->reserved || h->levels < 1 ||
        h->neighbours != WHOLE || !h->hidden || !h->width || !h->classes ||
        h->queries > h->graph_queries || h->products > h->graph_products ||
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

const float *link_store_row(const struct link_store *s, const struct row_shape *shape,
                            const uint8_t *rows, size_t at, float *scratch)
{
    const uint8_t *row = rows + at * shape->bytes;
    if (!s->header->half)
        return (const float *)(const void *)row;
    half_to_floats((const uint16_t *)(const void *)row, shape->packed, scratch);
    memcpy(scratch + shape->packed, row + shape->rest,
           (shape->columns - shape->packed) * sizeof *scratch);
    return scratch;
}

static bool good_halves(const uint16_t *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((v[i] & 0x7c00) == 0x7c00)
            return false;
    return true;
}

static bool good_floats(const float *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(v[i]))
            return false;
    return true;
}

/* All numbers finite. */
static bool good_rows(const struct link_store *s, const struct row_shape *shape,
                      const uint8_t *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const void *row = rows + i * shape->bytes,
                   *rest = rows + i * shape->bytes + shape->rest;
        if (!(s->header->half ? good_halves(row, shape->packed)
                              : good_floats(row, shape->packed)) ||
            !good_floats(rest, shape->columns - shape->packed))
            return false;
    }
    return true;
}

/* The number of neighbours, behind the degree, is used as a length. */
static bool good_counts(const struct link_store *s)
{
    for (size_t q = 0; q < s->header->queries; q++) {
        const void *rest = s->query_rows + q * s->layout.query.bytes + s->layout.query.rest;
        float n = ((const float *)rest)[1];
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
    if (!good_rows(s, &s->layout.query, s->query_rows, (size_t)h->queries) ||
        !good_rows(s, &s->layout.product, s->product_rows, (size_t)h->products) ||
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
        s->query_prints = (const void *)(data + s->layout.query_prints);
        s->product_prints = (const void *)(data + s->layout.product_prints);
        s->pair_prints = (const void *)(data + s->layout.pair_prints);
        s->query_rows = data + s->layout.query_rows;
        s->product_rows = data + s->layout.product_rows;
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
    if (h->hidden != m->options.hidden || h->levels != m->options.hops ||
        h->width != m->width || h->classes != m->n_classes ||
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
    return (struct link_store_size){.queries = (size_t)h->queries,
                                    .products = (size_t)h->products,
                                    .pairs = (size_t)h->pairs,
                                    .bytes = s->file.n,
                                    .made = h->made,
                                    .cutoff = h->cutoff,
                                    .half = h->half,
                                    .bundle = h->bundle};
}

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
