/* sampler.h: the neighbourhoods that a batch of nodes needs, hop by hop, as blocks; with the
 * own edge of a (query, product) pair hidden from everything that is computed for that pair.
 *
 * Why hide: when edges come from judged or shown lists, the very edge between q and p can tell
 * that (q, p) was looked at, or how it was labelled. At serving time a new pair has no such
 * edge.
 *
 * How: a row of a block stands for (node, pair) or for (node, nobody). Roots stand for (q,
 * pair) and (p, pair). The edge q-p is used when q or p gathers its neighbours, and (for layers
 * that divide by degrees) when a neighbour of q or p divides by their degree. A row that can
 * see neither within the hops it has left computes the same for every pair: it stands for
 * nobody and is shared. With two hops that makes two rows of one's own per pair and hop; all
 * else is shared over the batch.
 *
 * Sampling: of a node with more than `fanout` allowed neighbours those with the smallest
 * hash(seed, node, neighbour) are taken: independent of threads, of batch-mates and of whether
 * the hidden edge exists. The fan-out may differ from hop to hop, and relations may have limits
 * of their own, which cut a crowded relation down before the others have to share with it. What
 * is taken is weighted up for what is not. */
#ifndef GNN_SAMPLER_H
#define GNN_SAMPLER_H

#include "gnn/block.h"
#include "gnn/graph.h"

#define NOBODY UINT32_MAX /* no pair */

/* The union graph of stored nodes and, while a request is answered, a patch: rows for new nodes
 * and new versions of the rows of stored ones. */
struct graph_view {
    const struct csr *base;
    size_t n_patched;
    const uint32_t *patched; /* [n_patched] node ids, ascending */
    struct csr patch;        /* row i is the row of node patched[i] */
};
struct graph_row {
    const uint32_t *target;
    const float *weight;
    const uint32_t *relations; /* NULL: nobody knows */
    size_t n;
    float degree;
};
struct graph_row view_row(const struct graph_view *v, uint32_t node);

struct sample_request {
    const struct graph_view *view;
    const uint32_t *root; /* [n] node ids */
    const uint32_t *pair; /* [n] whose edge the root must not see; NULL: nothing is hidden */
    size_t n;
    const uint32_t *query, *product; /* [n_pairs] node ids of the pairs */
    size_t n_pairs;
    unsigned hops, fanout;           /* fanout: at most so many neighbours per node and hop */
    const unsigned *hop_fanout;      /* [hops] fan-outs from the roots on; NULL: fanout */
    const unsigned *relation_fanout; /* [GRAPH_TYPED_RELATIONS] edges taken of each at most; 0:
                                        no limit of its own; an edge of several counts for the
                                        first that has one. NULL: none has */
    uint64_t seed;                   /* of this step */
    bool degrees;                    /* the layers read degrees */
    bool relations;                  /* the layers read relations */
};

/* blocks[0] reads leaves, blocks[hops-1] writes the roots (in the order of the request).
 * Borrowed from the sampler until its next run. */
struct sample {
    unsigned hops;
    struct block blocks[GNN_MAX_HOPS];
    const uint32_t *leaves; /* [n_leaves] nodes, each once */
    size_t n_leaves;
};

struct sampler;                    /* one per thread; keeps its buffers between runs */
struct sampler *sampler_new(void); /* NULL when out of memory */
void sampler_free(struct sampler *s);
medley_status sampler_run(struct sampler *s, const struct sample_request *r, struct sample *out,
                          medley_error *err);

#endif
