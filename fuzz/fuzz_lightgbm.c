/* fuzz_lightgbm.c: bytes as a model in LightGBM text; see model_formats.h. */
#include "fuzz/model_formats.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return fuzz_model(&model_format_lightgbm, data, size);
}
