/* import_links.c: product-product relations from result lists, brands and categories. All
 * choices are by hash of what the products are called, so the order of rows in files does not
 * matter. Tested by test_import.c. */
#include "data/importer.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/rng.h"
#include "data/dataset_file.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* A list of n products gives n(n-1)/2 edges; the longest lists say the least about any pair. */
#define LIST_LIMIT 50
/* Same-brand and same-category: the members of a group stand on a ring, in order of a hash, and
 * each is linked to so many on either side, so that big groups stay cheap. */
#define RING_REACH 5

struct member {
    uint32_t group, product;
    uint64_t order; /* hash: the place within the group */
};

struct members {
    struct member *items;
    size_t n, capacity;
};

static int by_group(const void *a, const void *b)
{
    const struct member *x = a, *y = b;
    if (x->group != y->group)
        return x->group < y->group ? -1 : 1;
    if (x->order != y->order)
        return x->order < y->order ? -1 : 1;
    return x->product < y->product ? -1 : x->product > y->product;
}

static bool add_member(const struct importer *im, struct members *m, uint32_t group,
                       uint64_t group_hash, uint32_t product)
{
    if (!mem_reserve(&m->items, &m->capacity, m->n + 1, sizeof *m->items))
        return false;
    struct str locale = map_key(im->locales, im->product_locale[product]);
    uint64_t key = dataset_key(locale, text_at(&im->product_id, product));
    m->items[m->n++] = (struct member){group, product, mix64(0, group_hash, key)};
    return true;
}

static void sort_members(struct members *m)
{
    if (m->n)
        qsort(m->items, m->n, sizeof *m->items, by_group);
}

/* The end of the group that begins at `begin`. */
static size_t group_end(const struct members *m, size_t begin)
{
    size_t end = begin;
    while (end < m->n && m->items[end].group == m->items[begin].group)
        end++;
    return end;
}

/* --- lists --- */

static medley_status list_rows(struct importer *im, struct table *t, struct map *lists,
                               struct members *m, medley_error *err)
{
    const struct import_columns *names = &im->options->columns;
    size_t list, id, locale;
    bool more = true;
    medley_status st = table_require(t, "list_id", &list, err);
    if (st == MEDLEY_OK)
        st = table_require(t, or_esci(names->product_id, "product_id"), &id, err);
    locale = table_find(t, or_esci(names->locale, "product_locale"));
    for (uint64_t row = 0; st == MEDLEY_OK && more; row++) {
        st = importer_tick("import lists", t, row, err);
        if (st == MEDLEY_OK)
            st = table_next(t, &more, err);
        if (st != MEDLEY_OK || !more)
            break;
        uint8_t l = 0;
        st = importer_locale(im, t, table_field(t, locale), &l, err);
        if (st != MEDLEY_OK)
            break;
        struct str name = str_trim(table_field(t, list)), text = str_trim(table_field(t, id));
        uint32_t product = importer_find(im, im->products, l, text);
        if (product == MAP_NONE) {
            issue_add(im, ISSUE_LIST_PRODUCT, t, "list '%.*s', product '%.*s'", (int)name.n,
                      name.s, (int)text.n, text.s);
            continue;
        }
        uint32_t group = map_add(lists, name, NULL);
        if (group == MAP_NONE ||
            !add_member(im, m, group, dataset_key(STR("list"), name), product))
            st = fail_memory(err, "lists");
    }
    return st;
}

/* Every pair of one list; weights add up over the lists. Repeats of a product lie side by side.
 */
static medley_status link_lists(struct importer *im, struct table *t, const struct map *lists,
                                struct members *m, medley_error *err)
{
    struct edges *edges = &im->relations[BUILT_CO_LISTED];
    sort_members(m);
    for (size_t begin = 0, end; begin < m->n; begin = end) {
        end = group_end(m, begin);
        uint32_t chosen[LIST_LIMIT];
        size_t n = 0, different = 0;
        for (size_t i = begin; i < end; i++) {
            if (i > begin && m->items[i].product == m->items[i - 1].product)
                continue;
            different++;
            if (n < LIST_LIMIT)
                chosen[n++] = m->items[i].product;
        }
        if (different > LIST_LIMIT) {
            struct str name = map_key(lists, m->items[begin].group);
            issue_add(im, ISSUE_LONG_LIST, t, "list '%.*s' has %zu products", (int)name.n,
                      name.s, different);
        }
        for (size_t i = 0; i < n; i++)
            for (size_t k = 0; k < i; k++)
                if (!edges_add_pair(edges, chosen[i], chosen[k], 1.0f))
                    return fail_memory(err, "the co-listed relation");
    }
    return MEDLEY_OK;
}

medley_status import_lists(struct importer *im, medley_error *err)
{
    if (!im->options->lists)
        return MEDLEY_OK;
    struct table *t;
    struct members m = {0};
    medley_status st = table_open(im->options->lists, &t, err);
    if (st != MEDLEY_OK)
        return st;
    struct map *lists = map_new(1024);
    st = lists ? list_rows(im, t, lists, &m, err) : fail_memory(err, "lists");
    if (st == MEDLEY_OK)
        st = link_lists(im, t, lists, &m, err);
    map_free(lists);
    mem_free(m.items);
    importer_finish("import lists", t, st);
    return st;
}

/* --- brands and categories --- */

/* Case-folded, so that "KAF Home" and "Kaf home" are one; NULL when out of memory. Free with
 * free. */
static char *fold_case(struct str text)
{
    utf8proc_uint8_t *out = NULL;
    utf8proc_ssize_t n =
        utf8proc_map((const utf8proc_uint8_t *)text.s, (utf8proc_ssize_t)text.n, &out,
                     UTF8PROC_COMPOSE | UTF8PROC_CASEFOLD);
    return n < 0 ? NULL : (char *)out;
}

static bool link_rings(struct edges *edges, struct members *m)
{
    sort_members(m);
    for (size_t begin = 0, end; begin < m->n; begin = end) {
        end = group_end(m, begin);
        size_t n = end - begin;
        size_t reach = n - 1 < RING_REACH ? n - 1 : RING_REACH;
        for (size_t i = 0; i < n; i++)
            for (size_t k = 1; k <= reach; k++)
                if (!edges_add_pair(edges, m->items[begin + i].product,
                                    m->items[begin + (i + k) % n].product, 1.0f))
                    return false;
    }
    edges_merge(edges);
    /* In a small ring an edge is met from both sides; it still is one edge. */
    for (size_t i = 0; i < edges->n; i++)
        edges->items[i].weight = 1.0f;
    return true;
}

/* Links products of one locale whose texts are the same but for case. A category is its whole
 * path: two leaves of one name under different parents are different. */
static medley_status link_same(struct importer *im, const struct text_builder *texts,
                               struct edges *edges, medley_error *err)
{
    struct members m = {0};
    struct map *groups = map_new(1024);
    bool good = groups != NULL;
    for (size_t i = 0; good && i < texts->n; i++) {
        struct str text = text_at(texts, i);
        if (text.n == 0)
            continue;
        char *folded = fold_case(text);
        good = folded != NULL;
        if (good) {
            uint32_t group =
                importer_add(im, groups, im->product_locale[i], str_of(folded), NULL);
            good = group != MAP_NONE &&
                   add_member(im, &m, group, dataset_key(STR(""), str_of(folded)), (uint32_t)i);
        }
        free(folded);
    }
    good = good && link_rings(edges, &m);
    map_free(groups);
    mem_free(m.items);
    return good ? MEDLEY_OK : fail_memory(err, "a product relation");
}

medley_status import_groups(struct importer *im, medley_error *err)
{
    medley_status st = link_same(im, &im->brand, &im->relations[BUILT_SAME_BRAND], err);
    if (st == MEDLEY_OK)
        st = link_same(im, &im->category, &im->relations[BUILT_SAME_CATEGORY], err);
    return st;
}
