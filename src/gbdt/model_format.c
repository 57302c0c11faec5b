/* model_format.c: the formats a model can be read from and written to, and how a file is told
 * to be of one. Proof: tests/test_gbdt_file.c, tests/test_gbdt_lightgbm.c. */
#include "gbdt/model_io.h"

#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"

#include <string.h>

#define MAX_BYTES ((size_t)4 << 30)

/* In the order of enum medley_model_format. */
static const struct model_format *const formats[] = {
    &model_format_medley, &model_format_lightgbm, &model_format_xgboost_json,
    &model_format_xgboost_ubj};
enum { N_FORMATS = sizeof formats / sizeof formats[0] };

const char *medley_gbdt_format_name(enum medley_model_format format)
{
    return (size_t)format < N_FORMATS ? formats[format]->name : NULL;
}

static const struct model_format *format_of(struct str data)
{
    for (size_t i = 0; i < N_FORMATS; i++)
        if (formats[i]->recognises(data))
            return formats[i];
    return NULL;
}

medley_status medley_gbdt_load(const char *path, medley_gbdt **out, medley_error *err)
{
    medley_error own; /* readers put positions before messages */
    char *data = NULL;
    size_t n = 0;
    err = err ? err : &own;
    medley_status st = file_read(path, MAX_BYTES, &data, &n, err);
    if (st != MEDLEY_OK)
        return st;
    struct str text = {data, n};
    const struct model_format *format = format_of(text);
    if (format)
        st = format->read(path, text, out, err);
    else
        st =
            fail(err, MEDLEY_EFORMAT,
                 "%s:1: not a model file (expected Medley or LightGBM text, or XGBoost JSON or "
                 "UBJSON)",
                 path);
    mem_free(data);
    return st;
}

medley_status medley_gbdt_save_as(const medley_gbdt *model, const char *path,
                                  enum medley_model_format format, medley_error *err)
{
    struct outfile o = {0};
    if ((size_t)format >= N_FORMATS)
        return fail(err, MEDLEY_EINVAL, "unknown model format %d", (int)format);
    if (!formats[format]->write)
        return fail(err, MEDLEY_EUNSUPPORTED, "models cannot be written as %s",
                    formats[format]->name);
    medley_status st = outfile_open(&o, path, err);
    if (st == MEDLEY_OK) {
        locale_t before = c_locale_enter();
        st = formats[format]->write(model, o.f, err);
        c_locale_leave(before);
    }
    if (st == MEDLEY_OK)
        st = outfile_commit(&o, err);
    outfile_abort(&o);
    return st;
}

medley_status medley_gbdt_save(const medley_gbdt *model, const char *path, medley_error *err)
{
    return medley_gbdt_save_as(model, path, MEDLEY_MODEL_MEDLEY, err);
}
