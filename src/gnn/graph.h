/* graph.h: queries and products as nodes, relations as CSR. Node ids: queries first
 * (0 .. n_queries-1), then products (n_queries + product index). */
#ifndef GNN_GRAPH_H
#define GNN_GRAPH_H

#include "data/relations.h"

/* Compressed sparse rows: neighbours of node i are target[offsets[i] .. offsets[i+1]). */
struct csr {
    size_t n;                /* nodes */
    const uint64_t *offsets; /* [n+1] */
    const uint32_t *target;  /* [edges] sorted within a row */
    const float *weight;     /* [edges] or NULL: all 1 */
    const float *degree;     /* [n] sum of the weights of a row */
    const uint32_t
        *relations; /* [edges] of a union: bit r: relation r has this edge; else NULL */
};
#define GRAPH_TYPED_RELATIONS 32 /* those past have no bit */
#define GNN_MAX_HOPS 4
/* Where j stands in row i, as an index into target; SIZE_MAX when it does not. */
size_t csr_find(const struct csr *c, uint32_t i, uint32_t j);

struct graph {
    size_t n_nodes, n_queries, n_products;
    size_t n_relations;
    const char **relation_names; /* [n_relations] */
    struct csr *relations;       /* [n_relations] each symmetric (both directions stored) */
    struct csr all; /* union of the relations, parallel edges merged (weights added) */
    struct graph_storage *storage;
};

/* Builds from the named relations (NULL-terminated list; NULL: all there are), in that order.
 * The result owns everything it points to and is immutable: threads may share it. Fails with
 * EINVAL on a name that is unknown or given twice, EFORMAT on an edge out of range, out of
 * order, a self loop or a weight that is not positive and finite. */
medley_status graph_build(const struct dataset *d, const struct relations *r,
                          const char *const *names, struct graph *out, medley_error *err);
void graph_free(struct graph *g);

#endif
