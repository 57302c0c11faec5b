/* edges.h: edge lists under construction. Repeated edges are merged by adding their weights, so
 * memory follows the number of different edges, not of events. */
#ifndef DATA_EDGES_H
#define DATA_EDGES_H

#include "data/relations.h"

struct edge {
    uint32_t source, target;
    float weight;
};

struct edges {
    struct edge *items;
    size_t n, capacity;
    size_t merged; /* the first so many are sorted and without repeats */
};

bool edges_add(struct edges *e, uint32_t source, uint32_t target,
               float weight); /* false: memory */
/* Undirected: stored with the lower end first; an edge from a product to itself is left out. */
bool edges_add_pair(struct edges *e, uint32_t a, uint32_t b, float weight);
void edges_merge(struct edges *e); /* sorts by (source, target) and merges */
void edges_deinit(struct edges *e);

struct named_edges {
    const char *name;
    enum relation_kind kind;
    struct edges *edges; /* merged when written */
};

#define RELATIONS_FILE "relations.safetensors"

/* Writes the relations that have edges to `folder`, atomically. */
medley_status relations_write(const struct named_edges *list, size_t n, const char *folder,
                              medley_error *err);

#endif
