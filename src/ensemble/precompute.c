/* precompute.c: see precompute.h. */
#include "ensemble/precompute.h"

#include "base/cpu.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/progress.h"
#include "base/rng.h"
#include "data/event_time.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

struct ranked {
    double frequency;
    uint32_t id;
};

static int by_frequency(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->frequency != y->frequency)
        return x->frequency < y->frequency ? 1 : -1;
    return (x->id > y->id) - (x->id < y->id);
}

static int by_id(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void count(const struct dataset *d, const struct relations *r, bool products,
                  struct ranked *nodes)
{
    bool listed = false;
    for (size_t i = 0; i < r->count; i++) {
        const struct relation *e = &r->items[i];
        if (e->kind != RELATION_QUERY_PRODUCT)
            continue;
        listed |= strcmp(e->name, "listing") == 0;
        for (size_t k = 0; k < e->n; k++)
            nodes[products ? e->target[k] : e->source[k]].frequency += (double)e->weight[k];
    }
    for (size_t i = 0; i < d->n_examples && !listed; i++)
        nodes[products ? d->example_product[i] : d->example_query[i]].frequency += 1;
}

/* The ids of the `want` most frequent of n nodes; false when out of memory. */
static bool most_frequent(const struct dataset *d, const struct relations *r, bool products,
                          size_t want, uint32_t *ids)
{
    size_t n = products ? d->n_products : d->n_queries;
    struct ranked *nodes = mem_zalloc(n + 1, sizeof *nodes);
    if (!nodes)
        return false;
    for (size_t i = 0; i < n; i++)
        nodes[i].id = (uint32_t)i;
    count(d, r, products, nodes);
    if (n)
        qsort(nodes, n, sizeof *nodes, by_frequency);
    for (size_t i = 0; i < want; i++)
        ids[i] = nodes[i].id;
    if (want)
        qsort(ids, want, sizeof *ids, by_id);
    mem_free(nodes);
    return true;
}

medley_status precompute_choose(const struct dataset *d, const struct relations *r,
                                const struct precompute_config *how, struct precompute *out,
                                medley_error *err)
{
    size_t queries = how->queries < d->n_queries ? (size_t)how->queries : d->n_queries,
           products = how->products < d->n_products ? (size_t)how->products : d->n_products;
    if (queries == 0 || products == 0)
        queries = products = 0; /* one without the other answers no pair */
    uint32_t *ids = mem_alloc(queries + products + 1, sizeof *ids);
    if (!ids || !most_frequent(d, r, false, queries, ids) ||
        !most_frequent(d, r, true, products, ids + queries)) {
        mem_free(ids);
        return fail_memory(err, "the most frequent queries and products");
    }
    *out = (struct precompute){{ids, ids + queries, queries, products}, ids};
    return MEDLEY_OK;
}

void precompute_free(struct precompute *p)
{
    mem_free(p->ids);
    memset(p, 0, sizeof *p);
}

/* ---- one model ---- */

/* What nodes are whatever their number: texts of queries, ids of products, and locales. */
static struct hash128 *identities(const struct dataset *d)
{
    struct hash128 *out = mem_alloc(d->n_queries + d->n_products + 1, sizeof *out);
    for (size_t i = 0; out && i < d->n_queries + d->n_products; i++) {
        bool query = i < d->n_queries;
        size_t at = query ? i : i - d->n_queries;
        struct str text = column_at(query ? &d->query_text : &d->product_id, at);
        const char *locale =
            d->locale_names[query ? d->query_locale[at] : d->product_locale[at]];
        out[i] = hash_bytes(locale, strlen(locale), (struct hash128){query, 0});
        out[i] = hash_bytes(text.s, text.n, out[i]);
    }
    return out;
}

/* Until when the graph knows behaviour: where the log was cut, else when it was imported. */
static int64_t graph_cutoff(const struct workspace *w)
{
    double until;
    struct stat info;
    const char *text = w->config.data.events_until;
    if (text && event_time_parse(str_of(text), &until))
        return (int64_t)until;
    return stat(workspace_path(w, "data/relations.safetensors").s, &info) == 0
               ? (int64_t)info.st_mtime
               : 0;
}

enum { COMPARED = 100 };

/* Random pairs of stored nodes, one by one, live and from the store. */
static medley_status compare(const struct precompute_job *job,
                             const struct link_classifier *model, const struct link_store *s,
                             const struct graph_inputs *in, struct precompute_done *out,
                             medley_error *err)
{
    const struct link_store_plan *plan = job->plan;
    size_t k = job->w->data.n_classes;
    medley_status st = MEDLEY_OK;
    for (uint64_t i = 0; i < COMPARED && plan->n_queries && plan->n_products && !st; i++) {
        float live[MAX_CLASSES], kept[MAX_CLASSES];
        uint32_t product = plan->products[mix64(1, i, 0) % plan->n_products];
        struct link_request r = {.graph = &in->graph,
                                 .features = in->rows,
                                 .query = plan->queries[mix64(1, i, 1) % plan->n_queries],
                                 .product = &product,
                                 .n = 1};
        st = link_classifier_answer(model, &r, live, err);
        r.store = s;
        if (!st)
            st = link_classifier_answer(model, &r, kept, err);
        for (size_t c = 0; c < k && !st; c++)
            out->difference = fmax(out->difference, fabs((double)live[c] - (double)kept[c]));
        out->compared++;
    }
    return st;
}

/* A store that cannot be read is no reason to fail: it is about to be replaced. */
static struct link_store *open_before(const char *path)
{
    struct link_store *s = NULL;
    medley_error why;
    if (path && file_exists(path) && link_store_open(path, &s, &why))
        progress_note("everything is computed anew: %s", why.message);
    return s;
}

static medley_status look_at(const struct precompute_job *job,
                             const struct link_classifier *model, const struct graph_inputs *in,
                             const char *path, struct precompute_done *out, medley_error *err)
{
    struct link_store *s = NULL;
    medley_status st = link_store_open(path, &s, err);
    if (!st)
        st = link_store_check(s, model, &in->graph, in->rows, err);
    if (!st) {
        out->size = link_store_size(s);
        st = compare(job, model, s, in, out, err);
    }
    link_store_close(s);
    return st;
}

medley_status precompute_write(const struct precompute_job *job, const char *path,
                               struct precompute_done *out, medley_error *err)
{
    struct graph_inputs in;
    struct link_classifier *model = NULL;
    struct link_store *before = NULL;
    struct hash128 *identity = NULL;
    struct precompute_done done = {.seconds = -clock_seconds()};
    medley_status st = graph_inputs_open(&job->w->data, &job->w->relations, job->model,
                                         job->features, &in, err);
    if (st)
        return st;
    st = link_classifier_load(job->folder, &model, err);
    if (!st && !(identity = identities(&job->w->data)))
        st = fail_memory(err, "the identities of nodes");
    if (!st) {
        before = open_before(job->before);
        struct link_store_job store = {.model = model,
                                       .graph = &in.graph,
                                       .features = in.rows,
                                       .plan = *job->plan,
                                       .half = job->half,
                                       .made = (int64_t)time(NULL),
                                       .cutoff = graph_cutoff(job->w),
                                       .bundle = job->bundle,
                                       .identity = identity,
                                       .before = before};
        st = link_store_write(&store, path, &done.work, err);
    }
    done.seconds += clock_seconds();
    if (!st && out)
        st = look_at(job, model, &in, path, &done, err);
    if (!st && out)
        *out = done;
    link_store_close(before);
    mem_free(identity);
    link_classifier_free(model);
    graph_inputs_close(&in);
    return st;
}
