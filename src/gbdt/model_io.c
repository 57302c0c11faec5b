/* model_io.c: what every reader of model files checks and converts. Proof:
 * tests/test_gbdt_file.c, tests/test_gbdt_lightgbm.c, tests/test_gbdt_xgboost.c. */
#include "gbdt/model_io.h"

#include "base/error.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* No finite x goes left: all present ones go to the other side, told apart from missing. */
static void swap_sides(struct tree_node *n)
{
    int32_t left = n->left;
    n->left = n->right;
    n->right = left;
    n->missing_left = !n->missing_left;
    n->threshold = FLT_MAX;
}

void node_split_at_most(struct tree_node *n, double t)
{
    if (t < -FLT_MAX) {
        swap_sides(n);
        return;
    }
    float f = t > FLT_MAX ? FLT_MAX : (float)t;
    n->threshold = (double)f > t ? nextafterf(f, -INFINITY) : f;
}

void node_split_below(struct tree_node *n, float t)
{
    if (t == -FLT_MAX)
        swap_sides(n);
    else
        n->threshold = nextafterf(t, -INFINITY);
}

medley_status tree_check_shape(const struct tree *t, medley_error *err)
{
    uint8_t node_seen[TREE_MAX_LEAVES], leaf_seen[TREE_MAX_LEAVES];
    memset(node_seen, 0, t->n_leaves);
    memset(leaf_seen, 0, t->n_leaves);
    for (uint32_t i = 0; i + 1 < t->n_leaves; i++) {
        int32_t children[2] = {t->nodes[i].left, t->nodes[i].right};
        for (int side = 0; side < 2; side++) {
            int32_t c = children[side];
            if (c >= 0 && (uint32_t)c <= i)
                return fail(err, MEDLEY_EFORMAT, "node %u has the earlier node %d for a child",
                            i, c);
            uint8_t *seen = c >= 0 ? &node_seen[c] : &leaf_seen[~c];
            if (*seen)
                return fail(err, MEDLEY_EFORMAT, "%s %d is the child of two nodes",
                            c >= 0 ? "node" : "leaf", c >= 0 ? c : ~c);
            *seen = 1;
        }
    }
    return MEDLEY_OK; /* 2 (leaves - 1) distinct children: nobody is left out */
}

medley_status tree_check_covers(struct tree *t, double tolerance, bool *positive,
                                medley_error *err)
{
    for (uint32_t i = t->n_leaves - 1; i-- > 0;) { /* children are later */
        struct tree_node *n = &t->nodes[i];
        double left = tree_child_count(t, n->left), right = tree_child_count(t, n->right);
        double sum = left + right;
        if (fabs(sum - n->count) > tolerance * (sum + n->count))
            return fail(err, MEDLEY_EFORMAT,
                        "node %u has cover %.9g, its children %.9g and %.9g", i, n->count, left,
                        right);
        n->count = sum;
        if (!(left > 0 && right > 0))
            *positive = false;
    }
    return MEDLEY_OK;
}

medley_status model_check_base(const struct medley_gbdt *model, medley_error *err)
{
    size_t n = model->rounds ? gbdt_trees_per_round(model) : 0;
    for (size_t i = 0; i < n; i++) {
        const struct tree *t = model->trees[i];
        for (size_t j = 0; j < (size_t)t->n_leaves * t->n_outputs; j++)
            if (!isfinite(
                    (float)(t->values[j] + model->base[t->first_class + j % t->n_outputs])))
                return fail(err, MEDLEY_EUNSUPPORTED,
                            "a leaf of tree %zu and the base are too large for one float32", i);
    }
    return MEDLEY_OK;
}
