/* relations.h: the edges behind the graph, as plain lists. Labels never enter them. */
#ifndef DATA_RELATIONS_H
#define DATA_RELATIONS_H

#include "data/dataset.h"

enum relation_kind { RELATION_QUERY_PRODUCT, RELATION_PRODUCT_PRODUCT, RELATION_QUERY_QUERY };

/* Relations of text neighbours, which stand beside the features that they are made of. */
#define RELATION_TEXT "text"                   /* a query and its nearest products */
#define RELATION_TEXT_QUERIES "text-queries"   /* queries among themselves */
#define RELATION_TEXT_PRODUCTS "text-products" /* products among themselves */

/* One relation. Query-product: source is a query, target a product. Product-product and
 * query-query: undirected, stored once with source < target. Sorted by (source, target), no
 * duplicates. */
struct relation {
    const char *name; /* "listing", "impressions", "clicks", "adds", "purchases", "consumes",
                         "co-listed", "same-brand", "same-category", or a user's own */
    enum relation_kind kind;
    size_t n;
    const uint32_t *source, *target; /* [n] */
    const float *weight;             /* [n] > 0 */
};

/* All relations of a dataset folder; mmapped, immutable, shareable between threads. A folder
 * without relations gives count 0. */
struct relations {
    size_t count;
    struct relation *items;
    struct st_file *file; /* private */
};
medley_status relations_open(const char *folder, struct relations *out, medley_error *err);
/* Relations that stand apart from their dataset; a folder without any is refused. */
medley_status relations_open_beside(const char *folder, size_t queries, size_t products,
                                    struct relations *out, medley_error *err);
void relations_close(struct relations *r);
const struct relation *relations_find(const struct relations *r, const char *name);

#endif
