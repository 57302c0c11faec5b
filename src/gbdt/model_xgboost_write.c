/* model_xgboost_write.c: writes models as XGBoost's JSON or UBJSON.
 *
 * x <= t becomes x < the float after t; a split of missing from present becomes x < -FLT_MAX
 * with the sides changed, since no float comes after FLT_MAX. Margins before any tree go into
 * the leaves of the first round, because base_score could hold only one of them before
 * XGBoost 3.1; XGBoost adds leaves in float32. A vector tree is written as one tree per output.
 * Covers (sum_hessian) are those of the model, of whatever kind, so that pred_contribs gives
 * the values that Medley gives. Proof: tests/test_gbdt_xgboost.c. */
#include "gbdt/model_xgboost.h"

#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* ---- one writer for both ---- */

struct out {
    bool ubj;
    struct strbuf text;
    struct json_writer w;
};

static void put_bits(struct out *o, uint64_t bits, unsigned bytes)
{
    while (bytes-- > 0)
        sb_addc(&o->text, (char)(bits >> 8 * bytes));
}

static void put_length(struct out *o, size_t n)
{
    sb_addc(&o->text, 'L');
    put_bits(o, n, 8);
}

static void put_bytes(struct out *o, const char *text)
{
    put_length(o, strlen(text));
    sb_addz(&o->text, text);
}

static void key(struct out *o, const char *name)
{
    if (o->ubj)
        put_bytes(o, name);
    else
        jw_key(&o->w, name);
}

static void object(struct out *o)
{
    o->ubj ? sb_addc(&o->text, '{') : jw_object(&o->w);
}

static void object_end(struct out *o)
{
    o->ubj ? sb_addc(&o->text, '}') : jw_object_end(&o->w);
}

/* XGBoost reads arrays of objects only with their count before them. */
static void array(struct out *o, size_t n)
{
    if (!o->ubj) {
        jw_array(&o->w);
        return;
    }
    sb_addz(&o->text, "[#");
    put_length(o, n);
}

static void array_end(struct out *o)
{
    if (!o->ubj)
        jw_array_end(&o->w);
}

static void text(struct out *o, const char *z)
{
    if (o->ubj) {
        sb_addc(&o->text, 'S');
        put_bytes(o, z);
    } else {
        jw_textz(&o->w, z);
    }
}

static void integer(struct out *o, int64_t v)
{
    if (o->ubj) {
        sb_addc(&o->text, 'L');
        put_bits(o, (uint64_t)v, 8);
    } else {
        jw_i64(&o->w, v);
    }
}

static void text_member(struct out *o, const char *name, const char *value)
{
    key(o, name);
    text(o, value);
}

/* XGBoost keeps its parameters as texts. */
static void count_member(struct out *o, const char *name, size_t n)
{
    char value[32];
    snprintf(value, sizeof value, "%zu", n);
    text_member(o, name, value);
}

/* XGBoost takes a number without a point or exponent for an integer, and refuses it. */
static void json_float(struct out *o, float v)
{
    size_t before = o->text.n;
    jw_float(&o->w, v);
    if (!o->text.failed && !strpbrk(o->text.s + before, ".e"))
        sb_addz(&o->text, "E0");
}

/* Numbers of one type: d float, l 32-bit, L 64-bit, U byte. */
static void numbers(struct out *o, const char *name, char type, size_t n, const double *v)
{
    key(o, name);
    if (!o->ubj) {
        jw_array(&o->w);
        for (size_t i = 0; i < n; i++)
            type == 'd' ? json_float(o, (float)v[i]) : jw_i64(&o->w, (int64_t)v[i]);
        jw_array_end(&o->w);
        return;
    }
    sb_addf(&o->text, "[$%c#", type);
    put_length(o, n);
    for (size_t i = 0; i < n; i++) {
        float value = (float)v[i];
        uint32_t bits;
        memcpy(&bits, &value, sizeof bits);
        if (type != 'd')
            bits = type == 'U' ? (uint32_t)v[i] : (uint32_t)(int32_t)v[i];
        put_bits(o, bits, type == 'U' ? 1 : 4); /* L is used for empty lists alone */
    }
}

/* ---- a tree ---- */

enum { LEFT, RIGHT, PARENT, FEATURE, CONDITION, DEFAULT, COVER, ZERO, WEIGHT, COLUMNS };

struct tree_columns {
    size_t n; /* nodes and leaves */
    double *v[COLUMNS];
    uint32_t *node_id, *leaf_id;
};

/* Room for the largest tree of a model. */
static bool columns_init(struct tree_columns *c, size_t most_leaves)
{
    *c = (struct tree_columns){.node_id = mem_alloc(most_leaves, sizeof *c->node_id),
                               .leaf_id = mem_alloc(most_leaves, sizeof *c->leaf_id)};
    bool good = c->node_id && c->leaf_id;
    for (int i = 0; i < COLUMNS; i++)
        good = (c->v[i] = mem_alloc(2 * most_leaves, sizeof *c->v[i])) != NULL && good;
    return good;
}

static void columns_deinit(struct tree_columns *c)
{
    for (int i = 0; i < COLUMNS; i++)
        mem_free(c->v[i]);
    mem_free(c->node_id);
    mem_free(c->leaf_id);
}

/* XGBoost takes the node after a left child for the right one, whatever the file says. */
static void number_children(const struct tree_node *n, bool swap, uint32_t left,
                            struct tree_columns *c)
{
    int32_t children[2] = {swap ? n->right : n->left, swap ? n->left : n->right};
    for (uint32_t side = 0; side < 2; side++) {
        int32_t child = children[side];
        *(child >= 0 ? &c->node_id[child] : &c->leaf_id[~child]) = left + side;
    }
}

static void fill_node(const struct tree_node *n, uint32_t at, uint32_t left,
                      struct tree_columns *c)
{
    bool swap = n->threshold == FLT_MAX;
    number_children(n, swap, left, c);
    c->v[LEFT][at] = left;
    c->v[RIGHT][at] = left + 1;
    c->v[PARENT][left] = c->v[PARENT][left + 1] = at;
    c->v[FEATURE][at] = n->feature;
    c->v[CONDITION][at] = (double)(swap ? -FLT_MAX : nextafterf(n->threshold, INFINITY));
    c->v[DEFAULT][at] = swap ? !n->missing_left : n->missing_left;
    c->v[COVER][at] = n->count;
}

/* Output `o` of the tree, with `base` in its leaves. Parents come before their children. */
static void fill_columns(const struct tree *t, size_t o, double base, struct tree_columns *c)
{
    uint32_t nodes = t->n_leaves - 1;
    c->n = nodes + t->n_leaves;
    for (int i = 0; i < COLUMNS; i++)
        memset(c->v[i], 0, c->n * sizeof *c->v[i]);
    c->node_id[0] = c->leaf_id[0] = 0;
    c->v[PARENT][0] = INT32_MAX;
    for (uint32_t i = 0; i < nodes; i++)
        fill_node(&t->nodes[i], c->node_id[i], 1 + 2 * i, c);
    for (uint32_t i = 0; i < t->n_leaves; i++) {
        size_t at = c->leaf_id[i];
        c->v[LEFT][at] = c->v[RIGHT][at] = -1;
        c->v[CONDITION][at] = c->v[WEIGHT][at] = (double)t->values[i * t->n_outputs + o] + base;
        c->v[COVER][at] = t->counts[i];
    }
}

static void write_tree(struct out *o, const struct tree_columns *c, size_t number,
                       size_t n_features)
{
    object(o);
    numbers(o, "base_weights", 'd', c->n, c->v[WEIGHT]);
    numbers(o, "categories", 'l', 0, NULL);
    numbers(o, "categories_nodes", 'l', 0, NULL);
    numbers(o, "categories_segments", 'L', 0, NULL);
    numbers(o, "categories_sizes", 'L', 0, NULL);
    numbers(o, "default_left", 'U', c->n, c->v[DEFAULT]);
    key(o, "id");
    integer(o, (int64_t)number);
    numbers(o, "left_children", 'l', c->n, c->v[LEFT]);
    numbers(o, "loss_changes", 'd', c->n, c->v[ZERO]);
    numbers(o, "parents", 'l', c->n, c->v[PARENT]);
    numbers(o, "right_children", 'l', c->n, c->v[RIGHT]);
    numbers(o, "split_conditions", 'd', c->n, c->v[CONDITION]);
    numbers(o, "split_indices", 'l', c->n, c->v[FEATURE]);
    numbers(o, "split_type", 'U', c->n, c->v[ZERO]);
    numbers(o, "sum_hessian", 'd', c->n, c->v[COVER]);
    key(o, "tree_param");
    object(o);
    text_member(o, "num_deleted", "0");
    count_member(o, "num_feature", n_features);
    count_member(o, "num_nodes", c->n);
    text_member(o, "size_leaf_vector", "1");
    object_end(o);
    object_end(o);
}

/* ---- the model ---- */

/* The first round carries the base; without any round, one of trees of one leaf does. */
static void write_trees(struct out *o, const struct medley_gbdt *m, struct tree_columns *c)
{
    size_t k = m->n_classes, rounds = m->rounds ? m->rounds : 1;
    float nothing[GBDT_MAX_CLASSES] = {0};
    double cover = 0;
    struct tree empty = {.n_leaves = 1, .n_outputs = 1, .counts = &cover, .values = nothing};
    array(o, rounds * k);
    for (size_t i = 0; i < rounds * k; i++) {
        size_t output = i % k;
        bool vector = m->kind == MEDLEY_TREES_VECTOR;
        const struct tree *t = m->rounds ? m->trees[vector ? i / k : i] : &empty;
        fill_columns(t, vector && m->rounds ? output : 0, i < k ? m->base[output] : 0, c);
        write_tree(o, c, i, m->n_features);
    }
    array_end(o);
}

static void write_booster(struct out *o, const struct medley_gbdt *m, struct tree_columns *c)
{
    size_t k = m->n_classes, rounds = m->rounds ? m->rounds : 1;
    object(o);
    key(o, "model");
    object(o);
    key(o, "gbtree_model_param");
    object(o);
    text_member(o, "num_parallel_tree", "1");
    count_member(o, "num_trees", rounds * k);
    text_member(o, "size_leaf_vector", "0"); /* 1.7 looks for it here */
    object_end(o);
    key(o, "iteration_indptr");
    array(o, rounds + 1);
    for (size_t i = 0; i <= rounds; i++)
        integer(o, (int64_t)(i * k));
    array_end(o);
    key(o, "tree_info");
    array(o, rounds * k);
    for (size_t i = 0; i < rounds * k; i++)
        integer(o, (int64_t)(i % k));
    array_end(o);
    key(o, "trees");
    write_trees(o, m, c);
    object_end(o);
    text_member(o, "name", "gbtree");
    object_end(o);
}

static void write_objective(struct out *o, const char *name, size_t n_classes)
{
    object(o);
    text_member(o, "name", name);
    if (strcmp(name, "multi:softprob") == 0) {
        key(o, "softmax_multiclass_param");
        object(o);
        count_member(o, "num_class", n_classes);
    } else if (strcmp(name, "count:poisson") == 0) {
        key(o, "poisson_regression_param");
        object(o);
        text_member(o, "max_delta_step", "7E-1");
    } else {
        key(o, "reg_loss_param");
        object(o);
        text_member(o, "scale_pos_weight", "1");
    }
    object_end(o);
    object_end(o);
}

/* base_score is the prediction that stands for a margin of zero. */
static void write_param(struct out *o, const struct medley_gbdt *m, enum base_link base)
{
    bool softmax = m->link == MEDLEY_LINK_SOFTMAX;
    object(o);
    text_member(o, "base_score",
                base == BASE_LOGIT ? "5E-1"
                : base == BASE_LOG ? "1E0"
                                   : "0E0");
    text_member(o, "boost_from_average", "1");
    count_member(o, "num_class", softmax ? m->n_classes : 0);
    count_member(o, "num_feature", m->n_features);
    count_member(o, "num_target", softmax ? 1 : m->n_classes);
    object_end(o);
}

static void write_names(struct out *o, const struct medley_gbdt *m)
{
    size_t n = m->names ? m->n_features : 0;
    key(o, "feature_names");
    array(o, n);
    for (size_t i = 0; i < n; i++)
        text(o, m->names[i]);
    array_end(o);
    key(o, "feature_types");
    array(o, n);
    for (size_t i = 0; i < n; i++)
        text(o, "float");
    array_end(o);
}

static void write_all(struct out *o, const struct medley_gbdt *m,
                      const struct xgboost_objective *objective, struct tree_columns *c)
{
    static const int64_t version[3] = {2, 0, 0}; /* the fields are those of 2.0 */
    object(o);
    key(o, "learner");
    object(o);
    key(o, "attributes");
    object(o);
    object_end(o);
    write_names(o, m);
    key(o, "gradient_booster");
    write_booster(o, m, c);
    key(o, "learner_model_param");
    write_param(o, m, objective->base);
    key(o, "objective");
    write_objective(o, objective->name, m->n_classes);
    object_end(o);
    key(o, "version");
    array(o, 3);
    for (int i = 0; i < 3; i++)
        integer(o, version[i]);
    array_end(o);
    object_end(o);
}

static medley_status write_file(const medley_gbdt *m, bool ubj, FILE *f, medley_error *err)
{
    const struct xgboost_objective *objective = xgboost_objectives;
    struct out o = {.ubj = ubj};
    if (m->link_scale != 1)
        return fail(err, MEDLEY_EUNSUPPORTED,
                    "XGBoost has no sigmoid of %g times the margin: write it as lightgbm",
                    m->link_scale);
    if (model_check_base(m, err) != MEDLEY_OK)
        return MEDLEY_EUNSUPPORTED;
    struct tree_columns c;
    if (!columns_init(&c, gbdt_most_leaves(m))) {
        columns_deinit(&c);
        return fail_memory(err, "a model file");
    }
    while (objective->link != m->link)
        objective++;
    sb_init(&o.text);
    jw_init(&o.w, &o.text, false);
    write_all(&o, m, objective, &c);
    bool good = !o.text.failed;
    if (good)
        fwrite(o.text.s, 1, o.text.n, f); /* errors are found at the commit */
    sb_deinit(&o.text);
    columns_deinit(&c);
    return good ? MEDLEY_OK : fail_memory(err, "a model file");
}

medley_status xgboost_write_json(const medley_gbdt *model, FILE *f, medley_error *err)
{
    return write_file(model, false, f, err);
}

medley_status xgboost_write_ubj(const medley_gbdt *model, FILE *f, medley_error *err)
{
    return write_file(model, true, f, err);
}
