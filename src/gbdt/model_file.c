/* model_file.c: models as readable text, with the keys of LightGBM where they mean the same.
 *
 *     medley-gbdt 1
 *     trees=per_class            or vector
 *     num_class=4
 *     num_features=24
 *     num_trees=800
 *     base=-0.7 -1.2 -2 -1.6     margins before any tree
 *     feature_name=bert_e        all features or none, in order
 *     Tree=0
 *     num_leaves=3
 *     split_feature=4 0          per node; node 0 is the root
 *     threshold=0.25 0.5         x <= threshold goes left
 *     missing_left=1 0           where NaN goes
 *     left_child=1 -1            a later node, or -1 - leaf
 *     right_child=-3 -2
 *     internal_count=100 60      training rows
 *     leaf_value=0.1 -0.2 0.05   [leaves, outputs]
 *     leaf_count=30 30 40
 *     end of trees
 *
 * Tree t belongs to class t modulo num_class; its round is t / num_class. Loading trusts
 * nothing: every key in order, every count bounded by the file's size before memory is asked
 * for, children later than parents and each used once, counts that add up. Proof:
 * tests/test_gbdt_file.c, fuzz/fuzz_gbdt_model.c. */
#include "gbdt/tree.h"

#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC "medley-gbdt 1"
#define MAX_BYTES ((size_t)4 << 30)

/* ---- writing ---- */

static void write_header(FILE *f, const struct medley_gbdt *m)
{
    fprintf(f, MAGIC "\ntrees=%s\nnum_class=%zu\nnum_features=%zu\nnum_trees=%zu\nbase=",
            m->kind == MEDLEY_TREES_VECTOR ? "vector" : "per_class", m->n_classes,
            m->n_features, m->n_trees);
    for (size_t c = 0; c < m->n_classes; c++)
        fprintf(f, "%s%.17g", c ? " " : "", m->base[c]);
    fputc('\n', f);
    for (size_t i = 0; m->names && i < m->n_features; i++)
        fprintf(f, "feature_name=%s\n", m->names[i]);
}

/* key=v v v: one line per array; nine digits give a float back. */
#define WRITE_LINE(key, n, format, value)                 \
    do {                                                  \
        fputs(key "=", f);                                \
        for (uint32_t i = 0; i < (n); i++)                \
            fprintf(f, "%s" format, i ? " " : "", value); \
        fputc('\n', f);                                   \
    } while (0)

static void write_tree(FILE *f, const struct tree *t)
{
    uint32_t nodes = t->n_leaves - 1;
    fprintf(f, "num_leaves=%u\n", t->n_leaves);
    WRITE_LINE("split_feature", nodes, "%u", t->nodes[i].feature);
    WRITE_LINE("threshold", nodes, "%.9g", (double)t->nodes[i].threshold);
    WRITE_LINE("missing_left", nodes, "%d", t->nodes[i].missing_left);
    WRITE_LINE("left_child", nodes, "%d", (int)t->nodes[i].left);
    WRITE_LINE("right_child", nodes, "%d", (int)t->nodes[i].right);
    WRITE_LINE("internal_count", nodes, "%u", t->nodes[i].count);
    WRITE_LINE("leaf_value", t->n_leaves * t->n_outputs, "%.9g", (double)t->values[i]);
    WRITE_LINE("leaf_count", t->n_leaves, "%u", t->counts[i]);
}

medley_status medley_gbdt_save(const medley_gbdt *model, const char *path, medley_error *err)
{
    struct outfile o = {0};
    medley_status st = outfile_open(&o, path, err);
    if (st != MEDLEY_OK)
        return st;
    write_header(o.f, model);
    for (size_t i = 0; i < model->n_trees; i++) {
        fprintf(o.f, "Tree=%zu\n", i);
        write_tree(o.f, model->trees[i]);
    }
    fputs("end of trees\n", o.f);
    st = outfile_commit(&o, err);
    outfile_abort(&o);
    return st;
}

/* ---- reading: lines and numbers ---- */

struct reader {
    const char *path;
    struct str rest; /* what has not been read */
    size_t line;     /* of `text`, from 1 */
    struct str text; /* the current line, or the rest of its value */
    medley_error *err;
};

static medley_status bad(struct reader *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static medley_status bad(struct reader *r, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfail(r->err, MEDLEY_EFORMAT, format, args);
    va_end(args);
    return fail_within(r->err, MEDLEY_EFORMAT, "%s:%zu", r->path, r->line);
}

static medley_status next_line(struct reader *r)
{
    r->line++;
    const char *end = r->rest.n ? memchr(r->rest.s, '\n', r->rest.n) : NULL;
    if (!end)
        return bad(r, "truncated");
    r->text = (struct str){r->rest.s, (size_t)(end - r->rest.s)};
    r->rest = (struct str){end + 1, r->rest.n - r->text.n - 1};
    return MEDLEY_OK;
}

static bool starts_with(struct str s, const char *prefix)
{
    size_t n = strlen(prefix);
    return s.n >= n && memcmp(s.s, prefix, n) == 0;
}

/* The next line must be KEY=...; leaves the value in r->text. */
static medley_status read_key(struct reader *r, const char *key)
{
    size_t n = strlen(key);
    medley_status st = next_line(r);
    if (st != MEDLEY_OK)
        return st;
    if (!starts_with(r->text, key) || r->text.n == n || r->text.s[n] != '=')
        return bad(r, "'%.*s' where '%s=' should be", (int)(r->text.n < 40 ? r->text.n : 40),
                   r->text.s, key);
    r->text = (struct str){r->text.s + n + 1, r->text.n - n - 1};
    return MEDLEY_OK;
}

/* The next number of a value: up to a space. */
static struct str take_word(struct reader *r)
{
    const char *space = r->text.n ? memchr(r->text.s, ' ', r->text.n) : NULL;
    struct str word = {r->text.s, space ? (size_t)(space - r->text.s) : r->text.n};
    size_t used = word.n + (space ? 1 : 0);
    r->text = (struct str){r->text.s + used, r->text.n - used};
    return word;
}

static medley_status take_integer(struct reader *r, const char *key, int64_t min, int64_t max,
                                  int64_t *out)
{
    struct str word = take_word(r);
    if (!str_to_i64(word, out) || *out < min || *out > max)
        return bad(r, "%s: '%.*s' is not a whole number from %" PRId64 " to %" PRId64, key,
                   (int)(word.n < 40 ? word.n : 40), word.s, min, max);
    return MEDLEY_OK;
}

static medley_status take_double(struct reader *r, const char *key, double *out)
{
    struct str word = take_word(r);
    if (!str_to_double(word, out) ||
        fabs(*out) > 3.4028235677973366e38) /* rounds to infinity */
        return bad(r, "%s: '%.*s' is not a finite number", key,
                   (int)(word.n < 40 ? word.n : 40), word.s);
    return MEDLEY_OK;
}

static medley_status line_used_up(struct reader *r, const char *key)
{
    return r->text.n == 0 ? MEDLEY_OK : bad(r, "%s: more numbers than expected", key);
}

static medley_status read_count(struct reader *r, const char *key, int64_t min, int64_t max,
                                int64_t *out)
{
    medley_status st = read_key(r, key);
    if (st == MEDLEY_OK)
        st = take_integer(r, key, min, max, out);
    return st == MEDLEY_OK ? line_used_up(r, key) : st;
}

/* n integers, each handed to its place by `put`. */
static medley_status read_integers(struct reader *r, const char *key, size_t n, int64_t min,
                                   int64_t max, struct tree *t,
                                   void (*put)(struct tree *t, size_t i, int64_t v))
{
    medley_status st = read_key(r, key);
    for (size_t i = 0; st == MEDLEY_OK && i < n; i++) {
        int64_t v = 0;
        st = take_integer(r, key, min, max, &v);
        if (st == MEDLEY_OK)
            put(t, i, v);
    }
    return st == MEDLEY_OK ? line_used_up(r, key) : st;
}

static medley_status read_floats(struct reader *r, const char *key, size_t n, struct tree *t,
                                 void (*put)(struct tree *t, size_t i, float v))
{
    medley_status st = read_key(r, key);
    for (size_t i = 0; st == MEDLEY_OK && i < n; i++) {
        double v = 0;
        st = take_double(r, key, &v);
        if (st == MEDLEY_OK)
            put(t, i, (float)v);
    }
    return st == MEDLEY_OK ? line_used_up(r, key) : st;
}

/* ---- reading: trees ---- */

static void put_feature(struct tree *t, size_t i, int64_t v)
{
    t->nodes[i].feature = (uint32_t)v;
}

static void put_missing(struct tree *t, size_t i, int64_t v)
{
    t->nodes[i].missing_left = v != 0;
}

static void put_left(struct tree *t, size_t i, int64_t v)
{
    t->nodes[i].left = (int32_t)v;
}

static void put_right(struct tree *t, size_t i, int64_t v)
{
    t->nodes[i].right = (int32_t)v;
}

static void put_count(struct tree *t, size_t i, int64_t v)
{
    t->nodes[i].count = (uint32_t)v;
}

static void put_leaf_count(struct tree *t, size_t i, int64_t v)
{
    t->counts[i] = (uint32_t)v;
}

static void put_threshold(struct tree *t, size_t i, float v)
{
    t->nodes[i].threshold = v;
}

static void put_value(struct tree *t, size_t i, float v)
{
    t->values[i] = v;
}

/* Children later than their parents (so no cycles) and each node and leaf reached exactly once.
 */
static medley_status check_shape(struct reader *r, const struct tree *t)
{
    uint8_t node_seen[GBDT_MAX_LEAVES] = {1}, leaf_seen[GBDT_MAX_LEAVES] = {0};
    for (uint32_t i = 0; i + 1 < t->n_leaves; i++) {
        int32_t children[2] = {t->nodes[i].left, t->nodes[i].right};
        for (int side = 0; side < 2; side++) {
            int32_t c = children[side];
            if (c >= 0 && (uint32_t)c <= i)
                return bad(r, "node %u has the earlier node %d for a child", i, c);
            uint8_t *seen = c >= 0 ? &node_seen[c] : &leaf_seen[~c];
            if (*seen)
                return bad(r, "%s %d is the child of two nodes", c >= 0 ? "node" : "leaf",
                           c >= 0 ? c : ~c);
            *seen = 1;
        }
    }
    return MEDLEY_OK; /* 2 (leaves - 1) distinct children: nobody is left out */
}

static medley_status check_counts(struct reader *r, const struct tree *t)
{
    for (uint32_t i = 0; i + 1 < t->n_leaves; i++) {
        const struct tree_node *n = &t->nodes[i];
        uint64_t left = tree_child_count(t, n->left), right = tree_child_count(t, n->right);
        if (left == 0 || right == 0 || left + right != n->count)
            return bad(r, "node %u has %u rows, its children %" PRIu64 " and %" PRIu64, i,
                       n->count, left, right);
    }
    return MEDLEY_OK;
}

static medley_status read_arrays(struct reader *r, const struct medley_gbdt *m, struct tree *t)
{
    size_t nodes = t->n_leaves - 1;
    int64_t least = -(int64_t)t->n_leaves, last = (int64_t)nodes - 1;
    int64_t features = (int64_t)m->n_features - 1;
    medley_status st = read_integers(r, "split_feature", nodes, 0, features, t, put_feature);
    if (st == MEDLEY_OK)
        st = read_floats(r, "threshold", nodes, t, put_threshold);
    if (st == MEDLEY_OK)
        st = read_integers(r, "missing_left", nodes, 0, 1, t, put_missing);
    if (st == MEDLEY_OK)
        st = read_integers(r, "left_child", nodes, least, last, t, put_left);
    if (st == MEDLEY_OK)
        st = read_integers(r, "right_child", nodes, least, last, t, put_right);
    if (st == MEDLEY_OK)
        st = check_shape(r, t);
    if (st == MEDLEY_OK)
        st = read_integers(r, "internal_count", nodes, 1, UINT32_MAX, t, put_count);
    if (st == MEDLEY_OK)
        st = read_floats(r, "leaf_value", (size_t)t->n_leaves * t->n_outputs, t, put_value);
    if (st == MEDLEY_OK)
        st = read_integers(r, "leaf_count", t->n_leaves, 0, UINT32_MAX, t, put_leaf_count);
    return st == MEDLEY_OK ? check_counts(r, t) : st;
}

static medley_status read_tree(struct reader *r, struct medley_gbdt *m, size_t number)
{
    bool vector = m->kind == MEDLEY_TREES_VECTOR;
    int64_t seen = 0, leaves = 0;
    medley_status st = read_count(r, "Tree", (int64_t)number, (int64_t)number, &seen);
    if (st == MEDLEY_OK)
        st = read_count(r, "num_leaves", 1, GBDT_MAX_LEAVES, &leaves);
    if (st != MEDLEY_OK)
        return st;
    struct tree *t = tree_new((uint32_t)leaves, vector ? (uint32_t)m->n_classes : 1,
                              vector ? 0 : (uint32_t)(number % m->n_classes));
    if (!t)
        return fail_memory(r->err, "a tree");
    st = read_arrays(r, m, t);
    if (st == MEDLEY_OK && !gbdt_add_tree(m, t))
        st = fail_memory(r->err, "a model's trees");
    if (st != MEDLEY_OK)
        tree_free(t);
    return st;
}

/* ---- reading: the whole ---- */

static medley_status read_names(struct reader *r, struct medley_gbdt *m)
{
    if (!starts_with(r->rest, "feature_name="))
        return MEDLEY_OK;
    m->names = mem_zalloc(m->n_features, sizeof *m->names);
    if (!m->names)
        return fail_memory(r->err, "feature names");
    for (size_t i = 0; i < m->n_features; i++) {
        medley_status st = read_key(r, "feature_name");
        if (st != MEDLEY_OK)
            return st;
        if (r->text.n == 0 || memchr(r->text.s, 0, r->text.n) ||
            memchr(r->text.s, '\r', r->text.n))
            return bad(r, "feature_name: empty, or with a carriage return or zero byte");
        m->names[i] = mem_strndup(r->text.s, r->text.n);
        if (!m->names[i])
            return fail_memory(r->err, "feature names");
    }
    return MEDLEY_OK;
}

static medley_status read_header(struct reader *r, struct medley_gbdt **out, size_t *n_trees)
{
    int64_t classes = 0, features = 0, trees = 0;
    bool vector = false;
    medley_status st = next_line(r);
    if (st == MEDLEY_OK && !str_is(r->text, MAGIC))
        return bad(r, "not a model file (expected '" MAGIC "')");
    if (st == MEDLEY_OK)
        st = read_key(r, "trees");
    if (st == MEDLEY_OK) {
        vector = str_is(r->text, "vector");
        if (!vector && !str_is(r->text, "per_class"))
            return bad(r, "trees: '%.*s' (expected per_class or vector)",
                       (int)(r->text.n < 40 ? r->text.n : 40), r->text.s);
        st = read_count(r, "num_class", 2, GBDT_MAX_CLASSES, &classes);
    }
    if (st == MEDLEY_OK)
        st = read_count(r, "num_features", 1, GBDT_MAX_FEATURES, &features);
    if (st == MEDLEY_OK)
        st = read_count(r, "num_trees", 0, (int64_t)r->rest.n, &trees);
    if (st != MEDLEY_OK)
        return st;
    if (!vector && trees % classes)
        return bad(r, "num_trees: %" PRId64 " trees are not a multiple of %" PRId64 " classes",
                   trees, classes);
    *n_trees = (size_t)trees;
    *out = gbdt_new((size_t)features, (size_t)classes,
                    vector ? MEDLEY_TREES_VECTOR : MEDLEY_TREES_PER_CLASS);
    return *out ? MEDLEY_OK : fail_memory(r->err, "a model");
}

static medley_status read_model(struct reader *r, struct medley_gbdt **m)
{
    size_t n_trees = 0;
    medley_status st = read_header(r, m, &n_trees);
    if (st == MEDLEY_OK)
        st = read_key(r, "base");
    for (size_t c = 0; st == MEDLEY_OK && c < (*m)->n_classes; c++)
        st = take_double(r, "base", &(*m)->base[c]);
    if (st == MEDLEY_OK)
        st = line_used_up(r, "base");
    if (st == MEDLEY_OK)
        st = read_names(r, *m);
    for (size_t i = 0; st == MEDLEY_OK && i < n_trees; i++)
        st = read_tree(r, *m, i);
    if (st == MEDLEY_OK)
        st = next_line(r);
    if (st == MEDLEY_OK && (!str_is(r->text, "end of trees") || r->rest.n > 0))
        st = bad(r, "'end of trees' should be here, and nothing after it");
    return st;
}

medley_status medley_gbdt_load(const char *path, medley_gbdt **out, medley_error *err)
{
    medley_error own; /* fail_within needs one to put the position before */
    struct reader r = {.path = path, .err = err ? err : &own};
    struct medley_gbdt *m = NULL;
    char *data = NULL;
    size_t n = 0;
    medley_status st = file_read(path, MAX_BYTES, &data, &n, err);
    if (st != MEDLEY_OK)
        return st;
    r.rest = (struct str){data, n};
    st = read_model(&r, &m);
    mem_free(data);
    if (st == MEDLEY_OK)
        *out = m;
    else
        medley_gbdt_free(m);
    return st;
}
