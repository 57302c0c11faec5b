/* link_store_file.h: private to link_store*.c: the layout of the file. */
#ifndef GNN_LINK_STORE_FILE_H
#define GNN_LINK_STORE_FILE_H

#include "base/file.h"
#include "gnn/link_model.h"
#include "gnn/link_store.h"

#define LINK_STORE_MAGIC "MEDLEYGS"
enum { LINK_STORE_VERSION = 2 };

struct link_store_header {
    char magic[8];
    uint32_t version, header_bytes;
    uint32_t hidden, width, classes, neighbours; /* neighbours: WHOLE */
    uint32_t levels; /* rows of layers before the last that a product brings: hops */
    uint32_t half;   /* 1: rows are float16 */
    uint64_t graph_queries, graph_products; /* of the graph it was made from */
    uint64_t queries, products, pairs;      /* stored */
    uint64_t file_bytes;
    int64_t made, cutoff;   /* seconds since 1970; cutoff of the graph, 0: unknown */
    struct hash128 bundle;  /* its id; zero: none */
    struct hash128 model;   /* of what computes: model and instruction set */
    struct hash128 source;  /* of model, graph and features (link_store_source) */
    struct hash128 payload; /* of all behind the header */
    uint64_t reserved;      /* 0 */
    struct hash128 header;  /* of all of the header before this */
};
_Static_assert(sizeof(struct link_store_header) == 192, "the header is a file format");

/* A row of `columns` numbers, the first `packed` of which may be float16. The rest, degrees and
 * cosines, is float32 always: cosines are compared for being equal (match.c). */
struct row_shape {
    size_t columns, packed;
    size_t rest;  /* where the others begin, in bytes */
    size_t bytes; /* from a row to the next: a multiple of 64 */
};

/* Where the sections begin, in bytes; `end` is the size of the file. */
struct link_store_layout {
    uint64_t query_ids, product_ids, pair_offsets, pair_product, pair, query_prints,
        product_prints, pair_prints, query_rows, product_rows, end;
    struct row_shape query, product;
};
/* False when the counts are beyond anything that can be (then sums might overflow). */
bool link_store_layout(const struct link_store_header *h, struct link_store_layout *out);

struct link_store {
    struct mapping file; /* owned when `mapped` */
    bool mapped;
    const char *name; /* for messages */
    char *path;       /* owned */
    const struct link_store_header *header;
    struct link_store_layout layout;
    const uint32_t *query_ids, *product_ids, *pair_product;
    const uint64_t *pair_offsets;
    const float *pair;
    const struct hash128 *query_prints, *product_prints, *pair_prints;
    const uint8_t *query_rows, *product_rows;
};

/* Places within a row, in numbers; a query's row has no levels. */
static inline size_t row_around(size_t hidden, size_t levels)
{
    return hidden * (1 + levels);
}
static inline size_t row_degree(size_t hidden, size_t levels, size_t width)
{
    return row_around(hidden, levels) + width;
}
static inline size_t row_others(size_t hidden, size_t width) /* the count; then the cosines */
{
    return row_degree(hidden, 0, width) + 1;
}

/* float16 (IEEE 754 binary16), to nearest even; infinite when beyond its range. */
uint16_t half_of(float x);
void half_to_floats(const uint16_t *from, size_t n, float *to);

/* A row as floats: the mapped bytes themselves, or expanded into scratch[columns]. */
const float *link_store_row(const struct link_store *s, const struct row_shape *shape,
                            const uint8_t *rows, size_t at, float *scratch);

/* The payload is hashed in blocks of this size, chained, so that it can be written as a stream.
 */
enum { LINK_STORE_BLOCK = 1 << 20 };
struct hash128 link_store_hash(const uint8_t *payload, size_t n);
struct hash128 link_store_hash_header(const struct link_store_header *h);
/* Of the model and of the kernels that run it: what makes two runs give the same bits.
 * Zero when out of memory; so is the next. */
struct hash128 link_store_model(const struct link_classifier *m, const struct graph *g);
struct hash128 link_store_source(const struct link_classifier *m, const struct graph *g,
                                 const float *features);

/* The place of an id in an ascending list; SIZE_MAX when it is not there. */
size_t link_store_find(const uint32_t *ids, size_t n, uint32_t id);

/* link_store_print.c: what a node's row depends on, as hashes [n_nodes] that the caller frees:
 * equal prints, equal rows, bit for bit. identity[n_nodes] or NULL: nodes are their numbers. */
medley_status link_prints(const struct link_store_job *job, struct hash128 **out,
                          medley_error *err);
/* The same of the probabilities of an edge of the graph, whose ends have these prints. */
struct hash128 link_pair_print(const struct graph *g, const struct hash128 *prints,
                               uint32_t query, uint32_t product_node);

/* link_store_new.c: pairs of a new query whose candidates are all stored, at these rows. */
enum { LINK_STORE_LISTING = 1024 }; /* candidates at most; more are answered live */
medley_status link_store_answer_new(const struct link_store *s, const struct link_classifier *m,
                                    const struct link_request *r, const size_t *row,
                                    float *probabilities, medley_error *err);
/* A stored product's part of the match features; raw[width] is scaled already. */
struct match_side link_store_product(const struct link_store *s, const float *row,
                                     const float *raw);

/* Checks bytes that stay the caller's; `name` is put before messages. */
medley_status link_store_parse(struct mapping bytes, const char *name, struct link_store **out,
                               medley_error *err);

#endif
