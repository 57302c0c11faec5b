/* drift.c: see drift.h. Proof: tests/test_drift.c. */
#include "ensemble/drift.h"

#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "ensemble/stack.h"

#include <math.h>
#include <stdlib.h>

size_t drift_bin(const struct drift_bins *b, float probability)
{
    size_t i = 0;
    while (i < DRIFT_BINS - 1 && probability >= b->edges[i])
        i++;
    return i;
}

double drift_index(const struct drift_bins *b, const uint32_t live[DRIFT_BINS])
{
    double n = 0, sum = 0;
    for (size_t i = 0; i < DRIFT_BINS; i++)
        n += live[i] + 0.5;
    for (size_t i = 0; i < DRIFT_BINS; i++) {
        double p = (live[i] + 0.5) / n, q = b->share[i] > 1e-3f ? (double)b->share[i] : 1e-3;
        sum += (p - q) * log(p / q);
    }
    return sum;
}

/* ---- writing ----------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* values[n] are sorted here. */
static struct drift_bins cut(float *values, size_t n)
{
    struct drift_bins b = {.edges = {0}};
    uint32_t count[DRIFT_BINS] = {0};
    qsort(values, n, sizeof *values, compare);
    for (size_t i = 0; i + 1 < DRIFT_BINS && n; i++)
        b.edges[i] = values[(i + 1) * n / DRIFT_BINS];
    for (size_t i = 0; i < n; i++)
        count[drift_bin(&b, values[i])]++;
    for (size_t i = 0; i < DRIFT_BINS; i++)
        b.share[i] = n ? (float)count[i] / (float)n : 1.0f / DRIFT_BINS;
    return b;
}

static void write_floats(struct json_writer *j, const char *key, const float *v, size_t n)
{
    jw_key(j, key);
    jw_array(j);
    for (size_t i = 0; i < n; i++)
        jw_float(j, v[i]);
    jw_array_end(j);
}

static size_t column(const struct stack *s, size_t m, size_t k, float *out)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++) {
        float p = s->probabilities[m][i * s->n_classes + k];
        if (!isnan(p))
            out[n++] = p;
    }
    return n;
}

static void write_model(struct json_writer *j, const struct stack *s, size_t m, float *values)
{
    const struct workspace *w = s->w;
    size_t n = column(s, m, 0, values);
    jw_key(j, w->config.models[m].name);
    jw_object(j);
    jw_key(j, "missing");
    jw_float(j, s->n ? 1 - (float)n / (float)s->n : 0);
    for (size_t k = 0; k < s->n_classes; k++) {
        n = column(s, m, k, values);
        struct drift_bins b = cut(values, n);
        jw_key(j, w->data.class_names[k]);
        jw_object(j);
        write_floats(j, "edges", b.edges, DRIFT_BINS - 1);
        write_floats(j, "shares", b.share, DRIFT_BINS);
        jw_object_end(j);
    }
    jw_object_end(j);
}

medley_status drift_write(const struct workspace *w, uint32_t mask, const char *path,
                          medley_error *err)
{
    struct stack s;
    struct strbuf out;
    struct json_writer j;
    medley_status st = stack_open(w, SPLIT_TRAIN, &s, err);
    if (st)
        return st;
    float *values = mem_alloc(s.n + 1, sizeof *values);
    sb_init(&out);
    jw_init(&j, &out, true);
    jw_object(&j);
    for (size_t m = 0; values && m < s.n_models; m++)
        if (mask >> m & 1)
            write_model(&j, &s, m, values);
    jw_object_end(&j);
    sb_addc(&out, '\n');
    st = values && !out.failed ? file_write(path, out.s, out.n, err)
                               : fail_memory(err, "the models' probabilities");
    sb_deinit(&out);
    mem_free(values);
    stack_close(&s);
    return st;
}

/* ---- reading ----------------------------------------------------------------------------- */

static bool read_floats(const json *list, float *out, size_t n)
{
    if (json_count(list) != n || json_kind_of(list) != JSON_ARRAY)
        return false;
    for (const json *v = json_first(list); v; v = json_next(v)) {
        double d;
        if (!json_as_double(v, &d) || !(d >= 0 && d <= 1))
            return false;
        *out++ = (float)d;
    }
    return true;
}

static bool read_bins(const json *v, struct drift_bins *b)
{
    double sum = 0;
    if (!read_floats(json_get(v, "edges"), b->edges, DRIFT_BINS - 1) ||
        !read_floats(json_get(v, "shares"), b->share, DRIFT_BINS))
        return false;
    for (size_t i = 0; i < DRIFT_BINS; i++)
        sum += (double)b->share[i];
    for (size_t i = 0; i + 2 < DRIFT_BINS; i++)
        if (b->edges[i] > b->edges[i + 1])
            return false;
    return fabs(sum - 1) < 1e-3;
}

static medley_status read_model(const json *v, const char *path, const char *name,
                                const char *const *class_names, struct drift_reference *d,
                                size_t m, medley_error *err)
{
    double missing;
    if (!json_as_double(json_get(v, "missing"), &missing) || !(missing >= 0 && missing <= 1))
        return fail(err, MEDLEY_EFORMAT, "%s: %s.missing: must be a share", path, name);
    d->missing[m] = (float)missing;
    for (size_t k = 0; k < d->n_classes; k++)
        if (!read_bins(json_get(v, class_names[k]), &d->bins[m * d->n_classes + k]))
            return fail(err, MEDLEY_EFORMAT,
                        "%s: %s.%s: %d rising edges and %d shares are expected", path, name,
                        class_names[k], DRIFT_BINS - 1, DRIFT_BINS);
    return MEDLEY_OK;
}

medley_status drift_read(const char *path, const char *const *names, size_t n_models,
                         const char *const *class_names, size_t n_classes,
                         struct drift_reference **out, medley_error *err)
{
    json *root = NULL;
    struct drift_reference *d =
        mem_zalloc(1, sizeof *d + n_models * n_classes * sizeof d->bins[0]);
    if (!d)
        return fail_memory(err, "the models' probabilities");
    d->n_models = n_models;
    d->n_classes = n_classes;
    medley_status st = json_load(path, &root, err);
    for (size_t m = 0; m < n_models && !st; m++)
        st = read_model(json_get(root, names[m]), path, names[m], class_names, d, m, err);
    json_free(root);
    if (st)
        mem_free(d);
    else
        *out = d;
    return st;
}
