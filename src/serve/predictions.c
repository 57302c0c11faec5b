/* predictions.c: predictions that come with a request; see predictions.h. */
#include "serve/predictions.h"

#include "base/error.h"
#include "base/memory.h"
#include "ensemble/answers.h"

#include <math.h>
#include <string.h>

void predictions_deinit(struct predictions *p)
{
    mem_free(p->items);
    mem_free(p->values);
    *p = (struct predictions){.n_names = 0};
}

/* The index of a name, which is new or not; MEDLEY_MAX_MODELS when there is no room for it.
 * `likely` is where it stands if this product names models as the one before did. */
static size_t intern(struct predictions *p, const char *name, size_t likely)
{
    if (likely < p->n_names && strcmp(p->names[likely], name) == 0)
        return likely;
    size_t i = 0;
    while (i < p->n_names && strcmp(p->names[i], name) != 0)
        i++;
    if (i == p->n_names && i < MEDLEY_MAX_MODELS)
        p->names[p->n_names++] = name;
    return i;
}

static medley_status read_values(const json *v, size_t product, float *out, medley_error *err)
{
    double sum = 0, value;
    size_t i = 0;
    for (const json *x = json_first(v); x; x = json_next(x), i++) {
        if (!json_as_double(x, &value))
            return fail(err, MEDLEY_EINVAL,
                        "products[%zu].predictions.%.100s[%zu]: must be a number", product,
                        json_key(v), i);
        if (!(value >= 0 && value <= 1 + ANSWERS_TOLERANCE))
            return fail(err, MEDLEY_EINVAL,
                        "products[%zu].predictions.%.100s[%zu]: must be from 0 to 1", product,
                        json_key(v), i);
        out[i] = (float)value;
        sum += (double)out[i];
    }
    if (fabs(sum - 1) <= ANSWERS_TOLERANCE)
        return MEDLEY_OK;
    return fail(err, MEDLEY_EINVAL, "products[%zu].predictions.%.100s: sums to %.5g, not 1",
                product, json_key(v), sum);
}

/* One model's; `seen` are the names that the product has had. */
static medley_status add_model(struct predictions *p, const json *v, size_t product,
                               size_t likely, uint32_t *seen, medley_error *err)
{
    size_t n = json_count(v), name = intern(p, json_key(v), likely);
    if (name == MEDLEY_MAX_MODELS)
        return fail(err, MEDLEY_EINVAL,
                    "products[%zu].predictions.%.100s: the request names more than %d models",
                    product, json_key(v), MEDLEY_MAX_MODELS);
    if (*seen >> name & 1)
        return fail(err, MEDLEY_EINVAL, "products[%zu].predictions.%.100s: given twice",
                    product, json_key(v));
    *seen |= UINT32_C(1) << name;
    if (json_kind_of(v) != JSON_ARRAY || n == 0 || n > MEDLEY_MAX_CLASSES)
        return fail(err, MEDLEY_EINVAL,
                    "products[%zu].predictions.%.100s: must be a list of 1 to %d numbers",
                    product, json_key(v), MEDLEY_MAX_CLASSES);
    if (!mem_reserve(&p->items, &p->room_items, p->n_items + 1, sizeof *p->items) ||
        !mem_reserve(&p->values, &p->room_values, p->n_values + n, sizeof *p->values))
        return fail_memory(err, "predictions");
    medley_status st = read_values(v, product, p->values + p->n_values, err);
    if (st)
        return st;
    p->items[p->n_items++] = (struct prediction){
        .values = (uint32_t)p->n_values, .name = (uint8_t)name, .n = (uint8_t)n};
    p->n_values += n;
    return MEDLEY_OK;
}

medley_status predictions_add(struct predictions *p, const json *v, size_t product,
                              medley_error *err)
{
    uint32_t seen = 0;
    size_t i = 0;
    if (json_kind_of(v) != JSON_OBJECT)
        return fail(err, MEDLEY_EINVAL,
                    "products[%zu].predictions: must be an object of models", product);
    for (const json *m = json_first(v); m; m = json_next(m), i++) {
        medley_status st = add_model(p, m, product, i, &seen, err);
        if (st)
            return st;
    }
    return MEDLEY_OK;
}
