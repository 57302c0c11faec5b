/* verify_graph.c: the recorded graph as one block. */
#include "gnn/verify_private.h"

#include "base/error.h"
#include "base/memory.h"

#include <string.h>

void verify_graph_free(struct recorded *r)
{
    mem_free(r->x);
    mem_free(r->label);
    mem_free(r->self);
    mem_free(r->offsets);
    mem_free(r->source);
    mem_free(r->relations);
    mem_free(r->weight);
    mem_free(r->target_degree);
    mem_free(r->source_degree);
    mem_free(r->loop_weight);
    mem_free(r->features);
}

static int64_t whole_at(const struct st_entry *e, size_t i)
{
    int64_t value;
    memcpy(&value, (const char *)e->data + i * sizeof value, sizeof value);
    return value;
}

/* Fills out[count] with numbers from 0 to limit - 1. */
static medley_status whole_numbers(const struct verified *v, const char *name, size_t count,
                                   size_t limit, uint32_t *out, medley_error *err)
{
    const struct st_entry *e = st_find(v->graph, name);
    if (!e || e->type != ST_I64 || e->count != count)
        return fail(err, MEDLEY_EFORMAT, "%s/graph.safetensors: expected %s as %zu int64",
                    v->folder, name, count);
    for (size_t i = 0; i < count; i++) {
        int64_t value = whole_at(e, i);
        if (value < 0 || (uint64_t)value >= limit)
            return fail(err, MEDLEY_EFORMAT,
                        "%s/graph.safetensors: %s: %lld is not from 0 to %zu", v->folder, name,
                        (long long)value, limit - 1);
        out[i] = (uint32_t)value;
    }
    return MEDLEY_OK;
}

/* [count, columns] of a float array; *out NULL where it is not wanted. */
static medley_status numbers(const struct verified *v, const char *name, size_t count,
                             float **out, medley_error *err)
{
    const struct st_entry *e = st_find(v->graph, name);
    if (!e || e->count != count)
        return fail(err, MEDLEY_EFORMAT, "%s/graph.safetensors: expected %s as %zu numbers",
                    v->folder, name, count);
    *out = mem_alloc(count ? count : 1, sizeof **out);
    if (!*out)
        return fail_memory(err, "a recorded graph");
    return st_to_float(e, *out)
               ? MEDLEY_OK
               : fail(err, MEDLEY_EFORMAT, "%s/graph.safetensors: %s is not floating point",
                      v->folder, name);
}

/* The edges as they are listed. */
struct edges {
    size_t n;
    uint32_t *source, *target, *type;
    float *weight, *features;
};

static void edges_deinit(struct edges *e)
{
    mem_free(e->source);
    mem_free(e->target);
    mem_free(e->type);
    mem_free(e->weight);
    mem_free(e->features);
}

static medley_status read_edges(struct verified *v, struct edges *e, medley_error *err)
{
    const struct st_entry *x = st_find(v->graph, "x"), *src = st_find(v->graph, "edge_src");
    const struct layer_shape *first = &v->layers[0].shape;
    struct recorded *r = &v->r;
    if (!x || x->dims != 2 || x->shape[1] != first->in || x->shape[0] < 1 ||
        x->shape[0] > INT32_MAX || !src || src->count > INT32_MAX)
        return fail(err, MEDLEY_EFORMAT,
                    "%s/graph.safetensors: expected x [nodes, %zu] and edge_src", v->folder,
                    first->in);
    r->nodes = (size_t)x->shape[0];
    r->in = first->in;
    e->n = src->count;
    e->source = mem_alloc(e->n + 1, sizeof *e->source);
    e->target = mem_alloc(e->n + 1, sizeof *e->target);
    e->type = mem_zalloc(e->n + 1, sizeof *e->type);
    uint32_t *label = mem_alloc(r->nodes, sizeof *label);
    r->label = mem_alloc(r->nodes, 1);
    size_t classes = v->layers[v->n_layers - 1].shape.out;
    medley_status st = e->source && e->target && e->type && label && r->label
                           ? MEDLEY_OK
                           : fail_memory(err, "a recorded graph");
    if (!st)
        st = numbers(v, "x", r->nodes * r->in, &r->x, err);
    if (!st)
        st = whole_numbers(v, "edge_src", e->n, r->nodes, e->source, err);
    if (!st)
        st = whole_numbers(v, "edge_dst", e->n, r->nodes, e->target, err);
    if (!st)
        st = whole_numbers(v, "y", r->nodes, classes < MAX_LABELS ? classes : MAX_LABELS, label,
                           err);
    if (!st && v->ops->relations)
        st = whole_numbers(v, "edge_type", e->n, first->relations, e->type, err);
    if (!st && v->weights)
        st = numbers(v, "edge_weight", e->n, &e->weight, err);
    if (!st && first->edge_columns)
        st = numbers(v, st_find(v->graph, "edge_attr") ? "edge_attr" : "edge_weight",
                     e->n * first->edge_columns, &e->features, err);
    for (size_t i = 0; i < r->nodes && !st; i++)
        r->label[i] = (uint8_t)label[i];
    mem_free(label);
    return st;
}

/* Layers that add self loops take those of the graph away first; gcn keeps their weight. */
static bool takes_loops(const struct verified *v)
{
    const struct layer_shape *s = &v->layers[0].shape;
    return (v->ops == &layer_gcn || v->ops == &layer_gatv2) && !s->no_self_loops &&
           !s->unweighted;
}

static void fill_block(struct verified *v, const struct edges *e)
{
    struct recorded *r = &v->r;
    size_t columns = v->layers[0].shape.edge_columns, at = 0;
    bool loops = takes_loops(v);
    for (size_t i = 0; i < r->nodes; i++) {
        r->self[i] = (uint32_t)i;
        r->loop_weight[i] = v->layers[0].shape.doubled_loops ? 2 : 1;
        r->target_degree[i] = 0;
    }
    for (size_t k = 0; k < e->n; k++)
        if (!loops || e->source[k] != e->target[k])
            r->offsets[e->target[k] + 1]++;
        else
            r->loop_weight[e->source[k]] = e->weight ? e->weight[k] : 1;
    for (size_t i = 0; i < r->nodes; i++)
        r->offsets[i + 1] += r->offsets[i];
    uint32_t *cursor = r->relations; /* until the relations are filled in, below */
    for (size_t i = 0; i < r->nodes; i++)
        cursor[i] = r->offsets[i];
    uint32_t *from = r->source + e->n; /* second half: which edge came from where */
    for (size_t k = 0; k < e->n; k++)
        if (!loops || e->source[k] != e->target[k])
            from[cursor[e->target[k]]++] = (uint32_t)k;
    for (at = 0; at < r->offsets[r->nodes]; at++) {
        size_t k = from[at];
        r->source[at] = e->source[k];
        r->relations[at] = UINT32_C(1) << e->type[k];
        r->weight[at] = e->weight ? e->weight[k] : 1;
        r->target_degree[e->target[k]] += r->weight[at];
        for (size_t c = 0; c < columns; c++)
            r->features[at * columns + c] = e->features[k * columns + c];
    }
    for (size_t k = 0; k < at; k++)
        r->source_degree[k] = r->target_degree[r->source[k]];
    r->b = (struct block){.n_targets = r->nodes,
                          .n_sources = r->nodes,
                          .n_edges = at,
                          .self = r->self,
                          .offsets = r->offsets,
                          .source = r->source,
                          .weight = r->weight,
                          .target_degree = r->target_degree,
                          .source_degree = r->source_degree,
                          .loop_weight = r->loop_weight,
                          .relations = r->relations,
                          .features = r->features,
                          .feature_columns = columns};
}

medley_status verify_read_graph(struct verified *v, medley_error *err)
{
    struct recorded *r = &v->r;
    struct edges e = {0};
    medley_status st = read_edges(v, &e, err);
    if (!st) {
        size_t room = e.n + r->nodes + 1, columns = v->layers[0].shape.edge_columns;
        r->self = mem_alloc(r->nodes, sizeof *r->self);
        r->offsets = mem_zalloc(r->nodes + 1, sizeof *r->offsets);
        r->source = mem_alloc(2 * room, sizeof *r->source);
        r->relations = mem_alloc(room, sizeof *r->relations);
        r->weight = mem_alloc(room, sizeof *r->weight);
        r->target_degree = mem_alloc(r->nodes, sizeof *r->target_degree);
        r->source_degree = mem_alloc(room, sizeof *r->source_degree);
        r->loop_weight = mem_alloc(r->nodes, sizeof *r->loop_weight);
        r->features = mem_alloc(room, (columns + 1) * sizeof *r->features);
        if (r->self && r->offsets && r->source && r->relations && r->weight &&
            r->target_degree && r->source_degree && r->loop_weight && r->features)
            fill_block(v, &e);
        else
            st = fail_memory(err, "a recorded graph");
    }
    edges_deinit(&e);
    return st;
}
