/* test_folds.c: folds keep queries whole, balance labels, and do not depend on the order of
 * rows. */
#include "tests/tap.h"

#include "base/rng.h"
#include "data/folds.h"

enum { QUERIES = 600, ROWS = 5000, FOLDS = 5 };

static uint32_t query[ROWS], product[ROWS];
static uint8_t label[ROWS], split[ROWS], locale[QUERIES], fold[ROWS];
static uint64_t id_offsets[QUERIES + 1];
static char id_bytes[QUERIES * 8];
static const char *locale_names[1] = {"us"};

/* A few queries with many examples, many with one; labels as uneven as ESCI's. */
static struct dataset make(void)
{
    struct rng r;
    rng_init(&r, 11, 0);
    size_t at = 0;
    for (int q = 0; q < QUERIES; q++) {
        id_offsets[q] = at;
        at += (size_t)snprintf(id_bytes + at, 8, "q%d", q);
    }
    id_offsets[QUERIES] = at;
    for (int i = 0; i < ROWS; i++) {
        query[i] = i < QUERIES ? (uint32_t)i : rng_below(&r, 100);
        split[i] = query[i] % 6 == 5 ? SPLIT_TEST : SPLIT_TRAIN;
        double u = rng_uniform(&r);
        label[i] = u < 0.53 ? 0 : u < 0.8 ? 1 : u < 0.84 ? 2 : 3;
    }
    return (struct dataset){
        .n_examples = ROWS,
        .n_queries = QUERIES,
        .n_classes = 4,
        .n_locales = 1,
        .example_query = query,
        .example_product = product,
        .example_label = label,
        .example_split = split,
        .query_locale = locale,
        .query_id = {id_offsets, id_bytes},
        .locale_names = locale_names,
    };
}

static void test_balance(const struct dataset *d)
{
    medley_error err;
    int of_query[QUERIES], counts[FOLDS][4] = {{0}}, total[4] = {0};
    bool whole = true, test_apart = true, balanced = true;
    ok(folds_assign(d, FOLDS, 1, fold, &err) == MEDLEY_OK, "folds");
    for (int q = 0; q < QUERIES; q++)
        of_query[q] = -1;
    for (int i = 0; i < ROWS; i++) {
        test_apart = test_apart && (fold[i] == FOLD_TEST) == (split[i] == SPLIT_TEST);
        if (of_query[query[i]] >= 0 && of_query[query[i]] != fold[i])
            whole = false;
        of_query[query[i]] = fold[i];
        if (fold[i] < FOLDS) {
            counts[fold[i]][label[i]]++;
            total[label[i]]++;
        }
    }
    for (int f = 0; f < FOLDS; f++)
        for (int c = 0; c < 4; c++)
            /* one row, or a tenth of the fair share, off */
            if (abs(counts[f][c] * FOLDS - total[c]) > FOLDS + total[c] / 10)
                balanced = false;
    ok(whole, "a query lies in one fold");
    ok(test_apart, "the test split is in none");
    ok(balanced, "labels are spread evenly");
}

static void test_determinism(struct dataset *d)
{
    static uint8_t again[ROWS], reversed[ROWS];
    static uint32_t query_r[ROWS];
    static uint8_t label_r[ROWS], split_r[ROWS];
    medley_error err;
    folds_assign(d, FOLDS, 1, again, &err);
    ok(memcmp(fold, again, ROWS) == 0, "the same seed gives the same folds");
    folds_assign(d, FOLDS, 2, again, &err);
    ok(memcmp(fold, again, ROWS) != 0, "another seed gives others");
    for (int i = 0; i < ROWS; i++) {
        query_r[i] = query[ROWS - 1 - i];
        label_r[i] = label[ROWS - 1 - i];
        split_r[i] = split[ROWS - 1 - i];
    }
    struct dataset r = *d;
    r.example_query = query_r;
    r.example_label = label_r;
    r.example_split = split_r;
    folds_assign(&r, FOLDS, 1, reversed, &err);
    bool same = true;
    for (int i = 0; i < ROWS; i++)
        same = same && reversed[i] == fold[ROWS - 1 - i];
    ok(same, "the order of examples does not matter");
}

static void test_errors(struct dataset *d)
{
    medley_error err;
    ok(folds_assign(d, 1, 1, fold, &err) == MEDLEY_EINVAL, "one fold");
    is_text(err.message, "1 folds; expected 2 to 254", "says so");
    memset(split, SPLIT_TEST, sizeof split);
    for (int i = 0; i < 3; i++)
        split[i] = SPLIT_TRAIN;
    ok(folds_assign(d, FOLDS, 1, fold, &err) == MEDLEY_EINVAL, "too few queries");
    is_text(err.message, "3 queries in the training split are too few for 5 folds", "says so");
}

int main(void)
{
    struct dataset d = make();
    test_balance(&d);
    test_determinism(&d);
    test_errors(&d);
    return tap_done();
}
