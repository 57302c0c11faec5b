/* fuzz_bundle_files.c: any bytes as cascade.json or calibrator.json of a bundle: refused with a
 * message, or what serving can use without another look. */
#include "base/json.h"
#include "base/memory.h"
#include "ensemble/calibrator.h"
#include "ensemble/cascade_file.h"

#include <math.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { K = 3, M = 3 };
static const char *const names[M] = {"good", "noise", "half"};

static void use_cascade(const struct cascade *c)
{
    float p[K] = {0.5f, 0.3f, 0.2f}, out[K];
    if (c->n_stages != M || c->prefix[M - 1] != (1u << M) - 1)
        abort();
    for (size_t j = 0; j < M; j++)
        if (!(c->temperature[j] > 0) || c->order[j] >= M)
            abort();
    cascade_guess_row(c, 0, 2, p, K, out);
    for (size_t k = 0; k < K; k++)
        if (!(out[k] >= 0 && out[k] <= 1))
            abort();
    cascade_stops(c, 0, p, K);
}

static void use_calibrator(const struct calibrator *c)
{
    float p[K] = {0.5f, 0.3f, 0.2f}, sum = 0;
    calibrator_apply(c, p, 1, K);
    for (size_t k = 0; k < K; k++)
        sum += p[k];
    if (!(fabsf(sum - 1) < 1e-4f))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    json *root = NULL;
    struct str text = {(const char *)data, n};
    struct cascade c;
    struct calibrator calibrator;
    if (json_parse(text, "fuzz", &root, NULL) != MEDLEY_OK)
        return 0;
    if (cascade_read(root, "fuzz", names, M, K, &c, NULL) == MEDLEY_OK) {
        use_cascade(&c);
        mem_free(c.guess);
    }
    if (calibrator_read(root, "fuzz", K, &calibrator, NULL) == MEDLEY_OK) {
        use_calibrator(&calibrator);
        calibrator_free(&calibrator);
    }
    json_free(root);
    return 0;
}
