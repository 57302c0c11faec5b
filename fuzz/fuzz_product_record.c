/* fuzz_product_record.c: texts of products as the disk gives them back. The checksum is made
 * right, so that what lies behind it is reached; what is read is written again. */
#include "serve/product_record.h"

#include "base/file.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct product_record r;
    char *bytes =
        malloc(size + !size); /* of just that size, so that ASan sees a byte too many */
    if (size)
        memcpy(bytes, data, size);
    for (int mended = 0; mended < 2; mended++) {
        if (product_record_read(bytes, size, &r)) {
            char *again = malloc(size);
            if (product_record_size(&r) != size)
                abort();
            product_record_write(&r, again);
            if (memcmp(again, bytes, size) != 0)
                abort();
            free(again);
        }
        if (size < 8)
            break;
        uint64_t sum = hash_bytes(bytes, size - 8, (struct hash128){0x7072, 1}).low;
        memcpy(bytes + size - 8, &sum, 8);
    }
    free(bytes);
    return 0;
}
