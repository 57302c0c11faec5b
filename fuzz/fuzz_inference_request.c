/* fuzz_inference_request.c: any body is read or refused; what is read has every pair in one
 * list. */
#include "serve/inference_request.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct inference_request r;
    medley_error err;
    if (inference_request_parse((struct str){(const char *)data, n}, &r, &err) != MEDLEY_OK)
        return 0;
    if (r.n == 0 || r.n > CLASSIFY_MAX_PRODUCTS || r.n_lists == 0 ||
        r.list_end[r.n_lists - 1] != r.n)
        abort();
    for (size_t i = 0; i < r.n; i++)
        if (r.order[i] >= r.n || (!r.products[i].id.n && !r.products[i].has_text))
            abort();
    inference_request_deinit(&r);
    return 0;
}
