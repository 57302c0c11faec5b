/* test_gbdt_file.c: models on disk: round trips, refusals by line, damage, faults. */
#include "tests/tap.h"

#include "base/file.h"
#include "base/memory.h"
#include "tests/gbdt_help.h"

#define SEED 20240607u

static char path[128], other[128];

/* Without file_write's fsync, which would take most of the time here. */
static void put_file(const char *data, size_t n)
{
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(data, 1, n, f) != n || fclose(f) != 0) {
        perror(path);
        exit(1);
    }
}

static void test_round_trip(void)
{
    struct rng r;
    rng_init(&r, SEED, 1);
    static const char *const names[7] = {"bert e", "a=b", "ü", "d", "5", "f,\"", "Tree=0"};
    for (int kind = 0; kind < 2; kind++) {
        medley_gbdt *m = random_model(&r, 6, 7, 3, (enum medley_trees)kind, kind), *back = NULL;
        char *first = NULL, *second = NULL;
        size_t n = 0, k = 0;
        medley_error err = {0};
        if (kind)
            medley_gbdt_set_feature_names(m, names, NULL);
        ok(medley_gbdt_save(m, path, &err) == MEDLEY_OK &&
               medley_gbdt_load(path, &back, &err) == MEDLEY_OK,
           "%s trees are saved and loaded %s", kind ? "vector" : "class", err.message);
        ok(back && same_model(m, back), "with every bit");
        ok(back && (kind ? strcmp(medley_gbdt_feature_name(back, 6), "Tree=0") == 0
                         : !medley_gbdt_feature_name(back, 0)),
           "and the names");
        medley_gbdt_save(back, other, NULL);
        file_read(path, 1 << 20, &first, &n, NULL);
        file_read(other, 1 << 20, &second, &k, NULL);
        ok(n == k && memcmp(first, second, n) == 0, "saved again, the bytes are the same");
        mem_free(first);
        mem_free(second);
        medley_gbdt_free(m);
        medley_gbdt_free(back);
    }
}

static void test_trained(void)
{
    struct shop s = shop_new(300, 2, 3, SEED);
    medley_gbdt_options o = {.rounds = 10};
    medley_gbdt *m = NULL, *back = NULL;
    float a[900], b[900];
    medley_gbdt_train(&s.t, NULL, &o, &m, NULL);
    medley_gbdt_save(m, path, NULL);
    medley_gbdt_load(path, &back, NULL);
    medley_gbdt_margins(m, s.x, 300, a, NULL);
    medley_gbdt_margins(back, s.x, 300, b, NULL);
    ok(memcmp(a, b, sizeof a) == 0, "a trained model predicts the same bits after loading");
    medley_gbdt_free(m);
    medley_gbdt_free(back);
    shop_free(&s);
}

static void test_names(void)
{
    struct rng r;
    rng_init(&r, SEED, 2);
    medley_gbdt *m = random_model(&r, 1, 2, 2, MEDLEY_TREES_PER_CLASS, false);
    const char *bad[2] = {"a", "b\nTree=0"}, *empty[2] = {"", "b"}, *good[2] = {"a", "b"};
    ok(medley_gbdt_set_feature_names(m, bad, NULL) == MEDLEY_EINVAL &&
           medley_gbdt_set_feature_names(m, empty, NULL) == MEDLEY_EINVAL &&
           !medley_gbdt_feature_name(m, 0),
       "empty names and line breaks are refused");
    medley_gbdt_set_feature_names(m, good, NULL);
    medley_gbdt_set_feature_names(m, good, NULL);
    is_text(medley_gbdt_feature_name(m, 1), "b", "names are copied");
    ok(!medley_gbdt_feature_name(m, 2), "there is no third");
    medley_gbdt_free(m);
}

static const char *const model_lines[] = {"medley-gbdt 1",
                                          "trees=per_class",
                                          "num_class=2",
                                          "num_features=2",
                                          "num_trees=2",
                                          "base=0 0.5",
                                          "feature_name=a",
                                          "feature_name=b",
                                          "Tree=0",
                                          "num_leaves=3",
                                          "split_feature=0 1",
                                          "threshold=0.5 0.25",
                                          "missing_left=1 0",
                                          "left_child=1 -1",
                                          "right_child=-2 -3",
                                          "internal_count=10 7",
                                          "leaf_value=1 2 -3",
                                          "leaf_count=4 3 3",
                                          "Tree=1",
                                          "num_leaves=1",
                                          "split_feature=",
                                          "threshold=",
                                          "missing_left=",
                                          "left_child=",
                                          "right_child=",
                                          "internal_count=",
                                          "leaf_value=0.5",
                                          "leaf_count=10",
                                          "end of trees"};
enum { LINES = sizeof model_lines / sizeof model_lines[0] };

/* The model with line `at` (from 1) replaced; 0: as it is. */
static medley_status load_with(size_t at, const char *line, medley_error *err)
{
    struct strbuf b;
    medley_gbdt *m = NULL;
    sb_init(&b);
    for (size_t i = 0; i < LINES; i++)
        sb_addf(&b, "%s\n", i + 1 == at ? line : model_lines[i]);
    put_file(b.s, b.n);
    sb_deinit(&b);
    medley_status st = medley_gbdt_load(path, &m, err);
    if (st != MEDLEY_OK && m)
        ok(0, "an output was written on failure");
    medley_gbdt_free(m);
    return st;
}

static void test_refusals(void)
{
    static const struct {
        size_t line;
        const char *text, *message;
    } bad[] = {
        {1, "medley-gbdt 2", "not a model file"},
        {2, "trees=forest", "expected per_class or vector"},
        {3, "num_class=17", "whole number from 1 to 16"},
        {3, "num_class=1", "1 class does not go with a softmax"},
        {4, "num_features=0", "num_features"},
        {4, "num_features=70000", "num_features"},
        {5, "num_trees=999999999999", "num_trees"},
        {5, "num_trees=3", "multiple of 2 classes"},
        {5, "num_trees=-2", "num_trees"},
        {6, "base=0", "base"},
        {6, "base=0 1 2", "more numbers"},
        {6, "base=nan 0", "finite"},
        {7, "feature_name=", "empty"},
        {8, "name=b", "where 'feature_name=' should be"},
        {9, "Tree=1", "Tree"},
        {10, "num_leaves=0", "num_leaves"},
        {10, "num_leaves=65536", "num_leaves"},
        {10, "num_leaves=4", "split_feature"},
        {11, "split_feature=0 2", "from 0 to 1"},
        {11, "split_feature=0", "split_feature"},
        {11, "split_feature=0 1 1", "more numbers"},
        {12, "threshold=nan 0", "finite"},
        {12, "threshold=inf 0", "finite"},
        {12, "threshold=1e39 0", "finite"},
        {12, "threshold=0x1 0", "finite"},
        {13, "missing_left=2 0", "from 0 to 1"},
        {14, "left_child=2 -1", "left_child"},
        {14, "left_child=-4 -1", "left_child"},
        {14, "left_child=0 -1", "child"},
        {14, "left_child=1 0", "earlier node 0"},
        {14, "left_child=1 1", "earlier node 1"},
        {14, "left_child=1 -2", "leaf 1 is the child of two"},
        {15, "right_child=1 -3", "node 1 is the child of two"},
        {16, "internal_count=10 6", "node 1 has cover 6, its children 4 and 3"},
        {16, "internal_count=11 7", "node 0 has cover 11, its children 7 and 3"},
        {17, "leaf_value=1 inf -3", "finite"},
        {17, "leaf_value=1  -3", "finite"},
        {18, "leaf_count=4 0 3", "children"},
        {18, "leaf_count=4 -3 3", "leaf_count"},
        {29, "end of tree", "end of trees"},
        {29, "end of trees\nmore", "end of trees"},
    };
    medley_error err = {0};
    ok(load_with(0, "", &err) == MEDLEY_OK, "the model itself is fine %s", err.message);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        /* Counts that do not add up show at the last of the lines they came from. */
        size_t line = bad[i].line == 16 ? 18 : bad[i].line;
        char where[160];
        if (bad[i].line == 10 && strcmp(bad[i].text, "num_leaves=4") == 0)
            line = 11;
        if (strcmp(bad[i].text, "num_class=1") == 0)
            line = 5; /* the link would stand there */
        if (bad[i].line == 14 && bad[i].text[11] != '2' && bad[i].text[12] != '4')
            line = 15; /* shapes are checked when both sides are known */
        snprintf(where, sizeof where, "%s:%zu: ", path, line);
        medley_status st = load_with(bad[i].line, bad[i].text, &err);
        ok(st == MEDLEY_EFORMAT && strstr(err.message, bad[i].message) &&
               strncmp(err.message, where, strlen(where)) == 0,
           "%s: %s", bad[i].text, err.message);
    }
    medley_gbdt *m = NULL;
    ok(medley_gbdt_load("/nonexistent/model", &m, &err) != MEDLEY_OK && !m, "%s", err.message);
    ok(medley_gbdt_load("/nonexistent/model", &m, NULL) == err.code, "without an error");
}

/* Every truncation fails; every flipped bit fails or gives a model that can be used. */
static void test_damage(void)
{
    char *data = NULL;
    size_t n = 0, refused = 0, loaded = 0;
    bool truncated = true;
    load_with(0, "", NULL);
    file_read(path, 1 << 20, &data, &n, NULL);
    for (size_t i = 0; i < n; i++) {
        medley_gbdt *m = NULL;
        put_file(data, i);
        truncated &= medley_gbdt_load(path, &m, NULL) == MEDLEY_EFORMAT && !m;
    }
    for (size_t i = 0; i < 8 * n; i += 3) {
        medley_gbdt *m = NULL;
        float x[2] = {0.3f, NAN}, p[2];
        data[i / 8] ^= (char)(1 << i % 8);
        put_file(data, n);
        if (medley_gbdt_load(path, &m, NULL) == MEDLEY_OK) {
            if (m->n_features == 2)
                medley_gbdt_predict(m, x, 1, p, NULL);
            loaded++;
        } else {
            refused++;
        }
        medley_gbdt_free(m);
        data[i / 8] ^= (char)(1 << i % 8);
    }
    ok(truncated, "each of %zu truncations is refused", n);
    ok(refused > loaded && loaded > 0, "flipped bits: %zu refused, %zu other models", refused,
       loaded);
    mem_free(data);
}

static void test_faults(void)
{
    struct rng r;
    rng_init(&r, SEED, 3);
    medley_gbdt *m = random_model(&r, 2, 2, 2, MEDLEY_TREES_PER_CLASS, false);
    static const char *const names[2] = {"a", "b"};
    size_t n = 0;
    bool good = true, done = false;
    for (; !done && n < 1000; n++) {
        medley_gbdt *back = NULL;
        mem_fail_after(n);
        medley_status st = medley_gbdt_set_feature_names(m, names, NULL);
        if (st == MEDLEY_OK)
            st = medley_gbdt_save(m, path, NULL);
        if (st == MEDLEY_OK)
            st = medley_gbdt_load(path, &back, NULL);
        mem_fail_after(SIZE_MAX);
        done = st == MEDLEY_OK;
        good &= done || (st == MEDLEY_ENOMEM && !back);
        medley_gbdt_free(back);
    }
    ok(good && done && n > 8, "each of %zu allocations may fail", n);
    ok(medley_gbdt_save(m, "/nonexistent/model", NULL) != MEDLEY_OK, "no such folder");
    medley_gbdt_free(m);
}

int main(void)
{
    const char *folder = tap_folder();
    snprintf(path, sizeof path, "%s/model.txt", folder);
    snprintf(other, sizeof other, "%s/again.txt", folder);
    test_round_trip();
    test_trained();
    test_names();
    test_refusals();
    test_damage();
    test_faults();
    return tap_done();
}
