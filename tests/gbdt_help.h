/* gbdt_help.h: tables and trees for the tests of the tree engine. */
#ifndef TESTS_GBDT_HELP_H
#define TESTS_GBDT_HELP_H

#include "base/rng.h"
#include "gbdt/tree.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A table that owns its arrays. */
struct shop {
    medley_table t;
    float *x, *weights;
    uint8_t *y;
};

/* Stacked probabilities: `models` base models of K classes that see the truth through noise;
 * one row in ten lacks a model. Rows carry no weights unless asked. */
__attribute__((unused)) static struct shop shop_new(size_t n, size_t models, size_t classes,
                                                    uint64_t seed)
{
    struct shop s = {.t = {.n = n, .n_features = models * classes, .n_classes = classes}};
    struct rng r;
    rng_init(&r, seed, 0);
    s.x = malloc(n * s.t.n_features * sizeof *s.x);
    s.weights = malloc(n * sizeof *s.weights);
    s.y = malloc(n);
    for (size_t i = 0; i < n; i++) {
        uint8_t label = (uint8_t)rng_below(&r, (uint32_t)classes);
        size_t gone = rng_below(&r, 10) == 0 ? rng_below(&r, (uint32_t)models) : models;
        s.y[i] = label;
        s.weights[i] = (float)(0.2 + rng_uniform(&r));
        for (size_t m = 0; m < models; m++) {
            double e[16], sum = 0;
            for (size_t c = 0; c < classes; c++)
                sum += e[c] =
                    exp((c == label) * 1.2 + (0.7 + 0.2 * (double)m) * rng_normal(&r));
            for (size_t c = 0; c < classes; c++)
                s.x[(i * models + m) * classes + c] = m == gone ? NAN : (float)(e[c] / sum);
        }
    }
    s.t.features = s.x;
    s.t.labels = s.y;
    return s;
}

__attribute__((unused)) static void shop_free(struct shop *s)
{
    free(s->x);
    free(s->weights);
    free(s->y);
}

/* A random tree: leaves are split in random order, so both bushy and long paths appear; `chain`
 * always splits the newest leaf. Covers are random but add up. */
__attribute__((unused)) static struct tree *random_tree(struct rng *r, uint32_t leaves,
                                                        size_t features, uint32_t outputs,
                                                        uint32_t first_class, bool chain)
{
    struct tree *t = tree_new(leaves, outputs, first_class);
    struct {
        int32_t parent;
        bool right;
        uint32_t count;
    } *open = malloc(leaves * sizeof *open);
    open[0].parent = -1;
    open[0].right = false;
    open[0].count = leaves * 40;
    for (uint32_t n = 1; n < leaves; n++) {
        uint32_t at = chain ? n - 1 : rng_below(r, n);
        while (open[at].count < 2) /* too few rows to divide */
            at = rng_below(r, n);
        struct tree_node *node = &t->nodes[n - 1];
        uint32_t count = open[at].count, left = 1 + rng_below(r, count - 1);
        if (chain && left > 4)
            left = 1 + rng_below(r, 4); /* leave enough for the rest of the chain */
        *node = (struct tree_node){.threshold = (float)rng_uniform(r),
                                   .feature = rng_below(r, (uint32_t)features),
                                   .count = count,
                                   .missing_left = rng_below(r, 2)};
        if (open[at].parent >= 0 && open[at].right)
            t->nodes[open[at].parent].right = (int32_t)n - 1;
        else if (open[at].parent >= 0)
            t->nodes[open[at].parent].left = (int32_t)n - 1;
        open[at].parent = open[n].parent = (int32_t)n - 1;
        open[at].right = false;
        open[n].right = true;
        open[at].count = left;
        open[n].count = count - left;
    }
    for (uint32_t i = 0; i < leaves; i++) {
        t->counts[i] = open[i].count;
        if (open[i].parent >= 0 && open[i].right)
            t->nodes[open[i].parent].right = ~(int32_t)i;
        else if (open[i].parent >= 0)
            t->nodes[open[i].parent].left = ~(int32_t)i;
        for (uint32_t o = 0; o < outputs; o++)
            t->values[i * outputs + o] = (float)rng_normal(r);
    }
    free(open);
    return t;
}

/* Field by field: the padding of nodes holds anything. */
__attribute__((unused)) static bool same_tree(const struct tree *s, const struct tree *t)
{
    bool same = s->n_leaves == t->n_leaves && s->n_outputs == t->n_outputs &&
                s->first_class == t->first_class &&
                memcmp(s->values, t->values, s->n_leaves * s->n_outputs * sizeof(float)) == 0 &&
                memcmp(s->counts, t->counts, s->n_leaves * sizeof *s->counts) == 0;
    for (uint32_t n = 0; same && n + 1 < s->n_leaves; n++)
        same = s->nodes[n].threshold == t->nodes[n].threshold &&
               s->nodes[n].feature == t->nodes[n].feature &&
               s->nodes[n].left == t->nodes[n].left && s->nodes[n].right == t->nodes[n].right &&
               s->nodes[n].count == t->nodes[n].count &&
               s->nodes[n].missing_left == t->nodes[n].missing_left;
    return same;
}

__attribute__((unused)) static bool same_model(const medley_gbdt *a, const medley_gbdt *b)
{
    bool same = a->n_trees == b->n_trees && a->n_features == b->n_features &&
                a->n_classes == b->n_classes && a->kind == b->kind && a->rounds == b->rounds &&
                memcmp(a->base, b->base, a->n_classes * sizeof *a->base) == 0;
    for (size_t i = 0; same && i < a->n_trees; i++)
        same = same_tree(a->trees[i], b->trees[i]);
    return same;
}

/* Rows of uniform numbers, a third of them missing. */
__attribute__((unused)) static void random_rows(struct rng *r, size_t n, float *x)
{
    for (size_t i = 0; i < n; i++)
        x[i] = rng_below(r, 3) == 0 ? NAN : (float)rng_uniform(r);
}

/* `rounds` of random trees. */
__attribute__((unused)) static medley_gbdt *random_model(struct rng *r, size_t rounds,
                                                         size_t features, size_t classes,
                                                         enum medley_trees kind, bool chain)
{
    medley_gbdt *m = gbdt_new(features, classes, kind);
    bool vector = kind == MEDLEY_TREES_VECTOR;
    for (size_t c = 0; c < classes; c++)
        m->base[c] = rng_normal(r);
    for (size_t i = 0; i < rounds * gbdt_trees_per_round(m); i++) {
        uint32_t leaves = chain ? 30 : 1 + rng_below(r, 40);
        gbdt_add_tree(m, random_tree(r, leaves, features, vector ? (uint32_t)classes : 1,
                                     vector ? 0 : (uint32_t)(i % classes), chain));
    }
    return m;
}

#endif
