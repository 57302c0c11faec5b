/* model_lightgbm.h: what reading and writing LightGBM's models share; private to src/gbdt. */
#ifndef GBDT_MODEL_LIGHTGBM_H
#define GBDT_MODEL_LIGHTGBM_H

#include "gbdt/model_io.h"

medley_status lightgbm_write(const medley_gbdt *model, FILE *f, medley_error *err);

#endif
