/* model_xgboost.c: reads XGBoost's JSON and UBJSON models, 1.7 to 3.x.
 *
 * XGBoost sends x < c left; for floats that is x <= the float before c. A leaf is a node whose
 * left child is -1 and whose condition is its value; deleted nodes are those that the root does
 * not reach. With size_leaf_vector > 1 a leaf holds one value per output: in leaf_weights, at
 * the leaf's right child (3.x), or in base_weights, at the node (2.x). tree_info gives the
 * output of a tree; trees are put in order round by round, output by output. base_score is a
 * prediction (for binary:logistic a probability), one number or, from 3.1 on, a list "[a,b]".
 * DART's weight_drop multiplies leaf values. Covers are sum_hessian, which is what XGBoost's
 * own pred_contribs uses.
 *
 * Proof: tests/test_gbdt_xgboost.c, fuzz/fuzz_xgboost_json.c, fuzz/fuzz_xgboost_ubj.c. */
#include "gbdt/model_xgboost.h"

#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "gbdt/text_reader.h"
#include "gbdt/ubjson.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

const struct xgboost_objective xgboost_objectives[] = {
    /* the first of each link is the one that is written */
    {"multi:softprob", MEDLEY_LINK_SOFTMAX, BASE_MARGIN},
    {"multi:softmax", MEDLEY_LINK_SOFTMAX, BASE_MARGIN},
    {"binary:logistic", MEDLEY_LINK_SIGMOID, BASE_LOGIT},
    {"reg:logistic", MEDLEY_LINK_SIGMOID, BASE_LOGIT},
    {"reg:squarederror", MEDLEY_LINK_IDENTITY, BASE_MARGIN},
    {"reg:linear", MEDLEY_LINK_IDENTITY, BASE_MARGIN},
    {"reg:squaredlogerror", MEDLEY_LINK_IDENTITY, BASE_MARGIN},
    {"reg:absoluteerror", MEDLEY_LINK_IDENTITY, BASE_MARGIN},
    {"reg:pseudohubererror", MEDLEY_LINK_IDENTITY, BASE_MARGIN},
    {"reg:quantileerror", MEDLEY_LINK_IDENTITY, BASE_MARGIN},
    {"reg:expectileerror", MEDLEY_LINK_IDENTITY, BASE_MARGIN},
    {"rank:pairwise", MEDLEY_LINK_IDENTITY, BASE_MARGIN},
    {"rank:ndcg", MEDLEY_LINK_IDENTITY, BASE_MARGIN},
    {"rank:map", MEDLEY_LINK_IDENTITY, BASE_MARGIN},
    {"binary:logitraw", MEDLEY_LINK_IDENTITY, BASE_MARGIN},
    {"count:poisson", MEDLEY_LINK_EXP, BASE_LOG},
    {"reg:gamma", MEDLEY_LINK_EXP, BASE_LOG},
    {"reg:tweedie", MEDLEY_LINK_EXP, BASE_LOG},
    {"survival:cox", MEDLEY_LINK_EXP, BASE_LOG},
    {"survival:aft", MEDLEY_LINK_EXP, BASE_LOG},
    {NULL, MEDLEY_LINK_IDENTITY, BASE_MARGIN},
};

/* ---- fields of a JSON tree, with the tree's number in messages ---- */

struct source {
    const char *path;
    medley_error *err;
    size_t tree; /* SIZE_MAX: not in a tree */
};

static medley_status place(const struct source *s, medley_status st)
{
    if (s->tree != SIZE_MAX)
        fail_within(s->err, st, "trees[%zu]", s->tree);
    return fail_within(s->err, st, "%s", s->path);
}

static medley_status refuse(const struct source *s, medley_status status, const char *format,
                            ...) __attribute__((format(printf, 3, 4)));

static medley_status refuse(const struct source *s, medley_status status, const char *format,
                            ...)
{
    va_list args;
    va_start(args, format);
    vfail(s->err, status, format, args);
    va_end(args);
    return place(s, status);
}

static medley_status get(const struct source *s, const json *from, const char *key,
                         enum json_kind kind, const json **out)
{
    static const char *const kinds[] = {"null", "bool", "number", "text", "array", "object"};
    const json *v = json_get(from, key);
    if (!v)
        return refuse(s, MEDLEY_EFORMAT, "'%s' is missing", key);
    if (json_kind_of(v) != kind)
        return refuse(s, MEDLEY_EFORMAT, "'%s' is not of the kind %s", key, kinds[kind]);
    *out = v;
    return MEDLEY_OK;
}

/* XGBoost writes parameters as texts. Absent: `missing`, or refused when that is negative. */
static medley_status get_count(const struct source *s, const json *from, const char *key,
                               int64_t missing, int64_t *out)
{
    const json *v = json_get(from, key);
    const char *text = NULL;
    if (!v && missing >= 0) {
        *out = missing;
        return MEDLEY_OK;
    }
    bool good = json_as_text(v, &text) ? str_to_i64(str_of(text), out) : json_as_i64(v, out);
    if (!v)
        return refuse(s, MEDLEY_EFORMAT, "'%s' is missing", key);
    return good && *out >= 0
               ? MEDLEY_OK
               : refuse(s, MEDLEY_EFORMAT, "'%s' is not a whole number from 0", key);
}

static medley_status get_array(const struct source *s, const json *from, const char *key,
                               size_t n, const json **first)
{
    const json *a = NULL;
    medley_status st = get(s, from, key, JSON_ARRAY, &a);
    if (st == MEDLEY_OK && json_count(a) != n)
        return refuse(s, MEDLEY_EFORMAT, "'%s' holds %zu values instead of %zu", key,
                      json_count(a), n);
    if (st == MEDLEY_OK)
        *first = json_first(a);
    return st;
}

static medley_status bad_item(const struct source *s, const char *key, size_t i,
                              const char *expected)
{
    return refuse(s, MEDLEY_EFORMAT, "%s[%zu] is not %s", key, i, expected);
}

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

static bool as_index(const json *v, int64_t min, int64_t max, int32_t *out)
{
    int64_t i = 0;
    if (!json_as_i64(v, &i) || i < min || i > max)
        return false;
    *out = (int32_t)i;
    return true;
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

static bool as_float(const json *v, float *out)
{
    double d = 0;
    if (!json_as_double(v, &d) || !(fabs(d) < 3.4028235677973366e38))
        return false;
    *out = (float)d;
    return true;
}

/* One pass over an array of the tree: `take` stores item i or says what it should have been. */
typedef const char *take_item(struct xtree *x, size_t i, const json *v);

static medley_status each(const struct source *s, const json *tree, const char *key,
                          struct xtree *x, take_item *take)
{
    const json *v = NULL;
    medley_status st = get_array(s, tree, key, x->n, &v);
    for (size_t i = 0; st == MEDLEY_OK && i < x->n; i++, v = json_next(v)) {
        const char *expected = take(x, i, v);
        if (expected)
            st = bad_item(s, key, i, expected);
    }
    return st;
}

static const char *take_left(struct xtree *x, size_t i, const json *v)
{
    return as_index(v, -1, (int64_t)x->n - 1, &x->nodes[i].left) ? NULL : "a node or -1";
}

static const char *take_right(struct xtree *x, size_t i, const json *v)
{
    return as_index(v, -1, (int64_t)x->n - 1, &x->nodes[i].right) ? NULL : "a node or -1";
}

static const char *take_feature(struct xtree *x, size_t i, const json *v)
{
    int32_t feature = 0;
    if (!as_index(v, 0, INT32_MAX - 1, &feature))
        return "a feature";
    x->nodes[i].feature = (uint32_t)feature;
    return NULL;
}

/* Null stands for what is not finite: 2.x has it in leaves whose values are elsewhere. */
static const char *take_condition(struct xtree *x, size_t i, const json *v)
{
    x->nodes[i].condition = NAN;
    bool empty = v && json_kind_of(v) == JSON_NULL;
    return empty || as_float(v, &x->nodes[i].condition) ? NULL : "a finite number";
}

static const char *take_default(struct xtree *x, size_t i, const json *v)
{
    return as_flag(v, &x->nodes[i].default_left) ? NULL : "0 or 1";
}

static const char *take_cover(struct xtree *x, size_t i, const json *v)
{
    float cover = 0;
    if (!as_float(v, &cover) || cover < 0)
        return "a number from 0";
    x->nodes[i].cover = (double)cover;
    return NULL;
}

/* Some versions leave the types of splits out when none is by category. */
static medley_status check_types(const struct source *s, const json *tree, struct xtree *x)
{
    const json *v = NULL;
    if (!json_get(tree, "split_type"))
        return MEDLEY_OK;
    medley_status st = get_array(s, tree, "split_type", x->n, &v);
    for (size_t i = 0; st == MEDLEY_OK && i < x->n; i++, v = json_next(v)) {
        int32_t type = 0;
        if (!as_index(v, 0, 1, &type))
            st = bad_item(s, "split_type", i, "0 or 1");
        else if (type == 1)
            st = refuse(s, MEDLEY_EUNSUPPORTED, "node %zu splits by category", i);
    }
    return st;
}

static medley_status take_vectors(const struct source *s, const json *tree, struct xtree *x)
{
    const char *key = json_get(tree, "leaf_weights") ? "leaf_weights" : "base_weights";
    const json *v = NULL;
    medley_status st = get(s, tree, key, JSON_ARRAY, &v);
    if (st != MEDLEY_OK)
        return st;
    size_t n = json_count(v);
    x->by_leaf = key[0] == 'l';
    x->n_vectors = n / x->n_outputs;
    if (n % x->n_outputs || (!x->by_leaf && x->n_vectors != x->n))
        return refuse(s, MEDLEY_EFORMAT, "'%s' holds %zu values: not %zu for each %s", key, n,
                      x->n_outputs, x->by_leaf ? "leaf" : "node");
    x->vectors = mem_alloc(n, sizeof *x->vectors);
    if (!x->vectors)
        return fail_memory(s->err, "a tree");
    v = json_first(v);
    for (size_t i = 0; i < n; i++, v = json_next(v))
        if (!as_float(v, &x->vectors[i]))
            return bad_item(s, key, i, "a finite number");
    return MEDLEY_OK;
}

static medley_status take_tree(const struct source *s, const json *tree, size_t n_outputs,
                               struct xtree *x)
{
    const json *children = NULL, *param = NULL;
    int64_t said = 0, vector = 1;
    medley_status st = get(s, tree, "left_children", JSON_ARRAY, &children);
    if (st == MEDLEY_OK)
        st = get(s, tree, "tree_param", JSON_OBJECT, &param);
    if (st == MEDLEY_OK)
        st = get_count(s, param, "num_nodes", -1, &said);
    if (st == MEDLEY_OK)
        st = get_count(s, param, "size_leaf_vector", 1, &vector);
    if (st != MEDLEY_OK)
        return st;
    x->n = json_count(children);
    x->n_outputs = vector > 1 ? (size_t)vector : 1;
    if (x->n == 0 || x->n > INT32_MAX || said != (int64_t)x->n)
        return refuse(s, MEDLEY_EFORMAT, "num_nodes is %" PRId64 ", but there are %zu", said,
                      x->n);
    if (vector > 1 && x->n_outputs != n_outputs)
        return refuse(s, MEDLEY_EFORMAT,
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
static medley_status number_nodes(const struct source *s, struct xtree *x, size_t n_features,
                                  uint32_t *n_leaves)
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
            return bad_item(s, "split_conditions", (size_t)at, "a finite number");
        if (n->left == -1) {
            n->id = ~leaves++;
            if (x->by_leaf && (n->right < 0 || (size_t)n->right >= x->n_vectors))
                return refuse(s, MEDLEY_EFORMAT, "leaf %d has no values in 'leaf_weights'", at);
            if (!x->vectors && n->right != -1)
                return refuse(s, MEDLEY_EFORMAT, "node %d has only a right child", at);
            continue;
        }
        n->id = nodes++;
        if (n->feature >= n_features)
            return refuse(s, MEDLEY_EFORMAT, "node %d splits by feature %u of %zu", at,
                          n->feature, n_features);
        for (int side = 0; side < 2; side++) {
            int32_t c = children[side];
            if (c < 0)
                return refuse(s, MEDLEY_EFORMAT, "node %d has only one child", at);
            if (x->nodes[c].id != UNSEEN)
                return refuse(s, MEDLEY_EFORMAT, "node %d is the child of two nodes", c);
            x->nodes[c].id = 0; /* seen; numbered when its turn comes */
            x->stack[depth++] = c;
        }
    }
    if (leaves > GBDT_MAX_LEAVES)
        return refuse(s, MEDLEY_EUNSUPPORTED, "a tree of %d leaves (at most %d)", leaves,
                      GBDT_MAX_LEAVES);
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

static medley_status read_tree(const struct source *s, const json *json_tree,
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
            place(s, st);
    }
    for (size_t i = 0; st == MEDLEY_OK && i < (size_t)leaves * x.n_outputs; i++)
        if (!isfinite(t->values[i]))
            st = refuse(s, MEDLEY_EFORMAT, "a leaf's value times its weight is not finite");
    if (st == MEDLEY_OK && leaves > 1 && !positive)
        m->cover = MEDLEY_COVER_NONE;
    xtree_deinit(&x);
    if (st == MEDLEY_OK)
        *out = t;
    else
        tree_free(t);
    return st;
}

/* ---- the forest ---- */

struct forest_parts {
    const json *trees, *info, *weights; /* weights of DART, or NULL */
    struct tree **list;                 /* [n] in the file's order; NULL once taken */
    size_t n;
};

static medley_status find_trees(const struct source *s, const json *booster,
                                struct forest_parts *p)
{
    const json *name = NULL, *model = NULL;
    const char *kind = "";
    medley_status st = get(s, booster, "name", JSON_STRING, &name);
    if (st != MEDLEY_OK)
        return st;
    json_as_text(name, &kind);
    if (strcmp(kind, "dart") == 0) {
        st = get(s, booster, "weight_drop", JSON_ARRAY, &p->weights);
        if (st == MEDLEY_OK)
            st = get(s, booster, "gbtree", JSON_OBJECT, &booster);
    } else if (strcmp(kind, "gbtree") != 0) {
        return refuse(s, MEDLEY_EUNSUPPORTED, "booster '%.40s' (expected gbtree or dart)",
                      kind);
    }
    if (st == MEDLEY_OK)
        st = get(s, booster, "model", JSON_OBJECT, &model);
    if (st == MEDLEY_OK)
        st = get(s, model, "trees", JSON_ARRAY, &p->trees);
    if (st != MEDLEY_OK)
        return st;
    p->n = json_count(p->trees);
    st = get_array(s, model, "tree_info", p->n, &p->info);
    if (st == MEDLEY_OK && p->weights && json_count(p->weights) != p->n)
        st = refuse(s, MEDLEY_EFORMAT, "'weight_drop' holds %zu values for %zu trees",
                    json_count(p->weights), p->n);
    return st;
}

static medley_status read_list(struct source *s, struct medley_gbdt *m, struct forest_parts *p)
{
    const json *tree = json_first(p->trees), *info = p->info;
    const json *weight = p->weights ? json_first(p->weights) : NULL;
    medley_status st = MEDLEY_OK;
    p->list = mem_zalloc(p->n, sizeof *p->list);
    if (!p->list && p->n)
        return fail_memory(s->err, "a model's trees");
    for (size_t i = 0; st == MEDLEY_OK && i < p->n; i++) {
        int32_t output = 0;
        float factor = 1;
        s->tree = i;
        if (!as_index(info, 0, (int64_t)m->n_classes - 1, &output))
            st = refuse(s, MEDLEY_EFORMAT, "tree_info is not an output from 0 to %zu",
                        m->n_classes - 1);
        if (st == MEDLEY_OK && weight && !as_float(weight, &factor))
            st = refuse(s, MEDLEY_EFORMAT, "weight_drop is not a finite number");
        if (st == MEDLEY_OK && json_kind_of(tree) != JSON_OBJECT)
            st = refuse(s, MEDLEY_EFORMAT, "not an object");
        if (st == MEDLEY_OK)
            st = read_tree(s, tree, m, (double)factor, &p->list[i]);
        if (st == MEDLEY_OK && p->list[i]->n_outputs == 1)
            p->list[i]->first_class = (uint32_t)output;
        tree = json_next(tree);
        info = json_next(info);
        weight = weight ? json_next(weight) : NULL;
    }
    s->tree = SIZE_MAX;
    return st;
}

/* The next tree of a class, or a tree of nothing when there are no more. */
static struct tree *next_of_class(struct forest_parts *p, uint32_t c, size_t *at)
{
    while (*at < p->n && (!p->list[*at] || p->list[*at]->first_class != c))
        ++*at;
    if (*at == p->n)
        return tree_new(1, 1, c);
    struct tree *t = p->list[*at];
    p->list[(*at)++] = NULL;
    return t;
}

static medley_status arrange(const struct source *s, struct medley_gbdt *m,
                             struct forest_parts *p)
{
    size_t at[GBDT_MAX_CLASSES] = {0}, of_class[GBDT_MAX_CLASSES] = {0}, rounds = 0;
    size_t vectors = 0, outputs = m->n_classes;
    for (size_t i = 0; i < p->n; i++) {
        vectors += p->list[i]->n_outputs > 1;
        size_t *n = &of_class[p->list[i]->first_class];
        rounds = ++*n > rounds ? *n : rounds;
    }
    if (vectors != 0 && vectors != p->n)
        return refuse(s, MEDLEY_EUNSUPPORTED, "trees of one output beside trees of several");
    if (vectors) {
        m->kind = MEDLEY_TREES_VECTOR;
        outputs = 1;
    }
    for (size_t r = 0; r < rounds; r++)
        for (size_t c = 0; c < outputs; c++) {
            struct tree *t = next_of_class(p, (uint32_t)c, &at[c]);
            if (!t || !gbdt_add_tree(m, t)) {
                tree_free(t);
                return fail_memory(s->err, "a model's trees");
            }
        }
    return MEDLEY_OK;
}

static medley_status read_forest(struct source *s, const json *learner, struct medley_gbdt *m)
{
    struct forest_parts p = {0};
    const json *booster = NULL;
    medley_status st = get(s, learner, "gradient_booster", JSON_OBJECT, &booster);
    m->cover = MEDLEY_COVER_HESSIAN;
    if (st == MEDLEY_OK)
        st = find_trees(s, booster, &p);
    if (st == MEDLEY_OK)
        st = read_list(s, m, &p);
    if (st == MEDLEY_OK)
        st = arrange(s, m, &p);
    for (size_t i = 0; p.list && i < p.n; i++)
        tree_free(p.list[i]);
    mem_free(p.list);
    return st;
}

/* ---- the head ---- */

static bool to_margin(double v, enum base_link link, double *out)
{
    if (link == BASE_LOGIT) {
        *out = log(v / (1 - v));
        return v > 0 && v < 1;
    }
    if (link == BASE_LOG) {
        *out = log(v);
        return v > 0;
    }
    *out = v;
    return true;
}

/* "5E-1", a number, or "[a,b]" with one number or one for each output. */
static medley_status read_base(const struct source *s, const json *param, enum base_link link,
                               struct medley_gbdt *m)
{
    const json *v = json_get(param, "base_score");
    const char *text = NULL;
    double number = 0;
    size_t n = 0;
    if (json_as_double(v, &number)) {
        for (; n < m->n_classes; n++)
            if (!to_margin(number, link, &m->base[n]))
                return refuse(s, MEDLEY_EFORMAT, "'base_score' does not go with the objective");
        return MEDLEY_OK;
    }
    if (!json_as_text(v, &text))
        return refuse(s, MEDLEY_EFORMAT, "'base_score' is missing or no text");
    struct str rest = str_trim(str_of(text));
    if (rest.n >= 2 && rest.s[0] == '[' && rest.s[rest.n - 1] == ']')
        rest = (struct str){rest.s + 1, rest.n - 2};
    while (rest.s) {
        const char *comma = rest.n ? memchr(rest.s, ',', rest.n) : NULL;
        struct str word = {rest.s, comma ? (size_t)(comma - rest.s) : rest.n};
        rest = comma ? (struct str){comma + 1, rest.n - word.n - 1} : (struct str){NULL, 0};
        if (n == m->n_classes || !str_to_double(str_trim(word), &number) ||
            !to_margin(number, link, &m->base[n]))
            return refuse(s, MEDLEY_EFORMAT,
                          "'base_score': '%.*s' is not a start for the objective, or too many",
                          shown(word), word.s);
        n++;
    }
    if (n != 1 && n != m->n_classes)
        return refuse(s, MEDLEY_EFORMAT, "'base_score' holds %zu numbers for %zu outputs", n,
                      m->n_classes);
    for (; n < m->n_classes; n++)
        m->base[n] = m->base[0];
    return MEDLEY_OK;
}

static medley_status read_objective(const struct source *s, const json *learner,
                                    const struct xgboost_objective **out)
{
    const json *objective = NULL, *name = NULL;
    const char *text = "";
    medley_status st = get(s, learner, "objective", JSON_OBJECT, &objective);
    if (st == MEDLEY_OK)
        st = get(s, objective, "name", JSON_STRING, &name);
    if (st != MEDLEY_OK)
        return st;
    json_as_text(name, &text);
    for (const struct xgboost_objective *o = xgboost_objectives; o->name; o++)
        if (strcmp(o->name, text) == 0) {
            *out = o;
            return MEDLEY_OK;
        }
    return refuse(s, MEDLEY_EUNSUPPORTED, "objective '%.40s'", text);
}

static medley_status read_names(const struct source *s, const json *learner,
                                struct medley_gbdt *m)
{
    const json *names = json_get(learner, "feature_names"), *v;
    if (json_count(names) == 0)
        return MEDLEY_OK;
    if (json_count(names) != m->n_features)
        return refuse(s, MEDLEY_EFORMAT, "'feature_names' holds %zu names for %zu features",
                      json_count(names), m->n_features);
    const char **list = mem_zalloc(m->n_features, sizeof *list);
    if (!list)
        return fail_memory(s->err, "feature names");
    v = json_first(names);
    for (size_t i = 0; i < m->n_features; i++, v = json_next(v))
        json_as_text(v, &list[i]); /* stays NULL, which is refused */
    medley_status st = medley_gbdt_set_feature_names(m, list, s->err);
    if (st == MEDLEY_EINVAL)
        st = refuse(s, MEDLEY_EFORMAT, "'feature_names' holds an empty or broken name");
    mem_free(list);
    return st;
}

static medley_status read_head(const struct source *s, const json *learner,
                               struct medley_gbdt **out)
{
    const struct xgboost_objective *objective = NULL;
    const json *param = NULL;
    int64_t classes = 0, targets = 1, features = 0;
    medley_status st = read_objective(s, learner, &objective);
    if (st == MEDLEY_OK)
        st = get(s, learner, "learner_model_param", JSON_OBJECT, &param);
    if (st == MEDLEY_OK)
        st = get_count(s, param, "num_class", -1, &classes);
    if (st == MEDLEY_OK)
        st = get_count(s, param, "num_target", 1, &targets);
    if (st == MEDLEY_OK)
        st = get_count(s, param, "num_feature", -1, &features);
    if (st != MEDLEY_OK)
        return st;
    int64_t outputs = classes > targets ? classes : targets > 1 ? targets : 1;
    if (outputs > GBDT_MAX_CLASSES)
        return refuse(s, MEDLEY_EUNSUPPORTED, "%" PRId64 " outputs (at most %d)", outputs,
                      GBDT_MAX_CLASSES);
    if (features < 1 || features > GBDT_MAX_FEATURES)
        return refuse(s, MEDLEY_EUNSUPPORTED, "%" PRId64 " features (expected 1 to %d)",
                      features, GBDT_MAX_FEATURES);
    if (objective->link == MEDLEY_LINK_SOFTMAX && outputs < 2)
        return refuse(s, MEDLEY_EFORMAT, "'num_class' is %" PRId64 " in %s", classes,
                      objective->name);
    *out = gbdt_new((size_t)features, (size_t)outputs, MEDLEY_TREES_PER_CLASS);
    if (!*out)
        return fail_memory(s->err, "a model");
    (*out)->link = objective->link;
    st = read_base(s, param, objective->base, *out);
    return st == MEDLEY_OK ? read_names(s, learner, *out) : st;
}

/* XGBoost writes NaN and Infinity, which JSON does not have: null says as much here. Appends
 * the text with these words replaced outside strings. */
static void replace_words(struct str data, struct strbuf *out)
{
    static const char *const words[] = {"NaN", "-NaN", "Infinity", "-Infinity"};
    bool quoted = false;
    size_t from = 0;
    for (size_t i = 0; i < data.n; i++) {
        char c = data.s[i];
        if (quoted && c == '\\')
            i++; /* whatever follows is part of the text */
        else if (c == '"')
            quoted = !quoted;
        if (quoted || (c != 'N' && c != '-' && c != 'I'))
            continue;
        for (size_t w = 0; w < 4; w++) {
            size_t n = strlen(words[w]);
            if (data.n - i < n || memcmp(data.s + i, words[w], n) != 0)
                continue;
            sb_add(out, data.s + from, i - from);
            sb_addz(out, "null");
            from = i + n;
            i = from - 1;
            break;
        }
    }
    sb_add(out, data.s + from, data.n - from);
}

static medley_status read_text(const char *path, struct str data, medley_gbdt **out,
                               medley_error *err)
{
    struct source s = {.path = path, .err = err, .tree = SIZE_MAX};
    const json *learner = NULL;
    json *root = NULL;
    struct medley_gbdt *m = NULL;
    medley_status st = json_parse(data, path, &root, err);
    if (st == MEDLEY_OK)
        st = get(&s, root, "learner", JSON_OBJECT, &learner);
    if (st == MEDLEY_OK)
        st = read_head(&s, learner, &m);
    if (st == MEDLEY_OK)
        st = read_forest(&s, learner, m);
    json_free(root);
    if (st == MEDLEY_OK)
        *out = m;
    else
        medley_gbdt_free(m);
    return st;
}

static medley_status read_json(const char *path, struct str data, medley_gbdt **out,
                               medley_error *err)
{
    struct strbuf text;
    if (!memmem(data.s, data.n, "NaN", 3) && !memmem(data.s, data.n, "Infinity", 8))
        return read_text(path, data, out, err);
    sb_init(&text);
    replace_words(data, &text);
    medley_status st =
        text.failed ? fail_memory(err, path) : read_text(path, sb_str(&text), out, err);
    sb_deinit(&text);
    return st;
}

static medley_status read_ubj(const char *path, struct str data, medley_gbdt **out,
                              medley_error *err)
{
    struct strbuf text;
    sb_init(&text);
    medley_status st = ubjson_to_json(data, path, &text, err);
    if (text.failed)
        st = fail_memory(err, path);
    if (st == MEDLEY_OK)
        st = read_text(path, sb_str(&text), out, err);
    sb_deinit(&text);
    return st;
}

/* UBJSON's "{" is followed by the length of a key, JSON's by a space or a quote. */
static bool is_ubj(struct str data)
{
    return data.n > 1 && data.s[0] == '{' && data.s[1] && strchr("LlIiU#$N", data.s[1]);
}

static bool is_json(struct str data)
{
    struct str trimmed = str_trim(data);
    return trimmed.n > 0 && trimmed.s[0] == '{' && !is_ubj(data);
}

const struct model_format model_format_xgboost_json = {"xgboost-json", is_json, read_json,
                                                       xgboost_write_json};
const struct model_format model_format_xgboost_ubj = {"xgboost-ubj", is_ubj, read_ubj,
                                                      xgboost_write_ubj};
