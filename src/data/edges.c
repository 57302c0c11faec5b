/* edges.c: collecting and merging edges. Tested through test_import.c. */
#include "data/edges.h"

#include "base/memory.h"

#include <stdlib.h>

static int by_ends(const void *a, const void *b)
{
    const struct edge *x = a, *y = b;
    if (x->source != y->source)
        return x->source < y->source ? -1 : 1;
    return x->target < y->target ? -1 : x->target > y->target;
}

void edges_merge(struct edges *e)
{
    if (e->merged == e->n)
        return;
    qsort(e->items, e->n, sizeof *e->items, by_ends);
    size_t n = 0;
    for (size_t i = 0; i < e->n; i++) {
        if (n && by_ends(&e->items[n - 1], &e->items[i]) == 0)
            e->items[n - 1].weight += e->items[i].weight;
        else
            e->items[n++] = e->items[i];
    }
    e->n = e->merged = n;
}

bool edges_add(struct edges *e, uint32_t source, uint32_t target, float weight)
{
    if (e->n == e->capacity) {
        /* Merge before growing; grow when that freed less than a half, so that adding stays
         * cheap. */
        edges_merge(e);
        if (e->n >= e->capacity / 2 &&
            !mem_reserve(&e->items, &e->capacity, e->capacity ? e->capacity * 2 : 1024,
                         sizeof *e->items))
            return false;
    }
    e->items[e->n++] = (struct edge){source, target, weight};
    return true;
}

bool edges_add_pair(struct edges *e, uint32_t a, uint32_t b, float weight)
{
    if (a == b)
        return true;
    return a < b ? edges_add(e, a, b, weight) : edges_add(e, b, a, weight);
}

void edges_deinit(struct edges *e)
{
    mem_free(e->items);
    *e = (struct edges){0};
}
