/* model_lightgbm_write.c: writes models as LightGBM's text, v4.
 *
 * Thresholds are floats, which LightGBM compares in double with the same outcome. Margins
 * before any tree go into the leaves of the first round, as LightGBM does itself; leaf values
 * are double there, so nothing is lost. A vector tree is written as one tree per output. Covers
 * are whole numbers of rows in LightGBM: sums of hessians stand in leaf_weight as they are, and
 * rounded in leaf_count, so that pred_contrib of such a model differs. Proof:
 * tests/test_gbdt_lightgbm.c. */
#include "gbdt/model_lightgbm.h"

#include "base/error.h"
#include "base/memory.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

static medley_status write_objective(const struct medley_gbdt *m, struct strbuf *out,
                                     medley_error *err)
{
    size_t k = m->n_classes;
    switch (m->link) {
    case MEDLEY_LINK_SOFTMAX:
        sb_addf(out, "objective=multiclass num_class:%zu\n", k);
        return MEDLEY_OK;
    case MEDLEY_LINK_SIGMOID:
        if (k == 1)
            sb_addf(out, "objective=binary sigmoid:%.17g\n", m->link_scale);
        else
            sb_addf(out, "objective=multiclassova num_class:%zu sigmoid:%.17g\n", k,
                    m->link_scale);
        return MEDLEY_OK;
    case MEDLEY_LINK_EXP:
        if (k > 1)
            return fail(err, MEDLEY_EUNSUPPORTED,
                        "LightGBM has no objective of %zu outputs with the link exp", k);
        sb_addz(out, "objective=poisson\n");
        return MEDLEY_OK;
    default:
        if (k == 1) /* without an objective LightGBM predicts margins */
            sb_addz(out, "objective=regression\n");
        return MEDLEY_OK;
    }
}

/* LightGBM parts names by spaces. */
static medley_status write_names(const struct medley_gbdt *m, struct strbuf *out,
                                 medley_error *err)
{
    sb_addz(out, "feature_names=");
    for (size_t i = 0; i < m->n_features; i++) {
        if (i)
            sb_addc(out, ' ');
        if (!m->names) {
            sb_addf(out, "Column_%zu", i);
            continue;
        }
        if (strpbrk(m->names[i], " \t"))
            return fail(err, MEDLEY_EUNSUPPORTED,
                        "LightGBM allows no white space in feature names ('%.60s')",
                        m->names[i]);
        sb_addz(out, m->names[i]);
    }
    sb_addz(out, "\nfeature_infos=");
    for (size_t i = 0; i < m->n_features; i++)
        sb_addz(out, i ? " none" : "none");
    sb_addc(out, '\n');
    return MEDLEY_OK;
}

/* key=v v v: one line per array. */
#define WRITE_LINE(key, n, format, value)                   \
    do {                                                    \
        sb_addz(out, key "=");                              \
        for (uint32_t i = 0; i < (n); i++)                  \
            sb_addf(out, "%s" format, i ? " " : "", value); \
        sb_addc(out, '\n');                                 \
    } while (0)

static double total_cover(const struct tree *t)
{
    double sum = 0;
    for (uint32_t i = 0; i < t->n_leaves; i++)
        sum += t->counts[i];
    return sum;
}

/* Nodes count what their leaves do, so that rounded covers add up all the same. */
static void count_rows(const struct tree *t, bool rows, long long *leaves, long long *nodes)
{
    double sum = total_cover(t), factor = rows || !(sum > 0) ? 1 : 1e9 / sum;
    for (uint32_t i = 0; i < t->n_leaves; i++) {
        double count = factor * t->counts[i];
        leaves[i] = count < 1 ? 1 : count > INT32_MAX ? INT32_MAX : llround(count);
    }
    for (uint32_t i = t->n_leaves - 1; i-- > 0;) {
        int32_t l = t->nodes[i].left, r = t->nodes[i].right;
        nodes[i] = (l >= 0 ? nodes[l] : leaves[~l]) + (r >= 0 ? nodes[r] : leaves[~r]);
    }
}

static void write_tree(struct strbuf *out, const struct tree *t, size_t output, double base,
                       bool rows, long long *leaves)
{
    enum { NAN_GOES = 8, DEFAULT_LEFT = 2 };
    long long *inner = leaves + t->n_leaves;
    uint32_t nodes = t->n_leaves - 1;
    count_rows(t, rows, leaves, inner);
    sb_addf(out, "num_leaves=%u\nnum_cat=0\n", t->n_leaves);
    WRITE_LINE("split_feature", nodes, "%u", t->nodes[i].feature);
    WRITE_LINE("split_gain", nodes, "%d", 0);
    WRITE_LINE("threshold", nodes, "%.17g", (double)t->nodes[i].threshold);
    WRITE_LINE("decision_type", nodes, "%d",
               NAN_GOES | (t->nodes[i].missing_left ? DEFAULT_LEFT : 0));
    WRITE_LINE("left_child", nodes, "%d", (int)t->nodes[i].left);
    WRITE_LINE("right_child", nodes, "%d", (int)t->nodes[i].right);
    WRITE_LINE("leaf_value", t->n_leaves, "%.17g",
               (double)t->values[i * t->n_outputs + output] + base);
    WRITE_LINE("leaf_weight", t->n_leaves, "%.17g", t->counts[i]);
    WRITE_LINE("leaf_count", t->n_leaves, "%lld", leaves[i]);
    WRITE_LINE("internal_value", nodes, "%d", 0);
    WRITE_LINE("internal_weight", nodes, "%.17g", t->nodes[i].count);
    WRITE_LINE("internal_count", nodes, "%lld", inner[i]);
    sb_addz(out, "is_linear=0\nshrinkage=1\n\n\n");
}

/* LightGBM finds its trees by their sizes in bytes, so these stand before the trees. `counts`
 * has room for all leaves and nodes of a tree. */
static void write_trees(const struct medley_gbdt *m, struct strbuf *head, struct strbuf *trees,
                        long long *counts)
{
    size_t k = m->n_classes, rounds = m->rounds ? m->rounds : 1;
    float nothing[1] = {0};
    double cover[1] = {0};
    struct tree empty = {.n_leaves = 1, .n_outputs = 1, .counts = cover, .values = nothing};
    bool vector = m->kind == MEDLEY_TREES_VECTOR && m->rounds;
    sb_addz(head, "tree_sizes=");
    for (size_t i = 0; i < rounds * k; i++) {
        const struct tree *t = m->rounds ? m->trees[vector ? i / k : i] : &empty;
        size_t before = trees->n;
        sb_addf(trees, "Tree=%zu\n", i);
        write_tree(trees, t, vector ? i % k : 0, i < k ? m->base[i % k] : 0,
                   m->cover == MEDLEY_COVER_ROWS, counts);
        sb_addf(head, "%s%zu", i ? " " : "", trees->n - before);
    }
    sb_addz(head, "\n\n");
}

medley_status lightgbm_write(const medley_gbdt *m, FILE *f, medley_error *err)
{
    struct strbuf head, trees;
    long long *counts = mem_alloc(2 * (size_t)gbdt_most_leaves(m), sizeof *counts);
    if (!counts)
        return fail_memory(err, "a model file");
    sb_init(&head);
    sb_init(&trees);
    sb_addf(&head,
            "tree\nversion=v4\nnum_class=%zu\nnum_tree_per_iteration=%zu\nlabel_index=0\n"
            "max_feature_idx=%zu\n",
            m->n_classes, m->n_classes, m->n_features - 1);
    medley_status st = model_check_base(m, err);
    if (st == MEDLEY_OK)
        st = write_objective(m, &head, err);
    if (st == MEDLEY_OK)
        st = write_names(m, &head, err);
    if (st == MEDLEY_OK) {
        write_trees(m, &head, &trees, counts);
        sb_addz(&trees, "end of trees\n\nfeature_importances:\n\nparameters:\n\n"
                        "end of parameters\n\npandas_categorical:null\n");
        if (head.failed || trees.failed)
            st = fail_memory(err, "a model file");
    }
    if (st == MEDLEY_OK) { /* errors of the file are found at its commit */
        fwrite(head.s, 1, head.n, f);
        fwrite(trees.s, 1, trees.n, f);
    }
    sb_deinit(&head);
    sb_deinit(&trees);
    mem_free(counts);
    return st;
}
