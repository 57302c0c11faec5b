/* neighbours.h: the k nearest rows by cosine, exactly: what joins a node to the graph by its
 * text alone. */
#ifndef GNN_NEIGHBOURS_H
#define GNN_NEIGHBOURS_H

#include "medley/status.h"

#include <stdbool.h>

#define TEXT_NEIGHBOURS 8 /* k, wherever nodes are joined by text */

struct neighbour_search {
    const float *rows;    /* [n_rows, width] among which to look; zero rows have no neighbour */
    const uint8_t *group; /* [n_rows] or NULL: only rows of the group asked for are taken */
    size_t n_rows, width;
    const float *asked;         /* [n_asked, width] */
    const uint8_t *asked_group; /* [n_asked]; with `group` */
    size_t n_asked;
    bool self; /* asked are the rows themselves, none of which is its own neighbour */
    unsigned k;
};

/* id[n_asked * k] nearest first (of equally near ones the lower id), UINT32_MAX where there are
 * fewer than k with a cosine above zero; cosine[n_asked * k], 0 there. Work is n_rows * n_asked *
 * width, in blocks that stay in the cache, over the pool; the result depends on neither blocks
 * nor threads. */
medley_status neighbours_find(const struct neighbour_search *s, uint32_t *id, float *cosine,
                              medley_error *err);

#endif
