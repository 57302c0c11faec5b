/* model_xgboost_fields.c: fields of XGBoost's JSON, with file and tree in messages. Proof:
 * tests/test_gbdt_xgboost.c. */
#include "gbdt/model_xgboost.h"

#include "base/error.h"

#include <math.h>

medley_status xg_within(const struct xgboost_source *s, medley_status st)
{
    if (s->tree != SIZE_MAX)
        fail_within(s->err, st, "trees[%zu]", s->tree);
    return fail_within(s->err, st, "%s", s->path);
}

medley_status xg_refuse(const struct xgboost_source *s, medley_status status,
                        const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfail(s->err, status, format, args);
    va_end(args);
    return xg_within(s, status);
}

medley_status xg_get(const struct xgboost_source *s, const json *from, const char *key,
                     enum json_kind kind, const json **out)
{
    static const char *const kinds[] = {"null", "bool", "number", "text", "array", "object"};
    const json *v = json_get(from, key);
    if (!v)
        return xg_refuse(s, MEDLEY_EFORMAT, "'%s' is missing", key);
    if (json_kind_of(v) != kind)
        return xg_refuse(s, MEDLEY_EFORMAT, "'%s' is not of the kind %s", key, kinds[kind]);
    *out = v;
    return MEDLEY_OK;
}

medley_status xg_count(const struct xgboost_source *s, const json *from, const char *key,
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
        return xg_refuse(s, MEDLEY_EFORMAT, "'%s' is missing", key);
    return good && *out >= 0
               ? MEDLEY_OK
               : xg_refuse(s, MEDLEY_EFORMAT, "'%s' is not a whole number from 0", key);
}

medley_status xg_array(const struct xgboost_source *s, const json *from, const char *key,
                       size_t n, const json **first)
{
    const json *a = NULL;
    medley_status st = xg_get(s, from, key, JSON_ARRAY, &a);
    if (st == MEDLEY_OK && json_count(a) != n)
        return xg_refuse(s, MEDLEY_EFORMAT, "'%s' holds %zu values instead of %zu", key,
                         json_count(a), n);
    if (st == MEDLEY_OK)
        *first = json_first(a);
    return st;
}

medley_status xg_bad_item(const struct xgboost_source *s, const char *key, size_t i,
                          const char *expected)
{
    return xg_refuse(s, MEDLEY_EFORMAT, "%s[%zu] is not %s", key, i, expected);
}

bool xg_index(const json *v, int64_t min, int64_t max, int32_t *out)
{
    int64_t i = 0;
    if (!json_as_i64(v, &i) || i < min || i > max)
        return false;
    *out = (int32_t)i;
    return true;
}

bool xg_float(const json *v, float *out)
{
    double d = 0;
    if (!json_as_double(v, &d) || !(fabs(d) < 3.4028235677973366e38))
        return false;
    *out = (float)d;
    return true;
}
