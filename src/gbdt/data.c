/* data.c: tables prepared for training: checked once, cut into bins once, trained on any number
 * of times, by any number of threads. Proof: tests/test_gbdt_data.c. */
#include "gbdt/data.h"

#include "base/error.h"
#include "base/memory.h"
#include "gbdt/tree.h"

#include <math.h>
#include <string.h>

medley_status data_check(const medley_table *t, const char *what, medley_error *err)
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
        if (!(w >= 0 && w <= 1e12f))
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

static medley_status check_like(const medley_table *t, const medley_gbdt_data *like,
                                medley_error *err)
{
    if (t->n_features == like->n_features && t->n_classes == like->n_classes)
        return MEDLEY_OK;
    return fail(err, MEDLEY_EINVAL,
                "validation table has %zu features and %zu classes, training table %zu and %zu",
                t->n_features, t->n_classes, like->n_features, like->n_classes);
}

static medley_status copy_rows(const medley_table *t, medley_gbdt_data *d, medley_error *err)
{
    d->labels = mem_alloc(t->n, 1);
    if (t->weights)
        d->weights = mem_alloc(t->n, sizeof *d->weights);
    if (!d->labels || (t->weights && !d->weights))
        return fail_memory(err, "labels of the rows");
    memcpy(d->labels, t->labels, t->n);
    if (t->weights)
        memcpy(d->weights, t->weights, t->n * sizeof *d->weights);
    return MEDLEY_OK;
}

medley_status medley_gbdt_data_new(const medley_table *table, unsigned max_bins,
                                   const medley_gbdt_data *like, medley_gbdt_data **out,
                                   medley_error *err)
{
    const char *what = like ? "validation table" : "training table";
    max_bins = max_bins ? max_bins : 255;
    if (max_bins < 2 || max_bins > 255)
        return fail(err, MEDLEY_EINVAL, "option 'max_bins' is %u (expected 2 to 255)",
                    max_bins);
    medley_status st = like ? check_like(table, like, err) : MEDLEY_OK;
    if (st == MEDLEY_OK)
        st = data_check(table, what, err);
    if (st != MEDLEY_OK)
        return st;
    medley_gbdt_data *d = mem_zalloc(1, sizeof *d);
    if (!d)
        return fail_memory(err, "a prepared table");
    d->n = table->n;
    d->n_features = table->n_features;
    d->n_classes = table->n_classes;
    st = like ? bins_copy(&like->bins, &d->bins, err)
              : bins_fit(table->features, d->n, d->n_features, max_bins, &d->bins, err);
    if (st == MEDLEY_OK)
        st = binned_new(&d->bins, table->features, d->n, &d->table, err);
    if (st == MEDLEY_OK)
        st = copy_rows(table, d, err);
    if (st == MEDLEY_OK)
        *out = d;
    else
        medley_gbdt_data_free(d);
    return st;
}

void medley_gbdt_data_free(medley_gbdt_data *d)
{
    if (!d)
        return;
    bins_deinit(&d->bins);
    binned_deinit(&d->table);
    mem_free(d->labels);
    mem_free(d->weights);
    mem_free(d);
}
