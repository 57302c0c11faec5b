/* fuzz_label_record.c: labels as the disk and Redis give them back. The checksum is made right,
 * so that what lies behind it is reached. */
#include "cache/label_record.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct label_key key = {{1, 2}, STR("q"), STR("p")};
    medley_result result;
    struct label label = {.result = &result};
    if (size < 1 || size > LABEL_RECORD_MAX)
        return 0;
    size_t classes = 1 + data[0] % MEDLEY_MAX_CLASSES;
    char *bytes = malloc(size); /* of just that size, so that ASan sees a byte too many */
    memcpy(bytes, data, size);
    for (int mended = 0; mended < 2; mended++) {
        if (label_record_read(bytes, size, &key, classes, &label) == RECORD_GOOD &&
            result.label >= classes)
            abort();
        if (size < 4)
            break;
        uint32_t sum = (uint32_t)hash_bytes(bytes, size - 4, (struct hash128){0x6d6c, 1}).low;
        memcpy(bytes + size - 4, &sum, 4);
    }
    label_record_time(bytes, size);
    free(bytes);
    return 0;
}
