/* link_patch.c: how a query or product that the graph has never seen joins it for the time of
 * one request, so that a model trained on the graph answers for it (inductive inference):
 *
 *   listing  a new query's neighbours are the candidates of its request, where the graph has a
 *            relation of what was listed or shown: that is what training sees of a query
 *   text     where the graph has a relation of text neighbours, a new node has its own
 *   lent     of a new product, and of a query where there is no listing: what its k nearest
 *            by text have in every other relation, each neighbour's edges weighted by its share
 *            of the similarity: a new product is clicked for the queries for which products
 *            like it are clicked. (A query that is listed and never clicked is nothing unusual:
 *            it needs no loan, and no search among all queries.)
 *
 * Stored nodes do not come to know of new ones, but for candidates that a new query lists.
 * Proof: test_link_classifier.c (as if stored), test_cold_start.c. */
#include "gnn/link_patch.h"

#include "base/error.h"
#include "base/memory.h"
#include "gnn/neighbours.h"

#include <stdlib.h>
#include <string.h>

/* Edges lent by one neighbour; a hub lends every so-manieth. */
enum { LENT = 256 };

struct draft {
    uint32_t target, relations;
    float weight;
};

/* Rows under construction, in the order of their nodes. */
struct drafts {
    struct draft *items;
    size_t n, capacity;
    uint32_t *node;    /* [rows] */
    uint64_t *offsets; /* [rows + 1] */
    size_t rows;
};

struct joining {
    const struct graph *g;
    const struct link_request *r;
    struct drafts d;
    uint32_t listing;                        /* bit of the relation of candidates; 0: they are
                                                no neighbours */
    uint32_t text, text_query, text_product; /* bits of text relations, or 0 */
    unsigned k;
    bool by_text;   /* a new query has neighbours besides its candidates */
    uint32_t *near; /* [(n + 2) * k]: of the query: queries, products; then of new products */
    float *cosine;
};

void link_patch_init(struct link_patch *p, const struct graph *g)
{
    *p = (struct link_patch){.view.base = &g->all};
    arena_init(&p->arena, 0);
}

void link_patch_deinit(struct link_patch *p)
{
    arena_deinit(&p->arena);
}

/* ---- relations ----------------------------------------------------------------------------
 */

static uint32_t relation_bit(const struct graph *g, const char *name)
{
    for (size_t i = 0; i < g->n_relations && i < GRAPH_TYPED_RELATIONS; i++)
        if (strcmp(g->relation_names[i], name) == 0)
            return UINT32_C(1) << i;
    return 0;
}

uint32_t link_listing_relation(const struct graph *g, bool any)
{
    uint32_t bit = relation_bit(g, "listing");
    if (!bit)
        bit = relation_bit(g, "impressions");
    for (size_t i = 0; any && !bit && i < g->n_relations && i < GRAPH_TYPED_RELATIONS; i++)
        if (g->relations[i].offsets[g->n_queries] > 0)
            bit = UINT32_C(1) << i;
    return bit;
}

bool link_joins_by_listing(const struct link_request *r)
{
    const struct graph *g = r->graph;
    return !r->neighbours ||
           (link_listing_relation(g, false) && !relation_bit(g, RELATION_TEXT) &&
            !relation_bit(g, RELATION_TEXT_QUERIES));
}

/* ---- rows ---------------------------------------------------------------------------------
 */

static bool add_edge(struct joining *j, uint32_t target, float weight, uint32_t relations)
{
    struct drafts *d = &j->d;
    if (!mem_reserve(&d->items, &d->capacity, d->n + 1, sizeof *d->items))
        return false;
    d->items[d->n++] = (struct draft){target, relations, weight};
    return true;
}

static bool add_stored(struct joining *j, uint32_t node)
{
    struct graph_view stored = {.base = &j->g->all};
    struct graph_row row = view_row(&stored, node);
    bool good = true;
    for (size_t e = 0; e < row.n && good; e++)
        good = add_edge(j, row.target[e], row.weight[e],
                        row.relations ? row.relations[e] : j->listing);
    return good;
}

static int by_target(const void *a, const void *b)
{
    const struct draft *x = a, *y = b;
    if (x->target != y->target)
        return x->target < y->target ? -1 : 1;
    if (x->relations != y->relations)
        return x->relations < y->relations ? -1 : 1;
    return x->weight < y->weight ? -1 : x->weight > y->weight;
}

/* Ends the row of `node`: sorted, parallel edges merged. */
static void end_row(struct joining *j, uint32_t node)
{
    struct drafts *d = &j->d;
    size_t begin = (size_t)d->offsets[d->rows], n = begin;
    if (d->n > begin)
        qsort(d->items + begin, d->n - begin, sizeof *d->items, by_target);
    for (size_t i = begin; i < d->n; i++) {
        if (n > begin && d->items[n - 1].target == d->items[i].target) {
            d->items[n - 1].weight += d->items[i].weight;
            d->items[n - 1].relations |= d->items[i].relations;
        } else {
            d->items[n++] = d->items[i];
        }
    }
    d->n = n;
    d->node[d->rows++] = node;
    d->offsets[d->rows] = n;
}

/* ---- text neighbours ----------------------------------------------------------------------
 */

/* The nearest nodes of [base, base + n) of one new row. */
static medley_status nearest(const struct joining *j, const float *row, bool products,
                             uint32_t *near, float *cosine, medley_error *err)
{
    const struct graph *g = j->g;
    size_t width = j->r->width;
    uint32_t base = products ? (uint32_t)g->n_queries : 0;
    const uint8_t *group = products ? j->r->product_group : j->r->query_group;
    struct neighbour_search s = {.rows = j->r->features + base * width,
                                 .group = group,
                                 .n_rows = products ? g->n_products : g->n_queries,
                                 .width = width,
                                 .asked = row,
                                 .asked_group = &j->r->group,
                                 .n_asked = 1,
                                 .k = j->k};
    medley_status st = neighbours_find(&s, near, cosine, err);
    for (unsigned i = 0; st == MEDLEY_OK && i < j->k; i++)
        if (near[i] != UINT32_MAX)
            near[i] += base;
    return st;
}

/* Edges of a text relation. */
static bool add_near(struct joining *j, const uint32_t *near, const float *cosine, uint32_t bit)
{
    bool good = true;
    for (unsigned i = 0; bit && i < j->k && good; i++)
        if (near[i] != UINT32_MAX)
            good = add_edge(j, near[i], cosine[i], bit);
    return good;
}

/* What the nearest have in relations other than `without`. */
static bool add_lent(struct joining *j, const uint32_t *near, const float *cosine,
                     uint32_t without)
{
    struct graph_view stored = {.base = &j->g->all};
    float total = 0;
    for (unsigned i = 0; i < j->k; i++)
        total += cosine[i];
    for (unsigned i = 0; i < j->k; i++) {
        if (near[i] == UINT32_MAX)
            continue;
        struct graph_row row = view_row(&stored, near[i]);
        size_t step = row.n / LENT + 1;
        float share = cosine[i] / total * (float)step;
        for (size_t e = 0; e < row.n; e += step) {
            uint32_t relations = row.relations ? row.relations[e] : 0;
            if (relations && !(relations & ~without))
                continue;
            if (!add_edge(j, row.target[e], share * row.weight[e], relations & ~without))
                return false;
        }
    }
    return true;
}

static bool new_query_row(struct joining *j, const uint32_t *candidates, size_t n)
{
    bool good = true;
    for (size_t i = 0; j->listing && i < n && good; i++)
        good = add_edge(j, candidates[i], 1.0f, j->listing);
    if (good && j->by_text)
        good = add_near(j, j->near, j->cosine, j->text_query) &&
               add_near(j, j->near + j->k, j->cosine + j->k, j->text) &&
               (j->listing || add_lent(j, j->near, j->cosine, j->text | j->text_query));
    return good;
}

static bool new_product_row(struct joining *j, size_t place, bool listed)
{
    size_t at = (place + 2) * j->k;
    bool good = !listed || add_edge(j, (uint32_t)j->g->n_nodes, 1.0f, j->listing);
    if (good && j->k)
        good = add_near(j, j->near + at, j->cosine + at, j->text_product) &&
               add_lent(j, j->near + at, j->cosine + at, j->text_product);
    return good;
}

/* ---- the request --------------------------------------------------------------------------
 */

static medley_status find_near(struct joining *j, struct arena *a, const uint32_t *place,
                               size_t n, medley_error *err)
{
    const struct link_request *r = j->r;
    medley_status st = MEDLEY_OK;
    j->near = arena_alloc(a, (r->n + 2) * j->k + 1, sizeof *j->near);
    j->cosine = arena_alloc(a, (r->n + 2) * j->k + 1, sizeof *j->cosine);
    if (!j->near || !j->cosine)
        return fail_memory(err, "a request");
    if (j->by_text && r->query == UINT32_MAX) {
        st = nearest(j, r->query_features, false, j->near, j->cosine, err);
        if (st == MEDLEY_OK && j->text)
            st = nearest(j, r->query_features, true, j->near + j->k, j->cosine + j->k, err);
    }
    for (size_t i = 0; j->k && i < n && st == MEDLEY_OK; i++) {
        size_t at = (place[i] + 2) * j->k;
        if (r->product[place[i]] == UINT32_MAX)
            st = nearest(j, r->product_features + place[i] * r->width, true, j->near + at,
                         j->cosine + at, err);
    }
    return st;
}

/* candidates[n]: unique node ids, ascending: stored products, then new ones. */
static bool add_rows(struct joining *j, const uint32_t *candidates, size_t n)
{
    uint32_t query = (uint32_t)j->g->n_nodes;
    bool fresh = j->r->query == UINT32_MAX, listed = fresh && j->listing, good = true;
    size_t i = 0;
    for (; i < n && candidates[i] < query && good; i++) {
        if (!listed)
            continue;
        good = add_stored(j, candidates[i]) && add_edge(j, query, 1.0f, j->listing);
        end_row(j, candidates[i]);
    }
    if (fresh && good) {
        good = new_query_row(j, candidates, n);
        end_row(j, query);
    }
    for (; i < n && good; i++) {
        good = new_product_row(j, candidates[i] - query - 1, listed);
        end_row(j, candidates[i]);
    }
    return good;
}

/* Drafts to the csr that a view reads. */
static bool publish(struct link_patch *p, const struct drafts *d)
{
    uint32_t *target = arena_alloc(&p->arena, d->n + 1, sizeof *target);
    uint32_t *relations = arena_alloc(&p->arena, d->n + 1, sizeof *relations);
    float *weight = arena_alloc(&p->arena, d->n + 1, sizeof *weight);
    float *degree = arena_alloc(&p->arena, d->rows + 1, sizeof *degree);
    if (!target || !relations || !weight || !degree)
        return false;
    for (size_t i = 0; i < d->rows; i++) {
        double sum = 0;
        for (uint64_t e = d->offsets[i]; e < d->offsets[i + 1]; e++) {
            target[e] = d->items[e].target;
            relations[e] = d->items[e].relations;
            weight[e] = d->items[e].weight;
            sum += (double)weight[e];
        }
        degree[i] = (float)sum;
    }
    p->view.n_patched = d->rows;
    p->view.patched = d->node;
    p->view.patch = (struct csr){d->rows, d->offsets, target, weight, degree, relations};
    return true;
}

static int by_id(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

medley_status link_patch_build(struct link_patch *p, const struct link_request *r,
                               const uint32_t *product, const uint32_t *place, size_t n,
                               medley_error *err)
{
    const struct graph *g = r->graph;
    struct joining j = {.g = g, .r = r, .k = r->neighbours};
    j.listing = link_listing_relation(g, r->neighbours == 0);
    j.by_text = !link_joins_by_listing(r);
    j.text = relation_bit(g, RELATION_TEXT);
    j.text_query = relation_bit(g, RELATION_TEXT_QUERIES);
    j.text_product = relation_bit(g, RELATION_TEXT_PRODUCTS);
    uint32_t *unique = arena_alloc(&p->arena, n + 1, sizeof *unique);
    j.d.node = arena_alloc(&p->arena, n + 2, sizeof *j.d.node);
    j.d.offsets = arena_alloc(&p->arena, n + 3, sizeof *j.d.offsets);
    if (!unique || !j.d.node || !j.d.offsets)
        return fail_memory(err, "a request");
    j.d.offsets[0] = 0;
    memcpy(unique, product, n * sizeof *unique);
    qsort(unique, n, sizeof *unique, by_id);
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        if (i == 0 || unique[i] != unique[i - 1])
            unique[count++] = unique[i];
    medley_status st = find_near(&j, &p->arena, place, n, err);
    if (st == MEDLEY_OK && (!add_rows(&j, unique, count) || !publish(p, &j.d)))
        st = fail_memory(err, "a request");
    mem_free(j.d.items);
    return st;
}
