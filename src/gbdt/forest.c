/* forest.c: groups the trees of a model, cuts large ones and writes down the selects
 * (forest.h says what they are). Proof: tests/test_forest.c. */
#include "gbdt/forest.h"
#include "gbdt/single.h"

#include "base/error.h"
#include "base/memory.h"

#include <string.h>

struct builder {
    struct forest *f;
    size_t groups_capacity, parts_capacity, selects_capacity, gates_capacity, batches_capacity,
        values_capacity;
    medley_error *err;
    /* the current tree */
    const struct tree *tree;
    size_t number;
    int32_t *parent;             /* [nodes] */
    int32_t *path;               /* room for [nodes] */
    bool *right;                 /* [nodes] reached as a right child */
    bool *cut;                   /* [nodes] root of a part of its own */
    uint8_t *size;               /* [nodes] leaves below within the part */
    uint16_t *gate;              /* [nodes] 0: not computed, or all rows */
    size_t n_gates;              /* in use by this tree */
    struct numbering *numbering; /* [nodes] how leaves below are numbered */
    /* the current batch */
    struct forest_select pending[FOREST_MOST_SELECTS]; /* result i is named slot 2 + i */
    size_t n_pending;
    /* the current part */
    float *table; /* [8][32] of output 0; output o is FOREST_GROUP * FOREST_LEAVES * o on */
};

#define TABLE (FOREST_GROUP * FOREST_LEAVES)

/* ---- groups: which trees are added together ---- */

static bool same_outputs(const struct tree *a, const struct tree *b)
{
    return a->first_class == b->first_class && a->n_outputs == b->n_outputs;
}

static bool add_to_group(struct builder *b, struct forest_group *open, uint32_t number)
{
    struct forest *f = b->f;
    open->trees[open->n_trees++] = number;
    if (open->n_trees < FOREST_GROUP)
        return true;
    if (!mem_reserve(&f->groups, &b->groups_capacity, f->n_groups + 1, sizeof *f->groups))
        return false;
    f->groups[f->n_groups++] = *open;
    open->n_trees = 0;
    return true;
}

static bool group_like(struct builder *b, uint32_t first)
{
    struct forest *f = b->f;
    const struct medley_gbdt *m = f->model;
    struct forest_group open = {.first_class = m->trees[first]->first_class,
                                .n_outputs = m->trees[first]->n_outputs};
    for (uint32_t t = first; t < m->n_trees; t++)
        if (same_outputs(m->trees[t], m->trees[first]) && !add_to_group(b, &open, t))
            return false;
    if (open.n_trees == 0)
        return true;
    if (!mem_reserve(&f->groups, &b->groups_capacity, f->n_groups + 1, sizeof *f->groups))
        return false;
    f->groups[f->n_groups++] = open;
    return true;
}

/* By outputs in order of first appearance: at most K scalar kinds and one of vectors. */
static medley_status group_trees(struct builder *b)
{
    const struct medley_gbdt *m = b->f->model;
    uint32_t firsts[GBDT_MAX_CLASSES * GBDT_MAX_CLASSES], n = 0;
    for (uint32_t t = 0; t < m->n_trees; t++) {
        uint32_t i = 0;
        while (i < n && !same_outputs(m->trees[firsts[i]], m->trees[t]))
            i++;
        if (i < n)
            continue;
        firsts[n++] = t;
        if (!group_like(b, t))
            return fail_memory(b->err, "groups of trees");
    }
    return MEDLEY_OK;
}

/* ---- cutting ---- */

static unsigned size_below(const struct builder *b, int32_t child)
{
    return child < 0 || b->cut[child] ? 1 : b->size[child];
}

/* From the leaves up: where both sides together are too many, the larger is cut off. Leaves one
 * number free for the rows outside. */
static void cut_tree(struct builder *b)
{
    const struct tree *t = b->tree;
    for (uint32_t i = t->n_leaves - 1; i-- > 0;) {
        const struct tree_node *n = &t->nodes[i];
        b->cut[i] = false;
        b->gate[i] = 0;
        for (int side = 0; side < 2; side++) {
            int32_t child = side ? n->right : n->left;
            if (child < 0)
                continue;
            b->parent[child] = (int32_t)i;
            b->right[child] = side;
        }
        unsigned left = size_below(b, n->left), right = size_below(b, n->right);
        bool small = t->n_leaves <= FOREST_LEAVES;
        while (!small && left + right >= FOREST_LEAVES) {
            unsigned *larger = left > right ? &left : &right;
            b->cut[left > right ? n->left : n->right] = true;
            *larger = 1;
        }
        b->size[i] = (uint8_t)(left + right);
    }
    b->n_gates = 0;
}

/* The rows that reach a node, computed once per node on the way to a cut. Not by recursion: a
 * path may have thousands of nodes. */
static bool need_gate(struct builder *b, int32_t node)
{
    struct forest *f = b->f;
    size_t n = 0;
    for (; node > 0 && !b->gate[node]; node = b->parent[node])
        b->path[n++] = node;
    if (!mem_reserve(&f->gates, &b->gates_capacity, f->n_gates + n, sizeof *f->gates))
        return false;
    while (n > 0) {
        int32_t at = b->path[--n], up = b->parent[at];
        b->gate[at] = (uint16_t)++b->n_gates;
        f->gates[f->n_gates++] = (struct forest_gate){
            .condition = condition_of(f->conditions, b->number, (uint32_t)up),
            .from = b->gate[up],
            .to = b->gate[at],
            .negated = b->right[at]};
    }
    return true;
}

/* ---- one part: numbering its leaves ---- */

/* Leaves below a node get numbers next to each other, from `first` on. A bit on which two of
 * them differ costs a select at the node; so numbers are dealt to cross few powers of two:
 * which child comes first is tried both ways for every place the numbers could begin. */
struct numbering {
    uint8_t cost[FOREST_LEAVES]; /* selects at and below the node, by first number */
    uint32_t right_first;        /* bit `first`: the right child's leaves come first */
};

/* Bits that vary between the numbers first .. first + n - 1. */
static unsigned bits_between(unsigned first, unsigned n)
{
    unsigned differ = first ^ (first + n - 1);
    return differ ? 32 - (unsigned)__builtin_clz(differ) : 0;
}

static unsigned cost_below(const struct builder *b, int32_t child, unsigned first)
{
    return child < 0 || b->cut[child] ? 0 : b->numbering[child].cost[first];
}

/* Children first: they stand later. A node of two leaves numbered 2 i (right) and 2 i + 1
 * (left) costs nothing: the bit is the condition itself. */
static void number_part(struct builder *b)
{
    for (uint32_t i = b->tree->n_leaves - 1; i-- > 0;) {
        const struct tree_node *n = &b->tree->nodes[i];
        struct numbering *own = &b->numbering[i];
        unsigned left = size_below(b, n->left), right = size_below(b, n->right);
        own->right_first = 0;
        for (unsigned a = 0; a + left + right <= FOREST_LEAVES; a++) {
            unsigned l = cost_below(b, n->left, a) + cost_below(b, n->right, a + left);
            unsigned r = cost_below(b, n->right, a) + cost_below(b, n->left, a + right);
            unsigned here = bits_between(a, left + right);
            bool pair = left + right == 2 && here == 1;
            own->right_first |= (uint32_t)(pair || r < l) << a;
            own->cost[a] = (uint8_t)((r < l ? r : l) + (pair ? 0 : here));
        }
    }
}

/* The best place for the numbers of a part; those of a gate's part begin at 1. */
static unsigned first_number(const struct builder *b, int32_t root)
{
    unsigned best = root > 0;
    if (root < 0)
        return best;
    for (unsigned a = best; a + b->size[root] <= FOREST_LEAVES; a++)
        if (b->numbering[root].cost[a] < b->numbering[root].cost[best])
            best = a;
    return best;
}

/* ---- one part: its selects ---- */

static void leaf_bits(struct builder *b, int32_t child, unsigned number, uint16_t *bits)
{
    const struct tree *t = b->tree;
    for (unsigned i = 0; i < FOREST_BITS; i++)
        bits[i] = (uint16_t)(b->f->zeros + (number >> i & 1));
    if (child >= 0)
        return; /* a cut: the value is 0 here */
    const float *v = t->values + (size_t)(uint32_t)~child * t->n_outputs;
    for (uint32_t o = 0; o < t->n_outputs; o++)
        b->table[o * TABLE + number] = v[o] + 0.0f; /* -0 becomes 0, as in the walk's sum */
}

static uint16_t add_select(struct builder *b, uint16_t condition, uint16_t met,
                           uint16_t not_met)
{
    size_t zeros = b->f->zeros;
    if (met == zeros + 1 && not_met == zeros)
        return condition;
    uint16_t to = (uint16_t)(zeros + 2 + b->n_pending);
    b->pending[b->n_pending++] = (struct forest_select){condition, met, not_met, to};
    return to;
}

/* At most 31 nodes deep. */
static void subtree_bits(struct builder *b, int32_t child, bool root, unsigned first,
                         uint16_t *bits)
{
    if (child < 0 || (b->cut[child] && !root)) {
        leaf_bits(b, child, first, bits);
        return;
    }
    const struct tree_node *n = &b->tree->nodes[child];
    uint16_t condition = (uint16_t)condition_of(b->f->conditions, b->number, (uint32_t)child);
    bool right_first = b->numbering[child].right_first >> first & 1;
    unsigned left_at = first + (right_first ? size_below(b, n->right) : 0);
    unsigned right_at = first + (right_first ? 0 : size_below(b, n->left));
    uint16_t left[FOREST_BITS], right[FOREST_BITS];
    subtree_bits(b, n->left, false, left_at, left);
    subtree_bits(b, n->right, false, right_at, right);
    for (unsigned i = 0; i < FOREST_BITS; i++) {
        bool constant = left[i] == b->f->zeros || left[i] == b->f->zeros + 1;
        bits[i] = left[i] == right[i] && constant ? left[i]
                                                  : add_select(b, condition, left[i], right[i]);
    }
}

/* ---- batches ---- */

/* Puts the selects of the last batch in order and tells its parts where their bits will be. */
static bool close_batch(struct builder *b)
{
    struct forest *f = b->f;
    uint16_t slot_of[FOREST_MOST_SELECTS];
    if (f->n_batches == 0)
        return true;
    struct forest_batch *batch = &f->batches[f->n_batches - 1];
    if (!mem_reserve(&f->selects, &b->selects_capacity, f->n_selects + b->n_pending + 1,
                     sizeof *f->selects)) /* never NULL, even with nothing to select */
        return false;
    size_t first = f->zeros + 2;
    size_t slots = 2 + forest_schedule(b->pending, b->n_pending, first,
                                       f->selects + f->n_selects, slot_of);
    f->n_slots = slots > f->n_slots ? slots : f->n_slots;
    for (uint32_t p = batch->first_part; p < batch->first_part + batch->n_parts; p++)
        for (unsigned i = 0; i < FOREST_BITS; i++)
            if (f->parts[p].bits[i] >= first)
                f->parts[p].bits[i] = slot_of[f->parts[p].bits[i] - first];
    batch->first_select = (uint32_t)f->n_selects;
    batch->n_selects = (uint32_t)b->n_pending;
    f->n_selects += b->n_pending;
    b->n_pending = 0;
    return true;
}

/* The batch that the next part of the group goes into, with its tables. */
static struct forest_batch *batch_for(struct builder *b, const struct forest_group *g,
                                      bool first_of_group)
{
    struct forest *f = b->f;
    struct forest_batch *last = f->n_batches ? &f->batches[f->n_batches - 1] : NULL;
    if (!first_of_group && last->n_parts < FOREST_GROUP)
        return last;
    size_t values = (size_t)g->n_outputs * TABLE;
    if (!close_batch(b) ||
        !mem_reserve(&f->batches, &b->batches_capacity, f->n_batches + 1, sizeof *last) ||
        !mem_reserve(&f->values, &b->values_capacity, f->n_values + values, sizeof(float)))
        return NULL;
    if (!first_of_group)
        f->batches[f->n_batches - 1].closes = false;
    last = &f->batches[f->n_batches++];
    *last = (struct forest_batch){.first_part = (uint32_t)f->n_parts,
                                  .first_class = g->first_class,
                                  .n_outputs = g->n_outputs,
                                  .first_value = f->n_values,
                                  .opens = first_of_group,
                                  .closes = true};
    memset(f->values + f->n_values, 0, values * sizeof(float));
    f->n_values += values;
    return last;
}

static bool add_part(struct builder *b, const struct forest_group *g, int32_t root, bool first)
{
    struct forest *f = b->f;
    struct forest_batch *batch = batch_for(b, g, first);
    if (!batch || !mem_reserve(&f->parts, &b->parts_capacity, f->n_parts + 1, sizeof *f->parts))
        return false;
    struct forest_part p = {.first_gate = (uint32_t)f->n_gates};
    b->table = f->values + batch->first_value + batch->n_parts * FOREST_LEAVES;
    if (root > 0 && !need_gate(b, root))
        return false;
    subtree_bits(b, root, true, first_number(b, root), p.bits);
    p.gate = root > 0 ? b->gate[root] : 0;
    p.n_gates = (uint16_t)(f->n_gates - p.first_gate);
    f->parts[f->n_parts++] = p;
    batch->n_parts++;
    return true;
}

static bool add_tree(struct builder *b, const struct forest_group *g, unsigned i)
{
    b->number = g->trees[i];
    b->tree = b->f->model->trees[b->number];
    cut_tree(b);
    number_part(b);
    if (b->tree->n_leaves == 1)
        return add_part(b, g, ~0, i == 0);
    bool good = add_part(b, g, 0, i == 0);
    for (uint32_t n = 1; good && n + 1 < b->tree->n_leaves; n++)
        if (b->cut[n])
            good = add_part(b, g, (int32_t)n, false);
    if (b->n_gates > b->f->most_gates)
        b->f->most_gates = b->n_gates;
    return good;
}

/* ---- the whole ---- */

static bool builder_init(struct builder *b)
{
    size_t most = gbdt_most_leaves(b->f->model);
    b->parent = mem_alloc(most, sizeof *b->parent);
    b->path = mem_alloc(most, sizeof *b->path);
    b->right = mem_alloc(most, sizeof *b->right);
    b->cut = mem_alloc(most, sizeof *b->cut);
    b->size = mem_alloc(most, sizeof *b->size);
    b->gate = mem_alloc(most, sizeof *b->gate);
    b->numbering = mem_alloc(most, sizeof *b->numbering);
    return b->numbering && b->parent && b->path && b->right && b->cut && b->size && b->gate;
}

static void builder_deinit(struct builder *b)
{
    mem_free(b->parent);
    mem_free(b->path);
    mem_free(b->right);
    mem_free(b->cut);
    mem_free(b->size);
    mem_free(b->gate);
    mem_free(b->numbering);
}

/* Tables are looked up by aligned loads. */
static medley_status align_values(struct forest *f, medley_error *err)
{
    float *aligned = mem_alloc64(f->n_values, sizeof *aligned);
    if (!aligned)
        return fail_memory(err, "leaf values");
    if (f->n_values)
        memcpy(aligned, f->values, f->n_values * sizeof *aligned);
    mem_free(f->values);
    f->values = aligned;
    return MEDLEY_OK;
}

static medley_status build(struct forest *f, medley_error *err)
{
    struct builder b = {.f = f, .err = err};
    medley_status st = conditions_new(f->model, &f->conditions, err);
    if (st == MEDLEY_OK)
        st = group_trees(&b);
    if (st == MEDLEY_OK && !builder_init(&b))
        st = fail_memory(err, "a model made ready");
    f->zeros = st == MEDLEY_OK ? f->conditions->n_conditions + 1 : 0;
    f->n_slots = 2;
    f->only_walk = f->zeros + 2 + FOREST_MOST_SELECTS > UINT16_MAX;
    for (size_t g = 0; st == MEDLEY_OK && !f->only_walk && g < f->n_groups; g++)
        for (unsigned i = 0; st == MEDLEY_OK && i < f->groups[g].n_trees; i++)
            if (!add_tree(&b, &f->groups[g], i))
                st = fail_memory(err, "a model made ready");
    if (st == MEDLEY_OK && !close_batch(&b))
        st = fail_memory(err, "a model made ready");
    builder_deinit(&b);
    if (st == MEDLEY_OK)
        st = align_values(f, err);
    return st == MEDLEY_OK ? single_new(f, &f->single, err) : st;
}

medley_status forest_new(const struct medley_gbdt *model, struct forest **out,
                         medley_error *err)
{
    struct forest *f = mem_zalloc(1, sizeof *f);
    if (!f)
        return fail_memory(err, "a model made ready");
    f->model = model;
    medley_status st = build(f, err);
    if (st == MEDLEY_OK)
        *out = f;
    else
        forest_free(f);
    return st;
}

void forest_free(struct forest *f)
{
    if (!f)
        return;
    for (size_t i = 0; i < FOREST_SPARES; i++)
        forest_space_free(atomic_load(&f->spares[i]));
    single_free(f->single);
    conditions_free(f->conditions);
    mem_free(f->groups);
    mem_free(f->parts);
    mem_free(f->selects);
    mem_free(f->gates);
    mem_free(f->batches);
    mem_free(f->values);
    mem_free(f);
}

size_t forest_memory(const struct forest *f)
{
    return sizeof *f + conditions_memory(f->conditions) + single_memory(f->single) +
           f->n_groups * sizeof *f->groups + f->n_parts * sizeof *f->parts +
           f->n_selects * sizeof *f->selects + f->n_gates * sizeof *f->gates +
           f->n_batches * sizeof *f->batches + f->n_values * sizeof *f->values;
}
