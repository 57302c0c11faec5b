/* model_formats.h: what the fuzz targets of model files share: bytes as a model of one format;
 * what is read must predict, explain, and survive being written in every format. */
#ifndef FUZZ_MODEL_FORMATS_H
#define FUZZ_MODEL_FORMATS_H

#include "base/memory.h"
#include "gbdt/model_io.h"
#include "medley/shapley.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Exactly as many bytes as there are, so that reading past them is found. */
static medley_gbdt *fuzz_read(const struct model_format *format, const void *data, size_t size,
                              medley_status *status)
{
    medley_error err;
    medley_gbdt *m = NULL;
    char *copy = malloc(size ? size : 1);
    memcpy(copy, data, size);
    *status = format->read("model", (struct str){copy, size}, &m, &err);
    if ((*status == MEDLEY_OK) != (m != NULL))
        abort();
    free(copy);
    return m;
}

static void fuzz_use(const medley_gbdt *m)
{
    size_t f = medley_gbdt_features(m), k = medley_gbdt_classes(m);
    medley_explainer *e = NULL;
    if (f > 64)
        return;
    float x[64 * 9], margins[16 * 9], values[64 * 16];
    for (size_t i = 0; i < f * 9; i++)
        x[i] = i % 5 == 0 ? NAN : (float)i / 7;
    if (medley_gbdt_margins(m, x, 9, margins, NULL) != MEDLEY_OK)
        abort();
    for (size_t c = 0; c < k; c++)
        if (margins[c] != margins[c])
            abort();
    if (medley_gbdt_predict(m, x, 9, margins, NULL) != MEDLEY_OK)
        abort();
    if (medley_gbdt_cover(m) != MEDLEY_COVER_NONE &&
        (medley_explainer_new(m, NULL, f, &e, NULL) != MEDLEY_OK ||
         medley_explainer_values(e, x, 1, values, NULL) != MEDLEY_OK))
        abort();
    medley_explainer_free(e);
}

/* What was written is read again; not every model can be written in every format. */
static void fuzz_write(const medley_gbdt *m, const struct model_format *format)
{
    char *data = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&data, &n);
    medley_error err;
    medley_status st = format->write(m, f, &err);
    fclose(f);
    if (st == MEDLEY_OK) {
        medley_gbdt *again = fuzz_read(format, data, n, &st);
        if (!again || again->n_classes != m->n_classes || again->n_features != m->n_features)
            abort();
        medley_gbdt_free(again);
    } else if (st != MEDLEY_EUNSUPPORTED) {
        abort();
    }
    free(data);
}

static int fuzz_model(const struct model_format *format, const uint8_t *data, size_t size)
{
    medley_status st;
    medley_gbdt *m = fuzz_read(format, data, size, &st);
    if (!m)
        return 0;
    fuzz_use(m);
    fuzz_write(m, &model_format_medley);
    fuzz_write(m, &model_format_lightgbm);
    fuzz_write(m, &model_format_xgboost_json);
    fuzz_write(m, &model_format_xgboost_ubj);
    medley_gbdt_free(m);
    return 0;
}

#endif
