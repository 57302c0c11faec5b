/* text_relations.c: see text_relations.h. Tested by test_text_relations.c. */
#include "ensemble/text_relations.h"

#include "base/error.h"
#include "base/memory.h"
#include "data/edges.h"
#include "gnn/neighbours.h"

#include <string.h>

static const char *const names[] = {RELATION_TEXT, RELATION_TEXT_QUERIES,
                                    RELATION_TEXT_PRODUCTS};

bool is_text_relation(const char *name)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

bool names_text_relation(const char *const *list)
{
    for (; list && *list; list++)
        if (is_text_relation(*list))
            return true;
    return false;
}

struct path text_relations_path(const char *features)
{
    struct path p;
    size_t n = strlen(features), ending = sizeof ".npy" - 1;
    if (n > ending && strcmp(features + n - ending, ".npy") == 0)
        n -= ending;
    int written = snprintf(p.s, sizeof p.s, "%.*s.text", (int)n, features);
    if (written < 0 || (size_t)written >= sizeof p.s)
        p.s[0] = '\0';
    return p;
}

/* One kind of nodes. */
struct side {
    const float *rows;
    const uint8_t *locale;
    size_t n;
};

/* Edges from each of `from` to its nearest of `to`. Two of one side that find each other are
 * still one edge of one cosine. */
static medley_status join(const struct side *from, const struct side *to, size_t width,
                          struct edges *out, medley_error *err)
{
    enum { K = TEXT_NEIGHBOURS };
    bool self = from == to, good = true;
    uint32_t *id = mem_alloc(from->n, K * sizeof *id);
    float *cosine = mem_alloc(from->n, K * sizeof *cosine);
    struct neighbour_search s = {.rows = to->rows,
                                 .group = to->locale,
                                 .n_rows = to->n,
                                 .width = width,
                                 .asked = from->rows,
                                 .asked_group = from->locale,
                                 .n_asked = from->n,
                                 .self = self,
                                 .k = K};
    medley_status st = id && cosine ? neighbours_find(&s, id, cosine, err)
                                    : fail_memory(err, "text neighbours");
    for (size_t i = 0; i < from->n && st == MEDLEY_OK && good; i++)
        for (size_t k = 0; k < K && id[i * K + k] != UINT32_MAX && good; k++) {
            uint32_t other = id[i * K + k];
            bool met = false;
            for (size_t j = 0; self && other < i && j < K; j++)
                met = met || id[other * (size_t)K + j] == i;
            if (met)
                continue;
            good = self ? edges_add_pair(out, (uint32_t)i, other, cosine[i * K + k])
                        : edges_add(out, (uint32_t)i, other, cosine[i * K + k]);
        }
    mem_free(id);
    mem_free(cosine);
    return st == MEDLEY_OK && !good ? fail_memory(err, "text neighbours") : st;
}

medley_status text_relations_write(const struct dataset *d, const float *rows, size_t width,
                                   const char *folder, medley_error *err)
{
    struct edges edges[3] = {{0}};
    struct side queries = {rows, d->query_locale, d->n_queries},
                products = {rows + d->n_queries * width, d->product_locale, d->n_products};
    struct named_edges list[3] = {{names[0], RELATION_QUERY_PRODUCT, &edges[0]},
                                  {names[1], RELATION_QUERY_QUERY, &edges[1]},
                                  {names[2], RELATION_PRODUCT_PRODUCT, &edges[2]}};
    medley_status st = make_folders(folder, err);
    if (st == MEDLEY_OK)
        st = join(&queries, &products, width, &edges[0], err);
    if (st == MEDLEY_OK)
        st = join(&queries, &queries, width, &edges[1], err);
    if (st == MEDLEY_OK)
        st = join(&products, &products, width, &edges[2], err);
    if (st == MEDLEY_OK)
        st = relations_write(list, 3, folder, err);
    for (int i = 0; i < 3; i++)
        edges_deinit(&edges[i]);
    return st;
}
