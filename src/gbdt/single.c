/* single.c: lays a model out for single rows (single.h says how). Proof: tests/test_forest.c.
 */
#include "gbdt/single.h"

#include "base/error.h"
#include "base/memory.h"

#include <string.h>

struct builder {
    const struct forest *f;
    struct single *s;
    size_t units_capacity, pairs_capacity, values_capacity;
    uint32_t *column_of; /* [conditions] column, and the limit above it: column << 8 | limit */
    bool fits;
    /* the current tree */
    const struct tree *tree;
    size_t number;   /* of the tree */
    int32_t *parent; /* [nodes] -1: none */
    bool *right;     /* [nodes] reached as a right child */
    bool *cut;       /* [nodes] root of a part of its own */
    uint32_t *size;  /* [nodes] leaves below within the part */
    uint32_t *depth; /* [nodes] */
    /* the current part: where it is written, and how far */
    uint32_t step, lane;
    struct single_unit *unit;
    unsigned n_nodes, n_leaves;
};

/* ---- columns ---- */

/* Thresholds of a feature are numbered as they come in the list of conditions. */
static void number_columns(struct builder *b)
{
    const struct conditions *c = b->f->conditions;
    struct single *s = b->s;
    size_t i = 0;
    for (uint32_t u = 0; u < c->n_used && b->fits; u++) {
        uint32_t threshold = 0;
        size_t first_column = s->n_columns;
        size_t n = (c->used[u].n_thresholds + SINGLE_STEPS - 1) / SINGLE_STEPS;
        b->fits = n <= SINGLE_COLUMNS - s->n_columns;
        for (size_t j = 0; b->fits && j < n; j++)
            s->columns[s->n_columns++] =
                (struct single_column){u, (uint32_t)(j * SINGLE_STEPS)};
        for (size_t from = i;
             b->fits && i < c->n_conditions && c->list[i].feature == c->used[u].feature; i++) {
            threshold += i > from && c->list[i].threshold != c->list[i - 1].threshold;
            size_t column = first_column + threshold / SINGLE_STEPS;
            uint32_t limit = threshold % SINGLE_STEPS;
            if (c->list[i].missing_left) {
                column |= SINGLE_LEFT;
                limit++;
            }
            b->column_of[i] = (uint32_t)column << 8 | limit;
        }
    }
}

/* ---- trees into parts ---- */

static uint32_t size_below(const struct builder *b, int32_t child)
{
    return child < 0 || b->cut[child] ? 1 : b->size[child];
}

/* As in forest.c, but a part also has the nodes on its path. */
static void cut_tree(struct builder *b)
{
    const struct tree *t = b->tree;
    b->parent[0] = -1;
    b->depth[0] = 0;
    for (uint32_t i = 0; i + 1 < t->n_leaves; i++)
        for (int side = 0; side < 2; side++) {
            int32_t child = side ? t->nodes[i].right : t->nodes[i].left;
            if (child < 0)
                continue;
            b->parent[child] = (int32_t)i;
            b->right[child] = side;
            b->depth[child] = b->depth[i] + 1;
        }
    for (uint32_t i = t->n_leaves - 1; i-- > 0;) {
        const struct tree_node *n = &t->nodes[i];
        uint32_t left = size_below(b, n->left), right = size_below(b, n->right);
        bool small = t->n_leaves <= SINGLE_NODES;
        b->cut[i] = false;
        while (!small && left + right > 2 && left + right + b->depth[i] > SINGLE_NODES) {
            uint32_t *larger = left > right ? &left : &right;
            b->cut[left > right ? n->left : n->right] = true;
            *larger = 1;
        }
        b->size[i] = left + right;
        b->fits &= small || left + right + b->depth[i] <= SINGLE_NODES;
    }
}

/* ---- one part ---- */

static struct single_pair *pair_of(const struct builder *b)
{
    return &b->s->pairs[b->unit->first_pair + b->step * SINGLE_LANES / 2 + b->lane / 2];
}

static unsigned put_node(struct builder *b, int32_t node)
{
    uint32_t c = b->column_of[condition_of(b->f->conditions, b->number, (uint32_t)node)];
    unsigned at = b->lane % 2 * SINGLE_NODES + b->n_nodes++;
    pair_of(b)->column[at] = (uint8_t)(c >> 8);
    pair_of(b)->limit[at] = (uint8_t)c;
    return at;
}

/* Going right rules out the leaves from `first` up to the next one to be numbered. */
static void set_keep(struct builder *b, unsigned at, unsigned first)
{
    uint64_t up_to = ((uint64_t)1 << b->n_leaves) - 1, before = ((uint64_t)1 << first) - 1;
    pair_of(b)->keep[at] = ~(uint32_t)(up_to & ~before);
}

static void put_leaf(struct builder *b, int32_t leaf)
{
    const struct tree *t = b->tree;
    unsigned number = b->n_leaves++;
    for (uint32_t o = 0; leaf < 0 && o < t->n_outputs; o++) {
        size_t table = b->unit->first_value / (SINGLE_LANES * FOREST_LEAVES) +
                       (size_t)b->step * t->n_outputs + o;
        b->s->values[(table * SINGLE_LANES + b->lane) * FOREST_LEAVES + number] =
            t->values[(size_t)(uint32_t)~leaf * t->n_outputs + o] + 0.0f;
    }
}

/* Numbers the leaves of a subtree from left to right. At most 31 nodes deep. */
static void put_subtree(struct builder *b, int32_t child, bool root)
{
    if (child < 0 || (b->cut[child] && !root)) {
        put_leaf(b, child);
        return;
    }
    unsigned at = put_node(b, child), first = b->n_leaves;
    put_subtree(b, b->tree->nodes[child].left, false);
    set_keep(b, at, first);
    put_subtree(b, b->tree->nodes[child].right, false);
}

/* The path from the top down to the part's root, what lies beside it being a leaf of value 0,
 * and what is below it. */
static void put_part(struct builder *b, int32_t root)
{
    int32_t path[SINGLE_NODES];
    unsigned at[SINGLE_NODES], first[SINGLE_NODES], n = 0;
    b->n_nodes = b->n_leaves = 0;
    for (int32_t i = root; i > 0; i = b->parent[i])
        path[n++] = i;
    for (unsigned i = n; i-- > 0;) { /* from the top: left sides come before */
        at[i] = put_node(b, b->parent[path[i]]);
        first[i] = b->n_leaves;
        if (b->right[path[i]]) {
            put_leaf(b, 0);
            set_keep(b, at[i], first[i]);
        }
    }
    put_subtree(b, root, true);
    for (unsigned i = 0; i < n; i++) /* from below: right sides come after */
        if (!b->right[path[i]]) {
            set_keep(b, at[i], first[i]);
            put_leaf(b, 0);
        }
}

/* ---- units ---- */

static uint32_t parts_of(struct builder *b, size_t tree)
{
    uint32_t n = 1;
    b->number = tree;
    b->tree = b->f->model->trees[tree];
    cut_tree(b);
    for (uint32_t i = 1; i + 1 < b->tree->n_leaves; i++)
        n += b->cut[i];
    return n;
}

static uint32_t parts_of_group(struct builder *b, const struct forest_group *g)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < g->n_trees; i++)
        n += parts_of(b, g->trees[i]);
    return n;
}

/* Room for a unit, in which every tree is a single leaf of value 0. */
static bool open_unit(struct builder *b, uint32_t first_group)
{
    struct single *s = b->s;
    const struct forest *f = b->f;
    struct single_unit u = {.first_group = first_group};
    u.n_groups = f->n_groups - first_group < SINGLE_LANES ? (uint32_t)f->n_groups - first_group
                                                          : SINGLE_LANES;
    for (uint32_t g = 0; g < u.n_groups; g++) {
        uint32_t n = parts_of_group(b, &f->groups[first_group + g]);
        u.n_steps = n > u.n_steps ? n : u.n_steps;
    }
    u.first_pair = s->n_pairs;
    u.first_value = s->n_values;
    size_t pairs = (size_t)u.n_steps * SINGLE_LANES / 2;
    size_t values = (size_t)u.n_steps * s->n_outputs * SINGLE_LANES * FOREST_LEAVES;
    if (!mem_reserve(&s->units, &b->units_capacity, s->n_units + 1, sizeof u) ||
        !mem_reserve(&s->pairs, &b->pairs_capacity, s->n_pairs + pairs, sizeof *s->pairs) ||
        !mem_reserve(&s->values, &b->values_capacity, s->n_values + values, sizeof(float)))
        return false;
    for (size_t i = 0; i < pairs; i++) {
        struct single_pair *p = &s->pairs[s->n_pairs + i];
        memset(p->column, 0, sizeof p->column);
        memset(p->limit, 0xff, sizeof p->limit);
        memset(p->keep, 0xff, sizeof p->keep);
    }
    memset(s->values + s->n_values, 0, values * sizeof(float));
    s->n_pairs += pairs;
    s->n_values += values;
    s->units[s->n_units++] = u;
    return true;
}

static void fill_lane(struct builder *b, const struct forest_group *g)
{
    b->step = 0;
    for (uint32_t i = 0; i < g->n_trees; i++) {
        parts_of(b, g->trees[i]);
        put_part(b, b->tree->n_leaves > 1 ? 0 : ~0);
        b->step++;
        for (uint32_t n = 1; n + 1 < b->tree->n_leaves; n++)
            if (b->cut[n]) {
                put_part(b, (int32_t)n);
                b->step++;
            }
    }
}

static bool fill_units(struct builder *b)
{
    const struct forest *f = b->f;
    for (uint32_t g = 0; g < f->n_groups; g += SINGLE_LANES) {
        if (!open_unit(b, g))
            return false;
        if (!b->fits)
            return true;
        b->unit = &b->s->units[b->s->n_units - 1];
        for (b->lane = 0; b->lane < b->unit->n_groups; b->lane++)
            fill_lane(b, &f->groups[g + b->lane]);
    }
    return true;
}

/* ---- the whole ---- */

static bool builder_init(struct builder *b)
{
    size_t most = gbdt_most_leaves(b->f->model);
    b->column_of = mem_alloc(b->f->conditions->n_conditions, sizeof *b->column_of);
    b->parent = mem_alloc(most, sizeof *b->parent);
    b->right = mem_alloc(most, sizeof *b->right);
    b->cut = mem_alloc(most, sizeof *b->cut);
    b->size = mem_alloc(most, sizeof *b->size);
    b->depth = mem_alloc(most, sizeof *b->depth);
    return b->column_of && b->parent && b->right && b->cut && b->size && b->depth;
}

static void builder_deinit(struct builder *b)
{
    mem_free(b->column_of);
    mem_free(b->parent);
    mem_free(b->right);
    mem_free(b->cut);
    mem_free(b->size);
    mem_free(b->depth);
}

static bool align(void *array, size_t n, size_t size)
{
    void *old;
    memcpy(&old, array, sizeof old);
    void *copy = mem_alloc64(n, size);
    if (!copy)
        return false;
    if (n)
        memcpy(copy, old, n * size);
    mem_free(old);
    memcpy(array, &copy, sizeof copy);
    return true;
}

medley_status single_new(const struct forest *f, struct single **out, medley_error *err)
{
    struct single *s = mem_zalloc(1, sizeof *s);
    struct builder b = {.f = f, .s = s, .fits = true};
    bool good = s && builder_init(&b);
    if (good) {
        s->n_outputs = f->n_groups ? f->groups[0].n_outputs : 1;
        for (size_t g = 0; g < f->n_groups; g++)
            b.fits &= f->groups[g].n_outputs == s->n_outputs;
        number_columns(&b);
        good = !b.fits || fill_units(&b);
    }
    if (good && b.fits)
        good = align(&s->pairs, s->n_pairs, sizeof *s->pairs) &&
               align(&s->values, s->n_values, sizeof *s->values);
    builder_deinit(&b);
    *out = good && b.fits ? s : NULL;
    if (!*out)
        single_free(s);
    return good ? MEDLEY_OK : fail_memory(err, "a model made ready for single rows");
}

void single_free(struct single *s)
{
    if (!s)
        return;
    mem_free(s->units);
    mem_free(s->pairs);
    mem_free(s->values);
    mem_free(s);
}

size_t single_memory(const struct single *s)
{
    return s ? sizeof *s + s->n_units * sizeof *s->units + s->n_pairs * sizeof *s->pairs +
                   s->n_values * sizeof *s->values
             : 0;
}
