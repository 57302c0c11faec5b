/* test_precompute.c: which queries and products are the most frequent. */
#include "tests/tap.h"

#include "base/memory.h"
#include "ensemble/precompute.h"
#include "tests/gnn_shop.h"

/* The ids as text: "q 0 2 p 1 3". */
static const char *chosen(struct shop *s, uint64_t products, uint64_t queries)
{
    static char text[256];
    struct precompute_config how = {products, queries};
    struct precompute p;
    if (precompute_choose(&s->d, &s->r, &how, &p, NULL) != MEDLEY_OK)
        return "failed";
    int n = snprintf(text, sizeof text, "q");
    for (size_t i = 0; i < p.plan.n_queries; i++)
        n += snprintf(text + n, sizeof text - (size_t)n, " %u", p.plan.queries[i]);
    n += snprintf(text + n, sizeof text - (size_t)n, " p");
    for (size_t i = 0; i < p.plan.n_products; i++)
        n += snprintf(text + n, sizeof text - (size_t)n, " %u", p.plan.products[i]);
    precompute_free(&p);
    return text;
}

int main(void)
{
    struct shop *s = shop_new(4, 5);
    uint32_t query[] = {3, 3, 1}, product[] = {4, 2, 4};
    /* query: 0 has 1 listing, 1 has 2, 2 has 5.5 clicks, 3 nothing */
    shop_link(s, 0, 0, 0, 1);
    shop_link(s, 0, 1, 0, 1);
    shop_link(s, 0, 1, 3, 1);
    shop_link(s, 1, 2, 4, 5.5f);
    shop_link(s, 2, 1, 2, 100); /* between products: not asked for */
    is_text(chosen(s, 2, 2), "q 1 2 p 0 4", "listings and events count, ids ascend");
    is_text(chosen(s, 3, 3), "q 0 1 2 p 0 3 4", "three of each");
    is_text(chosen(s, 4, 1), "q 2 p 0 1 3 4", "of equals the first");
    is_text(chosen(s, UINT64_MAX, 9), "q 0 1 2 3 p 0 1 2 3 4", "all, or more than there are");
    is_text(chosen(s, 0, 3), "q p", "no products: nothing");
    is_text(chosen(s, 3, 0), "q p", "no queries: nothing");
    s->r.count = 0;
    s->d.n_examples = 3;
    s->d.example_query = query;
    s->d.example_product = product;
    is_text(chosen(s, 2, 2), "q 1 3 p 2 4", "without listings the judged pairs count");
    struct precompute_config how = {2, 2};
    struct precompute p = {0};
    medley_status st = MEDLEY_ENOMEM;
    size_t failed = 0;
    for (size_t i = 0; st != MEDLEY_OK && i < 20; i++) {
        mem_fail_after(i);
        st = precompute_choose(&s->d, &s->r, &how, &p, NULL);
        mem_fail_after(SIZE_MAX);
        failed += st == MEDLEY_ENOMEM;
    }
    ok(st == MEDLEY_OK && failed == 3, "out of memory is said (%zu times)", failed);
    precompute_free(&p);
    free(s);
    return tap_done();
}
