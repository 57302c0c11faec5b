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
};

struct graph {
    size_t n_nodes, n_queries, n_products;
    size_t n_relations;
    const char **relation_names; /* [n_relations] */
    struct csr *relations;       /* [n_relations] each symmetric (both directions stored) */
    struct csr all;              /* union of the relations, parallel edges merged (weights added) */
    struct graph_storage *storage;
};

/* Builds from the named relations (NULL-terminated list; NULL: all there are). */
medley_status graph_build(const struct dataset *d, const struct relations *r,
                          const char *const *names, struct graph *out, medley_error *err);
void graph_free(struct graph *g);

#endif
