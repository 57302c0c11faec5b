/* train.c: the door to training: defaults, checks of options and tables.
 * Proof: tests/test_gbdt.c. */
#include "gbdt/boost.h"

#include "base/error.h"

#include <math.h>

#define MAX_ROUNDS 1000000u

static void fill_defaults(medley_gbdt_options *o)
{
    o->rounds = o->rounds ? o->rounds : 200;
    o->num_leaves = o->num_leaves ? o->num_leaves : 31;
    o->min_data_in_leaf = o->min_data_in_leaf ? o->min_data_in_leaf : 20;
    o->max_bins = o->max_bins ? o->max_bins : 255;
    o->learning_rate = o->learning_rate != 0 ? o->learning_rate : 0.05;
    o->min_sum_hessian = o->min_sum_hessian != 0 ? o->min_sum_hessian : 1e-3;
    o->feature_fraction = o->feature_fraction != 0 ? o->feature_fraction : 1;
    o->row_fraction = o->row_fraction != 0 ? o->row_fraction : 1;
}

/* Written so that NaN fails. */
static bool within(double v, double min, double max)
{
    return v >= min && v <= max;
}

static medley_status check_numbers(const medley_gbdt_options *o, medley_error *err)
{
    const struct {
        const char *name;
        double value, min, max;
    } checks[] = {
        {"rounds", o->rounds, 1, MAX_ROUNDS},
        {"num_leaves", o->num_leaves, 2, GBDT_MAX_LEAVES},
        {"max_bins", o->max_bins, 2, 255},
        {"learning_rate", o->learning_rate, 1e-9, 100},
        {"lambda_l2", o->lambda_l2, 0, 1e12},
        {"min_sum_hessian", o->min_sum_hessian, 0, 1e12},
        {"min_gain", o->min_gain, 0, 1e12},
        {"feature_fraction", o->feature_fraction, 1e-9, 1},
        {"row_fraction", o->row_fraction, 1e-9, 1},
        {"mask_rate", o->mask_rate, 0, 0.99},
        {"trees", o->trees, MEDLEY_TREES_PER_CLASS, MEDLEY_TREES_VECTOR},
    };
    for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++)
        if (!within(checks[i].value, checks[i].min, checks[i].max))
            return fail(err, MEDLEY_EINVAL, "option '%s' is %g (expected %g to %g)",
                        checks[i].name, checks[i].value, checks[i].min, checks[i].max);
    return MEDLEY_OK;
}

static medley_status check_arrays(const medley_gbdt_options *o, const medley_table *t,
                                  medley_error *err)
{
    for (size_t c = 0; o->class_weights && c < t->n_classes; c++)
        if (!within(o->class_weights[c], 0, 1e12))
            return fail(err, MEDLEY_EINVAL, "weight of class %zu is %g", c,
                        o->class_weights[c]);
    for (size_t f = 0; o->player_of_feature && f < t->n_features; f++)
        if (o->player_of_feature[f] >= t->n_features && o->player_of_feature[f] != UINT32_MAX)
            return fail(err, MEDLEY_EINVAL, "feature %zu belongs to player %u of at most %zu",
                        f, o->player_of_feature[f], t->n_features);
    return MEDLEY_OK;
}

static medley_status check_table(const medley_table *t, const char *what, medley_error *err)
{
    if (t->n == 0 || t->n > INT32_MAX / 4)
        return fail(err, MEDLEY_EINVAL, "%s has %zu rows (expected 1 to %d)", what, t->n,
                    INT32_MAX / 4);
    if (t->n_features == 0 || t->n_features > GBDT_MAX_FEATURES)
        return fail(err, MEDLEY_EINVAL, "%s has %zu features (expected 1 to %d)", what,
                    t->n_features, GBDT_MAX_FEATURES);
    if (t->n_classes < 2 || t->n_classes > GBDT_MAX_CLASSES)
        return fail(err, MEDLEY_EINVAL, "%s has %zu classes (expected 2 to %d)", what,
                    t->n_classes, GBDT_MAX_CLASSES);
    double total = 0;
    for (size_t i = 0; i < t->n; i++) {
        float w = t->weights ? t->weights[i] : 1;
        if (t->labels[i] >= t->n_classes)
            return fail(err, MEDLEY_EINVAL, "%s, row %zu: label %d of %zu classes", what, i,
                        t->labels[i], t->n_classes);
        if (!within(w, 0, 1e12))
            return fail(err, MEDLEY_EINVAL, "%s, row %zu: weight %g", what, i, (double)w);
        total += w;
    }
    if (!(total > 0))
        return fail(err, MEDLEY_EINVAL, "%s: all weights are 0", what);
    for (size_t i = 0; i < t->n * t->n_features; i++)
        if (isinf(t->features[i]))
            return fail(err, MEDLEY_EINVAL, "%s, row %zu: feature %zu is infinite", what,
                        i / t->n_features, i % t->n_features);
    return MEDLEY_OK;
}

static medley_status check_all(const medley_table *train, const medley_table *validation,
                               const medley_gbdt_options *o, medley_error *err)
{
    medley_status st = check_numbers(o, err);
    if (st == MEDLEY_OK)
        st = check_table(train, "training table", err);
    if (st == MEDLEY_OK)
        st = check_arrays(o, train, err);
    if (st != MEDLEY_OK || !validation)
        return st;
    if (validation->n_features != train->n_features ||
        validation->n_classes != train->n_classes)
        return fail(err, MEDLEY_EINVAL,
                    "validation table has %zu features and %zu classes, training table %zu and "
                    "%zu",
                    validation->n_features, validation->n_classes, train->n_features,
                    train->n_classes);
    return check_table(validation, "validation table", err);
}

medley_status medley_gbdt_train(const medley_table *train, const medley_table *validation,
                                const medley_gbdt_options *options, medley_gbdt **out,
                                medley_error *err)
{
    medley_gbdt_options o = options ? *options : (medley_gbdt_options){0};
    struct boost b;
    fill_defaults(&o);
    medley_status st = check_all(train, validation, &o, err);
    if (st != MEDLEY_OK)
        return st;
    st = boost_init(&b, train, validation, &o, err);
    if (st == MEDLEY_OK)
        st = boost_run(&b, err);
    if (st == MEDLEY_OK) {
        *out = b.model;
        b.model = NULL;
    }
    boost_deinit(&b);
    return st;
}
