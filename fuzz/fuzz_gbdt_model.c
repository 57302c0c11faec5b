/* fuzz_gbdt_model.c: bytes as a model in Medley text; see model_formats.h. */
#include "fuzz/model_formats.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return fuzz_model(&model_format_medley, data, size);
}
