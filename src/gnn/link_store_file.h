/* link_store_file.h: private to link_store.c and link_store_write.c: the layout of the file. */
#ifndef GNN_LINK_STORE_FILE_H
#define GNN_LINK_STORE_FILE_H

#include "base/file.h"
#include "gnn/link_model.h"
#include "gnn/link_store.h"

#define LINK_STORE_MAGIC "MEDLEYGS"
enum { LINK_STORE_VERSION = 1 };

struct link_store_header {
    char magic[8];
    uint32_t version, header_bytes;
    uint32_t hidden, width, classes, neighbours; /* neighbours: WHOLE */
    uint64_t graph_queries, graph_products;      /* of the graph it was made from */
    uint64_t queries, products, pairs;           /* stored */
    uint64_t file_bytes;
    struct hash128 source;  /* of model, graph and features (link_store_source) */
    struct hash128 payload; /* of all behind the header */
    struct hash128 header;  /* of all of the header before this */
};
_Static_assert(sizeof(struct link_store_header) == 128, "the header is a file format");

/* Where the sections begin, in bytes; `end` is the size of the file. */
struct link_store_layout {
    uint64_t query_ids, product_ids, pair_offsets, pair_product, pair, query_rows, product_rows,
        end;
    size_t query_stride, product_stride; /* floats */
};
/* False when the counts are beyond anything that can be (then sums might overflow). */
bool link_store_layout(const struct link_store_header *h, struct link_store_layout *out);

/* Places within a row, in floats. */
static inline size_t row_around(size_t hidden)
{
    return hidden;
}
static inline size_t row_degree(size_t hidden, size_t width)
{
    return hidden + width;
}
static inline size_t row_others(size_t hidden, size_t width) /* the count; then the cosines */
{
    return hidden + width + 1;
}

/* The payload is hashed in blocks of this size, chained, so that it can be written as a stream.
 */
enum { LINK_STORE_BLOCK = 1 << 20 };
struct hash128 link_store_hash(const uint8_t *payload, size_t n);
struct hash128 link_store_hash_header(const struct link_store_header *h);
struct hash128 link_store_source(const struct link_classifier *m, const struct graph *g,
                                 const float *features);

/* The place of an id in an ascending list; SIZE_MAX when it is not there. */
size_t link_store_find(const uint32_t *ids, size_t n, uint32_t id);

/* Checks bytes that stay the caller's; `name` is put before messages. */
medley_status link_store_parse(struct mapping bytes, const char *name, struct link_store **out,
                               medley_error *err);

#endif
