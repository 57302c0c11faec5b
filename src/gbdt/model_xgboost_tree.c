/* model_xgboost_tree.c: one tree of an XGBoost model: arrays by node become a tree of ours.
 * model_xgboost.c says what they mean. Proof: tests/test_gbdt_xgboost.c,
 * tests/test_gbdt_golden.c. */
#include "gbdt/model_xgboost.h"

#include "base/error.h"
#include "base/memory.h"

#include <inttypes.h>
#include <math.h>

/* ---- one tree ---- */

struct xnode {
    int32_t left, right;
    uint32_t feature;
    float condition; /* of a split; the value of a leaf */
    double cover;
    bool default_left;
    int32_t id; /* in the new tree: node, or ~leaf; UNSEEN */
};
enum { UNSEEN = INT32_MAX };

struct xtree {
    size_t n;         /* nodes, with deleted ones */
    size_t n_outputs; /* of a leaf */
    struct xnode *nodes;
    int32_t *stack; /* [n] */
    float *vectors; /* [n_vectors, n_outputs] or NULL */
    size_t n_vectors;
    bool by_leaf; /* vectors go by leaf, not by node */
    bool has_cover;
};

static void xtree_deinit(struct xtree *x)
{
    mem_free(x->nodes);
    mem_free(x->stack);
    mem_free(x->vectors);
}

static bool as_flag(const json *v, bool *out)
{
    int64_t i = 0;
    if (json_as_bool(v, out))
        return true;
    if (!json_as_i64(v, &i) || (i != 0 && i != 1))
        return false;
    *out = i == 1;
    return true;
}

/* One pass over an array of the tree: `take` stores item i or says what it should have been. */
typedef const char *take_item(struct xtree *x, size_t i, const json *v);

static medley_status each(const struct xgboost_source *s, const json *tree, const char *key,
                          struct xtree *x, take_item *take)
{
    const json *v = NULL;
    medley_status st = xg_array(s, tree, key, x->n, &v);
    for (size_t i = 0; st == MEDLEY_OK && i < x->n; i++, v = json_next(v)) {
        const char *expected = take(x, i, v);
        if (expected)
            st = xg_bad_item(s, key, i, expected);
    }
    return st;
}

static const char *take_left(struct xtree *x, size_t i, const json *v)
{
    return xg_index(v, -1, (int64_t)x->n - 1, &x->nodes[i].left) ? NULL : "a node or -1";
}

static const char *take_right(struct xtree *x, size_t i, const json *v)
{
    return xg_index(v, -1, (int64_t)x->n - 1, &x->nodes[i].right) ? NULL : "a node or -1";
}

static const char *take_feature(struct xtree *x, size_t i, const json *v)
{
    int32_t feature = 0;
    if (!xg_index(v, 0, INT32_MAX - 1, &feature))
        return "a feature";
    x->nodes[i].feature = (uint32_t)feature;
    return NULL;
}

/* Null stands for what is not finite: 2.x has it in leaves whose values are elsewhere. */
static const char *take_condition(struct xtree *x, size_t i, const json *v)
{
    x->nodes[i].condition = NAN;
    bool empty = v && json_kind_of(v) == JSON_NULL;
    return empty || xg_float(v, &x->nodes[i].condition) ? NULL : "a finite number";
}

static const char *take_default(struct xtree *x, size_t i, const json *v)
{
    return as_flag(v, &x->nodes[i].default_left) ? NULL : "0 or 1";
}

static const char *take_cover(struct xtree *x, size_t i, const json *v)
{
    float cover = 0;
    if (!xg_float(v, &cover) || cover < 0)
        return "a number from 0";
    x->nodes[i].cover = (double)cover;
    return NULL;
}

/* Some versions leave the types of splits out when none is by category. */
static medley_status check_types(const struct xgboost_source *s, const json *tree,
                                 struct xtree *x)
{
    const json *v = NULL;
    if (!json_get(tree, "split_type"))
        return MEDLEY_OK;
    medley_status st = xg_array(s, tree, "split_type", x->n, &v);
    for (size_t i = 0; st == MEDLEY_OK && i < x->n; i++, v = json_next(v)) {
        int32_t type = 0;
        if (!xg_index(v, 0, 1, &type))
            st = xg_bad_item(s, "split_type", i, "0 or 1");
        else if (type == 1)
            st = xg_refuse(s, MEDLEY_EUNSUPPORTED, "node %zu splits by category", i);
    }
    return st;
}

static medley_status take_vectors(const struct xgboost_source *s, const json *tree,
                                  struct xtree *x)
{
    const char *key = json_get(tree, "leaf_weights") ? "leaf_weights" : "base_weights";
    const json *v = NULL;
    medley_status st = xg_get(s, tree, key, JSON_ARRAY, &v);
    if (st != MEDLEY_OK)
        return st;
    size_t n = json_count(v);
    x->by_leaf = key[0] == 'l';
    x->n_vectors = n / x->n_outputs;
    if (n % x->n_outputs || (!x->by_leaf && x->n_vectors != x->n))
        return xg_refuse(s, MEDLEY_EFORMAT, "'%s' holds %zu values: not %zu for each %s", key,
                         n, x->n_outputs, x->by_leaf ? "leaf" : "node");
    x->vectors = mem_alloc(n, sizeof *x->vectors);
    if (!x->vectors)
        return fail_memory(s->err, "a tree");
    v = json_first(v);
    for (size_t i = 0; i < n; i++, v = json_next(v))
        if (!xg_float(v, &x->vectors[i]))
            return xg_bad_item(s, key, i, "a finite number");
    return MEDLEY_OK;
}

static medley_status take_tree(const struct xgboost_source *s, const json *tree,
                               size_t n_outputs, struct xtree *x)
{
    const json *children = NULL, *param = NULL;
    int64_t said = 0, vector = 1;
    medley_status st = xg_get(s, tree, "left_children", JSON_ARRAY, &children);
    if (st == MEDLEY_OK)
        st = xg_get(s, tree, "tree_param", JSON_OBJECT, &param);
    if (st == MEDLEY_OK)
        st = xg_count(s, param, "num_nodes", -1, &said);
    if (st == MEDLEY_OK)
        st = xg_count(s, param, "size_leaf_vector", 1, &vector);
    if (st != MEDLEY_OK)
        return st;
    x->n = json_count(children);
    x->n_outputs = vector > 1 ? (size_t)vector : 1;
    if (x->n == 0 || x->n > INT32_MAX || said != (int64_t)x->n)
        return xg_refuse(s, MEDLEY_EFORMAT, "num_nodes is %" PRId64 ", but there are %zu", said,
                         x->n);
    if (vector > 1 && x->n_outputs != n_outputs)
        return xg_refuse(s, MEDLEY_EFORMAT,
                         "leaves of %" PRId64 " values in a model of %zu outputs", vector,
                         n_outputs);
    x->nodes = mem_zalloc(x->n, sizeof *x->nodes);
    x->stack = mem_alloc(x->n, sizeof *x->stack);
    if (!x->nodes || !x->stack)
        return fail_memory(s->err, "a tree");
    x->has_cover = json_get(tree, "sum_hessian") != NULL;
    st = check_types(s, tree, x);
    if (st == MEDLEY_OK)
        st = each(s, tree, "left_children", x, take_left);
    if (st == MEDLEY_OK)
        st = each(s, tree, "right_children", x, take_right);
    if (st == MEDLEY_OK)
        st = each(s, tree, "split_indices", x, take_feature);
    if (st == MEDLEY_OK)
        st = each(s, tree, "split_conditions", x, take_condition);
    if (st == MEDLEY_OK)
        st = each(s, tree, "default_left", x, take_default);
    if (st == MEDLEY_OK && x->has_cover)
        st = each(s, tree, "sum_hessian", x, take_cover);
    return st == MEDLEY_OK && vector > 1 ? take_vectors(s, tree, x) : st;
}

/* Numbers what the root reaches, parents before children. */
static medley_status number_nodes(const struct xgboost_source *s, struct xtree *x,
                                  size_t n_features, uint32_t *n_leaves)
{
    size_t depth = 0;
    int32_t nodes = 0, leaves = 0;
    for (size_t i = 0; i < x->n; i++)
        x->nodes[i].id = UNSEEN;
    x->stack[depth++] = 0;
    x->nodes[0].id = 0; /* seen */
    while (depth > 0) {
        int32_t at = x->stack[--depth];
        struct xnode *n = &x->nodes[at];
        int32_t children[2] = {n->right, n->left};
        if (!isfinite(n->condition) && !(n->left == -1 && x->vectors))
            return xg_bad_item(s, "split_conditions", (size_t)at, "a finite number");
        if (n->left == -1) {
            n->id = ~leaves++;
            if (x->by_leaf && (n->right < 0 || (size_t)n->right >= x->n_vectors))
                return xg_refuse(s, MEDLEY_EFORMAT, "leaf %d has no values in 'leaf_weights'",
                                 at);
            if (!x->vectors && n->right != -1)
                return xg_refuse(s, MEDLEY_EFORMAT, "node %d has only a right child", at);
            continue;
        }
        n->id = nodes++;
        if (n->feature >= n_features)
            return xg_refuse(s, MEDLEY_EFORMAT, "node %d splits by feature %u of %zu", at,
                             n->feature, n_features);
        for (int side = 0; side < 2; side++) {
            int32_t c = children[side];
            if (c < 0)
                return xg_refuse(s, MEDLEY_EFORMAT, "node %d has only one child", at);
            if (x->nodes[c].id != UNSEEN)
                return xg_refuse(s, MEDLEY_EFORMAT, "node %d is the child of two nodes", c);
            x->nodes[c].id = 0; /* seen; numbered when its turn comes */
            x->stack[depth++] = c;
        }
    }
    if (leaves > TREE_MAX_LEAVES)
        return xg_refuse(s, MEDLEY_EUNSUPPORTED, "a tree of %d leaves (at most %d)", leaves,
                         TREE_MAX_LEAVES);
    *n_leaves = (uint32_t)leaves;
    return MEDLEY_OK;
}

/* UNSEEN is a positive id too, so deleted nodes are skipped by their own test. */
static void fill_tree(const struct xtree *x, double factor, struct tree *t)
{
    for (size_t i = 0; i < x->n; i++) {
        const struct xnode *n = &x->nodes[i];
        if (n->id == UNSEEN)
            continue;
        if (n->id >= 0) {
            struct tree_node *to = &t->nodes[n->id];
            *to = (struct tree_node){.feature = n->feature,
                                     .left = x->nodes[n->left].id,
                                     .right = x->nodes[n->right].id,
                                     .count = n->cover,
                                     .missing_left = n->default_left};
            node_split_below(to, n->condition);
            continue;
        }
        const float *values = &n->condition;
        if (x->vectors)
            values = x->vectors + (x->by_leaf ? (size_t)n->right : i) * x->n_outputs;
        t->counts[~n->id] = n->cover;
        for (size_t o = 0; o < t->n_outputs; o++)
            t->values[(size_t)~n->id * t->n_outputs + o] = (float)(factor * (double)values[o]);
    }
}

/* Sums of floats: parents differ from their children in the last digits. */
#define COVER_TOLERANCE 1e-2

medley_status xgboost_read_tree(const struct xgboost_source *s, const json *json_tree,
                                struct medley_gbdt *m, double factor, struct tree **out)
{
    struct xtree x = {0};
    struct tree *t = NULL;
    uint32_t leaves = 0;
    medley_status st = take_tree(s, json_tree, m->n_classes, &x);
    bool positive = x.has_cover;
    if (st == MEDLEY_OK)
        st = number_nodes(s, &x, m->n_features, &leaves);
    if (st == MEDLEY_OK) {
        t = tree_new(leaves, (uint32_t)x.n_outputs, 0);
        st = t ? MEDLEY_OK : fail_memory(s->err, "a tree");
    }
    if (st == MEDLEY_OK) {
        fill_tree(&x, factor, t);
        if (x.has_cover)
            st = tree_check_covers(t, COVER_TOLERANCE, &positive, s->err);
        if (st != MEDLEY_OK)
            xg_within(s, st);
    }
    for (size_t i = 0; st == MEDLEY_OK && i < (size_t)leaves * x.n_outputs; i++)
        if (!isfinite(t->values[i]))
            st = xg_refuse(s, MEDLEY_EFORMAT, "a leaf's value times its weight is not finite");
    if (st == MEDLEY_OK && leaves > 1 && !positive)
        m->cover = MEDLEY_COVER_NONE;
    xtree_deinit(&x);
    if (st == MEDLEY_OK)
        *out = t;
    else
        tree_free(t);
    return st;
}
