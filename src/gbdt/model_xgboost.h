/* model_xgboost.h: what reading and writing XGBoost's models share; private to src/gbdt. */
#ifndef GBDT_MODEL_XGBOOST_H
#define GBDT_MODEL_XGBOOST_H

#include "base/json.h"
#include "gbdt/model_io.h"

/* base_score is kept as a prediction; margins start from its inverse link. */
enum base_link { BASE_MARGIN, BASE_LOGIT, BASE_LOG };

struct xgboost_objective {
    const char *name;
    enum medley_link link;
    enum base_link base;
};
extern const struct xgboost_objective xgboost_objectives[]; /* ends with a NULL name */

/* Where a message comes from. */
struct xgboost_source {
    const char *path;
    medley_error *err; /* not NULL */
    size_t tree;       /* SIZE_MAX: not in a tree */
};
medley_status xg_refuse(const struct xgboost_source *s, medley_status status,
                        const char *format, ...) __attribute__((format(printf, 3, 4)));
medley_status xg_bad_item(const struct xgboost_source *s, const char *key, size_t i,
                          const char *expected);
/* Puts the place before a message that a callee wrote. */
medley_status xg_within(const struct xgboost_source *s, medley_status st);

medley_status xg_get(const struct xgboost_source *s, const json *from, const char *key,
                     enum json_kind kind, const json **out);
/* XGBoost writes parameters as texts. Absent: `missing`, or refused when that is negative. */
medley_status xg_count(const struct xgboost_source *s, const json *from, const char *key,
                       int64_t missing, int64_t *out);
/* The first of exactly n items. */
medley_status xg_array(const struct xgboost_source *s, const json *from, const char *key,
                       size_t n, const json **first);
bool xg_index(const json *v, int64_t min, int64_t max, int32_t *out);
bool xg_float(const json *v, float *out); /* finite */

/* A tree whose leaves are multiplied by `factor`; its class is not set. Trees without covers
 * above zero make the model's MEDLEY_COVER_NONE. */
medley_status xgboost_read_tree(const struct xgboost_source *s, const json *json_tree,
                                struct medley_gbdt *m, double factor, struct tree **out);

medley_status xgboost_write_json(const medley_gbdt *model, FILE *f, medley_error *err);
medley_status xgboost_write_ubj(const medley_gbdt *model, FILE *f, medley_error *err);

#endif
