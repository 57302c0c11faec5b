/* grow.c: leaf-wise growth of one tree (Shi 2007; LightGBM, Ke et al. 2017).
 *
 * A split builds the histograms of the smaller child only; the larger one's are the parent's
 * minus those, in the parent's memory. Rows move with their leaf inside one index array. A
 * split on a feature that no row of the leaf lacks sends missing values to the child with more
 * rows (the left one on a tie). Proof: tests/test_gbdt.c. */
#include "gbdt/grow.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/pool.h"

#include <string.h>

struct grow_leaf {
    size_t begin, n;                  /* rows index[begin .. begin + n) */
    int64_t totals[GBDT_MAX_CLASSES]; /* packed sums per output */
    int64_t *cells;                   /* histograms per output; NULL: will not be split */
    struct split best;                /* gain 0: none */
    unsigned depth;
    int32_t parent; /* node, or -1 */
    bool is_right;
};

/* ---- memory ---- */

medley_status grow_space_init(struct grow_space *s, size_t rows, unsigned num_leaves,
                              medley_error *err)
{
    struct grow_space a = {.rows = rows, .max_leaves = num_leaves};
    a.index = mem_alloc(rows + 16, sizeof *a.index);
    a.other = mem_alloc(rows + 16, sizeof *a.other);
    a.leaves = mem_alloc(num_leaves, sizeof *a.leaves);
    a.histograms = mem_zalloc(num_leaves, sizeof *a.histograms);
    a.free_list = mem_zalloc(num_leaves, sizeof *a.free_list);
    *s = a;
    if (a.index && a.other && a.leaves && a.histograms && a.free_list)
        return MEDLEY_OK;
    grow_space_deinit(s);
    return fail_memory(err, "space for growing trees");
}

void grow_space_deinit(struct grow_space *s)
{
    for (unsigned i = 0; s->histograms && i < s->n_histograms; i++)
        mem_free(s->histograms[i]);
    mem_free(s->histograms);
    mem_free(s->free_list);
    mem_free(s->leaves);
    mem_free(s->index);
    mem_free(s->other);
    *s = (struct grow_space){0};
}

static size_t output_cells(const struct grow_job *job)
{
    return histogram_cells(job->bins);
}

/* Room for the histograms of all outputs of one leaf; NULL when out of memory. */
static int64_t *take_histogram(const struct grow_job *job, struct grow_space *s)
{
    if (s->n_free > 0)
        return s->free_list[--s->n_free];
    int64_t *h = mem_alloc64(output_cells(job) * job->outputs, sizeof *h);
    if (h)
        s->histograms[s->n_histograms++] = h;
    return h;
}

static void give_histogram(struct grow_space *s, struct grow_leaf *leaf)
{
    if (leaf->cells)
        s->free_list[s->n_free++] = leaf->cells;
    leaf->cells = NULL;
}

/* ---- histograms ---- */

struct fill {
    const struct grow_job *job;
    const uint32_t *index;
    size_t n;
    int64_t *cells;
};

/* Runs of groups that hold an allowed feature; the others are never looked at. */
static void fill_outputs(void *context, size_t begin, size_t end, unsigned worker)
{
    (void)worker;
    const struct fill *f = context;
    const struct grow_job *job = f->job;
    for (size_t o = begin; o < end; o++) {
        struct histogram_job h = {.bins = job->bins,
                                  .table = job->table,
                                  .index = f->index,
                                  .n = f->n,
                                  .lanes = 1,
                                  .gradients = job->gradients + o * job->gradient_stride,
                                  .cells = f->cells + o * output_cells(job)};
        memset(h.cells, 0, output_cells(job) * sizeof *h.cells);
        while (h.group_end < job->bins->n_groups) {
            h.group_begin = h.group_end;
            while (h.group_begin < job->bins->n_groups && !job->allowed[h.group_begin])
                h.group_begin++;
            h.group_end = h.group_begin;
            while (h.group_end < job->bins->n_groups && job->allowed[h.group_end])
                h.group_end++;
            if (h.group_begin < h.group_end)
                histogram_add(&h);
        }
    }
}

static void fill_histogram(const struct grow_job *job, const uint32_t *index, size_t n,
                           int64_t *cells)
{
    struct fill f = {job, index, n, cells};
    if (job->outputs == 1)
        fill_outputs(&f, 0, 1, 0);
    else
        parallel_for(job->outputs, 1, fill_outputs, &f);
}

/* Sums over the bins of one feature, up to `last`, without the missing. */
static void sum_bins(const struct grow_job *job, const int64_t *cells, size_t feature,
                     unsigned last, bool with_missing, int64_t *totals)
{
    size_t group = feature / BINS_GROUP, lane = feature % BINS_GROUP;
    size_t at = (size_t)job->bins->group_first[group] * BINS_GROUP + lane;
    for (unsigned o = 0; o < job->outputs; o++) {
        const int64_t *column = cells + o * output_cells(job) + at;
        int64_t sum = with_missing ? column[0] : 0;
        for (unsigned b = 1; b <= last; b++)
            sum += column[(size_t)b * BINS_GROUP];
        totals[o] = sum;
    }
}

/* The lanes of the root's histograms that belong to this tree. */
static void split_root(const struct grow_job *job, int64_t *cells)
{
    size_t n = output_cells(job);
    for (unsigned o = 0; o < job->outputs; o++)
        for (size_t i = 0; i < n; i++)
            cells[o * n + i] = job->root[i * job->root_lanes + job->root_lane + o];
}

/* ---- growing ---- */

static bool may_split(const struct grow_job *job, const struct grow_leaf *leaf)
{
    const struct grow_limits *l = job->limits;
    return (double)leaf->n >= 2 * l->min_rows && leaf->n >= 2 &&
           (l->max_depth == 0 || leaf->depth < l->max_depth);
}

static void search(const struct grow_job *job, struct grow_leaf *leaf)
{
    const struct grow_limits *l = job->limits;
    leaf->best = (struct split){0};
    if (!may_split(job, leaf))
        return;
    double hessian = 0;
    for (unsigned o = 0; o < job->outputs; o++)
        hessian += cell_hessian(leaf->totals[o]);
    double by_rows = (l->min_rows - 0.5) * hessian / (double)leaf->n;
    double by_hessian = l->min_hessian / l->hessian_unit, least = 0.5;
    struct split_search s = {
        .bins = job->bins,
        .cells = leaf->cells,
        .output_stride = output_cells(job),
        .outputs = job->outputs,
        .totals = leaf->totals,
        .lambda = l->lambda / l->hessian_unit,
        .min_gain = l->min_gain * l->hessian_unit / (l->gradient_unit * l->gradient_unit),
        .allowed = job->allowed,
    };
    least = by_rows > least ? by_rows : least;
    s.min_hessian = by_hessian > least ? by_hessian : least;
    split_find(&s, &leaf->best);
}

/* The leaf to split next, or -1; the first of equals. */
static int best_leaf(const struct grow_space *s)
{
    int best = -1;
    for (uint32_t i = 0; i < s->n_leaves; i++)
        if (s->leaves[i].best.gain > 0 &&
            (best < 0 || s->leaves[i].best.gain > s->leaves[best].best.gain))
            best = (int)i;
    return best;
}

/* Histograms of two fresh children out of their parent's (which `left` still holds). */
static medley_status child_histograms(const struct grow_job *job, struct grow_space *s,
                                      struct grow_leaf *left, struct grow_leaf *right,
                                      medley_error *err)
{
    struct grow_leaf *small = left->n <= right->n ? left : right;
    struct grow_leaf *large = small == left ? right : left;
    int64_t *parent = left->cells;
    left->cells = right->cells = NULL;
    large->cells = parent;
    large->best = small->best = (struct split){0};
    if (s->n_leaves == s->max_leaves || (!may_split(job, large) && !may_split(job, small))) {
        give_histogram(s, large);
        return MEDLEY_OK;
    }
    small->cells = take_histogram(job, s);
    if (!small->cells)
        return fail_memory(err, "histograms");
    fill_histogram(job, s->index + small->begin, small->n, small->cells);
    histogram_subtract(large->cells, small->cells, output_cells(job) * job->outputs);
    search(job, small);
    search(job, large);
    if (small->best.gain <= 0)
        give_histogram(s, small);
    if (large->best.gain <= 0)
        give_histogram(s, large);
    return MEDLEY_OK;
}

/* Splits leaf `at` by its best split into node `node`. */
static medley_status split_leaf(const struct grow_job *job, struct grow_space *s, uint32_t at,
                                int32_t node, struct tree_node *out, medley_error *err)
{
    struct grow_leaf *left = &s->leaves[at], *right = &s->leaves[s->n_leaves];
    struct split best = left->best;
    struct partition_job p = {.column = job->table->columns + best.feature * job->table->pitch,
                              .bin = best.bin,
                              .missing_left = best.missing_left,
                              .index = s->index + left->begin,
                              .other = s->other,
                              .n = left->n};
    size_t n_left = partition_rows(&p);
    *out = (struct tree_node){.threshold = bins_threshold(job->bins, best.feature, best.bin),
                              .feature = best.feature,
                              .count = (uint32_t)left->n,
                              .bin = best.bin,
                              .missing_left = best.missing_seen ? best.missing_left
                                                                : 2 * n_left >= left->n};
    *right = *left;
    right->begin += n_left;
    right->n -= n_left;
    left->n = n_left;
    left->depth = ++right->depth;
    left->parent = right->parent = node;
    left->is_right = false;
    right->is_right = true;
    sum_bins(job, left->cells, best.feature, best.bin, best.missing_left, left->totals);
    for (unsigned o = 0; o < job->outputs; o++)
        right->totals[o] -= left->totals[o];
    s->n_leaves++;
    return child_histograms(job, s, left, right, err);
}

static void link_child(struct tree_node *nodes, int32_t parent, bool is_right, int32_t child)
{
    if (parent >= 0 && is_right)
        nodes[parent].right = child;
    else if (parent >= 0)
        nodes[parent].left = child;
}

static medley_status start_root(const struct grow_job *job, struct grow_space *s, size_t n,
                                medley_error *err)
{
    struct grow_leaf *root = &s->leaves[0];
    *root = (struct grow_leaf){.n = n, .parent = -1};
    s->n_leaves = 1;
    s->n_free = s->n_histograms;
    memcpy(s->free_list, s->histograms, s->n_free * sizeof *s->free_list);
    root->cells = take_histogram(job, s);
    if (!root->cells)
        return fail_memory(err, "histograms");
    split_root(job, root->cells);
    sum_bins(job, root->cells, 0, job->bins->n_cuts[0] + 1u, true, root->totals);
    search(job, root);
    return MEDLEY_OK;
}

/* Newton's step for each output of each leaf (Chen and Guestrin 2016, eq. 5). */
static void set_leaves(const struct grow_job *job, const struct grow_space *s, struct tree *t)
{
    const struct grow_limits *l = job->limits;
    for (uint32_t i = 0; i < s->n_leaves; i++) {
        const struct grow_leaf *leaf = &s->leaves[i];
        t->counts[i] = (uint32_t)leaf->n;
        link_child(t->nodes, leaf->parent, leaf->is_right, ~(int32_t)i);
        for (unsigned o = 0; o < job->outputs; o++) {
            double g = cell_gradient(leaf->totals[o]) * l->gradient_unit;
            double h = cell_hessian(leaf->totals[o]) * l->hessian_unit + l->lambda;
            t->values[i * job->outputs + o] = h > 0 ? (float)(-g / h * l->learning_rate) : 0;
        }
    }
}

medley_status grow_tree(const struct grow_job *job, struct grow_space *s, size_t n,
                        struct tree **out, medley_error *err)
{
    struct tree_node nodes[GBDT_MAX_LEAVES];
    int32_t n_nodes = 0;
    medley_status st = start_root(job, s, n, err);
    while (st == MEDLEY_OK && s->n_leaves < s->max_leaves) {
        int at = best_leaf(s);
        if (at < 0)
            break;
        link_child(nodes, s->leaves[at].parent, s->leaves[at].is_right, n_nodes);
        st = split_leaf(job, s, (uint32_t)at, n_nodes, &nodes[n_nodes], err);
        n_nodes++;
    }
    if (st != MEDLEY_OK)
        return st;
    struct tree *t = tree_new(s->n_leaves, job->outputs, job->first_class);
    if (!t)
        return fail_memory(err, "a tree");
    memcpy(t->nodes, nodes, (size_t)n_nodes * sizeof *nodes);
    set_leaves(job, s, t);
    *out = t;
    return MEDLEY_OK;
}
