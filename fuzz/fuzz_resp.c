/* fuzz_resp.c: replies of a Redis server, one after another. */
#include "cache/resp.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *bytes =
        malloc(size ? size : 1); /* of just that size, so that ASan sees one too many */
    struct str rest = {bytes, size};
    struct resp reply;
    memcpy(bytes, data, size);
    for (size_t used; (used = resp_read(rest, &reply)) > 0;) {
        unsigned sum = 0;
        for (size_t i = 0; i < reply.text.n; i++)
            sum += (unsigned char)reply.text.s[i];
        if (used > rest.n || reply.text.n > used || sum == 1u << 31)
            abort();
        rest = (struct str){rest.s + used, rest.n - used};
    }
    if (reply.kind != RESP_MORE && reply.kind != RESP_BAD)
        abort();
    free(bytes);
    return 0;
}
