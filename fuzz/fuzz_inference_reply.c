/* fuzz_inference_reply.c: any bytes of an inference server are numbers or refused. The first
 * two bytes choose how many pairs were asked for, and whether the answer is logits. */
#include "remote/protocol.h"

#include <math.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct protocol p = {
        .output = "p", .n_classes = 2, .class_at = {1, 0}, .logits = n > 1 && data[1] % 2};
    medley_error err;
    if (n < 2)
        return 0;
    size_t pairs = data[0] % 4 + 1;
    float *out = malloc(pairs * 2 * sizeof *out); /* as long as it may be, for the sanitizer */
    struct str body = {(const char *)data + 2, n - 2};
    if (out && protocol_reply(&p, body, pairs, out, &err) == MEDLEY_OK && p.logits)
        for (size_t i = 0; i < pairs; i++) {
            float sum = out[2 * i] + out[2 * i + 1];
            if (!isnan(sum) && fabsf(sum - 1) > 1e-5f)
                abort(); /* logits that are numbers become probabilities */
        }
    free(out);
    return 0;
}
