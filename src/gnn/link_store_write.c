/* link_store_write.c: computes and writes the file of link_store.h. Rows are made and written a
 * chunk at a time, so that a store may be larger than memory. */
#include "gnn/link_store_file.h"

#include "base/error.h"
#include "base/memory.h"

#include <string.h>

enum { ROWS_AT_A_TIME = 4096 };

struct hash128 link_store_hash(const uint8_t *payload, size_t n)
{
    struct hash128 h = {0, 0};
    for (size_t at = 0; at < n; at += LINK_STORE_BLOCK)
        h = hash_bytes(payload + at, n - at < LINK_STORE_BLOCK ? n - at : LINK_STORE_BLOCK, h);
    return h;
}

struct hash128 link_store_hash_header(const struct link_store_header *h)
{
    return hash_bytes(h, offsetof(struct link_store_header, header), (struct hash128){0, 0});
}

struct hash128 link_store_source(const struct link_classifier *m, const struct graph *g,
                                 const float *features)
{
    struct strbuf config;
    const struct csr *all = &g->all;
    size_t edges = all->n ? (size_t)all->offsets[all->n] : 0;
    struct hash128 h = {LINK_STORE_VERSION, 0};
    sb_init(&config);
    link_config_write(m, &config); /* cut short when out of memory: then it does not match */
    h = hash_bytes(config.s, config.n, h);
    sb_deinit(&config);
    h = hash_bytes(m->params.values, m->params.total * sizeof(float), h);
    h = hash_bytes(all->offsets, (all->n + 1) * sizeof *all->offsets, h);
    h = hash_bytes(all->target, edges * sizeof *all->target, h);
    if (all->weight)
        h = hash_bytes(all->weight, edges * sizeof *all->weight, h);
    if (m->ops->relations)
        h = hash_bytes(all->relations, edges * sizeof *all->relations, h);
    return hash_bytes(features, g->n_nodes * m->width * sizeof *features, h);
}

/* ---- what goes into it ---- */

static void take_common(const struct link_classifier *m, const struct encoding *e, size_t i,
                        const struct match_side *side, float *row)
{
    size_t hidden = m->options.hidden;
    memcpy(row, e->roots->value + i * hidden, hidden * sizeof *row);
    row[row_degree(hidden, m->width)] = side->log_degree;
}

static size_t stride_of(const struct link_classifier *m, bool query)
{
    struct link_store_header h = {.hidden = m->options.hidden,
                                  .width = (uint32_t)m->width,
                                  .classes = (uint32_t)m->n_classes};
    struct link_store_layout l;
    link_store_layout(&h, &l);
    return query ? l.query_stride : l.product_stride;
}

static void take_products(const struct link_classifier *m, const struct encoding *e, size_t n,
                          float *out)
{
    size_t stride = stride_of(m, false);
    for (size_t i = 0; i < n; i++, out += stride) {
        memset(out, 0, stride * sizeof *out);
        struct match_side s =
            match_product(e, m->width, i, out + row_around(m->options.hidden));
        take_common(m, e, i, &s, out);
    }
}

static void take_queries(const struct link_classifier *m, const struct encoding *e, size_t n,
                         float *out)
{
    size_t stride = stride_of(m, true), others = row_others(m->options.hidden, m->width);
    for (size_t i = 0; i < n; i++, out += stride) {
        memset(out, 0, stride * sizeof *out);
        struct match_side s =
            match_query(e, m->width, i, out + row_around(m->options.hidden), out + others + 1);
        take_common(m, e, i, &s, out);
        out[others] = (float)s.n_others;
    }
}

/* Edges between stored queries and stored products. */
struct pairs {
    uint64_t *offsets;         /* [queries + 1] */
    uint32_t *query, *product; /* [n] node ids */
    float *probabilities;      /* [n, classes] */
    size_t n, query_room, product_room;
};

static bool list_pairs(const struct graph *g, const struct link_store_plan *plan,
                       struct pairs *p)
{
    p->offsets = mem_zalloc(plan->n_queries + 1, sizeof *p->offsets);
    if (!p->offsets)
        return false;
    for (size_t i = 0; i < plan->n_queries; i++) {
        uint32_t q = plan->queries[i];
        for (uint64_t e = g->all.offsets[q]; e < g->all.offsets[q + 1]; e++) {
            uint32_t node = g->all.target[e];
            if (node < g->n_queries ||
                link_store_find(plan->products, plan->n_products,
                                node - (uint32_t)g->n_queries) == SIZE_MAX)
                continue;
            if (!mem_reserve(&p->query, &p->query_room, p->n + 1, sizeof *p->query) ||
                !mem_reserve(&p->product, &p->product_room, p->n + 1, sizeof *p->product))
                return false;
            p->query[p->n] = q;
            p->product[p->n++] = node;
        }
        p->offsets[i + 1] = p->n;
    }
    return true;
}

static medley_status make_pairs(const struct link_classifier *m, const struct graph *g,
                                const float *features, const struct link_store_plan *plan,
                                struct pairs *p, medley_error *err)
{
    if (!list_pairs(g, plan, p) ||
        !(p->probabilities = mem_alloc(p->n + 1, m->n_classes * sizeof(float))))
        return fail_memory(err, "precomputed pairs");
    struct graph_view view = {.base = &g->all};
    struct feature_source source = {.stored = features,
                                    .n_stored = g->n_nodes,
                                    .n_queries = g->n_queries,
                                    .width = m->width};
    struct predict_job job = {&view, &source, p->query, p->product, p->n, NULL};
    medley_status st = p->n ? link_predict_nodes(m, &job, p->probabilities, err) : MEDLEY_OK;
    for (size_t i = 0; i < p->n; i++)
        p->product[i] -= (uint32_t)g->n_queries; /* as the file has them */
    return st;
}

static void pairs_deinit(struct pairs *p)
{
    mem_free(p->offsets);
    mem_free(p->query);
    mem_free(p->product);
    mem_free(p->probabilities);
}

/* ---- writing ---- */

/* The payload on its way to the file, hashed by blocks. Write errors surface at commit. */
struct sink {
    struct outfile file;
    uint8_t *block; /* [LINK_STORE_BLOCK] */
    size_t used;
    struct hash128 hash;
};

static void sink_flush(struct sink *s)
{
    if (s->used == 0)
        return;
    s->hash = hash_bytes(s->block, s->used, s->hash);
    fwrite(s->block, 1, s->used, s->file.f);
    s->used = 0;
}

static void sink_put(struct sink *s, const void *data, size_t n)
{
    for (size_t at = 0; at < n;) {
        size_t room = LINK_STORE_BLOCK - s->used, part = n - at < room ? n - at : room;
        memcpy(s->block + s->used, (const uint8_t *)data + at, part);
        s->used += part;
        at += part;
        if (s->used == LINK_STORE_BLOCK)
            sink_flush(s);
    }
}

static void sink_section(struct sink *s, const void *data, size_t n)
{
    static const uint8_t zeros[64];
    sink_put(s, data, n);
    sink_put(s, zeros, (64 - n % 64) % 64);
}

static medley_status write_rows(struct sink *s, const struct link_classifier *m,
                                const struct node_job *all, size_t first_node,
                                medley_error *err)
{
    medley_status st = MEDLEY_OK;
    uint32_t *nodes = mem_alloc(ROWS_AT_A_TIME, sizeof *nodes);
    float *rows = mem_alloc(ROWS_AT_A_TIME, all->stride * sizeof *rows);
    if (!nodes || !rows)
        st = fail_memory(err, "precomputed rows");
    for (size_t at = 0; at < all->n && st == MEDLEY_OK; at += ROWS_AT_A_TIME) {
        struct node_job job = *all;
        job.n = all->n - at < ROWS_AT_A_TIME ? all->n - at : ROWS_AT_A_TIME;
        job.nodes = nodes;
        for (size_t i = 0; i < job.n; i++)
            nodes[i] = (uint32_t)(first_node + all->nodes[at + i]);
        st = link_encode_nodes(m, &job, rows, err);
        if (st == MEDLEY_OK)
            sink_put(s, rows, job.n * job.stride * sizeof *rows);
    }
    mem_free(nodes);
    mem_free(rows);
    return st;
}

static medley_status plan_check(const struct link_store_plan *p, const struct graph *g,
                                medley_error *err)
{
    const struct {
        const char *what;
        const uint32_t *ids;
        size_t n, limit;
    } lists[] = {{"query", p->queries, p->n_queries, g->n_queries},
                 {"product", p->products, p->n_products, g->n_products}};
    for (int l = 0; l < 2; l++)
        for (size_t i = 0; i < lists[l].n; i++)
            if (lists[l].ids[i] >= lists[l].limit ||
                (i && lists[l].ids[i] <= lists[l].ids[i - 1]))
                return fail(err, MEDLEY_EINVAL,
                            "%s %zu to precompute is %u: out of order or not in the graph",
                            lists[l].what, i, lists[l].ids[i]);
    return MEDLEY_OK;
}

/* All behind the header; the sections in the order of the file. */
static medley_status write_payload(struct sink *s, const struct link_classifier *m,
                                   const struct graph *g, const float *features,
                                   const struct link_store_plan *plan, const struct pairs *p,
                                   medley_error *err)
{
    sink_section(s, plan->queries, plan->n_queries * sizeof *plan->queries);
    sink_section(s, plan->products, plan->n_products * sizeof *plan->products);
    sink_section(s, p->offsets, (plan->n_queries + 1) * sizeof *p->offsets);
    sink_section(s, p->product, p->n * sizeof *p->product);
    sink_section(s, p->probabilities, p->n * m->n_classes * sizeof *p->probabilities);
    struct node_job queries = {
        g, features, plan->queries, plan->n_queries, stride_of(m, true), take_queries};
    struct node_job products = {
        g, features, plan->products, plan->n_products, stride_of(m, false), take_products};
    medley_status st = write_rows(s, m, &queries, 0, err);
    if (st == MEDLEY_OK)
        st = write_rows(s, m, &products, g->n_queries, err);
    sink_flush(s);
    return st;
}

medley_status link_store_write(const struct link_classifier *m, const struct graph *g,
                               const float *features, const struct link_store_plan *plan,
                               const char *path, medley_error *err)
{
    struct pairs pairs = {0};
    struct sink s = {.block = NULL};
    struct link_store_layout layout;
    struct link_store_header h = {.version = LINK_STORE_VERSION,
                                  .header_bytes = sizeof h,
                                  .hidden = m->options.hidden,
                                  .width = (uint32_t)m->width,
                                  .classes = (uint32_t)m->n_classes,
                                  .neighbours = WHOLE,
                                  .graph_queries = g->n_queries,
                                  .graph_products = g->n_products,
                                  .queries = plan->n_queries,
                                  .products = plan->n_products};
    medley_status st = plan_check(plan, g, err);
    if (st == MEDLEY_OK)
        st = make_pairs(m, g, features, plan, &pairs, err);
    if (st == MEDLEY_OK && !(s.block = mem_alloc(LINK_STORE_BLOCK, 1)))
        st = fail_memory(err, "precomputed rows");
    if (st == MEDLEY_OK)
        st = outfile_open(&s.file, path, err);
    if (st != MEDLEY_OK)
        goto done;
    h.pairs = pairs.n;
    link_store_layout(&h, &layout);
    memcpy(h.magic, LINK_STORE_MAGIC, sizeof h.magic);
    h.file_bytes = layout.end;
    h.source = link_store_source(m, g, features);
    fwrite(&h, sizeof h, 1, s.file.f); /* its hashes follow */
    st = write_payload(&s, m, g, features, plan, &pairs, err);
    if (st != MEDLEY_OK)
        goto done;
    h.payload = s.hash;
    h.header = link_store_hash_header(&h);
    if (fseek(s.file.f, 0, SEEK_SET) != 0 || fwrite(&h, sizeof h, 1, s.file.f) != 1) {
        st = fail(err, MEDLEY_EIO, "cannot write '%s'", path);
        goto done;
    }
    st = outfile_commit(&s.file, err);
done:
    outfile_abort(&s.file);
    pairs_deinit(&pairs);
    mem_free(s.block);
    return st;
}
