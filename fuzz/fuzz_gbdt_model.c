/* fuzz_gbdt_model.c: bytes as a model file: what loads must predict, explain and survive being
 * saved and loaded again. */
#include "fuzz/memory_file.h"
#include "medley/shapley.h"

#include <math.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(const medley_gbdt *m)
{
    size_t f = medley_gbdt_features(m), k = medley_gbdt_classes(m);
    medley_explainer *e = NULL;
    if (f > 64)
        return;
    float x[64 * 9], margins[16 * 9], values[64 * 16];
    for (size_t i = 0; i < f * 9; i++)
        x[i] = i % 5 == 0 ? NAN : (float)i / 7;
    if (medley_gbdt_margins(m, x, 9, margins, NULL) != MEDLEY_OK ||
        medley_explainer_new(m, NULL, f, &e, NULL) != MEDLEY_OK ||
        medley_explainer_values(e, x, 1, values, NULL) != MEDLEY_OK)
        abort();
    medley_explainer_free(e);
    for (size_t c = 0; c < k; c++)
        if (margins[c] != margins[c])
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[32], copy[64];
    medley_gbdt *m = NULL, *again = NULL;
    int fd = memory_file(data, size, path);
    if (medley_gbdt_load(path, &m, NULL) == MEDLEY_OK) {
        use(m);
        snprintf(copy, sizeof copy, "/tmp/medley-fuzz-gbdt-%d", (int)getpid());
        if (medley_gbdt_save(m, copy, NULL) != MEDLEY_OK ||
            medley_gbdt_load(copy, &again, NULL) != MEDLEY_OK)
            abort();
        unlink(copy);
    }
    medley_gbdt_free(m);
    medley_gbdt_free(again);
    close(fd);
    return 0;
}
