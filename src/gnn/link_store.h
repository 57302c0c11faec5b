/* link_store.h: what a graph model computes for frequent queries and products, made ahead and
 * kept in one mapped file, so that a pair of two stored nodes costs no graph layer.
 *
 * A pair's own edge is hidden from its neighbourhood, so there are two cases, and both give the
 * live path's probabilities, not an approximation of them:
 *   - the pair is no edge of the graph: hiding it changes nothing, and the two nodes' rows are
 *     what the live path would compute. Both heads run over them.
 *   - the pair is an edge: its rows belong to this pair alone, so rather than two rows its
 *     probabilities are kept (16 bytes for 4 classes).
 *
 * A new query whose candidates are all stored costs one hop over them: products bring what each
 * layer before the last made of them. This is the one approximation: the live path would also
 * let each candidate see the new query among its neighbours.
 *
 * The file, little-endian, every section padded to 64 bytes:
 *   struct link_store_header
 *   query ids     uint32 [queries] ascending        product ids  uint32 [products] ascending
 *   pair offsets  uint64 [queries + 1]              pair product uint32 [pairs] ascending
 *   pair          float  [pairs, classes]             within a query
 *   prints        uint64 [queries, 2], [products, 2], [pairs, 2]
 *   query rows    float or float16 [queries, .]     product rows [products, .]
 * A row: last layer [hidden]; of a product the layers before [hops, hidden]; mean raw features
 * of the neighbours [width]; log(1 + degree); of a query also its number of neighbours read,
 * and [64] their cosines with it (match.c). Padded to 64 bytes. With float16, log(1 + degree)
 * and what follows stay float32 (behind an even number of float16s).
 *
 * A print is a hash of all that a row was computed from: the features, edges and weights within
 * the model's hops. A store is refreshed by copying the rows whose print another store has.
 * Proof: tests/test_link_store.c, test_link_refresh.c. */
#ifndef GNN_LINK_STORE_H
#define GNN_LINK_STORE_H

#include "base/file.h"
#include "gnn/link_classifier.h"

struct link_store; /* immutable once open: threads may share it */

/* Which nodes: indices among queries and among products, ascending. */
struct link_store_plan {
    const uint32_t *queries, *products;
    size_t n_queries, n_products;
};
struct link_store_job {
    const struct link_classifier *model;
    const struct graph *graph;
    const float *features; /* [n_nodes, width] */
    struct link_store_plan plan;
    bool half;                       /* rows as float16 */
    int64_t made, cutoff;            /* seconds since 1970, written as they are; 0: unknown */
    struct hash128 bundle;           /* likewise */
    const struct hash128 *identity;  /* [n_nodes] of nodes across graphs that number them
                                        otherwise; NULL: the number */
    const struct link_store *before; /* rows may be copied from it; NULL: none */
};
struct link_store_tally {
    size_t made, copied;
};
struct link_store_work {
    struct link_store_tally queries, products, pairs;
};
/* Written atomically; the bytes depend on the job alone, neither on threads nor on `before`.
 * EINVAL when float16 cannot hold a value. `work` may be NULL. */
medley_status link_store_write(const struct link_store_job *job, const char *path,
                               struct link_store_work *work, medley_error *err);

/* EFORMAT for a file that is cut short, altered or contradicts itself: every byte is checked.
 */
medley_status link_store_open(const char *path, struct link_store **out, medley_error *err);
void link_store_close(struct link_store *s);
/* EFORMAT unless the store was made from exactly this model, graph and features. */
medley_status link_store_check(const struct link_store *s, const struct link_classifier *m,
                               const struct graph *g, const float *features, medley_error *err);

struct link_store_size {
    size_t queries, products, pairs, bytes;
    int64_t made, cutoff;
    bool half;
    struct hash128 bundle;
};
struct link_store_size link_store_size(const struct link_store *s);

/* Fills probabilities[n*K] and sets stored[i] where query and product are stored; leaves the
 * others alone. The request has been checked against the graph. */
medley_status link_store_answer(const struct link_store *s, const struct link_classifier *m,
                                const struct link_request *request, uint8_t *stored,
                                float *probabilities, medley_error *err);

#endif
