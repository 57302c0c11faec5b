/* link_store_write.c: computes and writes the file of link_store.h. Rows are made, or copied
 * from the store before, and written a chunk at a time, so that a store may be larger than
 * memory. */
#include "gnn/link_store_file.h"

#include "base/error.h"
#include "base/memory.h"

#include <stdlib.h>
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
    link_config_write(m, &config);
    h = hash_bytes(config.s, config.n, h);
    bool failed = config.failed;
    sb_deinit(&config);
    if (failed)
        return (struct hash128){0, 0};
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

/* The store before, by print: entries in ascending order. */
struct entry {
    struct hash128 print;
    uint64_t at;
};
struct index {
    struct entry *entries; /* [n] */
    size_t n;
};

static int by_print(const void *a, const void *b)
{
    const struct hash128 *x = &((const struct entry *)a)->print,
                         *y = &((const struct entry *)b)->print;
    if (x->high != y->high)
        return x->high > y->high ? 1 : -1;
    return (x->low > y->low) - (x->low < y->low);
}

static bool index_build(struct index *x, const struct hash128 *prints, size_t n)
{
    if (!(x->entries = mem_alloc(n + 1, sizeof *x->entries)))
        return false;
    for (size_t i = 0; i < n; i++)
        x->entries[i] = (struct entry){prints[i], i};
    x->n = n;
    if (n)
        qsort(x->entries, n, sizeof *x->entries, by_print);
    return true;
}

static size_t index_find(const struct index *x, struct hash128 print)
{
    struct entry key = {.print = print};
    const struct entry *e = x->n ? bsearch(&key, x->entries, x->n, sizeof key, by_print) : NULL;
    return e ? (size_t)e->at : SIZE_MAX;
}

struct writing {
    const struct link_store_job *job;
    struct link_store_header header;
    struct link_store_layout layout;
    struct hash128 *prints;                /* [n_nodes] */
    const struct link_store *before;       /* NULL when nothing of it can be used */
    struct index queries, products, pairs; /* of it */
    struct link_store_work work;
};

/* float16 rows cannot become float32 ones; other kernels round otherwise. */
static medley_status look_before(struct writing *w, medley_error *err)
{
    const struct link_store *s = w->job->before;
    const struct link_store_header *h = &w->header;
    if (!s || memcmp(&s->header->model, &h->model, sizeof h->model) != 0 ||
        s->header->hidden != h->hidden || s->header->width != h->width ||
        s->header->classes != h->classes || s->header->levels != h->levels ||
        (s->header->half && !h->half))
        return MEDLEY_OK;
    w->before = s;
    return index_build(&w->queries, s->query_prints, (size_t)s->header->queries) &&
                   index_build(&w->products, s->product_prints, (size_t)s->header->products) &&
                   index_build(&w->pairs, s->pair_prints, (size_t)s->header->pairs)
               ? MEDLEY_OK
               : fail_memory(err, "the rows of the store before");
}

static void take_products(const struct link_classifier *m, const struct encoding *e, size_t n,
                          float *out)
{
    size_t hidden = m->options.hidden, levels = m->options.hops,
           degree = row_degree(hidden, levels, m->width);
    for (size_t i = 0; i < n; i++, out += degree + 1) {
        struct match_side s = match_product(e, m->width, i, out + row_around(hidden, levels));
        memcpy(out, e->roots->value + i * hidden, hidden * sizeof *out);
        for (size_t l = 0; l < levels; l++)
            memcpy(out + (1 + l) * hidden,
                   e->levels[l]->value + encoding_row(e, (unsigned)l, i) * hidden,
                   hidden * sizeof *out);
        out[degree] = s.log_degree;
    }
}

static void take_queries(const struct link_classifier *m, const struct encoding *e, size_t n,
                         float *out)
{
    size_t hidden = m->options.hidden, others = row_others(hidden, m->width);
    for (size_t i = 0; i < n; i++, out += others + 1 + WHOLE) {
        memset(out, 0, (others + 1 + WHOLE) * sizeof *out);
        struct match_side s =
            match_query(e, m->width, i, out + row_around(hidden, 0), out + others + 1);
        memcpy(out, e->roots->value + i * hidden, hidden * sizeof *out);
        out[row_degree(hidden, 0, m->width)] = s.log_degree;
        out[others] = (float)s.n_others;
    }
}

/* Edges between stored queries and stored products. */
struct pairs {
    uint64_t *offsets;         /* [queries + 1] */
    uint32_t *query, *product; /* [n] node ids */
    float *probabilities;      /* [n, classes] */
    struct hash128 *prints;    /* [n] */
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

/* The probabilities of the n pairs at `which`. */
static medley_status predict_pairs(const struct writing *w, struct pairs *p,
                                   const size_t *which, size_t n, medley_error *err)
{
    const struct link_store_job *job = w->job;
    const struct graph *g = job->graph;
    size_t k = job->model->n_classes;
    uint32_t *nodes = mem_alloc(n + 1, 2 * sizeof *nodes);
    float *fresh = mem_alloc(n + 1, k * sizeof *fresh);
    medley_status st = nodes && fresh ? MEDLEY_OK : fail_memory(err, "precomputed pairs");
    for (size_t i = 0; i < n && st == MEDLEY_OK; i++) {
        nodes[i] = p->query[which[i]];
        nodes[n + i] = p->product[which[i]];
    }
    struct graph_view view = {.base = &g->all};
    struct feature_source source = {.stored = job->features,
                                    .n_stored = g->n_nodes,
                                    .n_queries = g->n_queries,
                                    .width = job->model->width};
    struct predict_job predict = {&view, &source, nodes, nodes + n, n, NULL};
    if (st == MEDLEY_OK && n)
        st = link_predict_nodes(job->model, &predict, fresh, err);
    for (size_t i = 0; i < n && st == MEDLEY_OK; i++)
        memcpy(p->probabilities + which[i] * k, fresh + i * k, k * sizeof *fresh);
    mem_free(nodes);
    mem_free(fresh);
    return st;
}

static medley_status make_pairs(struct writing *w, struct pairs *p, medley_error *err)
{
    const struct graph *g = w->job->graph;
    size_t k = w->job->model->n_classes, missing = 0, *which = NULL;
    if (!list_pairs(g, &w->job->plan, p) ||
        !(p->probabilities = mem_alloc(p->n + 1, k * sizeof(float))) ||
        !(p->prints = mem_alloc(p->n + 1, sizeof *p->prints)) ||
        !(which = mem_alloc(p->n + 1, sizeof *which)))
        return fail_memory(err, "precomputed pairs");
    for (size_t i = 0; i < p->n; i++) {
        p->prints[i] = link_pair_print(g, w->prints, p->query[i], p->product[i]);
        size_t at = index_find(&w->pairs, p->prints[i]);
        if (at == SIZE_MAX)
            which[missing++] = i;
        else
            memcpy(p->probabilities + i * k, w->before->pair + at * k, k * sizeof(float));
    }
    medley_status st = predict_pairs(w, p, which, missing, err);
    w->work.pairs = (struct link_store_tally){missing, p->n - missing};
    for (size_t i = 0; i < p->n; i++)
        p->product[i] -= (uint32_t)g->n_queries; /* as the file has them */
    mem_free(which);
    return st;
}

static void pairs_deinit(struct pairs *p)
{
    mem_free(p->offsets);
    mem_free(p->query);
    mem_free(p->product);
    mem_free(p->probabilities);
    mem_free(p->prints);
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

/* The prints of listed nodes. */
static void put_prints(struct sink *s, const struct writing *w, const uint32_t *ids, size_t n,
                       size_t first_node)
{
    static const uint8_t zeros[64];
    for (size_t i = 0; i < n; i++)
        sink_put(s, &w->prints[first_node + ids[i]], sizeof *w->prints);
    sink_put(s, zeros, (64 - n * sizeof *w->prints % 64) % 64);
}

/* The rows of one kind of node. */
struct rows {
    const uint32_t *ids; /* [n] */
    size_t n, first_node;
    const struct row_shape *shape;
    void (*take)(const struct link_classifier *m, const struct encoding *e, size_t n,
                 float *out);
    const struct index *index; /* of the rows before */
    const uint8_t *before;
    size_t before_bytes; /* from one of them to the next */
    struct link_store_tally *tally;
};

/* One row as the file has it, padded with zeros; false when a value is too large. */
static bool pack_row(const float *from, const struct row_shape *r, bool half, uint8_t *to)
{
    memset(to, 0, r->bytes);
    memcpy(to + r->rest, from + r->packed, (r->columns - r->packed) * sizeof *from);
    if (!half) {
        memcpy(to, from, r->packed * sizeof *from);
        return true;
    }
    for (size_t k = 0; k < r->packed; k++) {
        uint16_t value = half_of(from[k]);
        if ((value & 0x7c00) == 0x7c00)
            return false;
        memcpy(to + k * sizeof value, &value, sizeof value);
    }
    return true;
}

struct chunk {
    uint32_t nodes[ROWS_AT_A_TIME]; /* to be computed */
    size_t old[ROWS_AT_A_TIME];     /* where a row is copied from, or SIZE_MAX */
    float *fresh;                   /* [ROWS_AT_A_TIME, columns] */
    uint8_t *packed;                /* a row */
};

static medley_status write_chunk(struct sink *s, const struct writing *w, const struct rows *r,
                                 size_t at, struct chunk *c, medley_error *err)
{
    size_t n = r->n - at < ROWS_AT_A_TIME ? r->n - at : ROWS_AT_A_TIME, missing = 0;
    bool half = w->job->half, old_half = w->before && w->before->header->half;
    for (size_t i = 0; i < n; i++) {
        uint32_t node = (uint32_t)(r->first_node + r->ids[at + i]);
        c->old[i] = index_find(r->index, w->prints[node]);
        if (c->old[i] == SIZE_MAX)
            c->nodes[missing++] = node;
    }
    struct node_job job = {.graph = w->job->graph,
                           .features = w->job->features,
                           .nodes = c->nodes,
                           .n = missing,
                           .stride = r->shape->columns,
                           .take = r->take};
    medley_status st =
        missing ? link_encode_nodes(w->job->model, &job, c->fresh, err) : MEDLEY_OK;
    const float *next = c->fresh;
    for (size_t i = 0; i < n && st == MEDLEY_OK; i++) {
        const uint8_t *row = c->packed;
        bool fits = true;
        if (c->old[i] == SIZE_MAX) {
            fits = pack_row(next, r->shape, half, c->packed);
            next += r->shape->columns;
        } else if (old_half == half) {
            row = r->before + c->old[i] * r->shape->bytes;
        } else { /* float32 before, float16 now */
            const void *old = r->before + c->old[i] * r->before_bytes;
            fits = pack_row(old, r->shape, half, c->packed);
        }
        if (!fits)
            return fail(err, MEDLEY_EINVAL,
                        "a row of node %zu does not fit float16: use float32",
                        r->first_node + r->ids[at + i]);
        sink_put(s, row, r->shape->bytes);
    }
    r->tally->made += missing;
    r->tally->copied += n - missing;
    return st;
}

static medley_status write_rows(struct sink *s, const struct writing *w, const struct rows *r,
                                medley_error *err)
{
    medley_status st = MEDLEY_OK;
    struct chunk *c = mem_zalloc(1, sizeof *c);
    if (!c || !(c->fresh = mem_alloc(ROWS_AT_A_TIME, r->shape->columns * sizeof *c->fresh)) ||
        !(c->packed = mem_alloc(r->shape->bytes, 1)))
        st = fail_memory(err, "precomputed rows");
    for (size_t at = 0; at < r->n && st == MEDLEY_OK; at += ROWS_AT_A_TIME)
        st = write_chunk(s, w, r, at, c, err);
    if (c) {
        mem_free(c->fresh);
        mem_free(c->packed);
    }
    mem_free(c);
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
static medley_status write_payload(struct sink *s, struct writing *w, const struct pairs *p,
                                   medley_error *err)
{
    const struct link_store_plan *plan = &w->job->plan;
    const struct link_store *old = w->before;
    size_t k = w->job->model->n_classes, first = w->job->graph->n_queries;
    sink_section(s, plan->queries, plan->n_queries * sizeof *plan->queries);
    sink_section(s, plan->products, plan->n_products * sizeof *plan->products);
    sink_section(s, p->offsets, (plan->n_queries + 1) * sizeof *p->offsets);
    sink_section(s, p->product, p->n * sizeof *p->product);
    sink_section(s, p->probabilities, p->n * k * sizeof *p->probabilities);
    put_prints(s, w, plan->queries, plan->n_queries, 0);
    put_prints(s, w, plan->products, plan->n_products, first);
    sink_section(s, p->prints, p->n * sizeof *p->prints);
    struct rows queries = {.ids = plan->queries,
                           .n = plan->n_queries,
                           .shape = &w->layout.query,
                           .take = take_queries,
                           .index = &w->queries,
                           .before = old ? old->query_rows : NULL,
                           .before_bytes = old ? old->layout.query.bytes : 0,
                           .tally = &w->work.queries};
    struct rows products = {.ids = plan->products,
                            .n = plan->n_products,
                            .first_node = first,
                            .shape = &w->layout.product,
                            .take = take_products,
                            .index = &w->products,
                            .before = old ? old->product_rows : NULL,
                            .before_bytes = old ? old->layout.product.bytes : 0,
                            .tally = &w->work.products};
    medley_status st = write_rows(s, w, &queries, err);
    if (st == MEDLEY_OK)
        st = write_rows(s, w, &products, err);
    sink_flush(s);
    return st;
}

static struct link_store_header header_of(const struct link_store_job *job)
{
    const struct link_classifier *m = job->model;
    struct link_store_header h = {.version = LINK_STORE_VERSION,
                                  .header_bytes = sizeof h,
                                  .hidden = m->options.hidden,
                                  .width = (uint32_t)m->width,
                                  .classes = (uint32_t)m->n_classes,
                                  .neighbours = WHOLE,
                                  .levels = m->options.hops,
                                  .half = job->half,
                                  .graph_queries = job->graph->n_queries,
                                  .graph_products = job->graph->n_products,
                                  .queries = job->plan.n_queries,
                                  .products = job->plan.n_products,
                                  .made = job->made,
                                  .cutoff = job->cutoff,
                                  .bundle = job->bundle,
                                  .model = link_store_model(m, job->graph)};
    memcpy(h.magic, LINK_STORE_MAGIC, sizeof h.magic);
    return h;
}

/* The header goes first without its hashes, and again when they are known. */
static medley_status write_file(struct sink *s, struct writing *w, const struct pairs *p,
                                const char *path, medley_error *err)
{
    struct link_store_header *h = &w->header;
    medley_status st = outfile_open(&s->file, path, err);
    if (st != MEDLEY_OK)
        return st;
    h->pairs = p->n;
    link_store_layout(h, &w->layout);
    h->file_bytes = w->layout.end;
    fwrite(h, sizeof *h, 1, s->file.f);
    st = write_payload(s, w, p, err);
    if (st != MEDLEY_OK)
        return st;
    h->payload = s->hash;
    h->header = link_store_hash_header(h);
    if (fseek(s->file.f, 0, SEEK_SET) != 0 || fwrite(h, sizeof *h, 1, s->file.f) != 1)
        return fail(err, MEDLEY_EIO, "cannot write '%s'", path);
    return outfile_commit(&s->file, err);
}

static bool no_hash(const struct hash128 *h)
{
    return h->low == 0 && h->high == 0;
}

medley_status link_store_write(const struct link_store_job *job, const char *path,
                               struct link_store_work *work, medley_error *err)
{
    struct pairs pairs = {0};
    struct sink s = {.block = NULL};
    struct writing w = {.job = job, .header = header_of(job)};
    w.header.source = link_store_source(job->model, job->graph, job->features);
    medley_status st = plan_check(&job->plan, job->graph, err);
    if (st == MEDLEY_OK && (no_hash(&w.header.model) || no_hash(&w.header.source)))
        st = fail_memory(err, "the model's settings");
    if (st == MEDLEY_OK)
        st = link_prints(job, &w.prints, err);
    if (st == MEDLEY_OK)
        st = look_before(&w, err);
    if (st == MEDLEY_OK)
        st = make_pairs(&w, &pairs, err);
    if (st == MEDLEY_OK && !(s.block = mem_alloc(LINK_STORE_BLOCK, 1)))
        st = fail_memory(err, "precomputed rows");
    if (st == MEDLEY_OK)
        st = write_file(&s, &w, &pairs, path, err);
    outfile_abort(&s.file);
    pairs_deinit(&pairs);
    mem_free(s.block);
    mem_free(w.prints);
    mem_free(w.queries.entries);
    mem_free(w.products.entries);
    mem_free(w.pairs.entries);
    if (st == MEDLEY_OK && work)
        *work = w.work;
    return st;
}
