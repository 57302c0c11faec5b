/* test_conditions.c: the conditions of a model against its nodes; answers of every kernel, at
 * every tail length, against comparing each value with each threshold. */
#include "tests/tap.h"

#include "base/memory.h"
#include "gbdt/conditions.h"
#include "tests/gbdt_help.h"

#include <float.h>

#define SEED 20240807u

static const float odd[] = {0.0f,     -0.0f,     1e-45f,    -1e-45f,    FLT_MIN,
                            -FLT_MIN, FLT_MAX,   -FLT_MAX,  1e-39f,     1.0f,
                            INFINITY, -INFINITY, 0.333333f, 16777216.0f};
#define N_ODD (sizeof odd / sizeof odd[0])

/* Thresholds on a grid, so that they repeat and values meet them exactly; some odd ones. */
static medley_gbdt *grid_model(struct rng *r, size_t rounds, size_t features, uint32_t steps)
{
    medley_gbdt *m = random_model(r, rounds, features, 3, MEDLEY_TREES_PER_CLASS, false);
    for (size_t t = 0; t < m->n_trees; t++)
        for (uint32_t i = 0; i + 1 < m->trees[t]->n_leaves; i++) {
            struct tree_node *n = &m->trees[t]->nodes[i];
            n->threshold = (float)rng_below(r, steps) / (float)steps - 0.5f;
            if (rng_below(r, 12) == 0)
                n->threshold = odd[rng_below(r, N_ODD)];
        }
    return m;
}

static void grid_rows(struct rng *r, size_t n, uint32_t steps, float *x)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = (float)rng_below(r, steps) / (float)steps - 0.5f;
        if (rng_below(r, 3) == 0)
            x[i] = rng_below(r, 2) ? NAN : odd[rng_below(r, N_ODD)];
    }
}

static void test_collection(const medley_gbdt *m, const struct conditions *c)
{
    bool named = true, distinct = true;
    for (size_t t = 0; t < m->n_trees; t++)
        for (uint32_t i = 0; i + 1 < m->trees[t]->n_leaves; i++) {
            const struct tree_node *n = &m->trees[t]->nodes[i];
            const struct condition *q = &c->list[condition_of(c, t, i)];
            named &= q->feature == n->feature && q->threshold == n->threshold &&
                     q->missing_left == n->missing_left;
        }
    for (size_t i = 0; i < c->n_conditions; i++)
        for (size_t j = 0; j < i; j++)
            distinct &= c->list[i].feature != c->list[j].feature ||
                        c->list[i].threshold != c->list[j].threshold ||
                        c->list[i].missing_left != c->list[j].missing_left;
    ok(named && distinct, "every node names its condition; %zu conditions, no two alike",
       c->n_conditions);
}

static bool answers_agree(const struct conditions *c, const struct conditions_impl *impl,
                          size_t words, const float *x, size_t n)
{
    struct conditions_space wanted, got;
    conditions_space_init(c, words, &wanted, NULL);
    conditions_space_init(c, words, &got, NULL);
    bool same = true;
    for (int again = 0; again < 2; again++) { /* the second time on what the first left */
        conditions_impls[0].answer(c, &wanted, x, n);
        impl->answer(c, &got, x, n);
        same &= memcmp(wanted.masks, got.masks, c->n_conditions * words * 8) == 0;
    }
    conditions_space_deinit(&wanted);
    conditions_space_deinit(&got);
    return same;
}

/* steps: about how many thresholds a feature has; from one level of search to four. */
static void test_answers(size_t rounds, size_t features, uint32_t steps)
{
    struct rng r;
    rng_init(&r, SEED, steps);
    medley_gbdt *m = grid_model(&r, rounds, features, steps);
    struct conditions *c = NULL;
    float *x = malloc(512 * features * sizeof *x);
    grid_rows(&r, 512 * features, steps, x);
    ok(conditions_new(m, &c, NULL) == MEDLEY_OK && conditions_memory(c) > c->n_conditions,
       "conditions of %zu features in steps of 1/%u", features, steps);
    if (steps < 1000)
        test_collection(m, c);
    unsigned levels = 0;
    for (size_t u = 0; u < c->n_used; u++)
        levels = c->used[u].levels > levels ? c->used[u].levels : levels;
    for (const struct conditions_impl *impl = conditions_impls + 1; impl->name; impl++) {
        bool same = true;
        if (!impl->usable())
            continue;
        for (size_t words = 1; words <= CONDITIONS_WORDS; words++)
            same &= answers_agree(c, impl, words, x, 64 * words);
        for (size_t n = 0; n < 140; n += steps < 1000 ? 1 : 37)
            same &= answers_agree(c, impl, 8, x, n) && answers_agree(c, impl, 4, x, n);
        ok(same, "%s answers as the definition, %u levels, all tails", impl->name, levels);
    }
    conditions_free(c);
    medley_gbdt_free(m);
    free(x);
}

static void test_none(void)
{
    struct rng r;
    rng_init(&r, SEED, 9);
    medley_gbdt *m = gbdt_new(3, 2, MEDLEY_TREES_VECTOR);
    gbdt_add_tree(m, random_tree(&r, 1, 3, 2, 0, false));
    struct conditions *c = NULL;
    float x[3] = {1, 2, NAN};
    ok(conditions_new(m, &c, NULL) == MEDLEY_OK && c->n_conditions == 0 && c->n_used == 0,
       "a model of one leaf asks nothing");
    for (const struct conditions_impl *impl = conditions_impls; impl->name; impl++)
        if (impl->usable())
            ok(answers_agree(c, impl, 8, x, 1), "and is answered: %s", impl->name);
    conditions_free(c);
    medley_gbdt_free(m);
}

static void test_memory(void)
{
    struct rng r;
    rng_init(&r, SEED, 10);
    medley_gbdt *m = grid_model(&r, 3, 5, 40);
    size_t n = 0;
    bool good = true, done = false;
    for (; !done && n < 100; n++) {
        struct conditions *c = NULL;
        struct conditions_space s = {0};
        mem_fail_after(n);
        medley_status st = conditions_new(m, &c, NULL);
        if (st == MEDLEY_OK)
            st = conditions_space_init(c, 8, &s, NULL);
        mem_fail_after(SIZE_MAX);
        done = st == MEDLEY_OK;
        good &= done || (st == MEDLEY_ENOMEM && !s.masks && !s.marks);
        conditions_space_deinit(&s);
        conditions_free(c);
    }
    ok(good && done && n > 5, "each of %zu allocations may fail", n);
    medley_gbdt_free(m);
}

int main(void)
{
    test_answers(4, 5, 3);
    test_answers(10, 7, 40);
    test_answers(60, 3, 400);
    test_answers(400, 1, 100000);
    test_answers(1500, 1, 4000000);
    test_none();
    test_memory();
    return tap_done();
}
