/* model_xgboost.h: what reading and writing XGBoost's models share; private to src/gbdt. */
#ifndef GBDT_MODEL_XGBOOST_H
#define GBDT_MODEL_XGBOOST_H

#include "gbdt/model_io.h"

/* base_score is kept as a prediction; margins start from its inverse link. */
enum base_link { BASE_MARGIN, BASE_LOGIT, BASE_LOG };

struct xgboost_objective {
    const char *name;
    enum medley_link link;
    enum base_link base;
};
extern const struct xgboost_objective xgboost_objectives[]; /* ends with a NULL name */

medley_status xgboost_write_json(const medley_gbdt *model, FILE *f, medley_error *err);
medley_status xgboost_write_ubj(const medley_gbdt *model, FILE *f, medley_error *err);

#endif
