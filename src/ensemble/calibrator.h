/* calibrator.h: a fitted calibration (calibrate.h) as something that is kept in a file, put
 * into a bundle and applied to every answer. */
#ifndef ENSEMBLE_CALIBRATOR_H
#define ENSEMBLE_CALIBRATOR_H

#include "base/json.h"
#include "ensemble/calibrate.h"

enum calibration_method {
    CALIBRATION_NONE,
    CALIBRATION_TEMPERATURE,
    CALIBRATION_ISOTONIC,
    CALIBRATION_METHODS
};
extern const char *const calibration_method_names[CALIBRATION_METHODS];

struct calibrator {
    enum calibration_method method;
    double temperature;       /* of its method, else 1 */
    struct isotonic isotonic; /* of its method, else empty */
};

/* Fits `method` to rows of index[n] (NULL: all n). *out is written on success only. */
medley_status calibrator_fit(enum calibration_method method, const float *probabilities,
                             const uint8_t *labels, const uint32_t *index, size_t n, size_t k,
                             struct calibrator *out, medley_error *err);
void calibrator_apply(const struct calibrator *c, float *probabilities, size_t n, size_t k);
void calibrator_free(struct calibrator *c);

/* {"method", "temperature" | "points": [[[x, y], ...] per class]}. */
void calibrator_write(struct json_writer *w, const struct calibrator *c, size_t k);
/* EFORMAT names what is wrong; `name` is the file. */
medley_status calibrator_read(const json *root, const char *name, size_t k,
                              struct calibrator *out, medley_error *err);

#endif
