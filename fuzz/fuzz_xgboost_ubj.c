/* fuzz_xgboost_ubj.c: bytes as a model in XGBoost UBJSON; see model_formats.h. */
#include "fuzz/model_formats.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return fuzz_model(&model_format_xgboost_ubj, data, size);
}
