/* model_lightgbm.c: reads LightGBM's text models, v3 and v4.
 *
 * LightGBM compares in double: x <= t with t rounded down to a float gives the same answer for
 * every float x. It takes |x| <= 1e-35 for 0, so a threshold in there moves to the end of that
 * range that 0 is not beyond. Where NaN goes depends on the split's missing type: none  NaN
 * counts as 0, so it goes where 0 goes; nan   NaN goes to the default side; zero  NaN and |x|
 * <= 1e-35 go to the default side, whatever the threshold. That is one comparison too, unless
 * the zeros were taken out of the middle of a side; such a split is refused. Trees come round
 * by round, class by class. Boosting from the average is inside the first trees' leaves; a
 * random forest (average_output) divides by its rounds. Covers are numbers of rows, which is
 * what LightGBM's own pred_contrib uses.
 *
 * Proof: tests/test_gbdt_lightgbm.c, fuzz/fuzz_lightgbm.c. */
#include "gbdt/model_lightgbm.h"
#include "gbdt/text_reader.h"

#include "base/error.h"
#include "base/memory.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

/* ---- KEY=VALUE lines in any order ---- */

struct field {
    const char *key;
    bool needed;
    struct str value; /* s is NULL: absent */
    size_t line;
};

static bool at_end_of_block(const struct reader *r)
{
    return str_starts(r->rest, "Tree=") || str_starts(r->rest, "end of trees");
}

static medley_status note_field(struct reader *r, struct str key, struct str value,
                                struct field *fields)
{
    for (struct field *f = fields; f->key; f++) {
        if (!str_is(key, f->key))
            continue;
        if (f->value.s)
            return reader_bad(r, "%s: again, after line %zu", f->key, f->line);
        f->value = value;
        f->line = r->line;
    }
    return MEDLEY_OK;
}

/* The lines up to the next tree or the end of trees; keys that nobody asked for are skipped. */
static medley_status read_block(struct reader *r, struct field *fields)
{
    while (!at_end_of_block(r)) {
        medley_status st = reader_line(r);
        if (st != MEDLEY_OK)
            return st;
        struct str line = str_trim(r->text), value = {"", 0};
        const char *equals = line.n ? memchr(line.s, '=', line.n) : NULL;
        if (equals) {
            value = (struct str){equals + 1, (size_t)(line.s + line.n - equals) - 1};
            line.n = (size_t)(equals - line.s);
        }
        st = note_field(r, line, value, fields);
        if (st != MEDLEY_OK)
            return st;
    }
    for (const struct field *f = fields; f->key; f++)
        if (f->needed && !f->value.s)
            return reader_bad(r, "'%s=' is missing above", f->key);
    return MEDLEY_OK;
}

/* Turns the reader to a field that was read before. */
static void go_to(struct reader *r, const struct field *f)
{
    r->text = f->value;
    r->line = f->line;
}

static medley_status field_integer(struct reader *r, const struct field *f, int64_t min,
                                   int64_t max, int64_t *out)
{
    size_t line = r->line;
    go_to(r, f);
    medley_status st = reader_integer(r, f->key, min, max, out);
    if (st == MEDLEY_OK)
        st = reader_used_up(r, f->key);
    if (st == MEDLEY_OK)
        r->line = line;
    return st;
}

/* ---- the head ---- */

enum {
    H_VERSION,
    H_CLASSES,
    H_PER_ITERATION,
    H_LAST_FEATURE,
    H_OBJECTIVE,
    H_AVERAGE,
    H_NAMES,
    H_SIZES,
    H_COUNT
};

static const struct field head_fields[H_COUNT + 1] = {
    [H_VERSION] = {"version", true, {0}, 0},
    [H_CLASSES] = {"num_class", true, {0}, 0},
    [H_PER_ITERATION] = {"num_tree_per_iteration", true, {0}, 0},
    [H_LAST_FEATURE] = {"max_feature_idx", true, {0}, 0},
    [H_OBJECTIVE] = {"objective", false, {0}, 0},
    [H_AVERAGE] = {"average_output", false, {0}, 0},
    [H_NAMES] = {"feature_names", false, {0}, 0},
    [H_SIZES] = {"tree_sizes", false, {0}, 0},
};

static const struct objective {
    const char *name;
    enum medley_link link;
} objectives[] = {
    {"multiclass", MEDLEY_LINK_SOFTMAX},
    {"multiclassova", MEDLEY_LINK_SIGMOID},
    {"binary", MEDLEY_LINK_SIGMOID},
    {"cross_entropy", MEDLEY_LINK_SIGMOID},
    {"xentropy", MEDLEY_LINK_SIGMOID},
    {"regression", MEDLEY_LINK_IDENTITY},
    {"regression_l2", MEDLEY_LINK_IDENTITY},
    {"regression_l1", MEDLEY_LINK_IDENTITY},
    {"huber", MEDLEY_LINK_IDENTITY},
    {"fair", MEDLEY_LINK_IDENTITY},
    {"quantile", MEDLEY_LINK_IDENTITY},
    {"mape", MEDLEY_LINK_IDENTITY},
    {"lambdarank", MEDLEY_LINK_IDENTITY},
    {"rank_xendcg", MEDLEY_LINK_IDENTITY},
    {"custom", MEDLEY_LINK_IDENTITY},
    {"poisson", MEDLEY_LINK_EXP},
    {"gamma", MEDLEY_LINK_EXP},
    {"tweedie", MEDLEY_LINK_EXP},
};

static struct str take_word(struct str *rest)
{
    const char *space = rest->n ? memchr(rest->s, ' ', rest->n) : NULL;
    struct str word = {rest->s, space ? (size_t)(space - rest->s) : rest->n};
    size_t used = word.n + (space ? 1 : 0);
    *rest = (struct str){rest->s + used, rest->n - used};
    return word;
}

/* "multiclassova num_class:4 sigmoid:1". */
static medley_status read_objective(struct reader *r, const struct field *f,
                                    struct medley_gbdt *m)
{
    m->link = MEDLEY_LINK_IDENTITY; /* without an objective LightGBM predicts margins */
    if (f->value.n == 0)
        return MEDLEY_OK;
    struct str rest = f->value, name = take_word(&rest);
    r->line = f->line;
    const struct objective *o = objectives;
    size_t n = sizeof objectives / sizeof objectives[0];
    while (n > 0 && !str_is(name, o->name))
        o++, n--;
    if (n == 0)
        return reader_unsupported(r, "objective '%.*s'", shown(name), name.s);
    m->link = o->link;
    while (rest.n > 0) {
        struct str word = take_word(&rest);
        if (str_is(word, "sqrt"))
            return reader_unsupported(r, "objective '%s sqrt'", o->name);
        if (!str_starts(word, "sigmoid:"))
            continue;
        struct str number = {word.s + 8, word.n - 8};
        if (!str_to_double(number, &m->link_scale) || !(m->link_scale > 0))
            return reader_bad(r, "objective: '%.*s' is not above zero", shown(word), word.s);
    }
    if (m->link == MEDLEY_LINK_SOFTMAX && m->n_classes < 2)
        return reader_bad(r, "objective: multiclass with one class");
    return MEDLEY_OK;
}

/* LightGBM's own Column_0, Column_1, ... tell nothing and are dropped. */
static bool names_say_nothing(struct str names, size_t n)
{
    char own[32];
    for (size_t i = 0; i < n; i++) {
        snprintf(own, sizeof own, "Column_%zu", i);
        if (!str_is(take_word(&names), own))
            return false;
    }
    return names.n == 0;
}

static medley_status read_names(struct reader *r, const struct field *f, struct medley_gbdt *m)
{
    struct str rest = f->value;
    if (!rest.s || names_say_nothing(rest, m->n_features))
        return MEDLEY_OK;
    r->line = f->line;
    m->names = mem_zalloc(m->n_features, sizeof *m->names);
    if (!m->names)
        return fail_memory(r->err, "feature names");
    for (size_t i = 0; i < m->n_features; i++) {
        struct str name = take_word(&rest);
        if (name.n == 0 || memchr(name.s, 0, name.n) || memchr(name.s, '\r', name.n))
            return reader_bad(r, "feature_names: name %zu of %zu is missing or broken", i,
                              m->n_features);
        m->names[i] = mem_strndup(name.s, name.n);
        if (!m->names[i])
            return fail_memory(r->err, "feature names");
    }
    return rest.n ? reader_bad(r, "feature_names: more than %zu", m->n_features) : MEDLEY_OK;
}

static medley_status read_version(struct reader *r, const struct field *f)
{
    if (str_is(f->value, "v3") || str_is(f->value, "v4"))
        return MEDLEY_OK;
    r->line = f->line;
    return reader_unsupported(r, "version '%.*s' (expected v3 or v4)", shown(f->value),
                              f->value.s);
}

struct head {
    bool average;
    size_t trees_said; /* by tree_sizes; SIZE_MAX: not said */
};

static medley_status read_head(struct reader *r, struct medley_gbdt **out, struct head *head)
{
    struct field f[H_COUNT + 1];
    int64_t outputs = 0, classes = 0, last = 0;
    memcpy(f, head_fields, sizeof f);
    medley_status st = reader_line(r);
    if (st == MEDLEY_OK)
        st = read_block(r, f);
    size_t line = r->line;
    if (st == MEDLEY_OK)
        st = read_version(r, &f[H_VERSION]);
    if (st == MEDLEY_OK)
        st = field_integer(r, &f[H_CLASSES], 1, INT32_MAX, &classes);
    if (st == MEDLEY_OK)
        st = field_integer(r, &f[H_PER_ITERATION], 1, INT32_MAX, &outputs);
    if (st == MEDLEY_OK)
        st = field_integer(r, &f[H_LAST_FEATURE], 0, GBDT_MAX_FEATURES - 1, &last);
    if (st == MEDLEY_OK && outputs > GBDT_MAX_CLASSES)
        st = reader_unsupported(r, "%" PRId64 " outputs (at most %d)", outputs,
                                GBDT_MAX_CLASSES);
    if (st != MEDLEY_OK)
        return st;
    *out = gbdt_new((size_t)last + 1, (size_t)outputs, MEDLEY_TREES_PER_CLASS);
    if (!*out)
        return fail_memory(r->err, "a model");
    head->average = f[H_AVERAGE].value.s != NULL;
    head->trees_said = SIZE_MAX;
    struct str sizes = f[H_SIZES].value;
    if (sizes.s) {
        head->trees_said = sizes.n ? 1 : 0;
        for (size_t i = 0; i < sizes.n; i++)
            head->trees_said += sizes.s[i] == ' ';
    }
    st = read_objective(r, &f[H_OBJECTIVE], *out);
    if (st == MEDLEY_OK)
        st = read_names(r, &f[H_NAMES], *out);
    if (st == MEDLEY_OK)
        r->line = line;
    return st;
}

/* ---- trees ---- */

enum {
    T_LEAVES,
    T_CATEGORICAL,
    T_FEATURE,
    T_THRESHOLD,
    T_DECISION,
    T_LEFT,
    T_RIGHT,
    T_VALUE,
    T_LEAF_COUNT,
    T_NODE_COUNT,
    T_LINEAR,
    T_FIELDS
};

static const struct field tree_fields[T_FIELDS + 1] = {
    [T_LEAVES] = {"num_leaves", true, {0}, 0},
    [T_CATEGORICAL] = {"num_cat", false, {0}, 0},
    [T_FEATURE] = {"split_feature", false, {0}, 0},
    [T_THRESHOLD] = {"threshold", false, {0}, 0},
    [T_DECISION] = {"decision_type", false, {0}, 0},
    [T_LEFT] = {"left_child", false, {0}, 0},
    [T_RIGHT] = {"right_child", false, {0}, 0},
    [T_VALUE] = {"leaf_value", true, {0}, 0},
    [T_LEAF_COUNT] = {"leaf_count", false, {0}, 0},
    [T_NODE_COUNT] = {"internal_count", false, {0}, 0},
    [T_LINEAR] = {"is_linear", false, {0}, 0},
};

#define ZERO 1e-35f /* as LightGBM counts */

enum { CATEGORICAL = 1, DEFAULT_LEFT = 2, MISSING_NONE = 0, MISSING_ZERO = 1, MISSING_NAN = 2 };

static void split_at_most(struct tree_node *n, double t)
{
    if (t >= -ZERO && t < 0)
        node_split_below(n, -ZERO);
    else
        node_split_at_most(n, t >= 0 && t < ZERO ? ZERO : t);
}

/* The zeros leave their natural side for the default side; see the top. */
static bool split_zero_missing(struct tree_node *n, double t, bool default_left)
{
    n->missing_left = default_left;
    if (default_left ? t < -ZERO : t > ZERO)
        return false;
    if (default_left)
        node_split_at_most(n, t > ZERO ? t : ZERO);
    else if (t < -ZERO)
        node_split_at_most(n, t);
    else
        node_split_below(n, -ZERO);
    return true;
}

static medley_status set_split(struct reader *r, struct tree *t, uint32_t i, double threshold,
                               int64_t decision)
{
    struct tree_node *n = &t->nodes[i];
    int64_t missing = decision >> 2;
    bool default_left = decision & DEFAULT_LEFT;
    if (decision & CATEGORICAL)
        return reader_unsupported(r, "node %u splits by category", i);
    if (missing > MISSING_NAN)
        return reader_bad(r, "decision_type: node %u has the unknown %" PRId64, i, decision);
    if (missing == MISSING_ZERO) {
        if (!split_zero_missing(n, threshold, default_left))
            return reader_unsupported(r,
                                      "node %u takes zeros out of the middle of a side "
                                      "(zero_as_missing)",
                                      i);
        return MEDLEY_OK;
    }
    n->missing_left = missing == MISSING_NAN ? default_left : 0 <= threshold;
    split_at_most(n, threshold);
    return MEDLEY_OK;
}

/* A split of missing from present rows has the threshold inf. */
static medley_status read_threshold(struct reader *r, double *out)
{
    struct str rest = r->text, word = take_word(&rest);
    bool below = str_is(word, "-inf");
    if (!below && !str_is(word, "inf"))
        return reader_double(r, "threshold", out);
    r->text = rest;
    *out = below ? -INFINITY : INFINITY;
    return MEDLEY_OK;
}

static medley_status read_splits(struct reader *r, const struct field *f, struct tree *t)
{
    medley_status st = MEDLEY_OK;
    struct reader decisions = *r;
    go_to(r, &f[T_THRESHOLD]);
    go_to(&decisions, &f[T_DECISION]);
    for (uint32_t i = 0; st == MEDLEY_OK && i + 1 < t->n_leaves; i++) {
        double threshold = 0;
        int64_t decision = 0;
        st = read_threshold(r, &threshold);
        if (st == MEDLEY_OK)
            st = reader_integer(&decisions, "decision_type", 0, 127, &decision);
        if (st == MEDLEY_OK)
            st = set_split(&decisions, t, i, threshold, decision);
    }
    if (st == MEDLEY_OK)
        st = reader_used_up(r, "threshold");
    return st == MEDLEY_OK ? reader_used_up(&decisions, "decision_type") : st;
}

typedef void put_integer(struct tree *t, size_t i, int64_t v);

static medley_status read_integers(struct reader *r, const struct field *f, size_t n,
                                   int64_t min, int64_t max, struct tree *t, put_integer *put)
{
    medley_status st = MEDLEY_OK;
    go_to(r, f);
    for (size_t i = 0; st == MEDLEY_OK && i < n; i++) {
        int64_t v = 0;
        st = reader_integer(r, f->key, min, max, &v);
        if (st == MEDLEY_OK)
            put(t, i, v);
    }
    return st == MEDLEY_OK ? reader_used_up(r, f->key) : st;
}

static void put_feature(struct tree *t, size_t i, int64_t v)
{
    t->nodes[i].feature = (uint32_t)v;
}

static void put_left(struct tree *t, size_t i, int64_t v)
{
    t->nodes[i].left = (int32_t)v;
}

static void put_right(struct tree *t, size_t i, int64_t v)
{
    t->nodes[i].right = (int32_t)v;
}

static void put_node_count(struct tree *t, size_t i, int64_t v)
{
    t->nodes[i].count = (double)v;
}

static void put_leaf_count(struct tree *t, size_t i, int64_t v)
{
    t->counts[i] = (double)v;
}

static medley_status read_values(struct reader *r, const struct field *f, struct tree *t)
{
    medley_status st = MEDLEY_OK;
    go_to(r, f);
    for (uint32_t i = 0; st == MEDLEY_OK && i < t->n_leaves; i++) {
        double v = 0;
        st = reader_float(r, f->key, &v);
        if (st == MEDLEY_OK)
            t->values[i] = (float)v;
    }
    return st == MEDLEY_OK ? reader_used_up(r, f->key) : st;
}

static medley_status read_covers(struct reader *r, const struct field *f, struct medley_gbdt *m,
                                 struct tree *t)
{
    bool positive = f[T_LEAF_COUNT].value.s && f[T_NODE_COUNT].value.s;
    medley_status st = MEDLEY_OK;
    if (positive) {
        st = read_integers(r, &f[T_LEAF_COUNT], t->n_leaves, 0, INT32_MAX, t, put_leaf_count);
        if (st == MEDLEY_OK)
            st = read_integers(r, &f[T_NODE_COUNT], t->n_leaves - 1, 0, INT32_MAX, t,
                               put_node_count);
        if (st == MEDLEY_OK && tree_check_covers(t, 0, &positive, r->err) != MEDLEY_OK)
            st = reader_within(r);
    }
    if (!positive)
        m->cover = MEDLEY_COVER_NONE;
    return st;
}

/* A tree of one leaf may lack everything but its value. */
static medley_status read_nodes(struct reader *r, const struct field *f, struct medley_gbdt *m,
                                struct tree *t)
{
    static const int needed[] = {T_FEATURE, T_THRESHOLD, T_DECISION, T_LEFT, T_RIGHT};
    size_t nodes = t->n_leaves - 1;
    int64_t least = -(int64_t)t->n_leaves, last = (int64_t)nodes - 1;
    if (nodes == 0)
        return MEDLEY_OK;
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++)
        if (!f[needed[i]].value.s)
            return reader_bad(r, "'%s=' is missing above", f[needed[i]].key);
    medley_status st =
        read_integers(r, &f[T_FEATURE], nodes, 0, (int64_t)m->n_features - 1, t, put_feature);
    if (st == MEDLEY_OK)
        st = read_integers(r, &f[T_LEFT], nodes, least, last, t, put_left);
    if (st == MEDLEY_OK)
        st = read_integers(r, &f[T_RIGHT], nodes, least, last, t, put_right);
    if (st == MEDLEY_OK && tree_check_shape(t, r->err) != MEDLEY_OK)
        st = reader_within(r);
    if (st == MEDLEY_OK)
        st = read_splits(r, f, t); /* may swap children */
    return st == MEDLEY_OK ? read_covers(r, f, m, t) : st;
}

static medley_status read_kind(struct reader *r, const struct field *f, int64_t *leaves)
{
    int64_t number = 0;
    medley_status st = field_integer(r, &f[T_LEAVES], 1, INT32_MAX, leaves);
    if (st == MEDLEY_OK && *leaves > TREE_MAX_LEAVES)
        st = reader_unsupported(r, "a tree of %" PRId64 " leaves (at most %d)", *leaves,
                                TREE_MAX_LEAVES);
    if (st == MEDLEY_OK && f[T_CATEGORICAL].value.s)
        st = field_integer(r, &f[T_CATEGORICAL], 0, INT32_MAX, &number);
    if (st == MEDLEY_OK && number > 0)
        st = reader_unsupported(r, "a tree with splits by category");
    number = 0;
    if (st == MEDLEY_OK && f[T_LINEAR].value.s)
        st = field_integer(r, &f[T_LINEAR], 0, 1, &number);
    if (st == MEDLEY_OK && number > 0)
        st = reader_unsupported(r, "a tree with linear leaves");
    return st;
}

static medley_status read_tree(struct reader *r, struct medley_gbdt *m)
{
    struct field f[T_FIELDS + 1];
    int64_t number = 0, leaves = 0, expected = (int64_t)m->n_trees;
    memcpy(f, tree_fields, sizeof f);
    medley_status st = reader_key(r, "Tree");
    if (st == MEDLEY_OK) {
        r->text = str_trim(r->text);
        st = reader_integer(r, "Tree", expected, expected, &number);
    }
    if (st == MEDLEY_OK)
        st = read_block(r, f);
    size_t line = r->line;
    if (st == MEDLEY_OK)
        st = read_kind(r, f, &leaves);
    if (st != MEDLEY_OK)
        return st;
    struct tree *t = tree_new((uint32_t)leaves, 1, (uint32_t)(m->n_trees % m->n_classes));
    if (!t)
        return fail_memory(r->err, "a tree");
    st = read_nodes(r, f, m, t);
    if (st == MEDLEY_OK)
        st = read_values(r, &f[T_VALUE], t);
    if (st == MEDLEY_OK && !gbdt_add_tree(m, t))
        st = fail_memory(r->err, "a model's trees");
    if (st != MEDLEY_OK)
        tree_free(t);
    r->line = st == MEDLEY_OK ? line : r->line;
    return st;
}

/* ---- the whole ---- */

/* A random forest answers with the mean of its rounds. */
static void divide_by_rounds(struct medley_gbdt *m)
{
    for (size_t i = 0; i < m->n_trees; i++)
        for (uint32_t j = 0; j < m->trees[i]->n_leaves; j++)
            m->trees[i]->values[j] = (float)(m->trees[i]->values[j] / (double)m->rounds);
}

static medley_status read_trees(struct reader *r, const struct head *head,
                                struct medley_gbdt *m)
{
    medley_status st = MEDLEY_OK;
    while (st == MEDLEY_OK && str_starts(r->rest, "Tree="))
        st = read_tree(r, m);
    if (st == MEDLEY_OK && !str_starts(r->rest, "end of trees"))
        return reader_bad(r, "truncated: 'end of trees' is missing");
    if (st != MEDLEY_OK)
        return st;
    if (head->trees_said != SIZE_MAX && head->trees_said != m->n_trees)
        return reader_bad(r, "tree_sizes: tells of %zu trees, the file has %zu",
                          head->trees_said, m->n_trees);
    if (m->n_trees % m->n_classes)
        return reader_bad(r, "%zu trees are not a multiple of %zu classes", m->n_trees,
                          m->n_classes);
    if (head->average && m->rounds)
        divide_by_rounds(m);
    return MEDLEY_OK;
}

static medley_status read_file(const char *path, struct str data, medley_gbdt **out,
                               medley_error *err)
{
    struct reader r = {.path = path, .rest = data, .err = err};
    struct medley_gbdt *m = NULL;
    struct head head = {0};
    medley_status st = read_head(&r, &m, &head);
    if (st == MEDLEY_OK)
        st = read_trees(&r, &head, m);
    if (st == MEDLEY_OK)
        *out = m;
    else
        medley_gbdt_free(m);
    return st;
}

static bool recognises(struct str data)
{
    return str_starts(data, "tree\n") || str_starts(data, "tree\r\n");
}

const struct model_format model_format_lightgbm = {"lightgbm", recognises, read_file,
                                                   lightgbm_write};
