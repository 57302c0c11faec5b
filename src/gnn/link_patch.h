/* link_patch.h: private to link_answer.c: the rows that a request adds to the graph. */
#ifndef GNN_LINK_PATCH_H
#define GNN_LINK_PATCH_H

#include "gnn/link_model.h"

#include "base/arena.h"

struct link_patch {
    struct arena arena;     /* of the rows that the view reads, and of the caller's */
    struct graph_view view; /* starts as the graph itself */
};
void link_patch_init(struct link_patch *p, const struct graph *g);
void link_patch_deinit(struct link_patch *p);

/* Joins what is new in a request to the graph. product[n]: the node ids of its candidates, by
 * place[n] in the request. */
medley_status link_patch_build(struct link_patch *p, const struct link_request *r,
                               const uint32_t *product, const uint32_t *place, size_t n,
                               medley_error *err);

#endif
