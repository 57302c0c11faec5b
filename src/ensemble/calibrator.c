/* calibrator.c: see calibrator.h. Proof: tests/test_calibrate.c, fuzz/fuzz_bundle_files.c. */
#include "ensemble/calibrator.h"

#include "base/error.h"
#include "base/memory.h"

#include <math.h>
#include <string.h>

const char *const calibration_method_names[CALIBRATION_METHODS] = {"none", "temperature",
                                                                   "isotonic"};

medley_status calibrator_fit(enum calibration_method method, const float *probabilities,
                             const uint8_t *labels, const uint32_t *index, size_t n, size_t k,
                             struct calibrator *out, medley_error *err)
{
    struct calibrator c = {.method = method, .temperature = 1};
    medley_status st = MEDLEY_OK;
    if (method == CALIBRATION_TEMPERATURE)
        c.temperature = temperature_fit(probabilities, labels, index, n, k);
    if (method == CALIBRATION_ISOTONIC)
        st = isotonic_fit(probabilities, labels, index, n, k, &c.isotonic, err);
    if (!st)
        *out = c;
    return st;
}

void calibrator_apply(const struct calibrator *c, float *probabilities, size_t n, size_t k)
{
    if (c->method == CALIBRATION_TEMPERATURE)
        temperature_apply(c->temperature, probabilities, n, k);
    if (c->method == CALIBRATION_ISOTONIC)
        isotonic_apply(&c->isotonic, probabilities, n, k);
}

void calibrator_free(struct calibrator *c)
{
    isotonic_free(&c->isotonic);
    memset(c, 0, sizeof *c);
}

void calibrator_write(struct json_writer *w, const struct calibrator *c, size_t k)
{
    jw_object(w);
    jw_key(w, "method"), jw_textz(w, calibration_method_names[c->method]);
    if (c->method == CALIBRATION_TEMPERATURE)
        jw_key(w, "temperature"), jw_double(w, c->temperature);
    if (c->method == CALIBRATION_ISOTONIC) {
        jw_key(w, "points"), jw_array(w);
        for (size_t i = 0; i < k; i++) {
            jw_array(w);
            for (size_t j = 0; j < c->isotonic.n[i]; j++) {
                jw_array(w);
                jw_float(w, c->isotonic.x[i][j]), jw_float(w, c->isotonic.y[i][j]);
                jw_array_end(w);
            }
            jw_array_end(w);
        }
        jw_array_end(w);
    }
    jw_object_end(w);
}

/* Points of one class: shares, x ascending, y ascending. */
static medley_status read_points(const json *list, const char *name, size_t class,
                                 struct isotonic *m, medley_error *err)
{
    size_t n = json_count(list), i = 0;
    m->x[class] = mem_alloc(n + 1, sizeof **m->x);
    m->y[class] = mem_alloc(n + 1, sizeof **m->y);
    if (!m->x[class] || !m->y[class])
        return fail_memory(err, "points");
    for (const json *p = json_first(list); p; p = json_next(p), i++) {
        double x = -1, y = -1;
        const json *first = json_first(p);
        bool good = json_kind_of(p) == JSON_ARRAY && json_count(p) == 2 &&
                    json_as_double(first, &x) && json_as_double(json_next(first), &y) &&
                    x >= 0 && x <= 1 && y >= 0 && y <= 1;
        if (good && i > 0)
            good = (float)x >= m->x[class][i - 1] && (float)y >= m->y[class][i - 1];
        if (!good)
            return fail(err, MEDLEY_EFORMAT,
                        "%s: points[%zu][%zu] should be two ascending shares", name, class, i);
        m->x[class][i] = (float)x;
        m->y[class][i] = (float)y;
    }
    m->n[class] = n;
    return MEDLEY_OK;
}

static medley_status read_isotonic(const json *points, const char *name, size_t k,
                                   struct isotonic *m, medley_error *err)
{
    size_t class = 0;
    medley_status st = MEDLEY_OK;
    if (json_kind_of(points) != JSON_ARRAY || json_count(points) != k)
        return fail(err, MEDLEY_EFORMAT, "%s: expected points of %zu classes", name, k);
    for (const json *list = json_first(points); list && !st; list = json_next(list))
        st = json_kind_of(list) == JSON_ARRAY && json_count(list) > 0
                 ? read_points(list, name, class ++, m, err)
                 : fail(err, MEDLEY_EFORMAT, "%s: points[%zu] is empty", name, class);
    return st;
}

medley_status calibrator_read(const json *root, const char *name, size_t k,
                              struct calibrator *out, medley_error *err)
{
    struct calibrator c = {.method = CALIBRATION_METHODS, .temperature = 1};
    const char *method = NULL;
    medley_status st = MEDLEY_OK;
    json_as_text(json_get(root, "method"), &method);
    for (int m = 0; method && m < CALIBRATION_METHODS; m++)
        if (strcmp(method, calibration_method_names[m]) == 0)
            c.method = (enum calibration_method)m;
    if (c.method == CALIBRATION_METHODS)
        return fail(err, MEDLEY_EFORMAT,
                    "%s: method should be one of none, temperature, isotonic", name);
    if (c.method == CALIBRATION_TEMPERATURE &&
        (!json_as_double(json_get(root, "temperature"), &c.temperature) ||
         !(c.temperature >= 1e-3 && c.temperature <= 1e3)))
        st = fail(err, MEDLEY_EFORMAT, "%s: expected a temperature from 0.001 to 1000", name);
    if (c.method == CALIBRATION_ISOTONIC)
        st = read_isotonic(json_get(root, "points"), name, k, &c.isotonic, err);
    if (st)
        calibrator_free(&c);
    else
        *out = c;
    return st;
}
