/* model_medley.c: models as readable text, with the keys of LightGBM where they mean the same.
 *
 *     medley-gbdt 1
 *     trees=per_class            or vector
 *     num_class=4
 *     num_features=24
 *     num_trees=800
 *     link=sigmoid 1             softmax where absent; sigmoid and its factor, identity, exp
 *     cover=hessian              rows where absent; hessian, none
 *     base=-0.7 -1.2 -2 -1.6     margins before any tree
 *     feature_name=bert_e        all features or none, in order
 *     Tree=0
 *     num_leaves=3
 *     split_feature=4 0          per node; node 0 is the root
 *     threshold=0.25 0.5         x <= threshold goes left
 *     missing_left=1 0           where NaN goes
 *     left_child=1 -1            a later node, or -1 - leaf
 *     right_child=-3 -2
 *     internal_count=100 60      cover: training rows, or sums of hessians
 *     leaf_value=0.1 -0.2 0.05   [leaves, outputs]
 *     leaf_count=30 30 40
 *     end of trees
 *
 * Tree t belongs to class t modulo num_class; its round is t / num_class. Loading trusts
 * nothing: every key in order, every count bounded by the file's size before memory is asked
 * for, children later than parents and each used once, counts that add up. Proof:
 * tests/test_gbdt_file.c, fuzz/fuzz_gbdt_model.c. */
#include "gbdt/model_io.h"
#include "gbdt/text_reader.h"

#include "base/error.h"
#include "base/memory.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC "medley-gbdt 1"

/* ---- writing ---- */

static const char *const link_names[] = {"softmax", "sigmoid", "identity", "exp"};
static const char *const cover_names[] = {"rows", "hessian", "none"};

static void write_header(FILE *f, const struct medley_gbdt *m)
{
    fprintf(f, MAGIC "\ntrees=%s\nnum_class=%zu\nnum_features=%zu\nnum_trees=%zu\n",
            m->kind == MEDLEY_TREES_VECTOR ? "vector" : "per_class", m->n_classes,
            m->n_features, m->n_trees);
    if (m->link == MEDLEY_LINK_SIGMOID)
        fprintf(f, "link=sigmoid %.17g\n", m->link_scale);
    else if (m->link != MEDLEY_LINK_SOFTMAX)
        fprintf(f, "link=%s\n", link_names[m->link]);
    if (m->cover != MEDLEY_COVER_ROWS)
        fprintf(f, "cover=%s\n", cover_names[m->cover]);
    fputs("base=", f);
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
    WRITE_LINE("internal_count", nodes, "%.17g", t->nodes[i].count);
    WRITE_LINE("leaf_value", t->n_leaves * t->n_outputs, "%.9g", (double)t->values[i]);
    WRITE_LINE("leaf_count", t->n_leaves, "%.17g", t->counts[i]);
}

static medley_status write_model(const medley_gbdt *model, FILE *f, medley_error *err)
{
    (void)err;
    write_header(f, model);
    for (size_t i = 0; i < model->n_trees; i++) {
        fprintf(f, "Tree=%zu\n", i);
        write_tree(f, model->trees[i]);
    }
    fputs("end of trees\n", f);
    return MEDLEY_OK;
}

/* ---- reading: arrays ---- */

typedef void put_number(struct tree *t, size_t i, double v);

/* n whole numbers, each handed to its place by `put`. */
static medley_status read_integers(struct reader *r, const char *key, size_t n, int64_t min,
                                   int64_t max, struct tree *t, put_number *put)
{
    medley_status st = reader_key(r, key);
    for (size_t i = 0; st == MEDLEY_OK && i < n; i++) {
        int64_t v = 0;
        st = reader_integer(r, key, min, max, &v);
        if (st == MEDLEY_OK)
            put(t, i, (double)v);
    }
    return st == MEDLEY_OK ? reader_used_up(r, key) : st;
}

/* n numbers that a float can hold, and at least `min`. */
static medley_status read_floats(struct reader *r, const char *key, size_t n, double min,
                                 struct tree *t, put_number *put)
{
    medley_status st = reader_key(r, key);
    for (size_t i = 0; st == MEDLEY_OK && i < n; i++) {
        double v = 0;
        st = reader_float(r, key, &v);
        if (st == MEDLEY_OK && v < min)
            st = reader_bad(r, "%s: %g is below %g", key, v, min);
        if (st == MEDLEY_OK)
            put(t, i, v);
    }
    return st == MEDLEY_OK ? reader_used_up(r, key) : st;
}

static medley_status read_covers(struct reader *r, const struct medley_gbdt *m, const char *key,
                                 size_t n, struct tree *t, put_number *put)
{
    return m->cover == MEDLEY_COVER_ROWS ? read_integers(r, key, n, 0, (int64_t)1 << 53, t, put)
                                         : read_floats(r, key, n, 0, t, put);
}

static void put_feature(struct tree *t, size_t i, double v)
{
    t->nodes[i].feature = (uint32_t)v;
}

static void put_missing(struct tree *t, size_t i, double v)
{
    t->nodes[i].missing_left = v != 0;
}

static void put_left(struct tree *t, size_t i, double v)
{
    t->nodes[i].left = (int32_t)v;
}

static void put_right(struct tree *t, size_t i, double v)
{
    t->nodes[i].right = (int32_t)v;
}

static void put_count(struct tree *t, size_t i, double v)
{
    t->nodes[i].count = v;
}

static void put_leaf_count(struct tree *t, size_t i, double v)
{
    t->counts[i] = v;
}

static void put_threshold(struct tree *t, size_t i, double v)
{
    t->nodes[i].threshold = (float)v;
}

static void put_value(struct tree *t, size_t i, double v)
{
    t->values[i] = (float)v;
}

static medley_status check_shape(struct reader *r, const struct tree *t)
{
    medley_status st = tree_check_shape(t, r->err);
    return st == MEDLEY_OK ? st : reader_within(r);
}

static medley_status check_covers(struct reader *r, const struct medley_gbdt *m, struct tree *t)
{
    bool positive = true;
    /* Sums of hessians are written with all their digits; adding is in another order. */
    double tolerance = m->cover == MEDLEY_COVER_ROWS ? 0 : 1e-6;
    medley_status st = tree_check_covers(t, tolerance, &positive, r->err);
    if (st == MEDLEY_OK && !positive && m->cover != MEDLEY_COVER_NONE)
        return reader_bad(r, "a leaf has no cover");
    return st == MEDLEY_OK ? st : reader_within(r);
}

static medley_status read_arrays(struct reader *r, const struct medley_gbdt *m, struct tree *t)
{
    size_t nodes = t->n_leaves - 1;
    int64_t least = -(int64_t)t->n_leaves, last = (int64_t)nodes - 1;
    int64_t features = (int64_t)m->n_features - 1;
    medley_status st = read_integers(r, "split_feature", nodes, 0, features, t, put_feature);
    if (st == MEDLEY_OK)
        st = read_floats(r, "threshold", nodes, -INFINITY, t, put_threshold);
    if (st == MEDLEY_OK)
        st = read_integers(r, "missing_left", nodes, 0, 1, t, put_missing);
    if (st == MEDLEY_OK)
        st = read_integers(r, "left_child", nodes, least, last, t, put_left);
    if (st == MEDLEY_OK)
        st = read_integers(r, "right_child", nodes, least, last, t, put_right);
    if (st == MEDLEY_OK)
        st = check_shape(r, t);
    if (st == MEDLEY_OK)
        st = read_covers(r, m, "internal_count", nodes, t, put_count);
    if (st == MEDLEY_OK)
        st = read_floats(r, "leaf_value", (size_t)t->n_leaves * t->n_outputs, -INFINITY, t,
                         put_value);
    if (st == MEDLEY_OK)
        st = read_covers(r, m, "leaf_count", t->n_leaves, t, put_leaf_count);
    return st == MEDLEY_OK ? check_covers(r, m, t) : st;
}

static medley_status read_tree(struct reader *r, struct medley_gbdt *m, size_t number)
{
    bool vector = m->kind == MEDLEY_TREES_VECTOR;
    int64_t seen = 0, leaves = 0;
    medley_status st = reader_count(r, "Tree", (int64_t)number, (int64_t)number, &seen);
    if (st == MEDLEY_OK)
        st = reader_count(r, "num_leaves", 1, TREE_MAX_LEAVES, &leaves);
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
    if (!str_starts(r->rest, "feature_name="))
        return MEDLEY_OK;
    m->names = mem_zalloc(m->n_features, sizeof *m->names);
    if (!m->names)
        return fail_memory(r->err, "feature names");
    for (size_t i = 0; i < m->n_features; i++) {
        medley_status st = reader_key(r, "feature_name");
        if (st != MEDLEY_OK)
            return st;
        if (r->text.n == 0 || memchr(r->text.s, 0, r->text.n) ||
            memchr(r->text.s, '\r', r->text.n))
            return reader_bad(r, "feature_name: empty, or with a carriage return or zero byte");
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
    medley_status st = reader_line(r);
    if (st == MEDLEY_OK && !str_is(r->text, MAGIC))
        return reader_bad(r, "not a model file (expected '" MAGIC "')");
    if (st == MEDLEY_OK)
        st = reader_key(r, "trees");
    if (st == MEDLEY_OK) {
        vector = str_is(r->text, "vector");
        if (!vector && !str_is(r->text, "per_class"))
            return reader_bad(r, "trees: '%.*s' (expected per_class or vector)", shown(r->text),
                              r->text.s);
        st = reader_count(r, "num_class", 1, GBDT_MAX_CLASSES, &classes);
    }
    if (st == MEDLEY_OK)
        st = reader_count(r, "num_features", 1, GBDT_MAX_FEATURES, &features);
    if (st == MEDLEY_OK)
        st = reader_count(r, "num_trees", 0, (int64_t)r->rest.n, &trees);
    if (st != MEDLEY_OK)
        return st;
    if (!vector && trees % classes)
        return reader_bad(
            r, "num_trees: %" PRId64 " trees are not a multiple of %" PRId64 " classes", trees,
            classes);
    *n_trees = (size_t)trees;
    *out = gbdt_new((size_t)features, (size_t)classes,
                    vector ? MEDLEY_TREES_VECTOR : MEDLEY_TREES_PER_CLASS);
    return *out ? MEDLEY_OK : fail_memory(r->err, "a model");
}

static medley_status read_choice(struct reader *r, const char *key, const char *const *names,
                                 int n, int *out)
{
    struct str all = r->text, word = r->text;
    const char *space = all.n ? memchr(all.s, ' ', all.n) : NULL;
    word.n = space ? (size_t)(space - all.s) : all.n;
    for (int i = 0; i < n; i++)
        if (str_is(word, names[i])) {
            size_t used = word.n + (space ? 1 : 0);
            r->text = (struct str){all.s + used, all.n - used};
            *out = i;
            return MEDLEY_OK;
        }
    return reader_bad(r, "%s: unknown '%.*s'", key, shown(all), all.s);
}

/* The lines that only models of other libraries have. */
static medley_status read_origin(struct reader *r, struct medley_gbdt *m)
{
    medley_status st = MEDLEY_OK;
    int choice = 0;
    if (str_starts(r->rest, "link=")) {
        reader_key(r, "link");
        st = read_choice(r, "link", link_names, 4, &choice);
        m->link = (enum medley_link)choice;
        if (st == MEDLEY_OK && m->link == MEDLEY_LINK_SIGMOID)
            st = reader_float(r, "link", &m->link_scale);
        if (st == MEDLEY_OK)
            st = reader_used_up(r, "link");
    }
    if (st == MEDLEY_OK && str_starts(r->rest, "cover=")) {
        reader_key(r, "cover");
        st = read_choice(r, "cover", cover_names, 3, &choice);
        m->cover = (enum medley_cover)choice;
        if (st == MEDLEY_OK)
            st = reader_used_up(r, "cover");
    }
    if (st == MEDLEY_OK && m->n_classes < 2 && m->link == MEDLEY_LINK_SOFTMAX)
        st = reader_bad(r, "num_class: 1 class does not go with a softmax");
    return st;
}

static medley_status read_model(struct reader *r, struct medley_gbdt **m)
{
    size_t n_trees = 0;
    medley_status st = read_header(r, m, &n_trees);
    if (st == MEDLEY_OK)
        st = read_origin(r, *m);
    if (st == MEDLEY_OK)
        st = reader_key(r, "base");
    for (size_t c = 0; st == MEDLEY_OK && c < (*m)->n_classes; c++)
        st = reader_float(r, "base", &(*m)->base[c]);
    if (st == MEDLEY_OK)
        st = reader_used_up(r, "base");
    if (st == MEDLEY_OK)
        st = read_names(r, *m);
    for (size_t i = 0; st == MEDLEY_OK && i < n_trees; i++)
        st = read_tree(r, *m, i);
    if (st == MEDLEY_OK)
        st = reader_line(r);
    if (st == MEDLEY_OK && (!str_is(r->text, "end of trees") || r->rest.n > 0))
        st = reader_bad(r, "'end of trees' should be here, and nothing after it");
    return st;
}

static medley_status read_file(const char *path, struct str data, medley_gbdt **out,
                               medley_error *err)
{
    struct reader r = {.path = path, .rest = data, .err = err};
    struct medley_gbdt *m = NULL;
    medley_status st = read_model(&r, &m);
    if (st == MEDLEY_OK)
        *out = m;
    else
        medley_gbdt_free(m);
    return st;
}

static bool recognises(struct str data)
{
    return str_starts(data, "medley-gbdt");
}

const struct model_format model_format_medley = {"medley", recognises, read_file, write_model};
