/* conditions.c: collects the distinct conditions of a model (conditions.h says what they are).
 * Answering them for rows is answer.c. Proof: tests/test_conditions.c. */
#include "gbdt/conditions.h"

#include "base/error.h"
#include "base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A node and where it stands. */
struct asked {
    struct condition what;
    size_t node; /* in of_nodes */
};

static int by_condition(const void *pa, const void *pb)
{
    const struct condition *a = &((const struct asked *)pa)->what;
    const struct condition *b = &((const struct asked *)pb)->what;
    if (a->feature != b->feature)
        return a->feature < b->feature ? -1 : 1;
    if (a->threshold != b->threshold)
        return a->threshold < b->threshold ? -1 : 1;
    return (int)a->missing_left - (int)b->missing_left;
}

/* All nodes of a model, sorted by condition. */
static struct asked *collect(const struct medley_gbdt *m, struct conditions *c)
{
    size_t n = c->first_node[m->n_trees];
    struct asked *all = mem_alloc(n, sizeof *all);
    for (size_t t = 0; all && t < m->n_trees; t++)
        for (uint32_t i = 0; i + 1 < m->trees[t]->n_leaves; i++) {
            const struct tree_node *node = &m->trees[t]->nodes[i];
            struct asked *a = &all[c->first_node[t] + i];
            a->what =
                (struct condition){node->threshold + 0.0f, node->feature, node->missing_left};
            a->node = c->first_node[t] + i;
        }
    if (all && n)
        qsort(all, n, sizeof *all, by_condition);
    return all;
}

static void number_nodes(struct conditions *c, const struct asked *all, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || by_condition(&all[i - 1], &all[i]) != 0)
            c->list[c->n_conditions++] = all[i].what;
        c->of_nodes[all[i].node] = (uint32_t)(c->n_conditions - 1);
    }
}

/* Counts features and marks; fills in thresholds per feature and kinds. */
static void number_marks(struct conditions *c)
{
    struct condition_feature *f = NULL;
    for (size_t i = 0; i < c->n_conditions; i++) {
        const struct condition *now = &c->list[i];
        bool new_feature = i == 0 || now->feature != now[-1].feature;
        if (new_feature) {
            c->n_marks += f ? 1 : 0; /* above all */
            f = &c->used[c->n_used++];
            *f = (struct condition_feature){.feature = now->feature, .first_mark = c->n_marks};
            c->n_marks++; /* missing */
        }
        if (new_feature || now->threshold != now[-1].threshold) {
            f->n_thresholds++;
            c->kinds[c->n_marks++] = 0;
        }
        c->kinds[c->n_marks - 1] |= now->missing_left ? 2 : 1;
    }
    c->n_marks += f ? 1 : 0;
    for (size_t u = 0; u < c->n_used; u++)
        if (c->used[u].n_thresholds + 2 > c->most_marks)
            c->most_marks = c->used[u].n_thresholds + 2;
}

/* Keys of all levels, a multiple of 16; sets f->level when `levels` is wanted. */
static size_t lay_out(struct condition_feature *f, size_t first)
{
    size_t sizes[CONDITIONS_LEVELS], keys = f->n_thresholds, total = 0;
    f->levels = 0;
    do { /* from the thresholds up */
        size_t nodes = keys / 16 + 1;
        sizes[f->levels++] = nodes * 16;
        keys = nodes - 1;
    } while (keys > 0);
    for (unsigned l = 0; l < f->levels; l++) {
        f->level[l] = first + total;
        total += sizes[f->levels - 1 - l];
    }
    f->tree = first + total;
    f->depth = 0;
    if (f->n_thresholds > 255)
        return total;
    for (f->depth = 4; f->n_thresholds >= 1u << f->depth; f->depth++)
        ;
    return total + ((size_t)1 << f->depth);
}

/* Sorted keys breadth first: number i of step s, the p-th there, is the middle of its range. */
static void fill_tree(const struct condition_feature *f, const float *sorted, float *tree)
{
    for (unsigned s = 0; s < f->depth; s++)
        for (size_t p = 0; p < (size_t)1 << s; p++) {
            size_t at = ((2 * p + 1) << (f->depth - 1 - s)) - 1;
            if (at < f->n_thresholds)
                tree[((size_t)1 << s) + p] = sorted[at];
        }
}

static void fill_keys(struct conditions *c)
{
    const struct condition *now = c->list, *end = c->list + c->n_conditions;
    for (size_t u = 0; u < c->n_used; u++) {
        const struct condition_feature *f = &c->used[u];
        float *keys = c->keys + f->level[f->levels - 1];
        size_t n = 0;
        for (; now < end && now->feature == f->feature; now++)
            if (n == 0 || keys[n - 1] != now->threshold)
                keys[n++] = now->threshold;
        fill_tree(f, keys, c->keys + f->tree);
        for (unsigned l = f->levels - 1; l-- > 0;) {
            float *above = c->keys + f->level[l];
            n /= 16;
            for (size_t i = 0; i < n; i++)
                above[i] = keys[16 * i + 15];
            keys = above;
        }
    }
}

static medley_status build_keys(struct conditions *c, medley_error *err)
{
    size_t n = 0;
    for (size_t u = 0; u < c->n_used; u++)
        n += lay_out(&c->used[u], n);
    c->keys = mem_alloc64(n, sizeof *c->keys);
    if (!c->keys)
        return fail_memory(err, "thresholds of a model");
    c->bytes += n * sizeof *c->keys;
    for (size_t i = 0; i < n; i++)
        c->keys[i] = INFINITY;
    fill_keys(c);
    return MEDLEY_OK;
}

static medley_status build(const struct medley_gbdt *m, struct conditions *c, medley_error *err)
{
    c->n_features = m->n_features;
    c->first_node = mem_alloc(m->n_trees + 1, sizeof *c->first_node);
    if (!c->first_node)
        return fail_memory(err, "conditions of a model");
    c->first_node[0] = 0;
    for (size_t t = 0; t < m->n_trees; t++)
        c->first_node[t + 1] = c->first_node[t] + m->trees[t]->n_leaves - 1;
    size_t n = c->first_node[m->n_trees];
    if (n > INT32_MAX)
        return fail(err, MEDLEY_EINVAL, "a model of %zu nodes (at most %d)", n, INT32_MAX);
    size_t features = n < m->n_features ? n : m->n_features;
    struct asked *all = collect(m, c);
    c->list = mem_alloc(n, sizeof *c->list);
    c->of_nodes = mem_alloc(n, sizeof *c->of_nodes);
    c->used = mem_zalloc(features, sizeof *c->used);
    c->kinds = mem_zalloc(n + 2 * features, 1);
    c->bytes = sizeof *c + n * (sizeof *c->list + sizeof *c->of_nodes + 1) +
               features * (sizeof *c->used + 2) + (m->n_trees + 1) * sizeof *c->first_node;
    medley_status st = MEDLEY_OK;
    if (!all || !c->list || !c->of_nodes || !c->used || !c->kinds)
        st = fail_memory(err, "conditions of a model");
    if (st == MEDLEY_OK) {
        number_nodes(c, all, n);
        number_marks(c);
        st = build_keys(c, err);
    }
    mem_free(all);
    return st;
}

medley_status conditions_new(const struct medley_gbdt *model, struct conditions **out,
                             medley_error *err)
{
    struct conditions *c = mem_zalloc(1, sizeof *c);
    if (!c)
        return fail_memory(err, "conditions of a model");
    medley_status st = build(model, c, err);
    if (st == MEDLEY_OK)
        *out = c;
    else
        conditions_free(c);
    return st;
}

void conditions_free(struct conditions *c)
{
    if (!c)
        return;
    mem_free(c->list);
    mem_free(c->used);
    mem_free(c->keys);
    mem_free(c->kinds);
    mem_free(c->of_nodes);
    mem_free(c->first_node);
    mem_free(c);
}

size_t conditions_memory(const struct conditions *c)
{
    return c->bytes;
}

medley_status conditions_space_init(const struct conditions *c, size_t words,
                                    struct conditions_space *s, medley_error *err)
{
    return conditions_space_init_more(c, words, 0, s, err);
}

medley_status conditions_space_init_more(const struct conditions *c, size_t words, size_t more,
                                         struct conditions_space *s, medley_error *err)
{
    *s = (struct conditions_space){.words = words};
    s->masks = mem_alloc64(c->n_conditions + 1 + more, words * sizeof *s->masks);
    s->marks = mem_alloc64(c->most_marks, words * sizeof *s->marks);
    s->above = mem_alloc64(c->n_used, 64 * words * sizeof *s->above);
    if (!s->masks || !s->marks || !s->above) {
        conditions_space_deinit(s);
        return fail_memory(err, "the answers of a block of rows");
    }
    memset(s->marks, 0, c->most_marks * words * sizeof *s->marks);
    return MEDLEY_OK;
}

void conditions_space_deinit(struct conditions_space *s)
{
    mem_free(s->masks);
    mem_free(s->marks);
    mem_free(s->above);
    *s = (struct conditions_space){0};
}
